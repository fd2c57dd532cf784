package authserver

import (
	"context"
	"errors"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// typed is a login with a form. Every password is right but "wrong" and
// "often"; gone are the people whose accounts were closed.
type typed struct{ gone *[]string }

func (typed) Info() login.Info {
	return login.Info{ID: "password", Fields: []login.Field{{Name: "username"}, {Name: "password", Secret: true}}}
}

func (l typed) Begin(_ context.Context, r login.Request) (login.Step, error) {
	switch name := r.Form["username"]; {
	case r.Form["password"] == "wrong" || name == "":
		return login.Step{}, login.ErrRejected
	case r.Form["password"] == "often":
		return login.Step{}, &login.ThrottledError{RetryAfter: 1500 * time.Millisecond}
	default:
		return login.Step{Identity: &login.Identity{
			Subject: name, Email: name + "@example.com", EmailVerified: true, Groups: []string{"staff"}, AuthTime: time.Unix(5, 0),
		}}, nil
	}
}

func (typed) Finish(context.Context, login.Request) (login.Step, error) {
	return login.Step{}, login.ErrDenied
}

func (l typed) Recheck(_ context.Context, id login.Identity) (login.Identity, error) {
	if l.gone != nil && slices.Contains(*l.gone, id.Subject) {
		return id, login.ErrDenied
	}
	return id, nil
}

// away is a login at a provider, whose answers the test makes up.
type away struct{ id string }

func (l away) Info() login.Info {
	return login.Info{ID: l.id, Label: "Away", Namespace: "https://" + l.id + ".example"}
}

func (l away) Begin(_ context.Context, r login.Request) (login.Step, error) {
	return login.Step{
		Redirect: "https://" + l.id + ".example/authorize?state=" + r.State + fmt.Sprintf("&force=%t", r.Force) + "&redirect_uri=" + url.QueryEscape(r.CallbackURL),
		Save:     []byte("saved for " + r.State),
	}, nil
}

func (l away) Finish(_ context.Context, r login.Request) (login.Step, error) {
	switch who := r.Query.Get("code"); {
	case string(r.Saved) != "saved for "+r.State:
		return login.Step{}, errors.New("something else was saved")
	case r.Query.Get("error") != "":
		return login.Step{}, fmt.Errorf("%w: %s", login.ErrDenied, "the provider said no")
	case who == "down":
		return login.Step{}, errors.New("connection refused")
	case who == "impostor":
		return login.Step{}, fmt.Errorf("%w: the nonce differs", login.ErrDenied)
	default:
		return login.Step{Identity: &login.Identity{Subject: who, AuthTime: time.Unix(5, 0)}}, nil
	}
}

func (away) Recheck(_ context.Context, id login.Identity) (login.Identity, error) { return id, nil }

// proxied is a login that finds the person in a header.
type proxied struct{}

func (proxied) Info() login.Info {
	return login.Info{ID: "header", Namespace: "proxy", Ambient: true}
}

func (proxied) Begin(_ context.Context, r login.Request) (login.Step, error) {
	who := r.HTTP.Header.Get("Remote-User")
	if who == "" {
		return login.Step{}, fmt.Errorf("%w: no header", login.ErrDenied)
	}
	return login.Step{Identity: &login.Identity{Subject: who}}, nil
}

func (proxied) Finish(context.Context, login.Request) (login.Step, error) {
	return login.Step{}, login.ErrDenied
}

func (proxied) Recheck(_ context.Context, id login.Identity) (login.Identity, error) { return id, nil }

// attended returns a rig where people sign in.
func attended(tb testing.TB, edit func(*Config), logins ...login.Method) *rig {
	tb.Helper()
	return newRig(tb, func(c *Config, d *Deps) {
		c.AllowUnattended = false
		if d.Logins = logins; len(logins) == 0 {
			d.Logins = []login.Method{typed{}, away{"idp"}}
		}
		if edit != nil {
			edit(c)
		}
	})
}

// browser keeps cookies and says where its requests come from, as browsers do.
type browser struct {
	*rig
	tb      testing.TB
	cookies map[string]string
	header  http.Header
}

func (r *rig) browser(tb testing.TB) *browser {
	return &browser{r, tb, map[string]string{}, http.Header{}}
}

// twin is another tab or a copy: the same cookies, now.
func (b *browser) twin() *browser {
	return &browser{b.rig, b.tb, maps.Clone(b.cookies), b.header.Clone()}
}

func (b *browser) send(method, target, body string, header ...string) *httptest.ResponseRecorder {
	b.tb.Helper()
	req := httptest.NewRequest(method, oauth.OriginOf(b.cfg.Issuer)+strings.TrimPrefix(target, oauth.OriginOf(b.cfg.Issuer)), strings.NewReader(body))
	maps.Copy(req.Header, b.header)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Del(header[i])
		if header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	for name, value := range b.cookies {
		req.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, req)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return w
}

func (b *browser) get(target string) *httptest.ResponseRecorder {
	b.tb.Helper()
	return b.send("GET", target, "")
}

// post sends a form as a page of this server does, unless the header says
// something else.
func (b *browser) post(target string, form url.Values, header ...string) *httptest.ResponseRecorder {
	b.tb.Helper()
	return b.send("POST", target, form.Encode(), append([]string{
		"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin", "Origin", "null",
	}, header...)...)
}

var flowField = regexp.MustCompile(`name="flow" value="([^"]+)"`)

// flowOf returns what a page's form carries.
func flowOf(tb testing.TB, w *httptest.ResponseRecorder) string {
	tb.Helper()
	m := flowField.FindStringSubmatch(w.Body.String())
	if m == nil {
		tb.Fatalf("no form: %d %s %.300s", w.Code, w.Header().Get("Location"), w.Body)
	}
	return html.UnescapeString(m[1])
}

// request is an authorization request of a client.
func request(clientID string, params ...string) string {
	q := url.Values{
		"response_type": {"code"}, "client_id": {clientID}, "state": {"st"},
		"code_challenge": {challengeOf(testVerifier)}, "code_challenge_method": {"S256"},
	}
	for i := 0; i+1 < len(params); i += 2 {
		q.Set(params[i], params[i+1])
	}
	return authorizePath + "?" + q.Encode()
}

// signIn types a name on the sign-in page of a request and returns the page
// after it.
func (b *browser) signIn(target, name string) *httptest.ResponseRecorder {
	b.tb.Helper()
	page := b.get(target)
	return b.follow(b.post(signInPath, signInForm(flowOf(b.tb, page), name, "right")))
}

func signInForm(flow, name, password string) url.Values {
	return url.Values{"flow": {flow}, "login": {"password"}, "field_username": {name}, "field_password": {password}}
}

// follow follows redirects within this server.
func (b *browser) follow(w *httptest.ResponseRecorder) *httptest.ResponseRecorder {
	b.tb.Helper()
	for range 5 {
		location := w.Header().Get("Location")
		if !strings.HasPrefix(location, "/") {
			return w
		}
		w = b.get(location)
	}
	b.tb.Fatal("too many redirects")
	return w
}

func (b *browser) decide(page *httptest.ResponseRecorder, decision string) *httptest.ResponseRecorder {
	b.tb.Helper()
	return b.post(consentPath, url.Values{"flow": {flowOf(b.tb, page)}, "decision": {decision}})
}

// result returns the query with which a client is called back.
func result(tb testing.TB, w *httptest.ResponseRecorder) url.Values {
	tb.Helper()
	u, err := url.Parse(w.Header().Get("Location"))
	if err != nil || u.Host == "" {
		tb.Fatalf("not sent back: %d %s %.300s", w.Code, w.Header().Get("Location"), w.Body)
	}
	if u.Query().Get("iss") != testIssuer || u.Query().Get("state") != "st" {
		tb.Errorf("sent back without iss or state: %s", u)
	}
	return u.Query()
}

// shows checks status and the kind of page.
func shows(tb testing.TB, w *httptest.ResponseRecorder, status int, marker string) {
	tb.Helper()
	if w.Code != status || !strings.Contains(w.Body.String(), marker) {
		tb.Fatalf("status %d, want %d and %q: %s %.1500s", w.Code, status, marker, w.Header().Get("Location"), w.Body)
	}
}

// refuses checks status and reason of the last event, and that the browser is
// sent nowhere.
func (r *rig) refuses(tb testing.TB, w *httptest.ResponseRecorder, status int, reason string) {
	tb.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.events[len(r.events)-1]
	if w.Code != status || got.Reason != reason || w.Header().Get("Location") != "" {
		tb.Fatalf("status %d, reason %q (%v), sent to %q; want %d and %q", w.Code, got.Reason, got.Err, w.Header().Get("Location"), status, reason)
	}
}
