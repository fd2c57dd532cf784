package authserver

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/jose"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// marking is a store that counts the keys that it is asked to mark as used.
type marking struct {
	store.Store
	marks *atomic.Int32
}

func (m marking) Use(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
	m.marks.Add(1)
	return m.Store.Use(ctx, now, key, until)
}

// keyedRig is a server on which clients register keys, with counters of what is
// fetched and marked for them.
func keyedRig(t *testing.T, published *documentKey) (r *rig, fetches, marks *atomic.Int32) {
	fetches, marks = new(atomic.Int32), new(atomic.Int32)
	return newRig(t, func(_ *Config, d *Deps) {
		d.Store = marking{d.Store, marks}
		d.ClientKeys = finder(func() ([]jose.Key, error) {
			fetches.Add(1)
			set, err := jose.ParseSet([]byte(published.set()))
			return set.Find("", "ES256"), err
		})
	}), fetches, marks
}

// TestRegisteredKeys (SPEC C18, G11): a client that registered its keys has to
// prove itself with them, wherever they are, and never gets a secret.
func TestRegisteredKeys(t *testing.T) {
	key, other := newDocumentKey(t, "1"), newDocumentKey(t, "1")
	for name, member := range map[string]string{"inline": `"jwks":` + key.set(), "jwks_uri": `"jwks_uri":"https://c.example/jwks.json"`} {
		t.Run(name, func(t *testing.T) {
			r, _, _ := keyedRig(t, &key)
			info := r.register(t, `{"redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"private_key_jwt",`+member+`}`)
			if info.ClientSecret != "" || info.TokenEndpointAuthMethod != oauth.AuthMethodPrivateKeyJWT || (len(info.JWKS) > 0) == (info.JWKSURI != "") {
				t.Fatalf("registered %+v", info)
			}
			form := codeForm(info.ClientID, r.code(t, info.ClientID))
			r.refused(t, form, http.StatusUnauthorized, oauth.CodeInvalidClient)
			r.refused(t, other.sign(maps.Clone(form), info.ClientID, r.clock), http.StatusUnauthorized, oauth.CodeInvalidClient)
			signed := key.sign(form, info.ClientID, r.clock)
			tokens := decode[oauth.TokenResponse](t, r.form("/oauth/token", signed), http.StatusOK)
			again := refreshForm(info.ClientID, tokens.RefreshToken)
			again.Set("client_assertion_type", signed.Get("client_assertion_type"))
			again.Set("client_assertion", signed.Get("client_assertion"))
			r.refused(t, again, http.StatusUnauthorized, oauth.CodeInvalidClient) // its jti was used
			decode[oauth.TokenResponse](t, r.form("/oauth/token", key.sign(refreshForm(info.ClientID, tokens.RefreshToken), info.ClientID, r.clock)), http.StatusOK)
		})
	}
}

// TestKeysCostNothing: everybody can register keys, and nobody has this server
// fetch an address or write to its store with them alone.
func TestKeysCostNothing(t *testing.T) {
	key := newDocumentKey(t, "1")
	r, fetches, marks := keyedRig(t, &key)
	info := r.register(t, `{"redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://victim.example/x"}`)
	for _, form := range []url.Values{
		codeForm(info.ClientID, "x"), refreshForm(info.ClientID, "x"),
		{"grant_type": {"client_credentials"}, "client_id": {info.ClientID}},
		{"grant_type": {"authorization_code"}, "client_id": {info.ClientID}},
	} {
		if w := r.form("/oauth/token", key.sign(form, info.ClientID, r.clock)); w.Code != http.StatusBadRequest {
			t.Errorf("%v: %d %s", form, w.Code, w.Body)
		}
	}
	revoke := key.sign(url.Values{"client_id": {info.ClientID}, "token": {"x"}}, info.ClientID, r.clock)
	if w := r.form("/oauth/revoke", revoke); w.Code != http.StatusOK {
		t.Errorf("revoking nothing: %d %s", w.Code, w.Body)
	}
	if f, m := fetches.Load(), marks.Load(); f != 0 || m != 0 {
		t.Errorf("%d fetches and %d writes for nothing of ours", f, m)
	}
	r.tokensSigned(t, key, info.ClientID)
	if f, m := fetches.Load(), marks.Load(); f != 1 || m != 1 {
		t.Errorf("%d fetches and %d writes for a code of ours", f, m)
	}
}

// tokensSigned takes a client with keys through the whole flow.
func (r *rig) tokensSigned(tb testing.TB, key documentKey, id string) oauth.TokenResponse {
	tb.Helper()
	return decode[oauth.TokenResponse](tb, r.form("/oauth/token", key.sign(codeForm(id, r.code(tb, id)), id, r.clock)), http.StatusOK)
}

// TestRegisteredKeysChange (SPEC D7): with new keys the old ones are worth nothing,
// and a code that waits is dead.
func TestRegisteredKeysChange(t *testing.T) {
	key, next := newDocumentKey(t, "1"), newDocumentKey(t, "2")
	r, _, _ := keyedRig(t, &key)
	info := r.register(t, `{"redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"private_key_jwt","jwks":`+key.set()+`}`)
	tokens := r.tokensSigned(t, key, info.ClientID)
	waiting := r.code(t, info.ClientID)
	r.put(t, info, `"redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"private_key_jwt","jwks":`+next.set())
	r.refused(t, key.sign(refreshForm(info.ClientID, tokens.RefreshToken), info.ClientID, r.clock), http.StatusUnauthorized, oauth.CodeInvalidClient)
	r.refused(t, next.sign(codeForm(info.ClientID, waiting), info.ClientID, r.clock), http.StatusBadRequest, oauth.CodeInvalidGrant)
	decode[oauth.TokenResponse](t, r.form("/oauth/token", next.sign(refreshForm(info.ClientID, tokens.RefreshToken), info.ClientID, r.clock)), http.StatusOK)
}

// TestUnregistrableKeys (SPEC C18, O36): keys that could check nothing, or would be
// fetched from where nobody fetches, register no client.
func TestUnregistrableKeys(t *testing.T) {
	r := newRig(t, nil)
	for _, members := range []string{
		``, `"jwks":{"keys":[]}`, `"jwks":{}`, `"jwks":{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`, `"jwks":[]`,
		`"jwks":{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}]}`,
		`"jwks_uri":"http://c.example/jwks"`, `"jwks_uri":"https://127.0.0.1/jwks"`, `"jwks_uri":"https://localhost/jwks"`, `"jwks_uri":"file:///etc/passwd"`,
		`"jwks_uri":"https://u:p@c.example/jwks"`, `"jwks_uri":"https://[::1]/jwks"`, `"jwks_uri":"https://2130706433/"`,
	} {
		body := `{"redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"private_key_jwt"`
		if members != "" {
			body += "," + members
		}
		w := r.do("POST", "/oauth/register", "application/json", body+"}")
		if e := decode[errorBody](t, w, http.StatusBadRequest); e.Error != oauth.CodeInvalidClientMetadata {
			t.Errorf("%s: %s", members, e.Error)
		}
	}
}
