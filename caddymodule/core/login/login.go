package login

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Identity is a person, as a method has established.
type Identity struct {
	// Subject is the stable id that no other person ever gets. It becomes the
	// sub of tokens. Required.
	Subject string
	// Name and Email are for people and upstream servers; both may be empty.
	Name, Email string
	// AuthTime is when the person proved who they are.
	AuthTime time.Time
}

// ErrDenied says that the person is not who they claim to be, or did not want
// to sign in. Any other error is an outage of the method.
var ErrDenied = errors.New("login: denied")

// Step is where a sign-in stands after Begin or Finish: exactly one field is
// set.
type Step struct {
	// Identity is set when the person is known.
	Identity *Identity
	// Redirect is set when the browser must go elsewhere first. It comes back
	// with a request for Finish.
	Redirect string
}

// Method is one way to sign in. Implementations are safe for concurrent use.
type Method interface {
	// Begin starts a sign-in for the browser that sent r.
	Begin(ctx context.Context, r *http.Request) (Step, error)
	// Finish takes the request with which the browser comes back after a
	// Redirect. A method that never redirects returns ErrDenied.
	Finish(ctx context.Context, r *http.Request) (Step, error)
	// Unattended reports whether the method lets people in without proof. The
	// server refuses such a method where strangers can reach it.
	Unattended() bool
}
