package oauth

// AssertionType is the typ header of the assertions that tell the server behind
// the gateway who calls. It differs from AccessTokenType, so that neither passes
// for the other (RFC 8725 §3.11).
const AssertionType = "mcp-assertion+jwt"

// AssertionClaims are the claims of such an assertion. Times are seconds since
// the epoch. What is not known is left out.
type AssertionClaims struct {
	// Issuer is the gateway's, also for users of an issuer that it trusts: their
	// Subject begins with that issuer and "|".
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Subject  string `json:"sub"`
	ClientID string `json:"client_id,omitempty"`
	Scope    string `json:"scope,omitempty"`
	// Resource is the canonical URI of the resource that was called.
	Resource string `json:"resource"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	// JWTID is the id of the request, as logs have it.
	JWTID string `json:"jti"`

	Name          string `json:"name,omitempty"`
	Email         string `json:"email,omitempty"`
	EmailVerified bool   `json:"email_verified,omitempty"`
	// Groups are the user's groups; GroupsUnknown says that there may be more.
	Groups        []string `json:"groups,omitempty"`
	GroupsUnknown bool     `json:"groups_unknown,omitempty"`
	// Login is the id of the way in which the user signed in, and GrantID the
	// approval of the client.
	Login   string `json:"login,omitempty"`
	GrantID string `json:"grant_id,omitempty"`

	// What is called, where the gateway read the call: the JSON-RPC method, and the
	// tool, the prompt or the resource that it names.
	Method string `json:"method,omitempty"`
	Tool   string `json:"tool,omitempty"`
	Prompt string `json:"prompt,omitempty"`
	URI    string `json:"uri,omitempty"`
}
