package storetest_test

import (
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store/storetest"
)

// mutantEnv names the broken store that a child process puts through the suite.
const mutantEnv = "STORETEST_MUTANT"

// TestSuiteCatchesMutants runs the suite over stores with one fault each, in a
// child process, because there the suite has to fail.
func TestSuiteCatchesMutants(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name := range mutants {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestMutant$", "-test.failfast", "-test.timeout=60s")
			cmd.Env = append(os.Environ(), mutantEnv+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestMutant") {
				t.Fatalf("the suite let this fault pass: %v\n%s", err, out)
			}
		})
	}
}

// TestMutant is the child's part; without the variable it runs the suite over
// a sound store, so that a fault in the harness can't pass for a catch.
func TestMutant(t *testing.T) {
	breakIt := mutants[os.Getenv(mutantEnv)]
	node := func(state store.Store, life string) store.Store {
		s := &mutant{Store: state, node: rand.Text(), life: life}
		if breakIt != nil {
			breakIt(s)
		}
		return s
	}
	open := func(*testing.T) store.Store { return node(store.NewMemory(), "") }
	storetest.Run(t, open)
	storetest.RunSwept(t, open)
	storetest.RunShared(t, func(*testing.T) (a, b store.Store) {
		state := store.NewMemory()
		return node(state, ""), node(state, "")
	})
	storetest.RunDurable(t, func(*testing.T) (store.Store, func(*testing.T) store.Store) {
		state := store.NewMemory()
		return node(state, rand.Text()), func(*testing.T) store.Store { return node(state, rand.Text()) }
	})
}

// mutant is a sound store with a method or two replaced.
type mutant struct {
	store.Store
	node        string                          // differs from one node on the same state to the next
	life        string                          // changes when the store is opened again
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
}

// mutants are the faults, each one that a real store could have.
var mutants = all(basicMutants, personMutants, touchMutants, usedMutants, sessionMutants, announcedMutants, clientMutants)

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
