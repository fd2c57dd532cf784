package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/policy"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/trust"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler protects an MCP server: it lets a request pass only with an access
// token for this resource, of the `mcp_auth` app or of an issuer that it
// trusts. It also answers the resource's metadata and, where resource and issuer
// share an origin, the endpoints of the authorization server.
//
// A request with a good token has these placeholders, as with Caddy's own
// authentication, also in the expressions of rules:
//
// Placeholder | Description
// ------------|------------
// `{http.auth.user.id}` | The user: the token's `sub`
// `{http.auth.user.email}` | The user's e-mail address, if known
// `{http.auth.user.name}` | The user's full name, if known
// `{http.auth.user.client_id}` | The OAuth client
// `{http.auth.user.scope}` | The token's scope, space-separated
// `{http.auth.user.groups}` | The user's groups that the token names, joined by commas; in a name, a comma is `%2C` and a percent sign `%25`
// `{http.auth.user.grant_id}` | The grant: one approval of one client
//
// The client's `Authorization` header never reaches the upstream server.
type Handler struct {
	// The URLs of the MCP server's endpoints, as people type them into their
	// clients. Several are one server with several transports: a token for any
	// of them opens them all. Placeholders are replaced when the configuration
	// is loaded. Default: the issuer followed by `/mcp`, on the issuer's own
	// host only; every other site needs its own. Example:
	// `["https://mcp.example.com/mcp", "https://mcp.example.com/sse"]`
	Resource []string `json:"resource,omitempty"`

	// What the server is called in its metadata and on pages. Default: none.
	Name string `json:"name,omitempty"`

	// An https URL with documentation for developers. Default: none.
	Documentation string `json:"documentation,omitempty"`

	// The paths that need a token: exact, or everything below with a trailing
	// `/*`. Matching errs on the side of protection. Default: every path.
	Paths []string `json:"paths,omitempty"`

	// The paths that need none: exact, or everything below with a trailing
	// `/*`, in plain spelling only. Default: none.
	Public []string `json:"public,omitempty"`

	// The scopes for basic use: what a client is told to ask for, and what it
	// gets if it asks for none. Default: `["mcp:tools:read",
	// "mcp:tools:execute"]`
	Scopes []string `json:"scopes,omitempty"`

	// Scopes that are granted besides, to clients that ask for them: after a
	// refusal that names them, or because they know them. None of them is listed
	// in metadata, or clients would ask for all of them at once. Default: none.
	// Example: `["tickets:refund"]`
	StepUpScopes []string `json:"step_up_scopes,omitempty"`

	// What the scopes mean, in words for the people who are asked, by scope.
	// Default: words for the default scopes, and for others their name.
	// Example: `{"tickets:read": "Read your tickets"}`
	ScopeDescriptions map[string]string `json:"scope_descriptions,omitempty"`

	// Who may use this resource, besides the rules of the `mcp_auth` app, which
	// apply too. Default: everyone whom those let in.
	Rules login.Rules `json:"rules,omitzero"`

	// Who may call what. Default: with a good token, everything.
	Policy policy.Config `json:"policy,omitzero"`

	// Origins from which scripts in a browser may call, besides the resource's
	// own; `*` means all. Example: `["http://localhost:6274"]` for MCP
	// Inspector. Default: none.
	TrustedOrigins []string `json:"trusted_origins,omitempty"`

	// The request headers that tell the upstream server who calls. Whatever a
	// client sends under these names, in any spelling, is removed first.
	IdentityHeaders IdentityHeadersConfig `json:"identity_headers,omitzero"`

	// Tells the upstream server who calls in a signed JWT as well. It needs the
	// `mcp_auth` app. Default: off.
	Assertion *AssertionConfig `json:"assertion,omitempty"`

	// Credentials for the upstream server: headers that every request with a good
	// token gets. Placeholders such as `{env.KEY}` and `{file./run/secrets/key}` are
	// replaced when the configuration is loaded. A client's header of the same name
	// never passes. Default: none. Example: `{"Authorization": "Bearer {env.KEY}"}`
	UpstreamHeaders map[string]string `json:"upstream_headers,omitempty"`

	// The largest request body, in bytes; a negative value means no limit.
	// Default: 16777216 (16 MiB)
	MaxBody int64 `json:"max_body,omitempty"`

	// How many calls of one grant may be in progress at once, open streams
	// included; of one user where a token is no grant's. Default: 128
	MaxCalls int `json:"max_calls,omitempty"`

	// How many streams one user may have open at once, with all programs
	// together: those of GET, and of `subscriptions/listen`. Default: no limit but
	// that of `max_calls` for each grant.
	MaxStreams int `json:"max_streams,omitempty"`

	// The largest message that is read because rules or the assertion depend on
	// it, in bytes; a negative value means no limit but `max_body`. Default: 4194304
	// (4 MiB)
	MaxMessage int64 `json:"max_message,omitempty"`

	// How many requests a user and a client may send. Each node counts its own.
	// Default: no limit.
	RateLimits RateLimitsConfig `json:"rate_limits,omitzero"`

	// Accepts personal access tokens, which people make on their account page, and
	// operators with `caddy mcp-token`. Default: no.
	PersonalTokens bool `json:"personal_access_tokens,omitempty"`

	// Writes a line for every call, also where the resource has no rules.
	// Default: calls are written where there are rules.
	Audit bool `json:"audit,omitempty"`

	// Identity providers whose access tokens are good here as well. With at
	// least one, the `mcp_auth` app may be missing: then `resource` is required,
	// the scopes default to none, and nobody signs in here. Default: none.
	Trust []TrustConfig `json:"trust,omitempty"`

	back    *backing
	trusted []*trust.Issuer
	guard   *resource.Guard
	origin  string         // of the resource
	host    bool           // the authorization server answers here too
	bare    bool           // the resource is the default one
	rules   *policy.Policy // nil without rules
	reads   bool           // something depends on what a call says
	// policyGroups is oauth.GroupsOf of the groups that rules name.
	policyGroups string
	limits       *rateLimits
	limitsKey    string // of limits in their pool

	// What is told to the server behind, see identify and setAssertion.
	names       *resource.IdentityHeaders
	asserts     *asserter // nil if off
	credentials []upstreamHeader

	auditCalls bool // every call is told of, and not only what is refused
}

