package authserver

import (
	"encoding/base64"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/clients"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// This file implements dynamic client registration, RFC 7591. Left out: software
// statements (ignored, as §2.3 allows), and members that nothing here uses
// (logo_uri, tos_uri, policy_uri, contacts, software_id …): they are not
// registered and so not echoed.

const (
	maxClientName = 100 // runes
	maxClientURI  = 256 // bytes
)

// registrationRequest is the client metadata of RFC 7591 §2, as far as it is
// used. Unknown members are ignored.
type registrationRequest struct {
	RedirectURIs            jsontext.Value `json:"redirect_uris"`
	TokenEndpointAuthMethod string         `json:"token_endpoint_auth_method"`
	GrantTypes              []string       `json:"grant_types"`
	ResponseTypes           []string       `json:"response_types"`
	ClientName              string         `json:"client_name"`
	ClientURI               string         `json:"client_uri"`
	Scope                   string         `json:"scope"`
	ApplicationType         string         `json:"application_type"`
	JWKS                    jsontext.Value `json:"jwks"`
	JWKSURI                 string         `json:"jwks_uri"`
	SoftwareStatement       string         `json:"software_statement"`

	// What only an update looks at (RFC 7592 §2.2).
	ClientID                jsontext.Value `json:"client_id"`
	ClientSecret            jsontext.Value `json:"client_secret"`
	ClientSecretExpiresAt   jsontext.Value `json:"client_secret_expires_at"`
	ClientIDIssuedAt        jsontext.Value `json:"client_id_issued_at"`
	RegistrationClientURI   jsontext.Value `json:"registration_client_uri"`
	RegistrationAccessToken jsontext.Value `json:"registration_access_token"`
}

func (s *Server) serveRegister(w http.ResponseWriter, r *http.Request) {
	info, err := s.registerRequest(w, r)
	e := oauth.Event{Kind: oauth.EventRegister, Err: err, Status: http.StatusCreated}
	if err != nil {
		e.Code, e.Status = s.writeError(w, err)
		s.observe(r, e)
		return
	}
	e.ClientID, e.ClientName, e.Scope = info.ClientID, info.ClientName, info.Scope
	s.observe(r, e)
	noStore(w)
	writeJSON(w, http.StatusCreated, info)
}

func (s *Server) registerRequest(w http.ResponseWriter, r *http.Request) (*oauth.ClientInformation, error) {
	if err := s.bounded(w, r, s.registrations); err != nil {
		return nil, err
	}
	if err := s.checkInitialAccess(w, r); err != nil {
		return nil, err
	}
	req, err := readMetadata(w, r)
	if err != nil {
		return nil, err
	}
	c, err := s.clientMetadata(req)
	if err != nil {
		return nil, err
	}
	if c.ID, err = s.sealClient(c); err != nil {
		return nil, err
	}
	return s.clientInformation(c)
}

// readMetadata reads client metadata from a request's body.
func readMetadata(w http.ResponseWriter, r *http.Request) (registrationRequest, error) {
	var req registrationRequest
	if mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mt != "application/json" {
		return req, oauth.Errorf(oauth.CodeInvalidClientMetadata, "send the client metadata as application/json (RFC 7591 section 3.1)")
	}
	body, err := readBody(w, r)
	if err != nil {
		return req, err
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return req, oauth.Errorf(oauth.CodeInvalidClientMetadata, "the body is not a JSON object of client metadata with unique names and the types of RFC 7591 section 2").WithCause(err)
	}
	return req, nil
}

// checkInitialAccess demands the initial access token where one is configured
// (RFC 7591 §3).
func (s *Server) checkInitialAccess(w http.ResponseWriter, r *http.Request) error {
	want := s.cfg.Registration.AccessToken
	if want == "" {
		return nil
	}
	token, sent := bearer(r)
	if !sent {
		w.Header().Set("WWW-Authenticate", "Bearer")
		return oauth.Errorf(oauth.CodeInvalidToken, "registration here needs an initial access token: ask the operator for one")
	}
	if !sameSecret(token, want) {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		return oauth.Errorf(oauth.CodeInvalidToken, "this is not the initial access token")
	}
	return nil
}

// bearer returns the bearer token of a request (RFC 6750 §2.1) and whether one
// was sent. Two of them are none that is any good.
func bearer(r *http.Request) (token string, sent bool) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return "", false
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if len(headers) > 1 {
		return "", true
	}
	return token, strings.EqualFold(scheme, "Bearer")
}

