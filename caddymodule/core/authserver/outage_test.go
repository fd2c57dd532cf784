package authserver

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// fault is what is wrong with a store.
type fault int

const (
	noFault       fault = iota
	storeFails          // every call fails at once
	storeHangs          // every call waits until its context ends
	storeReadOnly       // what writes fails at once
)

// storeWrites are the calls that write.
var storeWrites = []string{"create_grant", "rotate_grant", "revoke_grant", "touch_grants", "use", "announce", "put_client", "ping"}

// faulty returns a bounded store that has what *what says.
func faulty(s store.Store, what *fault) store.Store {
	return store.NewBounded(store.Intercept(s, func(ctx context.Context, op string, call func(context.Context) error) error {
		switch {
		case *what == storeFails, *what == storeReadOnly && slices.Contains(storeWrites, op):
			return errDisk
		case *what == storeHangs:
			<-ctx.Done()
			return ctx.Err()
		}
		return call(ctx)
	}), nil)
}

// needs is what an endpoint needs of the store.
type needs int

const (
	needsNothing needs = iota
	needsReads
	needsWrites
)

func (n needs) unmet(f fault) bool {
	return n == needsWrites && f != noFault || n == needsReads && (f == storeFails || f == storeHangs)
}

// outageCase is one request.
type outageCase struct {
	name  string
	path  string // of the route
	needs needs
	want  int // without an outage
	send  func() *httptest.ResponseRecorder
}

// outageRig is a server on a store with faults.
type outageRig struct {
	*machines
	fault fault
	cases []outageCase
}

func newOutageRig(t *testing.T) *outageRig {
	o := new(outageRig)
	o.machines = newMachines(t, func(c *Config, d *Deps) {
		d.Store = faulty(d.Store, &o.fault)
		c.AllowUnattended, d.Logins = false, []login.Method{typed{}, away{"idp"}}
		c.Resources[0].PersonalTokens = true
		c.Clients = append(c.Clients, Client{
			ID: "web", Name: "Web", RedirectURIs: []string{"https://web.example/cb"}, AuthMethod: "none", GrantTypes: []string{"authorization_code", "refresh_token"},
		})
	})
	o.tokenCases(t)
	o.aboutTokenCases(t)
	o.registrationCases(t)
	o.flowCases(t)
	o.accountCases(t)
	o.add("health", "/oauth/health", needsWrites, http.StatusOK, func() *httptest.ResponseRecorder { return o.do("GET", "/oauth/health", "", "") })
	o.otherCases()
	return o
}

func (o *outageRig) add(name, path string, n needs, want int, send func() *httptest.ResponseRecorder) {
	o.cases = append(o.cases, outageCase{name, path, n, want, send})
}

// post adds a case that posts a form.
func (o *outageRig) post(name, path string, n needs, want int, form url.Values) {
	o.add(name, path, n, want, func() *httptest.ResponseRecorder { return o.form(path, form) })
}

// granted returns the tokens of a program that somebody let in.
func (o *outageRig) granted(t *testing.T, who, id string) oauth.TokenResponse {
	t.Helper()
	return decode[oauth.TokenResponse](t, o.form(tokenPath, codeForm(id, o.coded(t, who, id))), http.StatusOK)
}

// coded returns a code that somebody has approved.
func (o *outageRig) coded(t *testing.T, who, id string) string {
	t.Helper()
	b := o.browser(t)
	return result(t, b.decide(b.signIn(request(id, "resource", testResource), who), "allow")).Get("code")
}

func (o *outageRig) tokenCases(t *testing.T) {
	dynamic := o.register(t, testClient).ClientID
	o.post("code", tokenPath, needsWrites, http.StatusOK, codeForm(anyoneID, o.coded(t, "u1", anyoneID)))
	o.post("code of a registered client", tokenPath, needsWrites, http.StatusOK, codeForm(dynamic, o.coded(t, "u2", dynamic)))
	used := o.coded(t, "u3", anyoneID)
	decode[oauth.TokenResponse](t, o.form(tokenPath, codeForm(anyoneID, used)), http.StatusOK)
	o.post("code that was used", tokenPath, needsWrites, http.StatusBadRequest, codeForm(anyoneID, used))
	o.post("refresh", tokenPath, needsWrites, http.StatusOK, refreshForm(anyoneID, o.granted(t, "u4", anyoneID).RefreshToken))
	stolen := o.granted(t, "u5", anyoneID).RefreshToken
	o.refresh(t, anyoneID, o.refresh(t, anyoneID, stolen).RefreshToken)
	o.post("refresh token of long ago", tokenPath, needsWrites, http.StatusBadRequest, refreshForm(anyoneID, stolen))
	o.post("forged refresh token", tokenPath, needsNothing, http.StatusBadRequest, refreshForm(anyoneID, "forged"))
	o.post("forged refresh token of a registered client", tokenPath, needsReads, http.StatusBadRequest, refreshForm(dynamic, "forged"))
	o.post("assertion", tokenPath, needsWrites, http.StatusOK, asserted(o.assertion(t, nil)))
	o.post("bad assertion", tokenPath, needsNothing, http.StatusUnauthorized, asserted(o.assertion(t, map[string]any{"aud": "https://evil.example"})))
	o.post("wrong secret", tokenPath, needsNothing, http.StatusUnauthorized,
		url.Values{"grant_type": {oauth.GrantClientCredentials}, "client_id": {clerkID}, "client_secret": {"wrong"}})
	o.post("unknown client", tokenPath, needsNothing, http.StatusUnauthorized, codeForm("nobody", "code"))
}

