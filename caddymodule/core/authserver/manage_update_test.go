package authserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// badRedirects are redirect URIs that no client may have: SPEC O11 and O14,
// THREATS 1.1.
var badRedirects = []string{
	"https://c.example@evil", `https://c.example\@evil`, "https://evil#@c.example/cb", "https://c.example%2eevil/cb", "//evil", "https:evil",
	"https://c.exa\tmple/cb", "https://c.example/\ncb", "http://127.0.0.1.evil/cb", "http://127.0.0.1@evil/cb", "http://[::ffff:127.0.0.1]/cb",
	"http://0x7f.1/cb", "http://127.1/cb", "http://localhost.evil/cb", "https://c.example./cb", "https://c.exаmple/cb", "HTTPS://c.example/cb",
	"https://c.example/%0d%0aLocation:x", "http://evil.example/cb", "https://a@b@c.example/cb", "https://a%25@c.example/cb", "https://c.example/..;/../cb",
	"https://c.example/a/../cb", "https://c.example:536820/cb", "https://*.c.example/cb", "https://c.example/cb?code=x",
	"javascript:alert(1)", "JavaScript:alert(1)", " javascript:alert(1)", "java\nscript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd",
	"blob:https://c.example/x", "about:blank", "ws://c.example/cb", "ftp://c.example/cb", "", "/cb", "https://", "cursor:opaque", "cursor://a/cb#x",
}

// TestO11O14AtRegistrationAndUpdate: no confusing or dangerous redirect URI gets
// in, alone or beside a good one, at either door (THREATS R1 to R13).
func TestO11O14AtRegistrationAndUpdate(t *testing.T) {
	r := newRig(t, nil)
	info := r.register(t, testClient)
	for _, uri := range badRedirects {
		for _, list := range [][]string{{uri}, {"http://127.0.0.1/cb", uri}} {
			quoted, _ := json.Marshal(list)
			members := `"redirect_uris":` + string(quoted)
			for door, w := range map[string]*httptest.ResponseRecorder{
				"POST": r.do("POST", "/oauth/register", "application/json", `{`+members+`}`),
				"PUT":  r.manage("PUT", info.RegistrationClientURI, info.RegistrationAccessToken, `{"client_id":"`+info.ClientID+`",`+members+`}`),
			} {
				if e := decode[errorBody](t, w, http.StatusBadRequest); e.Error != oauth.CodeInvalidRedirectURI {
					t.Errorf("%s %q: %v", door, list, e)
				}
			}
		}
	}
	for _, list := range []string{`null`, `[]`, `[null]`, `"https://c.example/cb"`, `[7]`, `{}`, `["myapp:/cb"]`} {
		body := `{"client_id":"` + info.ClientID + `","redirect_uris":` + list + `}`
		if e := decode[errorBody](t, r.manage("PUT", info.RegistrationClientURI, info.RegistrationAccessToken, body), http.StatusBadRequest); e.Error != oauth.CodeInvalidRedirectURI {
			t.Errorf("%s: %v", list, e)
		}
	}
}

// TestD7UpdateIsARegistration: its rules count, and nothing gets wider.
func TestD7UpdateIsARegistration(t *testing.T) {
	r := newRig(t, nil)
	info := r.register(t, `{`+loopbackCB+`,"grant_types":["authorization_code"],"scope":"mcp:tools:read"}`)
	next := r.put(t, info, loopbackCB+`,"client_name":"Wider","grant_types":["authorization_code","refresh_token","client_credentials"],"scope":"mcp:tools:read mcp:tools:execute"`)
	if !slices.Equal(next.GrantTypes, []string{oauth.GrantAuthorizationCode}) || next.Scope != "mcp:tools:read" {
		t.Errorf("%+v", next)
	}
	next = r.put(t, next, loopbackCB+`,"client_name":"Wider still"`)
	if !slices.Equal(next.GrantTypes, []string{oauth.GrantAuthorizationCode}) || next.Scope != "mcp:tools:read" {
		t.Errorf("by leaving out: %+v", next)
	}
	for body, code := range map[string]string{
		`"redirect_uris":["http://localhost/cb"],"application_type":"web"`: oauth.CodeInvalidRedirectURI,
		loopbackCB + `,"grant_types":["implicit"]`:                         oauth.CodeInvalidClientMetadata,
		loopbackCB + `,"response_types":["token"]`:                         oauth.CodeInvalidClientMetadata,
		loopbackCB + `,"token_endpoint_auth_method":"client_secret_jwt"`:   oauth.CodeInvalidClientMetadata,
		loopbackCB + `,"scope":"a\"b"`:                                     oauth.CodeInvalidClientMetadata,
		loopbackCB + `,"software_statement":"x"`:                           oauth.CodeInvalidSoftwareStmt,
		`"redirect_uris":["https://c.example/` + strings.Repeat("x", 2000) + `","https://c.example/` + strings.Repeat("y", 2000) + `"]`: oauth.CodeInvalidClientMetadata,
	} {
		w := r.manage("PUT", next.RegistrationClientURI, next.RegistrationAccessToken, `{"client_id":"`+next.ClientID+`",`+body+`}`)
		if e := decode[errorBody](t, w, http.StatusBadRequest); e.Error != code {
			t.Errorf("%.80s: %v", body, e)
		}
	}
}

