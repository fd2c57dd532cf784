package authserver

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// TestHealth: a node's own health does not hang on the store that all nodes
// share, and a node that leaves says so to both questions.
func TestHealth(t *testing.T) {
	b, leaving := new(brokenStore), false
	r := newRig(t, func(_ *Config, d *Deps) {
		b.Store = d.Store
		d.Store, d.Leaving = b, func() bool { return leaving }
	})
	for _, tt := range []struct {
		name            string
		broken, leaving bool
		query, status   string
		code            int
	}{
		{"well", false, false, "", "ok", http.StatusOK},
		{"well, as a node", false, false, "?node", "ok", http.StatusOK},
		{"no store", true, false, "", "unavailable", http.StatusServiceUnavailable},
		{"no store, as a node", true, false, "?node", "ok", http.StatusOK},
		{"leaving", false, true, "", "leaving", http.StatusServiceUnavailable},
		{"leaving, as a node", false, true, "?node", "leaving", http.StatusServiceUnavailable},
	} {
		b.broken, leaving = tt.broken, tt.leaving
		w := r.do("GET", "/oauth/health"+tt.query, "", "")
		if w.Code != tt.code || !strings.Contains(w.Body.String(), `"status":"`+tt.status+`"`) || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s %v", tt.name, w.Code, w.Body, w.Header())
		}
		code := map[string]string{"unavailable": oauth.CodeTemporarilyUnavailable, "leaving": oauth.CodeLeaving}[tt.status]
		if e := r.events[len(r.events)-1]; e.Kind != oauth.EventRequest || e.Code != code || (e.Err != nil) != (tt.status == "unavailable") || e.Reason != "health" {
			t.Errorf("%s: event %+v", tt.name, e)
		}
		if retry := w.Header().Get("Retry-After") != ""; retry != (tt.code != http.StatusOK) {
			t.Errorf("%s: %v", tt.name, w.Header())
		}
	}
}

// TestHealthBehind: a node whose store works, but which can't read what others
// revoked, says so after five seconds, and not to a load balancer.
func TestHealthBehind(t *testing.T) {
	var feed error
	revoked := NewRevocationSet()
	r := newRig(t, func(_ *Config, d *Deps) { d.Revoked = revoked })
	st := store.Intercept(r.store, func(ctx context.Context, op string, call func(context.Context) error) error {
		if op == "revocations" && feed != nil {
			return feed
		}
		return call(ctx)
	})
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			name   string
			feed   error
			wait   time.Duration
			status string
		}{
			{"well", nil, time.Hour, "ok"},
			{"a moment without", errors.New("gone"), behindLimit, "ok"},
			{"still without", errors.New("gone"), time.Second, "behind"},
			{"and again", errors.New("gone"), time.Hour, "behind"},
			{"back", nil, time.Hour, "ok"},
			{"another moment", errors.New("gone"), time.Second, "ok"},
		} {
			feed = tt.feed
			if err := revoked.Follow(t.Context(), time.Now(), st); !errors.Is(err, feed) {
				t.Fatal(err)
			}
			time.Sleep(tt.wait)
			want := http.StatusOK
			if tt.status != "ok" {
				want = http.StatusServiceUnavailable
			}
			w := r.do("GET", "/oauth/health", "", "")
			if w.Code != want || !strings.Contains(w.Body.String(), `"status":"`+tt.status+`"`) || tt.status != "ok" && !strings.Contains(w.Body.String(), `"reason":"revocations can't be read`) {
				t.Errorf("%s: %d %s", tt.name, w.Code, w.Body)
			}
			if w := r.do("GET", "/oauth/health?node", "", ""); w.Code != http.StatusOK {
				t.Errorf("%s, as a node: %d %s", tt.name, w.Code, w.Body)
			}
		}
	})
}
