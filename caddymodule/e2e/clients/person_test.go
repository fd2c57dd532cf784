package clients_test

import (
	"net/url"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

const personPassword = "correct horse battery staple"

// attended is a gateway where Alice signs in with a password.
func attended(t *testing.T) *gatewaytest.Gateway {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(personPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(gatewaytest.DefaultCaddyfile, "\t\tdevelopment\n")
	_, after, ok2 := strings.Cut(rest, "\t\t}\n")
	if !ok || !ok2 {
		t.Fatal("the harness's Caddyfile has changed: adapt attended")
	}
	return gatewaytest.Start(t, gatewaytest.Options{
		Caddyfile: before + "\t\tlogin password {\n\t\t\tuser alice {env.HASH} {\n\t\t\t\temail alice@example.com\n\t\t\t}\n\t\t}\n" + after,
		Env:       []string{"HASH=" + string(hash)},
	})
}

// TestGoSDKPerson: the SDK's own flow, with a person at the browser who signs
// in, sees what is asked for and agrees.
func TestGoSDKPerson(t *testing.T) {
	t.Parallel()
	g := attended(t)
	for _, path := range []string{"/mcp", "/sse"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			c := newGoClient(t, g.URL+path)
			c.person = func(authorize string) url.Values {
				consent := gatewaytest.NewBrowser(t).Open(authorize).SignIn("alice", personPassword)
				if !strings.Contains(consent.Text(), "Go SDK test") {
					t.Errorf("the page does not name the program: %s", consent.Text())
				}
				return consent.Allow().Result()
			}
			s := c.connect(t, "")
			hello(t, s, "Go")
			if profile, err := call(t, s, "get_user_profile", nil); err != nil || !strings.Contains(profile, "alice@example.com") {
				t.Errorf("the server was told of the user: %q, %v", profile, err)
			}
		})
	}
}

// TestTypeScriptSDKPerson is the same for the TypeScript SDK.
func TestTypeScriptSDKPerson(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	g := attended(t)
	for _, kind := range tsKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			c := startTS(t, kind.generation, kind.transport, g.URL+kind.path)
			c.must(t, command{Do: "person", User: "alice", Password: personPassword})
			c.must(t, command{Do: "connect"})
			checkTools(t, c)
			checkRefused(t, c, kind.path)
		})
	}
}
