package storetest_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store/storetest"
)

// mutantEnv names the table whose broken stores a child process puts through the
// suite.
const mutantEnv = "STORETEST_MUTANTS"

// caught is the line about a mutant that the suite has found out.
func caught(name string) string { return fmt.Sprintf("\ncaught: %q\n", name) }

// TestSuiteCatchesMutants runs the suite over stores with one fault each, in
// child processes, because there the suite has to fail. There is one for each
// table: starting a process takes longer than most faults need to show.
func TestSuiteCatchesMutants(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, faults := range tables {
		t.Run(name, func(t *testing.T) {
			// Several at a time, as some faults show only after a wait.
			cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestMutants$", "-test.parallel=4", "-test.timeout=5m")
			cmd.Env = append(os.Environ(), mutantEnv+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Error("the suite passed")
			}
			for fault := range faults.mutants {
				if !strings.Contains(string(out), caught(fault)) {
					t.Errorf("the suite let this fault pass: %s", fault)
				}
			}
			if t.Failed() {
				t.Logf("%v\n%s", err, out)
			}
		})
	}
}

// TestSoundStore runs the suite over a store without a fault, so that one in the
// harness can't pass for a catch.
func TestSoundStore(t *testing.T) {
	suite(t, "", func(*mutant) {})
}

// TestMutants is the child's part.
func TestMutants(t *testing.T) {
	t.Parallel()
	faults, child := tables[os.Getenv(mutantEnv)]
	if !child {
		return
	}
	storetest.SetPatience(time.Second)
	for name, breakIt := range faults.mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() {
				if t.Failed() {
					fmt.Print(caught(name))
				}
			})
			suite(t, faults.about, breakIt)
			if !t.Failed() {
				suite(t, "", breakIt)
			}
		})
	}
}

// suite runs the suite over stores that breakIt has changed, up to the first part
// that fails. It leaves out parts without about in their names.
func suite(t *testing.T, about string, breakIt func(m *mutant)) {
	whole := t
	node := func(t *testing.T, state store.Store, life string, pair int) store.Store {
		if whole.Failed() || !strings.Contains(strings.TrimPrefix(t.Name(), whole.Name()), about) {
			t.SkipNow()
		}
		s := &mutant{Store: state, node: rand.Text(), life: life, pair: pair}
		breakIt(s)
		return s
	}
	open := func(t *testing.T) store.Store { return node(t, store.NewMemory(), "", 0) }
	storetest.Run(t, open)
	storetest.RunSwept(t, open)
	storetest.RunShared(t, func(t *testing.T) (a, b store.Store) {
		state := store.NewMemory()
		return node(t, state, "", 1), node(t, state, "", 2)
	})
	storetest.RunDurable(t, func(t *testing.T) (store.Store, func(*testing.T) store.Store) {
		state := store.NewMemory()
		return node(t, state, rand.Text(), 0), func(t *testing.T) store.Store { return node(t, state, rand.Text(), 0) }
	})
}

// mutant is a sound store with a method or two replaced.
type mutant struct {
	store.Store
	node        string                          // differs from one node on the same state to the next
	life        string                          // changes when the store is opened again
	pair        int                             // 1 and 2 for the nodes of one state, else 0
	look        func(g store.Grant) store.Grant // what is made of a grant that is read
	create      func(ctx context.Context, now time.Time, g store.Grant) error
	grant       func(ctx context.Context, now time.Time, id string) (store.Grant, error)
	rotate      func(ctx context.Context, now time.Time, r store.Rotation) (store.Grant, error)
	revoke      func(ctx context.Context, now time.Time, r store.Revocation) (bool, error)
	revocations func(ctx context.Context, now time.Time, after string) ([]store.Revocation, string, error)
	swap        func(ctx context.Context, version uint64, ring []byte) (uint64, error)
	sweep       func(ctx context.Context, now time.Time) (int, error)
	grants      func(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error)
	touch       func(ctx context.Context, now time.Time, uses []store.GrantUse) error
	use         func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error)
	end         func(ctx context.Context, now time.Time, r store.Revocation) error
	client      func(ctx context.Context, key string) (store.ClientRecord, error)
	put         func(ctx context.Context, now time.Time, rec store.ClientRecord) error
	await       func(ctx context.Context, after string) error
	records     func(ctx context.Context, after string, limit int) ([]store.Record, string, error)
	restore     func(ctx context.Context, records []store.Record) error
	reseal      func(ctx context.Context, old, next store.Record) error
	now         func(ctx context.Context) (time.Time, error)
}

// table has faults, each one that a real store could have. Most of them show in
// the parts with about in their names, so these run before the whole suite.
type table struct {
	about   string
	mutants map[string]func(m *mutant)
}

var tables = map[string]table{
	"basic":     {"", basicMutants},
	"persons":   {"Persons", personMutants},
	"touch":     {"Touch", touchMutants},
	"used":      {"Use", usedMutants},
	"sessions":  {"Sessions", sessionMutants},
	"announced": {"Announced", announcedMutants},
	"clients":   {"Client", clientMutants},
	"walked":    {"Records", walkedMutants},
	"restored":  {"Restore", restoredMutants},
	"resealed":  {"Reseal", resealedMutants},
	"awaited":   {"Await", awaitedMutants},
}

// all joins tables of mutants, which share no name.
func all(tables ...map[string]func(m *mutant)) map[string]func(m *mutant) {
	out := map[string]func(m *mutant){}
	for _, table := range tables {
		for name, breakIt := range table {
			if out[name] != nil {
				panic("two mutants are called " + name)
			}
			out[name] = breakIt
		}
	}
	return out
}

