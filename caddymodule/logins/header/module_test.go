package header

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

type options = map[string]any

// testSecret must never show up in an error.
const testSecret = "MARKER-0123456789abcdef"

func load(t testing.TB, o options) (*Login, error) {
	t.Helper()
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	module, err := ctx.LoadModuleByID("mcp_auth.logins.header", raw)
	if err != nil {
		return nil, err
	}
	return module.(*Login), nil
}

func mustLoad(t testing.TB, o options) *Login {
	t.Helper()
	l, err := load(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestCaddyfile(t *testing.T) {
	for in, want := range map[string]string{
		"header": `{}`,
		"header {\n user Remote-User\n email Remote-Email\n name Remote-Name\n groups Remote-Groups\n}": `{"user":"Remote-User","email":"Remote-Email","name":"Remote-Name","groups":"Remote-Groups"}`,
		"header {\n groups X-Groups |\n}":                                                                  `{"groups":"X-Groups","groups_separator":"|"}`,
		"header {\n preset authelia\n groups off\n}":                                                       `{"preset":"authelia","groups":"off"}`,
		"header {\n trusted_proxies 10.0.0.0/8 unix\n trusted_proxies ::1\n}":                              `{"trusted_proxies":["10.0.0.0/8","unix","::1"]}`,
		"header {\n secret_header X-Proxy-Secret {env.S}\n}":                                               `{"secret_header":"X-Proxy-Secret","secret":"{env.S}"}`,
		"header {\n namespace https://sso.example.com\n id sso\n label \"The door\"\n}":                    `{"id":"sso","label":"The door","namespace":"https://sso.example.com"}`,
		"header {\n preset cloudflare\n jwt {\n issuer https://i\n audience a\n jwks_url https://k\n }\n}": `{"preset":"cloudflare","jwt":{"issuer":"https://i","audience":["a"],"jwks_url":"https://k"}}`,
		"header {\n jwt X-Token {\n issuer i\n audience a b\n audience c\n jwks_url https://k\n claim user uid\n claim email mail\n claim name cn\n claim groups custom.groups\n leeway 1m\n }\n id x\n}": `{"id":"x","jwt":{"header":"X-Token","issuer":"i","audience":["a","b","c"],"jwks_url":"https://k","claims":{"user":"uid","email":"mail","name":"cn","groups":"custom.groups"},"leeway":60000000000}}`,
	} {
		var l Login
		if err := l.UnmarshalCaddyfile(caddyfile.NewTestDispenser(in)); err != nil {
			t.Errorf("%q: %v", in, err)
		} else if got, _ := json.Marshal(&l); string(got) != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"header Remote-User":                                              "takes no argument",
		"header {\n users Remote-User\n}":                                 "unknown option of login header: users (known: email, groups, id, jwt,",
		"header {\n user\n}":                                              "wrong argument count",
		"header {\n user a b\n}":                                          "wrong argument count",
		"header {\n user \"\"\n}":                                         "user is empty",
		"header {\n user a\n user b\n}":                                   "user is given twice",
		"header {\n groups\n}":                                            "wrong argument count",
		"header {\n groups a b c\n}":                                      "wrong argument count",
		"header {\n groups a \"\"\n}":                                     "groups is empty",
		"header {\n groups a\n groups b\n}":                               "groups is given twice",
		"header {\n trusted_proxies\n}":                                   "wrong argument count",
		"header {\n secret_header " + testSecret + "\n}":                  "takes the name of a header and the secret",
		"header {\n secret_header X " + testSecret + " more\n}":           "takes the name of a header and the secret",
		"header {\n secret_header X \"\"\n}":                              "takes the name of a header and the secret",
		"header {\n secret_header X MARKERa\n secret_header Y MARKERb\n}": "secret_header is given twice",
		"header {\n jwt a b\n}":                                           "wrong argument count",
		"header {\n jwt {\n }\n jwt {\n }\n}":                             "jwt is given twice",
		"header {\n jwt {\n key x\n }\n}":                                 "unknown option of jwt: key (known: audience, claim, issuer, jwks_url, leeway)",
		"header {\n jwt {\n issuer\n }\n}":                                "wrong argument count",
		"header {\n jwt {\n audience\n }\n}":                              "wrong argument count",
		"header {\n jwt {\n claim user\n }\n}":                            "wrong argument count",
		"header {\n jwt {\n claim sub x\n }\n}":                           "unknown claim of jwt: sub",
		"header {\n jwt {\n claim user \"\"\n }\n}":                       "claim user is empty",
		"header {\n jwt {\n claim user a\n claim user b\n }\n}":           "claim user is given twice",
		"header {\n jwt {\n leeway soon\n }\n}":                           "not a duration",
		"header {\n jwt {\n leeway 1h\n }\n}":                             "not a duration up to 5m",
		"header {\n jwt {\n leeway -1s\n }\n}":                            "not a duration up to 5m",
	} {
		err := new(Login).UnmarshalCaddyfile(caddyfile.NewTestDispenser(in))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Testfile:") || strings.Contains(err.Error(), "MARKER") {
			t.Errorf("%q: %v, want %q with file and line", in, err, want)
		}
	}
}

func TestInfo(t *testing.T) {
	for _, tt := range []struct {
		options options
		want    login.Info
	}{
		{options{}, login.Info{ID: "header", Ambient: true}},
		{options{"id": "sso", "label": "The door", "namespace": "https://sso.example.com"}, login.Info{ID: "sso", Label: "The door", Namespace: "https://sso.example.com", Ambient: true}},
	} {
		all := options{"user": "Remote-User", "trusted_proxies": []string{"::1"}}
		maps.Copy(all, tt.options)
		got := mustLoad(t, all).Info()
		if got.ID != tt.want.ID || got.Label != tt.want.Label || got.Namespace != tt.want.Namespace || !got.Ambient ||
			got.Open || got.Unattended || len(got.Fields) > 0 {
			t.Errorf("Info() = %+v, want %+v", got, tt.want)
		}
	}
}

// TestBadConfig: what can't be safe does not load, and says what to write
// instead.
func TestBadConfig(t *testing.T) {
	signed := func(more options) options {
		j := options{"header": "X-Token", "issuer": "https://i", "audience": []string{"a"}, "jwks_url": "https://k.example"}
		maps.Copy(j, more)
		return options{"jwt": j}
	}
	proxy := options{"trusted_proxies": []string{"10.0.0.1"}}
	with := func(base, more options) options {
		all := maps.Clone(base)
		maps.Copy(all, more)
		return all
	}
	for _, tt := range []struct {
		name    string
		options options
		want    string
	}{
		{"no proof", options{"user": "Remote-User"}, "anyone could send these headers"},
		{"a preset is no proof", options{"preset": "authelia"}, "anyone could send these headers"},
		{"no user", proxy, "no header says who the person is"},
		{"user off", with(proxy, options{"preset": "authelia", "user": "off"}), "no header says who the person is"},
		{"unknown preset", with(proxy, options{"preset": "nginx"}), `unknown preset "nginx" (known: authelia, authentik, cloudflare, oauth2-proxy, tailscale)`},
		{"underscore in a name", with(proxy, options{"user": "REMOTE_USER"}), "write letters, digits and hyphens"},
		{"space in a name", with(proxy, options{"user": "Remote User"}), "write letters, digits and hyphens"},
		{"a header with another meaning", with(proxy, options{"user": "x-forwarded-for"}), "not a header that can be used here"},
		{"cookie", with(proxy, options{"user": "a", "groups": "Cookie"}), "not a header that can be used here"},

		{"everyone, IPv4", options{"user": "a", "trusted_proxies": []string{"0.0.0.0/0"}}, "half the world"},
		{"everyone, IPv6", options{"user": "a", "trusted_proxies": []string{"10.0.0.1", "::/0"}}, "half the world"},
		{"everyone, IPv4 in IPv6", options{"user": "a", "trusted_proxies": []string{"::ffff:0:0/96"}}, "half the world"},
		{"everyone in two halves", options{"user": "a", "trusted_proxies": []string{"0.0.0.0/1", "128.0.0.0/1"}}, "half the world"},
		{"all global addresses", options{"user": "a", "trusted_proxies": []string{"2000::/3"}}, "half the world"},
		{"no address", options{"user": "a", "trusted_proxies": []string{"proxy.example"}}, "is not an address"},
		{"address with a port", options{"user": "a", "trusted_proxies": []string{"10.0.0.1:80"}}, "is not an address"},
		{"address with a zone", options{"user": "a", "trusted_proxies": []string{"fe80::1%eth0"}}, "is not an address"},
		{"odd mapped network", options{"user": "a", "trusted_proxies": []string{"::ffff:0:0/95"}}, "is not an address"},
		{"blank list", options{"user": "a", "trusted_proxies": []string{" "}}, "trusted_proxies is empty"},
		{"proxies not in the environment", options{"user": "a", "trusted_proxies": []string{"{env.HEADER_TEST_MISSING}"}}, "trusted_proxies 1: the placeholder {env.HEADER_TEST_MISSING} has no value"},

		{"secret without a header", options{"user": "a", "secret": testSecret}, "secret needs secret_header"},
		{"header without a secret", options{"user": "a", "secret_header": "X-S"}, "at least 16 characters"},
		{"short secret", options{"user": "a", "secret_header": "X-S", "secret": "MARKER"}, "at least 16 characters"},
		{"secret with a space", options{"user": "a", "secret_header": "X-S", "secret": testSecret + " b"}, "without space"},
		{"secret with a line break", options{"user": "a", "secret_header": "X-S", "secret": testSecret + "\n"}, "without space"},
		{"secret not in the environment", options{"user": "a", "secret_header": "X-S", "secret": "{env.HEADER_TEST_MISSING}"}, "secret_header: the placeholder {env.HEADER_TEST_MISSING} has no value"},
		{"secret with braces", options{"user": "a", "secret_header": "X-S", "secret": testSecret + "{x}"}, "placeholder that does not exist"},
		{"secret in the user's header", options{"user": "x-s", "secret_header": "X-S", "secret": testSecret}, "says who the person is already"},
		{"secret in Authorization", options{"user": "a", "secret_header": "Authorization", "secret": testSecret}, "not a header that can be used here"},
		{"secret in the token's header", with(signed(nil), options{"secret_header": "X-Token", "secret": testSecret}), "says who the person is already"},

		{"token without header", signed(options{"header": ""}), "needs the name of its header"},
		{"token in the cookie", signed(options{"header": "Cookie"}), "not a header that can be used here"},
		{"token without issuer", signed(options{"issuer": ""}), "needs issuer"},
		{"token without audience", signed(options{"audience": nil}), "needs audience"},
		{"token with an empty audience", signed(options{"audience": []string{""}}), "needs audience"},
		{"token without keys", signed(options{"jwks_url": ""}), "needs jwks_url"},
		{"keys by http", signed(options{"jwks_url": "http://k.example"}), "must use https"},
		{"keys by file", signed(options{"jwks_url": "file:///etc/keys"}), "not a URL"},
		{"keys with a password", signed(options{"jwks_url": "https://u:MARKER@k.example"}), "not a URL"},
		{"long leeway", signed(options{"leeway": "1h"}), "at most 5m"},
		{"negative leeway", signed(options{"leeway": -1}), "at most 5m"},
		{"headers beside a token", with(signed(nil), options{"user": "Remote-User"}), "user can't name a header"},
		{"groups beside a token", with(signed(nil), options{"groups": "Remote-Groups"}), "groups can't name a header"},
		{"unknown option", with(proxy, options{"username": "a"}), "unknown field"},
	} {
		_, err := load(t, tt.options)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "MARKER") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestWideNetworksWithAnotherProof: then the address is not what decides.
func TestWideNetworksWithAnotherProof(t *testing.T) {
	mustLoad(t, options{"user": "a", "trusted_proxies": []string{"0.0.0.0/0", "::/0"}, "secret_header": "X-S", "secret": testSecret})
	mustLoad(t, options{"trusted_proxies": []string{"0.0.0.0/0"}, "jwt": options{
		"header": "X-Token", "issuer": "https://i", "audience": []string{"a"}, "jwks_url": "http://localhost:1/keys",
	}})
}

func TestPlaceholders(t *testing.T) {
	t.Setenv("HEADER_TEST_SECRET", testSecret)
	t.Setenv("HEADER_TEST_PROXIES", "10.1.0.0/16 10.2.0.1")
	t.Setenv("HEADER_TEST_TEAM", "team")
	l := mustLoad(t, options{
		"trusted_proxies": []string{"{env.HEADER_TEST_PROXIES}"}, "namespace": "https://{env.HEADER_TEST_TEAM}.example",
		"secret_header": "proxy-authorization", "secret": "{env.HEADER_TEST_SECRET}",
		"jwt": options{
			"header": "X-Token", "issuer": "https://{env.HEADER_TEST_TEAM}.example", "audience": []string{"{env.HEADER_TEST_TEAM}"},
			"jwks_url": "https://{env.HEADER_TEST_TEAM}.example/keys",
		},
	})
	if len(l.peers.networks) != 2 || l.Secret != testSecret || l.SecretHeader != "Proxy-Authorization" || l.Namespace != "https://team.example" ||
		l.verifier.issuer != l.Namespace || l.verifier.audience[0] != "team" || l.verifier.keys.url != "https://team.example/keys" {
		t.Errorf("not everything is replaced: %+v %+v", l, l.verifier)
	}
}

// The proxy's headers, its secret among them, are for the authorization server
// alone: the handler removes what Info names from calls.
func TestInfoHeaders(t *testing.T) {
	for _, c := range []struct {
		login Login
		want  []string
	}{
		{Login{Preset: "authelia", SecretHeader: "X-Proxy-Secret", Secret: "0123456789abcdef0"}, []string{"Remote-User", "Remote-Email", "Remote-Name", "Remote-Groups", "X-Proxy-Secret"}},
		{Login{User: "X-Who", TrustedProxies: []string{"127.0.0.1"}}, []string{"X-Who"}},
		{Login{JWT: &JWT{Header: "X-Token", Issuer: "https://idp.example", Audience: []string{"a"}, JWKSURL: "https://idp.example/jwks"}}, []string{"X-Token"}},
	} {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
		if err := c.login.Provision(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		if got := c.login.Info().Headers; !slices.Equal(got, c.want) {
			t.Errorf("headers %q, want %q", got, c.want)
		}
	}
}