// clientMetadata checks the metadata and fills in what was left out: everything
// about a dynamic client but its id.
func (s *Server) clientMetadata(req registrationRequest) (Client, error) {
	uris, err := s.registerRedirectURIs(req)
	if err != nil {
		return Client{}, err
	}
	c := Client{
		Origin:       ClientDynamic,
		Name:         cleanName(req.ClientName),
		URI:          cleanURI(req.ClientURI),
		RedirectURIs: uris,
		Issued:       s.now(),
	}
	if c.ApplicationType, err = applicationType(req.ApplicationType, uris); err != nil {
		return Client{}, err
	}
	if err = takeAuthMethod(&c, req); err != nil {
		return Client{}, err
	}
	if c.AuthMethod == oauth.AuthMethodNone && clients.NeedSecret(uris) {
		// RFC 7591 §3.2.1 lets a server replace what was asked for. These know
		// client_secret_post only.
		c.AuthMethod = oauth.AuthMethodPost
	}
	if c.GrantTypes, err = grantTypes(req); err != nil {
		return Client{}, err
	}
	if c.Wish, err = s.registerScope(req.Scope); err != nil {
		return Client{}, err
	}
	return c, checkSoftwareStatement(req.SoftwareStatement)
}

// clientInformation is the answer of RFC 7591 §3.2.1.
func (s *Server) clientInformation(c Client) (*oauth.ClientInformation, error) {
	info := &oauth.ClientInformation{
		ClientID:                c.ID,
		ClientIDIssuedAt:        c.Issued.Unix(),
		ClientName:              c.Name,
		ClientURI:               c.URI,
		RedirectURIs:            c.RedirectURIs,
		GrantTypes:              c.GrantTypes,
		ResponseTypes:           []string{"code"},
		TokenEndpointAuthMethod: c.AuthMethod,
		ApplicationType:         c.ApplicationType,
		Scope:                   s.told(c.Wish).String(),
		JWKS:                    c.JWKS,
		JWKSURI:                 c.JWKSURI,
	}
	if err := s.addManagement(info, c.Version); err != nil {
		return nil, oauth.Unavailable(err)
	}
	if c.hasSecret() {
		secret, err := s.clientSecret(c)
		if err != nil {
			return nil, oauth.Unavailable(err)
		}
		never := int64(0)
		info.ClientSecret, info.ClientSecretExpiresAt = secret, &never
	}
	return info, nil
}

// registerRedirectURIs returns the redirect URIs that can be registered, by the
// policy.
func (s *Server) registerRedirectURIs(req registrationRequest) ([]string, error) {
	var uris []string
	if err := json.Unmarshal(req.RedirectURIs, &uris); err != nil {
		return nil, oauth.Errorf(oauth.CodeInvalidRedirectURI, "redirect_uris must be a list of at least one URI")
	}
	return s.cfg.Registration.redirects().Select(uris)
}

// applicationType applies OpenID Connect Dynamic Client Registration §2: a web
// client has no loopback redirect URI. A client that never said is not taken
// for web, and one that lists a private-use scheme is native whatever it said,
// because MCP clients mix both in one registration.
func applicationType(asked string, uris []string) (string, error) {
	private, loopback := false, false
	for _, uri := range uris {
		private = private || !strings.HasPrefix(uri, "http")
		loopback = loopback || oauth.IsLoopbackRedirect(uri) || isLoopbackHTTPS(uri)
	}
	switch {
	case asked != "" && asked != oauth.ApplicationWeb && asked != oauth.ApplicationNative:
		return "", oauth.Errorf(oauth.CodeInvalidClientMetadata, "application_type must be web or native")
	case private, asked == "" && loopback:
		return oauth.ApplicationNative, nil
	case asked == oauth.ApplicationWeb && loopback:
		return "", oauth.Errorf(oauth.CodeInvalidRedirectURI, "a client of application_type web can't have a redirect URI on localhost: register as native")
	}
	return asked, nil
}

func isLoopbackHTTPS(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && oauth.IsLoopbackHost(u.Host)
}

