package authserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch/fetchtest"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// The client whose document most of these tests serve.
const (
	docHost     = "client.example.com"
	docID       = "https://client.example.com/oauth/client.json"
	docRedirect = "https://client.example.com/callback"
)

// set is a change of a document: one member set, or removed with nil.
type set struct {
	name  string
	value any
}

// document is a metadata document as most clients publish it, with changes.
func document(id string, changes ...set) string {
	doc := map[string]any{
		"client_id": id, "client_name": "Example Client", "client_uri": "https://client.example.com", "redirect_uris": []string{docRedirect},
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"}, "token_endpoint_auth_method": "none",
	}
	for _, m := range changes {
		if doc[m.name] = m.value; m.value == nil {
			delete(doc, m.name)
		}
	}
	text, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// web is a rig with an internet of its own.
type web struct {
	*rig
	net *fetchtest.Net

	pagesMu sync.Mutex
	pages   map[string]http.HandlerFunc // by host and path
}

// newWeb returns a rig where people sign in, that fetches documents from an
// internet of the test's.
func newWeb(tb testing.TB, edit func(*Config, *Deps)) *web {
	tb.Helper()
	w := &web{net: fetchtest.New(tb), pages: map[string]http.HandlerFunc{}}
	w.rig = w.node(tb, edit)
	return w
}

// node returns another node: a server without anything in memory. Whoever edits
// Deps decides what it shares with others.
func (w *web) node(tb testing.TB, edit func(*Config, *Deps)) *rig {
	tb.Helper()
	r := newRig(tb, func(c *Config, d *Deps) {
		c.AllowUnattended = false
		d.Logins = []login.Method{typed{}, away{"idp"}}
		d.Fetch = fetch.New(w.net.Options())
		if edit != nil {
			edit(c, d)
		}
	})
	tb.Cleanup(r.Close)
	return r
}

// sharing makes a node share store and keys with the first one.
func (w *web) sharing(_ *Config, d *Deps) { d.Store, d.Keys, d.Now = w.store, w.deps.Keys, w.deps.Now }

// handle answers at a URL of the test's internet.
func (w *web) handle(address string, h http.HandlerFunc) {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	w.pagesMu.Lock()
	w.pages[u.Host+u.Path] = h
	w.pagesMu.Unlock()
	host := u.Hostname()
	w.net.Handle(host, func(rw http.ResponseWriter, r *http.Request) {
		w.pagesMu.Lock()
		h := w.pages[host+r.URL.Path]
		w.pagesMu.Unlock()
		if h == nil {
			http.NotFound(rw, r)
			return
		}
		h(rw, r)
	})
}

// publish serves a text at a URL, with further headers as pairs.
func (w *web) publish(address, text string, header ...string) {
	w.handle(address, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		for i := 0; i+1 < len(header); i += 2 {
			rw.Header().Set(header[i], header[i+1])
		}
		_, _ = rw.Write([]byte(text))
	})
}

// fails makes a URL answer with a status and a page for people.
func (w *web) fails(address string, status int) {
	w.handle(address, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		rw.WriteHeader(status)
		_, _ = rw.Write([]byte("<p>SECRET OF THE HOST</p>"))
	})
}

// consent signs alice in and returns the page that asks her.
func (w *web) consent(tb testing.TB, target string) (*browser, *httptest.ResponseRecorder) {
	tb.Helper()
	b := w.browser(tb)
	page := b.signIn(target, "alice")
	shows(tb, page, http.StatusOK, consentMarker)
	return b, page
}

// metadataEvents returns the reasons of the events about documents.
func (r *rig) metadataEvents() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, e := range r.events {
		if e.Kind == oauth.EventClientMetadata {
			out = append(out, e.Reason)
		}
	}
	return out
}

// lastCause is why the last request was refused, for the log.
func (r *rig) lastCause() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprint(r.events[len(r.events)-1].Err)
}

const documentMarker = "This server can&#39;t tell which program this is"

