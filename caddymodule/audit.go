package caddymodule

import (
	"net/http"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// The audit log says who did what: docs/audit.md is its schema, and a test holds
// both together.

// auditLogger is the name of its logger, below that of the handler: so it is
// http.handlers.mcp_auth.audit, whoever writes.
const auditLogger = "audit"

// The words under which the audit log has calls. Other steps have theirs in
// auditEvent.
const (
	auditCall   = "call"
	auditDenial = "denial"
	auditStepUp = "step_up"
)

// auditEvent is the word under which the audit log has an event, or "" if it does
// not have it.
func auditEvent(e oauth.Event) string {
	switch e.Kind {
	case oauth.EventSignIn, oauth.EventSignOut, oauth.EventPersonalToken, oauth.EventDevToken:
		return string(e.Kind)
	case oauth.EventAuthorize:
		return "consent"
	case oauth.EventToken:
		if e.GrantType == oauth.GrantRefreshToken {
			return "refresh"
		}
		return "token"
	case oauth.EventRevoke:
		return "revocation"
	case oauth.EventCall:
		return callEvent(outcomeOf(e))
	default:
		return ""
	}
}

// callEvent is the word for a call. One without a good token is no denial: every
// client begins with one, and strangers can make as many as they like.
func callEvent(outcome string) string {
	switch outcome {
	case oauth.OutcomeDenied, oauth.OutcomeLimited, oauth.OutcomeMalformed:
		return auditDenial
	case oauth.OutcomeStepUp:
		return auditStepUp
	}
	return auditCall
}

// outcomeOf is the outcome of an event: what it says, or else what its error and
// status say.
func outcomeOf(e oauth.Event) string {
	switch {
	case e.Outcome != "":
		return e.Outcome
	case e.Err == nil && e.Code == "":
		return oauth.OutcomeAllowed
	case e.Status == http.StatusTooManyRequests:
		return oauth.OutcomeLimited
	case e.Status >= http.StatusInternalServerError:
		return oauth.OutcomeFailed
	case e.Kind != oauth.EventCall:
		return oauth.OutcomeDenied
	}
	switch e.Status {
	case http.StatusUnauthorized:
		return oauth.OutcomeUnauthorized
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return oauth.OutcomeMalformed
	}
	return oauth.OutcomeDenied
}

// auditCall tells of a call at its end. The caller fills in what it knows of the
// call and of the decision about it (from Method on in oauth.Event, and RequiredScope,
// Reason, Err, Code and Status); who called and for what is added here, if somebody
// is told.
func (h *Handler) auditCall(r *http.Request, e oauth.Event, t *resource.Token) {
	o := h.back.observer
	e.Kind, e.Resource = oauth.EventCall, h.Resource[0]
	e.Outcome = outcomeOf(e)
	o.metrics.count(e)
	line, hook := o.line(r.Context(), e, h.auditCalls), o.hook(h.callHook(e.Outcome))
	if line == nil && hook == "" {
		return
	}
	e.Meta = oauth.MetaFrom(r.Context())
	if t != nil {
		e.ClientID, e.ClientName, e.Subject, e.Scope, e.GrantID = t.ClientID, t.ClientName, t.Subject, t.Scope, t.GrantID
		e.Login, e.TokenID = t.Login, t.JWTID
	}
	o.tell(r.Context(), e, line, hook)
}

// callHook is the Caddy event of a call, or "" if there is none.
func (h *Handler) callHook(outcome string) string {
	switch event := callEvent(outcome); {
	case event == auditDenial:
		return hookPrefix + auditDenial
	case event == auditStepUp:
		return hookPrefix + auditStepUp
	case h.auditCalls:
		return hookPrefix + auditCall
	}
	return ""
}
