package resource

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// Config says what a Guard protects.
type Config struct {
	// URIs are the endpoints of the resource in canonical form; the first is
	// the audience of its tokens.
	URIs []string
	// Scopes are the scopes for basic use: shown in challenges and metadata.
	Scopes oauth.Scope
	// Name and Documentation are for people; the latter is an https URL.
	Name, Documentation string
	// AuthorizationServers are the issuers of the tokens that are good here: our
	// own first, then those that are trusted.
	AuthorizationServers []string
	// Paths are the path patterns that need a token. None means every path.
	Paths []string
	// Public are the path patterns that need none.
	Public []string
	// TrustedOrigins are the origins besides the resource's own from which
	// scripts in a browser may call; "*" is every origin.
	TrustedOrigins []string
}

// Guard decides about requests to one resource. It is safe for concurrent use.
type Guard struct {
	cfg      Config
	kinds    []Kind
	revoked  func(t *Token) bool
	paths    pathSet
	public   pathSet
	origins  []string
	loopback bool
	refusals []refusals // by URI
}

// NewGuard checks the configuration and returns the guard. revoked tells
// whether a token that is genuine and current was revoked, by itself, with its
// grant or with its client. A token is of the first kind that recognizes it.
func NewGuard(cfg Config, revoked func(t *Token) bool, kinds ...Kind) (*Guard, error) {
	if len(cfg.URIs) == 0 {
		return nil, errors.New("a protected resource needs a URI")
	}
	g := &Guard{cfg: cfg, kinds: kinds, revoked: revoked, paths: cfg.Paths, public: cfg.Public}
	for _, p := range slices.Concat(cfg.Paths, cfg.Public) {
		if err := CheckPathPattern(p); err != nil {
			return nil, err
		}
	}
	for _, uri := range cfg.URIs {
		canonical, err := oauth.CanonicalResource(uri)
		if err != nil {
			return nil, fmt.Errorf("resource %q %w", uri, err)
		}
		if canonical != uri || strings.Contains(uri, "?") {
			return nil, fmt.Errorf("resource %q must be in canonical form without a query: write %q", uri, canonical)
		}
		origin := oauth.OriginOf(uri)
		g.origins = append(g.origins, origin)
		u, err := url.Parse(origin)
		if err != nil {
			return nil, fmt.Errorf("resource %q: %w", uri, err)
		}
		if u.Scheme == "http" && !oauth.IsLoopbackHost(u.Host) {
			return nil, fmt.Errorf("resource %q must use https unless its host is localhost, 127.0.0.1 or [::1]", uri)
		}
		g.loopback = g.loopback || oauth.IsLoopbackHost(u.Host)
		g.refusals = append(g.refusals, newRefusals(uri, cfg.Scopes))
	}
	for _, s := range cfg.Scopes {
		if !oauth.ValidScopeToken(s) {
			return nil, fmt.Errorf("scope %q has a character that RFC 6749 section 3.3 does not allow", s)
		}
	}
	if err := g.addOrigins(cfg.TrustedOrigins); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *Guard) addOrigins(origins []string) error {
	for _, o := range origins {
		if o != "*" && o != "null" {
			canonical, err := oauth.CanonicalResource(o)
			if err != nil || canonical != o || oauth.OriginOf(o) != o {
				return fmt.Errorf("trusted origin %q must be scheme://host or scheme://host:port in lower case, null, or *", o)
			}
		}
		g.origins = append(g.origins, o)
	}
	return nil
}

// Decision says what to do with a request. Exactly one of Token, Deny, Open
// and Preflight is set.
type Decision struct {
	// Token is set when the request may pass as this token's user.
	Token *Token
	// Open is set when the path needs no token.
	Open bool
	// Preflight is set for a CORS preflight of an allowed origin.
	Preflight bool
	// Deny is set when the request is refused.
	Deny *Denial
	// AllowOrigin is the Origin that may read the answer, or empty.
	AllowOrigin string
}

// Denial is a refusal. It may be shared by many requests and is only read.
type Denial struct {
	Status int
	// Code is the OAuth error code, empty if no token was presented.
	Code string
	// Description is safe to send.
	Description string
	// Challenge is the WWW-Authenticate value, or empty.
	Challenge string
	// Cause is for the log.
	Cause error
	// Token is set if a genuine token was refused, for the log.
	Token *Token
}

// Check decides about a request. The order matters: who has no token learns
// nothing but that one is needed.
func (g *Guard) Check(r *http.Request) Decision {
	d := g.decide(r)
	if d.Deny == nil && (r.Method == http.MethodConnect || r.Method == http.MethodTrace) {
		// A tunnel would outlive its token, a trace shows what we add.
		return deny(http.StatusMethodNotAllowed, oauth.CodeInvalidRequest, "this method is not for MCP servers", errors.New("method refused"))
	}
	return d
}

func (g *Guard) decide(r *http.Request) Decision {
	if g.loopback && !oauth.IsLoopbackHost(r.Host) {
		// DNS rebinding: a web page's own name that resolves to this machine.
		return deny(http.StatusForbidden, oauth.CodeInvalidRequest, "this server answers to localhost only", errors.New("foreign Host header"))
	}
	if !g.covers(r.URL) {
		return Decision{Open: true}
	}
	origin := r.Header.Get("Origin")
	if !g.allowsOrigin(origin) || len(r.Header.Values("Origin")) > 1 {
		return deny(http.StatusForbidden, oauth.CodeAccessDenied, "this origin may not call this server: the operator can allow it with trusted_origins", errors.New("origin not trusted"))
	}
	if r.Method == http.MethodOptions && origin != "" && r.Header.Get("Access-Control-Request-Method") != "" {
		return Decision{Preflight: true, AllowOrigin: origin}
	}
	d := g.authorize(r)
	d.AllowOrigin = origin
	return d
}

