package spec_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// canary is a server that must never be asked.
type canary struct {
	*httptest.Server
	asked atomic.Int64
}

func newCanary(t *testing.T) *canary {
	t.Helper()
	c := new(canary)
	c.Server = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { c.asked.Add(1) }))
	t.Cleanup(c.Close)
	return c
}

func (c *canary) silent(t *testing.T) {
	t.Helper()
	if n := c.asked.Load(); n > 0 {
		t.Errorf("the gateway fetched a URL of a client %d times", n)
	}
}

func testIdentifiers(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		id, _ := registered(t, `{"client_name":"Same",`+loopbackURI+`}`)["client_id"].(string)
		if seen[id] || strings.HasPrefix(id, "https://") || id == "alice" {
			t.Fatalf("client_id %q", id)
		}
		// Two ids differ in more than a counter: the part behind the key's id
		// is random.
		if prefix := id[8:24]; seen[prefix] {
			t.Errorf("two ids share %q", prefix)
		} else {
			seen[prefix] = true
		}
		seen[id] = true
	}
}

func testRegisterErrors(t *testing.T) {
	base := development().URL
	for _, tt := range []struct{ body, code string }{
		{`{}`, "invalid_redirect_uri"},
		{`{"redirect_uris":["ftp://x/"]}`, "invalid_redirect_uri"},
		{`{` + loopbackURI + `,"application_type":"toaster"}`, "invalid_client_metadata"},
		{`{` + loopbackURI + `,"software_statement":"x"}`, "invalid_software_statement"},
		{`{"redirect_uris":["https://x/\"<script>alert(1)</script>\n\u2028é"]}`, "invalid_redirect_uri"},
	} {
		r := gatewaytest.PostJSON(t, base+"/oauth/register", tt.body, "Origin", "https://inspector.example", "Accept", "text/html")
		wantError(t, r, http.StatusBadRequest, tt.code)
		wantHeader(t, r, "Pragma", "no-cache")
		wantAllowed(t, r)
	}
}

func testRegisterLimits(t *testing.T) {
	pad := func(n int) string { return `{` + loopbackURI + `,"foo":"` + strings.Repeat("x", n) + `"}` }
	overhead := len(pad(0))
	wantStatus(t, register(t, pad(64<<10-overhead)), http.StatusCreated)
	wantError(t, register(t, pad(64<<10-overhead+1)), http.StatusRequestEntityTooLarge, "invalid_request")
	wantError(t, register(t, pad(1<<20)), http.StatusRequestEntityTooLarge, "invalid_request")
	uris := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(`"http://127.0.0.1/%d"`, i)
		}
		return `{"redirect_uris":[` + strings.Join(list, ",") + `]}`
	}
	wantStatus(t, register(t, uris(20)), http.StatusCreated)
	wantError(t, register(t, uris(21)), http.StatusBadRequest, "invalid_redirect_uri")
	wantError(t, register(t, `{"redirect_uris":["https://c.example/`+strings.Repeat("x", 4096)+`"]}`), http.StatusBadRequest, "invalid_redirect_uri")
	var long []string
	for i := range 20 {
		long = append(long, fmt.Sprintf(`"https://c.example/%d/%s"`, i, strings.Repeat("x", 1000)))
	}
	wantError(t, register(t, `{"redirect_uris":[`+strings.Join(long, ",")+`]}`), http.StatusBadRequest, "invalid_client_metadata")
	wantError(t, register(t, strings.Repeat(`{"a":`, 12_000)), http.StatusBadRequest, "invalid_client_metadata")
}

// testLargestClient: whoever may register can also connect and call, though
// the client_id travels in URLs, tokens and headers.
func testLargestClient(t *testing.T) {
	base := development().URL
	for length := 2000; length > 0; length -= 20 {
		r := register(t, `{"redirect_uris":["https://c.example/`+strings.Repeat("x", length)+`","http://127.0.0.1/cb"],"client_name":"`+strings.Repeat("😀", 100)+`"}`)
		if r.Status != http.StatusCreated {
			wantError(t, r, http.StatusBadRequest, "invalid_client_metadata")
			continue
		}
		c := &gatewaytest.Client{Base: base, ID: r.Text(t, "client_id"), RedirectURI: "http://127.0.0.1/cb", Verifier: strings.Repeat("v", 50)}
		wantWholeFlow(t, c)
		return
	}
	t.Fatal("no length can be registered")
}

