package authserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// This file keeps what a client's document said when a person agreed, in the
// code and in the grant, so that tokens are issued while the document can't be
// fetched (SPEC E21). Both are authentic: a code is sealed, and a grant is found
// by a refresh token that only this server can have made.

// renewEvery is how often a document, at most, is looked at anew because a
// grant of its client is refreshed.
const renewEvery = 5 * time.Minute

// snapshot is what a token request needs of a document. The names are short
// because it travels in codes.
type snapshot struct {
	Name       string          `json:"n"`
	AuthMethod string          `json:"m,omitempty"` // empty for none
	AlsoPublic bool            `json:"p,omitempty"`
	Refresh    bool            `json:"r,omitempty"` // grant_types with refresh_token
	JWKS       json.RawMessage `json:"k,omitempty"`
	JWKSURI    string          `json:"u,omitempty"`
}

// snapshot returns what is kept of a client, nil for one without a document.
func (c Client) snapshot() *snapshot {
	if c.Origin != ClientDocument {
		return nil
	}
	sn := &snapshot{Name: c.Name, AlsoPublic: c.AlsoPublic, Refresh: c.mayRefresh(), JWKS: c.JWKS, JWKSURI: c.JWKSURI}
	if c.AuthMethod != oauth.AuthMethodNone {
		sn.AuthMethod = c.AuthMethod
	}
	return sn
}

// String is the snapshot as a grant keeps it.
func (sn *snapshot) String() string {
	if sn == nil {
		return ""
	}
	text, err := json.Marshal(sn)
	if err != nil {
		return "" // its parts were read from JSON
	}
	return string(text)
}

// client restores the client of one grant or code. hash is that of its whole
// metadata.
func (sn *snapshot) client(id, redirectURI, hash string) Client {
	c := Client{
		ID: id, Origin: ClientDocument, Name: sn.Name, RedirectURIs: []string{redirectURI}, AuthMethod: oauth.AuthMethodNone,
		AlsoPublic: sn.AlsoPublic, GrantTypes: []string{oauth.GrantAuthorizationCode}, JWKS: sn.JWKS, JWKSURI: sn.JWKSURI, restored: hash,
	}
	if sn.AuthMethod != "" {
		c.AuthMethod = sn.AuthMethod
	}
	if sn.Refresh {
		c.GrantTypes = append(c.GrantTypes, oauth.GrantRefreshToken)
	}
	return c
}

// tokenClient resolves the client of a token request. That of a document is
// never fetched for one: it is what the code or the grant says, or what is in
// memory. It returns what client returns, or an *oauth.Error.
func (s *Server) tokenClient(ctx context.Context, id string, p params) (Client, error) {
	if _, configured := s.clients[id]; configured || !isDocumentID(id) {
		return s.client(ctx, id)
	}
	if err := s.admitDocument(id); err != nil {
		return Client{}, fmt.Errorf("%w: %w", errUnknownClient, err)
	}
	switch p.get("grant_type") {
	case oauth.GrantAuthorizationCode:
		return s.clientOfCode(id, p.get("code"))
	case oauth.GrantRefreshToken:
		return s.clientOfRefresh(ctx, id, p.get("refresh_token"))
	}
	if token, err := s.openRefresh(p.get("token")); err == nil { // to revoke it, or to ask about it
		return s.clientOfToken(ctx, id, token)
	}
	c, err := s.documentClient(ctx, id)
	switch {
	case errors.Is(err, errDocument) && isVerdict(err):
		return Client{}, fmt.Errorf("%w: %w", errUnknownClient, err)
	case errors.Is(err, errDocument):
		return Client{}, oauth.Unavailable(err) // whose host is down is not unknown
	}
	return c, err
}

// clientOfCode returns the client of a code as the person saw it a moment ago.
// An expired code is read too, so that its replay is noticed.
func (s *Server) clientOfCode(id, code string) (Client, error) {
	if code == "" {
		return Client{}, oauth.Errorf(oauth.CodeInvalidRequest, "the parameter code is missing")
	}
	d, err := s.openCode(code, s.now())
	if err == nil || errors.Is(err, errCodeExpired) {
		if d.Snapshot != nil && bytes.Equal(d.Client, clientHash(id)) {
			return d.Snapshot.client(id, d.RedirectURI, d.Metadata), nil
		}
		err = errors.New("the code was issued to another client")
	}
	return Client{}, oauth.Errorf(oauth.CodeInvalidGrant, errCode).WithCause(err)
}

// clientOfRefresh returns the client of a refresh token that is to be redeemed.
func (s *Server) clientOfRefresh(ctx context.Context, id, refresh string) (Client, error) {
	if refresh == "" {
		return Client{}, oauth.Errorf(oauth.CodeInvalidRequest, "the parameter refresh_token is missing")
	}
	token, err := s.openRefresh(refresh)
	if err != nil {
		return Client{}, oauth.Errorf(oauth.CodeInvalidGrant, errRefresh).WithCause(err)
	}
	c, err := s.clientOfGrant(ctx, id, token)
	if err != nil {
		return Client{}, refreshFailed(err)
	}
	return c, nil
}

