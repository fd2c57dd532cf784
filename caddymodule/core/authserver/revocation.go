package authserver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// revocationMargin is added to a grant's end, for clocks that differ.
const revocationMargin = 5 * time.Minute

// RevocationSet knows in memory which grants are revoked, so that a call is
// checked without a look at the store. It learns of revocations at once on
// this node and from the store's feed for the others. It is safe for
// concurrent use, and outlives a configuration reload.
type RevocationSet struct {
	mu      sync.RWMutex
	until   map[string]time.Time // by grant id
	cursor  string
	watches map[string]map[*watch]struct{}
}

type watch struct{ end func() }

// NewRevocationSet returns an empty set.
func NewRevocationSet() *RevocationSet {
	return &RevocationSet{until: map[string]time.Time{}, watches: map[string]map[*watch]struct{}{}}
}

// Revoked reports whether the grant's access tokens are no longer good.
func (s *RevocationSet) Revoked(grantID string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.until[grantID]
	return ok
}

// Watch calls end once, as soon as the grant is revoked (at once if it is
// already), until stop is called. Open streams end that way.
func (s *RevocationSet) Watch(grantID string, end func()) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.until[grantID]; ok {
		go end()
		return func() {}
	}
	w := &watch{end}
	if s.watches[grantID] == nil {
		s.watches[grantID] = map[*watch]struct{}{}
	}
	s.watches[grantID][w] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watches[grantID], w)
		if len(s.watches[grantID]) == 0 {
			delete(s.watches, grantID)
		}
	}
}

func (s *RevocationSet) add(r store.Revocation) {
	s.mu.Lock()
	s.until[r.GrantID] = r.Until
	watches := s.watches[r.GrantID]
	delete(s.watches, r.GrantID)
	s.mu.Unlock()
	for w := range watches {
		w.end()
	}
}

// Follow reads the store's feed once, from where it stopped the last time, and
// forgets revocations whose tokens have all expired. Call it about every
// half second.
func (s *RevocationSet) Follow(ctx context.Context, now time.Time, st store.Store) error {
	s.mu.RLock()
	cursor := s.cursor
	s.mu.RUnlock()
	entries, next, err := st.Revocations(ctx, now, cursor)
	if err != nil {
		return fmt.Errorf("reading revocations: %w", err)
	}
	for _, r := range entries {
		s.add(r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursor = next
	for id, until := range s.until {
		if !until.After(now) {
			delete(s.until, id)
		}
	}
	return nil
}

// revoke ends a grant for a reason, in the store first. It reports an outage
// instead of pretending; a grant that is gone or revoked already is fine. No
// access token outlives its grant's NotAfter, whatever the lifetimes were when
// it was made, so the revocation is remembered until then.
func (s *Server) revoke(ctx context.Context, now time.Time, g store.Grant, reason string) error {
	r := store.Revocation{GrantID: g.ID, Reason: reason, Until: g.NotAfter.Add(revocationMargin)}
	done, err := s.deps.Store.RevokeGrant(ctx, now, r)
	if err != nil {
		return refreshFailed(err)
	}
	s.deps.Revoked.add(r)
	if done {
		s.deps.Observer.Observe(ctx, oauth.Event{Kind: oauth.EventRevoke, GrantID: g.ID, Reason: reason, Meta: oauth.MetaFrom(ctx)})
	}
	return nil
}
