package authserver

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// A session is a browser in which somebody has signed in. It is a sealed
// cookie and is stored nowhere; only its end is, in the feed of revocations.
// It opens the pages of this server and nothing else: no MCP call looks at it.

// session is the text inside the cookie.
type session struct {
	// ID is new at every sign-in (OWASP ASVS 3.2.1: no fixation).
	ID     string       `json:"i"`
	Person login.Person `json:"p"`
	// Began, Seen and Proved are in milliseconds since 1970.
	Began int64 `json:"b"`
	Seen  int64 `json:"s"`
	// Proved is when the person proved who they are, which may be long before at
	// a provider, and Forced that they were to prove it once more.
	Proved int64 `json:"a"`
	Forced bool  `json:"f,omitempty"`
}

// sealEvery is how old Seen may get before the cookie is sealed anew.
func (s *Server) sealEvery() time.Duration { return min(time.Minute, s.cfg.Sessions.Idle/10) }

// visitor is who sits at the browser.
type visitor struct {
	// Person is nobody if its Subject is empty.
	login.Person
	// session is zero for an ambient login, which has none.
	session session
	// unproven is why a login that looks at the request found nobody.
	unproven error
}

// known reports whether anybody is signed in.
func (v visitor) known() bool { return v.Subject != "" }

// ambient reports whether the request itself showed who it is.
func (v visitor) ambient() bool { return v.known() && v.session.ID == "" }

// visitor finds out who sent the request. An ambient login comes before the
// session, because it knows best.
func (s *Server) visitor(w http.ResponseWriter, r *http.Request) (visitor, error) {
	var unproven error
	for _, m := range s.logins {
		if !m.info.Ambient || m.info.Unattended && !s.localEnough(r) {
			continue
		}
		step, err := m.Begin(r.Context(), s.loginRequest(r, m))
		switch {
		case errors.Is(err, login.ErrDenied):
			unproven = errors.Join(unproven, err)
			continue
		case err != nil:
			return visitor{}, oauth.Unavailable(err)
		case step.Identity == nil:
			return visitor{}, oauth.Unavailable(fmt.Errorf("login %s is ambient and names nobody", m.info.ID))
		}
		p, err := m.person(*step.Identity)
		if err != nil {
			return visitor{}, oauth.Errorf(oauth.CodeAccessDenied, "the sign-in was not accepted").WithCause(err).WithStatus(http.StatusForbidden)
		}
		return visitor{Person: p}, nil
	}
	v, err := s.sessionVisitor(w, r)
	v.unproven = unproven
	return v, err
}

func (s *Server) sessionVisitor(w http.ResponseWriter, r *http.Request) (visitor, error) {
	c, ok := s.openSession(r)
	if !ok {
		return visitor{}, nil
	}
	p, err := s.recheck(r.Context(), c.Person)
	switch {
	case errors.Is(err, login.ErrDenied):
		// They may not sign in any more: as if they had not.
		s.observe(r, oauth.Event{
			Kind: oauth.EventRequest, Reason: "session_refused", Err: err, Code: oauth.CodeAccessDenied, Subject: c.Person.Subject, Login: c.Person.Login,
		})
		return visitor{}, nil
	case err != nil:
		return visitor{}, oauth.Unavailable(err)
	}
	c.Person = p
	if now := s.now(); now.Sub(time.UnixMilli(c.Seen)) >= s.sealEvery() {
		c.Seen = now.UnixMilli()
		if err := s.setSession(w, c); err != nil {
			return visitor{}, oauth.Unavailable(err)
		}
	}
	return visitor{Person: p, session: c}, nil
}

// openSession reads the cookie. One that is expired, signed out or not ours is
// the same as none.
func (s *Server) openSession(r *http.Request) (session, bool) {
	var c session
	text, err := s.sealer().Open(keys.PurposeSession, s.cookie(r, cookieSession), s.now())
	if err != nil || json.Unmarshal(text, &c) != nil {
		return session{}, false
	}
	ended := s.deps.Revoked.SessionEnded(c.ID, c.Person.Subject, time.UnixMilli(c.Began))
	return c, !ended && s.sessionExpires(c).After(s.now())
}

// sessionExpires is when a session ends unless it is used before.
func (s *Server) sessionExpires(c session) time.Time {
	idle := time.UnixMilli(c.Seen).Add(s.cfg.Sessions.Idle)
	if end := time.UnixMilli(c.Began).Add(s.cfg.Sessions.Absolute); idle.After(end) {
		return end
	}
	return idle
}

