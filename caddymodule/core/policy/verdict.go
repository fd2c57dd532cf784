package policy

import (
	"net/netip"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// Caller is who makes a call: what its token says, and where it comes from.
type Caller struct {
	// Subject is the user's id as in the token.
	Subject string
	// Email counts only where it is Verified.
	Email         string
	EmailVerified bool
	// Groups are the user's; GroupsUnknown says that there may be more.
	Groups        []string
	GroupsUnknown bool
	// ClientID is the OAuth client.
	ClientID string
	// Login is the id of the way in which the user signed in.
	Login string
	// AuthTime is when; zero if nobody knows.
	AuthTime time.Time
	// Scopes are the token's.
	Scopes oauth.Scope
	// Remote is the address of the client; invalid if unknown.
	Remote netip.Addr
}

// Outcome is what is to be done with a call.
type Outcome uint8

// The outcomes.
const (
	// Allowed calls go on.
	Allowed Outcome = iota + 1
	// Denied calls are refused, whatever scope the client asks for.
	Denied
	// StepUp calls are refused until the token has Verdict.Scopes.
	StepUp
)

// Verdict is the decision about one message.
type Verdict struct {
	Outcome Outcome
	// Rule names the rule that decided, for logs and metrics: its target as it was
	// configured, such as "tool refund", or "default", or "protocol" for what MCP
	// itself cannot do without.
	Rule string
	// Scopes are all scopes that the operation needs, in the order of the rule, those
	// that the token has among them. An allowed operation has them too: if another one
	// of its call needs more, the client must not come back without these. Denied has
	// none.
	Scopes oauth.Scope
	// Reason is for the caller: what is missing, and what to do, without a name
	// from the configuration. Empty for Allowed.
	Reason string
	// Fields are the arguments that the rule wants in the audit log.
	Fields []string
}
