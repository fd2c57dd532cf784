package caddymodule

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// backing is what a handler stands on: the mcp_auth app, or nothing but the
// issuers that it trusts.
type backing struct {
	// issuer is ours, empty without an app.
	issuer string
	server func() (*authserver.Server, error)
	// own are our access tokens, and personal our personal ones, nil without an
	// app.
	own, personal resource.Kind
	// rules are those of the app.
	rules     login.Rules
	logins    []string // their ids
	headers   []string // by which they know people
	observer  *observer
	resources *registry
	calls     *callCounter
	streams   *callCounter // open streams by user
	sessions  *sessions
	keeper    *keeper // of sessions, for all nodes; nil without an app
	revoked   func(t *resource.Token) bool
	watch     func(t *resource.Token, w *authserver.Watch) // nil if nothing is ever revoked
	// ends is when a token ends, by this machine's clock.
	ends func(t *resource.Token) time.Time
	// sign signs an assertion; nil without an app.
	sign func(*oauth.AssertionClaims) (string, error)
	// now is the clock that tokens go by.
	now func() time.Time
}

// newBacking returns what the handlers of an app share, or what a handler
// without an app has to itself. There has to be an app unless it trusts others.
func newBacking(ctx caddy.Context, trusts bool) (*backing, error) {
	app, err := configuredApp(ctx)
	if err == nil {
		return app.backing(), nil
	}
	if !trusts || !errors.Is(err, caddy.ErrNotConfigured) {
		return nil, err
	}
	if err := watchExit(ctx); err != nil {
		return nil, err
	}
	return &backing{
		observer: newObserver(ctx, ctx.Logger()), resources: new(registry), calls: newCallCounter(), now: time.Now,
		streams: newCallCounter(), sessions: loneSessions(),
		revoked: func(*resource.Token) bool { return false },
		ends:    (*resource.Token).ExpiresAt,
	}, nil
}

// loneSessions are those of all handlers without an app, for as long as the process
// lives: a reload must not forget whose a session is.
var loneSessions = sync.OnceValue(newSessions)

// configuredApp returns the mcp_auth app. A handler never makes one up.
func configuredApp(ctx caddy.Context) (*App, error) {
	app, err := ctx.AppIfConfigured("mcp_auth")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, fmt.Errorf("there is no mcp_auth app: add the global option mcp_auth with at least an issuer and a login, "+
			"or have the directive trust an issuer (%w)", caddy.ErrNotConfigured)
	}
	if err != nil {
		return nil, err
	}
	return app.(*App), nil
}

func (a *App) backing() *backing {
	b := &backing{
		issuer: a.Issuer, server: a.server, own: a.verifier, rules: a.Rules,
		observer: a.observer, resources: a.resources, calls: a.state.calls,
		streams: a.state.streams, sessions: a.state.sessions, keeper: &keeper{a.store, a.clock.Now},
		personal: personalTokens{a},
		revoked:  a.state.ended,
		watch: func(t *resource.Token, w *authserver.Watch) {
			w.Of = &seenOf(t).watched
			a.state.revoked.Watch(w)
		},
		ends: a.tokenEnds,
		sign: func(claims *oauth.AssertionClaims) (string, error) { return a.keys.Ring().SignAssertion(claims) },
		now:  a.clock.Now,
	}
	for _, l := range a.logins {
		info := l.Info()
		b.logins, b.headers = append(b.logins, info.ID), append(b.headers, info.Headers...)
	}
	return b
}

// tokenEnds is when a token ends, by this machine's clock: ours end by the store's.
func (a *App) tokenEnds(t *resource.Token) time.Time {
	if t.Issuer != a.Issuer {
		return t.ExpiresAt()
	}
	return time.Now().Add(t.ExpiresAt().Sub(a.clock.Now()))
}

// authorizationServers lists our issuer, if there is one, and those that are
// trusted.
func (b *backing) authorizationServers(trusted []string) []string {
	if b.issuer == "" {
		return trusted
	}
	return slices.Concat([]string{b.issuer}, trusted)
}
