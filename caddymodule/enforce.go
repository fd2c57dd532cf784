package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/policy"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// This file lets a call with a good token through, or finds the reason why not. The
// order is that of SPEC K20: whose it is comes before what it says.

// admit decides about a call, and reads it if something depends on what it says.
// nil lets it through.
func (h *Handler) admit(c *call, w http.ResponseWriter, r *http.Request, t *resource.Token) *refusal {
	if no := h.limit(t); no != nil {
		return no
	}
	if no := h.checkSession(r, t); no != nil {
		return no
	}
	if h.reads {
		if no := h.read(c, w, r); no != nil && (no.spent || h.strict()) {
			return no
		} else if no != nil {
			c.said = &reading{odd: no.cause}
		}
		if no := h.judge(c, r, t); no != nil {
			return no
		}
	}
	return h.enterStream(c, r, t)
}

// strict reports whether a call that can't be read is refused. Where nothing is decided
// by what it says, it goes on, and is told of without.
func (h *Handler) strict() bool { return h.rules != nil && !h.rules.DryRun() }

// limit counts the call.
func (h *Handler) limit(t *resource.Token) *refusal {
	if wait := h.limits.user.take(seenOf(t).user); wait > 0 {
		return tooMany("this user makes more calls than the server's operator allows", wait, errors.New("rate_limit user reached"))
	}
	if wait := h.limits.client.take(seenOf(t).client); wait > 0 {
		return tooMany("this program makes more calls than the server's operator allows", wait, errors.New("rate_limit client reached"))
	}
	return nil
}

// checkSession refuses the session of another user or client as one that does not
// exist (SPEC L15): who owns it is not their business.
func (h *Handler) checkSession(r *http.Request, t *resource.Token) *refusal {
	ids := r.Header[sessionHeader]
	if len(ids) == 0 || ids[0] == "" && len(ids) == 1 {
		return nil
	}
	if len(ids) > 1 {
		return malformed(http.StatusBadRequest, nil, mcp.CodeInvalidRequest, "the header Mcp-Session-Id occurs twice", errors.New("Mcp-Session-Id occurs twice"))
	}
	whose, err := h.back.sessions.of(r.Context(), h.back.keeper, digestOf(h.Resource[0], ids[0]), h.ownerOf(t))
	switch {
	case err != nil:
		return &refusal{
			status: http.StatusServiceUnavailable, code: oauth.CodeTemporarilyUnavailable, retry: "5", outcome: oauth.OutcomeFailed,
			message: "whose session this is can't be found out at the moment: try again shortly", rpc: codeInternal,
			cause: fmt.Errorf("looking up a session: %w", err),
		}
	case whose == anothers:
		return &refusal{
			status: http.StatusNotFound, code: oauth.CodeAccessDenied, outcome: oauth.OutcomeDenied,
			message: "there is no such session: start a new one with initialize", rpc: codeNoSession,
			cause: errors.New("the session is of another user or client"),
		}
	}
	return nil
}

// JSON-RPC error codes of the gateway's own refusals. The first is what the servers
// of the SDKs answer with for a session that they don't know.
const (
	codeNoSession = -32001
	codeLimited   = -32011
	codeInternal  = -32603 // JSON-RPC 2.0 §5.1
)

// enterStream counts a stream that stays open, until the call is over.
func (h *Handler) enterStream(c *call, r *http.Request, t *resource.Token) *refusal {
	if h.MaxStreams <= 0 || r.Method != http.MethodGet && !c.listens(r.Header) {
		return nil
	}
	if c.stream = h.back.streams.enter(caller{user: t.Issuer + " " + t.Subject}, h.MaxStreams, ""); c.stream == nil {
		return tooMany("too many streams are open: end some first", 5*time.Second, errors.New("max_streams reached"))
	}
	return nil
}

// listens reports whether the call opens a stream of notifications. The header is
// believed where nobody has read the body, whose reader compares the two.
func (c *call) listens(h http.Header) bool {
	if c.said == nil || c.said.odd != nil {
		return h.Get(mcp.HeaderMethod) == mcp.MethodSubscriptionsListen
	}
	return slices.ContainsFunc(c.said.Messages, func(m mcp.Message) bool { return m.Method == mcp.MethodSubscriptionsListen })
}

