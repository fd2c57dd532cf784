package policy

import (
	"context"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
)

// Explanation is how a verdict came about.
type Explanation struct {
	Verdict Verdict
	// Steps are the rules that were looked at, in their order, for each resource of
	// the message; the last of each may be "default" or "protocol".
	Steps []Step
}

// Step is what one rule said.
type Step struct {
	// Index is the rule's place in Config.Rules, from 0; -1 for "default" and
	// "protocol".
	Index int
	Rule  string
	// URI is the resource that was looked at, if the message is about any.
	URI string
	// Target is whether the rule is about the message at all. If not, its
	// conditions were not looked at.
	Target Result
	When   []Finding
	// Require is empty where the rule's when did not hold.
	Require []Finding
	// Applies is whether the rule is about the message and its when holds; where it
	// is unknown, the call must pass with the rule and without it.
	Applies Result
	// Outcome is what the rule alone would do, if it applies.
	Outcome Outcome
	// Decides is set for the one whose outcome became the verdict.
	Decides bool
}

// Finding is what came of one condition.
type Finding struct {
	// Condition is as in a Caddyfile, such as "group leads".
	Condition string
	Result    Result
	// Err is why an expression is unknown.
	Err error
}

// Explain judges a message and tells how.
func (p *Policy) Explain(ctx context.Context, caller *Caller, m *mcp.Message) Explanation {
	var e Explanation
	e.Verdict = p.judge(query{ctx: ctx, caller: caller, message: m, trace: &e})
	// A name stands for one rule: New numbers those that occur twice.
	for i := range e.Steps {
		if s := &e.Steps[i]; s.Outcome == e.Verdict.Outcome && s.Rule == e.Verdict.Rule {
			s.Decides = true
			break
		}
	}
	return e
}

// step begins what is told of a rule; nil if nobody asked.
func (q *query) step(index int, r *rule, about Result) *Step {
	if q.trace == nil {
		return nil
	}
	q.trace.Steps = append(q.trace.Steps, Step{Index: index, Rule: r.name, URI: q.uri.raw, Target: about})
	return &q.trace.Steps[len(q.trace.Steps)-1]
}

// ends tells what happens where no rule decides.
func (q *query) ends(v Verdict) {
	if q.trace != nil {
		q.trace.Steps = append(q.trace.Steps, Step{Index: -1, Rule: v.Rule, URI: q.uri.raw, Target: Yes, Applies: Yes, Outcome: v.Outcome})
	}
}

func (q *query) note(list *[]Finding, c *condition, result Result) {
	if list != nil {
		*list = append(*list, Finding{Condition: c.text, Result: result, Err: q.err})
	}
}

func (s *Step) whens() *[]Finding {
	if s == nil {
		return nil
	}
	return &s.When
}

func (s *Step) requires() *[]Finding {
	if s == nil {
		return nil
	}
	return &s.Require
}

func (s *Step) says(applies Result, v Verdict) {
	if s != nil {
		s.Applies, s.Outcome = applies, v.Outcome
	}
}
