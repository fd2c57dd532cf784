package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/backends"
)

// TestOutages has all that happens to a server, on one that is not shared.
func TestOutages(t *testing.T) {
	p := backends.StartPostgres(t)
	for _, part := range []struct {
		name string
		run  func(t *testing.T, p *backends.Postgres)
	}{
		{"Kill", outageKill},
		{"Restart", outageRestart},
		{"Hung", outageHung},
		{"SecretsStay", outageSecretsStay},
		{"StartsLater", outageStartsLater},
		{"Failover", outageFailover}, // the last: the server is read-only then
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, p) })
	}
}

// outageKill kills the server under load, again and again, and looks for what was
// acknowledged. It is also the restart under load: every node heals by itself.
func outageKill(t *testing.T, p *backends.Postgres) {
	const workers, rounds, perRound = 8, 3, 50
	o := Options{DSN: p.DSN(t), Timeout: patience}
	nodes := []*Store{openTest(t, o), openTest(t, o)}
	var mu sync.Mutex
	acknowledged, serial := map[string]bool{}, 0
	for round := range rounds {
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		goal := (round + 1) * perRound
		for w := range workers {
			wg.Go(func() {
				for ctx.Err() == nil {
					mu.Lock()
					serial++
					id := strconv.Itoa(serial)
					mu.Unlock()
					s := nodes[w%len(nodes)]
					err := s.CreateGrant(ctx, testNow, testGrant(id))
					if err == nil {
						_, err = s.RevokeGrant(ctx, testNow, testRevocation(id))
					}
					if isVerdict(err) {
						t.Errorf("an outage is told as %v", err)
					}
					if err == nil {
						mu.Lock()
						acknowledged[id] = true
						mu.Unlock()
					} else {
						pause(ctx, 10*time.Millisecond)
					}
				}
			})
		}
		count := func() int {
			mu.Lock()
			defer mu.Unlock()
			return len(acknowledged)
		}
		eventually(t, "steps before the kill", func() bool { return count() >= goal })
		p.Kill()
		p.Start()
		before := count()
		eventually(t, "steps after the restart", func() bool { return count() >= before+workers })
		stop()
		wg.Wait()
	}
	inFeed := map[string]int{}
	entries, _, err := nodes[0].Revocations(t.Context(), testNow, "")
	must(t, err)
	for _, e := range entries {
		inFeed[e.GrantID]++
	}
	for id := range acknowledged {
		g, err := nodes[1].Grant(t.Context(), testNow, id)
		if !errors.Is(err, store.ErrRevoked) || g.Revoked.IsZero() || inFeed[id] != 1 {
			t.Fatalf("grant %s: %v, %d feed entries", id, err, inFeed[id])
		}
	}
	t.Logf("%d steps were acknowledged around %d kills", len(acknowledged), rounds)
}

// outageRestart wants a node to go on after a restart without an error: idle
// connections are looked at before they are used.
func outageRestart(t *testing.T, p *backends.Postgres) {
	s := openTest(t, Options{DSN: p.DSN(t), Timeout: patience})
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
	p.Stop()
	if _, err := s.Grant(t.Context(), testNow, "a"); err == nil || isVerdict(err) {
		t.Fatalf("without a server: %v", err)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Fatal("Ping is fine without a server")
	}
	p.Start()
	_, err := s.Grant(t.Context(), testNow, "a")
	must(t, err)

	// A connection that died unnoticed: a read is repeated.
	p.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")
	_, err = s.Grant(t.Context(), testNow, "a")
	must(t, err)
}

