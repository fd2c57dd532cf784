package browser_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// stage is what the scenes play on: gateways with different ways to sign in,
// and a fresh tab.
type stage struct {
	*tab
	// plain has a password form, several has GitHub too, proxied knows people
	// from the headers of a proxy, branded looks different, tokened accepts
	// personal access tokens.
	plain, several, proxied, branded, tokened *gatewaytest.Gateway
	hub                                       *hub
	// owner is who lets programs in.
	owner string
}

// scene leads to a page.
type scene struct {
	// name is that of its pictures, heading the page's in English, status the
	// page's; 0 is 200.
	name, heading string
	status        int
	// minor says that one language is enough.
	minor bool
	play  func(*stage)
}

// TestPages looks at every page: in English, and in Chinese, which is shorter
// and has no spaces to break lines at.
func TestPages(t *testing.T) {
	t.Parallel()
	needChromium(t)
	set := newStage(t)
	for _, language := range []string{"en", "zh"} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			for _, s := range scenes {
				if s.minor && language != "en" {
					continue
				}
				t.Run(s.name, func(t *testing.T) {
					here := *set
					here.tab, here.owner = newTab(t), map[string]string{"en": "olga", "zh": "ling"}[language]
					here.speak(language)
					if s.status != 0 {
						here.expectStatus(s.status)
					}
					s.play(&here)
					s.check(&here, language)
					here.inspect(language + "-" + s.name)
				})
			}
		})
	}
}

// check looks whether this is the page that the scene is about.
func (s *scene) check(at *stage, language string) {
	at.Helper()
	want := max(s.status, http.StatusOK)
	if got := at.status(); got != want {
		at.Errorf("status %d, want %d", got, want)
	}
	if got := eval[string](at.tab, `document.documentElement.lang`); !strings.HasPrefix(got, language) {
		at.Errorf("the page is in the language %q", got)
	}
	if got := at.heading(); (got == s.heading) != (language == "en") {
		at.Errorf("the page is %q, want %q in English\n%s", got, s.heading, at.describe())
	}
}

const proxySecret = "only-the-proxy-and-the-gateway-know"

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{hub: newHub(t)}
	s.plain = start(t, users)
	s.several = start(t, users, s.hub.login())
	s.proxied = start(t, `login header {
			user          X-Remote-User
			email         X-Remote-Email
			name          X-Remote-Name
			secret_header X-Proxy-Secret "`+proxySecret+`"
		}`)
	s.branded = start(t, users, `brand {
			name  "Example AG"
			color "#7a1f3d" "#f2a7bd"
		}`)
	s.tokened = gatewaytest.Start(t, gatewaytest.Options{
		Caddyfile: strings.Replace(strings.Replace(config, "OPTIONS", users, 1), `name "Ticket desk"`, "name \"Ticket desk\"\n\t\tpersonal_access_tokens", 1),
		Env:       []string{"HASH=" + hash()},
	})
	return s
}

// atToken brings a person to the page that shows their new token.
func (s *stage) atToken(name string) {
	s.Helper()
	s.open(s.tokened.URL + "/oauth/account")
	s.signIn(s.owner, password)
	s.do(click("summary"))
	s.fill("name", name)
	s.press("do", "mint_token")
}

// atConsent brings Alice to the consent page of a program.
func (s *stage) atConsent(g *gatewaytest.Gateway, name, redirectURI string) *gatewaytest.Client {
	s.Helper()
	c := register(s, g, name, redirectURI)
	s.open(c.AuthorizeURL())
	s.signIn("alice", password)
	return c
}

// atProvider chooses GitHub, and stands at its question.
func (s *stage) atProvider() *gatewaytest.Client {
	s.Helper()
	c := register(s, s.several, "Desk helper", local)
	s.open(c.AuthorizeURL())
	s.press("login", "github")
	s.shows("GitHub")
	return c
}

// atAccount brings a person to their account page, with three programs more on
// it.
func (s *stage) atAccount() {
	s.Helper()
	letIn(s, s.plain, s.owner, "Claude", site)
	letIn(s, s.plain, s.owner, "Cursor", app)
	_, token := letIn(s, s.plain, s.owner, "Desk helper", local)
	gatewaytest.Call(s, s.plain.URL, token)
	s.open(s.plain.URL + "/oauth/account")
	s.signIn(s.owner, password)
}

// rendered shows a page that it would take too long to come by.
func (s *stage) rendered(p pages.Page, status int) {
	s.Helper()
	site, err := pages.NewSite(pages.SiteConfig{Issuer: "https://mcp.example.com", Home: "/oauth/", Account: "/oauth/account"})
	if err != nil {
		s.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { site.Write(w, r, status, p) }))
	s.Cleanup(server.Close)
	s.open(server.URL)
}

// viaProxy makes the browser's requests look as if a proxy had signed Alice in.
func (s *stage) viaProxy() {
	s.Helper()
	call(s.tab, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{
		"X-Proxy-Secret": proxySecret, "X-Remote-User": "alice", "X-Remote-Email": "alice@example.com", "X-Remote-Name": "Alice Example",
	}})
}

// TestDocs: the page that tries out the API is somebody else's and needs
// scripts. It has to come up under our policy without a complaint.
func TestDocs(t *testing.T) {
	t.Parallel()
	g := start(t, users)
	b := newTab(t)
	b.open(g.URL + "/oauth/docs")
	b.wait("the endpoints", `document.querySelectorAll(".opblock").length > 5`)
	b.picture("en-docs-light")
}
