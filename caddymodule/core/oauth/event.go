package oauth

import (
	"context"
	"sync"
	"time"
)

// EventKind names a step that is worth a line in the log.
type EventKind string

// The kinds of events.
const (
	EventRegister  EventKind = "register"
	EventAuthorize EventKind = "authorize"
	EventToken     EventKind = "token"
	EventRevoke    EventKind = "revoke"
	// EventIntrospect is a question of a resource server about a token.
	EventIntrospect EventKind = "introspect"
	EventSignIn     EventKind = "sign_in"
	EventSignOut    EventKind = "sign_out"
	EventCall       EventKind = "call"
	EventDevToken   EventKind = "dev_token"
	EventKeys       EventKind = "keys"
	// EventPersonalToken is a personal access token that was made; its end is a
	// revocation like every other.
	EventPersonalToken EventKind = "personal_token"
	// EventClientMetadata is a client's metadata document that was fetched, or
	// could not be.
	EventClientMetadata EventKind = "client_metadata"
	// EventRequest is a request to the authorization server that is none of
	// the above: a document, a page, or one that no endpoint took.
	EventRequest EventKind = "request"
)

// The reasons of an EventClientMetadata: where the metadata come from.
const (
	DocumentFetched = "fetched"          // from the document's host
	DocumentStale   = "stale_document"   // an older answer, because the host fails
	DocumentBundled = "bundled_document" // the copy that comes with this server
	DocumentFailed  = "failed"           // from nowhere
)

// CodeLeaving is the code of an EventRequest by which a process that is about to end
// told a load balancer so. No client gets it, and nothing is wrong.
const CodeLeaving = "leaving"

// Event is what an operator may know about one step of the protocol.
//
// It has no field for a token, code, verifier, secret, cookie, state or raw
// query, so that none can be logged. Every field is either configured, checked
// before, or cut to a harmless length by the observer.
type Event struct {
	Kind EventKind
	// Err is nil for success. Its text is for the log; it is made by this
	// project and names no credential.
	Err error
	// Code is the OAuth error code that was answered, empty for success, or
	// CodeLeaving.
	Code string
	// Status is the HTTP status that was answered.
	Status int
	// RequestID and RemoteIP come from the request's Meta.
	Meta
	// ClientID and ClientName are the client's identifier and what it calls
	// itself; both are hostile text.
	ClientID, ClientName string
	// GrantType is the grant_type parameter if it is one that this server knows.
	GrantType string
	// Resource is the canonical URI of a resource of this server.
	Resource string
	// Scope is what was granted.
	Scope string
	// Subject is the user's stable id.
	Subject string
	// Login is the id of the way to sign in.
	Login string
	// GrantID names the grant: every token of one approval shares it.
	GrantID string
	// Reason is a fixed word for why something was revoked or refused.
	Reason string

	// What follows is of calls. Method is the JSON-RPC method, Name the tool or
	// prompt, and URI the resource that was called: hostile text, unless a rule
	// names it. All are empty where nobody had to read the call.
	Method, Name, URI string
	// Arguments are the arguments that a rule names, as JSON.
	Arguments map[string]string
	// Rule is the rule that decided, as policy.Verdict has it.
	Rule string
	// Outcome is one of the Outcome constants.
	Outcome string
	// RequiredScope is all that a call needs which was refused until the client has
	// more scopes; Scope is what it has.
	RequiredScope string
	// TokenID is the identifier (jti) of the access token, which opens nothing.
	TokenID string
	// Duration is from the request to the end of the answer, or to the event if
	// nobody sets it; Bytes is the length of the answer's body.
	Duration time.Duration
	Bytes    int64
	// TraceID is the request's W3C trace id, or empty. The observer finds it.
	TraceID string
}

// The outcomes of a call, and of every other step: where an event has none, its
// error and status say which.
const (
	// OutcomeAllowed is a call that passed, or another step that was done.
	OutcomeAllowed = "allowed"
	// OutcomeDenied is a step that was refused.
	OutcomeDenied = "denied"
	// OutcomeStepUp is a call that was refused until the client has more scopes.
	OutcomeStepUp = "step_up"
	// OutcomeWouldDeny is a call that passed because the rules are a dry run.
	OutcomeWouldDeny = "would_deny"
	// OutcomeLimited is a call that was refused because there were too many.
	OutcomeLimited = "limited"
	// OutcomeMalformed is a call that could not be read, or that says one thing in
	// its headers and another in its body.
	OutcomeMalformed = "malformed"
	// OutcomeUnauthorized is a call without a good token.
	OutcomeUnauthorized = "unauthorized"
	// OutcomeFailed is a call that the gateway could not judge, or that the server
	// behind it did not answer.
	OutcomeFailed = "failed"
)

// Observer receives events. Observe must be fast and safe for concurrent use.
type Observer interface {
	Observe(ctx context.Context, e Event)
}

// Meta is what is known about a request besides its content.
type Meta struct {
	// RequestID finds the request's log lines; it is shown on error pages.
	RequestID string
	// RemoteIP is the client's address as the host determined it.
	RemoteIP string
}

type metaKey struct{}

// WithMeta returns a context that carries the request's Meta.
func WithMeta(ctx context.Context, m Meta) context.Context {
	return context.WithValue(ctx, metaKey{}, m)
}

// MetaFrom returns the Meta of the context, or the zero value.
func MetaFrom(ctx context.Context) Meta {
	m, _ := ctx.Value(metaKey{}).(Meta)
	return m
}

// LazyMeta is a context that finds the request's Meta when somebody asks: most
// calls have nothing to tell, and an id for nobody costs more than the check of
// their token.
type LazyMeta struct {
	context.Context //nolint:containedctx // it is a context itself
	// Find is called at most once, with the context below.
	Find func(context.Context) Meta

	once sync.Once
	meta Meta
}

// Value implements context.Context.
func (l *LazyMeta) Value(key any) any {
	if key != (metaKey{}) {
		return l.Context.Value(key)
	}
	l.once.Do(func() { l.meta = l.Find(l.Context) })
	return l.meta
}

// Interface guard
var _ context.Context = (*LazyMeta)(nil)
