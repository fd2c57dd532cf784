package enforce_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// told are the options of a gateway that tells its upstream all it can.
const told = `public /health
identity_claim email_verified Verified
identity_claim client_name Program
assertion
upstream_header Authorization "Bearer {env.TOLD_KEY}"
upstream_header X-Api-Key {env.TOLD_KEY}`

// forged are header lines in which a client makes up what told says.
var forged = map[string]string{
	"plain":              "X-Mcp-Assertion: root\nX-Mcp-Groups: root\nVerified: root\nProgram: root\nX-Api-Key: root\n",
	"lower case":         "x-mcp-assertion: root\nx-mcp-groups: root\nverified: root\nx-api-key: root\n",
	"upper case":         "X-MCP-ASSERTION: root\nX-MCP-GROUPS: root\nVERIFIED: root\nX-API-KEY: root\n",
	"underscores":        "X_Mcp_Assertion: root\nX-Mcp_Assertion: root\nX_MCP_GROUPS: root\nX_Api_Key: root\nx_api-key: root\n",
	"twice":              "X-Mcp-Assertion: root\nX-Mcp-Assertion: root2\nX-Api-Key: root\nX-Api-Key: root2\n",
	"empty and filled":   "X-Mcp-Assertion:\nX-Mcp-Assertion: root\nProgram:\nProgram: root\n",
	"Connection":         "Connection: X-Mcp-Assertion, X-Api-Key, Verified, Authorization\n",
	"Connection, folded": "Connection: x_mcp_assertion\nConnection: X-MCP-ASSERTION,x-api-key\nX-Mcp-Assertion: root\n",
	"trailers":           "Transfer-Encoding: chunked\nTrailer: X-Mcp-Assertion, X-Api-Key\nTE: trailers\n\n28\n" + ping + "\n0\nX-Mcp-Assertion: root\nX-Api-Key: root\n",
}

func startTold(t *testing.T, u *gatewaytest.Upstream, handler string) *gatewaytest.Gateway {
	t.Helper()
	port := gatewaytest.FreePort(t)
	return gatewaytest.Start(t, gatewaytest.Options{
		Caddyfile: forPort(caddyfile("", handler), port), Upstream: u.Addr(), Port: port, Env: []string{"TOLD_KEY=" + toldKey},
	})
}

const toldKey = "zqMarkerOfACredentialForTheUpstreamxy"

// published reports whether the keys that a gateway publishes verify a JWS.
func published(tb testing.TB, g *gatewaytest.Gateway, signed string) bool {
	tb.Helper()
	set, err := jwk.Parse([]byte(gatewaytest.Send(tb, http.MethodGet, g.URL+"/oauth/jwks.json", "").Body))
	if err != nil {
		tb.Fatal(err)
	}
	_, err = jws.Verify([]byte(signed), jws.WithKeySet(set, jws.WithRequireKid(true)))
	return err == nil
}

// assertionIn returns the only assertion of a request, and checks what it says.
func assertionIn(tb testing.TB, g *gatewaytest.Gateway, s gatewaytest.Seen, subject string) string {
	tb.Helper()
	values := s.Folded("X-Mcp-Assertion")
	if len(values) != 1 || !published(tb, g, values[0]) {
		tb.Fatalf("the upstream got the assertions %q", values)
	}
	header, claims := part(tb, values[0], 0), part(tb, values[0], 1)
	if header["typ"] != "mcp-assertion+jwt" || header["alg"] != "ES256" {
		tb.Errorf("header %v", header)
	}
	for name, want := range map[string]string{"iss": g.URL, "aud": g.URL + "/mcp", "resource": g.URL + "/mcp", "sub": subject} {
		if claims[name] != want {
			tb.Errorf("%s is %v, want %s", name, claims[name], want)
		}
	}
	return values[0]
}

func TestAssertion(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	g := startTold(t, u, told)
	access, _ := gatewaytest.Register(t, g.URL).Tokens(t)
	ours := map[string]string{"Authorization": "Bearer " + toldKey, "X-Api-Key": toldKey, "X-Mcp-Groups": "", "X-Mcp-User": "alice"}
	nobodys := map[string]string{"Authorization": "", "X-Api-Key": "", "X-Mcp-Groups": "", "X-Mcp-Assertion": "", "Verified": "", "Program": ""}
	for name, lines := range forged {
		t.Run("L1 L3 L4 O46 "+name, func(t *testing.T) {
			wantStatus(t, raw(t, g.URL, smuggle("/mcp", "Authorization: Bearer "+access+"\n"+lines)), http.StatusOK)
			s := u.One(t)
			wantIdentity(t, s, ours)
			assertionIn(t, g, s, "alice")
			if s.Contains(access) {
				t.Error("the token reached the upstream")
			}
		})
		t.Run("P2 L2 public path, "+name, func(t *testing.T) {
			wantStatus(t, raw(t, g.URL, smuggle("/health", "Authorization: Bearer "+access+"\n"+lines)), http.StatusOK)
			wantIdentity(t, u.One(t), nobodys)
		})
	}
	signed := ""
	t.Run("N9 N10 each call has its own", func(t *testing.T) {
		ids := map[any]bool{}
		for range 2 {
			wantStatus(t, call(t, g.URL+"/mcp", bearer(access)...), http.StatusOK)
			signed = assertionIn(t, g, u.One(t), "alice")
			ids[part(t, signed, 1)["jti"]] = true
		}
		if len(ids) != 2 {
			t.Errorf("the ids are %v", ids)
		}
	})
	t.Run("L1 it is no access token", func(t *testing.T) {
		wantInvalid(t, call(t, g.URL+"/mcp", bearer(signed)...))
		u.None(t)
	})
	t.Run("L19 only what the proxy logs for debugging shows it", func(t *testing.T) {
		for line := range strings.SplitSeq(g.Logs(), "\n") {
			debugging := strings.Contains(line, `"level":"debug"`) && strings.Contains(line, `"logger":"http.handlers.reverse_proxy"`)
			if !debugging && (strings.Contains(line, toldKey) || strings.Contains(line, signed)) {
				t.Errorf("the log has %.400s", line)
			}
			if strings.Contains(line, "Bearer "+toldKey) {
				t.Errorf("the log shows Authorization: %.400s", line)
			}
		}
	})
	t.Run("L2 nor an access token of the upstream", func(t *testing.T) {
		wantInvalid(t, call(t, g.URL+"/mcp", bearer(toldKey)...))
		u.None(t)
	})
}

