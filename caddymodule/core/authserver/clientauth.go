package authserver

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// This file authenticates clients at the token endpoint, OAuth 2.1 §2.4: none,
// client_secret_post and client_secret_basic. Left out: private_key_jwt and
// mutual TLS.

// credentials are what a request presents for a client.
type credentials struct {
	id, secret string
	method     string
}

// errAuthentication is one text for an unknown client, a wrong method and a
// wrong secret, so that nobody learns which clients exist.
const errAuthentication = "client authentication failed: the client is unknown, or its secret or method is wrong. Registering again helps"

// authenticate returns the client of a token request. A client must use the
// method it is registered with. On failure it returns what is known of the
// client, for the log only, and an error.
func (s *Server) authenticate(r *http.Request, p params) (Client, error) {
	cred, err := readCredentials(r, p)
	if err != nil {
		return Client{}, err
	}
	c, err := s.client(cred.id)
	if err != nil {
		return Client{}, oauth.Errorf(oauth.CodeInvalidClient, errAuthentication).WithCause(err)
	}
	// Only a secret of the configuration can be guessed; derived ones have 256
	// bits. The address is part of the key so that nobody can lock a client out.
	key := oauth.MetaFrom(r.Context()).RemoteIP + " " + c.ID
	if c.Secret != "" && s.secretFailures.exhausted(key) {
		return c, oauth.Errorf(oauth.CodeTemporarilyUnavailable, "too many failed attempts, try again in a minute").
			WithStatus(http.StatusTooManyRequests)
	}
	if err := s.checkCredentials(c, cred); err != nil {
		s.secretFailures.count(key)
		return c, err
	}
	return c, nil
}

// readCredentials finds the one way in which the request authenticates
// (OAuth 2.1 §2.4: not more than one).
func readCredentials(r *http.Request, p params) (credentials, error) {
	if p.get("client_assertion") != "" || p.get("client_assertion_type") != "" {
		return credentials{}, oauth.Errorf(oauth.CodeInvalidClient, "client assertions are not supported here")
	}
	cred := credentials{id: p.get("client_id"), secret: p.get("client_secret"), method: oauth.AuthMethodPost}
	if cred.secret == "" {
		cred.method = oauth.AuthMethodNone
	}
	switch headers := r.Header.Values("Authorization"); {
	case len(headers) == 0:
	case len(headers) > 1 || cred.secret != "":
		return credentials{}, oauth.Errorf(oauth.CodeInvalidRequest, "the request authenticates in more than one way")
	default:
		basic, ok := parseBasic(r)
		if !ok {
			return credentials{}, oauth.Errorf(oauth.CodeInvalidClient, "the Authorization header is not a valid Basic header")
		}
		if cred.id != "" && cred.id != basic.id {
			return credentials{}, oauth.Errorf(oauth.CodeInvalidRequest, "client_id differs from the Authorization header")
		}
		cred = basic
	}
	if cred.id == "" {
		return credentials{}, oauth.Errorf(oauth.CodeInvalidClient, "client_id is missing")
	}
	return cred, nil
}

// parseBasic reads HTTP Basic credentials, whose halves are form-urlencoded
// before they are joined (OAuth 2.1 §2.4.1).
func parseBasic(r *http.Request) (credentials, bool) {
	id, secret, ok := r.BasicAuth()
	if !ok {
		return credentials{}, false
	}
	id, err1 := url.QueryUnescape(id)
	secret, err2 := url.QueryUnescape(secret)
	return credentials{id, secret, oauth.AuthMethodBasic}, err1 == nil && err2 == nil && id != ""
}

// checkCredentials compares method and secret with the registration.
func (s *Server) checkCredentials(c Client, cred credentials) error {
	if cred.method != c.AuthMethod {
		return oauth.Errorf(oauth.CodeInvalidClient, errAuthentication).
			WithCause(fmt.Errorf("the client is registered for %s and used %s", c.AuthMethod, cred.method))
	}
	if c.AuthMethod == oauth.AuthMethodNone {
		return nil
	}
	want, err := s.clientSecret(c)
	if err != nil {
		return oauth.Unavailable(err)
	}
	if !sameSecret(cred.secret, want) {
		return oauth.Errorf(oauth.CodeInvalidClient, errAuthentication).WithCause(errors.New("wrong client_secret"))
	}
	return nil
}

// sameSecret compares in constant time, whatever the lengths.
func sameSecret(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