// testSecretsAtRest looks for everything that a thief could use in the file
// that holds the state (O54).
func testSecretsAtRest(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile("", "")})
	for _, path := range []string{"/oauth/register", "/register"} {
		preflight(t, g.URL+path, "POST")
	}
	c := registerWith(t, g.URL, "client_secret_post")
	code := c.Code(t)
	reply := c.Redeem(t, code)
	wantStatus(t, reply, http.StatusOK)
	rotated := c.Refresh(t, reply.Text(t, "refresh_token"))
	wantStatus(t, rotated, http.StatusOK)
	state, err := os.ReadFile(filepath.Join(g.Dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	logs := g.Logs()
	for name, secret := range map[string]string{
		"client_secret": c.Secret, "code": code, "code_verifier": c.Verifier, "code_challenge": gatewaytest.Challenge(c.Verifier),
		"refresh token": reply.Text(t, "refresh_token"), "rotated refresh token": rotated.Text(t, "refresh_token"),
		"access token": reply.Text(t, "access_token"), "state": "state=st-1",
	} {
		if bytes.Contains(state, []byte(secret)) {
			t.Errorf("the store holds the %s", name)
		}
		if strings.Contains(logs, secret) {
			t.Errorf("the log holds the %s", name)
		}
	}
}

// floodSize is how many registrations come from one address.
const floodSize = 5000

// TestRegisterFlood is C25 and O43 without the bound of registrations, which the
// package registration tests: none costs memory or disk.
func TestRegisterFlood(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile("registration {\n\t\t\trate_limit off off\n\t\t}", "")})
	early := gatewaytest.Register(t, g.URL)
	flood(t, g.URL, floodSize/10)
	size, memory := storeSize(t, g), residentMemory(t, g)
	flood(t, g.URL, floodSize)
	if after := storeSize(t, g); after != size {
		t.Errorf("the store grew from %d to %d bytes", size, after)
	}
	// What the flood sends is more than 150 MB, so keeping a fifth of it shows.
	if after := residentMemory(t, g); after > memory+32<<20 {
		t.Errorf("memory grew from %d to %d MiB", memory>>20, after>>20)
	}
	access, _ := early.Tokens(t)
	wantAlive(t, g.URL, access)
}

// flood registers n clients with long metadata, eight at a time.
func flood(t *testing.T, base string, n int) {
	t.Helper()
	body := `{` + loopbackURI + `,"client_name":"Flood","foo":"` + strings.Repeat("x", 30_000) + `"}`
	var refused atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range n / 8 {
				status, _, err := post(base+"/oauth/register", "application/json", body)
				if err != nil || status != http.StatusCreated {
					refused.Add(1)
				}
			}
		})
	}
	group.Wait()
	if k := refused.Load(); k > 0 {
		t.Errorf("%d of %d registrations were refused", k, n)
	}
}

func storeSize(t *testing.T, g *gatewaytest.Gateway) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(g.Dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// residentMemory returns the gateway's resident memory in bytes.
func residentMemory(t *testing.T, g *gatewaytest.Gateway) int64 {
	t.Helper()
	dir := processDir(t, g)
	if dir == "" {
		return 0
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		t.Fatal(err)
	}
	var kib int64
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// processDir returns the gateway's folder in /proc, found by the configuration
// that only this process has, or nothing where there is no /proc.
func processDir(t *testing.T, g *gatewaytest.Gateway) string {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(lines) == 0 {
		t.Log("no /proc here: memory is not measured")
		return ""
	}
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err == nil && bytes.Contains(line, []byte(filepath.Join(g.Dir, "Caddyfile"))) {
			return filepath.Dir(path)
		}
	}
	t.Fatal("the gateway's process was not found")
	return ""
}
