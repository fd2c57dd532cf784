package authserver

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// revocationMargin is added to a grant's end, for clocks that differ.
const revocationMargin = 5 * time.Minute

// RevocationSet knows in memory which grants are revoked and which browser
// sessions were ended, so that they are checked without a look at the store. It learns of revocations at once on
// this node and from the store's feed for the others. It is safe for
// concurrent use, and outlives a configuration reload.
type RevocationSet struct {
	mu      sync.RWMutex
	until   map[string]time.Time  // by grant id
	ended   map[string]time.Time  // until when to remember, by session id
	signOut map[string]everywhere // by subject
	cursor  string
	watches map[string]map[*watch]struct{}
}

// everywhere is a sign-out of all sessions that began before a moment.
type everywhere struct{ before, until time.Time }

type watch struct{ end func() }

// NewRevocationSet returns an empty set.
func NewRevocationSet() *RevocationSet {
	return &RevocationSet{
		until: map[string]time.Time{}, ended: map[string]time.Time{}, signOut: map[string]everywhere{},
		watches: map[string]map[*watch]struct{}{},
	}
}

// Revoked reports whether the grant's access tokens are no longer good.
func (s *RevocationSet) Revoked(grantID string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.until[grantID]
	return ok
}

// SessionEnded reports whether a browser session of the subject was signed out.
func (s *RevocationSet) SessionEnded(id, subject string, began time.Time) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ended := s.ended[id]
	return ended || began.Before(s.signOut[subject].before)
}

// SignedOut returns the moment before which every session of the subject has
// ended, or the zero time.
func (s *RevocationSet) SignedOut(subject string) time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.signOut[subject].before
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
	switch {
	case r.Session != "":
		s.ended[r.Session] = r.Until
	case r.Subject != "":
		if last, ok := s.signOut[r.Subject]; !ok || r.Before.After(last.before) {
			s.signOut[r.Subject] = everywhere{r.Before, r.Until}
		}
	default:
		s.until[r.GrantID] = r.Until
	}
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
	over := func(_ string, until time.Time) bool { return !until.After(now) }
	maps.DeleteFunc(s.until, over)
	maps.DeleteFunc(s.ended, over)
	maps.DeleteFunc(s.signOut, func(_ string, e everywhere) bool { return !e.until.After(now) })
	return nil
}

// reasonUser is why a grant ends that a person took back.
const reasonUser = "user"

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
		s.deps.Observer.Observe(ctx, oauth.Event{
			Kind: oauth.EventRevoke, GrantID: g.ID, ClientID: g.ClientID, ClientName: g.ClientName,
			Subject: g.User.Subject, Login: g.User.Login, Resource: g.Resource, Reason: reason, Meta: oauth.MetaFrom(ctx),
		})
	}
	return nil
}
