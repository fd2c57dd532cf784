package faults_test

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/backends"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// server is a store's server that can be broken.
type server interface {
	Kill()
	Start()
	Pause()
	Resume()
}

// onServers runs a test on a gateway with each store that has a server. config
// is the store's line of the configuration, with the server's address in it.
func onServers(t *testing.T, test func(t *testing.T, name string, s server, config, addr string)) {
	t.Run("postgres", func(t *testing.T) {
		p := backends.StartPostgres(t, "fsync=on")
		dsn := p.DSN(t)
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		test(t, "PostgreSQL", p, "postgres "+dsn, u.Host)
	})
	t.Run("redis", func(t *testing.T) {
		r := backends.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
		test(t, "Redis", r, "redis "+r.Addr, r.Addr)
	})
}

// outageLimit is how long an answer may take that says 503. The promise is two
// seconds; the rest is for machines that are busy with other tests.
const outageLimit = 4 * time.Second

// THREATS 3: without its store the gateway issues nothing, says so in time and in
// words that no client takes for a verdict, and calls go on.
func TestStoreDown(t *testing.T) {
	onServers(t, func(t *testing.T, name string, s server, config, _ string) {
		addr, _ := upstream(t)
		g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: configuration(config, "", ""), Upstream: addr})
		c := gatewaytest.Register(t, g.URL)
		for _, broken := range []struct {
			fault        string
			damage, mend func()
		}{
			{name + " is killed", s.Kill, s.Start},
			{name + " hangs", s.Pause, s.Resume},
		} {
			t.Run(strings.ReplaceAll(broken.fault, " ", "_"), func(t *testing.T) {
				access, refresh := c.Tokens(t)
				wantCall(t, g.URL, access, http.StatusOK)
				cold := devToken(t, g.URL)
				code := c.Code(t)
				broken.damage()
				slowest := issuesNothing(t, g, c, code, refresh)
				note(t, broken.fault, "the slowest answer of 16 at once, each 503 with Retry-After", "%.1f s", slowest.Seconds())
				wantCall(t, g.URL, access, http.StatusOK)
				wantCall(t, g.URL, cold, http.StatusOK)
				wantCall(t, g.URL, access+"x", http.StatusUnauthorized)
				if r := gatewaytest.Send(t, http.MethodGet, g.URL+"/oauth/health", ""); r.Status != http.StatusServiceUnavailable {
					t.Errorf("health: %d %s", r.Status, r.Body)
				}
				broken.mend()
				begin := time.Now()
				eventually(t, 20*time.Second, "it heals by itself", func() bool {
					r := c.Refresh(t, refresh)
					if r.Status != http.StatusOK {
						wantOutage(t, r)
					}
					return r.Status == http.StatusOK
				})
				note(t, broken.fault, "healed without a restart after", "%.1f s", time.Since(begin).Seconds())
				wantCall(t, g.URL, access, http.StatusOK)
			})
		}
	})
}

// issuesNothing asks the token endpoint for all it has at once, and returns how
// long the slowest answer took.
func issuesNothing(t *testing.T, g *gatewaytest.Gateway, c *gatewaytest.Client, code, refresh string) time.Duration {
	t.Helper()
	var mu sync.Mutex
	slowest := time.Duration(0)
	crowd(16, 16, func(i int) (reply, error) {
		values := c.TokenForm(code)
		if i%2 == 1 {
			values = url.Values{"grant_type": {"refresh_token"}, "client_id": {c.ID}, "refresh_token": {refresh}}
		}
		r, err := form(g.URL+"/oauth/token", values.Encode())
		if err != nil {
			t.Error(err)
			return r, err
		}
		wantOutage(t, gatewaytest.Reply{Status: r.status, Header: r.header, Body: r.body})
		mu.Lock()
		defer mu.Unlock()
		slowest = max(slowest, r.took)
		return r, nil
	})
	if slowest > outageLimit {
		t.Errorf("an answer took %s", slowest)
	}
	return slowest
}

