package oidc

import (
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

func TestCaddyfile(t *testing.T) {
	for in, want := range map[string]string{
		"oidc https://accounts.example.com": `{"issuer":"https://accounts.example.com"}`,
		`oidc https://accounts.example.com {
			client_id       a
			client_secret   {env.SECRET}
			client_auth     post
			scopes          openid email
			id              example
			label           "Example Inc."
			hosted_domain   example.com example.org
			hosted_domain   example.net
			tenant          t1 t2
			tenant          t3
			email_verified  require
			claim           subject oid
			claim           name    display_name
			claim           email   upn
			claim           groups  realm_access.roles
			authorize_param prompt  "select_account consent"
			authorize_param domain_hint example.com
			userinfo
			clock_leeway    1m
		}`: `{"issuer":"https://accounts.example.com","client_id":"a","client_secret":"{env.SECRET}","client_auth":"post",` +
			`"scopes":["openid","email"],"id":"example","label":"Example Inc.",` +
			`"hosted_domains":["example.com","example.org","example.net"],"tenants":["t1","t2","t3"],"email_verified":"require",` +
			`"claims":{"subject":"oid","name":"display_name","email":"upn","groups":"realm_access.roles"},` +
			`"authorize_params":{"domain_hint":"example.com","prompt":"select_account consent"},"userinfo":true,"clock_leeway":60000000000}`,
	} {
		l := new(Login)
		if err := l.UnmarshalCaddyfile(caddyfile.NewTestDispenser(in)); err != nil {
			t.Errorf("%s: %v", in, err)
		} else if got := toJSON(t, l); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"":                                     "the provider's issuer",
		"a b":                                  "the provider's issuer",
		"a {\n client_id\n}":                   "client_id needs one value",
		"a {\n client_id x y\n}":               "client_id needs one value",
		"a {\n client_secret \"\"\n}":          "client_secret needs one value",
		"a {\n client_id x\n client_id x\n}":   "client_id is given twice",
		"a {\n scopes\n}":                      "wrong argument count",
		"a {\n scopes a\n scopes b\n}":         "scopes is given twice",
		"a {\n tenant\n}":                      "wrong argument count",
		"a {\n claim groups\n}":                "claim needs",
		"a {\n claim groups a b\n}":            "claim needs",
		"a {\n claim phone a\n}":               "only subject, name, email and groups",
		"a {\n claim name a\n claim name b\n}": "claim name is given twice",
		"a {\n claim name \"\"\n}":             "wrong argument count",
		"a {\n authorize_param prompt\n}":      "authorize_param needs",
		"a {\n authorize_param a b\n authorize_param a c\n}": "authorize_param a is given twice",
		"a {\n userinfo yes\n}":                              "wrong argument count",
		"a {\n clock_leeway\n}":                              "wrong argument count",
		"a {\n clock_leeway soon\n}":                         "not a time",
		"a {\n clock_leeway 0s\n}":                           "not a time",
		"a {\n clock_leeway -5s\n}":                          "not a time",
		"a {\n clientid x\n}":                                "unknown option of login oidc: clientid",
		"a {\n client_id x {\n nested\n }\n}":                "unknown option",
	} {
		err := new(Login).UnmarshalCaddyfile(caddyfile.NewTestDispenser("oidc " + in))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Testfile:") {
			t.Errorf("%q: %v, want %q with file and line", in, err, want)
		}
	}
}

