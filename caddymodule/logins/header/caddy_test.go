package header

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // forward_auth and the rest

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// The real app and handler belong to the glue, which a guest's tests don't
// reach. These two stand in for them, so that the snippet of doc.go runs as it
// is written: the same names, the same order, the same guest.

func TestMain(m *testing.M) {
	caddy.RegisterModule(standInApp{})
	caddy.RegisterModule(standInHandler{})
	httpcaddyfile.RegisterGlobalOption("mcp_auth", parseStandIn)
	httpcaddyfile.RegisterHandlerDirective("mcp_auth", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return &standInHandler{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("mcp_auth", httpcaddyfile.Before, "request_body")
	os.Exit(m.Run())
}

type standInApp struct {
	Issuer   string          `json:"issuer,omitempty"`
	LoginRaw json.RawMessage `json:"login,omitempty" caddy:"namespace=mcp_auth.logins inline_key=module"`
	method   login.Method
}

func (standInApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "mcp_auth", New: func() caddy.Module { return new(standInApp) }}
}

func (a *standInApp) Provision(ctx caddy.Context) error {
	module, err := ctx.LoadModule(a, "LoginRaw")
	if err == nil {
		a.method = module.(login.Method)
	}
	return err
}

func (*standInApp) Start() error { return nil }
func (*standInApp) Stop() error  { return nil }

func parseStandIn(d *caddyfile.Dispenser, _ any) (any, error) {
	a := new(standInApp)
	d.Next()
	for d.NextBlock(0) {
		switch d.Val() {
		case "issuer":
			d.AllArgs(&a.Issuer)
		case "login":
			d.Next()
			module, err := caddyfile.UnmarshalModule(d, "mcp_auth.logins."+d.Val())
			if err != nil {
				return nil, err
			}
			a.LoginRaw = caddyconfig.JSONModuleObject(module, "module", "header", nil)
		}
	}
	return httpcaddyfile.App{Name: "mcp_auth", Value: caddyconfig.JSON(a, nil)}, nil
}

// standInHandler says who the login sees, on every path of the server, also
// those where the real one would not ask.
type standInHandler struct{ app *standInApp }

func (standInHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.mcp_auth", New: func() caddy.Module { return new(standInHandler) }}
}

func (h *standInHandler) Provision(ctx caddy.Context) error {
	app, err := ctx.App("mcp_auth")
	if err == nil {
		h.app = app.(*standInApp)
	}
	return err
}

func (h *standInHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !strings.Contains(strings.ToLower(r.URL.Path), "auth") {
		return next.ServeHTTP(w, r)
	}
	step, err := h.app.method.Begin(r.Context(), login.Request{HTTP: r})
	switch {
	case errors.Is(err, login.ErrDenied):
		http.Error(w, err.Error(), http.StatusForbidden)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		return json.NewEncoder(w).Encode(step.Identity)
	}
	return nil
}

// authelia is a server for forward_auth: its session is a cookie with the name
// of the person.
type authelia struct {
	*httptest.Server
	mu   sync.Mutex
	seen []http.Header
}

func newAuthelia(t *testing.T) *authelia {
	t.Helper()
	a := &authelia{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.seen = append(a.seen, r.Header.Clone())
		a.mu.Unlock()
		session, err := r.Cookie("session")
		if err != nil || r.URL.Path != "/api/authz/forward-auth" {
			http.Redirect(w, r, "https://auth.example.com/", http.StatusFound)
			return
		}
		switch session.Value {
		case "alice":
			w.Header().Set("Remote-User", "alice")
			w.Header().Set("Remote-Email", "alice@example.com")
			w.Header().Set("Remote-Name", "Alice")
			w.Header().Set("Remote-Groups", "users,dev")
		case "bare": // a person of whom nothing but the id is known
			w.Header().Set("Remote-User", "bare")
		case "silent": // lets pass, and says nothing
		}
	}))
	t.Cleanup(a.Close)
	return a
}