// A store behind a slow network slows down what needs it, and nothing else.
func TestSlowStore(t *testing.T) {
	const delay = 100 * time.Millisecond
	onServers(t, func(t *testing.T, name string, _ server, config, addr string) {
		through := slowProxy(t, addr, delay)
		up, _ := upstream(t)
		g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: configuration(strings.Replace(config, addr, through, 1), "", ""), Upstream: up})
		c := gatewaytest.Register(t, g.URL)
		access, refresh := c.Tokens(t)
		begin := time.Now()
		if r := c.Refresh(t, refresh); r.Status != http.StatusOK {
			t.Fatalf("refresh: %d %s", r.Status, r.Body)
		}
		note(t, name+" is slow", "a refresh with 100 ms to and from the store", "%d ms", time.Since(begin).Milliseconds())
		quick := 0
		for range 20 {
			r, err := call(g.URL, access)
			if err != nil || r.status != http.StatusOK {
				t.Fatalf("call: %d, %v", r.status, err)
			}
			if r.took < delay {
				quick++
			}
		}
		if quick < 15 {
			t.Errorf("only %d of 20 calls did not wait for the store", quick)
		}
		note(t, name+" is slow", "calls of 20 that did not wait for it", "%d", quick)
	})
}

// slowProxy passes connections on to addr, each piece of data after a delay.
func slowProxy(t *testing.T, addr string, delay time.Duration) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	pass := func(to, from net.Conn) {
		defer func() { _ = to.Close() }()
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			time.Sleep(delay / 2)
			if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
				return
			}
		}
	}
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				_ = in.Close()
				continue
			}
			go pass(out, in)
			go pass(in, out)
		}
	}()
	return ln.Addr().String()
}

// THREATS 3: what was answered 2xx survives kill -9 of the gateway, and of the
// store's server with it.
func TestKillUnderLoad(t *testing.T) {
	onServers(t, func(t *testing.T, name string, s server, config, _ string) {
		addr, _ := upstream(t)
		g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: configuration(config, "refresh_grace off", ""), Upstream: addr})
		c := gatewaytest.Register(t, g.URL)
		const clients = 8
		newest := make([]string, clients)
		spent := make([]string, clients)
		for i := range newest {
			_, newest[i] = c.Tokens(t)
		}
		acknowledged := 0
		var mu sync.Mutex
		var group sync.WaitGroup
		for i := range clients {
			group.Go(func() {
				for {
					r, err := form(g.URL+"/oauth/token", "grant_type=refresh_token&client_id="+c.ID+"&refresh_token="+newest[i])
					if err != nil || r.status != http.StatusOK {
						return // unknown whether it was done
					}
					mu.Lock()
					spent[i], newest[i] = newest[i], member(r.body, "refresh_token")
					acknowledged++
					mu.Unlock()
				}
			})
		}
		eventually(t, 20*time.Second, "the load runs", func() bool { mu.Lock(); defer mu.Unlock(); return acknowledged > 10*clients })
		s.Kill()
		g.Kill()
		group.Wait()
		s.Start()
		again := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: configuration(config, "refresh_grace off", ""), Upstream: addr, Dir: g.Dir, Port: port(t, g.URL)})
		for i := range newest {
			// The refresh whose answer got lost may have been stored: then the token
			// that the client has is a used one. Never may the one before it work.
			r := c.Refresh(t, newest[i])
			if r.Status != http.StatusOK && r.Text(t, "error") != "invalid_grant" {
				t.Errorf("client %d: %d %s", i, r.Status, r.Body)
			}
			if r := c.Refresh(t, spent[i]); r.Status != http.StatusBadRequest {
				t.Errorf("client %d: a used refresh token came back to life: %d %s", i, r.Status, r.Body)
			}
		}
		c.Tokens(t)
		again.Stop()
		note(t, name+" and the gateway are killed under load", "refreshes acknowledged before, used tokens that came back", "%d, 0", acknowledged)
	})
}
