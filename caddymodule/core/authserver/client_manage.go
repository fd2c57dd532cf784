package authserver

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// This file implements the management of dynamic clients, RFC 7592. A client
// that was never changed has no record: what is stored is the latest change, or
// that the client was deleted.
//
// The registration access token is derived from the client_id and the version,
// so it is stored nowhere, a change makes a new one, and a forged one fails
// before anything is looked up. Left out: a new client_secret (it belongs to the
// client_id) and changes of scope beyond the first registration.

// managePath is the client configuration endpoint (RFC 7592 §2), below the issuer.
// The client_id is in the query because it is the registration: it has no
// shorter name that works without storage. It is no secret, as /authorize shows.
const managePath = "/oauth/register/client"

// deletedError is the errUnknownClient of a client that was deleted.
type deletedError struct {
	version uint64 // of the deletion
	at      time.Time
}

func (deletedError) Error() string { return errUnknownClient.Error() + ": it was deleted" }

func (deletedError) Unwrap() error { return errUnknownClient }

// currentClient returns a dynamic client as it is now: as it registered, or as it
// was changed since. It returns a deletedError for one that was deleted.
func (s *Server) currentClient(ctx context.Context, c Client) (Client, error) {
	rec, err := s.deps.Store.Client(ctx, oauth.ClientKey(c.ID))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return c, nil
	case err != nil:
		return Client{}, fmt.Errorf("reading what became of a client: %w", err)
	case rec.Deleted:
		return Client{}, deletedError{rec.Version, rec.Changed}
	}
	c, err = clientFrom(c.ID, []byte(rec.Metadata))
	c.Version = rec.Version
	return c, err
}

// registrationToken derives the token that manages a version of a client
// (RFC 7592 §3: the registration access token).
func (s *Server) registrationToken(id string, version uint64) (string, error) {
	key, err := s.deps.Keys.Ring().Sealer.Companion(keys.PurposeRegistration, id)
	if err != nil {
		return "", fmt.Errorf("deriving a registration access token: %w", err)
	}
	number := strconv.FormatUint(version, 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(number))
	return number + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), nil
}

// addManagement adds how the client manages its registration (RFC 7592 §3).
func (s *Server) addManagement(info *oauth.ClientInformation, version uint64) error {
	if s.cfg.Registration.NoManagement {
		return nil
	}
	var err error
	info.RegistrationClientURI = s.url(managePath) + "?" + url.Values{"client_id": {info.ClientID}}.Encode()
	info.RegistrationAccessToken, err = s.registrationToken(info.ClientID, version)
	return err
}

// What is done to a registration, for the log.
const (
	manageRead   = "read"
	manageUpdate = "update"
	manageDelete = "delete"
)

func (s *Server) serveClient(w http.ResponseWriter, r *http.Request) {
	e := oauth.Event{Kind: oauth.EventRegister, Status: http.StatusOK, Reason: manageRead}
	switch r.Method {
	case http.MethodPut:
		e.Reason = manageUpdate
	case http.MethodDelete:
		e.Reason, e.Status = manageDelete, http.StatusNoContent
	}
	c, err := s.manage(w, r, e.Reason)
	var info *oauth.ClientInformation
	if err == nil && e.Reason != manageDelete {
		info, err = s.clientInformation(c)
	}
	e.ClientID, e.ClientName, e.Err = c.ID, c.Name, err
	if err != nil {
		if asOAuthError(err).Code == oauth.CodeInvalidToken && w.Header().Get("WWW-Authenticate") == "" {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		}
		e.Code, e.Status = s.writeError(w, err)
		s.observe(r, e)
		return
	}
	s.observe(r, e)
	noStore(w)
	if info == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	writeJSON(w, http.StatusOK, info)
}

