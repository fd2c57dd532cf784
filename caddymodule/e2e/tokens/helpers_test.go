package tokens_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// The secrets are recognizable, so that they can be looked for in the log.
const (
	batchSecret  = "MARKER-batch-secret-0123456789"
	hashedSecret = "MARKER-hashed-secret-0123456789"
	slowSecret   = "MARKER-slow-secret-0123456789"
	serverSecret = "MARKER-server-secret-0123456789"
	edgeSecret   = "MARKER-edge-secret-0123456789"
)

// key is a client's key pair.
type key struct {
	private jwk.Key
	set     string // the JWK set with its public half
}

func newKey(tb testing.TB, kid string) key {
	tb.Helper()
	raw, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	private, err := jwk.FromRaw(raw)
	if err != nil {
		tb.Fatal(err)
	}
	if err := private.Set(jwk.KeyIDKey, kid); err != nil {
		tb.Fatal(err)
	}
	public, err := private.PublicKey()
	if err != nil {
		tb.Fatal(err)
	}
	set := jwk.NewSet()
	if err := set.AddKey(public); err != nil {
		tb.Fatal(err)
	}
	text, err := json.Marshal(set)
	if err != nil {
		tb.Fatal(err)
	}
	return key{private, string(text)}
}

var serial atomic.Int64

// assertion signs a client's assertion, with claims replaced.
func (k key) assertion(tb testing.TB, client, audience string, change ...func(map[string]any)) string {
	tb.Helper()
	claims := map[string]any{
		"iss": client, "sub": client, "aud": audience, "jti": fmt.Sprintf("MARKER-jti-%d", serial.Add(1)),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
	}
	for _, edit := range change {
		edit(claims)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := jws.Sign(payload, jws.WithKey(jwa.ES256, k.private))
	if err != nil {
		tb.Fatal(err)
	}
	return string(raw)
}

// signed is a form with an assertion.
func signed(assertion string, params ...string) url.Values {
	return form(append(params, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", assertion)...)
}

func form(params ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(params); i += 2 {
		v.Add(params[i], params[i+1])
	}
	return v
}

func basic(id, secret string) []string {
	return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))}
}

// house is a gateway with every kind of program as a client.
type house struct {
	*gatewaytest.Gateway
	up    *gatewaytest.Upstream
	robot key // of the client robot, whose keys are in the configuration
	// away is the key that the client away publishes right now.
	away      atomic.Pointer[key]
	published *httptest.Server
	text      string
}

// The two resources: /mcp and /other on one gateway's host.
const config = `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	debug
	mcp_auth {
		issuer {URL}
		store embedded {DIR}/state.db
		development
		login auto {
			user alice
		}
		client batch {
			secret <batch>
			grants client_credentials
			scopes mcp:tools:read
			resources {URL}/mcp
		}
		client hashed {
			secret_hash <sha256>
			auth_method client_secret_post
			grants client_credentials
		}
		client slow {
			secret_hash <bcrypt>
			grants client_credentials
		}
		client robot {
			jwks {DIR}/robot.json
			grants client_credentials
		}
		client away {
			jwks_uri <published>
			grants client_credentials
		}
		client server {
			secret <server>
			introspect
		}
		client edge {
			secret <edge>
			introspect
			resources http://<other>/mcp
		}
		<app>
	}
}
{URL} {
	log
	mcp_auth {
		resource {URL}/mcp
		max_calls 2
	}
	reverse_proxy {UPSTREAM}
}
http://<other> {
	mcp_auth {
		resource http://<other>/mcp
		scopes other:read
	}
	reverse_proxy {UPSTREAM}
}
`

