package authserver

import (
	"bytes"
	"context"
	"errors"
	"html"
	"image"
	"image/png"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// The tests here are about what becomes of a grant when its client's document
// can't be had, or changes, and about what people see of a document.

// SPEC E21: tokens need no document, at once, after a restart, and on another
// node.
func TestDocumentHostDown(t *testing.T) {
	for _, c := range []struct {
		name  string
		other bool // the tokens are asked of a node that never saw the document
	}{{"here", false}, {"after a restart, or on another node", true}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWeb(t, nil)
			w.publish(docID, document(docID), "Cache-Control", "max-age=60")
			b, page := w.consent(t, request(docID))
			code := result(t, b.decide(page, "allow")).Get("code")
			asked := w.net.Seen(docHost)
			w.fails(docID, http.StatusInternalServerError)
			r := w.rig
			if c.other {
				r = w.node(t, w.sharing)
			}
			tokens := decode[oauth.TokenResponse](t, r.form("/oauth/token", codeForm(docID, code)), http.StatusOK)
			if w.net.Seen(docHost) != asked {
				t.Error("the code's redemption asked the host")
			}
			for range 5 {
				w.pass(5 * 24 * time.Hour) // also longer than a stale document serves
				tokens = r.refresh(t, docID, tokens.RefreshToken)
			}
			r.Close() // what was looked at in the background has ended
			r.refresh(t, docID, tokens.RefreshToken)
		})
	}
}

// A code says what the document said. Nobody can make one, and none is good for
// another client.
func TestDocumentCodeWithoutDocument(t *testing.T) {
	w := newWeb(t, nil)
	w.publish(docID, document(docID))
	b, page := w.consent(t, request(docID))
	code := result(t, b.decide(page, "allow")).Get("code")
	if len(code) > 1000 {
		t.Errorf("the code has %d characters", len(code))
	}
	const other = "https://other.example.com/client.json"
	for name, form := range map[string]url.Values{
		"made up": codeForm(docID, "x"), "of another": codeForm(other, code), "changed": codeForm(docID, code[:len(code)-2]+"AA"),
		"refresh made up": refreshForm(docID, "x"), "refresh made up by another": refreshForm(other, code),
	} {
		t.Run(name, func(t *testing.T) { w.refused(t, form, http.StatusBadRequest, "invalid_grant") })
	}
	for name, form := range map[string]url.Values{"no code": codeForm(docID, ""), "no token": refreshForm(docID, "")} {
		t.Run(name, func(t *testing.T) { w.refused(t, form, http.StatusBadRequest, "invalid_request") })
	}
	if w.net.Seen("other.example.com") != 0 {
		t.Error("a token request had a document fetched")
	}
	dynamic := w.register(t, webClient).ClientID
	w.refused(t, codeForm(dynamic, code), http.StatusBadRequest, "invalid_grant")
	tokens := decode[oauth.TokenResponse](t, w.form("/oauth/token", codeForm(docID, code)), http.StatusOK)
	fresh := w.node(t, w.sharing)
	fresh.refused(t, refreshForm(other, tokens.RefreshToken), http.StatusBadRequest, "invalid_grant")
	fresh.refused(t, refreshForm(dynamic, tokens.RefreshToken), http.StatusBadRequest, "invalid_grant")
	t.Run("a replay is noticed though the document is gone", func(t *testing.T) {
		w.pass(2 * time.Hour)
		fresh.refused(t, codeForm(docID, code), http.StatusBadRequest, "invalid_grant")
		fresh.refused(t, refreshForm(docID, tokens.RefreshToken), http.StatusBadRequest, "invalid_grant")
	})
}

// An outage of the store is no verdict about a client that only the grant knows.
func TestDocumentOutage(t *testing.T) {
	w := newWeb(t, nil)
	w.publish(docID, document(docID))
	tokens := w.browser(t).approve(request(docID), docID)
	broken := &grantless{}
	other := w.node(t, func(c *Config, d *Deps) {
		w.sharing(c, d)
		broken.Store = d.Store
		d.Store = broken
	})
	other.refused(t, refreshForm(docID, tokens.RefreshToken), http.StatusServiceUnavailable, "temporarily_unavailable")
	broken.works = true
	other.refresh(t, docID, tokens.RefreshToken)
}