// clientOfToken returns the client of a refresh token that is to be revoked.
// That the token is good for nothing any more, or belongs to another client, is
// for the endpoint to say (RFC 7009 §2.1, §2.2).
func (s *Server) clientOfToken(ctx context.Context, id string, token refreshData) (Client, error) {
	c, err := s.clientOfGrant(ctx, id, token)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Client{ID: id, Origin: ClientDocument, AuthMethod: oauth.AuthMethodPrivateKeyJWT, AlsoPublic: true, idle: true}, nil
	case err != nil:
		return Client{}, oauth.Unavailable(err)
	}
	return c, nil
}

// clientOfGrant returns the client of a refresh token's grant: what its document
// says by now if that is in memory, and otherwise what it said when the grant
// was made. The document is then looked at in the background, and the next
// refresh sees it. The error is store.ErrNotFound, also for a grant of another
// client, or an outage.
func (s *Server) clientOfGrant(ctx context.Context, id string, token refreshData) (Client, error) {
	c, status, ok := s.documents.cache.Peek(id)
	if (!ok || status.Source == fetch.Stale) && s.documents.renewed.take(id) {
		s.documents.cache.Revalidate(id)
	}
	if ok {
		return c, nil
	}
	g, err := s.deps.Store.Grant(ctx, s.now(), token.grantID)
	switch {
	case err != nil && !errors.Is(err, store.ErrRevoked):
		return Client{}, err
	case g.ClientID != id:
		return Client{}, fmt.Errorf("%w for this client: the token was issued to another", store.ErrNotFound)
	}
	return s.rememberedClient(g), nil
}

// rememberedClient returns the client of a grant whose document is not in
// memory. A grant that keeps nothing of a document is not one of such a client
// (checkDocument).
func (s *Server) rememberedClient(g store.Grant) Client {
	sn, _ := grantSnapshot(g)
	c := sn.client(g.ClientID, g.RedirectURI, g.ClientHash)
	c.gone = s.documentGone(g.ClientID)
	return c
}

// documentGone reports whether the host of a document said lately that there is
// none, and nothing better since. It fetches nothing.
func (s *Server) documentGone(id string) bool {
	f, ok := s.documents.cache.Failed(id)
	return ok && !f.Gone.IsZero() && s.now().Sub(f.Gone) < documentStale
}

// grantSnapshot reads what a grant keeps of its client's document.
func grantSnapshot(g store.Grant) (sn snapshot, ok bool) {
	return sn, g.ClientMetadata != "" && json.Unmarshal([]byte(g.ClientMetadata), &sn) == nil
}

// checkDocument ends a grant whose client's document no longer stands for what
// the person agreed to.
func (s *Server) checkDocument(ctx context.Context, now time.Time, c Client, g store.Grant) error {
	cause := documentChange(c, g)
	if cause == nil {
		return nil
	}
	if err := s.revoke(ctx, now, g, "client_changed"); err != nil {
		return err
	}
	return oauth.Errorf(oauth.CodeInvalidGrant, errRefresh).WithCause(cause)
}

// documentChange returns why a client's document ends a grant (draft -01 §6.3),
// or nil: it is gone, it no longer lists the redirect URI, it no longer wants
// refresh tokens, or the client no longer proves who it is. Other changes, such
// as new keys or a new name, count from now on, and people are asked again at
// the next sign-in.
//
// A grant that keeps nothing of a document was made for a client of the
// configuration with this id. Whoever publishes a document there later, or makes
// it public, does not inherit what it had.
func documentChange(c Client, g store.Grant) error {
	if c.Origin != ClientDocument {
		return nil
	}
	was, known := grantSnapshot(g)
	switch {
	case !known:
		return errors.New("the grant was made for a client of the configuration that is no more")
	case c.gone:
		return errors.New("the client's document is gone")
	case !slices.ContainsFunc(c.RedirectURIs, func(uri string) bool { return oauth.MatchRedirectURI(uri, g.RedirectURI) }):
		return errors.New("the client's document no longer lists the redirect URI of the grant")
	case !c.mayRefresh():
		return errors.New("the client's document no longer lists refresh_token")
	case was.confidential() && !c.snapshot().confidential():
		return errors.New("the client's document no longer asks for private_key_jwt")
	}
	return nil
}

// documentStands reports whether a refresh of the grant would pass checkDocument
// now. It fetches nothing and ends nothing.
func (s *Server) documentStands(g store.Grant) bool {
	if _, configured := s.clients[g.ClientID]; configured || !isDocumentID(g.ClientID) {
		return true
	}
	if s.admitDocument(g.ClientID) != nil {
		return false
	}
	c, _, ok := s.documents.cache.Peek(g.ClientID)
	if !ok {
		c = s.rememberedClient(g)
	}
	return documentChange(c, g) == nil
}

// confidential reports whether the client has to authenticate.
func (sn *snapshot) confidential() bool { return sn.AuthMethod != "" && !sn.AlsoPublic }