// manage does what the request asks for and returns the client as it is then.
func (s *Server) manage(w http.ResponseWriter, r *http.Request, what string) (Client, error) {
	c, err := s.ownClient(w, r)
	gone, again := errors.AsType[deletedError](err)
	switch {
	case again:
		// Its deletion was answered with an error, or the answer was lost.
		return c, s.endClient(r.Context(), c, gone.at)
	case err != nil || what == manageRead:
		return c, err
	case what == manageDelete:
		if err := s.boundedChange(w, r, c); err != nil {
			return c, err
		}
		return c, s.deleteClient(r.Context(), c)
	}
	req, err := readMetadata(w, r)
	if err != nil {
		return c, err
	}
	next, text, err := s.updated(c, req)
	if err != nil || next.Version == c.Version {
		return c, err
	}
	if err := s.boundedChange(w, r, c); err != nil {
		return c, err
	}
	return next, s.putClient(r.Context(), store.ClientRecord{
		Key: oauth.ClientKey(c.ID), Version: next.Version, Metadata: string(text), Changed: s.now(),
	})
}

// errRegistrationToken is one text for an unknown or deleted client, a token of
// another one and a token that a change has replaced (RFC 7592 §2.1).
func errRegistrationToken(cause string) error {
	return oauth.Errorf(oauth.CodeInvalidToken, "the registration access token is invalid, was replaced by an update, or its client is gone: register again").
		WithCause(errors.New(cause))
}

// ownClient returns the client that the request manages, if its token is the one
// of the client's newest version. For a request to delete it with the token that
// deleted it, it returns a deletedError.
func (s *Server) ownClient(w http.ResponseWriter, r *http.Request) (Client, error) {
	token, sent := bearer(r)
	if !sent {
		w.Header().Set("WWW-Authenticate", "Bearer")
		return Client{}, oauth.Errorf(oauth.CodeInvalidToken, "send the registration access token as a bearer token in the Authorization header (RFC 7592 section 2)")
	}
	p, err := parseParams(r.URL.RawQuery)
	if err != nil {
		return Client{}, err
	}
	if p.repeated("client_id") != "" {
		return Client{}, oauth.Errorf(oauth.CodeInvalidRequest, "the parameter client_id occurs twice")
	}
	c, err := s.sealedClient(p.get("client_id"))
	if err != nil {
		return Client{}, errRegistrationToken("no client has this client_id")
	}
	version, err := tokenVersion(token)
	if err != nil {
		return c, errRegistrationToken("it is malformed")
	}
	want, err := s.registrationToken(c.ID, version)
	if err != nil {
		return c, oauth.Unavailable(err)
	}
	if !sameSecret(token, want) {
		return c, errRegistrationToken("it is not one of this client")
	}
	now, err := s.currentClient(r.Context(), c)
	gone, deleted := errors.AsType[deletedError](err)
	switch {
	case deleted && r.Method == http.MethodDelete && gone.version == version+1:
		return c, gone
	case deleted:
		return c, errRegistrationToken("the client was deleted")
	case err != nil:
		return c, oauth.Unavailable(err)
	case now.Version != version:
		return c, errRegistrationToken("it is of an earlier version of the client")
	}
	return now, nil
}

func tokenVersion(token string) (uint64, error) {
	number, _, _ := strings.Cut(token, ".")
	return strconv.ParseUint(number, 10, 64)
}

// updated returns the next version of a client, and its text, for a request that
// replaces its metadata (RFC 7592 §2.2), or the same version if nothing changes.
// Everything that is checked at registration is checked again, and nothing gets
// wider. What people approved before was another client's, by its hash.
func (s *Server) updated(c Client, req registrationRequest) (Client, []byte, error) {
	if err := s.checkUpdate(c, req); err != nil {
		return c, nil, err
	}
	next, err := s.clientMetadata(req)
	if err != nil {
		return c, nil, err
	}
	next.ID, next.Issued, next.Version = c.ID, c.Issued, c.Version
	next.GrantTypes = slices.DeleteFunc(next.GrantTypes, func(g string) bool { return !slices.Contains(c.GrantTypes, g) })
	if len(c.Wish) > 0 {
		if next.Wish = next.Wish.Intersect(c.Wish); len(next.Wish) == 0 {
			next.Wish = c.Wish
		}
	}
	text, err := clientText(next)
	if err != nil {
		return c, nil, err
	}
	if old, err := clientText(c); err != nil || !bytes.Equal(text, old) {
		next.Version++
	}
	return next, text, nil
}

