//go:build unix

package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var _ = onPlatform(map[string]func(string) error{"hammer": childHammers})

// childHammers works on the database from many goroutines until it is killed,
// and prints each step after it was acknowledged:
//
//	create <id>
//	rotate <id> <generation it came from>
//	touch <id> <minute>
//	revoke <id>
//	use <key>
//	end <session>
//	put <client> <version>
//	swap <new version> <ring>
func childHammers(path string) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(os.Stdout, format+"\n", args...) // one write per line
	}
	failed := make(chan error)
	life := fmt.Sprint(time.Now().UnixNano())
	for w := range 16 {
		go func() { failed <- hammerGrants(s, fmt.Sprint(life, "-", w), say) }()
	}
	for range 2 {
		go func() { failed <- hammerRing(s, say) }()
	}
	return <-failed
}

// hammerGrants creates grants for ever; every one is rotated and used, every
// third one is revoked, and now and then the sweeper runs.
func hammerGrants(s *Store, name string, say func(string, ...any)) error {
	ctx := context.Background()
	for i := 0; ; i++ {
		id := fmt.Sprint(name, "-", i)
		if err := s.CreateGrant(ctx, testNow, testGrant(id)); err != nil {
			return err
		}
		say("create %s", id)
		for from := range uint64(i % 4) {
			r := store.Rotation{ID: id, From: from, Expires: testNow.Add(2 * time.Hour)}
			if _, err := s.RotateGrant(ctx, testNow, r); err != nil {
				return err
			}
			say("rotate %s %d", id, from)
		}
		if err := hammerUses(ctx, s, id, say); err != nil {
			return err
		}
		if i%3 == 0 {
			r := store.Revocation{GrantID: id, Reason: "user", Until: testNow.Add(time.Hour)}
			if did, err := s.RevokeGrant(ctx, testNow, r); err != nil || !did {
				return fmt.Errorf("revoke %s: %v, %w", id, did, err)
			}
			say("revoke %s", id)
		}
		if err := hammerSweep(ctx, s, name, i); err != nil {
			return err
		}
	}
}

// hammerUses notes uses of a grant, uses a key, changes and deletes a client and
// ends a session, all under one name.
func hammerUses(ctx context.Context, s *Store, id string, say func(string, ...any)) error {
	for minute := range 2 {
		u := store.GrantUse{GrantID: id, At: testNow.Add(time.Duration(minute+1) * time.Minute), From: "192.0.2.9"}
		if err := s.TouchGrants(ctx, testNow, []store.GrantUse{u}); err != nil {
			return err
		}
		say("touch %s %d", id, minute+1)
	}
	if _, err := s.Use(ctx, testNow, id, testNow.Add(time.Hour)); err != nil {
		return err
	}
	say("use %s", id)
	for version := range uint64(5) {
		if err := s.PutClient(ctx, testNow, testClient(id, version+1)); err != nil {
			return err
		}
		say("put %s %d", id, version+1)
	}
	r := store.Revocation{Session: id, Reason: "sign_out", Until: testNow.Add(time.Hour)}
	if err := s.Announce(ctx, testNow, r); err != nil {
		return err
	}
	say("end %s", id)
	return nil
}

// hammerSweep stores a grant that is over at once, and sweeps.
func hammerSweep(ctx context.Context, s *Store, name string, i int) error {
	g := testGrant(fmt.Sprint("over-", name, "-", i))
	g.Expires = testNow.Add(-time.Second)
	if err := s.CreateGrant(ctx, testNow, g); err != nil || i%5 > 0 {
		return err
	}
	_, err := s.Sweep(ctx, testNow)
	return err
}

// hammerRing swaps the key ring for ever, in competition.
func hammerRing(s *Store, say func(string, ...any)) error {
	ctx := context.Background()
	for {
		_, version, err := s.KeyRing(ctx)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		ring := fmt.Sprint("ring-after-", version)
		next, err := s.SwapKeyRing(ctx, version, []byte(ring))
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return err
		}
		say("swap %d %s", next, ring)
	}
}

// ledger is what the killed processes were told is stored.
type ledger struct {
	created    map[string]bool
	generation map[string]uint64
	touched    map[string]uint64
	revoked    map[string]bool
	used       map[string]bool
	clients    map[string]uint64
	ended      map[string]bool
	version    uint64
	ring       string
	steps      int
}

// note enters one line.
func (l *ledger) note(t *testing.T, line string) {
	t.Helper()
	var id, ring string
	var n uint64
	var err error
	switch verb, _, _ := strings.Cut(line, " "); verb {
	case "create":
		_, err = fmt.Sscanf(line, "create %s", &id)
		l.created[id] = true
	case "rotate":
		_, err = fmt.Sscanf(line, "rotate %s %d", &id, &n)
		l.generation[id] = max(l.generation[id], n+1)
	case "touch":
		_, err = fmt.Sscanf(line, "touch %s %d", &id, &n)
		l.touched[id] = max(l.touched[id], n)
	case "use":
		_, err = fmt.Sscanf(line, "use %s", &id)
		l.used[id] = true
	case "put":
		_, err = fmt.Sscanf(line, "put %s %d", &id, &n)
		l.clients[id] = max(l.clients[id], n)
	case "end":
		_, err = fmt.Sscanf(line, "end %s", &id)
		l.ended[id] = true
	case "revoke":
		_, err = fmt.Sscanf(line, "revoke %s", &id)
		l.revoked[id] = true
	case "swap":
		if _, err = fmt.Sscanf(line, "swap %d %s", &n, &ring); n > l.version {
			l.version, l.ring = n, ring
		}
	default:
		err = errors.New("no such step")
	}
	if err != nil {
		t.Fatalf("the child says %q: %v", line, err)
	}
	l.steps++
}