// outageHung wants no step to outlast its caller's deadline, nor the store's
// own limit, and all to be well when the server goes on.
func outageHung(t *testing.T, p *backends.Postgres) {
	dsn := p.DSN(t)
	s := openTest(t, Options{DSN: dsn, Timeout: patience})
	short := openTest(t, Options{DSN: dsn, Timeout: 50 * time.Millisecond, Wait: patience})
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
	p.Pause()
	const soon = 50 * time.Millisecond
	begin := time.Now()
	steps := map[string]func(ctx context.Context, s *Store) error{
		"CreateGrant": func(ctx context.Context, s *Store) error { return s.CreateGrant(ctx, testNow, testGrant("b")) },
		"Grant":       func(ctx context.Context, s *Store) error { return second(s.Grant(ctx, testNow, "a")) },
		"RevokeGrant": func(ctx context.Context, s *Store) error {
			return second(s.RevokeGrant(ctx, testNow, testRevocation("a")))
		},
		"Await": func(ctx context.Context, s *Store) error { return s.Await(ctx, "") },
		"Ping":  func(ctx context.Context, s *Store) error { return s.Ping(ctx) },
		"Sweep": func(ctx context.Context, s *Store) error { return second(s.Sweep(ctx, testNow)) },
	}
	for name, step := range steps {
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		if err := step(ctx, s); err == nil || isVerdict(err) {
			t.Errorf("%s of a hung server: %v", name, err)
		}
		cancel()
		if err := step(t.Context(), short); err == nil || isVerdict(err) {
			t.Errorf("%s of a hung server, without a deadline: %v", name, err)
		}
	}
	if took := time.Since(begin); took > patience {
		t.Errorf("it took %v", took)
	}
	p.Resume()
	_, err := s.Grant(t.Context(), testNow, "a")
	must(t, err)
}

// outageStartsLater wants a server that starts after this one to be waited for.
func outageStartsLater(t *testing.T, p *backends.Postgres) {
	o := Options{DSN: p.DSN(t), Wait: patience}
	p.Stop()
	logger, seen := logs()
	opened := make(chan error, 1)
	go func() {
		s, err := Open(context.Background(), o, logger)
		if err == nil {
			defer s.Close()
			err = s.CreateGrant(context.Background(), testNow, testGrant("a"))
		}
		opened <- err
	}()
	eventually(t, "a line in the log", func() bool { return seen.FilterMessageSnippet("trying again").Len() > 0 })
	p.Start()
	must(t, <-opened)
}

// TestReadOnly wants Ping to see that nothing can be written, though all can be
// read: a standby, or an administrator's switch.
func TestReadOnly(t *testing.T) {
	o := options(t)
	writes := openTest(t, o)
	must(t, writes.CreateGrant(t.Context(), testNow, testGrant("a")))
	o.DSN += "&default_transaction_read_only=on"
	s := openTest(t, o)
	_, err := s.Grant(t.Context(), testNow, "a")
	must(t, err)
	fails(t, s.Ping(t.Context()), "read-only")
	must(t, writes.Ping(t.Context()))
	// A real write, now and then, so that a disk that is full is noticed.
	at := query[time.Time](t, o, "SELECT at FROM mcp_auth.probe")
	must(t, writes.Ping(t.Context()))
	if again := query[time.Time](t, o, "SELECT at FROM mcp_auth.probe"); !again.Equal(at) {
		t.Errorf("every Ping writes: %v, %v", at, again)
	}
	must(t, writes.bulk(t.Context(), "making it old", func(ctx context.Context) error {
		_, err := writes.exec(ctx, "UPDATE mcp_auth.probe SET at = at - interval '1 minute'")
		return err
	}))
	must(t, writes.Ping(t.Context()))
	if again := query[time.Time](t, o, "SELECT at FROM mcp_auth.probe"); again.Before(at) {
		t.Errorf("Ping did not write: %v", again)
	}
}

// awaiting starts to wait on the feed's end; the channel gets what came of it.
func awaiting(t *testing.T, s *Store) <-chan error {
	t.Helper()
	_, cursor, err := s.Revocations(t.Context(), testNow, "")
	must(t, err)
	woken := make(chan error, 1)
	go func() { woken <- s.Await(context.Background(), cursor) }()
	return woken
}