// covers reports whether a path needs a token. Where two servers could read
// the path differently, it does.
func (g *Guard) covers(u *url.URL) bool {
	if !plain(u) {
		return true
	}
	if g.public.matches(u.Path) {
		return false
	}
	return len(g.paths) == 0 || g.paths.touches(u.Path)
}

func (g *Guard) allowsOrigin(origin string) bool {
	return origin == "" || slices.Contains(g.origins, origin) || slices.Contains(g.origins, "*")
}

func (g *Guard) authorize(r *http.Request) Decision {
	raw, err := bearer(r.Header)
	if err != nil {
		return Decision{Deny: g.refusals[g.endpoint(r.URL.Path)].malformed}
	}
	if raw == "" {
		return Decision{Deny: g.refusals[g.endpoint(r.URL.Path)].missing}
	}
	t, err := g.verify(r.Context(), raw)
	if err == nil {
		err = g.accepts(t)
	}
	if err == nil {
		return Decision{Token: t}
	}
	d := g.verdict(r, err)
	d.Deny.Token = t
	return d
}

var (
	errNoKind   = errors.New("the token is of no kind that is accepted here")
	errAudience = errors.New("the token is for another resource")
	errRevoked  = errors.New("the token, its grant or its client was revoked")
)

// verify has a token checked by the first kind that recognizes it.
func (g *Guard) verify(ctx context.Context, raw string) (*Token, error) {
	for _, k := range g.kinds {
		if k.Recognizes(raw) {
			return k.Verify(ctx, raw)
		}
	}
	return nil, errNoKind
}

// verdict words the refusal of a token. An outage is none: a client that is
// told that its token is bad throws it away (SPEC K19).
func (g *Guard) verdict(r *http.Request, err error) Decision {
	switch {
	case errors.Is(err, ErrUnavailable):
		return deny(http.StatusServiceUnavailable, oauth.CodeTemporarilyUnavailable, "access tokens can't be checked at the moment: try again later", err)
	case errors.Is(err, ErrForbidden):
		return deny(http.StatusForbidden, oauth.CodeAccessDenied, "this user may not use this server: its operator decides who may", err)
	case errors.Is(err, ErrThrottled):
		return deny(http.StatusTooManyRequests, oauth.CodeTemporarilyUnavailable, "too many bad tokens came from this address, try again in a minute", err)
	}
	bad := *g.refusals[g.endpoint(r.URL.Path)].bad
	bad.Cause = err
	return Decision{Deny: &bad}
}

// accepts checks what differs by resource and by the moment. The audience is
// compared in canonical form, and with nothing but the resource's own
// (RFC 9068 §4).
func (g *Guard) accepts(t *Token) error {
	switch {
	case !oauth.SameResource(t.Audience, g.cfg.URIs[0]):
		return errAudience
	case g.revoked(t):
		return errRevoked
	}
	return nil
}

// refusals are the answers that differ by endpoint and by nothing else. They are
// made once and never change.
type refusals struct {
	path     string // of the endpoint
	metadata string // its URL
	// missing is for a request without a token, malformed for one whose header is
	// none, and bad for a token that was refused, and lacks the cause.
	missing, malformed, bad *Denial
}

// StepUp returns the challenge to a call at a path whose token lacks scopes: all that
// the operation needs, at once (MCP 2025-11-25, scope challenge handling).
func (g *Guard) StepUp(requestPath string, scopes oauth.Scope) string {
	c := Challenge{
		ResourceMetadata: g.refusals[g.endpoint(requestPath)].metadata, Scope: scopes,
		Error: oauth.CodeInsufficientScope, Description: "this call needs more scopes than the access token has",
	}
	return c.String()
}

func newRefusals(uri string, scopes oauth.Scope) refusals {
	challenge := func(status int, code, description string, cause error) *Denial {
		c := Challenge{ResourceMetadata: MetadataURL(uri), Scope: scopes, Error: code, Description: description}
		return &Denial{Status: status, Code: code, Description: description, Challenge: c.String(), Cause: cause}
	}
	return refusals{
		path:      oauth.PathOf(uri),
		metadata:  MetadataURL(uri),
		missing:   challenge(http.StatusUnauthorized, "", "", errors.New("no token")),
		malformed: challenge(http.StatusBadRequest, oauth.CodeInvalidRequest, "send one Authorization header with one bearer token", errMalformed),
		bad: challenge(http.StatusUnauthorized, oauth.CodeInvalidToken,
			"the access token is invalid, expired or revoked, or is for another resource", nil),
	}
}

func deny(status int, code, description string, cause error) Decision {
	return Decision{Deny: &Denial{Status: status, Code: code, Description: description, Cause: cause}}
}

// endpoint returns the index of the resource's URI that was called: the one with
// the longest path that leads the request's, or the first.
func (g *Guard) endpoint(requestPath string) int {
	best, length := 0, -1
	for i := range g.refusals {
		p := g.refusals[i].path
		rest, below := strings.CutPrefix(requestPath, p)
		if below && (rest == "" || rest[0] == '/') && len(p) > length {
			best, length = i, len(p)
		}
	}
	return best
}
