package cimd_test

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

const (
	documentAt = "client.example.com/oauth/client.json"
	logoAt     = "static.example.net/logo.png"
	redirect   = "https://client.example.com/callback"
	password   = "alice knows the way"
)

// hash is the same for every start: another one would end her grants.
var hash = func() string {
	text, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	return string(text)
}()

const config = `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	debug
	metrics
	mcp_auth {
		issuer {URL}
		store embedded {DIR}/state.db
		login password {
			user alice {env.ALICE}
		}
		OPTIONS
	}
}
{URL} {
	log
	mcp_auth {
		resource {URL}/mcp {URL}/sse
	}
	reverse_proxy {UPSTREAM}
}
`

// start runs a gateway that knows the authority of the test's internet.
func (n *internet) start(tb testing.TB, o gatewaytest.Options, options ...string) *gatewaytest.Gateway {
	tb.Helper()
	o.Caddyfile = strings.Replace(config, "OPTIONS", strings.Join(options, "\n"), 1)
	o.Env = append(o.Env, "SSL_CERT_FILE="+n.authority, "ALICE="+hash)
	return gatewaytest.Start(tb, o)
}

func document(at, redirectURI string, more ...string) string {
	doc := map[string]any{
		"client_id": "https://" + at, "client_name": "Example Client", "redirect_uris": []string{redirectURI},
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"}, "token_endpoint_auth_method": "none",
	}
	for i := 0; i+1 < len(more); i += 2 {
		doc[more[i]] = more[i+1]
	}
	text, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func client(g *gatewaytest.Gateway, at, redirectURI string) *gatewaytest.Client {
	return &gatewaytest.Client{Base: g.URL, ID: "https://" + at, RedirectURI: redirectURI, Verifier: strings.Repeat("verifier-0123456789.", 3)}
}

// TestSignIn takes a client that nobody registered through a whole sign-in, to
// a call, with its logo, and over an outage of its host and a restart.
func TestSignIn(t *testing.T) {
	n := newInternet(t)
	var logo bytes.Buffer
	if err := png.Encode(&logo, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		t.Fatal(err)
	}
	n.serve(documentAt, http.StatusOK, "application/json", document(documentAt, redirect, "logo_uri", "https://"+logoAt))
	n.serve(logoAt, http.StatusOK, "image/png", logo.String())
	g := n.start(t, gatewaytest.Options{})
	metadata := gatewaytest.Send(t, http.MethodGet, g.URL+"/.well-known/oauth-authorization-server", "").JSON(t)
	if supported, _ := metadata["client_id_metadata_document_supported"].(bool); !supported {
		t.Errorf("B13: the metadata do not say that documents are supported: %v", metadata)
	}
	c := client(g, documentAt, redirect)
	b := gatewaytest.NewBrowser(t)
	page := b.Open(c.AuthorizeURL()).SignIn("alice", password)
	for until := time.Now().Add(10 * time.Second); !strings.Contains(page.Body, "/oauth/client-logo?"); page = b.Open(c.AuthorizeURL()) {
		if time.Now().After(until) {
			t.Fatalf("E17: the page shows no logo: %s", page.Body)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if text := page.Text(); !strings.Contains(text, "Example Client") || !strings.Contains(text, "client.example.com") {
		t.Errorf("E16: the page says %s", text)
	}
	if strings.Contains(page.Body, "static.example.net") {
		t.Error("E17: the page names the logo's host")
	}
	for _, src := range page.Attributes("src") {
		if got := b.Open(g.URL + src); got.Status != http.StatusOK || got.Body != logo.String() || got.Header.Get("Content-Type") != "image/png" {
			t.Errorf("the logo: %d %s", got.Status, got.Header.Get("Content-Type"))
		}
	}
	code := page.Allow().Result().Get("code")

	n.serve(documentAt, http.StatusInternalServerError, "text/html", "SECRET OF THE HOST")
	tokens := c.Redeem(t, code)
	if tokens.Status != http.StatusOK {
		t.Fatalf("E21: the document's host is down, and the code is answered with %d %s", tokens.Status, tokens.Body)
	}
	if got := gatewaytest.Call(t, g.URL, tokens.Text(t, "access_token")); got.Status != http.StatusOK {
		t.Errorf("the call is answered with %d", got.Status)
	}
	next := c.Refresh(t, tokens.Text(t, "refresh_token"))
	if next.Status != http.StatusOK {
		t.Fatalf("E21: the refresh is answered with %d %s", next.Status, next.Body)
	}
	g.Stop()
	n.start(t, gatewaytest.Options{Dir: g.Dir, Port: port(t, g)})
	if again := c.Refresh(t, next.Text(t, "refresh_token")); again.Status != http.StatusOK {
		t.Errorf("E21: after a restart the refresh is answered with %d %s", again.Status, again.Body)
	}
	refused := b.Open(c.AuthorizeURL("prompt", "consent"))
	if refused.Status != http.StatusBadRequest || strings.Contains(refused.Body, "SECRET") || refused.Location != nil {
		t.Errorf("E14: a sign-in while the host is down is answered with %d", refused.Status)
	}
}

func port(tb testing.TB, g *gatewaytest.Gateway) int {
	tb.Helper()
	var p struct{ Port int }
	if err := json.Unmarshal([]byte(`{"Port":`+g.URL[strings.LastIndexByte(g.URL, ':')+1:]+`}`), &p); err != nil {
		tb.Fatal(err)
	}
	return p.Port
}

var requestID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)

// TestInternalAddresses: SPEC E10, E11, O36. Names, and what documents name,
// lead to internal addresses: nobody there notices, and all pages are the same.
func TestInternalAddresses(t *testing.T) {
	n := newInternet(t)
	g := n.start(t, gatewaytest.Options{})
	text := ""
	for i, address := range internal {
		at := internalName(i) + "/client.json"
		page := gatewaytest.NewBrowser(t).Open(client(g, at, redirect).AuthorizeURL())
		if page.Status != http.StatusBadRequest || page.Location != nil {
			t.Errorf("%s: %d", address, page.Status)
		}
		got := requestID.ReplaceAllString(page.Text(), "")
		if text == "" {
			text = got
		}
		if got != text {
			t.Errorf("%s: the page differs:\n%s\n%s", address, got, text)
		}
	}
	for _, id := range []string{"https://127.0.0.1/c", "https://[::1]/c", "https://localhost/c", "https://169.254.169.254/c", "http://client.example.com/c", "https://client.example.com:2019/c"} {
		c := client(g, "", redirect)
		c.ID = id
		if page := gatewaytest.NewBrowser(t).Open(c.AuthorizeURL()); page.Status != http.StatusBadRequest {
			t.Errorf("%s: %d", id, page.Status)
		}
	}
	t.Run("redirects", func(t *testing.T) {
		const at = "client.example.com/moved.json"
		n.mu.Lock()
		n.pages[at] = func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+internalName(0)+"/client.json", http.StatusFound)
		}
		n.mu.Unlock()
		if page := gatewaytest.NewBrowser(t).Open(client(g, at, redirect).AuthorizeURL()); page.Status != http.StatusBadRequest {
			t.Errorf("%d", page.Status)
		}
	})
	t.Run("a logo", func(t *testing.T) {
		n.serve(documentAt, http.StatusOK, "application/json", document(documentAt, redirect, "logo_uri", "https://"+internalName(0)+"/logo.png"))
		b := gatewaytest.NewBrowser(t)
		c := client(g, documentAt, redirect)
		page := b.Open(c.AuthorizeURL()).SignIn("alice", password)
		if again := b.Open(c.AuthorizeURL("prompt", "consent")); strings.Contains(page.Body+again.Body, "client-logo") {
			t.Error("the page shows a logo")
		}
	})
}

