package authserver

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

type httptestRecorder = httptest.ResponseRecorder

// TestSealedValuesHaveOneRole presents each value in every other role (SPEC J4,
// O27; THREATS T4, T14).
func TestSealedValuesHaveOneRole(t *testing.T) {
	r := newRig(t, nil)
	info := r.register(t, `{"redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"client_secret_post"}`)
	c := r.register(t, testClient).ClientID
	code, tokens := r.code(t, c), r.tokens(t, c)
	values := map[string]string{
		"client id": c, "client secret": info.ClientSecret, "code": code,
		"access token": tokens.AccessToken, "refresh token": tokens.RefreshToken,
	}
	for name, value := range values {
		if name != "code" {
			r.refused(t, codeForm(c, value), http.StatusBadRequest, oauth.CodeInvalidGrant)
		}
		if name != "refresh token" {
			r.refused(t, refreshForm(c, value), http.StatusBadRequest, oauth.CodeInvalidGrant)
		}
		if name != "client id" {
			r.refused(t, codeForm(value, code), http.StatusUnauthorized, oauth.CodeInvalidClient)
		}
		if name != "client secret" {
			form := codeForm(info.ClientID, code)
			form.Set("client_secret", value)
			r.refused(t, form, http.StatusUnauthorized, oauth.CodeInvalidClient)
		}
	}
	decode[oauth.TokenResponse](t, r.form("/oauth/token", codeForm(c, code)), http.StatusOK)
}

// TestRealClientsHaveShortIDs registers what real clients send, from the list
// that the project keeps, and holds their ids to 1 KiB.
func TestRealClientsHaveShortIDs(t *testing.T) {
	text, err := os.ReadFile("testdata/registrations.json")
	if err != nil {
		t.Fatal(err)
	}
	var clients []json.RawMessage
	if err := json.Unmarshal(text, &clients); err != nil || len(clients) < 15 {
		t.Fatalf("%d clients, %v", len(clients), err)
	}
	r := newRig(t, nil)
	for _, metadata := range clients {
		info := r.register(t, string(metadata))
		if n := len(info.ClientID); n > 1024 {
			t.Errorf("%d bytes for %s", n, metadata)
		}
		if _, err := r.client(t.Context(), info.ClientID); err != nil {
			t.Errorf("%s: %v", metadata, err)
		}
	}
}

func FuzzClientID(f *testing.F) {
	r := newRig(f, nil)
	good := r.register(f, testClient).ClientID
	f.Add(good)
	f.Add("")
	f.Add(strings.Repeat("A", 100))
	f.Add("https://claude.ai/oauth/mcp-oauth-client-metadata")
	f.Fuzz(func(t *testing.T, id string) {
		if c, err := r.client(t.Context(), id); err == nil && id != good {
			t.Fatalf("%q is client %+v", id, c)
		}
	})
}

func FuzzCodeAndRefreshToken(f *testing.F) {
	r := newRig(f, nil)
	c := r.register(f, testClient).ClientID
	code, refresh := r.code(f, c), r.tokens(f, c).RefreshToken
	f.Add(code)
	f.Add(refresh)
	f.Add("")
	f.Fuzz(func(t *testing.T, value string) {
		if d, err := r.openCode(value, r.now()); err == nil && value != code {
			t.Fatalf("%q is code %+v", value, d)
		}
		if d, err := r.openRefresh(value); err == nil && value != refresh {
			t.Fatalf("%q is refresh token %+v", value, d)
		}
	})
}

func FuzzRegister(f *testing.F) {
	r := newRig(f, nil)
	f.Add(testClient)
	f.Add(`{"redirect_uris":["https://a/cb"],"redirect_uris":[]}`)
	f.Add(`{"redirect_uris":["myapp:/x","cursor://a/b"],"grant_types":["implicit"],"client_name":"\u202e"}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, body string) {
		w := r.do("POST", "/oauth/register", "application/json", body)
		if w.Code == http.StatusCreated {
			info := decode[oauth.ClientInformation](t, w, http.StatusCreated)
			for _, uri := range info.RedirectURIs {
				if err := oauth.CheckRedirectURI(uri, oauth.DefaultRedirectSchemes); err != nil {
					t.Fatalf("%q registers %q: %v", body, uri, err)
				}
			}
			return
		}
		if e := decode[errorBody](t, w, http.StatusBadRequest); !strings.HasPrefix(e.Error, "invalid_") {
			t.Fatalf("%q: %s", body, w.Body)
		}
	})
}