// freePort returns a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// run runs Caddy in this process until the test ends.
func run(t *testing.T, config string) {
	t.Helper()
	global := fmt.Sprintf("{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n\tstorage file_system %s\n", t.TempDir())
	config = strings.Replace(config, "{\n", global, 1)
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), nil)
	if err != nil || len(warnings) > 0 && !strings.Contains(warnings[0].Message, "not formatted") {
		t.Fatalf("the snippet does not adapt: %v %v", err, warnings)
	}
	if err := caddy.Load(adapted, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// ask sends a request with the headers as they are written, and without
// following a redirect.
func ask(t *testing.T, url string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

const snippetFile = "testdata/forward_auth.caddyfile"

func readSnippet(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(snippetFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestSnippetIsInTheDocs keeps what is tested and what people read the same.
func TestSnippetIsInTheDocs(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for line := range strings.Lines(readSnippet(t)) {
		if line != "\n" {
			line = "\t" + line
		}
		want.WriteString("//" + line)
	}
	if !strings.Contains(string(doc), want.String()) {
		t.Errorf("doc.go does not have %s as it is", snippetFile)
	}
}

// TestForwardAuthInTheSameCaddy runs the snippet of doc.go against people who
// try to be somebody else (THREATS P1, P2, P4, P6).
func TestForwardAuthInTheSameCaddy(t *testing.T) {
	t.Setenv("PROXY_SECRET", testSecret)
	auth := newAuthelia(t)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(r.Header)
	}))
	t.Cleanup(upstream.Close)
	site := "http://127.0.0.1:" + freePort(t)
	logFile := filepath.Join(t.TempDir(), "access.log")
	run(t, strings.NewReplacer(
		"authelia:9091", auth.Listener.Addr().String(),
		"localhost:9000", upstream.Listener.Addr().String(),
		"mcp.example.com {", site+" {\n\tlog {\n\t\toutput file "+logFile+"\n\t}",
		"https://mcp.example.com", site,
	).Replace(readSnippet(t)))

	spoofed := []string{
		"Remote-User", "admin", "Remote-Email", "admin@example.com", "Remote-Name", "Admin", "Remote-Groups", "admins",
		"X-Proxy-Secret", "guessed-guessed-guessed",
	}
	alice := login.Identity{Subject: "alice", Name: "Alice", Email: "alice@example.com", EmailVerified: true, Groups: []string{"dev", "users"}}
	for _, tt := range []struct {
		name    string
		path    string
		headers []string
		status  int
		want    login.Identity
	}{
		{"signed in", "/oauth/authorize?client_id=x", []string{"Cookie", "session=alice"}, 200, alice},
		{"the other pages", "/oauth/consent", []string{"Cookie", "session=alice"}, 200, alice},
		{"the account", "/oauth/account", []string{"Cookie", "session=alice"}, 200, alice},
		{"the old path", "/authorize", []string{"Cookie", "session=alice"}, 200, alice},
		{"not signed in", "/oauth/authorize", nil, 302, login.Identity{}},
		{"not signed in, and pretending", "/oauth/authorize", spoofed, 302, login.Identity{}},
		{"signed in, and pretending", "/oauth/authorize", append(spoofed, "Cookie", "session=alice"), 200, alice},
		{"pretending in two headers", "/oauth/authorize", []string{"Cookie", "session=alice", "Remote-User", "a", "Remote-User", "admin"}, 200, alice},
		{"pretending in lower case", "/oauth/authorize", []string{"Cookie", "session=alice", "remote-user", "admin", "x-proxy-secret", "x"}, 200, alice},
		{"with headers that the proxy does not send (P2)", "/oauth/authorize", append(spoofed, "Cookie", "session=bare"), 200, login.Identity{Subject: "bare"}},
		{"let pass without a name", "/oauth/authorize", append(spoofed, "Cookie", "session=silent"), 403, login.Identity{}},
		// Caddy drops names with underscores that it does not expect; the login
		// refuses those that it lets through (TestSecondSpelling).
		{"with underscores (P1)", "/oauth/authorize", []string{"Cookie", "session=alice", "Remote_User", "admin"}, 200, alice},
		{"with underscores in the secret (P1)", "/oauth/authorize", []string{"Cookie", "session=alice", "X_Proxy_Secret", "x"}, 200, alice},
		{"by Connection (P4)", "/oauth/authorize", []string{"Cookie", "session=alice", "Connection", "Remote-Groups, X-Proxy-Secret, Remote-User"}, 200, alice},
		// Ways around forward_auth lead to nobody.
		{"another path", "/oauth/token", spoofed, 403, login.Identity{}},
		{"another path, signed in", "/oauth/token", append(spoofed, "Cookie", "session=alice"), 403, login.Identity{}},
		{"a slash more", "/oauth/authorize/", spoofed, 403, login.Identity{}},
		{"two slashes", "/oauth//authorize", spoofed, 302, login.Identity{}},
		{"capitals (P6)", "/OAuth/Authorize", spoofed, 302, login.Identity{}},
		{"escaped (P6)", "/oauth/%61uthorize", spoofed, 302, login.Identity{}},
		{"escaped slash", "/oauth%2fauthorize", spoofed, 302, login.Identity{}},
		{"dots", "/x/../oauth/authorize", spoofed, 302, login.Identity{}},
		{"semicolon", "/oauth/authorize;x", spoofed, 403, login.Identity{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := ask(t, site+tt.path, tt.headers...)
			var got login.Identity
			if status == http.StatusOK {
				if err := json.Unmarshal([]byte(body), &got); err != nil {
					t.Fatalf("%q: %v", body, err)
				}
				tt.want.AuthTime = got.AuthTime
			}
			if status != tt.status || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("status %d, %s; want %d, %+v", status, body, tt.status, tt.want)
			}
		})
	}
	for _, h := range auth.seen {
		for name := range h {
			if strings.HasPrefix(name, "Remote") || name == "X-Proxy-Secret" {
				t.Errorf("the client's header %s reached the auth server", name)
			}
		}
	}
	// Programs need no session, and the secret goes nowhere else.
	if status, body := ask(t, site+"/mcp"); status != http.StatusOK || strings.Contains(body, testSecret) {
		t.Errorf("/mcp: %d %s", status, body)
	}
	noSecret(t, logFile)
}