// The keys of assertions rotate with the ring, and what was signed before stays
// verifiable until they are retired.
func TestAssertionKeys(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	g := startTold(t, u, "assertion")
	keys := "http://" + g.Admin + "/mcp_auth/keys"
	signed := func() string {
		wantStatus(t, call(t, g.URL+"/mcp", bearer(devToken(t, g.URL))...), http.StatusOK)
		return assertionIn(t, g, u.One(t), "dev")
	}
	kid := func(signed string) any { return part(t, signed, 0)["kid"] }
	first := signed()
	wantStatus(t, gatewaytest.Send(t, http.MethodPost, keys+"/rotate", ""), http.StatusOK)
	if kid(signed()) != kid(first) {
		t.Error("the next key signs before verifiers can know it")
	}
	wantStatus(t, gatewaytest.Send(t, http.MethodPost, keys+"/rotate?immediately", ""), http.StatusOK)
	second := signed()
	if kid(second) == kid(first) || !published(t, g, first) {
		t.Error("the key did not rotate, or the former one is gone")
	}
	wantStatus(t, gatewaytest.Send(t, http.MethodPost, keys+"/retire", ""), http.StatusOK)
	if third := signed(); kid(third) == kid(second) || published(t, g, first) || published(t, g, second) {
		t.Error("retired keys of assertions are still good")
	}
}

// The credential for the upstream shows up nowhere, and is replaced on reload.
func TestUpstreamCredential(t *testing.T) {
	u := gatewaytest.NewUpstream(t, scripted)
	key := filepath.Join(t.TempDir(), "key")
	write := func(value string) {
		if err := os.WriteFile(key, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(toldKey)
	port := gatewaytest.FreePort(t)
	config := forPort(caddyfile("", "upstream_header Authorization \"Bearer {file."+key+"}\""), port)
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: config, Upstream: u.Addr(), Port: port})
	token := bearer(devToken(t, g.URL))
	wantStatus(t, call(t, g.URL+"/mcp", token...), http.StatusOK)
	wantIdentity(t, u.One(t), map[string]string{"Authorization": "Bearer " + toldKey})
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		t.Run(fmt.Sprint("L14 the upstream refuses the credential with ", status), func(t *testing.T) {
			r := call(t, fmt.Sprintf("%s/mcp?status=%d&h=WWW-Authenticate:Bearer%%20realm=evil&body=evil", g.URL, status), token...)
			wantStatus(t, r, http.StatusBadGateway)
			if r.Header.Get("WWW-Authenticate") != "" || strings.Contains(r.Body, "evil") || !strings.Contains(r.Body, "upstream_header") {
				t.Errorf("the client sees %v %s", r.Header, r.Body)
			}
		})
	}
	t.Run("L19 it shows up nowhere", func(t *testing.T) {
		for _, path := range []string{"/config/", "/metrics", "/mcp_auth/keys", "/reverse_proxy/upstreams"} {
			if r := gatewaytest.Send(t, http.MethodGet, "http://"+g.Admin+path, ""); r.Status != http.StatusOK || strings.Contains(r.Body, toldKey) {
				t.Errorf("%s: %d, or it shows the credential", path, r.Status)
			}
		}
		if logs := g.Logs(); strings.Contains(logs, toldKey) || !strings.Contains(logs, "upstream roundtrip") {
			t.Error("the log shows the credential, or has no debug lines")
		}
	})
	t.Run("a reload replaces it", func(t *testing.T) {
		write("another")
		// Unless it is forced to, Caddy does not load what is no change.
		if err := g.Reload(strings.Replace(config, "upstream_header", "name Files\n\t\tupstream_header", 1), u.Addr()); err != nil {
			t.Fatal(err)
		}
		eventually(t, 10*time.Second, "the new credential is sent", func() bool {
			u.Take()
			call(t, g.URL+"/mcp", token...)
			s := u.Take()
			return len(s) == 1 && s[0].Header.Get("Authorization") == "Bearer another"
		})
	})
}
