package authserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// This file authenticates clients at the token, revocation and introspection
// endpoints, OAuth 2.1 §2.4. Left out: mutual TLS (RFC 8705) and
// client_secret_jwt, whose secret would have to be kept readable.

// clientMethod is one way in which clients authenticate.
type clientMethod struct {
	name string // the token_endpoint_auth_method value
	// verify returns an invalid_client error with a cause for the log, or an
	// outage. It is asked for clients that may use the method, and no others.
	verify func(*Server, context.Context, Client, credentials) error
	// offered reports whether a client can have it here.
	offered func(*Server) bool
}

// clientMethods lists the methods, in the order of the metadata document. Any
// program can register for one of the first three, or has done so.
var clientMethods = []clientMethod{
	{oauth.AuthMethodNone, (*Server).verifyNothing, always},
	{oauth.AuthMethodPost, (*Server).verifySecret, always},
	{oauth.AuthMethodBasic, (*Server).verifySecret, always},
	{oauth.AuthMethodPrivateKeyJWT, (*Server).verifyAssertion, (*Server).takesAssertions},
}

func always(*Server) bool { return true }

// clientMethodsOffered lists the methods that clients can use here; without
// method none for an endpoint that is not for public clients.
func (s *Server) clientMethodsOffered(without ...string) []string {
	var names []string
	for _, m := range clientMethods {
		if m.offered(s) && !slices.Contains(without, m.name) {
			names = append(names, m.name)
		}
	}
	return names
}

// credentials are what a request presents for a client.
type credentials struct {
	id string
	// secret or assertion is set, or neither for method none.
	secret, assertion string
	method            string
	// form is the request: its code or token shows what the document of a client
	// said.
	form params
}

// errAuthentication is one text for an unknown client, a wrong method and a
// wrong secret, so that nobody learns which clients exist.
const errAuthentication = "client authentication failed: the client is unknown, or its secret, key or method is wrong. Registering again helps"

// notAuthenticated is the error of every failed authentication.
func notAuthenticated(cause error) error {
	return oauth.Errorf(oauth.CodeInvalidClient, errAuthentication).WithCause(cause)
}

// authenticate returns the client of a request. A client must use the method it
// is registered with. On failure it returns what is known of the client, for
// the log only, and an error.
func (s *Server) authenticate(r *http.Request, p params) (Client, error) {
	cred, err := readCredentials(r, p)
	if err != nil {
		return Client{}, err
	}
	if cred.method == oauth.AuthMethodNone {
		return s.identify(r.Context(), cred)
	}
	// The network is part of the key so that nobody can lock a client out, and
	// the client so that nobody can lock out who shares the network.
	guesser := oauth.Network(oauth.MetaFrom(r.Context()).RemoteIP) + " " + oauth.ClientKey(cred.id)
	if s.secretFailures.exhausted(guesser) {
		return Client{}, errGuessing
	}
	c, err := s.identify(r.Context(), cred)
	switch {
	case err != nil && asOAuthError(err).Code == oauth.CodeInvalidClient:
		s.secretFailures.count(guesser)
	case err == nil && s.secretFailures.exhausted(guesser):
		// It guessed right among many at once.
		return c, errGuessing
	}
	return c, err
}

var errGuessing = oauth.Errorf(oauth.CodeTemporarilyUnavailable, "too many failed attempts, try again in a minute").
	WithStatus(http.StatusTooManyRequests)

// identify finds the client and checks what it presents.
func (s *Server) identify(ctx context.Context, cred credentials) (Client, error) {
	c, err := s.tokenClient(ctx, cred.id, cred.form)
	if e, ok := errors.AsType[*oauth.Error](err); ok {
		return Client{}, e
	}
	if err != nil && !errors.Is(err, errUnknownClient) {
		return Client{}, oauth.Unavailable(err)
	}
	if err == nil {
		err = c.checkMethod(cred.method)
	}
	if err != nil {
		// It has to cost what a wrong secret costs.
		if busy := s.secrets.pretend(ctx, cred); busy != nil {
			return c, notCompared(busy)
		}
		return c, notAuthenticated(err)
	}
	i := slices.IndexFunc(clientMethods, func(m clientMethod) bool { return m.name == cred.method })
	return c, clientMethods[i].verify(s, ctx, c, cred)
}

// checkMethod holds a client to the method that it is registered with
// (OAuth 2.1 §2.4).
func (c Client) checkMethod(used string) error {
	secret := used == oauth.AuthMethodPost || used == oauth.AuthMethodBasic
	if used == c.AuthMethod || used == oauth.AuthMethodNone && c.AlsoPublic || secret && c.AnySecretMethod {
		return nil
	}
	return fmt.Errorf("the client is registered for %s and used %s", c.AuthMethod, used)
}

func (*Server) verifyNothing(context.Context, Client, credentials) error { return nil }

// readCredentials finds the one way in which the request authenticates
// (OAuth 2.1 §2.4: not more than one).
func readCredentials(r *http.Request, p params) (credentials, error) {
	cred := credentials{id: p.get("client_id"), secret: p.get("client_secret"), method: oauth.AuthMethodPost}
	if cred.secret == "" {
		cred.method = oauth.AuthMethodNone
	}
	headers := r.Header.Values("Authorization")
	asserts := p.get("client_assertion") != "" || p.get("client_assertion_type") != ""
	var err error
	switch {
	case len(headers) > 1, len(headers) > 0 && (cred.secret != "" || asserts), cred.secret != "" && asserts:
		return credentials{}, oauth.Errorf(oauth.CodeInvalidRequest, "the request authenticates in more than one way")
	case len(headers) > 0:
		cred, err = readBasic(r, cred.id)
	case asserts:
		cred, err = readAssertion(p)
	}
	if err != nil {
		return credentials{}, err
	}
	if cred.id == "" {
		return credentials{}, oauth.Errorf(oauth.CodeInvalidClient, "client_id is missing")
	}
	cred.form = p
	return cred, nil
}

// readBasic reads the Authorization header, beside which the client may be named
// in the form too.
func readBasic(r *http.Request, named string) (credentials, error) {
	basic, ok := parseBasic(r)
	if !ok {
		return credentials{}, oauth.Errorf(oauth.CodeInvalidClient, "the Authorization header is not a valid Basic header")
	}
	if named != "" && named != basic.id {
		return credentials{}, oauth.Errorf(oauth.CodeInvalidRequest, "client_id differs from the Authorization header")
	}
	return basic, nil
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
	return credentials{id: id, secret: secret, method: oauth.AuthMethodBasic}, err1 == nil && err2 == nil && id != ""
}

// challengeClient answers a failed authentication in the Authorization header
// with the scheme that the client used (RFC 6749 §5.2).
func challengeClient(w http.ResponseWriter, r *http.Request, err error) {
	if asOAuthError(err).Code == oauth.CodeInvalidClient && r.Header.Get("Authorization") != "" {
		w.Header().Set("WWW-Authenticate", `Basic realm="client"`)
	}
}