// authorizeQuery asks for a code at a redirect URI.
func authorizeQuery(id, redirectURI string) string {
	return "/oauth/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {id}, "code_challenge": {challengeOf(testVerifier)}, "code_challenge_method": {"S256"}, "redirect_uri": {redirectURI},
	}.Encode()
}

// TestD7AnUpdateVoidsWhatWasApproved: the old redirect URI is refused at once,
// codes on their way are void, and the client's approval has another hash.
func TestD7AnUpdateVoidsWhatWasApproved(t *testing.T) {
	for name, members := range map[string]string{
		"redirect URI": `"client_name":"Test","redirect_uris":["http://127.0.0.1/new"]`,
		"name":         `"client_name":"Another",` + loopbackCB,
		"auth method":  `"client_name":"Test",` + loopbackCB + `,"token_endpoint_auth_method":"client_secret_post"`,
	} {
		r := newRig(t, nil)
		info := r.register(t, testClient)
		before, code := r.tokens(t, info.ClientID), r.code(t, info.ClientID)
		next := r.put(t, info, members)
		form := codeForm(info.ClientID, code)
		if next.ClientSecret != "" {
			form.Set("client_secret", next.ClientSecret)
		}
		r.refused(t, form, http.StatusBadRequest, oauth.CodeInvalidGrant)
		if name == "redirect URI" {
			if w := r.do("GET", authorizeQuery(info.ClientID, "http://127.0.0.1/cb"), "", ""); w.Code != http.StatusBadRequest || w.Header().Get("Location") != "" {
				t.Errorf("the old redirect URI: %d %s", w.Code, w.Header().Get("Location"))
			}
			if w := r.do("GET", authorizeQuery(info.ClientID, "http://127.0.0.1:9/new"), "", ""); w.Code != http.StatusFound {
				t.Errorf("the new redirect URI: %d", w.Code)
			}
		}
		grants, err := r.store.Grants(t.Context(), r.now(), "alice", 10)
		c, err2 := r.client(t.Context(), info.ClientID)
		if err != nil || err2 != nil || len(grants) != 1 || grants[0].ClientHash == c.hash() {
			t.Errorf("%s: an earlier approval still counts: %v %v", name, err, err2)
		}
		refresh := refreshForm(info.ClientID, before.RefreshToken)
		if next.ClientSecret != "" {
			r.refused(t, refresh, http.StatusUnauthorized, oauth.CodeInvalidClient)
			refresh.Set("client_secret", next.ClientSecret)
		}
		decode[oauth.TokenResponse](t, r.form("/oauth/token", refresh), http.StatusOK)
	}
}