// refusesDocument checks that a request ends at the page for documents that
// can't be used, and that the page shows nothing of why.
func (w *web) refusesDocument(tb testing.TB, id string, params ...string) {
	tb.Helper()
	page := w.browser(tb).get(request(id, params...))
	w.refuses(tb, page, http.StatusBadRequest, "document")
	shows(tb, page, http.StatusBadRequest, documentMarker)
	if strings.Contains(page.Body.String(), "SECRET") {
		tb.Error("SPEC E23: the page shows what the host sent")
	}
}

// SPEC E1: a client that nobody registered signs in, from fetch to refresh.
func TestDocumentClient(t *testing.T) {
	w := newWeb(t, nil)
	w.publish(docID, document(docID))
	b, page := w.consent(t, request(docID))
	shows(t, page, http.StatusOK, "Example Client")
	code := result(t, b.decide(page, "allow")).Get("code")
	tokens := decode[oauth.TokenResponse](t, w.form("/oauth/token", codeForm(docID, code)), http.StatusOK)
	next := w.refresh(t, docID, tokens.RefreshToken)
	if next.RefreshToken == "" || next.RefreshToken == tokens.RefreshToken {
		t.Error("the refresh token did not rotate")
	}
	if n := w.net.Seen(docHost); n != 1 {
		t.Errorf("the host got %d requests, want 1", n)
	}
	if got := w.metadataEvents(); !slices.Equal(got, []string{"fetched"}) {
		t.Errorf("events %v", got)
	}
	grants, err := w.store.Grants(t.Context(), w.clock, "alice", 10)
	if err != nil || len(grants) != 1 || grants[0].ClientID != docID || grants[0].ClientMetadata == "" || grants[0].ClientHash == "" {
		t.Errorf("grants %+v, %v", grants, err)
	}
}

// SPEC B13, INTEROP 9: both flags.
func TestDocumentsInMetadata(t *testing.T) {
	on := newWeb(t, nil)
	off := newWeb(t, func(c *Config, _ *Deps) { c.Documents.Off = true })
	for _, c := range []struct {
		w    *web
		want bool
	}{{on, true}, {off, false}} {
		m := decode[map[string]any](t, c.w.do("GET", oauth.WellKnownServer, "", ""), http.StatusOK)
		got, _ := m["client_id_metadata_document_supported"].(bool)
		if methods := fmt.Sprint(m["token_endpoint_auth_methods_supported"]); got != c.want || !strings.Contains(methods, "none") {
			t.Errorf("supported %v with methods %s, want %v", got, methods, c.want)
		}
	}
	off.publish(docID, document(docID))
	shows(t, off.browser(t).get(request(docID)), http.StatusBadRequest, "invalid_client")
	off.refused(t, codeForm(docID, "x"), http.StatusUnauthorized, "invalid_client")
	if off.net.Connections() != 0 {
		t.Error("a document was fetched although they are off")
	}
}

// SPEC E2: what is no client_id of a document is never fetched.
func TestDocumentURLs(t *testing.T) {
	w := newWeb(t, nil)
	for _, id := range []string{
		"https://client.example.com", "https://client.example.com/", "https://client.example.com/a/../b", "https://client.example.com/a/%2e%2e/b",
		"https://client.example.com/x#y", "https://u:p@client.example.com/x", "https://127.0.0.1/x", "https://[::1]/x", "https://2130706433/x",
		"https://0x7f.1/x", "https://localhost/x", "https://client.example.com:2019/x", "https://client.example.com/x\\y", "https://client.example.com/ x",
		"https://" + strings.Repeat("a", 2048) + ".example.com/x",
	} {
		w.refusesDocument(t, id)
	}
	for _, id := range []string{"http://client.example.com/x", "HTTPS://client.example.com/x", "Https://client.example.com/x", "file:///etc/passwd", "//client.example.com/x"} {
		shows(t, w.browser(t).get(request(id)), http.StatusBadRequest, "invalid_client")
	}
	if w.net.Connections() != 0 {
		t.Errorf("%d connections were made", w.net.Connections())
	}
}

