package browser_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// password is everybody's.
const password = "the way is known"

// hash is a cheap one, because the tests sign in often.
var hash = sync.OnceValue(func() string {
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	return string(h)
})

// users is the usual way to sign in. Mallory may not come in.
const users = `login password {
			user alice {env.HASH} {
				email alice@example.com
				name  "Alice Example"
			}
			user bob {env.HASH}
			user olga {env.HASH} {
				email olga@example.com
				name  "Olga Example"
			}
			user ling {env.HASH} {
				email ling@example.com
				name  "林玲"
			}
			user mallory {env.HASH} {
				email mallory@example.com
			}
		}
		deny user mallory`

const config = `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	mcp_auth {
		issuer {URL}
		store embedded {DIR}/state.db
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

// start runs a gateway with options of mcp_auth, a login among them.
func start(tb testing.TB, options ...string) *gatewaytest.Gateway {
	tb.Helper()
	needChromium(tb)
	return gatewaytest.Start(tb, gatewaytest.Options{
		Caddyfile: strings.Replace(config, "OPTIONS", strings.Join(options, "\n\t\t"), 1),
		Env:       []string{"HASH=" + hash()},
	})
}

// startSecure runs a gateway that serves https under a name that Chromium takes
// for one on the internet, and returns its origin.
func startSecure(tb testing.TB, options ...string) string {
	tb.Helper()
	needChromium(tb)
	plain, secure := gatewaytest.FreePort(tb), gatewaytest.FreePort(tb)
	origin := fmt.Sprintf("https://mcp.test:%d", secure)
	text := strings.NewReplacer(
		"OPTIONS", strings.Join(options, "\n\t\t"),
		"persist_config off", fmt.Sprintf("persist_config off\n\tskip_install_trust\n\thttp_port %d\n\thttps_port %d", plain, secure),
		"{URL} {", origin+" {\n\ttls internal", "{URL}", origin,
	).Replace(config)
	gatewaytest.Start(tb, gatewaytest.Options{
		Caddyfile: text + "{URL} {\n\trespond ready\n}\n",
		Env:       []string{"HASH=" + hash()},
	})
	// Caddy makes its certificate after it has begun to serve.
	address := fmt.Sprintf("127.0.0.1:%d", secure)
	poll(tb, "the certificate", func() (bool, error) {
		conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: "mcp.test", InsecureSkipVerify: true})
		if err != nil {
			return false, err
		}
		return true, conn.Close()
	})
	return origin
}

// verifier is the PKCE verifier of clients that are not registered here.
var verifier = strings.Repeat("verifier-0123456789.", 3)

// letIn lets a program in without looking at pages, and returns it with its
// token.
func letIn(tb testing.TB, g *gatewaytest.Gateway, user, name, redirectURI string) (c *gatewaytest.Client, token string) {
	tb.Helper()
	c = register(tb, g, name, redirectURI)
	consent := gatewaytest.NewBrowser(tb).Open(c.AuthorizeURL()).SignIn(user, password)
	answer := consent.Allow()
	to := answer.Location
	if to == nil { // an app's answer is a link on a page
		to = parse(tb, answer.Links()[0])
	}
	r := c.Redeem(tb, to.Query().Get("code"))
	if r.Status != http.StatusOK {
		tb.Fatalf("no token: %s", r.Body)
	}
	return c, r.Text(tb, "access_token")
}

// register registers a program under a name with one redirect URI.
func register(tb testing.TB, g *gatewaytest.Gateway, name, redirectURI string) *gatewaytest.Client {
	tb.Helper()
	metadata, err := json.Marshal(map[string]any{"client_name": name, "redirect_uris": []string{redirectURI}})
	if err != nil {
		tb.Fatal(err)
	}
	return gatewaytest.RegisterAs(tb, g.URL, string(metadata))
}

// program is a client that listens for its answer, on this machine or on a web
// site of its own.
type program struct {
	*gatewaytest.Client
	testing.TB
	answers chan url.Values
	// then is where the callback sends the browser, "" for a page of its own.
	then string
}

const doneTitle = "The program goes on"

// newProgram returns a program on this machine.
func newProgram(tb testing.TB, g *gatewaytest.Gateway) *program {
	tb.Helper()
	p := &program{TB: tb, answers: make(chan url.Values, 10)}
	server := httptest.NewServer(p)
	tb.Cleanup(server.Close)
	p.Client = register(tb, g, "Desk helper", server.URL+"/cb")
	return p
}

// newWebProgram returns a program on the web.
func newWebProgram(tb testing.TB, g *gatewaytest.Gateway, host string) *program {
	tb.Helper()
	p := &program{TB: tb, answers: make(chan url.Values, 10)}
	p.Client = register(tb, g, "Web helper", web.serve(tb, host, p)+"/cb")
	return p
}

// ServeHTTP takes the answer.
func (p *program) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/cb" {
		http.NotFound(w, r)
		return
	}
	p.answers <- r.URL.Query()
	if p.then != "" {
		http.Redirect(w, r, p.then, http.StatusFound)
		return
	}
	finished(w, r)
}

// finished is a page of the program.
func finished(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprintf(w, `<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>%s</title><h1>%[1]s</h1>`, doneTitle)
}

// answer returns the only answer that the program has got so far.
func (p *program) answer() url.Values {
	p.Helper()
	select {
	case a := <-p.answers:
		if a.Get("state") != "st-1" || a.Get("iss") != p.Base {
			p.Errorf("the program was called back with %v", a)
		}
		p.none()
		return a
	default:
		p.Fatal("the program was not called back")
		return nil
	}
}

// none checks that the program has got no further answer.
func (p *program) none() {
	p.Helper()
	select {
	case a := <-p.answers:
		p.Errorf("the program was called back: %v", a)
	default:
	}
}

// redeems checks that the answer is good for a token that opens the resource.
func (p *program) redeems(answer url.Values) {
	p.Helper()
	r := p.Redeem(p, answer.Get("code"))
	if r.Status != http.StatusOK {
		p.Fatalf("no token for %v: %d %s", answer, r.Status, r.Body)
	}
	if r := gatewaytest.Call(p, p.Base, r.Text(p, "access_token")); r.Status != http.StatusOK {
		p.Errorf("a call with the token: %d %s", r.Status, r.Body)
	}
}

// withQuery adds names and values, in turn, to a URL without a query.
func withQuery(target string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return target + "?" + q.Encode()
}

func parse(tb testing.TB, raw string) *url.URL {
	tb.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}
