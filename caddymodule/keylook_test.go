package caddymodule

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/jose"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// TestKeyOfAnotherNode: a token that another node signs with a key which it has
// made just now is good here at once, for all who bring one at the same time.
func TestKeyOfAnotherNode(t *testing.T) {
	for name, change := range map[string]func(ctx context.Context, m *keys.Manager) error{
		"another algorithm":   func(ctx context.Context, m *keys.Manager) error { return m.Apply(ctx, time.Now()) },
		"rotated immediately": func(ctx context.Context, m *keys.Manager) error { return m.Rotate(ctx, time.Now(), true) },
		"retired": func(ctx context.Context, m *keys.Manager) error {
			_, err := m.Retire(ctx, time.Now())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, st, _ := maintained(t)
				a.ctx = caddy.Context{Context: t.Context()}
				other, err := keys.Open(t.Context(), time.Now(), st, keys.Options{Algorithm: "EdDSA"})
				if err != nil {
					t.Fatal(err)
				}
				if err := change(t.Context(), other); err != nil {
					t.Fatal(err)
				}
				raw, err := other.Ring().Sign(time.Now(), oauth.AccessTokenClaims{})
				if err != nil {
					t.Fatal(err)
				}
				token, err := jose.ReadCompact(raw)
				if err != nil {
					t.Fatal(err)
				}
				before := st.reads.Load()
				for range 20 {
					go func() {
						if _, _, ok := a.verifyKey(token.Header.KeyID); !ok {
							t.Error("a good token is refused")
						}
					}()
				}
				synctest.Wait()
				if n := st.reads.Load() - before; n != 1 {
					t.Errorf("%d looks for one key", n)
				}
			})
		})
	}
}

// TestKeysThatDoNotExist: whatever tokens name, the store is asked once a second,
// and if it hangs, nobody waits longer than that, nor anybody whose key is known.
func TestKeysThatDoNotExist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, st, _ := maintained(t)
		a.ctx = caddy.Context{Context: t.Context()}
		var hung atomic.Bool
		slow := store.Intercept(st, func(ctx context.Context, op string, call func(context.Context) error) error {
			if hung.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			return call(ctx)
		})
		var err error
		if a.keys, err = keys.Open(t.Context(), time.Now(), slow, keys.Options{}); err != nil {
			t.Fatal(err)
		}
		raw, err := a.keys.Ring().Sign(time.Now(), oauth.AccessTokenClaims{})
		if err != nil {
			t.Fatal(err)
		}
		known, err := jose.ReadCompact(raw)
		if err != nil {
			t.Fatal(err)
		}
		before := st.reads.Load()
		for i := range 100 { // in ten seconds
			begin := time.Now()
			if _, _, ok := a.verifyKey(strconv.Itoa(i)); ok || time.Since(begin) != 0 {
				t.Errorf("key %d: %v after %s", i, ok, time.Since(begin))
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := st.reads.Load() - before; n != 10 {
			t.Errorf("%d looks in ten seconds", n)
		}
		hung.Store(true)
		for i := range 50 {
			go func() {
				begin := time.Now()
				if _, _, ok := a.verifyKey(strconv.Itoa(i)); ok || time.Since(begin) > keyLookTimeout {
					t.Errorf("key %d: %v after %s", i, ok, time.Since(begin))
				}
			}()
		}
		synctest.Wait()
		begin := time.Now()
		if _, _, ok := a.verifyKey(known.Header.KeyID); !ok || time.Since(begin) != 0 {
			t.Errorf("a key that is known: %v after %s", ok, time.Since(begin))
		}
		time.Sleep(2 * keyLookTimeout)
	})
}
