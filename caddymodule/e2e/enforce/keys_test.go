package enforce_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// adminKeys lists the signing keys through the admin endpoint.
func adminKeys(tb testing.TB, g *gatewaytest.Gateway) []object {
	tb.Helper()
	r := gatewaytest.Send(tb, http.MethodGet, "http://"+g.Admin+"/mcp_auth/keys", "")
	var keys []object
	if err := json.Unmarshal([]byte(r.Body), &keys); err != nil {
		tb.Fatalf("%d %s: %v", r.Status, r.Body, err)
	}
	return keys
}

// place is where a gateway is started again and again.
type place struct {
	u    *gatewaytest.Upstream
	dir  string
	port int
}

func newPlace(t *testing.T) place {
	t.Helper()
	return place{gatewaytest.NewUpstream(t, nil), t.TempDir(), gatewaytest.FreePort(t)}
}

func (p place) start(t *testing.T, app string) *gatewaytest.Gateway {
	t.Helper()
	return gatewaytest.Start(t, gatewaytest.Options{Caddyfile: forPort(caddyfile(app, ""), p.port), Upstream: p.u.Addr(), Dir: p.dir, Port: p.port})
}

func (p place) file() string { return filepath.Join(p.dir, "state.db") }

// refuses runs a gateway that must not start, and checks that it says why in
// its last line, ends with an error and changes nothing.
func (p place) refuses(t *testing.T, app, reason string) {
	t.Helper()
	binary, err := gatewaytest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(p.file())
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "Caddyfile")
	text := strings.NewReplacer("{URL}", "http://localhost:"+itoa(p.port), "{DIR}", p.dir, "{UPSTREAM}", p.u.Addr(), "{ADMIN}", "off").
		Replace(forPort(caddyfile(app, ""), p.port))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "run", "--config", config, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+p.dir, "XDG_CONFIG_HOME="+p.dir, "HOME="+p.dir)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() <= 0 {
		t.Errorf("it ended with %v:\n%s", err, out)
	}
	said := 0
	for line := range strings.SplitSeq(string(out), "\n") {
		if strings.Contains(line, reason) {
			said++
		}
	}
	if last := lastError(string(out)); !strings.Contains(last, reason) || said > 1 {
		t.Errorf("the reason %q is in %d lines; the last one: %s", reason, said, last)
	}
	if bytes.Contains(out, []byte("panic")) || bytes.Contains(out, []byte("goroutine ")) {
		t.Errorf("it panicked: %s", out)
	}
	after, err := os.ReadFile(p.file())
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file changed, %d bytes before, %d after: %v", len(before), len(after), err)
	}
	if left, _ := filepath.Glob(filepath.Join(p.dir, "state.db*")); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

const (
	goodSecret  = `secret "first secret of this test, long enough"`
	otherSecret = `secret "other secret of this test, long enough"`
)

func TestSecret(t *testing.T) {
	p := newPlace(t)
	g := p.start(t, goodSecret)
	c := gatewaytest.Register(t, g.URL)
	access, refresh := c.Tokens(t)
	kid, _ := part(t, access, 0)["kid"].(string)
	g.Stop()
	t.Run("the ring is wrapped", func(t *testing.T) {
		file := readFile(t, p.file())
		for _, bad := range []string{`"d":`, `"kty"`, kid, "first secret"} {
			if strings.Contains(file, bad) {
				t.Errorf("the file shows %s", bad)
			}
		}
	})
	t.Run("another secret is refused", func(t *testing.T) { p.refuses(t, otherSecret, "does not open with the configured secret") })
	t.Run("no secret is refused", func(t *testing.T) { p.refuses(t, "", "no secret is configured") })
	t.Run("a short secret is refused", func(t *testing.T) { p.refuses(t, "secret short", "at least 32") })
	t.Run("an empty secret from the environment is refused", func(t *testing.T) {
		p.refuses(t, "secret {env.ENFORCE_TEST_NOT_SET}", "ENFORCE_TEST_NOT_SET")
	})
	t.Run("the same secret works on", func(t *testing.T) {
		g := p.start(t, goodSecret)
		wantStatus(t, call(t, g.URL+"/mcp", bearer(access)...), http.StatusOK)
		wantStatus(t, c.Refresh(t, refresh), http.StatusOK)
		c.Tokens(t)
		g.Stop()
	})
}

func TestSecretLater(t *testing.T) {
	p := newPlace(t)
	g := p.start(t, "")
	access, _ := gatewaytest.Register(t, g.URL).Tokens(t)
	g.Stop()
	g = p.start(t, goodSecret)
	wantStatus(t, call(t, g.URL+"/mcp", bearer(access)...), http.StatusOK)
	eventually(t, 5*time.Second, "the ring is wrapped", func() bool { return strings.Contains(readFile(t, p.file()), `"wrapped":"`) })
	g.Stop()
	t.Run("a ring that got a secret later is wrapped", func(t *testing.T) { p.refuses(t, "", "no secret is configured") })
}

