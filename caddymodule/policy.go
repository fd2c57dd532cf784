package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/policy"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// provisionPolicy compiles the rules. It comes after setDefaults, for the scopes, and
// provisionTrust, for the issuers.
func (h *Handler) provisionPolicy(ctx caddy.Context) error {
	p, err := h.newPolicy(ctx, h.back.now, slices.Concat(h.back.logins, h.issuers()))
	if err != nil {
		return err
	}
	if p.NeedsBody() {
		h.rules = p
	}
	h.policyGroups = oauth.GroupsOf(h.Policy.Groups())
	h.reads = h.rules != nil || h.Assertion != nil || h.Audit
	h.auditCalls = h.rules != nil || h.Audit
	return nil
}

// enforced writes the options down that decide about calls, but for where they stand.
func (h *Handler) enforced() string {
	p := h.Policy
	p.Rules = slices.Clone(p.Rules)
	for i := range p.Rules {
		p.Rules[i].Source = ""
	}
	return fmt.Sprintf("%+v %+v %d %d %d", p, h.RateLimits, h.MaxCalls, h.MaxStreams, h.MaxMessage)
}

// newPolicy compiles the rules; nil stands for logins that are not known.
func (h *Handler) newPolicy(ctx caddy.Context, now func() time.Time, logins []string) (*policy.Policy, error) {
	p, err := policy.New(h.Policy, policy.Env{
		Scopes:  h.knownScopes(),
		Logins:  logins,
		Compile: func(expr string) (policy.Expression, error) { return newExpression(ctx, expr) },
		Now:     now,
	})
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return p, nil
}

// knownScopes are the scopes that rules may ask for, besides those of the
// hierarchy.
func (h *Handler) knownScopes() oauth.Scope { return oauth.Scope(h.Scopes).Union(h.StepUpScopes) }

// checkPolicy checks the rules of a Caddyfile when all of the block is known.
func (h *Handler) checkPolicy(app bool) error {
	scopes := h.knownScopes()
	if len(h.Scopes) == 0 && app {
		scopes = scopes.Union(authserver.DefaultScopes)
	}
	return h.Policy.Check(scopes)
}

// newCaller says for the rules who makes a call.
func (h *Handler) newCaller(t *resource.Token, r *http.Request) policy.Caller {
	var c policy.Caller
	c.Remote, _ = netip.ParseAddr(remoteIP(r.Context())) // invalid is unknown
	if t == nil {
		return c
	}
	c.Subject, c.Email, c.EmailVerified = t.Subject, t.Email, t.EmailVerified
	c.Groups, c.GroupsUnknown = t.Groups, !t.GroupsKnown(h.policyGroups)
	c.ClientID, c.Login, c.Scopes = t.ClientID, t.Login, t.Scopes
	if t.AuthTime > 0 {
		c.AuthTime = time.Unix(t.AuthTime, 0)
	}
	return c
}

// expression is a condition in Caddy's CEL.
type expression struct {
	match     caddyhttp.MatchExpression
	arguments bool
}

// matchers are Caddy's matchers in an expression. They replace placeholders in
// what they are given, so that a client could have placeholders of its own replaced.
var matchers = regexp.MustCompile(
	`\b(client_ip|file|header|header_regexp|host|method|path|path_regexp|protocol|query|remote_ip|vars|vars_regexp)\s*\([^)]*\{http\.(mcp|auth)\.`)

func newExpression(ctx caddy.Context, text string) (policy.Expression, error) {
	if found := matchers.FindStringSubmatch(text); found != nil {
		return nil, fmt.Errorf("expression: %s() must not be given what a client said: compare it with == or matches()", found[1])
	}
	e := &expression{match: caddyhttp.MatchExpression{Expr: text}}
	if err := e.match.Provision(ctx); err != nil {
		return nil, fmt.Errorf("expression: %w", err)
	}
	e.arguments = slices.ContainsFunc(e.match.Placeholders(), func(name string) bool {
		return name == "" || strings.HasPrefix(name, mcpPlaceholder+"arguments")
	})
	return e, nil
}

// NeedsArguments implements policy.Expression.
func (e *expression) NeedsArguments() bool { return e.arguments }

// Eval implements policy.Expression.
func (e *expression) Eval(ctx context.Context, _ *policy.Caller, m *mcp.Message) (bool, error) {
	said, ok := caddyhttp.GetVar(ctx, saidVar).(*said)
	if !ok {
		return false, errNoRequest
	}
	// Entries of a list are judged as if they were called.
	defer said.about(said.message)
	said.about(m)
	said.doubt = nil
	match, err := e.match.MatchWithError(said.request)
	if said.doubt != nil {
		return false, said.doubt
	}
	return match, err
}

var errNoRequest = errors.New("no request to evaluate the expression for")

// Interface guards
var _ policy.Expression = (*expression)(nil)
