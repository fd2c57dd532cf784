package authserver

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// revocationMargin is added to a grant's end, for clocks that differ.
const revocationMargin = 5 * time.Minute

// purgeEvery is how often Follow looks for revocations to forget: it is called
// many times a second, and every call of a token waits for the lock meanwhile.
const purgeEvery = time.Minute

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
	purged  time.Time // when what is over was last looked for
	vain    time.Time // when the first read of the feed began since one succeeded, or zero
	edition atomic.Uint64
	watches watchTable
}

// editions numbers the editions of all sets: no two share one.
var editions atomic.Uint64

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
	// KeyID is of the key that signed the token, see EndRetired. It takes one of
	// the names above to be found.
	KeyID string
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

// NewRevocationSet returns an empty set.
func NewRevocationSet() *RevocationSet {
	s := &RevocationSet{
		until: map[string]time.Time{}, tokens: map[string]time.Time{}, clients: map[string]everywhere{},
		ended: map[string]time.Time{}, signOut: map[string]everywhere{},
		watches: watchTable{seed: maphash.MakeSeed()},
	}
	s.edition.Store(editions.Add(1))
	return s
}

// Edition returns a number, never 0, that changes whenever something is revoked,
// and is no other set's. A token that was good in an edition is good for as long
// as that lasts: who remembers it needs no lock to ask again. Read the edition
// first, and then ask Ended.
func (s *RevocationSet) Edition() uint64 { return s.edition.Load() }

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

// add takes note of a revocation and ends the watches that it is about.
func (s *RevocationSet) add(r store.Revocation) {
	s.mu.Lock()
	about := s.note(r)
	s.edition.Store(editions.Add(1))
	s.mu.Unlock()
	s.endWatches(about)
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
// forgets revocations whose tokens have all expired, within purgeEvery. Call it
// every half second, and as soon as Await returns.
func (s *RevocationSet) Follow(ctx context.Context, now time.Time, st store.Store) error {
	s.mu.Lock()
	cursor := s.cursor
	if s.vain.IsZero() {
		s.vain = time.Now()
	}
	s.mu.Unlock()
	entries, next, err := st.Revocations(ctx, now, cursor)
	for _, r := range entries { // also those that come with an error
		s.add(r)
	}
	if err != nil {
		return fmt.Errorf("reading revocations: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursor, s.vain = next, time.Time{}
	if now.Sub(s.purged).Abs() >= purgeEvery { // also if the clock was set back
		s.purged = now
		s.purge(now)
	}
	return nil
}

// purge forgets what is over, for those who hold mu. It looks at everything.
func (s *RevocationSet) purge(now time.Time) {
	over := func(_ string, until time.Time) bool { return !until.After(now) }
	for _, m := range []map[string]time.Time{s.until, s.tokens, s.ended} {
		maps.DeleteFunc(m, over)
	}
	for _, m := range []map[string]everywhere{s.clients, s.signOut} {
		maps.DeleteFunc(m, func(_ string, e everywhere) bool { return !e.until.After(now) })
	}
}

// Behind is for how long Follow has been tried in vain: what was revoked elsewhere
// meanwhile is not known here. It is 0 if the last Follow succeeded.
func (s *RevocationSet) Behind() time.Duration {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.vain.IsZero() {
		return 0
	}
	return time.Since(s.vain)
}

// Await returns nil as soon as the feed may have something that Follow has not
// read yet. It is a hint (see [store.Store]). When the context ends it returns the
// context's error.
func (s *RevocationSet) Await(ctx context.Context, st store.Store) error {
	s.mu.RLock()
	cursor := s.cursor
	s.mu.RUnlock()
	return st.Await(ctx, cursor)
}

// Why a grant ends that nobody has misused.
const (
	reasonUser     = "user"     // its person took it back
	reasonOperator = "operator" // the operator did
	reasonLimit    = "limit"    // it was one personal access token too many, which nobody has seen
)

// revoke ends a grant for a reason, in the store first. It reports an outage
// instead of pretending; a grant that is revoked already is fine. There is an event
// if this call ended it, and if nobody could.
func (s *Server) revoke(ctx context.Context, now time.Time, g store.Grant, reason string) error {
	done, err := s.endGrant(ctx, now, g, reason)
	gone := errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrRevoked)
	if err != nil {
		err = refreshFailed(err)
	}
	if done || err != nil && !gone {
		s.tell(ctx, oauth.Event{
			Kind: oauth.EventRevoke, GrantID: g.ID, ClientID: g.ClientID, ClientName: g.ClientName,
			Subject: g.User.Subject, Login: g.User.Login, Resource: g.Resource, Reason: reason,
		}, err)
	}
	return err
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