// SPEC E3, O38: the raw string is the identity; two spellings are two clients.
func TestDocumentIdentity(t *testing.T) {
	w := newWeb(t, nil)
	const upper = "https://Client.example.com/oauth/client.json"
	w.publish(docID, document(docID))
	w.net.Handle("Client.example.com", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte(document(upper, set{"client_name", "Other"})))
	})
	b, page := w.consent(t, request(docID))
	code := result(t, b.decide(page, "allow")).Get("code")
	w.refused(t, codeForm(upper, code), http.StatusBadRequest, "invalid_grant")
	if got := b.get(request(upper)); got.Code == http.StatusFound {
		t.Error("another spelling was let in without asking")
	}
	tokens := decode[oauth.TokenResponse](t, w.form("/oauth/token", codeForm(docID, code)), http.StatusOK)
	w.refused(t, refreshForm(upper, tokens.RefreshToken), http.StatusBadRequest, "invalid_grant")
}

// SPEC E4, E6: only status 200 with JSON is a document; redirects are not
// followed, not even to a good one.
func TestDocumentAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		header []string
		good   bool
	}{
		{"200", 200, []string{"Content-Type", "application/json; charset=utf-8"}, true},
		{"structured suffix", 200, []string{"Content-Type", "application/vnd.example+json"}, true},
		{"301", 301, []string{"Content-Type", "application/json", "Location", "https://client.example.com/good"}, false},
		{"302", 302, []string{"Content-Type", "application/json", "Location", "https://client.example.com/good"}, false},
		{"308", 308, []string{"Content-Type", "application/json", "Location", "/good"}, false},
		{"201", 201, []string{"Content-Type", "application/json"}, false},
		{"203", 203, []string{"Content-Type", "application/json"}, false},
		{"206", 206, []string{"Content-Type", "application/json"}, false},
		{"304 without a document", 304, []string{"Content-Type", "application/json"}, false},
		{"403", 403, []string{"Content-Type", "text/html"}, false},
		{"500", 500, []string{"Content-Type", "application/json"}, false},
		{"HTML", 200, []string{"Content-Type", "text/html"}, false},
		{"text", 200, []string{"Content-Type", "text/plain"}, false},
		{"no type", 200, []string{"Content-Type", ""}, false},
		{"image+json", 200, []string{"Content-Type", "image/x+json"}, false},
		{"gzip", 200, []string{"Content-Type", "application/json", "Content-Encoding", "gzip"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWeb(t, nil)
			followed := false
			w.handle("https://client.example.com/good", func(http.ResponseWriter, *http.Request) { followed = true })
			w.handle(docID, func(rw http.ResponseWriter, _ *http.Request) {
				for i := 0; i+1 < len(c.header); i += 2 {
					rw.Header()[c.header[i]] = []string{c.header[i+1]}
				}
				rw.WriteHeader(c.status)
				if c.status != http.StatusNotModified {
					_, _ = rw.Write([]byte(document(docID)))
				}
			})
			if c.good {
				shows(t, w.browser(t).get(request(docID)), http.StatusOK, signInMarker)
			} else {
				w.refusesDocument(t, docID)
			}
			if followed {
				t.Error("the redirect was followed")
			}
		})
	}
}