func (o *outageRig) aboutTokenCases(t *testing.T) {
	one, two := o.granted(t, "u6", anyoneID), o.granted(t, "u7", anyoneID)
	about := func(token string) url.Values { return url.Values{"client_id": {anyoneID}, "token": {token}} }
	asks := func(token string) url.Values { return as(serverID, url.Values{"token": {token}}) }
	o.post("introspect", introspectPath, needsNothing, http.StatusOK, asks(two.AccessToken))
	o.post("introspect a refresh token", introspectPath, needsReads, http.StatusOK, asks(two.RefreshToken))
	o.post("introspect an unknown personal token", introspectPath, needsReads, http.StatusOK, asks(newPersonalText()))
	o.post("introspect nonsense", introspectPath, needsNothing, http.StatusOK, asks("nonsense"))
	o.post("introspect with a wrong secret", introspectPath, needsNothing, http.StatusUnauthorized,
		url.Values{"client_id": {serverID}, "client_secret": {"wrong"}, "token": {two.AccessToken}})
	o.post("revoke an access token", revokePath, needsWrites, http.StatusOK, about(one.AccessToken))
	o.post("revoke", revokePath, needsWrites, http.StatusOK, about(one.RefreshToken))
	o.post("revoke nonsense", revokePath, needsNothing, http.StatusOK, about("nonsense"))
}

func (o *outageRig) registrationCases(t *testing.T) {
	o.add("register", "/oauth/register", needsNothing, http.StatusCreated, func() *httptest.ResponseRecorder {
		return o.do("POST", "/oauth/register", "application/json", testClient)
	})
	for _, c := range []struct {
		method, token string
		needs         needs
		want          int
	}{
		{"GET", "", needsReads, http.StatusOK},
		{"PUT", "", needsWrites, http.StatusOK},
		{"DELETE", "", needsWrites, http.StatusNoContent},
		{"GET", "0.forged", needsNothing, http.StatusUnauthorized},
	} {
		info := o.register(t, testClient)
		if c.token != "" {
			info.RegistrationAccessToken = c.token
		}
		body := `{"client_id":"` + info.ClientID + `","redirect_uris":["http://127.0.0.1/other"]}`
		o.add("registration "+c.method+c.token, managePath, c.needs, c.want, func() *httptest.ResponseRecorder {
			return o.manage(c.method, info.RegistrationClientURI, info.RegistrationAccessToken, body)
		})
	}
}

func (o *outageRig) flowCases(t *testing.T) {
	dynamic := o.register(t, testClient).ClientID
	o.add("authorize", authorizePath, needsNothing, http.StatusOK, func() *httptest.ResponseRecorder {
		return o.browser(t).get(request(anyoneID, "resource", testResource))
	})
	o.add("authorize a registered client", authorizePath, needsReads, http.StatusOK, func() *httptest.ResponseRecorder {
		return o.browser(t).get(request(dynamic, "resource", testResource))
	})
	for _, how := range []string{"", "none"} {
		known := o.browser(t)
		known.signIn(request("web", "resource", testResource), "u8")
		want := http.StatusOK
		if how != "" {
			want = http.StatusFound // the client learns that consent is required
		}
		o.add("authorize with an agreement to look for"+how, authorizePath, needsReads, want, func() *httptest.ResponseRecorder {
			return known.twin().get(request("web", "resource", testResource, "prompt", how))
		})
	}
	typing := o.browser(t)
	form := signInForm(flowOf(t, typing.get(request(dynamic, "resource", testResource))), "u9", "right")
	o.add("sign in", signInPath, needsReads, http.StatusSeeOther, func() *httptest.ResponseRecorder { return typing.post(signInPath, form) })
	back := o.browser(t)
	state := back.upstream(request(anyoneID, "resource", testResource), "idp")
	o.add("callback", callbackPath+"idp", needsWrites, http.StatusSeeOther, func() *httptest.ResponseRecorder {
		return back.twin().get(callbackPath + "idp?state=" + state + "&code=bob") // with the cookie that was there
	})
	stranger := o.register(t, webClient).ClientID
	for _, decision := range []string{"allow", "deny"} {
		for _, id := range []string{"web", stranger} {
			b := o.browser(t)
			page := b.signIn(request(id, "resource", testResource), "u10")
			o.add(decision+" "+id[:3], consentPath, needsWrites, http.StatusSeeOther, func() *httptest.ResponseRecorder { return b.decide(page, decision) })
		}
	}
}