// grantless is a store that can't read grants.
type grantless struct {
	store.Store
	works bool
}

func (g *grantless) Grant(ctx context.Context, now time.Time, id string) (store.Grant, error) {
	if !g.works {
		return store.Grant{}, errors.New("the database is away")
	}
	return g.Store.Grant(ctx, now, id)
}

// renewed publishes another version and has it looked at.
func (w *web) renewed(tb testing.TB, text string) {
	tb.Helper()
	w.publish(docID, text, "Cache-Control", "max-age=60")
	w.pass(10 * time.Minute)
	if _, _, err := w.documents.cache.Renew(tb.Context(), docID, 0); err != nil {
		tb.Fatal(err)
	}
}

// SPEC E15, D7: what a changed document does to consent and grants.
func TestDocumentChanges(t *testing.T) {
	key := set{"jwks_uri", "https://keys.example.com/jwks.json"}
	for _, c := range []struct {
		name    string
		before  []set
		after   []set
		asks    bool // the consent page comes again
		refuses bool // the grant ends at its next refresh
	}{
		{"nothing", nil, nil, false, false},
		{"members that mean nothing here", nil, []set{{"contacts", []string{"x"}}}, false, false},
		{"name", nil, []set{{"client_name", "Another"}}, true, false},
		{"logo", nil, []set{{"logo_uri", "https://client.example.com/x.png"}}, true, false},
		{"further redirect URI", nil, []set{{"redirect_uris", []string{docRedirect, "https://client.example.com/2"}}}, true, false},
		{"redirect URI gone", []set{{"redirect_uris", []string{docRedirect, "https://client.example.com/2"}}}, []set{{"redirect_uris", []string{"https://client.example.com/2"}}}, true, true},
		{"refresh tokens gone", nil, []set{{"grant_types", []string{"authorization_code"}}}, true, true},
		{"keys appear beside none", nil, []set{{"token_endpoint_auth_methods_supported", []string{"none", "private_key_jwt"}}, key}, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWeb(t, nil)
			w.publish(docID, document(docID, c.before...), "Cache-Control", "max-age=60")
			b := w.browser(t)
			tokens := b.approve(request(docID, "redirect_uri", docRedirect), docID)
			w.renewed(t, document(docID, c.after...))
			if c.refuses {
				w.refused(t, refreshForm(docID, tokens.RefreshToken), http.StatusBadRequest, "invalid_grant")
				g, err := w.store.Grant(t.Context(), w.clock, grantOf(t, w.rig, tokens.RefreshToken))
				if !errors.Is(err, store.ErrRevoked) {
					t.Errorf("the grant is %+v, %v", g, err)
				}
			} else {
				w.refresh(t, docID, tokens.RefreshToken)
			}
			redirect := docRedirect
			if c.name == "redirect URI gone" {
				redirect = "https://client.example.com/2"
			}
			page := b.get(request(docID, "redirect_uri", redirect))
			if asks := page.Code == http.StatusOK && strings.Contains(page.Body.String(), consentMarker); asks != c.asks {
				t.Errorf("the person is asked: %v, want %v (%d)", asks, c.asks, page.Code)
			}
		})
	}
	t.Run("it no longer proves who it is", func(t *testing.T) {
		w := newWeb(t, nil)
		public := Client{ID: docID, Origin: ClientDocument, RedirectURIs: []string{docRedirect}, GrantTypes: []string{"refresh_token"}, AuthMethod: "none"}
		both, proves := public, public
		both.AuthMethod, both.AlsoPublic = oauth.AuthMethodPrivateKeyJWT, true
		proves.AuthMethod = oauth.AuthMethodPrivateKeyJWT
		for _, c := range []struct {
			was, is Client
			ends    bool
		}{{proves, proves, false}, {proves, both, true}, {proves, public, true}, {both, public, false}, {public, proves, false}} {
			g := store.Grant{
				ID: newGrantID(), RedirectURI: docRedirect, ClientMetadata: c.was.snapshot().String(),
				Created: w.clock, Expires: w.clock.Add(time.Hour), NotAfter: w.clock.Add(time.Hour),
			}
			if err := w.store.CreateGrant(t.Context(), w.clock, g); err != nil {
				t.Fatal(err)
			}
			if err := w.checkDocument(t.Context(), w.clock, c.is, g); (err != nil) != c.ends {
				t.Errorf("%+v became %+v: %v", c.was.snapshot(), c.is.snapshot(), err)
			}
		}
	})
}

