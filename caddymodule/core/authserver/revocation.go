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

// RevocationSet knows in memory which grants, access tokens and clients are
// revoked and which browser sessions were ended, so that they are checked
// without a look at the store. It learns of revocations at once on this node
// and from the store's feed for the others. It is safe for concurrent use, and
// outlives a configuration reload.
type RevocationSet struct {
	mu      sync.RWMutex
	until   map[string]time.Time  // by grant id
	tokens  map[string]time.Time  // by jti
	clients map[string]everywhere // by the key of the client's record
	ended   map[string]time.Time  // until when to remember, by session id
	signOut map[string]everywhere // by subject
	cursor  string
	watches map[revocable]map[*watch]struct{}
}

// everywhere ends all that began before a moment: sessions of a person, tokens
// of a client.
type everywhere struct{ before, until time.Time }

// Watched is what is known of an access token that a revocation may be about.
// What is empty is never revoked.
type Watched struct {
	GrantID string
	// Token is the jti.
	Token string
	// ClientKey is oauth.ClientKey of the client.
	ClientKey string
	// Issued is the iat, in whole seconds.
	Issued time.Time
}

// revocable is what tokens end with: a grant, a token or a client.
type revocable struct {
	kind revocableKind
	name string
}

type revocableKind uint8

const (
	revocableGrant revocableKind = iota
	revocableToken
	revocableClient
)

// revocables returns all that the token ends with.
func (w Watched) revocables() [3]revocable {
	return [3]revocable{{revocableGrant, w.GrantID}, {revocableToken, w.Token}, {revocableClient, w.ClientKey}}
}

type watch struct {
	of  Watched
	end func()
}

// NewRevocationSet returns an empty set.
func NewRevocationSet() *RevocationSet {
	return &RevocationSet{
		until: map[string]time.Time{}, tokens: map[string]time.Time{}, clients: map[string]everywhere{},
		ended: map[string]time.Time{}, signOut: map[string]everywhere{},
		watches: map[revocable]map[*watch]struct{}{},
	}
}

// Revoked reports whether the grant's access tokens are no longer good.
func (s *RevocationSet) Revoked(grantID string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.until[grantID]
	return ok
}

// TokenRevoked reports whether the access token of this jti is no longer good.
func (s *RevocationSet) TokenRevoked(jti string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.tokens[jti]
	return ok
}

// ClientEnded reports whether the access tokens that a client was issued at a
// moment are no longer good. Tokens tell that moment in whole seconds, so one of
// the very moment of the revocation may be older, and counts as that.
func (s *RevocationSet) ClientEnded(clientKey string, issued time.Time) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.clientEnded(clientKey, issued)
}

// clientEnded is ClientEnded for those who hold mu.
func (s *RevocationSet) clientEnded(clientKey string, issued time.Time) bool {
	e, ok := s.clients[clientKey]
	return ok && !issued.After(e.before)
}

// Ended reports whether a token is no longer good, for whatever reason.
func (s *RevocationSet) Ended(w Watched) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.over(w)
}

// over is Ended for those who hold mu.
func (s *RevocationSet) over(w Watched) bool {
	_, grant := s.until[w.GrantID]
	_, token := s.tokens[w.Token]
	return grant || token || s.clientEnded(w.ClientKey, w.Issued)
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

// Watch calls end once, as soon as the token is no longer good (at once if that
// is so already), until stop is called. Open streams end that way.
func (s *RevocationSet) Watch(of Watched, end func()) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over(of) {
		go end()
		return func() {}
	}
	w := &watch{of, end}
	for _, r := range of.revocables() {
		if r.name == "" {
			continue
		}
		if s.watches[r] == nil {
			s.watches[r] = map[*watch]struct{}{}
		}
		s.watches[r][w] = struct{}{}
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.unwatch(w)
	}
}

// unwatch forgets a watch, for those who hold mu.
func (s *RevocationSet) unwatch(w *watch) {
	for _, r := range w.of.revocables() {
		if delete(s.watches[r], w); len(s.watches[r]) == 0 {
			delete(s.watches, r)
		}
	}
}

// add takes note of a revocation and ends the watches that it is about.
func (s *RevocationSet) add(r store.Revocation) {
	s.mu.Lock()
	about := s.note(r)
	var over []*watch
	for w := range s.watches[about] {
		if s.over(w.of) {
			over = append(over, w)
		}
	}
	for _, w := range over {
		s.unwatch(w)
	}
	s.mu.Unlock()
	for _, w := range over {
		w.end()
	}
}

// note remembers a revocation, for those who hold mu, and returns what it is
// about if tokens end with it.
func (s *RevocationSet) note(r store.Revocation) revocable {
	switch {
	case r.Session != "":
		s.ended[r.Session] = r.Until
	case r.Subject != "":
		if last, ok := s.signOut[r.Subject]; !ok || r.Before.After(last.before) {
			s.signOut[r.Subject] = everywhere{r.Before, r.Until}
		}
	case r.Token != "":
		s.tokens[r.Token] = later(s.tokens[r.Token], r.Until)
		return revocable{revocableToken, r.Token}
	case r.Client != "":
		last := s.clients[r.Client]
		s.clients[r.Client] = everywhere{later(last.before, r.Before), later(last.until, r.Until)}
		return revocable{revocableClient, r.Client}
	case r.GrantID != "":
		s.until[r.GrantID] = r.Until
		return revocable{revocableGrant, r.GrantID}
	}
	return revocable{}
}

// later returns the later one of two moments.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
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
	for _, m := range []map[string]time.Time{s.until, s.tokens, s.ended} {
		maps.DeleteFunc(m, over)
	}
	for _, m := range []map[string]everywhere{s.clients, s.signOut} {
		maps.DeleteFunc(m, func(_ string, e everywhere) bool { return !e.until.After(now) })
	}
	return nil
}

// Why a grant ends that nobody has misused.
const (
	reasonUser     = "user"     // its person took it back
	reasonOperator = "operator" // the operator did
	reasonLimit    = "limit"    // it was one personal access token too many, which nobody has seen
)

// revoke ends a grant for a reason, in the store first. It reports an outage
// instead of pretending; a grant that is revoked already is fine.
func (s *Server) revoke(ctx context.Context, now time.Time, g store.Grant, reason string) error {
	done, err := s.endGrant(ctx, now, g, reason)
	if err != nil {
		return refreshFailed(err)
	}
	if done {
		s.deps.Observer.Observe(ctx, oauth.Event{
			Kind: oauth.EventRevoke, GrantID: g.ID, ClientID: g.ClientID, ClientName: g.ClientName,
			Subject: g.User.Subject, Login: g.User.Login, Resource: g.Resource, Reason: reason, Meta: oauth.MetaFrom(ctx),
		})
	}
	return nil
}

// endGrant is revoke without the event: it reports whether this call ended the
// grant, and the store's error. No access token outlives its grant's NotAfter,
// whatever the lifetimes were when it was made, so the revocation is remembered
// until then.
func (s *Server) endGrant(ctx context.Context, now time.Time, g store.Grant, reason string) (bool, error) {
	r := store.Revocation{GrantID: g.ID, Reason: reason, Until: g.NotAfter.Add(revocationMargin)}
	done, err := s.deps.Store.RevokeGrant(ctx, now, r)
	if err == nil {
		s.deps.Revoked.add(r)
	}
	return done, err
}
