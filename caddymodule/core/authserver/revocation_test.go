package authserver

import (
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

func grantIn(t *testing.T, st store.Store, now time.Time, id string) {
	t.Helper()
	if err := st.CreateGrant(t.Context(), now, store.Grant{ID: id, Created: now, Expires: now.Add(time.Hour), NotAfter: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
}

func revokeIn(t *testing.T, st store.Store, now time.Time, id string) {
	t.Helper()
	if _, err := st.RevokeGrant(t.Context(), now, store.Revocation{GrantID: id, Reason: "user", Until: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
}

// TestRevocationSetFollowsTheStore: what another node revoked counts here, and
// is forgotten when it can't matter any more.
func TestRevocationSetFollowsTheStore(t *testing.T) {
	st, now := store.NewMemory(), time.Unix(1_800_000_000, 0)
	set := NewRevocationSet()
	for _, id := range []string{"a", "b"} {
		grantIn(t, st, now, id)
	}
	follow := func(now time.Time) {
		if err := set.Follow(t.Context(), now, st); err != nil {
			t.Fatal(err)
		}
	}
	revokeIn(t, st, now, "a")
	if set.Revoked("a") {
		t.Fatal("the test tests nothing")
	}
	follow(now)
	if !set.Revoked("a") || set.Revoked("b") {
		t.Errorf("a revoked: %v, b revoked: %v", set.Revoked("a"), set.Revoked("b"))
	}
	revokeIn(t, st, now, "b")
	follow(now)
	if !set.Revoked("b") {
		t.Error("the second revocation is missed")
	}
	follow(now.Add(time.Hour))
	if set.Revoked("a") || len(set.until) != 0 {
		t.Error("revocations are remembered for ever")
	}
}

func TestWatch(t *testing.T) {
	set := NewRevocationSet()
	ended := make(chan string, 3)
	set.Watch(Watched{GrantID: "a"}, func() { ended <- "a" })
	stop := set.Watch(Watched{GrantID: "a"}, func() { ended <- "stopped" })
	set.Watch(Watched{GrantID: "b"}, func() { ended <- "b" })
	stop()
	set.add(store.Revocation{GrantID: "a", Until: time.Now().Add(time.Hour)})
	set.add(store.Revocation{GrantID: "a", Until: time.Now().Add(time.Hour)})
	if got := <-ended; got != "a" || len(ended) != 0 {
		t.Errorf("ended: %s and %d more", got, len(ended))
	}
	set.Watch(Watched{GrantID: "a"}, func() { ended <- "late" })
	if got := <-ended; got != "late" {
		t.Errorf("watching a revoked grant: %s", got)
	}
	if len(set.watches) != 1 {
		t.Errorf("%d grants are watched, want b's only", len(set.watches))
	}
}
