package authserver

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// The tests here are about how grants of documents' clients end.

// ended checks that a refresh finds its grant ended because of the client.
func (w *web) ended(t *testing.T, r *rig, refresh string) {
	t.Helper()
	r.refused(t, refreshForm(docID, refresh), http.StatusBadRequest, "invalid_grant")
	if _, err := w.store.Grant(t.Context(), w.clock, grantOf(t, r, refresh)); !errors.Is(err, store.ErrRevoked) {
		t.Errorf("the grant was not revoked: %v", err)
	}
	feed, _, err := w.store.Revocations(t.Context(), w.clock, "")
	if err != nil || len(feed) == 0 || feed[len(feed)-1].Reason != "client_changed" {
		t.Errorf("revocations %+v, %v", feed, err)
	}
}

// The operator takes a confidential client out of the configuration whose id is a
// URL. The document that lies there is public: whoever has an old refresh token
// of the client needed no secret any more, as soon as anybody had the document
// fetched.
func TestConfiguredClientBecomesDocument(t *testing.T) {
	for _, c := range []struct {
		name string
		warm bool // the document is in memory
	}{{"nobody has it fetched", false}, {"somebody has it fetched", true}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWeb(t, nil)
			ours := Client{
				ID: docID, Name: "Ours", AuthMethod: oauth.AuthMethodPost, Secret: theSecret, Trusted: true, RedirectURIs: []string{docRedirect},
				GrantTypes: []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken},
			}
			first := w.node(t, func(cfg *Config, d *Deps) { w.sharing(cfg, d); cfg.Clients = []Client{ours} })
			b := first.browser(t)
			code := result(t, b.signIn(request(docID, "redirect_uri", docRedirect), "alice")).Get("code")
			late := result(t, b.get(request(docID, "redirect_uri", docRedirect))).Get("code")
			tokens := decode[oauth.TokenResponse](t, first.form(tokenPath, as(docID, codeForm(docID, code))), http.StatusOK)
			w.publish(docID, document(docID))
			second := w.node(t, w.sharing)
			if c.warm {
				shows(t, second.browser(t).get(request(docID)), http.StatusOK, signInMarker)
			}
			second.refused(t, codeForm(docID, late), http.StatusBadRequest, "invalid_grant")
			w.ended(t, second, tokens.RefreshToken)
		})
	}
}

// The publisher takes the document away, which is the one way to say that the
// program is no more. Its grants went on for as long as they were used.
func TestDocumentGoneEndsGrants(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusGone} {
		w := newWeb(t, nil)
		w.publish(docID, document(docID))
		tokens := w.browser(t).approve(request(docID), docID)
		w.fails(docID, status)
		w.pass(26 * time.Hour)
		tokens = w.refresh(t, docID, tokens.RefreshToken) // it has the document looked at
		eventually(t, func() bool { return w.documentGone(docID) })
		// A failure that says nothing does not take that back.
		w.fails(docID, http.StatusBadGateway)
		w.refusesDocument(t, docID)
		w.pass(26 * time.Hour)
		w.ended(t, w.rig, tokens.RefreshToken)
	}
	t.Run("it comes back", func(t *testing.T) {
		w := newWeb(t, nil)
		w.publish(docID, document(docID), "Cache-Control", "max-age=60")
		tokens := w.browser(t).approve(request(docID), docID)
		w.fails(docID, http.StatusNotFound)
		w.pass(time.Hour)
		w.refusesDocument(t, docID)
		w.publish(docID, document(docID))
		shows(t, w.browser(t).get(request(docID)), http.StatusOK, signInMarker)
		w.refresh(t, docID, tokens.RefreshToken)
	})
	t.Run("long ago", func(t *testing.T) {
		w := newWeb(t, nil)
		w.publish(docID, document(docID))
		tokens := w.browser(t).approve(request(docID), docID)
		w.fails(docID, http.StatusNotFound)
		w.pass(time.Hour)
		w.refusesDocument(t, docID)
		w.fails(docID, http.StatusBadGateway)
		w.pass(documentStale)
		w.refresh(t, docID, tokens.RefreshToken)
	})
}

