package authserver

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/seal"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// This file implements the refresh_token grant, OAuth 2.1 §4.3, with rotation.
//
// The refresh token of generation n is derived from the grant and n, so the
// server can hand out the same one again: a client whose answer was lost, or
// that refreshes twice at once, gets a working pair while the grace window is
// open. Later, or two generations back, the old token is taken for stolen and
// the grant is revoked.

const grantIDSize = 16

// errRefresh is one text for every way in which a refresh token can be no good.
const errRefresh = "the refresh token is invalid, expired, used or revoked, or was issued to another client"

// refreshData is what a refresh token says.
type refreshData struct {
	grantID    string
	generation uint64
}

// refreshToken derives the token of a grant's generation.
func (s *Server) refreshToken(grantID string, generation uint64) (string, error) {
	id, err := base64.RawURLEncoding.DecodeString(grantID)
	if err != nil || len(id) != grantIDSize {
		return "", fmt.Errorf("grant id %q is malformed", grantID)
	}
	msg := binary.BigEndian.AppendUint64(id, generation)
	tag, err := s.deps.Keys.Ring().Sealer.Tag(keys.PurposeRefresh, msg)
	if err != nil {
		return "", fmt.Errorf("deriving a refresh token: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(append(msg, tag...)), nil
}

// openRefresh reads a refresh token. A forged one fails here, before anything
// is looked up.
func (s *Server) openRefresh(token string) (refreshData, error) {
	const msgSize = grantIDSize + 8
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || strings.ContainsAny(token, "\r\n") || len(raw) != msgSize+seal.TagSize {
		return refreshData{}, errors.New("the token is malformed")
	}
	msg, tag := raw[:msgSize], raw[msgSize:]
	if !s.deps.Keys.Ring().Sealer.CheckTag(keys.PurposeRefresh, msg, tag) {
		return refreshData{}, errors.New("the token is not one of this server")
	}
	return refreshData{base64.RawURLEncoding.EncodeToString(msg[:grantIDSize]), binary.BigEndian.Uint64(msg[grantIDSize:])}, nil
}

func (s *Server) redeemRefresh(ctx context.Context, req tokenRequest) (redeemed, error) {
	if req.params.get("refresh_token") == "" {
		return redeemed{}, oauth.Errorf(oauth.CodeInvalidRequest, "the parameter refresh_token is missing")
	}
	token, err := s.openRefresh(req.params.get("refresh_token"))
	if err != nil {
		return redeemed{}, oauth.Errorf(oauth.CodeInvalidGrant, errRefresh).WithCause(err)
	}
	now := s.now()
	g, err := s.deps.Store.Grant(ctx, now, token.grantID)
	if err != nil {
		return redeemed{grant: g}, refreshFailed(err)
	}
	if g.ClientID != req.client.ID {
		return redeemed{grant: g}, oauth.Errorf(oauth.CodeInvalidGrant, errRefresh).
			WithCause(errors.New("the token was issued to another client"))
	}
	if err := s.checkAge(g, now); err != nil {
		return redeemed{grant: g}, oauth.Errorf(oauth.CodeInvalidGrant, errRefresh).WithCause(err)
	}
	if err := s.checkDocument(ctx, now, req.client, g); err != nil {
		return redeemed{grant: g}, err
	}
	// Everything that can be refused is refused before the grant moves.
	scope, err := s.refreshScope(req, g)
	if err != nil {
		return redeemed{grant: g}, err
	}
	user, err := s.entitledTo(ctx, g)
	if err != nil {
		return redeemed{grant: g}, err
	}
	g, again, err := s.rotate(ctx, now, g, token.generation)
	g.User = user // for the tokens; the grant keeps who approved
	return redeemed{grant: g, scope: scope, refresh: true, again: again}, err
}

// checkAge applies the idle and the absolute lifetime. A record may be kept
// longer than that (grantExpires).
func (s *Server) checkAge(g store.Grant, now time.Time) error {
	switch {
	case !now.Before(g.NotAfter):
		return errors.New("the grant has reached its absolute lifetime")
	case !now.Before(g.RotatedAt.Add(s.cfg.Lifetimes.RefreshIdle)):
		return errors.New("the grant was not used for too long")
	}
	return nil
}

func refreshFailed(err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrRevoked) {
		return oauth.Errorf(oauth.CodeInvalidGrant, errRefresh).WithCause(err)
	}
	return oauth.Unavailable(err)
}

// refreshScope returns the scope of the new access token: what was asked for
// within the grant (OAuth 2.1 §4.3.1), and within what the configuration still
// offers to this client. The grant itself never shrinks.
func (s *Server) refreshScope(req tokenRequest, g store.Grant) (oauth.Scope, error) {
	if err := s.checkTarget(req.params, g.Resource); err != nil {
		return nil, err
	}
	if !req.client.reaches(g.Resource) {
		return nil, errTarget
	}
	res, err := s.configured(g.Resource)
	if err != nil {
		return nil, err
	}
	granted, _ := oauth.ParseScope(g.Scope)
	asked, ok := oauth.ParseScope(req.params.get("scope"))
	if asked = asked.WithoutIdentity(); !ok || !granted.ContainsAll(asked) {
		return nil, oauth.Errorf(oauth.CodeInvalidScope, "a refresh can't widen the scope: authorize again for more than %s", granted)
	}
	if len(asked) == 0 {
		asked = granted
	}
	if asked = asked.Intersect(s.grantable(req.client, res)); len(asked) == 0 {
		return nil, oauth.Errorf(oauth.CodeInvalidGrant, "the scopes of this grant no longer exist here for this client")
	}
	return asked, nil
}

func (s *Server) entitledTo(ctx context.Context, g store.Grant) (store.User, error) {
	res, err := s.configured(g.Resource)
	if err != nil {
		return g.User, err
	}
	return s.entitled(ctx, g.User, res)
}

// rotate moves the grant to the generation after the token's, or finds that it
// was moved before and decides between a lost answer and theft. It reports whether
// it was moved before.
func (s *Server) rotate(ctx context.Context, now time.Time, g store.Grant, generation uint64) (store.Grant, bool, error) {
	if generation == g.Generation {
		next, err := s.deps.Store.RotateGrant(ctx, now, store.Rotation{
			ID: g.ID, From: generation, Expires: s.grantExpires(g, now), UsedFrom: oauth.MetaFrom(ctx).RemoteIP,
		})
		switch {
		case err == nil:
			return next, false, nil
		case !errors.Is(err, store.ErrConflict):
			return g, false, refreshFailed(err)
		}
		g = next // another request was faster
	}
	switch {
	case generation > g.Generation:
		// Only an older copy of the store can make this happen.
		return g, false, oauth.Errorf(oauth.CodeInvalidGrant, errRefresh).WithCause(errors.New("the token is newer than its grant"))
	case s.redeemable(g, generation, now):
		return g, true, nil
	}
	if err := s.revoke(ctx, now, g, "refresh_reuse"); err != nil {
		return g, true, err
	}
	return g, true, oauth.Errorf(oauth.CodeInvalidGrant, errRefresh).WithCause(errors.New("the token was used before, its grant is revoked"))
}

// redeemable reports whether the refresh token of a generation is the newest, or
// the one before it inside the grace window.
func (s *Server) redeemable(g store.Grant, generation uint64, now time.Time) bool {
	grace := s.cfg.Lifetimes.RefreshGrace
	return generation == g.Generation || generation+1 == g.Generation && grace > 0 && now.Sub(g.RotatedAt) <= grace
}
