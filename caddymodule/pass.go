package caddymodule

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// passOpen hands on a request to a path that needs no token.
func (h *Handler) passOpen(c *call, w http.ResponseWriter, r *http.Request, d resource.Decision, next caddyhttp.Handler) error {
	h.names.Sanitize(r)
	h.observe(r, oauth.Event{Kind: oauth.EventCall, Reason: "public"}, nil)
	return c.next(w, r, d, streamEnd{}, next)
}

// pass hands a request with a good token on to the upstream server, if nothing
// speaks against it.
func (h *Handler) pass(c *call, w http.ResponseWriter, r *http.Request, d resource.Decision, next caddyhttp.Handler) error {
	place := h.back.calls.enter(callerOf(d.Token), h.MaxCalls, remoteIP(r.Context()))
	if place == nil {
		return h.refuseCall(c, w, r, d, tooMany("too many calls at once: end some streams first", 5*time.Second, errors.New("max_calls reached")))
	}
	defer place.leave()
	setPlaceholders(r.Context(), d.Token) // expressions of rules read them
	if no := h.admit(c, w, r, d.Token); no != nil {
		return h.refuseCall(c, w, r, d, no)
	}
	if c.stream != nil {
		defer c.stream.leave()
	}
	h.identify(c, r, d.Token)
	if h.reads {
		dropOverrides(r.Header)
	}
	if err := h.setAssertion(r, d.Token, c.message()); err != nil {
		return h.refuse(c, w, r, unasserted(d, err))
	}
	c.answer.lists = h.listFilterFor(c, r, d.Token)
	c.answer.sessions = h
	err := errBrokenOff
	defer func() { h.reportPassed(c, r, d.Token, err) }()
	err = c.next(w, r, d, streamEnd{at: h.back.ends(d.Token), token: d.Token, watch: h.back.watch}, next)
	return err
}

// errBrokenOff is how a call ends that panics, as the proxy does when an answer breaks
// off in the middle. Nobody makes a call without a line by hanging up.
var errBrokenOff = errors.New("the answer broke off")

// refuse answers with a denial. The answer is written here and not left to
// error handlers, because clients find the way in from it.
func (h *Handler) refuse(c *call, w http.ResponseWriter, r *http.Request, d resource.Decision) error {
	h.observe(r, oauth.Event{Kind: oauth.EventCall, Err: d.Deny.Cause, Code: d.Deny.Code, Status: d.Deny.Status}, d.Deny.Token)
	if d.AllowOrigin != "" {
		allowOrigin(w.Header(), d.AllowOrigin)
	}
	if d.Deny.Challenge != "" {
		c.values[3] = d.Deny.Challenge
		w.Header()["Www-Authenticate"] = c.values[3:4:4]
	}
	if d.Deny.Status == http.StatusServiceUnavailable || d.Deny.Status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "5")
	}
	body := missingToken
	if d.Deny.Code != "" {
		body = jsonError(d.Deny.Code, d.Deny.Description)
	}
	writeError(w, d.Deny.Status, body, &c.values)
	return nil
}

// missingToken is the answer to a call without a token.
var missingToken = jsonError("unauthorized", "an access token is needed: the WWW-Authenticate header says where to get one")
