package clients_test

import (
	"net/url"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

const personPassword = "correct horse battery staple"

// Metadata documents that the gateway has copies of. Where they can't be fetched
// the copies serve. Any program of this machine can listen at the redirect URIs
// of the first two.
const (
	claudeCode = "https://claude.ai/oauth/claude-code-client-metadata"
	openCode   = "https://opencode.ai/oauth/opencode/client.json"
	chatGPT    = "https://chatgpt.com/oauth/client.json"
)

// attended is a gateway where Alice signs in with a password and may make tokens
// for herself, with further options of the mcp_auth app, one a line.
func attended(t *testing.T, options ...string) *gatewaytest.Gateway {
	t.Helper()
	return attendedIn(t, nil, options...)
}

// attendedIn is attended with further environment variables.
func attendedIn(t *testing.T, env []string, options ...string) *gatewaytest.Gateway {
	t.Helper()
	caddyfile, needs := attendedFile(t, configured(t, options...))
	return gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile, Env: append(needs, env...)})
}

// attendedFile makes one of the harness's Caddyfiles that of an attended gateway,
// which needs the environment returned.
func attendedFile(t *testing.T, caddyfile string) (text string, env []string) {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(personPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(caddyfile, "\t\tlogin auto {\n")
	_, after, ok2 := strings.Cut(rest, "\t\t}\n")
	if !ok || !ok2 {
		t.Fatal("the harness's Caddyfile has changed: adapt attended")
	}
	after = strings.Replace(after, "\t\tpublic ", "\t\tpersonal_access_tokens\n\t\tpublic ", 1)
	return strings.Replace(before, "\t\tdevelopment\n", "", 1) +
			"\t\tlogin password {\n\t\t\tuser alice {env.HASH} {\n\t\t\t\temail alice@example.com\n\t\t\t}\n\t\t}\n" + after,
		[]string{"HASH=" + string(hash), "CLIENT_SECRET=" + clientSecret}
}

// clientSecret is the secret of confidential clients of the configuration.
const clientSecret = "a secret that Alice's operator made up"

// alice returns a browser visit in which Alice signs in, is shown the program's
// name and lets it in; it returns the URL that the browser was sent back to.
func alice(t *testing.T, program string) func(authorize string) string {
	return func(authorize string) string {
		t.Helper()
		consent := gatewaytest.NewBrowser(t).Open(authorize).SignIn("alice", personPassword)
		if !strings.Contains(consent.Text(), program) {
			t.Errorf("the page does not name %s: %s", program, consent.Text())
		}
		back := consent.Allow()
		if back.Location == nil {
			t.Fatalf("the browser was not sent back: %d %s", back.Status, back.Text())
		}
		return back.Location.String()
	}
}

// TestGoSDKPerson: the SDK's own flow, with a person at the browser who signs
// in, sees what is asked for and agrees, for every way in which the SDK can be
// known.
func TestGoSDKPerson(t *testing.T) {
	t.Parallel()
	g := attended(t,
		"client go-public {", "\tname \"Go of the operator\"", "\tredirect_uri http://127.0.0.1/callback", "}",
		"client go-secret {", "\tname \"Go with a secret\"", "\tredirect_uri http://127.0.0.1/callback",
		"\tsecret {env.CLIENT_SECRET}", "}")
	for _, tt := range []struct {
		name, path, program string
		known               []goKnown
		registrations       int
	}{
		{"dynamic", "/mcp", "Go SDK test", nil, 1},
		{"dynamic SSE", "/sse", "Go SDK test", nil, 1},
		{"document", "/mcp", "Claude Code", []goKnown{byDocument(claudeCode)}, 0},
		{"pre-registered", "/mcp", "Go of the operator", []goKnown{byOperator("go-public", "")}, 0},
		{"pre-registered, secret", "/mcp", "Go with a secret", []goKnown{byOperator("go-secret", clientSecret)}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newGoClient(t, g.URL+tt.path, tt.known...)
			c.person = func(authorize string) url.Values {
				back, err := url.Parse(alice(t, tt.program)(authorize))
				if err != nil {
					t.Error(err)
				}
				return back.Query()
			}
			s := c.connect(t, "")
			hello(t, s, "Go")
			if profile, err := call(t, s, "get_user_profile", nil); err != nil || !strings.Contains(profile, "alice@example.com") {
				t.Errorf("the server was told of the user: %q, %v", profile, err)
			}
			c.rec.take().expect(t, steps{registrations: tt.registrations, codes: 1})
		})
	}
}

// TestTypeScriptSDKPerson is the same for the TypeScript SDK: registered over
// every transport, and in every generation by its document and by the operator.
func TestTypeScriptSDKPerson(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	g := attended(t,
		"client ts-1 {", "\tredirect_uri http://127.0.0.1/callback", "\tsecret {env.CLIENT_SECRET}", "}",
		"client ts-2 {", "\tredirect_uri http://127.0.0.1/callback", "\tsecret {env.CLIENT_SECRET}", "}")
	start := func(t *testing.T, generation, transport, path string, known ...command) *script {
		t.Helper()
		c := startTS(t, generation, transport, g.URL+path)
		c.must(t, command{Do: "person", User: "alice", Password: personPassword})
		for _, k := range known {
			c.must(t, k)
		}
		return c
	}
	for _, kind := range tsKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			c := start(t, kind.generation, kind.transport, kind.path)
			c.must(t, command{Do: "connect"}).Exchanges.expect(t, steps{registrations: 1, codes: 1})
			checkTools(t, c)
			checkRefused(t, c, kind.path)
		})
	}
	// Nobody is asked twice about a program, so each is another one.
	for _, tt := range []struct {
		name, generation string
		known            command
		registrations    int
		method           string // by which it authenticates: the registered one (SPEC P4)
	}{
		{"v1 with a secret", "v1", command{Do: "become", Method: "client_secret_post"}, 1, "client_secret_post"},
		{"v2 with a secret", "v2", command{Do: "become", Method: "client_secret_basic"}, 1, "client_secret_basic"},
		{"v1 document", "v1", command{Do: "become", Document: claudeCode}, 0, "none"},
		{"v2 document", "v2-modern", command{Do: "become", Document: openCode}, 0, "none"},
		{"v1 pre-registered", "v1", command{Do: "become", ID: "ts-1", Secret: clientSecret}, 0, "client_secret_basic"},
		{"v2 pre-registered", "v2-modern", command{Do: "become", ID: "ts-2", Secret: clientSecret}, 0, "client_secret_basic"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := start(t, tt.generation, "http", "/mcp", tt.known)
			all := c.must(t, command{Do: "connect"}).Exchanges
			all.expect(t, steps{registrations: tt.registrations, codes: 1})
			for _, e := range all.to("/oauth/token") {
				if method, _ := e.authentication(); method != tt.method {
					t.Errorf("it authenticates by %s, want %s", method, tt.method)
				}
			}
			checkTools(t, c)
			checkRefused(t, c, "/mcp")
		})
	}
}
