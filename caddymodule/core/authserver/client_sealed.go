package authserver

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/seal"
)

// This file keeps dynamic clients: their registration is their client_id, sealed
// (DESIGN idea 1), so that a registration needs no storage.

// clientSeal is the text inside a dynamic client's id. The names are short
// because the id travels in URLs; the RFC 7591 names are in the comments.
type clientSeal struct {
	RedirectURIs    []string        `json:"r"`           // redirect_uris
	Name            string          `json:"n,omitempty"` // client_name
	URI             string          `json:"u,omitempty"` // client_uri
	AuthMethod      string          `json:"m,omitempty"` // token_endpoint_auth_method, empty for none
	NoRefresh       bool            `json:"x,omitempty"` // grant_types without refresh_token
	ApplicationType string          `json:"t,omitempty"` // application_type
	Scope           oauth.Scope     `json:"s,omitempty"` // scope, empty for all
	JWKS            json.RawMessage `json:"k,omitempty"` // jwks
	JWKSURI         string          `json:"w,omitempty"` // jwks_uri
	Issued          int64           `json:"i"`           // client_id_issued_at
}

const (
	maxClientID = 3072 // bytes; what real clients send stays below 1 KiB
	// maxClientText is what fits into an id of that size.
	maxClientText = maxClientID*3/4 - seal.Overhead
)

// clientText is a dynamic client as it is sealed, or stored after a change.
func clientText(c Client) ([]byte, error) {
	sc := clientSeal{
		RedirectURIs:    c.RedirectURIs,
		Name:            c.Name,
		URI:             c.URI,
		NoRefresh:       !slices.Contains(c.GrantTypes, oauth.GrantRefreshToken),
		ApplicationType: c.ApplicationType,
		Scope:           c.Wish,
		JWKS:            c.JWKS,
		JWKSURI:         c.JWKSURI,
		Issued:          c.Issued.Unix(),
	}
	if c.AuthMethod != oauth.AuthMethodNone {
		sc.AuthMethod = c.AuthMethod
	}
	text, err := json.Marshal(sc)
	if err != nil {
		return nil, fmt.Errorf("encoding a client: %w", err)
	}
	if len(text) > maxClientText {
		return nil, oauth.Errorf(oauth.CodeInvalidClientMetadata, "the client metadata are too long: register fewer or shorter redirect URIs, and publish keys at a jwks_uri")
	}
	return text, nil
}

// clientFrom reads what clientText wrote.
func clientFrom(id string, text []byte) (Client, error) {
	var sc clientSeal
	if err := json.Unmarshal(text, &sc); err != nil {
		return Client{}, fmt.Errorf("decoding a client: %w", err)
	}
	c := Client{
		ID:              id,
		Origin:          ClientDynamic,
		Name:            sc.Name,
		URI:             sc.URI,
		RedirectURIs:    sc.RedirectURIs,
		AuthMethod:      sc.AuthMethod,
		GrantTypes:      []string{oauth.GrantAuthorizationCode},
		ApplicationType: sc.ApplicationType,
		Wish:            sc.Scope,
		JWKS:            sc.JWKS,
		JWKSURI:         sc.JWKSURI,
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

// sealClient makes the client_id that is the registration (DESIGN idea 1). It
// never expires: it is good while its sealing key is in the ring.
func (s *Server) sealClient(c Client) (string, error) {
	text, err := clientText(c)
	if err != nil {
		return "", err
	}
	id, err := s.deps.Keys.Ring().Sealer.Seal(keys.PurposeClient, text, time.Time{})
	if err != nil {
		return "", oauth.Unavailable(fmt.Errorf("sealing a client: %w", err))
	}
	return id, nil
}

// sealedClient opens a client_id that is a registration.
func (s *Server) sealedClient(id string) (Client, error) {
	text, err := s.deps.Keys.Ring().Sealer.Open(keys.PurposeClient, id, s.now())
	if err != nil {
		return Client{}, errUnknownClient
	}
	c, err := clientFrom(id, text)
	if err != nil {
		return Client{}, fmt.Errorf("%w: %w", errUnknownClient, err)
	}
	return c, nil
}

// Registered reports whether a client_id came from the registration endpoint of this
// server. A program may have several, as it may register as often as it likes.
func (s *Server) Registered(clientID string) bool {
	if _, known := s.clients[clientID]; known || isDocumentID(clientID) {
		return false
	}
	_, err := s.sealedClient(clientID)
	return err == nil
}