// SPEC E5, E6, E7, E9, E20, E23, O14, THREATS G4: what a document may and may not say.
func TestDocumentContents(t *testing.T) {
	const jwks = `{"keys":[{"kty":"EC","crv":"P-256","kid":"1","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`
	private := strings.Replace(jwks, `"y"`, `"d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI","y"`, 1)
	keys := func(text string) set { return set{"jwks", json.RawMessage(text)} }
	pkjwt := set{"token_endpoint_auth_method", "private_key_jwt"}
	for _, c := range []struct {
		name    string
		changes []set
		cause   string // empty: accepted
	}{
		{"as it should be", nil, ""},
		{"unknown members", []set{{"x", []int{1}}, {"contacts", "nobody"}, {"tos_uri", "javascript:alert(1)"}}, ""},
		{"E5 slash", []set{{"client_id", docID + "/"}}, "not the URL"},
		{"E5 case", []set{{"client_id", strings.ToUpper(docID)}}, "not the URL"},
		{"E5 none", []set{{"client_id", nil}}, "not the URL"},
		{"E6 no name", []set{{"client_name", nil}}, "no client_name"},
		{"E6 blank name", []set{{"client_name", " \u202e\u200b "}}, "no client_name"},
		{"E6 name of another type", []set{{"client_name", 1}}, "not a JSON object"},
		{"E6 no redirect", []set{{"redirect_uris", nil}}, "redirect_uris"},
		{"E6 empty redirects", []set{{"redirect_uris", []string{}}}, "redirect_uris"},
		{"E6 one redirect as text", []set{{"redirect_uris", docRedirect}}, "redirect_uris"},
		{"E7 secret", []set{{"client_secret", "s"}}, "client_secret"},
		{"E7 empty secret", []set{{"client_secret", ""}}, "client_secret"},
		{"E7 null secret", []set{{"client_secret", json.RawMessage("null")}}, "client_secret"},
		{"E7 secret's end", []set{{"client_secret_expires_at", 0}}, "client_secret"},
		{"E7 post", []set{{"token_endpoint_auth_method", "client_secret_post"}}, "needs a secret"},
		{"E7 basic", []set{{"token_endpoint_auth_method", "client_secret_basic"}}, "needs a secret"},
		{"E7 jwt with a secret", []set{{"token_endpoint_auth_method", "client_secret_jwt"}}, "needs a secret"},
		{"unknown method", []set{{"token_endpoint_auth_method", "tls_client_auth"}}, "not supported"},
		{"no method", []set{{"token_endpoint_auth_method", nil}}, ""},
		{"no grants", []set{{"grant_types", nil}}, ""},
		{"grants that we lack", []set{{"grant_types", []string{"authorization_code", "urn:ietf:params:oauth:grant-type:jwt-bearer"}}}, ""},
		{"only other grants", []set{{"grant_types", []string{"client_credentials"}}}, "grant_types"},
		{"other responses", []set{{"response_types", []string{"token"}}}, "response_types"},
		{"private_key_jwt", []set{pkjwt, keys(jwks)}, ""},
		{"private_key_jwt by URI", []set{pkjwt, {"jwks_uri", "https://keys.example.com/jwks.json"}}, ""},
		{"private_key_jwt without keys", []set{pkjwt}, "jwks"},
		{"both kinds of keys", []set{pkjwt, keys(jwks), {"jwks_uri", "https://keys.example.com/jwks.json"}}, "exclude each other"},
		{"E11 keys at home", []set{pkjwt, {"jwks_uri", "https://127.0.0.1/jwks.json"}}, "jwks_uri"},
		{"E23 keys in a file", []set{pkjwt, {"jwks_uri", "file:///etc/passwd"}}, "jwks_uri"},
		{"keys that are no keys", []set{pkjwt, keys(`[]`)}, "not a set of public keys"},
		{"no key", []set{pkjwt, keys(`{"keys":[]}`)}, "no key that can be used"},
		{"published private key", []set{pkjwt, keys(private)}, "not a set of public keys"},
		{"published secret key", []set{pkjwt, keys(`{"keys":[{"kty":"oct","k":"AAAA"}]}`)}, "not a set of public keys"},
		{"many keys", []set{pkjwt, keys(`{"keys":[` + strings.Repeat(jwks[9:len(jwks)-2]+",", 20) + jwks[9:len(jwks)-2] + `]}`)}, "more than 2048 bytes"},
		{"keys that nobody needs", []set{keys(`{}`)}, ""},
		{"O14 javascript", []set{{"redirect_uris", []string{"javascript:alert(1)"}}}, "redirect_uris[0]"},
		{"O14 one of two", []set{{"redirect_uris", []string{docRedirect, "data:text/html,x"}}}, "redirect_uris[1]"},
		{"O11 userinfo", []set{{"redirect_uris", []string{"https://client.example.com@evil.example/"}}}, "redirect_uris[0]"},
		{"fragment", []set{{"redirect_uris", []string{docRedirect + "#x"}}}, "redirect_uris[0]"},
		{"http", []set{{"redirect_uris", []string{"http://client.example.com/callback"}}}, "redirect_uris[0]"},
		{"wildcard", []set{{"redirect_uris", []string{"https://*.example.com/callback"}}}, "redirect_uris[0]"},
		{"private scheme that is allowed", []set{{"redirect_uris", []string{"cursor://x/callback"}}}, ""},
		{"private scheme that is not", []set{{"redirect_uris", []string{"evilapp://x/callback"}}}, "private-use scheme"},
		{"web on loopback", []set{{"application_type", "web"}, {"redirect_uris", []string{"http://127.0.0.1/cb"}}}, "localhost"},
		{"E23 logo in a file", []set{{"logo_uri", "file:///etc/passwd"}}, ""},
		{"O40 script as logo", []set{{"logo_uri", "javascript:alert(1)"}, {"client_uri", "data:text/html,x"}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWeb(t, nil)
			w.publish(docID, document(docID, c.changes...))
			if c.cause == "" {
				shows(t, w.browser(t).get(request(docID)), http.StatusOK, signInMarker)
				return
			}
			w.refusesDocument(t, docID)
			if cause := w.lastCause(); !strings.Contains(cause, c.cause) {
				t.Errorf("cause %q, want one with %q", cause, c.cause)
			}
		})
	}
	for name, text := range map[string]string{
		"nothing": "", "no JSON": "x", "an array": "[]", "null": "null", "two documents": document(docID) + document(docID),
		"a member twice":        strings.Replace(document(docID), "{", `{"client_name":"Twice",`, 1),
		"a member in two cases": strings.Replace(document(docID), `"client_id"`, `"CLIENT_ID"`, 1),
		"no UTF-8":              strings.Replace(document(docID), "Example", "\xff", 1),
		"deep":                  `{"x":` + strings.Repeat("[", 2400) + strings.Repeat("]", 2400) + `}`,
	} {
		t.Run("strict: "+name, func(t *testing.T) {
			w := newWeb(t, nil)
			w.publish(docID, text)
			w.refusesDocument(t, docID)
		})
	}
}