// startSession gives the browser a new session in place of the one it has,
// which ends.
func (s *Server) startSession(w http.ResponseWriter, r *http.Request, next session) error {
	if old, ok := s.openSession(r); ok {
		until := time.UnixMilli(old.Began).Add(s.cfg.Sessions.Absolute)
		if err := s.end(r.Context(), store.Revocation{Session: old.ID, Reason: "signed_in_anew", Until: until}); err != nil {
			return err
		}
	}
	next.ID, next.Began = rand.Text(), s.after(next.Person.Subject).UnixMilli()
	next.Seen = next.Began
	return s.setSession(w, next)
}

// after is the time that is noted for what begins now: behind everything that
// the person has ended, whatever the clocks of two nodes say.
func (s *Server) after(subject string) time.Time {
	now := s.now()
	for _, what := range []string{subject, codesOf(subject)} {
		if last := s.deps.Revoked.SignedOut(what); now.Before(last) {
			now = last
		}
	}
	return now
}

// codesOf stands for the codes of a person in the feed of revocations. No
// subject has a line break.
func codesOf(subject string) string { return "codes\n" + subject }

// endCodes ends the codes that the person has approved and no client has
// redeemed yet, so that no grant appears after all were taken back.
func (s *Server) endCodes(ctx context.Context, v visitor) error {
	before := s.now().Add(sessionMargin).Truncate(time.Millisecond)
	return s.end(ctx, store.Revocation{
		Subject: codesOf(v.Subject), Before: before, Reason: "revoke_all", Until: before.Add(maxCodeLifetime),
	})
}

// codeEnded reports whether the person has ended the code since, with all
// their programs or all their sessions.
func (s *Server) codeEnded(c codeData) bool {
	return s.tookBack(c.User.Subject, time.UnixMilli(c.Issued))
}

// tookBack reports whether the person has ended all their programs or all their
// sessions since.
func (s *Server) tookBack(subject string, since time.Time) bool {
	return since.Before(s.deps.Revoked.SignedOut(subject)) || since.Before(s.deps.Revoked.SignedOut(codesOf(subject)))
}

func (s *Server) setSession(w http.ResponseWriter, c session) error {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding a session: %w", err)
	}
	sealed, err := s.sealer().Seal(keys.PurposeSession, text, s.sessionExpires(c))
	if err != nil {
		return fmt.Errorf("sealing a session: %w", err)
	}
	return s.setCookie(w, cookieSession, sealed, 0)
}

// sessionMargin is added to what a sign-out everywhere ends, for clocks that
// differ between nodes.
const sessionMargin = 5 * time.Second

// signOut ends the visitor's session here and on every node. The cookie goes
// in any case; an error says that a copy of it might still be good.
func (s *Server) signOut(w http.ResponseWriter, r *http.Request, v visitor) error {
	s.clearCookie(w, r, cookieSession)
	if v.session.ID == "" {
		return nil
	}
	return s.endSessions(r.Context(), v, store.Revocation{
		Session: v.session.ID, Reason: "sign_out", Until: time.UnixMilli(v.session.Began).Add(s.cfg.Sessions.Absolute),
	})
}

// signOutEverywhere ends all sessions of the visitor.
func (s *Server) signOutEverywhere(w http.ResponseWriter, r *http.Request, v visitor) error {
	before := s.now().Add(sessionMargin).Truncate(time.Millisecond) // as Began is
	if began := time.UnixMilli(v.session.Began + 1); began.After(before) {
		before = began
	}
	err := s.endSessions(r.Context(), v, store.Revocation{
		Subject: v.Subject, Before: before, Reason: "sign_out_everywhere", Until: before.Add(s.cfg.Sessions.Absolute),
	})
	if err == nil {
		s.clearCookie(w, r, cookieSession)
	}
	return err
}

// end tells every node what has ended.
func (s *Server) end(ctx context.Context, r store.Revocation) error {
	r.Until = r.Until.Add(revocationMargin)
	if err := s.deps.Store.Announce(ctx, s.now(), r); err != nil {
		return oauth.Unavailable(err)
	}
	s.deps.Revoked.add(r)
	return nil
}

func (s *Server) endSessions(ctx context.Context, v visitor, r store.Revocation) error {
	err := s.end(ctx, r)
	s.tell(ctx, oauth.Event{Kind: oauth.EventSignOut, Subject: v.Subject, Login: v.Login, Reason: r.Reason}, err)
	return err
}
