package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// Env is what a policy gets from its host.
type Env struct {
	// Scopes are those that clients can get, besides those of the hierarchy. Rules
	// that ask for another one are refused.
	Scopes oauth.Scope
	// Logins are the ids of all ways to sign in. Rules that name another one are
	// refused; nil takes any.
	Logins []string
	// Compile compiles the expressions of conditions; nil if there are none.
	Compile func(expression string) (Expression, error)
	// Now is the clock.
	Now func() time.Time
}

// Expression is a compiled condition of the host's own language. It is safe for
// concurrent use.
type Expression interface {
	// Eval reports whether it holds for a call. After an error the policy takes it
	// for unknown.
	Eval(ctx context.Context, caller *Caller, message *mcp.Message) (bool, error)
	// NeedsArguments reports whether it may read the arguments of the call.
	NeedsArguments() bool
}

var errNoExpressions = errors.New("expressions are not supported here")

// Policy decides about messages. It is safe for concurrent use.
type Policy struct {
	rules      []rule
	fallback   Verdict
	needsBody  bool
	dryRun     bool
	listStepUp bool
}

// rule is one that was compiled.
type rule struct {
	name                     string
	tools, prompts, methods  []glob
	uris                     []uriGlob
	when, require            []condition
	needs                    oauth.Scope
	allowed, denied, stepped Verdict
	action                   string
	scopes                   hierarchy
}

// New compiles a policy. Errors are those of Check, a login that does not exist, and
// those of expressions.
func New(cfg Config, env Env) (*Policy, error) {
	if err := cfg.Check(env.Scopes); err != nil {
		return nil, err
	}
	p := &Policy{
		fallback:   Verdict{Outcome: Allowed, Rule: "default"},
		needsBody:  len(cfg.Rules) > 0 || cfg.fallback() == ActionDeny,
		dryRun:     cfg.DryRun,
		listStepUp: cfg.ListStepUp,
	}
	if cfg.fallback() == ActionDeny {
		p.fallback.Outcome, p.fallback.Reason = Denied, reasonDenied
	}
	scopes := newHierarchy(cfg.Hierarchy)
	for i, r := range cfg.Rules {
		compiled, err := newRule(r, env, scopes)
		if err != nil {
			return nil, r.wrong(i, err)
		}
		compiled.call(p.unique(compiled.name))
		p.rules = append(p.rules, compiled)
	}
	return p, nil
}

// unique numbers names that occur twice, so that logs, metrics and explanations
// tell rules apart that have one target.
func (p *Policy) unique(name string) string {
	out := name
	for n := 2; slices.ContainsFunc(p.rules, func(r rule) bool { return r.name == out }); n++ {
		out = fmt.Sprintf("%s (%d)", name, n)
	}
	return out
}

func (r *rule) call(name string) {
	r.name, r.allowed.Rule, r.denied.Rule, r.stepped.Rule = name, name, name, name
}

func newRule(r Rule, env Env, scopes hierarchy) (rule, error) {
	out := rule{
		name: r.String(), action: r.Action, scopes: scopes,
		tools: newGlobs(r.Tools), prompts: newGlobs(r.Prompts), methods: newGlobs(r.Methods),
	}
	for _, pattern := range r.ResourceURIs {
		out.uris = append(out.uris, newURIGlob(pattern))
	}
	for _, c := range r.When {
		compiled, err := newCondition(c, env, scopes)
		if err != nil {
			return rule{}, err
		}
		out.when = append(out.when, compiled)
	}
	for _, c := range r.Require {
		compiled, err := newCondition(c, env, scopes)
		if err != nil {
			return rule{}, err
		}
		if compiled.needs = c.Scopes; len(c.Scopes) > 0 {
			compiled.test = nil
			out.needs = out.needs.Union(c.Scopes)
		}
		out.require = append(out.require, compiled)
	}
	out.allowed = Verdict{Outcome: Allowed, Rule: out.name, Scopes: out.needs, Fields: r.Audit}
	out.denied = Verdict{Outcome: Denied, Rule: out.name, Reason: reasonDenied, Fields: r.Audit}
	out.stepped = Verdict{Outcome: StepUp, Rule: out.name, Reason: reasonScope, Scopes: out.needs, Fields: r.Audit}
	return out, nil
}

// NeedsBody reports whether a decision depends on what a call says. If not, every
// call is allowed, and no body need be read.
func (p *Policy) NeedsBody() bool { return p.needsBody }

// DryRun reports whether verdicts are only to be logged.
func (p *Policy) DryRun() bool { return p.dryRun }

// hierarchy lists for each scope those that contain it, itself first.
type hierarchy map[string][]string

// newHierarchy follows lines of scopes from the widest to the narrowest to their
// ends.
func newHierarchy(lines [][]string) hierarchy {
	wider := map[string]oauth.Scope{} // by one step
	for _, line := range lines {
		for i, scope := range line {
			wider[scope] = wider[scope].Union(line[max(i-1, 0):i])
		}
	}
	h := hierarchy{}
	for scope := range wider {
		all := oauth.Scope{scope}
		for i := 0; i < len(all); i++ {
			all = all.Union(wider[all[i]])
		}
		h[scope] = all
	}
	return h
}

// has reports whether a token's scopes contain a scope.
func (h hierarchy) has(scopes oauth.Scope, scope string) bool {
	if scopes.Contains(scope) {
		return true
	}
	return slices.ContainsFunc(h[scope], scopes.Contains)
}

func (h hierarchy) hasAll(scopes, needs oauth.Scope) bool {
	for _, scope := range needs {
		if !h.has(scopes, scope) {
			return false
		}
	}
	return true
}

func (h hierarchy) any(values []string) func(*query) Result {
	return func(q *query) Result {
		for _, scope := range values {
			if h.has(q.caller.Scopes, scope) {
				return Yes
			}
		}
		return No
	}
}
