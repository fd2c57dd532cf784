package authserver

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// ClientOrigin is where a client's registration comes from, which decides how
// far its word goes.
type ClientOrigin int

// The origins of clients.
const (
	// ClientConfigured is registered by the operator, who vouches for its name
	// and its redirect URIs.
	ClientConfigured ClientOrigin = iota
	// ClientDynamic registered itself (RFC 7591): all of it is hostile text.
	ClientDynamic
	// ClientDocument is described by the document at its client_id: whoever
	// controls that URL vouches for it, and the rest is hostile text.
	ClientDocument
)

// Client is a registered client, whichever way it was registered.
type Client struct {
	// ID is the client identifier, byte for byte.
	ID string
	// Origin says where the registration comes from.
	Origin ClientOrigin
	// Secret and SecretHash are set for confidential clients of the
	// configuration, one of the two; a dynamic client's secret is derived when it
	// is needed.
	Secret, SecretHash string
	// JWKS are the public keys of a private_key_jwt client, or JWKSURI is where
	// they are published: never both (RFC 7591 §2).
	JWKS    json.RawMessage
	JWKSURI string
	// Name is what the client calls itself: hostile text unless it is configured.
	Name string
	// URI is the client's home page, LogoURI its picture; https only, or empty.
	URI, LogoURI string
	// RedirectURIs are the registered redirect URIs.
	RedirectURIs []string
	// AuthMethod is one of the oauth.AuthMethod constants.
	AuthMethod string
	// AlsoPublic says that the client's document allows method none beside
	// AuthMethod: it authenticates when it presents something.
	AlsoPublic bool
	// AnySecretMethod says that the operator named no method: the client may send
	// its secret in either way, whatever AuthMethod says. Programs choose, and
	// people who write a configuration can't know which.
	AnySecretMethod bool
	// GrantTypes are the grants that the client may use.
	GrantTypes []string
	// ApplicationType is "web", "native" or empty if it never said.
	ApplicationType string
	// Wish are the scopes that a dynamic client said it would ask for: told back to
	// it, and no limit. Nil: those for basic use.
	Wish oauth.Scope
	// Scopes are the scopes that it may have at most. Nil: what every client may.
	Scopes oauth.Scope
	// Resources are the audiences that it may ask for. Nil: all.
	Resources []string
	// Issued is when a dynamic client was registered.
	Issued time.Time
	// Version counts the changes of a dynamic client (RFC 7592), 0 for none.
	Version uint64
	// Trusted says that people need not be asked: the operator's word.
	Trusted bool
	// Introspects says that it may ask about tokens of its Resources (RFC 7662).
	Introspects bool

	// restored is the hash of the whole metadata, for a client that was restored
	// from what a code or a grant keeps of them.
	restored string
	// gone says that the document is no more, by its own host.
	gone bool
	// idle says that the token of the request is one of ours whose grant is no
	// more, or of another client: there is nothing to do for the client.
	idle bool
}

var (
	// errUnknownClient says that no client has this id: it was never registered
	// here, was tampered with, was deleted, or its key was retired.
	errUnknownClient = errors.New("no client has this client_id")
	// errDocument says that the client_id is the URL of a metadata document that
	// can't be fetched or is no good. It is no verdict about the client where one
	// has a grant already.
	errDocument = errors.New("the client metadata document can't be used")
)

// client resolves a client_id: a client of the configuration, one that is
// described by the document at its id, or one that is sealed in its own id. It
// returns errUnknownClient or errDocument, wrapped, or an *oauth.Error; anything
// else is an outage.
func (s *Server) client(ctx context.Context, id string) (Client, error) {
	if c, ok := s.clients[id]; ok {
		return c, nil
	}
	if isDocumentID(id) {
		return s.documentClient(ctx, id)
	}
	c, err := s.sealedClient(id)
	if err != nil {
		return Client{}, err
	}
	return s.currentClient(ctx, c)
}

// stillClient looks whether the client of a grant may come back with it, without
// fetching a document. It returns what client returns.
func (s *Server) stillClient(ctx context.Context, id string) error {
	if _, configured := s.clients[id]; !configured && isDocumentID(id) {
		return s.admitDocument(id)
	}
	_, err := s.client(ctx, id)
	return err
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

// hasSecret reports whether the client authenticates with a secret.
func (c Client) hasSecret() bool {
	return c.AuthMethod == oauth.AuthMethodPost || c.AuthMethod == oauth.AuthMethodBasic
}

// mayRefresh reports whether the client gets refresh tokens.
func (c Client) mayRefresh() bool { return slices.Contains(c.GrantTypes, oauth.GrantRefreshToken) }

// redirectURI returns the redirect URI to use for a request: the requested one
// if it is registered, or the only registered one if none was requested
// (OAuth 2.1 §2.3.1, §2.3.2). The policy of now counts, also for a client that
// registered before.
func (c Client) redirectURI(requested string, policy oauth.RedirectPolicy) (string, error) {
	if requested == "" {
		if len(c.RedirectURIs) != 1 {
			return "", errors.New("the request has no redirect_uri, and the program registered more than one")
		}
		requested = c.RedirectURIs[0]
	}
	if c.Origin == ClientConfigured {
		policy = vouched(c.RedirectURIs)
	}
	if err := policy.Check(requested); err != nil {
		return "", fmt.Errorf("the redirect_uri of the request %w", err)
	}
	for _, registered := range c.RedirectURIs {
		if oauth.MatchRedirectURI(registered, requested) {
			return requested, nil
		}
	}
	return "", errors.New("the redirect_uri of the request is not one that the program registered")
}

// vouched is the policy for the redirect URIs that the operator wrote down: their
// schemes and hosts are allowed, what is never allowed still is not.
func vouched(uris []string) oauth.RedirectPolicy {
	var p oauth.RedirectPolicy
	for _, uri := range uris {
		scheme, _, _ := strings.Cut(uri, ":")
		p.Schemes = append(p.Schemes, scheme)
	}
	return p
}

// redirectTrusted reports whether an error may be sent to the redirect URI
// without a person's click: it is a listener of this machine, or the operator
// vouches for the client. Anything else would make this an open redirector
// (OAuth 2.1 §7.12.2), for private-use schemes one into programs: whoever
// registers chooses host, path and query, and links such as
// cursor://…/mcp/install do something.
func (c Client) redirectTrusted(uri string) bool {
	return c.Origin == ClientConfigured || oauth.IsLoopbackRedirect(uri)
}

// hash changes when the metadata change of a client that keeps its id: what a
// person approved then is not approved any more. A dynamic client that was never
// changed has none, because it is its id. For one that the operator trusted nobody
// may have been asked, so that counts too.
func (c Client) hash() string {
	switch {
	case c.restored != "":
		return c.restored
	case c.Origin == ClientDynamic && c.Version == 0:
		return ""
	}
	of := []any{c.Name, c.LogoURI, c.RedirectURIs, c.AuthMethod, c.AlsoPublic, c.GrantTypes, c.JWKS, c.JWKSURI}
	if c.Origin == ClientConfigured {
		of = append(of, c.Trusted)
	}
	text, err := json.Marshal(of)
	if err != nil {
		return "" // strings always encode
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
