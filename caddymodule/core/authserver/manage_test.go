package authserver

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// manage sends a request to a client configuration endpoint.
func (r *rig) manage(method, uri, token, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, uri, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w
}

// put updates a client, which must work.
func (r *rig) put(t *testing.T, info oauth.ClientInformation, members string) oauth.ClientInformation {
	t.Helper()
	body := `{"client_id":"` + info.ClientID + `",` + members + `}`
	return decode[oauth.ClientInformation](t, r.manage("PUT", info.RegistrationClientURI, info.RegistrationAccessToken, body), http.StatusOK)
}

const loopbackCB = `"redirect_uris":["http://127.0.0.1/cb"]`

// wantNotTheClient demands the answer of D2, D4 and D5.
func wantNotTheClient(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	e := decode[errorBody](t, w, http.StatusUnauthorized)
	if e.Error != oauth.CodeInvalidToken || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer") || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%v %v", e, w.Header())
	}
}

// TestD1BothOrNeither: a registration that can be managed says where and with
// what.
func TestD1BothOrNeither(t *testing.T) {
	on := newRig(t, nil).register(t, testClient)
	u, err := url.Parse(on.RegistrationClientURI)
	if err != nil || !strings.HasPrefix(on.RegistrationClientURI, testIssuer+managePath+"?") || u.Query().Get("client_id") != on.ClientID || on.RegistrationAccessToken == "" {
		t.Errorf("%+v", on)
	}
	if strings.Contains(on.RegistrationClientURI, on.RegistrationAccessToken) {
		t.Error("the token is in the URL")
	}
	off := newRig(t, func(c *Config, _ *Deps) { c.Registration.NoManagement = true })
	if info := off.register(t, testClient); info.RegistrationClientURI != "" || info.RegistrationAccessToken != "" {
		t.Errorf("with management off: %+v", info)
	}
	if w := off.manage("GET", on.RegistrationClientURI, on.RegistrationAccessToken, ""); w.Code != http.StatusNotFound {
		t.Errorf("with management off: %d", w.Code)
	}
}

// TestD2TheTokenIsABearerTokenInTheHeader and nowhere else.
func TestD2TheTokenIsABearerTokenInTheHeader(t *testing.T) {
	r := newRig(t, nil)
	info := r.register(t, testClient)
	token := info.RegistrationAccessToken
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		wantNotTheClient(t, r.manage(method, info.RegistrationClientURI, "", ""))
		wantNotTheClient(t, r.manage(method, info.RegistrationClientURI+"&access_token="+token, "", ""))
		wantNotTheClient(t, r.manage(method, info.RegistrationClientURI+"&registration_access_token="+token, "", ""))
		for _, bad := range []string{"x", "0", "0.", "1" + token[1:], "00" + token[1:], "-" + token, " " + token, token + "A", token[:len(token)-1], strings.ToLower(token), token[2:], "18446744073709551616.x"} {
			wantNotTheClient(t, r.manage(method, info.RegistrationClientURI, bad, ""))
		}
		req := httptest.NewRequest(method, info.RegistrationClientURI, nil)
		req.Header["Authorization"] = []string{"Bearer " + token, "Bearer " + token}
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		wantNotTheClient(t, w)
		req.Header["Authorization"] = []string{"Basic " + token}
		w = httptest.NewRecorder()
		r.ServeHTTP(w, req)
		wantNotTheClient(t, w)
	}
	if w := r.manage("GET", info.RegistrationClientURI+"&client_id="+info.ClientID, token, ""); w.Code != http.StatusBadRequest {
		t.Errorf("client_id twice: %d", w.Code)
	}
	if w := r.manage("POST", info.RegistrationClientURI, token, ""); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") == "" {
		t.Errorf("POST: %d", w.Code)
	}
}

