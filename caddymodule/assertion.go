package caddymodule

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

const (
	defaultAssertionHeader = "X-Mcp-Assertion"
	maxAssertionLifetime   = time.Minute

	// maxAsserted is the longest name of a tool or a prompt, or URI of a resource,
	// that is asserted, in bytes: servers take headers of a few KiB.
	maxAsserted = 2 << 10
)

// AssertionConfig has every request tell the upstream server who calls in a
// signed JWT, which nobody can make up who gets around the gateway. Its keys are
// in the JWK set of the authorization server.
type AssertionConfig struct {
	// The request header. Whatever a client sends under this name is removed.
	// Default: `X-Mcp-Assertion`
	Header string `json:"header,omitempty"`
	// How long it is good, up to a minute, and never longer than the access token.
	// Default: 60s
	Lifetime caddy.Duration `json:"lifetime,omitempty"`
	// Its `aud` claim. Default: the URL of the resource. Example:
	// `https://tickets.internal`
	Audience string `json:"audience,omitempty"`
}

// asserter makes the assertions of a handler.
type asserter struct {
	header   string
	audience string // empty for the resource
	lifetime time.Duration
	issuer   string
	now      func() time.Time
	sign     func(*oauth.AssertionClaims) (string, error)
}

// provisionAssertion returns nil where assertions are off.
func (h *Handler) provisionAssertion(used headerNames) (*asserter, error) {
	c := h.Assertion
	if c == nil {
		return nil, nil //nolint:nilnil // off
	}
	if h.back.sign == nil {
		return nil, errors.New("assertion needs the global option mcp_auth: its key ring signs, and its issuer publishes the keys")
	}
	a := &asserter{
		header: c.Header, audience: c.Audience, lifetime: time.Duration(c.Lifetime),
		issuer: h.back.issuer, now: h.back.now, sign: h.back.sign,
	}
	if a.header == "" {
		a.header = defaultAssertionHeader
	}
	if a.lifetime == 0 {
		a.lifetime = maxAssertionLifetime
	}
	if a.lifetime < time.Second || a.lifetime > maxAssertionLifetime {
		return nil, fmt.Errorf("assertion: a lifetime of %s is not between 1s and %s", a.lifetime, maxAssertionLifetime)
	}
	var err error
	a.header, err = used.add("assertion", a.header)
	return a, err
}

// setAssertion adds the signed assertion to a request that was sanitized. The
// message is what was read of the call: nil where nobody read it, and for a batch
// of several messages, whose calls are left out. Without error the request has
// one assertion, or assertions are off; with one it must not pass.
func (h *Handler) setAssertion(r *http.Request, t *resource.Token, m *mcp.Message) error {
	a := h.asserts
	if a == nil {
		return nil
	}
	now := a.now()
	claims := assertionOf(t)
	claims.Issuer, claims.IssuedAt = a.issuer, now.Unix()
	claims.Expires = min(now.Add(a.lifetime).Unix(), t.ExpiresAt().Unix())
	if a.audience != "" {
		claims.Audience = a.audience
	}
	if claims.JWTID = oauth.MetaFrom(r.Context()).RequestID; claims.JWTID == "" {
		claims.JWTID = rand.Text()
	}
	if m != nil {
		assertCall(&claims, m)
	}
	signed, err := a.sign(&claims)
	if err != nil {
		return fmt.Errorf("signing the assertion: %w", err)
	}
	r.Header[a.header] = []string{signed}
	return nil
}

// assertionOf takes over what a token says.
func assertionOf(t *resource.Token) oauth.AssertionClaims {
	c := oauth.AssertionClaims{
		Audience: t.Audience, Resource: t.Audience, Subject: t.Subject, ClientID: t.ClientID, Scope: t.Scope,
		Name: t.Name, Email: t.Email, EmailVerified: t.EmailVerified,
		Groups: t.Groups, GroupsUnknown: t.GroupsUnknown, Login: t.Login, GrantID: t.GrantID,
	}
	size := 0
	for _, group := range t.Groups {
		size += len(group) + len(`"",`)
	}
	if size > resource.MaxIdentityHeader {
		c.Groups, c.GroupsUnknown = nil, true
	}
	return c
}

// assertCall says what is called.
func assertCall(c *oauth.AssertionClaims, m *mcp.Message) {
	c.Method = asserted(m.Method)
	if m.Method == mcp.MethodCallTool {
		c.Tool = asserted(m.Name)
	} else {
		c.Prompt = asserted(m.Name)
	}
	if len(m.URIs) == 1 {
		c.URI = asserted(m.URIs[0])
	}
}

// asserted leaves out what is too long for a header.
func asserted(s string) string {
	if len(s) > maxAsserted {
		return ""
	}
	return s
}

// unasserted is the answer to a call that could not be signed.
func unasserted(d resource.Decision, err error) resource.Decision {
	d.Deny = &resource.Denial{
		Status: http.StatusServiceUnavailable, Code: oauth.CodeTemporarilyUnavailable,
		Description: "the call can't be passed on at the moment: try again", Cause: err, Token: d.Token,
	}
	return d
}
