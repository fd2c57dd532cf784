package faults_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// growth is how much memory a flood may leave behind, in bytes: less than a
// flood of the small size sends, were it kept.
const growth = 48 << 20

// flooded is a gateway with a client from before the flood.
type flooded struct {
	*gatewaytest.Gateway
	early           *gatewaytest.Client
	access, refresh string
}

func startFlooded(t *testing.T) flooded {
	t.Helper()
	addr, _ := upstream(t)
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: configuration("", "", ""), Upstream: addr})
	f := flooded{Gateway: g, early: gatewaytest.Register(t, g.URL)}
	f.access, f.refresh = f.early.Tokens(t)
	return f
}

// run lets a flood of n requests come, measures it, and checks that nothing of
// it stays and that the early client notices nothing.
func (f flooded) run(t *testing.T, fault string, n int, want int, do func(i int) (reply, error)) {
	t.Helper()
	warm := n / 10
	crowd(16, warm, func(i int) (reply, error) { return do(i) }) // what buffers and caches take for good
	memory, file := f.Memory(), f.fileSize(t)
	begin := time.Now()
	statuses := crowd(16, n-warm, func(i int) (reply, error) { return do(warm + i) })
	took := time.Since(begin)
	if statuses[want] != n-warm {
		t.Errorf("statuses %v, want only %d", statuses, want)
	}
	grown := f.Memory() - memory
	if grown > growth {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	note(t, fault, "requests", "%d in %.1f s, each answered %d", n-warm, took.Seconds(), want)
	note(t, fault, "memory grew by", "%d MiB", max(grown, 0)>>20)
	note(t, fault, "the store's file grew by", "%d KiB", (f.fileSize(t)-file)>>10)
	wantCall(t, f.URL, f.access, http.StatusOK)
	wantCall(t, f.URL, devToken(t, f.URL), http.StatusOK)
}

func (f flooded) fileSize(t *testing.T) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(f.Dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// THREATS 3: registrations cost neither memory nor disk, and clients from before
// are not forgotten for them.
func TestFloodOfRegistrations(t *testing.T) {
	f := startFlooded(t)
	before := f.fileSize(t)
	body := `{"redirect_uris":["http://127.0.0.1/callback"],"client_name":"Flood %d","foo":"` + strings.Repeat("x", 2000) + `"}`
	f.run(t, "flood of registrations", size(100_000, 4000), http.StatusCreated, func(i int) (reply, error) {
		return send(http.MethodPost, f.URL+"/oauth/register", fmt.Sprintf(body, i), "Content-Type", "application/json")
	})
	if after := f.fileSize(t); after != before {
		t.Errorf("the store's file grew from %d to %d bytes", before, after)
	}
	f.early.Tokens(t)
	if r := f.early.Refresh(t, f.refresh); r.Status != http.StatusOK {
		t.Errorf("the client from before: %d %s", r.Status, r.Body)
	}
}

// Made-up tokens are refused without a trace, however they look.
func TestFloodOfGarbageTokens(t *testing.T) {
	f := startFlooded(t)
	parts := strings.Split(f.access, ".")
	shapes := []func() string{
		rand.Text,
		func() string { return strings.Repeat(rand.Text(), 100) },
		func() string { return parts[0] + "." + parts[1] + "." + rand.Text() },
		func() string { return parts[0] + "." + rand.Text() + "." + parts[2] },
		func() string { return "mcp_rt_" + rand.Text() },
	}
	f.run(t, "flood of garbage tokens", size(100_000, 4000), http.StatusUnauthorized, func(i int) (reply, error) {
		return call(f.URL, shapes[i%len(shapes)]())
	})
}

// Refreshes that fail leave nothing behind; those that succeed are all kept.
func TestFloodOfRefreshes(t *testing.T) {
	f := startFlooded(t)
	f.run(t, "flood of forged refreshes", size(100_000, 2000), http.StatusBadRequest, func(i int) (reply, error) {
		return form(f.URL+"/oauth/token", "grant_type=refresh_token&client_id="+f.early.ID+"&refresh_token="+rand.Text())
	})
	const clients = 16
	each := size(100_000, 640) / clients
	refresh := make([]string, clients)
	for i := range refresh {
		_, refresh[i] = f.early.Tokens(t)
	}
	begin := time.Now()
	memory := f.Memory()
	failed := crowd(clients, clients, func(i int) (reply, error) {
		for range each {
			r, err := form(f.URL+"/oauth/token", "grant_type=refresh_token&client_id="+f.early.ID+"&refresh_token="+refresh[i])
			if err != nil || r.status != http.StatusOK {
				return r, err
			}
			refresh[i] = member(r.body, "refresh_token")
		}
		return reply{status: http.StatusOK}, nil
	})
	if failed[http.StatusOK] != clients {
		t.Errorf("refreshes ended with %v", failed)
	}
	grown := f.Memory() - memory
	if grown > growth {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	took := time.Since(begin)
	note(t, "flood of refreshes", "refreshes", "%d in %.1f s, each stored before it was answered", clients*each, took.Seconds())
	note(t, "flood of refreshes", "memory grew by", "%d MiB", max(grown, 0)>>20)
	f.Kill()
	again := gatewaytest.Start(t, gatewaytest.Options{
		Caddyfile: configuration("", "", ""), Upstream: "127.0.0.1:9", Dir: f.Dir, Port: port(t, f.URL),
	})
	for i, token := range refresh {
		if r := f.early.Refresh(t, token); r.Status != http.StatusOK {
			t.Errorf("refresh token %d after kill -9: %d %s", i, r.Status, r.Body)
		}
	}
	again.Stop()
}