// SPEC E8, INTEROP 9: private_key_jwt is confidential, unless the document
// allows none as well.
func TestDocumentNegotiation(t *testing.T) {
	const uri = "https://keys.example.com/jwks.json"
	w := newWeb(t, nil)
	for _, c := range []struct {
		name           string
		method, others any
		want           string
		alsoPublic     bool
	}{
		{"none", "none", nil, "none", false},
		{"private_key_jwt", "private_key_jwt", nil, "private_key_jwt", false},
		{"private_key_jwt alone in the list", nil, []string{"private_key_jwt"}, "private_key_jwt", false},
		{"ChatGPT", "private_key_jwt", []string{"none", "private_key_jwt"}, "private_key_jwt", true},
		{"the other way round", "none", []string{"none", "private_key_jwt"}, "private_key_jwt", true},
		{"the list has no preference", nil, []string{"private_key_jwt", "none"}, "private_key_jwt", true},
		{"secrets in the list", "none", []string{"client_secret_post", "none"}, "none", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := w.parseDocument(docID, []byte(document(docID, set{"token_endpoint_auth_method", c.method},
				set{"token_endpoint_auth_methods_supported", c.others}, set{"jwks_uri", uri})))
			if err != nil || got.AuthMethod != c.want || got.AlsoPublic != c.alsoPublic || (got.JWKSURI != "") != (c.want == "private_key_jwt") {
				t.Errorf("%s, also public %v, keys %q, %v", got.AuthMethod, got.AlsoPublic, got.JWKSURI, err)
			}
		})
	}
	t.Run("E8 no token without an assertion", func(t *testing.T) {
		w.publish(docID, document(docID, set{"token_endpoint_auth_method", "private_key_jwt"}, set{"jwks_uri", uri}))
		b, page := w.consent(t, request(docID))
		w.refused(t, codeForm(docID, result(t, b.decide(page, "allow")).Get("code")), http.StatusUnauthorized, "invalid_client")
	})
}

// SPEC E9, F7: the redirect URI is compared byte for byte, but for the port of
// a loopback one.
func TestDocumentRedirect(t *testing.T) {
	w := newWeb(t, nil)
	w.publish(docID, document(docID, set{"redirect_uris", []string{docRedirect, "http://127.0.0.1/callback"}}))
	for _, good := range []string{docRedirect, "http://127.0.0.1/callback", "http://127.0.0.1:40123/callback"} {
		shows(t, w.browser(t).get(request(docID, "redirect_uri", good)), http.StatusOK, signInMarker)
	}
	for _, bad := range []string{
		"https://evil.example/callback", docRedirect + "/", docRedirect + "?x=1", "https://client.example.com:443/callback",
		"http://localhost/callback", "http://127.0.0.1:40123/other", "https://CLIENT.example.com/callback", "",
	} {
		page := w.browser(t).get(request(docID, "redirect_uri", bad))
		if page.Code != http.StatusBadRequest || page.Header().Get("Location") != "" {
			t.Errorf("%q: %d, sent to %q", bad, page.Code, page.Header().Get("Location"))
		}
	}
}

