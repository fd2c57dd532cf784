package password

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/passhash"
)

// The names of what people type in.
const (
	fieldUser     = "username"
	fieldPassword = "password"
)

// busyRetry is when to come back if too many hashes are computed.
const busyRetry = 5 * time.Second

// Info implements [login.Method].
func (l *Login) Info() login.Info {
	return login.Info{ID: l.ID, Fields: []login.Field{
		{Name: fieldUser, Label: "User name", Autocomplete: "username"},
		{Name: fieldPassword, Label: "Password", Secret: true, Autocomplete: "current-password"},
	}}
}

// Begin compares what the person typed with the users. Nobody learns whether it
// was the name or the password that was wrong, or whether the user is disabled:
// the answer, the work for it and the throttling are the same.
//
// A name may be written in upper or lower case and have blanks around it, as
// phones add them. A password counts byte for byte, up to 4 KiB.
func (l *Login) Begin(ctx context.Context, r login.Request) (login.Step, error) {
	name, typed := fold(strings.TrimSpace(r.Form[fieldUser])), r.Form[fieldPassword]
	if name == "" || typed == "" || len(typed) > maxPassword {
		return login.Step{}, login.ErrRejected // whoever the name belongs to
	}
	a, h := l.people.Load().find(name)
	g := guess{name: name, typed: typed, from: r.RemoteIP, account: a, hash: h}
	// Whether there still is such a user must make no difference, so it is the
	// name that is compared; names that differ in case only are one.
	if fold(r.DeviceSubject) == name {
		g.device = r.Device
	}
	same, err := l.guess(ctx, g)
	switch {
	case err != nil:
		return login.Step{}, err
	case !same:
		return login.Step{}, login.ErrRejected
	}
	// The users may have changed while the hash was computed. The person learns
	// no more than that it did not work.
	id, err := l.Recheck(ctx, a.identity(l.now()))
	if err != nil {
		return login.Step{}, login.ErrRejected
	}
	return login.Step{Identity: &id}, nil
}

// guess is one attempt to sign in.
type guess struct {
	name, typed, from string
	device            string        // on which the person signed in before; empty otherwise
	account           *account      // nil if nobody has the name
	hash              passhash.Hash // to compare with, in any case
}

// guess reports whether the attempt has the password of someone who may come in.
// It is counted before the hash is computed, so that of many attempts at once
// none gets past the count.
func (l *Login) guess(ctx context.Context, g guess) (bool, error) {
	attempt, err := l.state.throttle.reserve(l.ID+" "+g.name, g.from, g.device)
	if err != nil {
		return false, err
	}
	leave, err := l.state.gate.Enter(ctx, attempt.known)
	if err != nil {
		attempt.cancel()
		if errors.Is(err, passhash.ErrBusy) {
			err = &login.ThrottledError{RetryAfter: busyRetry}
		}
		return false, err
	}
	defer leave()
	same, err := l.compare(g.hash, g.typed)
	if err != nil {
		attempt.cancel()
		return false, fmt.Errorf("password: %w", err)
	}
	if !same || g.account == nil || g.account.Disabled {
		return false, nil
	}
	attempt.succeed()
	return true, nil
}

// Finish is never reached, because Begin does not redirect.
func (*Login) Finish(context.Context, login.Request) (login.Step, error) {
	return login.Step{}, login.ErrDenied
}

// Recheck returns what is known about the person today. It denies those who are
// no longer users, who are disabled, and whose password is another one.
func (l *Login) Recheck(ctx context.Context, id login.Identity) (login.Identity, error) {
	now, err := l.Lookup(ctx, id.Subject)
	switch {
	case err != nil:
		return login.Identity{}, err
	case now.Version != id.Version:
		return login.Identity{}, fmt.Errorf("%w: user %s has another password now", login.ErrDenied, now.Subject)
	}
	now.AuthTime = id.AuthTime
	return now, nil
}

// Lookup implements [login.Directory].
func (l *Login) Lookup(_ context.Context, subject string) (login.Identity, error) {
	a := l.people.Load().accounts[fold(subject)]
	switch {
	case a == nil || a.Username != subject:
		return login.Identity{}, fmt.Errorf("%w: there is no such user", login.ErrDenied)
	case a.Disabled:
		return login.Identity{}, fmt.Errorf("%w: user %s is disabled", login.ErrDenied, a.Username)
	}
	return a.identity(time.Time{}), nil
}