// read reads the messages of a call. Only POST carries any.
func (h *Handler) read(c *call, w http.ResponseWriter, r *http.Request) *refusal {
	switch r.Method {
	case http.MethodPost:
	case http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions:
		if r.ContentLength == 0 || r.Body == http.NoBody {
			return nil
		}
		return malformed(http.StatusBadRequest, nil, mcp.CodeInvalidRequest, "only POST has a body in MCP", errors.New("a body that is not of a POST"))
	default:
		return malformed(http.StatusMethodNotAllowed, nil, mcp.CodeInvalidRequest, "MCP has no such HTTP method", errors.New("HTTP method refused"))
	}
	if err := mcp.CheckEncoding(r.Header); err != nil {
		return unreadable(err)
	}
	text, no := readBody(w, r, h.MaxMessage, bodyTimeout)
	if no != nil {
		return no
	}
	c.said = new(reading)
	c.said.text.Reset(text)
	r.Body, r.ContentLength, r.TransferEncoding = &c.said.text, int64(len(text)), nil
	var err error
	if c.said.Body, err = mcp.Read(text); err == nil {
		err = c.said.CheckHeaders(r.Header)
	}
	if err != nil {
		return unreadable(err)
	}
	return nil
}

// judge asks the rules about every message. One that is denied denies them all.
func (h *Handler) judge(c *call, r *http.Request, t *resource.Token) *refusal {
	if h.rules == nil || c.said == nil || c.said.odd != nil {
		return nil
	}
	who := h.newCaller(t, r)
	c.said.tell(r, t)
	defer c.said.forget()
	c.said.verdicts = c.said.room[:0]
	refused := false
	for i := range c.said.Messages {
		m := &c.said.Messages[i]
		c.said.about(m)
		v := h.rules.Judge(r.Context(), &who, m)
		if v.Outcome == policy.StepUp && !h.obtainable(t, v.Scopes) {
			v.Outcome, v.Scopes = policy.Denied, nil
			v.Reason = "this needs scopes that this program can't get here: the server's operator decides about them"
		}
		refused = refused || v.Outcome != policy.Allowed
		c.said.verdicts = append(c.said.verdicts, v)
	}
	if !refused || h.rules.DryRun() {
		return nil
	}
	return h.deny(c.said, r)
}

// obtainable reports whether a client that asks for scopes could get them. One that
// can't must not be sent to ask: it would come back without, for ever.
func (h *Handler) obtainable(t *resource.Token, scopes oauth.Scope) bool {
	if t.Issuer != h.back.issuer {
		return true // its own authorization server decides
	}
	server, err := h.back.server()
	return err == nil && server.Obtainable(t.ClientID, h.Resource[0]).ContainsAll(scopes)
}

// deny words the answer to a call of which something was refused. Every request in
// it gets an answer. If scopes are all that is missing, the client is told which the
// whole call takes: it may come back with these and no others.
func (h *Handler) deny(s *reading, r *http.Request) *refusal {
	var scopes oauth.Scope
	for i := range s.verdicts {
		scopes = scopes.Union(s.verdicts[i].Scopes)
	}
	steps, asks := true, false
	var answers [][]byte
	for i, v := range s.verdicts {
		m, message, data := &s.Messages[i], v.Reason, any(nil)
		asks = asks || m.Kind == mcp.Request
		switch v.Outcome {
		case policy.Denied:
			steps = false
		case policy.StepUp:
			data = map[string]string{"required_scope": scopes.String()}
		default:
			message = "not done, because another call of the same batch was refused"
		}
		if m.Kind == mcp.Request {
			answers = append(answers, mcp.ErrorResponse(m.ID, mcp.CodeDenied, message, data))
		}
	}
	no := &refusal{
		status: http.StatusForbidden, code: oauth.CodeAccessDenied, outcome: oauth.OutcomeDenied,
		body: s.answers(answers), cause: errDenied,
	}
	switch {
	case steps:
		no.code, no.outcome, no.cause = oauth.CodeInsufficientScope, oauth.OutcomeStepUp, errStepUp
		no.challenge = h.guard.StepUp(r.URL.Path, scopes)
	case asks && speaksStreamable(r.Header):
		no.status = http.StatusOK
	}
	return no
}

// answers is the body for the answers to single requests. A notification has none,
// but its HTTP request does.
func (s *reading) answers(each [][]byte) []byte {
	switch {
	case s.Batch && len(each) > 0:
		return mcp.BatchErrorResponse(each...)
	case len(each) == 1:
		return each[0]
	}
	return mcp.ErrorResponse(nil, mcp.CodeDenied, s.verdicts[0].Reason, nil)
}