// eventually waits for what happens in the background.
func eventually(tb testing.TB, happened func() bool) {
	tb.Helper()
	for until := time.Now().Add(10 * time.Second); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			tb.Fatal("it did not happen")
		}
	}
}

func newGrantID() string { return codeData{Nonce: newNonce()}.grantID() }

// SPEC E15, E21: a refresh has the document looked at in the background, not
// more often than once in a while, and the next refresh sees what it says.
func TestDocumentLookedAtByRefresh(t *testing.T) {
	w := newWeb(t, nil)
	w.publish(docID, document(docID), "Cache-Control", "max-age=60")
	tokens := w.browser(t).approve(request(docID), docID)
	other := w.node(t, w.sharing) // it knows nothing of the document
	before := w.net.Seen(docHost)
	answer := make(chan struct{})
	w.handle(docID, func(rw http.ResponseWriter, _ *http.Request) {
		<-answer
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte(document(docID, set{"redirect_uris", []string{"https://client.example.com/moved"}})))
	})
	for range 5 {
		tokens = other.refresh(t, docID, tokens.RefreshToken)
	}
	close(answer)
	eventually(t, func() bool { _, _, ok := other.documents.cache.Peek(docID); return ok })
	if n := w.net.Seen(docHost) - before; n != 1 {
		t.Errorf("%d requests for five refreshes", n)
	}
	other.refused(t, refreshForm(docID, tokens.RefreshToken), http.StatusBadRequest, "invalid_grant")
}

// A host that fails is not asked again for every refresh.
func TestDocumentHostDownNotAskedOften(t *testing.T) {
	w := newWeb(t, nil)
	w.publish(docID, document(docID))
	tokens := w.browser(t).approve(request(docID), docID)
	w.fails(docID, http.StatusInternalServerError)
	other := w.node(t, w.sharing)
	before := w.net.Seen(docHost)
	tokens = other.refresh(t, docID, tokens.RefreshToken)
	eventually(t, func() bool { return w.net.Seen(docHost) > before })
	for range 5 {
		tokens = other.refresh(t, docID, tokens.RefreshToken)
		time.Sleep(10 * time.Millisecond) // for what should not happen
	}
	if n := w.net.Seen(docHost) - before; n != 1 {
		t.Errorf("%d requests for six refreshes", n)
	}
}

// A host that the operator denies later ends what its programs have.
func TestDocumentDeniedLater(t *testing.T) {
	w := newWeb(t, nil)
	w.publish(docID, document(docID))
	tokens := w.browser(t).approve(request(docID), docID)
	other := w.node(t, func(c *Config, d *Deps) {
		w.sharing(c, d)
		c.Documents.Deny = []string{docHost}
	})
	other.refused(t, refreshForm(docID, tokens.RefreshToken), http.StatusUnauthorized, "invalid_client")
}

// SPEC F27: a program on this computer can be any program: it asks each time. A
// web program with the same metadata does not.
func TestDocumentConsentAgain(t *testing.T) {
	for _, c := range []struct {
		redirect string
		asks     bool
	}{{"http://127.0.0.1/callback", true}, {"cursor://x/callback", true}, {docRedirect, false}} {
		w := newWeb(t, nil)
		w.publish(docID, document(docID, set{"redirect_uris", []string{c.redirect}}))
		b := w.browser(t)
		page := b.signIn(request(docID), "alice")
		w.form("/oauth/token", codeForm(docID, codeIn(t, b.decide(page, "allow").Body.String(), b.decide(page, "allow").Header().Get("Location"))))
		again := b.get(request(docID))
		if asks := strings.Contains(again.Body.String(), consentMarker); asks != c.asks {
			t.Errorf("%s: asked again %v, want %v", c.redirect, asks, c.asks)
		}
	}
}

