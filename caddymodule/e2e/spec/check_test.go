package spec_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// Paths that many tests use.
const (
	prmPath   = "/.well-known/oauth-protected-resource"
	asPath    = "/.well-known/oauth-authorization-server"
	oidcPath  = "/.well-known/openid-configuration"
	bothScope = "mcp:tools:read mcp:tools:execute"
)

// descriptionText is what RFC 6749 §5.2 lets an error_description have.
var descriptionText = regexp.MustCompile(`^[\x20-\x21\x23-\x5B\x5D-\x7E]+$`)

func get(t *testing.T, target string, header ...string) gatewaytest.Reply {
	t.Helper()
	return gatewaytest.Send(t, http.MethodGet, target, "", header...)
}

// getJSON reads a document and demands 200 and JSON.
func getJSON(t *testing.T, target string, header ...string) map[string]any {
	t.Helper()
	r := get(t, target, header...)
	wantStatus(t, r, http.StatusOK)
	wantHeader(t, r, "Content-Type", "application/json")
	return r.JSON(t)
}

func wantStatus(t *testing.T, r gatewaytest.Reply, status int) {
	t.Helper()
	if r.Status != status {
		t.Fatalf("status %d, want %d\n%v\n%s", r.Status, status, r.Header, brief(r))
	}
}

var style = regexp.MustCompile(`(?s)<style.*</style>`)

// brief returns a body for a test's message.
func brief(r gatewaytest.Reply) string {
	body := style.ReplaceAllString(r.Body, "")
	return body[:min(len(body), 1500)]
}

func wantHeader(t *testing.T, r gatewaytest.Reply, name, value string) {
	t.Helper()
	if got := r.Header.Values(name); len(got) != 1 || got[0] != value {
		t.Errorf("%s: %q, want %q once", name, got, value)
	}
}

// wantError checks an error that is answered as JSON, in every part.
func wantError(t *testing.T, r gatewaytest.Reply, status int, code string) {
	t.Helper()
	wantStatus(t, r, status)
	wantJSONErrorShape(t, r)
	if got := r.Text(t, "error"); got != code {
		t.Errorf("error %q, want %q\n%s", got, code, r.Body)
	}
}

// wantJSONErrorShape checks what all JSON errors have in common (C24, G3, O42).
func wantJSONErrorShape(t *testing.T, r gatewaytest.Reply) {
	t.Helper()
	wantHeader(t, r, "Content-Type", "application/json")
	wantHeader(t, r, "Cache-Control", "no-store")
	wantHeader(t, r, "X-Content-Type-Options", "nosniff")
	m := r.JSON(t)
	for name, value := range m {
		text, ok := value.(string)
		if !ok || name != "error" && name != "error_description" || !descriptionText.MatchString(text) {
			t.Errorf("member %s of the error is %q", name, value)
		}
	}
	if m["error"] == nil {
		t.Errorf("the error has no code: %s", r.Body)
	}
}

// redirected checks everything that each redirect to a client must fulfil
// (F42, F43, F22), and returns its query.
func redirected(t *testing.T, r gatewaytest.Reply, issuer string) url.Values {
	t.Helper()
	wantStatus(t, r, http.StatusFound)
	locations := r.Header.Values("Location")
	if len(locations) != 1 {
		t.Fatalf("%d Location headers", len(locations))
	}
	u, err := url.Parse(locations[0])
	if err != nil {
		t.Fatal(err)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		t.Fatalf("the query of %s: %v", locations[0], err)
	}
	for _, name := range []string{"code", "error", "error_description", "state", "iss"} {
		if len(q[name]) > 1 {
			t.Errorf("%s occurs %d times in %s", name, len(q[name]), locations[0])
		}
	}
	if q.Has("code") == q.Has("error") {
		t.Errorf("code and error in %s", locations[0])
	}
	if q.Get("iss") != issuer {
		t.Errorf("iss %q, want %q", q.Get("iss"), issuer)
	}
	if q.Has("error") && !descriptionText.MatchString(q.Get("error_description")) {
		t.Errorf("error_description %q", q.Get("error_description"))
	}
	if strings.Contains(locations[0], "#") || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the redirect has a fragment or may be stored: %s %v", locations[0], r.Header)
	}
	return q
}

// wantRedirectError checks that the client gets an error code, with its state.
func wantRedirectError(t *testing.T, r gatewaytest.Reply, issuer, code string) {
	t.Helper()
	q := redirected(t, r, issuer)
	if q.Get("error") != code || q.Get("state") != "st-1" {
		t.Errorf("error %q, state %q, want %q and st-1", q.Get("error"), q.Get("state"), code)
	}
}

var metaRefresh = regexp.MustCompile(`(?i)http-equiv\s*=\s*["']?refresh`)