// TestBundledCopy: INTEROP 1.9. Claude's host takes servers for robots.
func TestBundledCopy(t *testing.T) {
	const at, callback = "claude.ai/oauth/mcp-oauth-client-metadata", "https://claude.ai/api/mcp/auth_callback"
	n := newInternet(t)
	n.serve(at, http.StatusForbidden, "text/html", "<p>Are you a robot?</p>")
	g := n.start(t, gatewaytest.Options{})
	c := client(g, at, callback)
	code := gatewaytest.NewBrowser(t).Open(c.AuthorizeURL()).SignIn("alice", password).Allow().Result().Get("code")
	tokens := c.Redeem(t, code)
	if tokens.Status != http.StatusOK {
		t.Fatalf("%d %s", tokens.Status, tokens.Body)
	}
	if next := c.Refresh(t, tokens.Text(t, "refresh_token")); next.Status != http.StatusOK {
		t.Errorf("the refresh is answered with %d %s", next.Status, next.Body)
	}
	if n.requests(at) == 0 {
		t.Error("the host was not asked")
	}
	if !strings.Contains(g.Logs(), `"reason":"bundled_document"`) {
		t.Error("the log does not say that a copy serves")
	}
	const counter = `caddy_mcp_auth_events_total{code="bundled_document",kind="client_metadata"}`
	if metrics := gatewaytest.Send(t, http.MethodGet, "http://"+g.Admin+"/metrics", ""); !strings.Contains(metrics.Body, counter) {
		t.Error("the metrics do not say that a copy serves")
	}
	t.Run("off", func(t *testing.T) {
		g := n.start(t, gatewaytest.Options{}, "client_metadata {\nbundled off\n}")
		if page := gatewaytest.NewBrowser(t).Open(client(g, at, callback).AuthorizeURL()); page.Status != http.StatusBadRequest {
			t.Errorf("%d", page.Status)
		}
	})
}

// TestPolicy: SPEC E18. Denied hosts are not asked, and a reload is enough.
func TestPolicy(t *testing.T) {
	n := newInternet(t)
	n.serve(documentAt, http.StatusOK, "application/json", document(documentAt, redirect))
	g := n.start(t, gatewaytest.Options{}, "client_metadata {\ndeny *.example.com\n}")
	c := client(g, documentAt, redirect)
	if page := gatewaytest.NewBrowser(t).Open(c.AuthorizeURL()); page.Status != http.StatusBadRequest || n.requests(documentAt) != 0 {
		t.Errorf("%d after %d requests", page.Status, n.requests(documentAt))
	}
	if got := c.Refresh(t, "x"); got.Status != http.StatusUnauthorized || got.Text(t, "error") != "invalid_client" {
		t.Errorf("%d %s", got.Status, got.Body)
	}
}
