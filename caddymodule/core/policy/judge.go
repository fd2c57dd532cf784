package policy

import (
	"context"
	"strings"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// query is one thing to be decided: a message, or one resource of it.
type query struct {
	ctx     context.Context //nolint:containedctx // lives as long as the call that it is an argument of
	caller  *Caller
	message *mcp.Message
	about   subject
	uri     uriForms
	// ahead says that nobody has made the call yet: is there a way to make it?
	ahead bool
	// gets reports whether the client gets scopes if it asks; nil is always.
	gets func(oauth.Scope) bool
	// err is what an expression failed with last.
	err error
	// trace is what Explain collects; otherwise nil.
	trace *Explanation
}

// subject is what, besides its method, a message is about.
type subject uint8

const (
	nothing subject = iota
	aTool
	aPrompt
	aResource
)

var protocol = Verdict{Outcome: Allowed, Rule: "protocol"}

// Judge decides about a message. Of several resources each must be allowed, with
// all scopes that any of them needs.
func (p *Policy) Judge(ctx context.Context, caller *Caller, m *mcp.Message) Verdict {
	return p.judge(query{ctx: ctx, caller: caller, message: m})
}

func (p *Policy) judge(q query) Verdict {
	m := q.message
	if m.Kind == mcp.Response {
		q.ends(protocol)
		return protocol
	}
	switch m.Method {
	case mcp.MethodCallTool:
		q.about = aTool
	case mcp.MethodGetPrompt:
		q.about = aPrompt
	case mcp.MethodComplete:
		if q.about = aPrompt; len(m.URIs) > 0 {
			q.about = aResource
		}
	case mcp.MethodReadResource, mcp.MethodSubscribe, mcp.MethodSubscriptionsListen:
		if len(m.URIs) > 0 {
			q.about = aResource
		}
	}
	if q.about != aResource {
		return p.decide(&q)
	}
	var worst Verdict
	for _, uri := range m.URIs {
		if m.Method == mcp.MethodComplete {
			q.uri = newTemplate(uri)
		} else {
			q.uri = newURI(uri)
		}
		worst = stricter(worst, p.decide(&q))
	}
	return worst
}

// decide asks the rules in their order. Where it is unknown whether a rule is
// about the call, the call must pass with that rule and without it: skipping a
// rule could lead to a laxer one, and taking it could skip a stricter one.
func (p *Policy) decide(q *query) Verdict {
	var sure, best Verdict // what is known of the rules so far; the best that a call could get
	for i := range p.rules {
		r := &p.rules[i]
		about := r.target(q)
		step := q.step(i, r, about)
		if about == No {
			continue
		}
		applies := both(about, q.all(r.when, step.whens()))
		if applies == No {
			continue
		}
		alone := r.verdict(q, step.requires())
		step.says(applies, alone)
		v := stricter(sure, alone)
		if v.Outcome == StepUp && q.gets != nil && !q.gets(v.Scopes) {
			v.Outcome, v.Scopes = Denied, nil
		}
		switch {
		case applies == open:
			best = laxer(best, v)
		case applies == Yes, v.Outcome == Denied:
			return laxer(best, v)
		default:
			sure = v
		}
	}
	last := p.fallback
	if q.about == nothing && basic(q.message.Method) {
		last = protocol
	}
	q.ends(last)
	return laxer(best, stricter(sure, last))
}

// target reports whether a rule is about a call.
func (r *rule) target(q *query) Result {
	if matchAny(r.methods, q.message.Method) {
		return Yes
	}
	result := No
	switch q.about {
	case aTool:
		return known(matchAny(r.tools, q.message.Name))
	case aPrompt:
		return known(matchAny(r.prompts, q.message.Name))
	case aResource:
		for i := range r.uris {
			fits := r.uris[i].match(&q.uri)
			if fits == Yes {
				return Yes
			}
			if fits == Unknown {
				result = Unknown
			}
		}
	case nothing:
	}
	if result == Unknown && q.ahead && q.uri.template {
		return open // it depends on the variables
	}
	return result
}

// both is No if either is, and Yes if both are. Of a call that may and may not be
// made so that the rule is about it, the rest is looked at, which is the laxer.
func both(a, b Result) Result {
	switch {
	case a == No || b == No || a == open && b == Unknown || a == Unknown && b == open:
		return No
	case a == Yes:
		return b
	}
	return a
}

// all reports whether all conditions hold, and notes each in list if that is not
// nil.
func (q *query) all(conditions []condition, list *[]Finding) Result {
	result := Yes
	for i := range conditions {
		result = both(result, q.test(&conditions[i], list))
		if result == No && list == nil {
			return No
		}
	}
	return result
}

// verdict returns what a rule says about a call that it is about.
func (r *rule) verdict(q *query, list *[]Finding) Verdict {
	switch r.action {
	case ActionAllow:
		return r.allowed
	case ActionDeny:
		return r.denied
	}
	reason := ""
	for i := range r.require {
		c := &r.require[i]
		if c.test == nil {
			q.note(list, c, known(r.scopes.hasAll(q.caller.Scopes, c.needs)))
			continue
		}
		if result := q.test(c, list); result != Yes && result != open && reason == "" {
			reason = c.reason
		}
	}
	switch {
	case reason != "":
		// More scopes would not help: no challenge, or clients would go round in
		// circles.
		v := r.denied
		v.Reason = reason
		return v
	case !r.scopes.hasAll(q.caller.Scopes, r.needs):
		return r.stepped
	}
	return r.allowed
}

func (q *query) test(c *condition, list *[]Finding) Result {
	q.err = nil
	result := c.test(q)
	q.note(list, c, result)
	return result
}

// basic reports whether MCP cannot do without a method.
func basic(method string) bool {
	switch method {
	case "initialize", "ping", "server/discover", "logging/setLevel", mcp.MethodUnsubscribe, mcp.MethodSubscriptionsListen,
		mcp.MethodListTools, mcp.MethodListPrompts, mcp.MethodListResources, mcp.MethodListResourceTemplates:
		return true
	}
	return strings.HasPrefix(method, "notifications/")
}

// severity orders outcomes.
func (v *Verdict) severity() int {
	switch v.Outcome {
	case Denied:
		return 3
	case StepUp:
		return 2
	case Allowed:
		return 1
	}
	return 0
}

// stricter returns the stricter of two verdicts, the first one of equals. Scopes
// and fields of both are needed: a client asks for what it is told and for nothing
// else, and must not lose for one half of a call what the other half takes.
func stricter(a, b Verdict) Verdict {
	if a.Outcome == 0 {
		return b
	}
	out, other := a, b
	if b.severity() > a.severity() {
		out, other = b, a
	}
	if out.Outcome != Denied && len(other.Scopes) > 0 {
		out.Scopes = a.Scopes.Union(b.Scopes)
	}
	if len(other.Fields) > 0 {
		out.Fields = oauth.Scope(out.Fields).Union(other.Fields)
	}
	return out
}

// laxer returns the laxer of two verdicts, the second one if there is no first.
func laxer(a, b Verdict) Verdict {
	if a.Outcome != 0 && a.severity() < b.severity() {
		return a
	}
	return b
}

// Visible reports whether an entry of a list is shown: one that the caller could
// use, arguments being unknown, or reach with more scopes where lists show such.
// The name is what entries of the list are known by. A template is shown if some
// URI that begins as it does could be read. gets reports whether the client gets
// scopes if it asks; nil is always.
func (p *Policy) Visible(ctx context.Context, caller *Caller, list mcp.List, name string, gets func(oauth.Scope) bool) bool {
	if p.dryRun || !p.needsBody {
		return true
	}
	m := mcp.Message{Kind: mcp.Request, Name: name}
	q := query{ctx: ctx, caller: caller, message: &m, ahead: true, gets: gets}
	switch list {
	case mcp.Tools:
		m.Method, q.about = mcp.MethodCallTool, aTool
	case mcp.Prompts:
		m.Method, q.about = mcp.MethodGetPrompt, aPrompt
	case mcp.Resources, mcp.ResourceTemplates:
		m.Method, m.Name, m.URIs, q.about = mcp.MethodReadResource, "", []string{name}, aResource
		if q.uri = newURI(name); list == mcp.ResourceTemplates {
			q.uri = newTemplate(name)
		}
	default:
		return false
	}
	v := p.decide(&q)
	return v.Outcome == Allowed || p.listStepUp && v.Outcome == StepUp
}