// takeAuthMethod takes over the method, and the keys that go with it. RFC 7591 §2
// makes client_secret_basic the default; this server replaces it by none and says
// so in the answer, because MCP clients that name no method are public. Keys that
// no method uses are not registered.
func takeAuthMethod(c *Client, req registrationRequest) error {
	if len(req.JWKS) > 0 && string(req.JWKS) != "null" && req.JWKSURI != "" {
		return oauth.Errorf(oauth.CodeInvalidClientMetadata, "jwks and jwks_uri exclude each other (RFC 7591 section 2)")
	}
	c.AuthMethod = req.TokenEndpointAuthMethod
	switch c.AuthMethod {
	case "":
		c.AuthMethod = oauth.AuthMethodNone
	case oauth.AuthMethodNone, oauth.AuthMethodPost, oauth.AuthMethodBasic:
	case oauth.AuthMethodPrivateKeyJWT:
		if err := takeKeys(c, req.JWKS, req.JWKSURI); err != nil {
			return oauth.Errorf(oauth.CodeInvalidClientMetadata, "the client can't be registered: %v", err)
		}
	default:
		return oauth.Errorf(oauth.CodeInvalidClientMetadata, "token_endpoint_auth_method is not supported: use %s, %s, %s or %s",
			oauth.AuthMethodNone, oauth.AuthMethodPost, oauth.AuthMethodBasic, oauth.AuthMethodPrivateKeyJWT)
	}
	return nil
}

// grantTypes keeps what this server has and leaves out the rest, which the
// answer shows (RFC 7591 §3.2.1). Omitted means both.
func grantTypes(req registrationRequest) ([]string, error) {
	if len(req.ResponseTypes) > 0 && !slices.Contains(req.ResponseTypes, "code") {
		return nil, oauth.Errorf(oauth.CodeInvalidClientMetadata, "response_types must contain code")
	}
	both := []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}
	if len(req.GrantTypes) == 0 {
		return both, nil
	}
	if !slices.Contains(req.GrantTypes, oauth.GrantAuthorizationCode) {
		return nil, oauth.Errorf(oauth.CodeInvalidClientMetadata, "grant_types must contain authorization_code")
	}
	return slices.DeleteFunc(both, func(g string) bool { return !slices.Contains(req.GrantTypes, g) }), nil
}

// registerScope reads a wish: what the client may ask for later is limited by
// the configuration and not by what it registered. It returns nil for
// those for basic use.
func (s *Server) registerScope(wish string) (oauth.Scope, error) {
	asked, ok := oauth.ParseScope(wish)
	if !ok {
		return nil, oauth.Errorf(oauth.CodeInvalidClientMetadata, "scope has a character that RFC 6749 section 3.3 does not allow")
	}
	known := asked.Intersect(s.unvetted(s.cfg.allScopes()))
	if basic := s.unvetted(s.cfg.basicScopes()); len(known) == len(basic) && basic.ContainsAll(known) {
		return nil, nil // it is told these anyway, and their successors
	}
	return known, nil
}

// told is the scope that a client with this wish is told, in the configuration
// of now.
func (s *Server) told(wish oauth.Scope) oauth.Scope {
	if known := wish.Intersect(s.unvetted(s.cfg.allScopes())); len(known) > 0 {
		return known
	}
	return s.unvetted(s.cfg.basicScopes())
}

// checkSoftwareStatement refuses what is not even shaped like one; others are
// ignored (RFC 7591 §2.3).
func checkSoftwareStatement(statement string) error {
	if statement == "" {
		return nil
	}
	head, rest, _ := strings.Cut(statement, ".")
	if raw, err := base64.RawURLEncoding.DecodeString(head); err == nil && jsontext.Value(raw).IsValid() && strings.Count(rest, ".") == 1 {
		return nil
	}
	return oauth.Errorf(oauth.CodeInvalidSoftwareStmt, "software_statement is not a JWT")
}

// cleanName makes a name fit to be shown: no control, format or surrogate
// characters (which include bidirectional overrides), single spaces, bounded.
func cleanName(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, name)
	runes := []rune(strings.Join(strings.Fields(name), " "))
	if len(runes) > maxClientName {
		runes = append(runes[:maxClientName-1], '…')
	}
	return string(runes)
}

// cleanURI drops a client_uri that is not a short https URI: it is never
// fetched, and shown as text only.
func cleanURI(uri string) string {
	if len(uri) > maxClientURI || !strings.HasPrefix(uri, "https://") || oauth.CheckRedirectURI(uri, nil) != nil {
		return ""
	}
	return uri
}