const (
	defaultMaxBody    = 16 << 20
	defaultMaxMessage = 4 << 20
	defaultMaxCalls   = 128
)

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.mcp_auth",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision checks the options and adds the resource to the app.
func (h *Handler) Provision(ctx caddy.Context) error {
	var err error
	if h.back, err = newBacking(ctx, len(h.Trust) > 0); err != nil {
		return err
	}
	if err := h.setDefaults(); err != nil {
		return err
	}
	if err := h.provisionLimits(); err != nil {
		return err
	}
	if err := h.provisionIdentity(); err != nil {
		return err
	}
	trusted, err := h.provisionTrust()
	if err != nil {
		return err
	}
	if err := h.provisionPolicy(ctx); err != nil {
		return err
	}
	kinds, err := h.kinds(trusted)
	if err != nil {
		return err
	}
	h.guard, err = resource.NewGuard(resource.Config{
		URIs:                 h.Resource,
		Scopes:               h.Scopes,
		Name:                 h.Name,
		Documentation:        h.Documentation,
		AuthorizationServers: h.back.authorizationServers(h.issuers()),
		Paths:                h.Paths,
		Public:               h.Public,
		TrustedOrigins:       h.TrustedOrigins,
	}, h.back.revoked, kinds...)
	if err != nil {
		return err
	}
	h.origin = oauth.OriginOf(h.Resource[0])
	for _, uri := range h.Resource[1:] {
		if oauth.OriginOf(uri) != h.origin {
			return fmt.Errorf("resource %s and %s are on different hosts: one mcp_auth protects one server", h.Resource[0], uri)
		}
	}
	h.host = h.back.issuer != "" && h.origin == oauth.OriginOf(h.back.issuer)
	return h.back.resources.add(protected{
		Resource: h.described(),
		guard:    h.guard,
		options:  h.enforced(),
	})
}

func (h *Handler) setDefaults() error {
	if h.bare = len(h.Resource) == 0; h.bare {
		if h.back.issuer == "" {
			return errors.New("without the mcp_auth app, the resource option is required: the URL that people type into their clients")
		}
		h.Resource = []string{oauth.OriginOf(h.back.issuer) + "/mcp"}
	}
	repl := caddy.NewReplacer()
	for i, uri := range h.Resource {
		replaced, err := repl.ReplaceOrErr(uri, true, true)
		if err != nil {
			return err
		}
		h.Resource[i] = replaced
	}
	if len(h.Scopes) == 0 && h.back.issuer != "" {
		h.Scopes = authserver.DefaultScopes
	}
	if err := h.checkScopes(); err != nil {
		return err
	}
	if h.MaxBody == 0 {
		h.MaxBody = defaultMaxBody
	}
	if h.MaxMessage == 0 {
		h.MaxMessage = defaultMaxMessage
	}
	if h.MaxCalls <= 0 {
		h.MaxCalls = defaultMaxCalls
	}
	if u, err := url.Parse(h.Documentation); h.Documentation != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		return fmt.Errorf("documentation %q must be an https URL", h.Documentation)
	}
	return nil
}

