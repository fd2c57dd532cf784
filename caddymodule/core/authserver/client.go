package authserver

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// Client is a registered client, whichever way it was registered.
type Client struct {
	// ID is the client identifier, byte for byte.
	ID string
	// Secret is set for confidential clients of the configuration; a dynamic
	// client's secret is derived when it is needed.
	Secret string
	// Name is what the client calls itself: hostile text unless Trusted.
	Name string
	// URI is the client's home page, https only, or empty.
	URI string
	// RedirectURIs are the registered redirect URIs.
	RedirectURIs []string
	// AuthMethod is one of the oauth.AuthMethod constants.
	AuthMethod string
	// GrantTypes are the grants that the client may use.
	GrantTypes []string
	// ApplicationType is "web", "native" or empty if it never said.
	ApplicationType string
	// Issued is when a dynamic client was registered.
	Issued time.Time
	// Trusted says that the operator vouches for the client.
	Trusted bool
}

// errUnknownClient says that no client has this id: it was never registered
// here, was tampered with, or its key was retired.
var errUnknownClient = errors.New("no client has this client_id")

// sealedClient is the text inside a dynamic client's id. The names are short
// because the id travels in URLs; the RFC 7591 names are in the comments.
type sealedClient struct {
	RedirectURIs    []string `json:"r"`           // redirect_uris
	Name            string   `json:"n,omitempty"` // client_name
	URI             string   `json:"u,omitempty"` // client_uri
	AuthMethod      string   `json:"m,omitempty"` // token_endpoint_auth_method, empty for none
	NoRefresh       bool     `json:"x,omitempty"` // grant_types without refresh_token
	ApplicationType string   `json:"t,omitempty"` // application_type
	Issued          int64    `json:"i"`           // client_id_issued_at
}

// sealClient makes the client_id that is the registration (DESIGN idea 1). It
// never expires: it is good while its sealing key is in the ring.
func (s *Server) sealClient(c Client) (string, error) {
	sc := sealedClient{
		RedirectURIs:    c.RedirectURIs,
		Name:            c.Name,
		URI:             c.URI,
		NoRefresh:       !slices.Contains(c.GrantTypes, oauth.GrantRefreshToken),
		ApplicationType: c.ApplicationType,
		Issued:          c.Issued.Unix(),
	}
	if c.AuthMethod != oauth.AuthMethodNone {
		sc.AuthMethod = c.AuthMethod
	}
	text, err := json.Marshal(sc)
	if err != nil {
		return "", fmt.Errorf("encoding a client: %w", err)
	}
	id, err := s.deps.Keys.Ring().Sealer.Seal(keys.PurposeClient, text, time.Time{})
	if err != nil {
		return "", fmt.Errorf("sealing a client: %w", err)
	}
	return id, nil
}

// client resolves a client_id: a client of the configuration, or one that is
// sealed in its own id. It returns errUnknownClient for everything else.
func (s *Server) client(id string) (Client, error) {
	if c, ok := s.clients[id]; ok {
		return c, nil
	}
	text, err := s.deps.Keys.Ring().Sealer.Open(keys.PurposeClient, id, s.now())
	if err != nil {
		return Client{}, errUnknownClient
	}
	var sc sealedClient
	if err := json.Unmarshal(text, &sc); err != nil {
		return Client{}, fmt.Errorf("%w: %w", errUnknownClient, err)
	}
	c := Client{
		ID:              id,
		Name:            sc.Name,
		URI:             sc.URI,
		RedirectURIs:    sc.RedirectURIs,
		AuthMethod:      sc.AuthMethod,
		GrantTypes:      []string{oauth.GrantAuthorizationCode},
		ApplicationType: sc.ApplicationType,
		Issued:          time.Unix(sc.Issued, 0),
	}
	if c.AuthMethod == "" {
		c.AuthMethod = oauth.AuthMethodNone
	}
	if !sc.NoRefresh {
		c.GrantTypes = append(c.GrantTypes, oauth.GrantRefreshToken)
	}
	return c, nil
}

// clientSecret returns the secret of a confidential client. A dynamic client's
// is derived from its id under the key that sealed it, and never stored.
func (s *Server) clientSecret(c Client) (string, error) {
	if c.Secret != "" {
		return c.Secret, nil
	}
	secret, err := s.deps.Keys.Ring().Sealer.Companion(keys.PurposeClientSecret, c.ID)
	if err != nil {
		return "", fmt.Errorf("deriving a client secret: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(secret), nil
}

// mayRefresh reports whether the client gets refresh tokens.
func (c Client) mayRefresh() bool { return slices.Contains(c.GrantTypes, oauth.GrantRefreshToken) }

// redirectURI returns the redirect URI to use for a request: the requested one
// if it is registered, or the only registered one if none was requested
// (OAuth 2.1 §2.3.1, §2.3.2).
func (c Client) redirectURI(requested string, schemes []string) (string, error) {
	if requested == "" {
		if len(c.RedirectURIs) != 1 {
			return "", errors.New("the request has no redirect_uri, and the program registered more than one")
		}
		requested = c.RedirectURIs[0]
	}
	if err := oauth.CheckRedirectURI(requested, schemes); err != nil {
		return "", fmt.Errorf("the redirect_uri of the request %w", err)
	}
	for _, registered := range c.RedirectURIs {
		if oauth.MatchRedirectURI(registered, requested) {
			return requested, nil
		}
	}
	return "", errors.New("the redirect_uri of the request is not one that the program registered")
}

// redirectTrusted reports whether an error may be sent to the redirect URI
// without a person's click: it is a listener of this machine, or the operator
// vouches for the client. Anything else would make this an open redirector
// (OAuth 2.1 §7.12.2), for private-use schemes one into programs: whoever
// registers chooses host, path and query, and links such as
// cursor://…/mcp/install do something.
func (c Client) redirectTrusted(uri string) bool {
	return c.Trusted || oauth.IsLoopbackRedirect(uri)
}
