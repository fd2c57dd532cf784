package github

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

func TestCaddyfile(t *testing.T) {
	for in, want := range map[string]string{
		"github": `{}`,
		"github {\n client_id abc\n client_secret {env.S}\n}":                                                                      `{"client_id":"abc","client_secret":"{env.S}"}`,
		"github {\n organizations acme other\n organizations third\n teams acme/leads\n groups\n}":                                 `{"organizations":["acme","other","third"],"teams":["acme/leads"],"groups":true}`,
		"github {\n base_url https://github.example.com\n api_url https://api.example.com\n id work\n label \"GitHub at work\"\n}": `{"id":"work","label":"GitHub at work","base_url":"https://github.example.com","api_url":"https://api.example.com"}`,
	} {
		var l Login
		if err := l.UnmarshalCaddyfile(caddyfile.NewTestDispenser(in)); err != nil {
			t.Errorf("%q: %v", in, err)
		} else if got, _ := json.Marshal(&l); string(got) != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"github https://x":                                         "takes no argument",
		"github {\n org acme\n}":                                   "unknown option of login github: org (known: api_url, base_url, client_id,",
		"github {\n client_id\n}":                                  "client_id takes one argument",
		"github {\n client_secret " + testSecret + " b\n}":         "client_secret takes one argument",
		"github {\n client_secret \"\"\n}":                         "client_secret is empty",
		"github {\n client_secret a\n client_secret MARKER-two\n}": "client_secret is given twice",
		"github {\n organizations\n}":                              "wrong argument count",
		"github {\n teams\n}":                                      "wrong argument count",
		"github {\n groups on\n}":                                  "wrong argument count",
		"github {\n client_id a {\n nested\n }\n}":                 "unknown option",
	} {
		err := new(Login).UnmarshalCaddyfile(caddyfile.NewTestDispenser(in))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Testfile:") || strings.Contains(err.Error(), "MARKER") {
			t.Errorf("%q: %v, want %q with file and line", in, err, want)
		}
	}
}

func TestProvision(t *testing.T) {
	t.Setenv("GITHUB_TEST_SECRET", testSecret)
	for _, tt := range []struct {
		name    string
		options options
		base    string
		api     string
		info    login.Info
	}{
		{
			"github.com", nil, "https://github.com", "https://api.github.com",
			login.Info{ID: "github", Label: "GitHub", Namespace: "https://github.com", Open: true},
		},
		{
			"members only",
			options{"organizations": []string{"ACME"}, "id": "work", "label": "GitHub at work"},
			"https://github.com", "https://api.github.com",
			login.Info{ID: "work", Label: "GitHub at work", Namespace: "https://github.com"},
		},
		{
			"enterprise server",
			options{"base_url": "https://GitHub.Example.com/", "teams": []string{"a/b"}},
			"https://github.example.com", "https://github.example.com/api/v3",
			login.Info{ID: "github", Label: "GitHub", Namespace: "https://github.example.com"},
		},
		{
			"GHE.com",
			options{"base_url": "https://acme.ghe.com"},
			"https://acme.ghe.com", "https://api.acme.ghe.com",
			login.Info{ID: "github", Label: "GitHub", Namespace: "https://acme.ghe.com", Open: true},
		},
		{
			"a host that only looks like it",
			options{"base_url": "https://evilghe.com"},
			"https://evilghe.com", "https://evilghe.com/api/v3",
			login.Info{ID: "github", Label: "GitHub", Namespace: "https://evilghe.com", Open: true},
		},
		{
			"own API",
			options{"base_url": "http://localhost:8080", "api_url": "http://[::1]:9000/rest/"},
			"http://localhost:8080", "http://[::1]:9000/rest",
			login.Info{ID: "github", Label: "GitHub", Namespace: "http://localhost:8080", Open: true},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := options{"client_id": "a", "client_secret": "{env.GITHUB_TEST_SECRET}"}
			maps.Copy(all, tt.options)
			l, err := load(t, all)
			if err != nil {
				t.Fatal(err)
			}
			if info := l.Info(); info.ID != tt.info.ID || info.Label != tt.info.Label || info.Namespace != tt.info.Namespace ||
				info.Open != tt.info.Open || info.Ambient || info.Unattended || len(info.Fields) > 0 {
				t.Errorf("Info() = %+v, want %+v", info, tt.info)
			}
			if l.BaseURL != tt.base || l.APIURL != tt.api || l.config.ClientSecret != testSecret {
				t.Errorf("base %s, API %s; want %s, %s", l.BaseURL, l.APIURL, tt.base, tt.api)
			}
			if !strings.HasPrefix(l.config.Endpoint.TokenURL, tt.base+"/login/") {
				t.Errorf("token endpoint %s", l.config.Endpoint.TokenURL)
			}
		})
	}
}

func TestBadConfig(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options options
		want    string
	}{
		{"no client_id", options{"client_id": ""}, "needs client_id"},
		{"no client_secret", options{"client_secret": ""}, "needs client_secret"},
		{"secret not in the environment", options{"client_secret": "{env.GITHUB_TEST_MISSING}"}, "client_secret: the placeholder {env.GITHUB_TEST_MISSING} has no value"},
		{"secret with braces", options{"client_secret": "MARKER{x}"}, "client_secret has a placeholder that does not exist"},
		{"http", options{"base_url": "http://github.example.com"}, "must use https"},
		{"no URL", options{"base_url": "github.example.com"}, "base_url is not a URL"},
		{"password", options{"base_url": "https://u:MARKER@github.example.com"}, "base_url is not a URL"},
		{"path", options{"base_url": "https://example.com/github"}, "has a path"},
		{"query", options{"base_url": "https://example.com?a"}, "base_url is not a URL"},
		{"API by http", options{"api_url": "http://api.example.com"}, "must use https"},
		{"API with a fragment", options{"api_url": "https://api.example.com#a"}, "api_url is not a URL"},
		{"organization with a slash", options{"organizations": []string{"acme/leads"}}, "not the login of an organization"},
		{"organization empty", options{"organizations": []string{""}}, "not the login of an organization"},
		{"team without organization", options{"teams": []string{"leads"}}, "not an organization and a team's slug"},
		{"team with too much", options{"teams": []string{"a/b/c"}}, "not an organization and a team's slug"},
		{"unknown option", options{"organisations": []string{"acme"}}, "unknown field"},
	} {
		all := options{"client_id": "a", "client_secret": testSecret}
		maps.Copy(all, tt.options)
		_, err := load(t, all)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "MARKER") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestScopesAreLeast wants an app that needs no memberships not to ask for
// them.
func TestScopesAreLeast(t *testing.T) {
	l := &Login{}
	if got := l.scopes(); !slices.Equal(got, []string{"user:email"}) {
		t.Errorf("scopes %q", got)
	}
}