// SPEC E20: no refresh token for who does not ask for it.
func TestDocumentWithoutRefresh(t *testing.T) {
	for _, grants := range []any{nil, []string{"authorization_code"}} {
		w := newWeb(t, nil)
		w.publish(docID, document(docID, set{"grant_types", grants}))
		if tokens := w.browser(t).approve(request(docID), docID); tokens.RefreshToken != "" || tokens.AccessToken == "" {
			t.Errorf("grant_types %v: %+v", grants, tokens)
		}
	}
}

// SPEC E19: a client of the configuration is never fetched.
func TestDocumentPreregistered(t *testing.T) {
	w := newWeb(t, func(c *Config, _ *Deps) {
		c.Clients = []Client{{ID: docID, Name: "Known", RedirectURIs: []string{docRedirect}, AuthMethod: "none", GrantTypes: []string{"authorization_code"}}}
	})
	w.publish(docID, document(docID))
	w.browser(t).approve(request(docID), docID)
	if n := w.net.Connections(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// SPEC E18, O53: the trust policy; who is denied sees what who failed sees.
func TestDocumentPolicy(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy Documents
		good   bool
	}{
		{"everyone", Documents{}, true},
		{"allowed", Documents{Allow: []string{"client.example.com"}}, true},
		{"allowed below", Documents{Allow: []string{"*.example.com"}}, true},
		{"allowed all", Documents{Allow: []string{"*"}}, true},
		{"another allowed", Documents{Allow: []string{"claude.ai", "example.com", "*.client.example.com", "lient.example.com"}}, false},
		{"denied", Documents{Deny: []string{"client.example.com"}}, false},
		{"denied below", Documents{Allow: []string{"client.example.com"}, Deny: []string{"*.example.com"}}, false},
		{"another denied", Documents{Deny: []string{"example.com", "other.example.com"}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWeb(t, func(cfg *Config, _ *Deps) { cfg.Documents = c.policy })
			w.publish(docID, document(docID))
			if c.good {
				shows(t, w.browser(t).get(request(docID)), http.StatusOK, signInMarker)
				return
			}
			denied := w.browser(t).get(request(docID))
			w.refusesDocument(t, docID)
			w.refused(t, codeForm(docID, "x"), http.StatusUnauthorized, "invalid_client")
			if w.net.Connections() != 0 {
				t.Error("it was fetched")
			}
			failing := newWeb(t, nil)
			failing.fails(docID, http.StatusInternalServerError)
			if failed := failing.browser(t).get(request(docID)); stable(failed) != stable(denied) {
				t.Errorf("a denied host and one that fails can be told apart:\n%s\n%s", denied.Body, failed.Body)
			}
		})
	}
	for _, bad := range []string{"", "https://claude.ai", "loopback", "Claude.ai", "claude.*", "*.", "*claude.ai", "a b", "claude.ai/x", ".claude.ai"} {
		cfg := Config{Issuer: testIssuer, Documents: Documents{Deny: []string{bad}}}
		if cfg.Check() == nil {
			t.Errorf("%q is taken for a host", bad)
		}
	}
}

// stable is a page without what differs between any two of them.
func stable(w *httptest.ResponseRecorder) string {
	h := maps.Clone(w.Header())
	body := w.Body.Bytes()
	if _, nonce, ok := bytes.Cut(body, []byte(`nonce="`)); ok {
		nonce, _, _ = bytes.Cut(nonce, []byte(`"`))
		body = bytes.ReplaceAll(body, nonce, nil)
		h.Set("Content-Security-Policy", strings.ReplaceAll(h.Get("Content-Security-Policy"), string(nonce), ""))
	}
	return fmt.Sprint(w.Code, h, string(body))
}
