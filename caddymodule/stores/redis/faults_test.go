package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/backends"
)

// TestKilledServer wants everything that was acknowledged to survive kill -9 of
// the server in the middle of writes.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, at(server.Addr))
	var mu sync.Mutex
	var acknowledged []string
	var wg sync.WaitGroup
	enough := make(chan struct{})
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprint(w, "-", i)
				if err := s.CreateGrant(t.Context(), testNow, testGrant(id)); err != nil {
					outage(t, err)
					return
				}
				mu.Lock()
				if acknowledged = append(acknowledged, id); len(acknowledged) == 200 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	server.Kill()
	wg.Wait()
	server.Start()
	eventually(t, func() error { return s.Ping(t.Context()) })
	for _, id := range acknowledged {
		if _, err := s.Grant(t.Context(), testNow, id); err != nil {
			t.Fatalf("%s of %d: %v", id, len(acknowledged), err)
		}
	}
}

// deafProxy passes everything on to a server, but now and then an answer gets
// lost with its connection.
type deafProxy struct {
	addr string
	lose atomic.Bool // the next answer
}

func newDeafProxy(t *testing.T, server string) *deafProxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	p := &deafProxy{addr: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go p.pass(client, server)
		}
	}()
	return p
}

func (p *deafProxy) pass(client net.Conn, server string) {
	defer client.Close()
	back, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer back.Close()
	go func() {
		defer back.Close()
		_, _ = io.Copy(back, client)
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := back.Read(buf)
		if err != nil || p.lose.CompareAndSwap(true, false) {
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// TestLostAnswer loses the answer to each kind of write. The client asks again,
// and the caller must not get a verdict about its own work.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t)
	proxy := newDeafProxy(t, server.Addr)
	s := open(t, at(proxy.addr))
	ctx := t.Context()
	must(t, s.sub.Close()) // or its answers could be the ones that get lost
	version := uint64(0)
	until := testNow.Add(time.Hour)
	steps := []struct {
		name string
		call func() error
	}{
		{"CreateGrant", func() error { return s.CreateGrant(ctx, testNow, testGrant("a")) }},
		{"RotateGrant", func() error {
			g, err := s.RotateGrant(ctx, testNow, store.Rotation{ID: "a", Expires: until})
			if err == nil && g.Generation != 1 {
				err = fmt.Errorf("generation %d", g.Generation)
			}
			return err
		}},
		{"RevokeGrant", func() error {
			did, err := s.RevokeGrant(ctx, testNow, store.Revocation{GrantID: "a", Reason: "user", Until: until})
			if err == nil && !did {
				err = errors.New("it says that somebody else did it")
			}
			return err
		}},
		{"Use", func() error { _, err := s.Use(ctx, testNow, "k", until); return err }},
		{"PutClient", func() error {
			return s.PutClient(ctx, testNow, store.ClientRecord{Key: "c", Version: 1, Changed: testNow})
		}},
		{"SwapKeyRing", func() (err error) { version, err = s.SwapKeyRing(ctx, version, []byte("ring")); return err }},
	}
	for _, st := range steps { // the scripts are known from now on, and the connections open
		s.prefix = "warm"
		must(t, st.call())
	}
	s.prefix, version = "cold", 0
	for _, st := range steps {
		proxy.lose.Store(true)
		if err := st.call(); err != nil {
			t.Errorf("%s: %v", st.name, err)
		}
		if proxy.lose.Load() {
			t.Errorf("%s: no answer was lost", st.name)
		}
	}
	// The second time, each is refused: the first one counted.
	if err := steps[0].call(); !errors.Is(err, store.ErrExists) {
		t.Errorf("CreateGrant once more: %v", err)
	}
	if entries, _, err := s.Revocations(ctx, testNow, ""); err != nil || len(entries) != 1 {
		t.Errorf("the feed has %v, %v", entries, err)
	}
}

// TestHangingServer wants callers to get an answer when the server gives none.
func TestHangingServer(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t)
	s := open(t, at(server.Addr))
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
	server.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := s.RotateGrant(ctx, testNow, store.Rotation{ID: "a", Expires: testNow.Add(time.Hour)})
	outage(t, err)
	if took := time.Since(begin); took > patience {
		t.Errorf("it took %v", took)
	}
	server.Resume()
	eventually(t, func() error { return s.Ping(t.Context()) })
}

// TestFullServer wants a server without memory to be an outage that loses
// nothing and heals, also with a policy that evicts keys with a time to live.
func TestFullServer(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t, "--maxmemory-policy", "volatile-lru")
	s := open(t, at(server.Addr))
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
	server.Do("config", "set", "maxmemory", "1")
	err := s.CreateGrant(t.Context(), testNow, testGrant("b"))
	outage(t, err)
	if !strings.Contains(err.Error(), "OOM") {
		t.Errorf("CreateGrant: %v", err)
	}
	_, err = s.RotateGrant(t.Context(), testNow, store.Rotation{ID: "a", Expires: testNow.Add(time.Hour)})
	outage(t, err)
	outage(t, s.Ping(t.Context()))
	g, err := s.Grant(t.Context(), testNow, "a")
	must(t, err)
	if g.Generation != 0 {
		t.Errorf("generation %d", g.Generation)
	}
	if n := server.Do("dbsize").(int64); n == 0 {
		t.Error("the server threw keys away")
	}
	server.Do("config", "set", "maxmemory", "0")
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("b")))
	must(t, s.Ping(t.Context()))
}

