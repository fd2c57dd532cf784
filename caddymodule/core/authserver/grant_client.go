package authserver

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// This file implements the client_credentials grant, OAuth 2.1 §4.2 and the MCP
// extension io.modelcontextprotocol/oauth-client-credentials: a program gets a
// token for itself, without a person. There is no refresh token (§4.2.3), and
// nothing is stored: the token ends when it expires, when its jti is revoked, or
// when its client is.
//
// Rules about people do not apply, because there is none: what the operator
// wrote down for the client is the limit, its scopes and its resources.

// clientNamespace stands before a program's own name in the subject of its
// tokens, so that it can't be taken for a person's (SPEC G29, RFC 9700 §4.15). No
// login can have it.
const clientNamespace = "client"

// actsAlone reports whether the client may get tokens for itself: the operator
// registered it for that, and it always proves who it is.
func (c Client) actsAlone() bool {
	return c.Origin == ClientConfigured && c.confidential() && slices.Contains(c.GrantTypes, oauth.GrantClientCredentials)
}

// confidential reports whether whoever acts as the client has proved to be it.
func (c Client) confidential() bool { return c.AuthMethod != oauth.AuthMethodNone && !c.AlsoPublic }

// reaches reports whether tokens for this audience are the client's business.
func (c Client) reaches(audience string) bool {
	return c.Resources == nil || slices.ContainsFunc(c.Resources, func(uri string) bool { return oauth.SameResource(uri, audience) })
}

// actsAlone reports whether there is a client for the grant.
func (s *Server) actsAlone() bool { return s.anyClient(Client.actsAlone) }

func (s *Server) redeemClient(_ context.Context, req tokenRequest) (redeemed, error) {
	if !req.client.actsAlone() {
		return redeemed{}, oauth.Errorf(oauth.CodeUnauthorizedClient, "this grant is for confidential clients that the operator registered for it")
	}
	res, wrong := s.wantedResource(req.client, req.params)
	if wrong != nil {
		return redeemed{}, wrong
	}
	scope, err := clientScope(req, s.byDefault(req.client, res), s.grantable(req.client, res))
	if err != nil {
		return redeemed{}, err
	}
	return redeemed{scope: scope, grant: store.Grant{
		ID:         clientGrantID(req.client.ID, res.Audience()),
		ClientID:   req.client.ID,
		ClientName: req.client.Name,
		User:       store.User{Subject: clientNamespace + "|" + req.client.ID},
		Resource:   res.Audience(),
		NotAfter:   s.now().Add(s.cfg.Lifetimes.AccessToken),
	}}, nil
}

// clientScope returns what was asked for, or what the client gets without asking.
// Unlike a person's client it has to ask for what there is.
func clientScope(req tokenRequest, basic, limit oauth.Scope) (oauth.Scope, error) {
	asked, ok := oauth.ParseScope(req.params.get("scope"))
	if asked = asked.WithoutIdentity(); len(asked) == 0 {
		asked = basic
	}
	if !ok || len(asked) == 0 || !limit.ContainsAll(asked) {
		return nil, oauth.Errorf(oauth.CodeInvalidScope, "the client may have these scopes of the resource: %s", limit)
	}
	return asked, nil
}

// clientGrantID is the same for all tokens of a client for a resource, so that
// they share one limit of calls. Nothing is stored under it.
func clientGrantID(clientID, audience string) string {
	sum := sha256.Sum256([]byte("mcp_auth client grant\x00" + oauth.ClientKey(clientID) + audience))
	return "client-" + base64.RawURLEncoding.EncodeToString(sum[:grantIDSize])
}
