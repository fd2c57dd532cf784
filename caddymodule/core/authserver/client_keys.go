package authserver

import (
	stdjson "encoding/json"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/jose"
)

// This file reads the keys of clients that nobody vouches for: those of a
// metadata document and of a registration.

// errNoKeys says that a client wants to sign, and nobody could check it.
var errNoKeys = errors.New("its private_key_jwt needs jwks, or a jwks_uri that can be fetched")

// takeKeys takes over public keys, or where they are published: one of the two
// (RFC 7591 §2). The address is checked now and fetched when it is needed.
func takeKeys(c *Client, jwks jsontext.Value, uri string) error {
	inline := len(jwks) > 0 && string(jwks) != "null"
	switch {
	case inline && uri != "":
		return errors.New("its jwks and jwks_uri exclude each other (RFC 7591 section 2)")
	case inline:
		var err error
		c.JWKS, err = publicKeys(jwks)
		return err
	case fetch.CheckURL(uri) != nil:
		return errNoKeys
	}
	c.JWKSURI = uri
	return nil
}

// publicKeys accepts the value of a jwks member, without spaces.
func publicKeys(raw jsontext.Value) (stdjson.RawMessage, error) {
	if err := raw.Compact(); err != nil || len(raw) > maxInlineKeys {
		return nil, fmt.Errorf("its jwks has more than %d bytes: publish the keys at a jwks_uri", maxInlineKeys)
	}
	keys, err := jose.ParseSet(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("its jwks is not a set of public keys: %w", err)
	case keys.Len() == 0:
		return nil, errors.New("its jwks has no key that can be used")
	}
	return stdjson.RawMessage(raw), nil
}