// TestD8DeleteEndsEverything: client, secret, token, grants and access tokens.
func TestD8DeleteEndsEverything(t *testing.T) {
	r := newRig(t, nil)
	info := r.register(t, `{`+loopbackCB+`,"token_endpoint_auth_method":"client_secret_post"}`)
	secret := func(f url.Values) url.Values { f.Set("client_secret", info.ClientSecret); return f }
	tokens := decode[oauth.TokenResponse](t, r.form("/oauth/token", secret(codeForm(info.ClientID, r.code(t, info.ClientID)))), http.StatusOK)
	code := r.code(t, info.ClientID)
	w := r.manage("DELETE", info.RegistrationClientURI, info.RegistrationAccessToken, "")
	if w.Code != http.StatusNoContent || w.Body.Len() > 0 || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := r.do("GET", authorizeQuery(info.ClientID, "http://127.0.0.1/cb"), "", ""); w.Code != http.StatusBadRequest || w.Header().Get("Location") != "" {
		t.Errorf("authorize: %d", w.Code)
	}
	r.refused(t, secret(refreshForm(info.ClientID, tokens.RefreshToken)), http.StatusUnauthorized, oauth.CodeInvalidClient)
	r.refused(t, secret(codeForm(info.ClientID, code)), http.StatusUnauthorized, oauth.CodeInvalidClient)
	entries, _, err := r.store.Revocations(t.Context(), r.now(), "")
	if err != nil || len(entries) != 1 || entries[0].Client != oauth.ClientKey(info.ClientID) || !entries[0].Before.After(r.now()) ||
		entries[0].Until.Before(r.now().Add(DefaultAccessTokenLifetime)) {
		t.Errorf("the feed: %+v, %v", entries, err)
	}
	rec, err := r.store.Client(t.Context(), oauth.ClientKey(info.ClientID))
	if err != nil || !rec.Deleted || rec.Metadata != "" {
		t.Errorf("the record: %+v, %v", rec, err)
	}
}

// TestD9TheTokenIsUselessElsewhere, and other values are useless here.
func TestD9TheTokenIsUselessElsewhere(t *testing.T) {
	r := newRig(t, nil)
	info := r.register(t, `{`+loopbackCB+`,"token_endpoint_auth_method":"client_secret_post"}`)
	public := r.register(t, testClient)
	code, tokens := r.code(t, public.ClientID), r.tokens(t, public.ClientID)
	for name, value := range map[string]string{
		"client_id": public.ClientID, "client_secret": info.ClientSecret, "code": code, "access token": tokens.AccessToken, "refresh token": tokens.RefreshToken,
		"client_secret of version 0": "0." + info.ClientSecret,
	} {
		for _, of := range []oauth.ClientInformation{info, public} {
			if w := r.manage("GET", of.RegistrationClientURI, value, ""); w.Code != http.StatusUnauthorized {
				t.Errorf("%s: %d", name, w.Code)
			}
		}
	}
	token := info.RegistrationAccessToken
	form := codeForm(info.ClientID, code)
	form.Set("client_secret", token)
	r.refused(t, form, http.StatusUnauthorized, oauth.CodeInvalidClient)
	r.refused(t, refreshForm(public.ClientID, token), http.StatusBadRequest, oauth.CodeInvalidGrant)
	r.refused(t, codeForm(public.ClientID, token), http.StatusBadRequest, oauth.CodeInvalidGrant)
	if _, mac, _ := strings.Cut(token, "."); len(mac) != 43 {
		t.Errorf("%d characters", len(mac))
	}
	text := fmt.Sprint(r.events)
	for _, secret := range []string{token, info.ClientSecret} {
		if strings.Contains(text, secret) {
			t.Error("an event names a secret")
		}
	}
}

// TestManagementRaces: of any number of changes with one token exactly one
// counts, and nobody brings a deleted client back.
func TestManagementRaces(t *testing.T) {
	r := newRig(t, nil)
	info := r.register(t, testClient)
	codes := make(chan int, 16)
	var wg sync.WaitGroup
	for i := range cap(codes) {
		wg.Go(func() {
			body := fmt.Sprintf(`{"client_id":%q,"client_name":"N%d",%s}`, info.ClientID, i, loopbackCB)
			method := "PUT"
			if i == 7 {
				method = "DELETE"
			}
			codes <- r.manage(method, info.RegistrationClientURI, info.RegistrationAccessToken, body).Code
		})
	}
	wg.Wait()
	close(codes)
	got := map[int]int{}
	for c := range codes {
		got[c]++
	}
	if won := got[http.StatusOK] + got[http.StatusNoContent]; won != 1 || got[http.StatusUnauthorized] != cap(codes)-1 {
		t.Errorf("%v", got)
	}
}

