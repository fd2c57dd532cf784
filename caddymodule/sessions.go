package caddymodule

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// This file binds the sessions of MCP revisions up to 2025-11-25 to the user and
// the client for whom the server opened them, as the revision's security practices
// ask. The id itself is relayed as it is. Left out: the sessions of HTTP+SSE, whose
// id is part of a URL that only the server understands, and event ids.

// sessionHeader names a session.
const sessionHeader = "Mcp-Session-Id"

const (
	// sessionsKnown is how many sessions a node remembers; it asks the store for others.
	sessionsKnown = 50_000
	// sessionBound is how long the store knows whose a session is. Who uses one
	// after that is its owner from then on.
	sessionBound = 7 * 24 * time.Hour
	// guessable is the length below which an id of a session could be guessed.
	guessable = 16
	// sessionTimeout bounds what the store may take for it.
	sessionTimeout = 2 * time.Second
)

// digest is a SHA-256 hash.
type digest = [sha256.Size]byte

// ownerOf is a user with a client, as far as a session is concerned.
func ownerOf(t *resource.Token, client string) digest {
	return digestOf(t.Issuer, t.Subject, client)
}

// ownerOf is who makes a call. Programs that register themselves may do so again in
// the middle of a session, for more scopes or after a token has ended, as the Go SDK
// does at every sign-in. So one of a user's is as good as another: what a client
// says of itself when it registers could not tell them apart.
func (h *Handler) ownerOf(t *resource.Token) digest {
	k := seenOf(t)
	if known := k.owner.Load(); known != nil {
		return *known
	}
	client := t.ClientID
	if t.Issuer == h.back.issuer {
		server, err := h.back.server()
		if err != nil {
			return ownerOf(t, client) // and ask again
		}
		if server.Registered(client) {
			client = anyRegistered
		}
	}
	owner := ownerOf(t, client)
	k.owner.Store(&owner)
	return owner
}

// anyRegistered stands for each client that registered itself. It is no client_id,
// in which there are no spaces.
const anyRegistered = "any registered client"

// digestOf hashes parts so that their borders count.
func digestOf(parts ...string) digest {
	var room [1 << 10]byte
	text := room[:0]
	for _, p := range parts {
		text = binary.LittleEndian.AppendUint32(text, uint32(len(p))) //nolint:gosec // shorter than any header
		text = append(text, p...)
	}
	return sha256.Sum256(text)
}

// sessions knows whose sessions are. A session that is unknown everywhere, because
// it is older than this or was opened past the gateway, becomes that of the first
// whom the server takes it from.
type sessions struct {
	known *otter.Cache[digest, digest] // owners by session
}

func newSessions() *sessions {
	return &sessions{otter.Must(&otter.Options[digest, digest]{
		MaximumSize:      sessionsKnown,
		ExpiryCalculator: otter.ExpiryAccessing[digest, digest](sessionBound),
	})}
}

// keeper is where nodes agree on whose a session is; nil without a store.
type keeper struct {
	store store.Store
	now   func() time.Time
}

// opened notes that the server has opened a session for somebody. The server's
// word counts more than what was known of the id. If the store can't be told, this
// node knows it all the same.
func (s *sessions) opened(ctx context.Context, k *keeper, session, owner digest) error {
	s.known.Set(session, owner)
	if k == nil {
		return nil
	}
	return k.claim(ctx, session, owner, true)
}

// whose is what is known of a session.
type whose uint8

const (
	nobodys  whose = iota // as far as anybody knows
	mine                  // the caller's
	anothers              // another user's or client's
)

// of reports whose a session is. An error is an outage of the store, which only a
// session can meet that this node has not seen.
func (s *sessions) of(ctx context.Context, k *keeper, session, owner digest) (whose, error) {
	if known, ok := s.known.GetIfPresent(session); ok {
		if known == owner {
			return mine, nil
		}
		return anothers, nil
	}
	if k == nil {
		return nobodys, nil
	}
	found, err := k.look(ctx, session, owner)
	if found == mine {
		s.known.Set(session, owner)
	}
	return found, err
}