// TestAwait wants waiters on one node to hear of entries of another, before and
// after the listening connection breaks, and of none that came meanwhile to be
// forgotten.
func TestAwait(t *testing.T) {
	o := options(t)
	a, b := openTest(t, o), openTest(t, o)
	hear := func(what string, woken <-chan error) {
		t.Helper()
		select {
		case err := <-woken:
			must(t, err)
		case <-time.After(patience):
			t.Fatalf("%s: nobody woke up", what)
		}
	}
	for i := range 3 {
		woken := []<-chan error{awaiting(t, a), awaiting(t, a), awaiting(t, b)}
		eventually(t, "both listen", func() bool { return listeners(t, o) == 2 })
		must(t, b.Announce(t.Context(), testNow, testEnd(fmt.Sprint(i))))
		for _, w := range woken {
			hear("an entry", w)
		}
	}
	// Nobody who waits misses what comes while there is no connection.
	woken := awaiting(t, a)
	query[int](t, o, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query = 'LISTEN ' || $1`, a.channel)
	hear("after the connection broke", woken)
	eventually(t, "both listen again", func() bool { return listeners(t, o) == 2 })
	woken = awaiting(t, a)
	must(t, b.Announce(t.Context(), testNow, testEnd("late")))
	hear("an entry after that", woken)
	if err := a.Await(t.Context(), ""); err != nil {
		t.Errorf("Await from the beginning: %v", err)
	}
	woken = awaiting(t, a)
	a.Close()
	if err := <-woken; err == nil {
		t.Error("waiting does not end with the store")
	}
}

// listeners counts the connections that listen for the schema's feed.
func listeners(t *testing.T, o Options) int {
	t.Helper()
	return query[int](t, o, `SELECT count(*) FROM pg_stat_activity WHERE query = $1`, "LISTEN "+o.Schema+"_feed")
}

// TestOneListener wants all waiters of a node to share one connection, and a node
// without waiters to have none.
func TestOneListener(t *testing.T) {
	o := options(t)
	s := openTest(t, o)
	if n := listeners(t, o); n != 0 {
		t.Fatalf("%d listeners before anybody waits", n)
	}
	var woken []<-chan error
	for range 20 {
		woken = append(woken, awaiting(t, s))
	}
	eventually(t, "one listener", func() bool { return listeners(t, o) == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Await(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Await with a context that ended: %v", err)
	}
	must(t, s.Announce(t.Context(), testNow, testEnd("s")))
	for _, w := range woken {
		must(t, <-w)
	}
	if n := listeners(t, o); n != 1 {
		t.Fatalf("%d listeners", n)
	}
}

// outageSecretsStay wants no error of a whole life with its outage to have the
// password.
func outageSecretsStay(t *testing.T, p *backends.Postgres) {
	p.Exec(t, "CREATE ROLE gateway LOGIN SUPERUSER PASSWORD '"+secret+"'")
	logger, seen := logs()
	o := Options{DSN: "postgres://gateway:" + secret + "@" + p.Addr + "/postgres?sslmode=disable", Schema: "secrets", Timeout: time.Second}
	s, err := Open(t.Context(), o, logger)
	must(t, err)
	t.Cleanup(s.Close)
	woken := awaiting(t, s)
	eventually(t, "it listens", func() bool { return listeners(t, o) == 1 })
	p.Stop()
	eventually(t, "a line in the log", func() bool { return seen.FilterMessageSnippet("listening for revocations fails").Len() > 0 })
	texts := []string{fmt.Sprint(s.Ping(t.Context())), fmt.Sprint(second(s.Grant(t.Context(), testNow, "a")))}
	p.Start()
	must(t, <-woken)
	p.Exec(t, "ALTER ROLE gateway PASSWORD 'another'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gateway'")
	eventually(t, "the password is refused", func() bool {
		err := s.Ping(t.Context())
		texts = append(texts, fmt.Sprint(err))
		return err != nil && strings.Contains(err.Error(), "28P01")
	})
	for _, e := range seen.All() {
		texts = append(texts, fmt.Sprint(e.Message, e.ContextMap()))
	}
	for _, text := range texts {
		if strings.Contains(text, secret) {
			t.Errorf("the password is in %q", text)
		}
	}
}
