package spec_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// requirement is a numbered requirement and its test.
type requirement struct {
	id   string
	test func(*testing.T)
}

func run(t *testing.T, list []requirement) {
	t.Helper()
	for _, r := range list {
		t.Run(r.id, r.test)
	}
}

// suite stands in for a test where a gateway is shared by many.
var suite gatewaytest.Suite

func TestMain(m *testing.M) { os.Exit(suite.Main(m)) }

// Clients of the configuration. The id and the secret of the first one have
// every character that Basic authentication can get wrong.
const (
	confidentialID     = "urn:example:conf%1"
	confidentialSecret = "s3:cret+ %26&="
	guessedID          = "guessed"
	trustedWebID       = "trusted-web"
	trustedWebURI      = "https://web.example/cb?x=1&y=a%20b"
)

const configuredClients = `
		client "` + confidentialID + `" {
			secret "` + confidentialSecret + `"
			redirect_uri http://127.0.0.1/conf
		}
		client ` + guessedID + ` {
			secret correct-horse-battery-staple
			auth_method client_secret_post
			redirect_uri http://127.0.0.1/guessed
		}
		client ` + trustedWebID + ` {
			redirect_uri "` + trustedWebURI + `"
		}`

// caddyfile returns the configuration of a server for one resource with two
// endpoints, with further lines for the app and the site.
func caddyfile(app, site string) string {
	return strings.NewReplacer("<app>", app, "<site>", site).Replace(`{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	mcp_auth {
		issuer {URL}
		store embedded {DIR}/state.db
		login auto {
			user alice
		}
		<app>
	}
}
{URL} {
	mcp_auth {
		resource {URL}/mcp {URL}/sse
		<site>
	}
	reverse_proxy {UPSTREAM}
}
`)
}

// shared starts a gateway once for all tests that ask for it.
func shared(text string) func() *gatewaytest.Gateway {
	return sync.OnceValue(func() *gatewaytest.Gateway {
		return gatewaytest.Start(&suite, gatewaytest.Options{Caddyfile: text})
	})
}

var (
	development     = shared(caddyfile("development"+configuredClients, ""))
	pathIssuer      = shared(strings.Replace(caddyfile("", ""), "issuer {URL}", "issuer {URL}/t1", 1))
	registrationOff = shared(caddyfile("registration off"+configuredClients, ""))
	initialAccess   = shared(caddyfile("registration {\n access_token let-me-in-0123456789\n}", ""))
	rootPathsOff    = shared(caddyfile("root_paths off", ""))
	graceOff        = shared(caddyfile("refresh_grace off", ""))
	shortLived      = shared(caddyfile("access_token_lifetime 2s\n code_lifetime 3s\n refresh_grace 3s\n refresh_idle 1h", ""))
)

// manySites is a gateway with three resources: two on the issuer's origin and
// one that is an origin itself.
type manySites struct {
	*gatewaytest.Gateway
	// Origin is the third resource.
	Origin string
}

var severalResources = sync.OnceValue(func() manySites {
	origin := fmt.Sprintf("http://localhost:%d", gatewaytest.FreePort(&suite))
	text := strings.Replace(caddyfile("", ""), `	mcp_auth {
		resource {URL}/mcp {URL}/sse
		
	}
	reverse_proxy {UPSTREAM}`, `	handle /b/* {
		mcp_auth {
			resource {URL}/b
			scopes b:read b:write
		}
		reverse_proxy {UPSTREAM}
	}
	handle {
		mcp_auth {
			resource {URL}/mcp
		}
		reverse_proxy {UPSTREAM}
	}`, 1) + origin + ` {
	mcp_auth {
		resource ` + origin + `
		name "The whole origin"
		documentation https://docs.example/
	}
	reverse_proxy {UPSTREAM}
}
`
	return manySites{gatewaytest.Start(&suite, gatewaytest.Options{Caddyfile: text}), origin}
})