// noSecret wants a log that has lines, and none with the secret.
func noSecret(t *testing.T, path string) {
	t.Helper()
	log, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(log), `"handled request"`) {
		t.Fatalf("no log: %v", err)
	}
	if strings.Contains(string(log), testSecret) {
		t.Error("the access log has the secret in it")
	}
}

// TestProxyAuthorization holds what doc.go says of this name: a proxy can send
// it, this server neither logs it nor passes it on.
func TestProxyAuthorization(t *testing.T) {
	t.Setenv("PROXY_SECRET", testSecret)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(r.Header)
	}))
	t.Cleanup(upstream.Close)
	front, back := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	logFile := filepath.Join(t.TempDir(), "access.log")
	run(t, fmt.Sprintf(`{
	mcp_auth {
		login header {
			user Remote-User
			secret_header Proxy-Authorization {env.PROXY_SECRET}
		}
	}
}
http://%s {
	reverse_proxy %s {
		header_up Remote-User alice
		header_up Proxy-Authorization {env.PROXY_SECRET}
	}
}
http://%s {
	log {
		output file %s
	}
	mcp_auth
	reverse_proxy %s
}
`, front, back, back, logFile, upstream.Listener.Addr()))
	if status, body := ask(t, "http://"+front+"/oauth/authorize", "Remote-User", "admin"); status != http.StatusOK || !strings.Contains(body, `"sub":"alice"`) {
		t.Errorf("through the proxy: %d %s", status, body)
	}
	if status, body := ask(t, "http://"+back+"/oauth/authorize", "Remote-User", "admin"); status != http.StatusForbidden {
		t.Errorf("around the proxy: %d %s", status, body)
	}
	if status, body := ask(t, "http://"+front+"/mcp"); status != http.StatusOK || !strings.Contains(body, "Remote-User") || strings.Contains(body, testSecret) {
		t.Errorf("upstream: %d %s", status, body)
	}
	noSecret(t, logFile)
}