var basicMutants = map[string]func(m *mutant){
	"create overwrites": func(m *mutant) {
		m.create = func(ctx context.Context, now time.Time, g store.Grant) error {
			_ = m.Store.CreateGrant(ctx, now, g)
			return nil
		}
	},
	"create checks, then acts": func(m *mutant) {
		m.create = func(ctx context.Context, now time.Time, g store.Grant) error {
			if _, err := m.Store.Grant(ctx, now, g.ID); err == nil {
				return store.ErrExists
			}
			time.Sleep(time.Millisecond) // the gap that a database round trip opens
			_ = m.Store.CreateGrant(ctx, now, g)
			return nil
		}
	},
	"revoked code redeemable": func(m *mutant) {
		m.create = func(ctx context.Context, now time.Time, g store.Grant) error {
			if _, err := m.Store.Grant(ctx, now, g.ID); err != nil {
				_ = m.Store.CreateGrant(ctx, now, g)
				return nil
			}
			return store.ErrExists
		}
	},
	"ids fold case": func(m *mutant) {
		m.create = func(ctx context.Context, now time.Time, g store.Grant) error {
			g.ID = strings.ToLower(g.ID)
			return m.Store.CreateGrant(ctx, now, g)
		}
		m.grant = func(ctx context.Context, now time.Time, id string) (store.Grant, error) {
			return m.Store.Grant(ctx, now, strings.ToLower(id))
		}
	},
	"times lose their fraction": func(m *mutant) {
		m.create = func(ctx context.Context, now time.Time, g store.Grant) error {
			g.Created = g.Created.Truncate(time.Second)
			return m.Store.CreateGrant(ctx, now, g)
		}
	},
	"expires a second late": func(m *mutant) {
		m.grant = func(ctx context.Context, now time.Time, id string) (store.Grant, error) {
			return m.Store.Grant(ctx, now.Add(-time.Second), id)
		}
	},
	"revoked grant without its state": func(m *mutant) {
		m.grant = func(ctx context.Context, now time.Time, id string) (store.Grant, error) {
			g, err := m.Store.Grant(ctx, now, id)
			if err != nil {
				return store.Grant{}, err
			}
			return g, nil
		}
	},
	"rotation ignores the generation": func(m *mutant) {
		m.rotate = func(ctx context.Context, now time.Time, r store.Rotation) (store.Grant, error) {
			if g, err := m.Store.Grant(ctx, now, r.ID); err == nil {
				r.From = g.Generation
			}
			return m.Store.RotateGrant(ctx, now, r)
		}
	},
	"conflict without the current grant": func(m *mutant) {
		m.rotate = func(ctx context.Context, now time.Time, r store.Rotation) (store.Grant, error) {
			g, err := m.Store.RotateGrant(ctx, now, r)
			if err != nil {
				return store.Grant{}, err
			}
			return g, nil
		}
	},
	"revoke always says yes": func(m *mutant) {
		m.revoke = func(ctx context.Context, now time.Time, r store.Revocation) (bool, error) {
			_, err := m.Store.RevokeGrant(ctx, now, r)
			return err == nil, err
		}
	},
	"until does not keep the grant": func(m *mutant) {
		m.revoke = func(ctx context.Context, now time.Time, r store.Revocation) (bool, error) {
			if g, err := m.Store.Grant(ctx, now, r.GrantID); err == nil && r.Until.After(g.Expires) {
				r.Until = g.Expires
			}
			return m.Store.RevokeGrant(ctx, now, r)
		}
	},
	"feed skips an entry": func(m *mutant) {
		m.revocations = func(ctx context.Context, now time.Time, after string) ([]store.Revocation, string, error) {
			out, next, err := m.Store.Revocations(ctx, now, after)
			if len(out) > 2 {
				out = out[1:]
			}
			return out, next, err
		}
	},
	"lost cursor sees nothing": func(m *mutant) {
		m.revocations = func(ctx context.Context, now time.Time, after string) ([]store.Revocation, string, error) {
			out, next, err := m.Store.Revocations(ctx, now, after)
			if strings.HasPrefix(after, "9") {
				out = nil
			}
			return out, next, err
		}
	},
	"feed shows expired entries": func(m *mutant) {
		m.revocations = func(ctx context.Context, _ time.Time, after string) ([]store.Revocation, string, error) {
			return m.Store.Revocations(ctx, time.Time{}, after)
		}
	},
	"cursor runs ahead": func(m *mutant) {
		m.revocations = func(ctx context.Context, now time.Time, after string) ([]store.Revocation, string, error) {
			out, _, err := m.Store.Revocations(ctx, now, after)
			if err != nil {
				return nil, "", err
			}
			time.Sleep(time.Millisecond) // entries that arrive here are lost
			_, next, err := m.Store.Revocations(ctx, now, after)
			return out, next, err
		}
	},
	"swap ignores the version": func(m *mutant) {
		m.swap = func(ctx context.Context, _ uint64, ring []byte) (uint64, error) {
			_, version, _ := m.Store.KeyRing(ctx)
			return m.Store.SwapKeyRing(ctx, version, ring)
		}
	},
	"sweep takes the living": func(m *mutant) {
		m.sweep = func(ctx context.Context, now time.Time) (int, error) {
			return m.Store.Sweep(ctx, now.Add(2*time.Hour))
		}
	},
	"sweep does nothing": func(m *mutant) {
		m.sweep = func(ctx context.Context, _ time.Time) (int, error) { return 0, ctx.Err() }
	},
	"contexts are ignored": func(m *mutant) {
		m.create = func(ctx context.Context, now time.Time, g store.Grant) error {
			return m.Store.CreateGrant(context.WithoutCancel(ctx), now, g)
		}
	},
}