// TestLoad wants what can't work to be said at load, and the rest to load.
func TestLoad(t *testing.T) {
	t.Setenv("OIDC_TEST_ID", "from-env")
	t.Setenv("OIDC_TEST_EMPTY", "")
	const google, entra = "https://accounts.google.com", "https://login.microsoftonline.com/"
	for _, tt := range []struct {
		name  string
		value any
		want  string // empty: loads
	}{
		{"issuer", google, ""},
		{"issuer", "https://tenant.auth0.com/", ""},
		{"issuer", "https://keycloak.example.com:8443/realms/main", ""},
		{"issuer", "http://localhost:8080", ""},
		{"issuer", "http://127.0.0.1:8080/x", ""},
		{"issuer", "http://[::1]:8080", ""},
		{"issuer", "", "issuer is missing"},
		{"issuer", "http://accounts.example.com", "does not use https"},
		{"issuer", "http://localhost.example.com", "does not use https"},
		{"issuer", "http://10.0.0.1", "does not use https"},
		{"issuer", "accounts.google.com", "has no host"},
		{"issuer", "https:///x", "has no host"},
		{"issuer", "ftp://accounts.example.com", "does not use https"},
		{"issuer", google + "/.well-known/openid-configuration", "write " + google},
		{"issuer", google + "?x=y", "query"},
		{"issuer", google + "?", "query"},
		{"issuer", google + "#", "fragment"},
		{"issuer", "https://user:pass@accounts.example.com", "user name"},
		{"issuer", google + "/a b", "not a URL"},
		{"issuer", google + "/a|b", "not a URL"},
		{"issuer", google + "/%zz", "not a URL"},
		{"issuer", google + "/" + strings.Repeat("x", maxIssuer), "not a URL"},
		{"issuer", "https://accounts.example.com\n", "not a URL"},
		{"issuer", "{env.OIDC_TEST_MISSING}", "issuer has a placeholder"},
		{"issuer", entra + "{tenantid}/v2.0", "issuer has a placeholder"},
		{"issuer", entra + "common/v2.0", "name yours with tenant"},
		{"issuer", entra + ours + "/v2.0", ""},
		{"client_id", "{env.OIDC_TEST_ID}", ""},
		{"client_id", "", "client_id is missing"},
		{"client_id", "a\n", "control character"},
		{"client_secret", "s\n", "control character"},
		{"client_secret", "{env.OIDC_TEST_EMPTY}", "client_secret has a placeholder"},
		{"client_auth", "basic", "there is none"},
		{"client_auth", "jwt", "write basic or post"},
		{"scopes", []string{"email"}, "lack openid"},
		{"scopes", []string{"openid", "offline_access"}, "offline_access"},
		{"scopes", []string{"openid email"}, "separate"},
		{"scopes", []string{"openid", ""}, "separate"},
		{"id", "google-2", ""},
		{"id", "Google", "lower-case"},
		{"id", "-a", "lower-case"},
		{"id", "a/b", "lower-case"},
		{"id", strings.Repeat("a", 33), "lower-case"},
		{"label", "Café", ""},
		{"label", strings.Repeat("é", maxLabel+1), "label"},
		{"label", "a\u202eb", "label"},
		{"hosted_domains", []string{"example.com"}, ""},
		{"hosted_domains", []string{"*.example.com"}, "hosted_domain"},
		{"hosted_domains", []string{"alice@example.com"}, "hosted_domain"},
		{"hosted_domains", []string{""}, "hosted_domain"},
		{"hosted_domains", []string{"com"}, "hosted_domain"},
		{"tenants", []string{ours}, ""},
		{"tenants", []string{"contoso.onmicrosoft.com"}, "directory (tenant) id"},
		{"tenants", []string{""}, "directory (tenant) id"},
		{"email_verified", "trust", ""},
		{"email_verified", "ignore", "write claim, require or trust"},
		{"claims", map[string]string{"groups": "a b"}, "not the name"},
		{"claims", map[string]string{"groups": strings.Repeat("a", 201)}, "not the name"},
		{"clock_leeway", "5m", ""},
		{"clock_leeway", "6m", "clock_leeway"},
		{"clock_leeway", -1, "clock_leeway"},
		{"clock_leeway", 1, "clock_leeway"},
		{"authorize_params", map[string]string{"prompt": "select_account", "domain_hint": "example.com"}, ""},
		{"authorize_params", map[string]string{"state": "x"}, "belongs to the protocol"},
		{"authorize_params", map[string]string{"Nonce": "x"}, "belongs to the protocol"},
		{"authorize_params", map[string]string{"code_challenge": "x"}, "belongs to the protocol"},
		{"authorize_params", map[string]string{"redirect_uri": "https://evil.example"}, "belongs to the protocol"},
		{"authorize_params", map[string]string{"response_mode": "form_post"}, "belongs to the protocol"},
		{"authorize_params", map[string]string{"request_uri": "x"}, "belongs to the protocol"},
		{"authorize_params", map[string]string{"a b": "x"}, "not a parameter"},
		{"authorize_params", map[string]string{"a": "x\r\n"}, "not a parameter"},
		{"authorize_params", map[string]string{"prompt": "none"}, "prompt none"},
		{"unknown", 1, "unknown"},
		{"provider", map[string]any{}, "unknown"},
	} {
		config := map[string]any{"issuer": google, "client_id": "x", tt.name: tt.value}
		l, err := load(t, config)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s %v: %v", tt.name, tt.value, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s %v: %v, want %q", tt.name, tt.value, err, tt.want)
		case l != nil && tt.name == "client_id" && l.ClientID != "from-env":
			t.Errorf("client id %s", l.ClientID)
		}
	}
}

// TestLoadCombinations: options that don't go together.
func TestLoadCombinations(t *testing.T) {
	for want, config := range map[string]map[string]any{
		"speaks of the claim email": {"email_verified": "require", "claims": map[string]string{"email": "upn"}},
		"hosted_domain sends it":    {"hosted_domains": []string{"example.com"}, "authorize_params": map[string]string{"hd": "evil.example"}},
		"Entra refuses it":          {"issuer": "https://login.microsoftonline.com/" + ours + "/v2.0", "authorize_params": map[string]string{"resource": "x"}},
	} {
		base := map[string]any{"issuer": "https://accounts.example.com", "client_id": "x"}
		maps.Copy(base, config)
		if _, err := load(t, base); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", config, err, want)
		}
	}
}