var codeParam = regexp.MustCompile(`[?&](?:amp;)?code=([^&"]+)`)

// codeIn finds a code in a redirect, or in a page that leads to a program.
func codeIn(tb testing.TB, body, location string) string {
	tb.Helper()
	m := codeParam.FindStringSubmatch(html.UnescapeString(location + " " + body))
	if m == nil {
		tb.Fatalf("no code in %q %.300s", location, body)
	}
	return m[1]
}

// SPEC E16, E18: what the consent page says of where a program comes from.
func TestDocumentConsentPage(t *testing.T) {
	const impostor, unfamiliar = "any program on this computer can use the same description", "asks you to look twice"
	for _, c := range []struct {
		name      string
		redirects []string
		warn      []string
		want, not []string
	}{
		{"web", []string{"https://app.example.net/cb"}, nil, []string{"client.example.com", "app.example.net"}, []string{impostor, unfamiliar}},
		{"loopback only", []string{"http://127.0.0.1/cb"}, nil, []string{"client.example.com", "127.0.0.1", impostor}, []string{unfamiliar}},
		{"loopback and web", []string{"http://127.0.0.1/cb", "https://app.example.net/cb"}, nil, []string{"client.example.com", "127.0.0.1"}, []string{impostor}},
		{"warned of", []string{docRedirect}, []string{"*.example.com"}, []string{"client.example.com", unfamiliar}, []string{impostor}},
		{"warned of another", []string{docRedirect}, []string{"example.com", "*.example.net"}, nil, []string{unfamiliar}},
		{"warned of all", []string{docRedirect}, []string{"*"}, []string{unfamiliar}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWeb(t, func(cfg *Config, _ *Deps) { cfg.Documents.Warn = c.warn })
			w.publish(docID, document(docID, set{"redirect_uris", c.redirects}))
			_, page := w.consent(t, request(docID, "redirect_uri", c.redirects[0]))
			text := strings.ReplaceAll(page.Body.String(), "<wbr>", "")
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("the page does not say %q", want)
				}
			}
			for _, not := range c.not {
				if strings.Contains(text, not) {
					t.Errorf("the page says %q", not)
				}
			}
		})
	}
}

var logoSource = regexp.MustCompile(`<img class="logo" src="([^"]+)"`)

// SPEC E17, O40: logos come from our origin, are pictures, and are harmless.
func TestDocumentLogo(t *testing.T) {
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 4, 4))); err != nil {
		t.Fatal(err)
	}
	const logo = "https://static.example.net/logo.png"
	for _, c := range []struct {
		name, uri, kind, body string
		want                  string // its type here, or "" for none
	}{
		{"png", logo, "image/png", picture.String(), "image/png"},
		{"png that is called something else", logo, "text/html", picture.String(), "image/png"},
		{"gif", logo, "image/gif", "GIF89a\x01\x00\x01\x00\x00\x00\x00;", "image/gif"},
		{"jpeg", logo, "image/jpeg", "\xff\xd8\xff\xe0 JFIF", "image/jpeg"},
		{"webp", logo, "image/webp", "RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"},
		{"svg", logo, "image/svg+xml", `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`, ""},
		{"svg that is called a picture", logo, "image/png", `<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>`, ""},
		{"page", logo, "image/png", "<html><script>alert(1)</script></html>", ""},
		{"bitmap", logo, "image/bmp", "BM" + strings.Repeat("x", 60), ""},
		{"nothing", logo, "image/png", "", ""},
		{"too large", logo, "image/png", picture.String() + strings.Repeat("x", 100<<10), ""},
		{"a file", "file:///etc/passwd", "image/png", picture.String(), ""},
		{"data", "data:image/png;base64,AAAA", "image/png", picture.String(), ""},
		{"plain http", "http://static.example.net/logo.png", "image/png", picture.String(), ""},
		{"at home", "https://127.0.0.1/logo.png", "image/png", picture.String(), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWeb(t, nil)
			w.publish(docID, document(docID, set{"logo_uri", c.uri}))
			w.publish(logo, c.body, "Content-Type", c.kind)
			b, _ := w.consent(t, request(docID, "prompt", "consent"))
			if c.want != "" {
				eventually(t, func() bool { _, _, ok := w.documents.logos.Peek(logo); return ok })
			} else if _, _, err := w.documents.logos.Get(t.Context(), c.uri); err == nil {
				t.Error("the logo is taken")
			}
			page := b.get(request(docID, "prompt", "consent"))
			shows(t, page, http.StatusOK, consentMarker)
			if strings.Contains(page.Body.String(), "static.example.net") {
				t.Error("the page names the logo's host")
			}
			m := logoSource.FindStringSubmatch(page.Body.String())
			if c.want == "" {
				if m != nil {
					t.Errorf("the page shows %s", m[1])
				}
				return
			}
			if m == nil || !strings.HasPrefix(m[1], clientLogoPath+"?logo=") {
				t.Fatalf("the page shows no logo of this origin: %v", m)
			}
			got := b.get(html.UnescapeString(m[1]))
			h := got.Header()
			if got.Code != http.StatusOK || h.Get("Content-Type") != c.want || got.Body.String() != c.body {
				t.Errorf("%d %s, %d bytes", got.Code, h.Get("Content-Type"), got.Body.Len())
			}
			if h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") {
				t.Errorf("headers %v", h)
			}
		})
	}
}