func newHouse(tb testing.TB, app string) *house {
	tb.Helper()
	h := &house{up: gatewaytest.NewUpstream(tb, gatewaytest.FeedOnGet), robot: newKey(tb, "r1")}
	first := newKey(tb, "a1")
	h.away.Store(&first)
	h.published = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if k := h.away.Load(); k != nil {
			_, _ = fmt.Fprint(w, k.set)
			return
		}
		w.WriteHeader(http.StatusBadGateway)
	}))
	tb.Cleanup(h.published.Close)
	dir := tb.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "robot.json"), []byte(h.robot.set), 0o600); err != nil {
		tb.Fatal(err)
	}
	sum := sha256.Sum256([]byte(hashedSecret))
	slow, err := bcrypt.GenerateFromPassword([]byte(slowSecret), bcrypt.MinCost)
	if err != nil {
		tb.Fatal(err)
	}
	h.text = strings.NewReplacer(
		"<batch>", batchSecret, "<server>", serverSecret, "<edge>", edgeSecret, "<sha256>", "sha256:"+hex.EncodeToString(sum[:]),
		"<bcrypt>", string(slow), "<published>", h.published.URL+"/jwks", "<app>", app,
		"<other>", fmt.Sprintf("127.0.0.1:%d", gatewaytest.FreePort(tb)),
	).Replace(config)
	h.Gateway = gatewaytest.Start(tb, gatewaytest.Options{Caddyfile: h.text, Upstream: h.up.Addr(), Dir: dir})
	return h
}

func (h *house) post(tb testing.TB, path string, v url.Values, header ...string) gatewaytest.Reply {
	tb.Helper()
	return gatewaytest.PostForm(tb, h.URL+path, v, header...)
}

// token asks for a token for a program, which must work.
func (h *house) token(tb testing.TB, v url.Values, header ...string) string {
	tb.Helper()
	v.Set("grant_type", "client_credentials")
	if !v.Has("resource") {
		v.Set("resource", h.URL+"/mcp")
	}
	r := h.post(tb, "/oauth/token", v, header...)
	wantStatus(tb, r, http.StatusOK)
	return r.Text(tb, "access_token")
}

func (h *house) batch(tb testing.TB) string {
	tb.Helper()
	return h.token(tb, form(), basic("batch", batchSecret)...)
}

// call calls the server behind the gateway.
func (h *house) call(tb testing.TB, token string) gatewaytest.Reply {
	tb.Helper()
	return gatewaytest.PostJSON(tb, h.URL+"/mcp", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "Authorization", "Bearer "+token)
}

// asks asks about a token, and returns the answer's text.
func (h *house) asks(tb testing.TB, id, secret, token string) string {
	tb.Helper()
	r := h.post(tb, "/oauth/introspect", form("token", token), basic(id, secret)...)
	wantStatus(tb, r, http.StatusOK)
	if r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("Access-Control-Allow-Origin") != "" {
		tb.Errorf("headers %v", r.Header)
	}
	return r.Body
}

func wantStatus(tb testing.TB, r gatewaytest.Reply, status int) {
	tb.Helper()
	if r.Status != status {
		tb.Fatalf("status %d, want %d\n%v\n%.1500s", r.Status, status, r.Header, r.Body)
	}
}

func wantError(tb testing.TB, r gatewaytest.Reply, status int, code string) {
	tb.Helper()
	wantStatus(tb, r, status)
	if got := r.Text(tb, "error"); got != code || r.Header.Get("Cache-Control") != "no-store" {
		tb.Errorf("error %q, want %q\n%v %s", got, code, r.Header, r.Body)
	}
}

// stream opens an event stream and returns when its first events are there.
func (h *house) stream(tb testing.TB, token string) *gatewaytest.Stream {
	tb.Helper()
	s := gatewaytest.OpenStream(tb, http.MethodGet, h.URL+"/mcp", token, "")
	s.GoesOn(tb)
	return s
}

// eventually tries every so often until it succeeds.
func eventually(tb testing.TB, what string, deadline time.Duration, try func() bool) {
	tb.Helper()
	end := time.After(deadline)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !try() {
		select {
		case <-end:
			tb.Fatalf("not within %s: %s", deadline, what)
		case <-tick.C:
		}
	}
}