func (o *outageRig) accountCases(t *testing.T) {
	reader := o.browser(t)
	reader.signIn(accountPath, "u11")
	o.add("account", accountPath, needsReads, http.StatusOK, func() *httptest.ResponseRecorder { return reader.get(accountPath) })
	for i, do := range []string{"revoke", "revoke_all", "mint_token", "sign_out_everywhere"} {
		who := "owner" + string(rune('a'+i))
		o.granted(t, who, anyoneID)
		grants, err := o.store.Grants(t.Context(), o.now(), who, 1)
		if err != nil || len(grants) != 1 {
			t.Fatal(grants, err)
		}
		b, flow := o.owner(t, who)
		form := tokenForm(flow, "do", do, "grant", grants[0].ID)
		o.add("account "+do, accountPath, needsWrites, http.StatusOK, func() *httptest.ResponseRecorder { return b.post(accountPath, form) })
	}
	b, flow := o.owner(t, "leaver")
	o.add("account sign_out", accountPath, needsWrites, http.StatusOK, func() *httptest.ResponseRecorder {
		return b.twin().post(accountPath, tokenForm(flow, "do", "sign_out")) // each time with the cookie
	})
}

// otherCases are the routes that no case is about. They need nothing.
func (o *outageRig) otherCases() {
	for _, r := range o.Routes() {
		if !slices.ContainsFunc(o.cases, func(c outageCase) bool { return c.path == r.Path }) {
			o.add(r.Path, r.Path, needsNothing, http.StatusOK, func() *httptest.ResponseRecorder { return o.do("GET", r.Path, "", "") })
		}
	}
}

// notAnOutage says what is wrong with the answer to an outage, if anything is. A
// client that the operator trusts with that hears of it instead (SPEC F22).
func notAnOutage(w *httptest.ResponseRecorder, took time.Duration) string {
	h, body := w.Header(), w.Body.String()
	said := strings.HasPrefix(h.Get("Content-Type"), "text/html") || h.Get("Content-Type") == "application/json" &&
		(strings.Contains(body, `"error":"temporarily_unavailable"`) || strings.Contains(body, `"status":"unavailable"`))
	switch {
	case strings.HasPrefix(h.Get("Location"), "https://web.example/cb?error=temporarily_unavailable&") && took <= 2*time.Second:
		return ""
	case w.Code != http.StatusServiceUnavailable || h.Get("Retry-After") == "" || h.Get("WWW-Authenticate") != "" || h.Get("Location") != "":
		return fmt.Sprintf("%d %v %.300s", w.Code, h, body)
	case took > 2*time.Second:
		return fmt.Sprintf("it took %s", took)
	case strings.Contains(body, "disk") || strings.Contains(body, "deadline"):
		return "it says why: " + body
	case !said:
		return fmt.Sprintf("%v %.300s", h, body)
	}
	return ""
}

// TestOutageEverywhere sends every kind of request to a server whose store has a
// fault, and again when it has none any more: an outage is 503 within two seconds
// and never a verdict, nothing is spent by it, what needs no store goes on, and
// what is bad is refused (THREATS section 3, SPEC G5).
func TestOutageEverywhere(t *testing.T) {
	for name, f := range map[string]fault{"fails": storeFails, "hangs": storeHangs, "read only": storeReadOnly} {
		t.Run(name, func(t *testing.T) {
			o := newOutageRig(t)
			for _, c := range o.cases {
				o.fault = noFault
				if err := o.deps.Store.Ping(t.Context()); err != nil { // so that the next one is let through
					t.Fatal(err)
				}
				o.fault = f
				w, took := timed(t, c.send)
				if c.needs.unmet(f) {
					if wrong := notAnOutage(w, took); wrong != "" {
						t.Errorf("%s: %s", c.name, wrong)
					}
				} else if w.Code != c.want || took != 0 {
					t.Errorf("%s: %d after %s, want %d: %.300s", c.name, w.Code, took, c.want, w.Body)
				}
			}
			o.fault = noFault
			for _, c := range o.cases {
				if w := c.send(); w.Code != c.want && c.needs.unmet(f) {
					t.Errorf("%s, after the outage: %d, want %d: %.300s", c.name, w.Code, c.want, w.Body)
				}
			}
		})
	}
}

// timed sends a request by a clock that does not take long.
func timed(t *testing.T, send func() *httptest.ResponseRecorder) (w *httptest.ResponseRecorder, took time.Duration) {
	synctest.Test(t, func(*testing.T) {
		begin := time.Now()
		w = send()
		took = time.Since(begin)
	})
	return w, took
}