// announce tells the feed the end of a session.
func announce(t *testing.T, s *Store, session string) {
	t.Helper()
	must(t, s.Announce(t.Context(), testNow, store.Revocation{Session: session, Reason: "sign_out", Until: testNow.Add(time.Hour)}))
}

// follows returns the sessions after a cursor, and the next one.
func follows(t *testing.T, s *Store, cursor string) (string, string) {
	t.Helper()
	entries, next, err := s.Revocations(t.Context(), testNow, cursor)
	must(t, err)
	var sessions []string
	for _, e := range entries {
		sessions = append(sessions, e.Session)
	}
	return strings.Join(sessions, " "), next
}

// TestRestartedServer wants those who wait to wake when the server is back: they
// can't know what they missed.
func TestRestartedServer(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t, "--appendonly", "yes")
	s := open(t, at(server.Addr))
	announce(t, s, "a")
	_, cursor := follows(t, s, "")
	woken := make(chan error, 1)
	// The first ring is that of the subscription itself.
	eventually(t, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if err := s.Await(ctx, cursor); !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("woken without a reason: %w", err)
		}
		return nil
	})
	go func() { woken <- s.Await(t.Context(), cursor) }()
	server.Kill()
	server.Start()
	select {
	case err := <-woken:
		must(t, err)
	case <-time.After(patience):
		t.Fatal("nobody was woken")
	}
	if got, _ := follows(t, s, cursor); got != "" {
		t.Errorf("after the restart: %q", got)
	}
}

// TestFlushedServer wants a feed that began anew to be read from the beginning.
func TestFlushedServer(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t)
	s := open(t, at(server.Addr))
	announce(t, s, "a")
	_, cursor := follows(t, s, "")
	server.FlushAll()
	announce(t, s, "a") // in the same shard, with the same number
	got, cursor := follows(t, s, cursor)
	if got != "a" {
		t.Errorf("after the flush: %q", got)
	}
	if got, _ := follows(t, s, cursor); got != "" {
		t.Errorf("after that: %q", got)
	}
}

// TestRestoredServer gives a reader, whose cursor is ahead, a server that lost
// its last entries, as a failover does, and went on from there.
func TestRestoredServer(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t)
	s := open(t, at(server.Addr))
	ctx := t.Context()
	shard := shardOf("x")
	body := func(session string) []any {
		text, err := entryText(store.Revocation{Session: session, Reason: "sign_out", Until: testNow.Add(time.Hour)})
		must(t, err)
		return []any{score(testNow.Add(time.Hour)), text}
	}
	for _, session := range []string{"kept", "lost 1", "lost 2"} {
		must(t, s.announce(ctx, shard, body(session)))
	}
	_, ahead := follows(t, s, "")
	must(t, s.client.ZRemRangeByScore(ctx, s.key(shard, kindFeed), "2", "3").Err())
	must(t, s.client.HSet(ctx, s.key(shard, kindMeta), "number", 1).Err())
	for _, session := range []string{"new 1", "new 2", "new 3"} {
		must(t, s.announce(ctx, shard, body(session)))
		got, _ := follows(t, s, ahead)
		if !strings.HasSuffix(got, session) || !strings.Contains(got, "new 1") {
			t.Errorf("the reader ahead sees %q, and misses entries", got)
		}
	}
}

// TestCursorAtTheSwept wants a cursor at an entry that was swept to go on where
// it was, if nothing came since.
func TestCursorAtTheSwept(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t)
	s := open(t, at(server.Addr))
	shard, ctx := shardOf("x"), t.Context()
	for i, until := range []time.Duration{2 * time.Hour, time.Minute} {
		text, err := entryText(store.Revocation{Session: fmt.Sprint(i), Reason: "sign_out", Until: testNow.Add(until)})
		must(t, err)
		must(t, s.announce(ctx, shard, []any{score(testNow.Add(until)), text}))
	}
	_, cursor := follows(t, s, "")
	n, err := s.Sweep(ctx, testNow.Add(time.Hour))
	must(t, err)
	got, _ := follows(t, s, cursor)
	if n != 1 || got != "" {
		t.Errorf("%d swept; then the feed has %q", n, got)
	}
}
