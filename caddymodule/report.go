package caddymodule

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/policy"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// reportPassed tells of a call that was let through, when its answer is over.
func (h *Handler) reportPassed(c *call, r *http.Request, t *resource.Token, err error) {
	g := &c.answer
	e := oauth.Event{Status: int(g.status), Bytes: g.size, Err: err}
	if failed, ok := errors.AsType[caddyhttp.HandlerError](err); ok && !g.wrote {
		e.Status = failed.StatusCode
	}
	switch over := g.ended.Load() || c.ctx.LazyMeta.Err() != nil; {
	case err != nil && over:
		e.Err = nil // the token ended, or the client hung up: a stream may be over at any time
	case g.lists != nil && g.lists.failed != nil:
		e.Err = g.lists.failed
	}
	if e.Err != nil || e.Status >= http.StatusInternalServerError {
		e.Outcome, e.Code = oauth.OutcomeFailed, oauth.CodeServerError
	}
	h.report(c, r, t, e)
}

// report tells of a call: once for every message that was read of it, or once where
// nobody had to.
func (h *Handler) report(c *call, r *http.Request, t *resource.Token, e oauth.Event) {
	if c.said == nil || len(c.said.Messages) == 0 {
		if c.said != nil && c.said.odd != nil && e.Err == nil {
			e.Err = fmt.Errorf("nobody could read it: %w", c.said.odd)
			e.Outcome = oauth.OutcomeAllowed
			if h.rules != nil {
				e.Outcome = oauth.OutcomeWouldDeny
			}
		}
		h.auditCall(r, e, t)
		return
	}
	for i := range c.said.Messages {
		one := e
		c.said.describe(&one, i)
		h.auditCall(r, one, t)
	}
}

// describe says what one message was, and what became of it.
func (s *reading) describe(e *oauth.Event, i int) {
	m := &s.Messages[i]
	e.Method, e.Name = m.Method, m.Name
	if len(m.URIs) > 0 {
		e.URI = m.URIs[0]
	}
	if i >= len(s.verdicts) {
		return
	}
	v := &s.verdicts[i]
	e.Rule, e.Arguments = v.Rule, argumentsOf(m, v.Fields)
	refused := e.Outcome == oauth.OutcomeDenied || e.Outcome == oauth.OutcomeStepUp
	switch {
	case v.Outcome == policy.Allowed && refused:
		// Its own rule lets it through: another message of the batch was refused.
		e.Outcome, e.Code, e.Err = oauth.OutcomeDenied, oauth.CodeAccessDenied, errBatch
		e.Rule, e.Arguments = ruleOfBatch, nil
	case v.Outcome != policy.Allowed && (refused || e.Outcome == ""):
		if e.Err = errors.New(v.Reason); !refused {
			e.Outcome = oauth.OutcomeWouldDeny // it went on all the same
		}
		if v.Outcome == policy.StepUp {
			e.RequiredScope = v.Scopes.String()
		}
	}
}

// ruleOfBatch stands for the rule where a message was refused with the others of its
// batch, and errBatch is why.
const ruleOfBatch = "batch"

var errBatch = errors.New("another message of the same batch was refused")

// argumentsOf are the arguments that a rule names, as they were sent. The note for
// those of which nobody knows what the server reads is no JSON, so that no client
// can have sent it.
func argumentsOf(m *mcp.Message, fields []string) map[string]string {
	if len(fields) == 0 || m.Arguments == nil {
		return nil
	}
	found, err := mcp.Members(m.Arguments, fields...)
	if err != nil {
		return nil
	}
	out := map[string]string{}
	for i, name := range fields {
		switch {
		case found[i].Ambiguous:
			out[name] = "ambiguous"
		case found[i].Value != nil:
			out[name] = string(found[i].Value)
		}
	}
	return out
}