func TestDamagedStore(t *testing.T) {
	p := newPlace(t)
	g := p.start(t, "")
	c := gatewaytest.Register(t, g.URL)
	access, refresh := c.Tokens(t)
	g.Stop()
	good := []byte(readFile(t, p.file()))
	half := bytes.Clone(good)
	copy(half[len(half)/2:], bytes.Repeat([]byte{0xff}, 4096))
	for name, bad := range map[string][]byte{
		"cut in half": good[:len(good)/2], "cut after a page": good[:4096], "cut in the header": good[:100],
		"garbage": bytes.Repeat([]byte("garbage!"), 8192), "zeros": make([]byte, 65536), "one byte": {0},
		"header destroyed": append(make([]byte, 8192), good[8192:]...), "text": []byte("this is a note\n"),
		"ring destroyed": bytes.ReplaceAll(good, []byte(`"kty"`), []byte(`"kTy"`)),
	} {
		t.Run("refused: "+name, func(t *testing.T) {
			if err := os.WriteFile(p.file(), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			p.refuses(t, "", "state.db")
		})
	}
	t.Run("the good file works again", func(t *testing.T) {
		if err := os.WriteFile(p.file(), good, 0o600); err != nil {
			t.Fatal(err)
		}
		g := p.start(t, "")
		wantStatus(t, call(t, g.URL+"/mcp", bearer(access)...), http.StatusOK)
		wantStatus(t, c.Refresh(t, refresh), http.StatusOK)
	})
}

func TestAlgorithms(t *testing.T) {
	p := newPlace(t)
	var tokens, kids []string
	var c *gatewaytest.Client
	refresh := ""
	for i, alg := range []string{"ES256", "EdDSA", "RS256", "HS256", "ES256"} {
		g := p.start(t, "algorithm "+alg)
		t.Run("to "+alg, func(t *testing.T) {
			if c == nil {
				c = gatewaytest.Register(t, g.URL)
				_, refresh = c.Tokens(t)
			}
			eventually(t, 5*time.Second, "it signs", func() bool { return part(t, devToken(t, g.URL), 0)["alg"] == alg })
			r := c.Refresh(t, refresh)
			wantStatus(t, r, http.StatusOK)
			refresh = r.Text(t, "refresh_token")
			token := r.Text(t, "access_token")
			header := part(t, token, 0)
			if header["alg"] != alg || header["typ"] != "at+jwt" {
				t.Errorf("token header %v", header)
			}
			kid, _ := header["kid"].(string)
			if tokens = append(tokens, token); slices.Contains(kids, kid) {
				t.Errorf("the key id %s comes again", kid)
			}
			kids = append(kids, kid)
			for _, older := range tokens {
				wantStatus(t, call(t, g.URL+"/mcp", bearer(older)...), http.StatusOK)
			}
			published := publicKeys(t, g.URL, kids)
			if want := []int{1, 2, 3, 3, 4}[i]; published != want {
				t.Errorf("%d keys are published, want %d", published, want)
			}
		})
		g.Stop()
	}
}

// publicKeys checks that nothing but public keys of these ids is published,
// and counts them.
func publicKeys(t *testing.T, base string, kids []string) int {
	t.Helper()
	keys := jwks(t, base)
	for _, k := range keys {
		for _, private := range []string{"d", "k", "p", "q", "dp", "dq", "qi"} {
			if k[private] != nil {
				t.Errorf("published key %v has %s", k["kid"], private)
			}
		}
		kid, _ := k["kid"].(string)
		if k["kty"] == "oct" || k["alg"] == "HS256" || k["use"] != "sig" || !slices.Contains(kids, kid) {
			t.Errorf("published: %v", k)
		}
	}
	return len(keys)
}

func TestHS256Alone(t *testing.T) {
	p := newPlace(t)
	g := p.start(t, "algorithm HS256")
	if keys := jwks(t, g.URL); len(keys) != 0 {
		t.Errorf("published: %v", keys)
	}
	wantStatus(t, call(t, g.URL+"/mcp", bearer(devToken(t, g.URL))...), http.StatusOK)
}

func TestRotation(t *testing.T) {
	p := newPlace(t)
	g := p.start(t, "")
	admin := "http://" + g.Admin + "/mcp_auth/keys"
	c := gatewaytest.RegisterAs(t, g.URL, `{"redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"client_secret_post"}`)
	access, refresh := c.Tokens(t)
	kid := func(token string) any { return part(t, token, 0)["kid"] }
	code := c.Code(t)
	t.Run("reading and wrong methods change nothing", func(t *testing.T) {
		for _, path := range []string{"/rotate", "/retire"} {
			wantStatus(t, gatewaytest.Send(t, http.MethodGet, admin+path, ""), http.StatusMethodNotAllowed)
		}
		if keys := adminKeys(t, g); len(keys) != 1 || keys[0]["d"] != nil || keys[0]["key"] != nil {
			t.Errorf("keys %v", keys)
		}
	})
	t.Run("rotation publishes first and signs later", func(t *testing.T) {
		wantStatus(t, gatewaytest.Send(t, http.MethodPost, admin+"/rotate", ""), http.StatusOK)
		if n := len(jwks(t, g.URL)); n != 2 {
			t.Errorf("%d keys published", n)
		}
		if kid(devToken(t, g.URL)) != kid(access) {
			t.Error("the new key signs already")
		}
	})
	t.Run("immediate rotation keeps everything valid", func(t *testing.T) {
		wantStatus(t, gatewaytest.Send(t, http.MethodPost, admin+"/rotate?immediately", ""), http.StatusOK)
		fresh := c.Redeem(t, code) // the code, client_id and client_secret are older than the key
		wantStatus(t, fresh, http.StatusOK)
		if kid(fresh.Text(t, "access_token")) == kid(access) {
			t.Error("the old key still signs")
		}
		wantStatus(t, call(t, g.URL+"/mcp", bearer(access)...), http.StatusOK)
		r := c.Refresh(t, refresh)
		wantStatus(t, r, http.StatusOK)
		refresh = r.Text(t, "refresh_token")
	})
	newClient := gatewaytest.Register(t, g.URL)
	newAccess, newRefresh := newClient.Tokens(t)
	g.Stop()
	g = p.start(t, "")
	t.Run("a restart keeps the rotated ring", func(t *testing.T) {
		for _, token := range []string{access, newAccess} {
			wantStatus(t, call(t, g.URL+"/mcp", bearer(token)...), http.StatusOK)
		}
		wantStatus(t, c.Refresh(t, refresh), http.StatusOK)
	})
	retire(t, g, c, access, refresh)
	t.Run("retirement ends what the newest keys made too: they leaked with the others", func(t *testing.T) {
		wantInvalid(t, call(t, g.URL+"/mcp", bearer(newAccess)...))
		wantStatus(t, newClient.Refresh(t, newRefresh), http.StatusUnauthorized)
	})
}

// retire drops the older keys, under which c was registered.
func retire(t *testing.T, g *gatewaytest.Gateway, c *gatewaytest.Client, access, refresh string) {
	t.Run("retirement ends what the older keys made", func(t *testing.T) {
		wantStatus(t, gatewaytest.Send(t, http.MethodPost, "http://"+g.Admin+"/mcp_auth/keys/retire", ""), http.StatusOK)
		wantInvalid(t, call(t, g.URL+"/mcp", bearer(access)...))
		if r, q := c.Authorize(t); r.Status < 400 || q != nil {
			t.Errorf("the old client may still authorize: %d", r.Status)
		}
		r := c.Refresh(t, refresh)
		if r.Status != http.StatusUnauthorized || r.Text(t, "error") != "invalid_client" {
			t.Errorf("the old session goes on: %d %s", r.Status, r.Body)
		}
		if n := len(jwks(t, g.URL)); n != 1 {
			t.Errorf("%d keys published", n)
		}
	})
}

func TestDerivedKeys(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA", "HS256"} {
		t.Run(alg, func(t *testing.T) {
			u := gatewaytest.NewUpstream(t, nil)
			port := gatewaytest.FreePort(t)
			config := caddyfile("algorithm "+alg+"\n"+goodSecret+" derive", "")
			o := gatewaytest.Options{
				Caddyfile: forPort(strings.Replace(config, "store embedded {DIR}/state.db", "store memory", 1), port), Upstream: u.Addr(), Port: port,
			}
			g := gatewaytest.Start(t, o)
			c := gatewaytest.Register(t, g.URL)
			access, refresh := c.Tokens(t)
			wantStatus(t, gatewaytest.Send(t, http.MethodPost, "http://"+g.Admin+"/mcp_auth/keys/rotate", ""), http.StatusInternalServerError)
			g.Kill()
			g = gatewaytest.Start(t, o) // in another folder, with the same secret
			wantStatus(t, call(t, g.URL+"/mcp", bearer(access)...), http.StatusOK)
			if r := c.Refresh(t, refresh); r.Status != http.StatusBadRequest || r.Text(t, "error") != "invalid_grant" {
				t.Errorf("refresh of a lost session: %d %s", r.Status, r.Body)
			}
			c.Tokens(t)
			g.Stop()
			o.Caddyfile = strings.Replace(o.Caddyfile, "first secret", "other secret", 1)
			g = gatewaytest.Start(t, o)
			wantInvalid(t, call(t, g.URL+"/mcp", bearer(access)...))
		})
	}
}