// TestSecretStaysOut: what looks like a placeholder may be a part of the secret,
// and no error says it.
func TestSecretStaysOut(t *testing.T) {
	_, err := load(t, map[string]any{
		"issuer": "https://accounts.example.com", "client_id": "x", "client_secret": "marker{vars.marker}marker",
	})
	if err == nil || strings.Contains(err.Error(), "marker") || !strings.Contains(err.Error(), "client_secret") {
		t.Errorf("%v", err)
	}
}

// TestExamples loads the snippets of the package's documentation.
func TestExamples(t *testing.T) {
	for _, name := range []string{"GOOGLE", "ENTRA", "OKTA", "AUTH0", "KEYCLOAK", "GITLAB"} {
		t.Setenv(name+"_CLIENT_ID", "id")
		t.Setenv(name+"_CLIENT_SECRET", "secret")
	}
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	var labels []string
	for _, snippet := range strings.Split(file.Doc.Text(), "\tlogin ")[1:] {
		snippet, _, _ = strings.Cut(snippet, "\n\t}")
		l := new(Login)
		if err := l.UnmarshalCaddyfile(caddyfile.NewTestDispenser(snippet + "\n}")); err != nil {
			t.Errorf("%s: %v", snippet, err)
			continue
		}
		if err := l.configure(); err != nil {
			t.Errorf("%s: %v", snippet, err)
			continue
		}
		labels = append(labels, l.Info().Label)
	}
	want := []string{"Google", "Microsoft", "Microsoft", "Okta", "Auth0", "Example Inc.", "GitLab"}
	if !slices.Equal(labels, want) {
		t.Errorf("labels %q, want %q", labels, want)
	}
}

func TestInfo(t *testing.T) {
	for issuer, label := range map[string]string{
		"https://accounts.google.com":          "Google",
		"https://accounts.google.com.evil.com": "accounts.google.com.evil.com",
		"https://evil-okta.com":                "evil-okta.com",
		"https://a.okta.com/oauth2/default":    "Okta",
		"https://Login.Microsoftonline.com/x":  "Microsoft",
		"http://localhost:8080":                "localhost:8080",
		"https://keycloak.example.com/realms/": "keycloak.example.com",
	} {
		l, err := load(t, map[string]any{"issuer": issuer, "client_id": "x"})
		if err != nil {
			t.Error(err)
			continue
		}
		want := login.Info{ID: "oidc", Label: label, Namespace: issuer, Open: true}
		if got := l.Info(); toJSON(t, got) != toJSON(t, want) {
			t.Errorf("%s: %+v, want %+v", issuer, got, want)
		}
	}
}

// TestRecheck: sessions end when the configuration admits other accounts, and
// grants when their tenant is gone (issue rules: checked again at refresh).
func TestRecheck(t *testing.T) {
	const issuer = "https://login.microsoftonline.com/organizations/v2.0"
	configured := func(tenants ...string) *Login {
		l, err := load(t, map[string]any{"issuer": issuer, "client_id": "x", "tenants": tenants})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	both, one := configured(ours, theirs), configured(ours)
	if other := configured(theirs, ours); other.version != both.version {
		t.Error("the order of tenants matters")
	}
	for _, tt := range []struct {
		login *Login
		id    login.Identity
		ok    bool
	}{
		{both, login.Identity{Subject: ours + ":alice", Version: both.version}, true},
		{both, login.Identity{Subject: theirs + ":alice", Version: both.version}, true},
		{one, login.Identity{Subject: ours + ":alice", Version: one.version}, true},
		{one, login.Identity{Subject: ours + ":alice", Version: both.version}, false}, // a session of before
		{one, login.Identity{Subject: ours + ":alice"}, true},                         // a grant
		{one, login.Identity{Subject: theirs + ":alice"}, false},
		{one, login.Identity{Subject: "alice"}, false},
		{one, login.Identity{}, false},
	} {
		if _, err := tt.login.Recheck(t.Context(), tt.id); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt.id, err)
		}
	}
}

// TestForceAtGoogle: Google knows no prompt=login.
func TestForceAtGoogle(t *testing.T) {
	l, err := load(t, map[string]any{"issuer": "https://accounts.google.com", "client_id": "x"})
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{}
	p.endpoint.AuthURL = "https://accounts.google.com/o/oauth2/v2/auth"
	target := l.oauth(p, testCallback).AuthCodeURL(testState, l.options(saved{Verifier: "v", Nonce: "n", Force: true})...)
	if !strings.Contains(target, "prompt=select_account") {
		t.Errorf("%s", target)
	}
}

// TestProxyOfTheEnvironment: connections to the provider go through the proxy
// that the environment names.
func TestProxyOfTheEnvironment(t *testing.T) {
	transport, ok := newClient().Transport.(limited)
	if !ok || transport.Proxy == nil || transport.TLSClientConfig != nil && transport.TLSClientConfig.InsecureSkipVerify {
		t.Errorf("transport %+v", transport)
	}
	// http.ProxyFromEnvironment is what Go's default client uses; requests to
	// this machine never take it.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if proxy, err := transport.Proxy(req); proxy != nil || err != nil {
		t.Errorf("proxy %v, %v", proxy, err)
	}
}