// ServeHTTP answers what belongs to the gateway and lets the rest pass, or not.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	c := newCall(r)
	if resource.HasAccessToken(r.URL.RawQuery) {
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	}
	if earlyData(r) {
		return h.refuse(c, w, r, resource.Decision{Deny: tooEarly})
	}
	path := r.URL.Path
	switch {
	case path == oauth.WellKnownResource || strings.HasPrefix(path, oauth.WellKnownResource+"/"):
		if h.strayed(r) {
			return h.refuse(c, w, r, resource.Decision{Deny: misdirected})
		}
		h.observe(r, oauth.Event{Kind: oauth.EventRequest, Reason: oauth.WellKnownResource}, nil)
		h.serveMetadata(w, r, strings.TrimPrefix(path, oauth.WellKnownResource))
		return nil
	case h.host:
		server, err := h.back.server()
		if err != nil {
			return caddyhttp.Error(http.StatusServiceUnavailable, err)
		}
		if server.Owns(path) {
			serveAuth(server, w, r)
			return nil
		}
	case strings.HasPrefix(path, oauth.WellKnownServer), strings.HasPrefix(path, oauth.WellKnownOpenID):
		h.observe(r, oauth.Event{Kind: oauth.EventRequest, Code: "not_found", Status: http.StatusNotFound}, nil)
		writeJSONError(w, http.StatusNotFound, "not_found", "the authorization server is "+h.guard.Metadata(h.Resource[0]).AuthorizationServers[0])
		return nil
	}
	if h.strayed(r) {
		return h.refuse(c, w, r, resource.Decision{Deny: misdirected})
	}
	d := h.guard.Check(r)
	switch {
	case d.Deny != nil:
		return h.refuse(c, w, r, d)
	case d.Preflight:
		preflight(w, r, d.AllowOrigin)
		return nil
	case h.tooLong(w, r):
		d.Deny = &resource.Denial{
			Status: http.StatusRequestEntityTooLarge, Code: oauth.CodeInvalidRequest,
			Description: fmt.Sprintf("the body is longer than %d bytes", h.MaxBody), Cause: errors.New("max_body exceeded"), Token: d.Token,
		}
		return h.refuse(c, w, r, d)
	case d.Open:
		return h.passOpen(c, w, r, d, next)
	}
	return h.pass(c, w, r, d, next)
}

// strayed reports whether a request came to another host than the default
// resource's: a second site without a resource of its own, which would share
// tokens with the first one. The authorization server answers there all the
// same, so that a health probe may use an address.
func (h *Handler) strayed(r *http.Request) bool { return h.bare && !sameHost(h.origin, r.Host) }

// tooLong reports whether the body is known to be too long, and sees to it that
// no more than max_body is read where that is not known: a server reads no more
// than the length that was announced.
func (h *Handler) tooLong(w http.ResponseWriter, r *http.Request) bool {
	if h.MaxBody < 0 {
		return false
	}
	if r.ContentLength < 0 {
		r.Body = &limitedBody{http.MaxBytesReader(w, r.Body, h.MaxBody)}
	}
	return r.ContentLength > h.MaxBody
}

// observe tells of a step. What the line is to say is found out if it is written.
func (h *Handler) observe(r *http.Request, e oauth.Event, t *resource.Token) {
	if e.Kind == oauth.EventCall {
		h.auditCall(r, e, t)
		return
	}
	line := h.back.observer.note(r.Context(), e)
	if line == nil {
		return
	}
	e.Resource = h.Resource[0]
	e.Meta = oauth.MetaFrom(r.Context())
	if t != nil {
		e.ClientID, e.ClientName, e.Subject, e.Scope, e.GrantID = t.ClientID, t.ClientName, t.Subject, t.Scope, t.GrantID
	}
	line.Write(fields(e)...)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