// TestD3ReadTellsEverything, again and again, and stores nothing.
func TestD3ReadTellsEverything(t *testing.T) {
	for _, metadata := range []string{
		testClient,
		`{` + loopbackCB + `,"token_endpoint_auth_method":"client_secret_basic","scope":"mcp:tools:read","grant_types":["authorization_code"],"client_uri":"https://a.example/","application_type":"native"}`,
	} {
		r := newRig(t, nil)
		info := r.register(t, metadata)
		want, _ := json.Marshal(info)
		for range 2 {
			w := r.manage("GET", info.RegistrationClientURI, info.RegistrationAccessToken, "")
			got, _ := json.Marshal(decode[oauth.ClientInformation](t, w, http.StatusOK))
			if string(got) != string(want) || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("got %s\nwant %s\n%v", got, want, w.Header())
			}
		}
		if _, err := r.store.Client(t.Context(), oauth.ClientKey(info.ClientID)); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("reading stores: %v", err)
		}
		next := r.put(t, info, `"client_name":"Other",`+loopbackCB)
		if next.RegistrationAccessToken == info.RegistrationAccessToken {
			t.Error("a change makes no new token")
		}
		wantNotTheClient(t, r.manage("GET", info.RegistrationClientURI, info.RegistrationAccessToken, ""))
		got := decode[oauth.ClientInformation](t, r.manage("GET", info.RegistrationClientURI, next.RegistrationAccessToken, ""), http.StatusOK)
		if got.ClientName != "Other" || got.ClientIDIssuedAt != info.ClientIDIssuedAt || got.RegistrationClientURI != info.RegistrationClientURI {
			t.Errorf("%+v", got)
		}
	}
}

// TestD4GoneIsUnauthorized: not found would tell which clients there are.
func TestD4GoneIsUnauthorized(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Deps) {
		c.Clients = []Client{{ID: "configured", Name: "C", RedirectURIs: []string{"https://c.example/cb"}, AuthMethod: oauth.AuthMethodNone, GrantTypes: []string{oauth.GrantAuthorizationCode}}}
	})
	info := r.register(t, testClient)
	for _, id := range []string{"", "nobody", "configured", info.ClientID + "A", "https://claude.ai/oauth/mcp-oauth-client-metadata", strings.Repeat("A", 4000)} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			wantNotTheClient(t, r.manage(method, testIssuer+managePath+"?client_id="+url.QueryEscape(id), info.RegistrationAccessToken, ""))
		}
	}
	if w := r.manage("DELETE", info.RegistrationClientURI, info.RegistrationAccessToken, ""); w.Code != http.StatusNoContent {
		t.Fatal(w.Code)
	}
	body := `{"client_id":"` + info.ClientID + `",` + loopbackCB + `}`
	later, err := r.registrationToken(info.ClientID, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		wantNotTheClient(t, r.manage(method, info.RegistrationClientURI, later, body))
		if method != "DELETE" { // TestDeleteThatFailedHalfwayIsFinished is about that
			wantNotTheClient(t, r.manage(method, info.RegistrationClientURI, info.RegistrationAccessToken, body))
		}
	}
}

// TestD5TheTokenOfAnotherClient opens nothing.
func TestD5TheTokenOfAnotherClient(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.register(t, testClient), r.register(t, testClient)
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		wantNotTheClient(t, r.manage(method, b.RegistrationClientURI, a.RegistrationAccessToken, `{"client_id":"`+b.ClientID+`",`+loopbackCB+`}`))
	}
	r.put(t, a, `"client_name":"Changed",`+loopbackCB)
	decode[oauth.ClientInformation](t, r.manage("GET", b.RegistrationClientURI, b.RegistrationAccessToken, ""), http.StatusOK)
}