// A resource server that asks about a refresh token hears what a refresh would.
func TestIntrospectDocumentGone(t *testing.T) {
	w := newWeb(t, func(c *Config, _ *Deps) {
		c.Clients = []Client{{ID: serverID, AuthMethod: oauth.AuthMethodPost, Secret: theSecret, Introspects: true}}
	})
	w.publish(docID, document(docID))
	tokens := w.browser(t).approve(request(docID), docID)
	p := &machines{rig: w.rig}
	if !p.introspect(t, serverID, tokens.RefreshToken).Active {
		t.Error("a good one is not active")
	}
	w.fails(docID, http.StatusGone)
	w.pass(26 * time.Hour)
	if !p.introspect(t, serverID, tokens.RefreshToken).Active {
		t.Error("it is not active before anybody knows")
	}
	w.refusesDocument(t, docID)
	if p.introspect(t, serverID, tokens.RefreshToken).Active {
		t.Error("it is active although a refresh would end it")
	}
}

// RFC 7009 §2.2: who gives back what is no more has what it wants. Clients with
// documents were told that it failed, and tried again.
func TestDocumentRevokesWhatIsNoMore(t *testing.T) {
	key := newDocumentKey(t, "1")
	for name, proves := range map[string]bool{"public": false, "with keys": true} {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t, nil)
			form := func(id, token string, more ...string) url.Values {
				f := url.Values{"client_id": {id}, "token": {token}}
				for i := 0; i+1 < len(more); i += 2 {
					f.Set(more[i], more[i+1])
				}
				if proves {
					key.sign(f, id, w.clock)
				}
				return f
			}
			answers := func(f url.Values, status int) {
				t.Helper()
				if got := w.form(revokePath, f); got.Code != status {
					t.Errorf("%d %s, want %d", got.Code, got.Body, status)
				}
			}
			w.publish(docID, document(docID))
			swept := w.browser(t).approve(request(docID), docID).RefreshToken
			w.pass(400 * 24 * time.Hour)
			w.fails(docID, http.StatusBadGateway)
			answers(form(docID, swept), http.StatusOK)
			// What belongs to the token endpoint means nothing here.
			answers(form(docID, swept, "grant_type", "refresh_token", "refresh_token", "x"), http.StatusOK)
			answers(form(docID, swept, "grant_type", "authorization_code", "code", "x"), http.StatusOK)
		})
	}
	t.Run("of another client", func(t *testing.T) {
		w := newWeb(t, nil)
		w.publish(docID, document(docID))
		tokens := w.browser(t).approve(request(docID), docID)
		const other = "https://other.example.com/client.json"
		fails(t, w.form(revokePath, url.Values{"client_id": {other}, "token": {tokens.RefreshToken}}), http.StatusBadRequest, oauth.CodeInvalidGrant)
		w.refresh(t, docID, tokens.RefreshToken)
	})
}

// What the host of a document says of it is a verdict; that it can't be asked is
// none.
func TestDocumentNeverResolves(t *testing.T) {
	for _, c := range []struct {
		name   string
		serve  func(w *web)
		status int
		code   string
	}{
		{"no such host", func(*web) {}, http.StatusServiceUnavailable, "temporarily_unavailable"},
		{"outage", func(w *web) { w.fails(docID, http.StatusBadGateway) }, http.StatusServiceUnavailable, "temporarily_unavailable"},
		{"a page for people", func(w *web) { w.publish(docID, "<p>", "Content-Type", "text/html") }, http.StatusServiceUnavailable, "temporarily_unavailable"},
		{"gone", func(w *web) { w.fails(docID, http.StatusGone) }, http.StatusUnauthorized, "invalid_client"},
		{"no good", func(w *web) { w.publish(docID, document(docID, set{"client_id", "x"})) }, http.StatusUnauthorized, "invalid_client"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWeb(t, func(cfg *Config, _ *Deps) {
				cfg.Clients = []Client{{ID: batchID, AuthMethod: oauth.AuthMethodBasic, Secret: theSecret, GrantTypes: []string{oauth.GrantClientCredentials}}}
			})
			c.serve(w)
			for path, form := range map[string]url.Values{
				revokePath: {"client_id": {docID}, "token": {"x"}},
				tokenPath:  {"client_id": {docID}, "grant_type": {oauth.GrantClientCredentials}},
			} {
				if e := decode[errorBody](t, w.form(path, form), c.status); e.Error != c.code {
					t.Errorf("%s: %s", path, e.Error)
				}
			}
		})
	}
}