// checkUpdate: the request names its client, by its own secret if by any, and has
// nothing that only the server says (RFC 7592 §2.2).
func (s *Server) checkUpdate(c Client, req registrationRequest) error {
	for name, value := range map[string]jsontext.Value{
		"registration_access_token": req.RegistrationAccessToken, "registration_client_uri": req.RegistrationClientURI,
		"client_secret_expires_at": req.ClientSecretExpiresAt, "client_id_issued_at": req.ClientIDIssuedAt,
	} {
		if value != nil {
			return oauth.Errorf(oauth.CodeInvalidClientMetadata, "an update must not have the member %s (RFC 7592 section 2.2)", name)
		}
	}
	var id, secret string
	if err := json.Unmarshal(req.ClientID, &id); err != nil || id != c.ID {
		return oauth.Errorf(oauth.CodeInvalidClientMetadata, "client_id must be the one of the client that is updated")
	}
	if req.ClientSecret == nil || req.ClientSecret.Kind() == 'n' {
		return nil
	}
	own, err := s.clientSecret(c)
	if err != nil {
		return oauth.Unavailable(err)
	}
	err = json.Unmarshal(req.ClientSecret, &secret)
	if same := sameSecret(secret, own); err != nil || !same || !c.hasSecret() {
		return oauth.Errorf(oauth.CodeInvalidClientMetadata, "client_secret must be the client's own, or be left out: it can't be chosen")
	}
	return nil
}

// deletedTokens is how long the tokens of a deleted client are remembered at least: a
// configuration of before may have given them more time than the one of now.
const deletedTokens = 24 * time.Hour

// deleteClient ends a client for good (RFC 7592 §2.3), and then its access tokens:
// the other way round, a request that changed the client meanwhile would win, and
// the client would live on with tokens that are dead. If the second step fails,
// the same request does it when it is sent again.
func (s *Server) deleteClient(ctx context.Context, c Client) error {
	now := s.now()
	err := s.putClient(ctx, store.ClientRecord{Key: oauth.ClientKey(c.ID), Version: c.Version + 1, Changed: now, Deleted: true})
	if err != nil {
		return err
	}
	return s.endClient(ctx, c, now)
}

// endClient ends the access tokens of a client that was deleted at a moment. It
// announces that once, so that nobody fills the feed. Before lies ahead for what
// is issued by requests that found the client a moment earlier.
func (s *Server) endClient(ctx context.Context, c Client, at time.Time) error {
	now, before := s.now(), at.Add(revocationMargin)
	r := store.Revocation{
		Client: oauth.ClientKey(c.ID), Before: before, Reason: "client_deleted",
		Until: before.Add(max(s.cfg.Lifetimes.AccessToken, deletedTokens) + revocationMargin),
	}
	if s.deps.Revoked.ClientEnded(r.Client, r.Before) || !now.Before(r.Until) {
		return nil
	}
	err := s.deps.Store.Announce(ctx, now, r)
	if err != nil {
		err = oauth.Unavailable(fmt.Errorf("ending the tokens of a client: %w", err))
	} else {
		s.deps.Revoked.add(r)
	}
	s.tell(ctx, oauth.Event{Kind: oauth.EventRevoke, ClientID: c.ID, ClientName: c.Name, Reason: r.Reason}, err)
	return err
}

// putClient stores the next version of a client. If another request was faster,
// this one's token is of an earlier version by now.
func (s *Server) putClient(ctx context.Context, rec store.ClientRecord) error {
	err := s.deps.Store.PutClient(ctx, s.now(), rec)
	switch {
	case errors.Is(err, store.ErrConflict):
		return errRegistrationToken("another request changed the client meanwhile")
	case err != nil:
		return oauth.Unavailable(fmt.Errorf("storing a client: %w", err))
	}
	return nil
}
