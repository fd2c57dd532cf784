package resource

import (
	"context"
	"errors"
)

// Kind is a kind of access tokens: our own, those of an issuer that is
// trusted, and whatever else opens a resource. It is safe for concurrent use.
type Kind interface {
	// Recognizes reports whether the token is of this kind, by its looks alone.
	// Nothing about it is believed yet. A token that is recognized is judged by
	// this kind and no other.
	Recognizes(raw string) bool
	// Verify returns the token if it is genuine and current. The guard then
	// checks that its audience is the resource, in canonical form, and that its
	// grant, if it has one, was not revoked. The error is for the log; it is a
	// verdict about the token unless it wraps one of the errors of this package.
	Verify(ctx context.Context, raw string) (*Token, error)
}

var (
	// ErrUnavailable says that a token can't be judged at the moment, because
	// what that takes is out of reach.
	ErrUnavailable = errors.New("tokens can't be checked")
	// ErrForbidden says that the token is good, and its user may not come in.
	ErrForbidden = errors.New("the user may not use the resource")
	// ErrThrottled says that a token was not checked, because too many bad ones
	// came the same way.
	ErrThrottled = errors.New("too many bad tokens were tried")
)