// wantPage checks a page for people that leads nowhere by itself (F3, F33, F35).
func wantPage(t *testing.T, r gatewaytest.Reply, status int) {
	t.Helper()
	wantStatus(t, r, status)
	wantHeader(t, r, "Content-Type", "text/html; charset=utf-8")
	wantHeader(t, r, "X-Frame-Options", "DENY")
	wantHeader(t, r, "X-Content-Type-Options", "nosniff")
	wantHeader(t, r, "Referrer-Policy", "no-referrer")
	wantHeader(t, r, "Cache-Control", "no-store")
	csp := r.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "frame-ancestors 'none'") || !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("Content-Security-Policy: %q", csp)
	}
	if r.Header.Get("Location") != "" || r.Header.Get("Refresh") != "" || metaRefresh.MatchString(r.Body) || strings.Contains(r.Body, "<script") {
		t.Errorf("the page leads away or has a script: %v\n%s", r.Header, brief(r))
	}
}

// wantAllowed checks a preflight's answer, or that of a request from a browser.
func wantAllowed(t *testing.T, r gatewaytest.Reply) {
	t.Helper()
	wantHeader(t, r, "Access-Control-Allow-Origin", "*")
	if r.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Error("credentials are allowed")
	}
}

// preflight asks as a browser does, and checks method and headers.
func preflight(t *testing.T, target, method string) {
	t.Helper()
	r := gatewaytest.Send(t, http.MethodOptions, target, "", "Origin", "https://inspector.example",
		"Access-Control-Request-Method", method,
		"Access-Control-Request-Headers", "authorization,content-type,mcp-protocol-version")
	wantStatus(t, r, http.StatusNoContent)
	wantAllowed(t, r)
	if !slices.Contains(commaList(r.Header.Get("Access-Control-Allow-Methods")), method) {
		t.Errorf("methods %q lack %s", r.Header.Get("Access-Control-Allow-Methods"), method)
	}
	allowed := commaList(strings.ToLower(r.Header.Get("Access-Control-Allow-Headers")))
	for _, name := range []string{"authorization", "content-type", "mcp-protocol-version"} {
		if !slices.Contains(allowed, name) {
			t.Errorf("headers %q lack %s", allowed, name)
		}
	}
}

func commaList(s string) []string {
	list := strings.Split(s, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// wantNothingEmpty walks a document: no null, no [], no empty string (A7, B21).
func wantNothingEmpty(t *testing.T, path string, v any) {
	t.Helper()
	switch v := v.(type) {
	case nil:
		t.Errorf("%s is null", path)
	case string:
		if v == "" {
			t.Errorf("%s is empty", path)
		}
	case []any:
		if len(v) == 0 {
			t.Errorf("%s is empty", path)
		}
		for _, e := range v {
			wantNothingEmpty(t, path+"[]", e)
		}
	case map[string]any:
		for name, e := range v {
			wantNothingEmpty(t, path+"."+name, e)
		}
	}
}

// wantMember compares a member of a document, by its JSON text.
func wantMember(t *testing.T, doc map[string]any, name, want string) {
	t.Helper()
	got, err := json.Marshal(doc[name])
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is %s, want %s", name, got, want)
	}
}

func wantAbsent(t *testing.T, doc map[string]any, names ...string) {
	t.Helper()
	for _, name := range names {
		if v, ok := doc[name]; ok {
			t.Errorf("%s is present: %v", name, v)
		}
	}
}

// stringsIn returns every string of a document.
func stringsIn(v any) (all []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, e := range v {
			all = append(all, stringsIn(e)...)
		}
	case map[string]any:
		for _, e := range v {
			all = append(all, stringsIn(e)...)
		}
	}
	return all
}

// jwtPart decodes the header (0) or the claims (1) of a token.
func jwtPart(t *testing.T, token string, i int) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %q", token)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[i])
	if err != nil {
		t.Fatal(err)
	}
	return gatewaytest.Reply{Body: string(text)}.JSON(t)
}

// wantAlive and wantDead check an access token at the resource.
func wantAlive(t *testing.T, base, token string) {
	t.Helper()
	wantStatus(t, gatewaytest.Call(t, base, token), http.StatusOK)
}

func wantDead(t *testing.T, base, token string) {
	t.Helper()
	r := gatewaytest.Call(t, base, token)
	wantStatus(t, r, http.StatusUnauthorized)
	if !strings.Contains(r.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("WWW-Authenticate: %q", r.Header.Get("WWW-Authenticate"))
	}
}

// eventually tries every so often until it succeeds, and fails the test at the
// deadline.
func eventually(t *testing.T, what string, deadline time.Duration, try func() bool) {
	t.Helper()
	end := time.After(deadline)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !try() {
		select {
		case <-end:
			t.Fatalf("not within %s: %s", deadline, what)
		case <-tick.C:
		}
	}
}
