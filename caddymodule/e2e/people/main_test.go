package people_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// The people of the tests; each one's password is their name and these words.
const passwordOf = " knows the way"

// hashes are cheap ones, because the tests sign in often.
var hashes = func() map[string]string {
	all := map[string]string{}
	for _, name := range []string{"alice", "bob", "carol", "dave", "mallory"} {
		all[name] = hashOf(name + passwordOf)
	}
	return all
}()

func hashOf(password string) string {
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	return string(h)
}

// config is the configuration of most tests: carol is disabled, and mallory is
// not invited.
const config = `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	debug
	mcp_auth {
		issuer {URL}
		store embedded {DIR}/state.db
		login password {
			user alice {env.ALICE} {
				email  alice@example.com
				name   "Alice Example"
				groups staff leads
			}
			user bob {env.BOB} {
				email bob@example.com
			}
			user carol {env.CAROL} {
				email carol@example.com
				disabled
			}
			user dave {env.DAVE}
			user mallory {env.MALLORY} {
				email mallory@example.com
			}
		}
		deny user mallory
		OPTIONS
	}
}
{URL} {
	log
	mcp_auth {
		name "Ticket desk"
		resource {URL}/mcp {URL}/sse
	}
	reverse_proxy {UPSTREAM}
}
`

// configured is the configuration with further options of mcp_auth, one a line.
func configured(options ...string) string {
	return strings.Replace(config, "OPTIONS", strings.Join(options, "\n\t\t"), 1)
}

// behindProxies makes a gateway believe X-Forwarded-For from this machine, so
// that a test can be at many addresses.
func behindProxies(caddyfile string) string {
	return strings.Replace(caddyfile, "default_bind 127.0.0.1", "default_bind 127.0.0.1\n\tservers {\n\t\ttrusted_proxies static 127.0.0.1/32\n\t\ttrusted_proxies_strict\n\t}", 1)
}

func env() []string {
	var all []string
	for name, hash := range hashes {
		all = append(all, strings.ToUpper(name)+"="+hash)
	}
	return all
}

// start runs a gateway with further options of mcp_auth.
func start(tb testing.TB, options ...string) *gatewaytest.Gateway {
	tb.Helper()
	return gatewaytest.Start(tb, gatewaytest.Options{Caddyfile: configured(options...), Env: env()})
}

// startTLS runs a gateway whose issuer has https, with a certificate of Caddy's
// own authority. It returns the authority's certificate, in PEM.
func startTLS(tb testing.TB, upstream string) (g *gatewaytest.Gateway, authority []byte) {
	tb.Helper()
	port := gatewaytest.FreePort(tb)
	issuer := "https://localhost:" + itoa(port)
	text := strings.NewReplacer(
		"persist_config off", "persist_config off\n\tskip_install_trust\n\tauto_https disable_redirects",
		"{URL} {", issuer+" {\n\ttls internal", "{URL}", issuer,
	).Replace(configured()) + "{URL} {\n\trespond ready\n}\n"
	g = gatewaytest.Start(tb, gatewaytest.Options{Caddyfile: text, Env: env(), Upstream: upstream})
	authority, err := os.ReadFile(filepath.Join(g.Dir, "caddy", "pki", "authorities", "local", "root.crt"))
	if err != nil {
		tb.Fatal(err)
	}
	g.URL = issuer
	b := gatewaytest.NewBrowser(tb)
	b.Trust(authority)
	eventually(tb, 10*time.Second, "the certificate is there", func() bool { return b.Answers(issuer) })
	return g, authority
}

// TestPeople runs the tests that share a gateway: those that change nothing
// that another one looks at.
func TestPeople(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{
		Caddyfile: behindProxies(configured("trusted_redirect_hosts trusted.example", sharedClients)), Env: env(),
	})
	for _, group := range []struct {
		name string
		test func(*testing.T, *gatewaytest.Gateway)
	}{
		{"flow", testFlow},
		{"prompt", testPrompt},
		{"consent", testConsent},
		{"remembered", testRemembered},
		{"consent form", testConsentForm},
		{"redirects", testRedirects},
		{"headers", testHeaders},
		{"session", testSession},
		{"hostile names", testHostileNames},
		{"hostile states", testHostileStates},
		{"hostile hosts", testHostileHosts},
		{"hostile requests", testHostileRequests},
		{"threats", testThreats},
		{"forms", testForms},
		{"methods", testMethods},
		{"mistakes", testMistakes},
		{"gone through by hand", testByHand},
	} {
		t.Run(group.name, func(t *testing.T) { group.test(t, g) })
	}
}

// Clients of the shared gateway's configuration.
const (
	partnerID  = "partner"
	partnerURI = "https://partner.example/cb?tenant=1"
	cliSecret  = "a-secret-that-the-operator-gave-out"
	cliURI     = "http://127.0.0.1/cli"

	sharedClients = `client ` + partnerID + ` {
			name "Partner desk"
			redirect_uri ` + partnerURI + `
		}
		client cli {
			secret ` + cliSecret + `
			auth_method client_secret_post
			redirect_uri ` + cliURI + `
		}`
)

const (
	loopback = "http://127.0.0.1/cb"
	web      = "https://client.example/cb"
	private  = "cursor://app/cb"
)

// client registers a client with a redirect URI.
func client(tb testing.TB, g *gatewaytest.Gateway, redirectURI string) *gatewaytest.Client {
	tb.Helper()
	return gatewaytest.RegisterAs(tb, g.URL, `{"client_name":"Tester","redirect_uris":["`+redirectURI+`"]}`)
}

// configuredClient is a client of the configuration.
func configuredClient(g *gatewaytest.Gateway, id, secret, redirectURI string) *gatewaytest.Client {
	return &gatewaytest.Client{Base: g.URL, ID: id, Secret: secret, RedirectURI: redirectURI, Verifier: strings.Repeat("verifier-0123456789.", 3)}
}

// signedIn returns a browser in which somebody has signed in, and the page that
// they see then.
func signedIn(tb testing.TB, c *gatewaytest.Client, name string) (*gatewaytest.Browser, *gatewaytest.Page) {
	tb.Helper()
	b := browser(tb)
	return b, b.Open(c.AuthorizeURL()).SignIn(name, name+passwordOf)
}

// redeemed returns the tokens for an answer to a client.
func redeemed(tb testing.TB, c *gatewaytest.Client, result url.Values) (access, refresh string) {
	tb.Helper()
	r := c.Redeem(tb, result.Get("code"))
	if r.Status != http.StatusOK {
		tb.Fatalf("no token: %v %s", result, r.Body)
	}
	return r.Text(tb, "access_token"), r.Text(tb, "refresh_token")
}

// approved goes through the whole flow in a browser in which somebody has
// signed in, and returns the tokens.
func approved(tb testing.TB, b *gatewaytest.Browser, c *gatewaytest.Client, params ...string) (access, refresh string) {
	tb.Helper()
	return redeemed(tb, c, b.Open(c.AuthorizeURL(params...)).Allow().Result())
}