var (
	errDenied = errors.New("a rule denies it")
	errStepUp = errors.New("the token lacks scopes that a rule requires")
)

// speaksStreamable reports whether a client reads the answer to its POST, as the
// streamable HTTP transport has it. Others, such as those of HTTP+SSE, look at
// nothing but the status.
func speaksStreamable(h http.Header) bool {
	for _, v := range h.Values("Accept") {
		if strings.Contains(strings.ToLower(v), "text/event-stream") {
			return true
		}
	}
	return false
}

// refusal is the answer to a call with a good token that is not let through: an HTTP
// status, and a JSON-RPC error for whoever waits for an answer.
type refusal struct {
	status    int
	code      string // the OAuth error code that fits best, for metrics and the log
	body      []byte // nil until somebody has looked for the id
	message   string // of a body that is not made yet
	rpc       int    // its JSON-RPC error code
	challenge string
	retry     string // Retry-After
	outcome   string
	spent     bool // a part of the body was read, and is lost
	cause     error
}

func tooMany(message string, wait time.Duration, cause error) *refusal {
	return &refusal{
		status: http.StatusTooManyRequests, code: oauth.CodeTemporarilyUnavailable, retry: retryAfter(wait),
		message: message + "; try again in " + retryAfter(wait) + " s", rpc: codeLimited, outcome: oauth.OutcomeLimited, cause: cause,
	}
}

func malformed(status int, id []byte, code int, message string, cause error) *refusal {
	return &refusal{
		status: status, code: oauth.CodeInvalidRequest, outcome: oauth.OutcomeMalformed,
		body: mcp.ErrorResponse(id, code, message, nil), cause: cause,
	}
}

// unreadable is the answer to what package mcp refused.
func unreadable(err error) *refusal {
	e, ok := errors.AsType[*mcp.Error](err)
	if !ok {
		e = &mcp.Error{Status: http.StatusBadRequest, Code: mcp.CodeParseError, Message: "the body can't be read"}
	}
	return malformed(e.Status, e.ID, e.Code, e.Message, err)
}

// refuseCall answers with a refusal.
func (h *Handler) refuseCall(c *call, w http.ResponseWriter, r *http.Request, d resource.Decision, no *refusal) error {
	if no.body == nil {
		no.body = mcp.ErrorResponse(c.id(w, r), no.rpc, no.message, nil)
	}
	if d.AllowOrigin != "" {
		allowOrigin(w.Header(), d.AllowOrigin)
	}
	if no.challenge != "" {
		w.Header().Set("WWW-Authenticate", no.challenge)
	}
	if no.retry != "" {
		w.Header().Set("Retry-After", no.retry)
	}
	writeError(w, no.status, no.body, &c.values)
	h.report(c, r, d.Token, oauth.Event{
		Outcome: no.outcome, Code: no.code, Err: no.cause, Status: no.status, Bytes: int64(len(no.body)),
	})
	return nil
}

// id is that of the request that is refused, or nil.
func (c *call) id(w http.ResponseWriter, r *http.Request) []byte {
	if m := c.message(); m != nil {
		return m.ID
	}
	if c.said != nil {
		return nil
	}
	return idOf(w, r)
}

// idOf reads the id of a call that is refused before anybody has read it, if that
// costs little. Without one, clients can't tell which call was refused.
func idOf(w http.ResponseWriter, r *http.Request) []byte {
	const little, soon = 16 << 10, 200 * time.Millisecond
	if r.Method != http.MethodPost || r.ContentLength <= 0 || r.ContentLength > little || mcp.CheckEncoding(r.Header) != nil {
		return nil
	}
	text, no := readBody(w, r, little, soon)
	if no != nil {
		return nil
	}
	body, err := mcp.Read(text)
	if err != nil || body.Batch {
		return nil
	}
	return body.Messages[0].ID
}

// overrides are headers by which some servers let a client say that it means
// another HTTP method than it uses. The rules have judged the one that it uses.
var overrides = []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"}

func dropOverrides(h http.Header) {
	for name := range h {
		if slices.Contains(overrides, http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))) {
			delete(h, name)
		}
	}
}

// message is what was read of a call, if it is one message.
func (c *call) message() *mcp.Message {
	if c.said == nil || len(c.said.Messages) != 1 {
		return nil
	}
	return &c.said.Messages[0]
}