// A logo's address can't be made up, ends, and fetches nothing.
func TestDocumentLogoAddress(t *testing.T) {
	w := newWeb(t, nil)
	b := w.browser(t)
	sealed, err := w.deps.Keys.Ring().Sealer.Seal("logo", []byte("https://static.example.net/logo.png"), w.clock.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"", "?logo=", "?logo=https://static.example.net/logo.png", "?logo=" + sealed[:len(sealed)-2] + "AA"} {
		if got := b.get(clientLogoPath + query).Code; got != http.StatusBadRequest {
			t.Errorf("%q: %d", query, got)
		}
	}
	if got := b.get(clientLogoPath + "?logo=" + sealed).Code; got != http.StatusNotFound {
		t.Errorf("one that is not in memory: %d", got)
	}
	w.pass(2 * time.Hour)
	if got := b.get(clientLogoPath + "?logo=" + sealed).Code; got != http.StatusBadRequest {
		t.Errorf("an old address: %d", got)
	}
	if w.net.Connections() != 0 {
		t.Error("something was fetched")
	}
	if !slices.ContainsFunc(w.Routes(), func(r Route) bool { return r.Path == clientLogoPath }) {
		t.Error("no route")
	}
}

// FuzzDocument: whatever a host sends, it is refused or a client that is safe
// to show and to send codes to.
func FuzzDocument(f *testing.F) {
	f.Add(document(docID))
	f.Add(document(docID, set{"token_endpoint_auth_method", "private_key_jwt"}, set{"jwks_uri", "https://keys.example.com/k"}))
	f.Add(`{"client_id":"` + docID + `","client_name":"x","redirect_uris":["javascript:alert(1)"]}`)
	f.Add(`{"client_secret":null}`)
	w := newWeb(f, nil)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := w.parseDocument(docID, []byte(text))
		if err != nil {
			return
		}
		if c.ID != docID || c.Name == "" || len(c.RedirectURIs) == 0 || c.Secret != "" || c.Origin != ClientDocument {
			t.Errorf("%+v", c)
		}
		for _, uri := range c.RedirectURIs {
			if err := oauth.CheckRedirectURI(uri, oauth.DefaultRedirectSchemes); err != nil {
				t.Errorf("%q %v", uri, err)
			}
		}
		if confidential := c.AuthMethod == oauth.AuthMethodPrivateKeyJWT; confidential != (len(c.JWKS) > 0 || c.JWKSURI != "") || !confidential && c.AuthMethod != oauth.AuthMethodNone {
			t.Errorf("%+v", c)
		}
	})
}