// used notes that the server takes a session that was nobody's: it is the caller's
// from now on, unless somebody else was faster.
func (s *sessions) used(ctx context.Context, k *keeper, session, owner digest) error {
	if _, known := s.known.GetIfPresent(session); known {
		return nil
	}
	if _, first := s.known.SetIfAbsent(session, owner); !first || k == nil {
		return nil
	}
	return k.claim(ctx, session, owner, false)
}

// maxOwners is how often the store follows a session id from one owner to the next.
// A server that counts its sessions gives the same ids out after each restart.
const maxOwners = 16

// claim makes a session the owner's: a new one that nobody has, or, if the server
// says so, one that was another's. Two keys are marked: that the session has its
// n-th owner, and that this is the one.
func (k *keeper) claim(ctx context.Context, session, owner digest, anew bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sessionTimeout)
	defer cancel()
	ctx = store.WithBudget(ctx, sessionTimeout)
	now := k.now()
	for n := range maxOwners {
		nth, ours := sessionKeys(session, owner, n)
		_, err := k.store.Use(ctx, now, nth, now.Add(sessionBound))
		if err == nil {
			_, err = k.store.Use(ctx, now, ours, now.Add(sessionBound))
			return unless(err, store.ErrExists)
		}
		if !errors.Is(err, store.ErrExists) {
			return err
		}
		if is, err := k.marked(ctx, now, ours); err != nil || is || !anew {
			return err
		}
	}
	return errors.New("the server gave the id of a session out too often")
}

// look reports whose a session is, and writes nothing.
func (k *keeper) look(ctx context.Context, session, owner digest) (whose, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sessionTimeout)
	defer cancel()
	ctx = store.WithBudget(ctx, sessionTimeout)
	now, last := k.now(), ""
	for n := range maxOwners {
		nth, ours := sessionKeys(session, owner, n)
		is, err := k.marked(ctx, now, nth)
		if err != nil {
			return anothers, err
		}
		if !is {
			break
		}
		last = ours
	}
	if last == "" {
		return nobodys, nil
	}
	if is, err := k.marked(ctx, now, last); err != nil || !is {
		return anothers, err
	}
	return mine, nil
}

// marked reports whether a key is marked. A mark that is over at once is a question.
func (k *keeper) marked(ctx context.Context, now time.Time, key string) (bool, error) {
	_, err := k.store.Use(ctx, now, key, now)
	return errors.Is(err, store.ErrExists), unless(err, store.ErrExists)
}

func unless(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// sessionKeys are the keys for the n-th owner of a session, and for this being the one.
func sessionKeys(session, owner digest, n int) (nth, ours string) {
	nth = fmt.Sprintf("mcp session %s %d", base64.RawURLEncoding.EncodeToString(session[:]), n)
	return nth, nth + " " + base64.RawURLEncoding.EncodeToString(owner[:])
}

// bindSession notes whose a session is, when the server's answer is known: one that
// it opens, before the client is told of it, or one that it takes although nobody
// knew of it. Ids that can be guessed are bound only if the server gives them out, or
// anybody could take them from others.
func (h *Handler) bindSession(r *http.Request, status int, opened string, t *resource.Token) {
	sent := r.Header.Get(sessionHeader)
	s, k, owner := h.back.sessions, h.back.keeper, h.ownerOf(t)
	var err error
	switch {
	case opened != "" && opened != sent:
		err = s.opened(r.Context(), k, digestOf(h.Resource[0], opened), owner)
	case len(sent) >= guessable && status < http.StatusBadRequest:
		err = s.used(r.Context(), k, digestOf(h.Resource[0], sent), owner)
	}
	if err != nil {
		h.observe(r, oauth.Event{
			Kind: oauth.EventRequest, Status: http.StatusServiceUnavailable, Code: oauth.CodeTemporarilyUnavailable,
			Err: fmt.Errorf("only this node knows whose a session is: %w", err),
		}, t)
	}
}
