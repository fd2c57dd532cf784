package authserver

import (
	"context"
	"errors"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// This file checks personal access tokens for the resources that accept them.
// What is found is remembered for a while, so that a call costs no look at the
// store. That is safe, because the caller asks the RevocationSet at every call;
// and it is never for long, because the person may be gone or the rules be
// others.

const (
	personalFresh   = time.Minute     // how long a good token is not looked at again
	personalStale   = time.Hour       // how long it stays good while the store does not answer
	personalRetry   = 5 * time.Second // when the store is asked again then
	personalDenied  = 5 * time.Second // how long a bad token is not looked at again
	personalTimeout = 5 * time.Second // for one look

	// Of one address: so many unknown tokens a minute.
	maxPersonalUnknown = 30
)

// What VerifyPersonal returns besides outages.
var (
	// ErrPersonalDenied says that a token is no good.
	ErrPersonalDenied = errors.New("the personal access token is refused")
	// ErrPersonalThrottled says that it was not looked at.
	ErrPersonalThrottled = errors.New("too many unknown personal access tokens came from this address")
)

// personalMemory is what this server knows of tokens, by the ids of their
// grants, in bounded memory. The bad ones have a memory of their own, so that
// they don't crowd the good ones out.
type personalMemory struct {
	good   *otter.Cache[string, goodPersonal]
	bad    *otter.Cache[string, badPersonal]
	misses *limiter // by address
	made   *limiter // by person
}

// goodPersonal is a token that was found good.
type goodPersonal struct {
	claims  oauth.AccessTokenClaims
	checked time.Time
	next    time.Time // when to look again
}

// badPersonal is a token that was refused.
type badPersonal struct {
	cause error
	next  time.Time // when to look again
}

func newPersonalMemory() *personalMemory {
	return &personalMemory{
		good:   otter.Must(&otter.Options[string, goodPersonal]{MaximumSize: limiterSize}),
		bad:    otter.Must(&otter.Options[string, badPersonal]{MaximumSize: limiterSize}),
		misses: newLimiter(maxPersonalUnknown, time.Minute),
		made:   newLimiter(maxPersonalMade, time.Hour),
	}
}

// LooksPersonal reports whether a bearer token claims to be a personal access
// token.
func LooksPersonal(raw string) bool {
	return len(raw) >= len(PersonalPrefix) && raw[:len(PersonalPrefix)] == PersonalPrefix
}

// VerifyPersonal returns what a personal access token says, in the form of an
// access token: whose it is, for which resource, and until when. The caller
// checks the resource and, at every call, the revocation of the grant. Guesses of
// one address are bounded.
func (s *Server) VerifyPersonal(ctx context.Context, raw string) (oauth.AccessTokenClaims, error) {
	return s.verifyPersonal(ctx, raw, s.personal.misses)
}

// verifyPersonal is VerifyPersonal with a limit of guesses by address, or nil for
// none.
func (s *Server) verifyPersonal(ctx context.Context, raw string, misses *limiter) (oauth.AccessTokenClaims, error) {
	var none oauth.AccessTokenClaims
	if !validPersonalText(raw) {
		return none, denyPersonal(errors.New("it is mistyped: its checksum is wrong"))
	}
	id, now, m := personalID(raw), s.now(), s.personal
	if s.deps.Revoked.Revoked(id) {
		return none, denyPersonal(store.ErrRevoked)
	}
	known, ok := m.good.GetIfPresent(id)
	if ok && now.Before(known.next) {
		return known.claims, s.checkPersonalTime(known.claims, now)
	}
	if bad, ok := m.bad.GetIfPresent(id); ok && now.Before(bad.next) {
		return none, bad.cause
	}
	address := oauth.Network(oauth.MetaFrom(ctx).RemoteIP)
	if !ok && misses != nil && misses.exhausted(address) {
		return none, ErrPersonalThrottled
	}
	claims, err := s.lookUpPersonal(ctx, id, now)
	switch {
	case err == nil:
		m.good.Set(id, goodPersonal{claims, now, now.Add(personalFresh)})
		return claims, nil
	case errors.Is(err, ErrPersonalDenied):
		m.good.Invalidate(id)
		m.bad.Set(id, badPersonal{err, now.Add(personalDenied)})
		if misses != nil && errors.Is(err, store.ErrNotFound) {
			misses.count(address)
		}
	case ok && now.Sub(known.checked) < personalStale:
		known.next = now.Add(personalRetry)
		m.good.Set(id, known)
		return known.claims, s.checkPersonalTime(known.claims, now)
	}
	return none, err
}

// lookUpPersonal asks the store and the login.
func (s *Server) lookUpPersonal(ctx context.Context, id string, now time.Time) (oauth.AccessTokenClaims, error) {
	var none oauth.AccessTokenClaims
	// Whoever hangs up meanwhile makes no outage of it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), personalTimeout)
	defer cancel()
	ctx = store.WithBudget(ctx, storeBudget) // where a call brings none
	g, err := s.deps.Store.Grant(ctx, now, id)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrRevoked):
		return none, denyPersonal(err)
	case err != nil:
		return none, err
	case !isPersonal(g):
		return none, denyPersonal(store.ErrNotFound) // no program's grant has such an id
	}
	res, err := s.configured(g.Resource)
	if err != nil || !res.PersonalTokens {
		return none, denyPersonal(errors.New("its server does not accept personal access tokens any more"))
	}
	scope, _ := oauth.ParseScope(g.Scope)
	if scope = scope.Intersect(res.AllScopes()); len(scope) == 0 {
		return none, denyPersonal(errors.New("its scopes no longer exist here"))
	}
	if g.User, err = s.entitled(ctx, g.User, res); asDenied(err) {
		return none, denyPersonal(err)
	} else if err != nil {
		return none, err
	}
	claims := s.claims(g, scope)
	return claims, s.checkPersonalTime(claims, now)
}

// asDenied reports whether the login or the rules have said no.
func asDenied(err error) bool {
	return err != nil && asOAuthError(err).Code == oauth.CodeInvalidGrant
}

func (s *Server) checkPersonalTime(c oauth.AccessTokenClaims, now time.Time) error {
	if !now.Before(time.Unix(c.Expires, 0)) {
		return denyPersonal(errors.New("it has expired"))
	}
	return nil
}

// deniedPersonalError is ErrPersonalDenied with the reason, for the log.
type deniedPersonalError struct{ reason error }

func denyPersonal(reason error) error { return deniedPersonalError{reason} }

// Error implements error.
func (e deniedPersonalError) Error() string {
	return ErrPersonalDenied.Error() + ": " + e.reason.Error()
}

// Unwrap returns both errors that it is.
func (e deniedPersonalError) Unwrap() []error { return []error{ErrPersonalDenied, e.reason} }

// personalKind lets introspection and revocation know personal access tokens.
type personalKind struct{ server *Server }

func (personalKind) recognizes(raw string) bool { return LooksPersonal(raw) }

// claims has no limit by address: the address is that of a resource server, which
// asks for everybody who calls it. What it is told of bad tokens is bounded by
// inactiveAnswers, which keeps no good token from it.
func (k personalKind) claims(ctx context.Context, raw string) (oauth.AccessTokenClaims, error) {
	claims, err := k.server.verifyPersonal(ctx, raw, nil)
	if errors.Is(err, ErrPersonalDenied) {
		return claims, errInactive
	}
	return claims, err
}

var _ opaqueTokens = personalKind{}