// TestD6UpdateReplacesTheWholeRecord, by a request that names its client and has
// nothing that only the server says.
func TestD6UpdateReplacesTheWholeRecord(t *testing.T) {
	r := newRig(t, nil)
	info := r.register(t, `{"client_name":"Old","client_uri":"https://a.example/",`+loopbackCB+`,"token_endpoint_auth_method":"client_secret_post","application_type":"native"}`)
	other := r.register(t, testClient)
	own := `"client_id":"` + info.ClientID + `",`
	for name, body := range map[string]string{
		"no client_id":                  `{` + loopbackCB + `}`,
		"another client_id":             `{"client_id":"` + other.ClientID + `",` + loopbackCB + `}`,
		"client_id of another type":     `{"client_id":["` + info.ClientID + `"],` + loopbackCB + `}`,
		"client_id null":                `{"client_id":null,` + loopbackCB + `}`,
		"another client_secret":         `{` + own + loopbackCB + `,"client_secret":"mine","token_endpoint_auth_method":"client_secret_post"}`,
		"an empty client_secret":        `{` + own + loopbackCB + `,"client_secret":"","token_endpoint_auth_method":"client_secret_post"}`,
		"client_secret of another type": `{` + own + loopbackCB + `,"client_secret":7}`,
		"registration_access_token":     `{` + own + loopbackCB + `,"registration_access_token":"` + info.RegistrationAccessToken + `"}`,
		"registration_client_uri":       `{` + own + loopbackCB + `,"registration_client_uri":"` + info.RegistrationClientURI + `"}`,
		"client_secret_expires_at":      `{` + own + loopbackCB + `,"client_secret_expires_at":0}`,
		"client_id_issued_at":           `{` + own + loopbackCB + `,"client_id_issued_at":null}`,
		"a member twice":                `{` + own + own + loopbackCB + `}`,
		"no object":                     `[]`,
		"nothing":                       ``,
		"both kinds of keys":            `{` + own + loopbackCB + `,"jwks":{"keys":[]},"jwks_uri":"https://a.example/k"}`,
	} {
		w := r.manage("PUT", info.RegistrationClientURI, info.RegistrationAccessToken, body)
		if e := decode[errorBody](t, w, http.StatusBadRequest); e.Error != oauth.CodeInvalidClientMetadata {
			t.Errorf("%s: %v", name, e)
		}
	}
	if w := r.manage("PUT", info.RegistrationClientURI, info.RegistrationAccessToken, strings.Repeat(" ", maxBody+1)); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a long body: %d", w.Code)
	}
	next := r.put(t, info, `"client_secret":"`+info.ClientSecret+`","token_endpoint_auth_method":"client_secret_basic","redirect_uris":["https://b.example/cb"]`)
	if next.ClientName != "" || next.ClientURI != "" || next.ApplicationType != "" || next.TokenEndpointAuthMethod != oauth.AuthMethodBasic ||
		!slices.Equal(next.RedirectURIs, []string{"https://b.example/cb"}) || next.ClientSecret != info.ClientSecret || next.ClientID != info.ClientID {
		t.Errorf("%+v", next)
	}
	public := r.put(t, next, loopbackCB)
	if public.ClientSecret != "" || public.TokenEndpointAuthMethod != oauth.AuthMethodNone {
		t.Errorf("%+v", public)
	}
	// A public client has no secret that it could send.
	w := r.manage("PUT", info.RegistrationClientURI, public.RegistrationAccessToken, `{`+own+loopbackCB+`,"client_secret":"`+info.ClientSecret+`"}`)
	if e := decode[errorBody](t, w, http.StatusBadRequest); e.Error != oauth.CodeInvalidClientMetadata {
		t.Errorf("%v", e)
	}
}

// TestD6TheSameAgainChangesNothing: neither the token nor what is stored.
func TestD6TheSameAgainChangesNothing(t *testing.T) {
	r := newRig(t, nil)
	info := r.register(t, testClient)
	same := r.put(t, info, testClient[1:len(testClient)-1])
	if same.RegistrationAccessToken != info.RegistrationAccessToken {
		t.Error("the token changed")
	}
	if _, err := r.store.Client(t.Context(), oauth.ClientKey(info.ClientID)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("it is stored: %v", err)
	}
}

// FuzzManage: whatever is sent as a token opens nothing but the token itself, and
// whatever is sent as metadata leaves a client whose redirect URIs are good.
func FuzzManage(f *testing.F) {
	r := newRig(f, nil)
	info := r.register(f, testClient)
	f.Add(info.RegistrationAccessToken, testClient)
	f.Add("0.", `{"client_id":"`+info.ClientID+`","redirect_uris":["https://a.example/cb"]}`)
	f.Add("18446744073709551615.x", `{"client_id":null,"client_secret":7}`)
	f.Add("", `{"client_id":"x","client_id":"y"}`)
	f.Fuzz(func(t *testing.T, token, body string) {
		if w := r.manage("GET", info.RegistrationClientURI, strings.TrimSpace(token), ""); w.Code != http.StatusUnauthorized && strings.TrimSpace(token) != info.RegistrationAccessToken {
			t.Fatalf("%q: %d", token, w.Code)
		}
		req := httptest.NewRequest("PUT", info.RegistrationClientURI, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		metadata, err := readMetadata(httptest.NewRecorder(), req)
		if err != nil {
			return
		}
		c, err := r.client(t.Context(), info.ClientID)
		if err != nil {
			t.Fatal(err)
		}
		next, text, err := r.updated(c, metadata)
		if err != nil {
			return
		}
		again, err := clientFrom(c.ID, text)
		if err != nil || next.ID != c.ID || !slices.Equal(again.RedirectURIs, next.RedirectURIs) {
			t.Fatalf("%q becomes %s: %v", body, text, err)
		}
		for _, uri := range next.RedirectURIs {
			if err := oauth.CheckRedirectURI(uri, oauth.DefaultRedirectSchemes); err != nil {
				t.Fatalf("%q registers %q: %v", body, uri, err)
			}
		}
	})
}