// TestManagementOutage: a store that does not answer is 503 everywhere, and never
// a verdict about the client.
func TestManagementOutage(t *testing.T) {
	var broken *brokenClients
	r := newRig(t, func(_ *Config, d *Deps) {
		broken = &brokenClients{Store: d.Store}
		d.Store = broken
	})
	info := r.register(t, testClient)
	tokens := r.tokens(t, info.ClientID)
	broken.read = errors.New("down")
	body := `{"client_id":"` + info.ClientID + `","client_name":"New",` + loopbackCB + `}`
	for name, w := range map[string]*httptest.ResponseRecorder{
		"GET":       r.manage("GET", info.RegistrationClientURI, info.RegistrationAccessToken, ""),
		"PUT":       r.manage("PUT", info.RegistrationClientURI, info.RegistrationAccessToken, body),
		"DELETE":    r.manage("DELETE", info.RegistrationClientURI, info.RegistrationAccessToken, ""),
		"token":     r.form("/oauth/token", refreshForm(info.ClientID, tokens.RefreshToken)),
		"authorize": r.do("GET", authorizeQuery(info.ClientID, "http://127.0.0.1/cb"), "", ""),
	} {
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || w.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
	wantNotTheClient(t, r.manage("GET", info.RegistrationClientURI, "0.forged", "")) // fails before the look-up
	broken.read, broken.write = nil, errors.New("down")
	for _, method := range []string{"PUT", "DELETE"} {
		if w := r.manage(method, info.RegistrationClientURI, info.RegistrationAccessToken, body); w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
	broken.write, broken.announce = nil, errors.New("down")
	if w := r.manage("DELETE", info.RegistrationClientURI, info.RegistrationAccessToken, ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d", w.Code)
	}
	broken.announce = nil
	if w := r.manage("DELETE", info.RegistrationClientURI, info.RegistrationAccessToken, ""); w.Code != http.StatusNoContent {
		t.Errorf("the owner can't try again: %d", w.Code)
	}
}

// TestTombstonesCountWithManagementOff: and with registration off.
func TestTombstonesCountWithManagementOff(t *testing.T) {
	r := newRig(t, nil)
	gone, changed := r.register(t, testClient), r.register(t, testClient)
	r.manage("DELETE", gone.RegistrationClientURI, gone.RegistrationAccessToken, "")
	r.put(t, changed, `"redirect_uris":["http://127.0.0.1/new"]`)
	r.cfg.Registration.NoManagement, r.cfg.Registration.Off = true, true
	if _, err := r.client(t.Context(), gone.ClientID); !errors.Is(err, errUnknownClient) {
		t.Errorf("the deleted client: %v", err)
	}
	if c, err := r.client(t.Context(), changed.ClientID); err != nil || !slices.Equal(c.RedirectURIs, []string{"http://127.0.0.1/new"}) {
		t.Errorf("the changed client: %+v %v", c, err)
	}
}

// TestChangesAreBounded: each one is stored for good, and everybody can make
// them.
func TestChangesAreBounded(t *testing.T) {
	r := newRig(t, nil)
	refused := func(ip string, n int) (limited int) {
		for range n {
			info := r.register(t, testClient)
			req := httptest.NewRequest("DELETE", info.RegistrationClientURI, nil)
			req = req.WithContext(oauth.WithMeta(req.Context(), oauth.Meta{RemoteIP: ip}))
			req.Header.Set("Authorization", "Bearer "+info.RegistrationAccessToken)
			w := httptest.NewRecorder()
			r.ServeHTTP(w, req)
			switch {
			case w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") != "":
				limited++
			case w.Code != http.StatusNoContent:
				t.Fatal(w.Code, w.Body)
			}
		}
		return limited
	}
	if n := refused("192.0.2.1", changesRate.PerAddress+5); n != 5 {
		t.Errorf("one address: %d were refused", n)
	}
	if n := refused("192.0.2.2", changesRate.PerAddress) + refused("192.0.2.3", changesRate.PerAddress) + refused("192.0.2.4", 5); n != 5 {
		t.Errorf("all addresses: %d were refused", n)
	}
	r.pass(time.Minute)
	if n := refused("192.0.2.1", 1); n != 0 {
		t.Error("a minute later it is still refused")
	}
}
