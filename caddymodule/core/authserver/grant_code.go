package authserver

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// This file implements the authorization_code grant, OAuth 2.1 §4.1.3, with
// PKCE always.

// errCode is one text for every way in which a code can be no good.
const errCode = "the code is invalid, expired or used, or was issued to another client, redirect URI or verifier"

// errCodeTakenBack says that the person changed their mind.
var errCodeTakenBack = oauth.Errorf(oauth.CodeInvalidGrant, errCode).
	WithCause(errors.New("the person has signed out everywhere or taken all back since"))

// redeemCode turns a code into a grant. Creating the grant is the one durable
// step, and what makes the code single use: a second redemption finds the
// grant there.
func (s *Server) redeemCode(ctx context.Context, req tokenRequest) (redeemed, error) {
	if req.params.get("code") == "" {
		return redeemed{}, oauth.Errorf(oauth.CodeInvalidRequest, "the parameter code is missing")
	}
	now := s.now()
	code, err := s.openCode(req.params.get("code"), now)
	if err != nil {
		return redeemed{}, s.expiredReplay(ctx, now, req, code, err)
	}
	if err := s.checkCode(req, code); err != nil {
		return redeemed{}, err
	}
	if s.codeEnded(code) {
		return redeemed{}, errCodeTakenBack
	}
	if err := s.checkTarget(req.params, code.Resource); err != nil {
		return redeemed{}, err
	}
	res, err := s.configured(code.Resource)
	if err != nil {
		return redeemed{}, err
	}
	if !req.client.reaches(code.Resource) {
		return redeemed{}, errTarget
	}
	if code.User, err = s.entitled(ctx, code.User, res); err != nil {
		return redeemed{}, err
	}
	g := s.newGrant(req.client, code, now)
	g.UsedFrom = oauth.MetaFrom(ctx).RemoteIP
	scope, _ := oauth.ParseScope(g.Scope)
	err = s.deps.Store.CreateGrant(ctx, now, g)
	switch {
	case errors.Is(err, store.ErrExists):
		return redeemed{grant: g}, s.replay(ctx, now, g.ID)
	case err != nil:
		return redeemed{}, oauth.Unavailable(err)
	case s.codeEnded(code):
		// Meanwhile: whoever took all back marked the codes before they listed the
		// grants, so what their list missed is seen here.
		return redeemed{grant: g}, errors.Join(s.revoke(ctx, now, g, reasonUser), errCodeTakenBack)
	}
	return redeemed{grant: g, scope: scope, refresh: req.client.mayRefresh()}, nil
}

// checkCode checks that the code was issued to this client for this redirect
// URI and that the verifier belongs to it. A failed attempt does not use up
// the code, because anyone could make it fail (OAuth 2.1 §7.5.3), but there
// are only three.
func (s *Server) checkCode(req tokenRequest, code codeData) error {
	key := code.grantID()
	uri := req.params.get("redirect_uri")
	var cause error
	switch {
	case s.codeFailures.exhausted(key):
		cause = errors.New("too many failed attempts for this code")
	case !bytes.Equal(code.Client, clientHash(req.client.ID)):
		cause = errors.New("the code was issued to another client")
	case code.Metadata != req.client.hash():
		cause = errors.New("the client's metadata have changed since the person agreed")
	case uri != "" && uri != code.RedirectURI:
		cause = errors.New("redirect_uri differs from the authorization request")
	case !oauth.VerifyS256(code.Challenge, req.params.get("code_verifier")):
		cause = errors.New("code_verifier does not belong to the challenge")
	default:
		return nil
	}
	s.codeFailures.count(key)
	return oauth.Errorf(oauth.CodeInvalidGrant, errCode).WithCause(cause)
}

// replay answers the second valid use of a code: whoever holds it and its
// verifier twice, one of the two stole them, so the grant ends (OAuth 2.1
// §4.1.3). An invalid second use never gets here.
func (s *Server) replay(ctx context.Context, now time.Time, id string) error {
	g, err := s.deps.Store.Grant(ctx, now, id)
	if err == nil {
		err = s.revoke(ctx, now, g, "code_replay")
	}
	switch {
	case err == nil, errors.Is(err, store.ErrRevoked), errors.Is(err, store.ErrNotFound):
		return oauth.Errorf(oauth.CodeInvalidGrant, errCode).WithCause(errors.New("the code was used before, its grant is revoked"))
	}
	return oauth.Unavailable(err)
}

// expiredReplay answers a code that did not open. An expired one that is
// otherwise valid and was used before is a replay all the same.
func (s *Server) expiredReplay(ctx context.Context, now time.Time, req tokenRequest, code codeData, cause error) error {
	if errors.Is(cause, errCodeExpired) && s.checkCode(req, code) == nil {
		if err := s.replay(ctx, now, code.grantID()); asOAuthError(err).Code != oauth.CodeInvalidGrant {
			return err
		}
	}
	return oauth.Errorf(oauth.CodeInvalidGrant, errCode).WithCause(cause)
}

// newGrant returns the grant that a code becomes.
func (s *Server) newGrant(c Client, code codeData, now time.Time) store.Grant {
	l := s.cfg.Lifetimes
	g := store.Grant{
		ID:          code.grantID(),
		ClientID:    c.ID,
		ClientName:  c.Name,
		RedirectURI: code.RedirectURI,
		User:        code.User,
		Resource:    code.Resource,
		Scope:       code.Scope,
		AuthTime:    time.Unix(code.AuthTime, 0),
		Created:     now,
		RotatedAt:   now,
		UsedAt:      now,
		ClientHash:  c.hash(),
		NotAfter:    now.Add(l.RefreshAbsolute),

		ClientMetadata: c.snapshot().String(),
	}
	if !c.mayRefresh() {
		g.NotAfter = now.Add(l.AccessToken)
	}
	g.Expires = s.grantExpires(g, now)
	return g
}

// grantExpires is until when the record of a grant that was used now is kept:
// as long as it can be refreshed or has a live access token, so that theft can
// still end it; and longer than its code in any case, or a swept grant would
// let the code in again.
func (s *Server) grantExpires(g store.Grant, now time.Time) time.Time {
	l := s.cfg.Lifetimes
	expires := now.Add(max(l.RefreshIdle, l.AccessToken))
	if expires.After(g.NotAfter) {
		expires = g.NotAfter
	}
	if codeEnd := g.Created.Add(l.Code + time.Minute); expires.Before(codeEnd) {
		expires = codeEnd
	}
	return expires
}