// check compares the store with the ledger.
func (l *ledger) check(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	entries, _, err := s.Revocations(ctx, testNow, "")
	must(t, err)
	inFeed, ended := map[string]int{}, map[string]int{}
	for _, e := range entries {
		inFeed[e.GrantID]++
		ended[e.Session]++
	}
	for session := range l.ended {
		if ended[session] != 1 {
			t.Fatalf("session %s has %d feed entries", session, ended[session])
		}
	}
	grants, err := s.Grants(ctx, testNow, testGrant("").User.Subject, 1<<30)
	must(t, err)
	listed := map[string]bool{}
	for _, g := range grants {
		listed[g.ID] = true
	}
	l.checkClients(t, s)
	for key := range l.used {
		if first, err := s.Use(ctx, testNow, key, testNow.Add(time.Hour)); !errors.Is(err, store.ErrExists) || !first.Equal(testNow) {
			t.Fatalf("key %s can be used again: %v, %v", key, first, err)
		}
	}
	for id := range l.created {
		g, err := s.Grant(ctx, testNow, id)
		revoked := errors.Is(err, store.ErrRevoked)
		switch {
		case err != nil && !revoked:
			t.Fatalf("%s was acknowledged: %v", id, err)
		case g.Generation < l.generation[id]:
			t.Fatalf("%s is back at generation %d, %d was acknowledged", id, g.Generation, l.generation[id])
		case g.UsedAt.Before(testNow.Add(time.Duration(l.touched[id])*time.Minute)) && l.touched[id] > 0:
			t.Fatalf("%s was used at %v, minute %d was acknowledged", id, g.UsedAt, l.touched[id])
		case listed[id] == revoked:
			t.Fatalf("%s: revoked %v, in its person's list %v", id, revoked, listed[id])
		case l.revoked[id] && !revoked:
			t.Fatalf("%s is good again after its revocation", id)
		case revoked && inFeed[id] != 1, !revoked && inFeed[id] != 0:
			t.Fatalf("%s: revoked %v, %d feed entries", id, revoked, inFeed[id])
		}
		if err := s.CreateGrant(ctx, testNow, testGrant(id)); !errors.Is(err, store.ErrExists) {
			t.Fatalf("the code of %s can be redeemed again: %v", id, err)
		}
		if from := l.generation[id]; from > 0 {
			_, err := s.RotateGrant(ctx, testNow, store.Rotation{ID: id, From: from - 1, Expires: g.Expires})
			if !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrRevoked) {
				t.Fatalf("the old refresh token of %s works again: %v", id, err)
			}
		}
	}
	ring, version, err := s.KeyRing(ctx)
	must(t, err)
	if version < l.version || (version == l.version && string(ring) != l.ring) {
		t.Fatalf("key ring %q, version %d; %q, version %d was acknowledged", ring, version, l.ring, l.version)
	}
}

// checkClients compares the clients with the ledger.
func (l *ledger) checkClients(t *testing.T, s *Store) {
	t.Helper()
	for id, version := range l.clients {
		rec, err := s.Client(t.Context(), id)
		if err != nil || rec.Version < version || rec != testClient(id, rec.Version) {
			t.Fatalf("client %s is %+v, %v; version %d was acknowledged", id, rec, err, version)
		}
		next := testClient(id, version)
		if rec.Deleted {
			next.Version = rec.Version + 1
		}
		if err := s.PutClient(t.Context(), testNow, next); !errors.Is(err, store.ErrConflict) {
			t.Fatalf("client %s of version %d takes %+v: %v", id, rec.Version, next, err)
		}
	}
}

// TestKill kills a process in the middle of its writes, again and again on one
// file, and looks for what was acknowledged.
func TestKill(t *testing.T) {
	path := newPath(t)
	l := &ledger{
		created: map[string]bool{}, generation: map[string]uint64{}, touched: map[string]uint64{},
		revoked: map[string]bool{}, used: map[string]bool{}, ended: map[string]bool{}, clients: map[string]uint64{},
	}
	for round := range 6 {
		before := l.steps
		killAfter(t, child(t, "hammer", path), l, 200+150*round)
		s, err := Open(path)
		must(t, err)
		l.check(t, s)
		must(t, s.Close())
		t.Logf("round %d: %d steps acknowledged before the kill", round, l.steps-before)
	}
	if len(l.generation) == 0 || len(l.touched) == 0 || len(l.revoked) == 0 || len(l.used) == 0 ||
		len(l.ended) == 0 || len(l.clients) == 0 || l.version == 0 {
		t.Error("the load did not have every kind of step")
	}
}

// killAfter runs a child, kills it after so many lines and enters all that it
// got out.
func killAfter(t *testing.T, cmd *exec.Cmd, l *ledger, lines int) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	r, n := bufio.NewReader(out), 0
	for {
		line, err := r.ReadString('\n')
		if err != nil { // the last line may be a torn one
			break
		}
		l.note(t, strings.TrimSuffix(line, "\n"))
		if n++; n == lines {
			must(t, cmd.Process.Kill())
		}
	}
	if n < lines {
		t.Fatalf("the child ended after %d lines", n)
	}
	_ = cmd.Wait() // it was killed
}
