package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Method is one way to sign in. Implementations are safe for concurrent use.
//
// The flow in authserver owns everything around a method: the browser's
// cookies, the state parameter, single use, the session, the rules and the
// pages. A method only establishes who a person is.
type Method interface {
	// Info describes the method. It does not change while the method lives.
	Info() Info

	// Begin starts a sign-in. A method with Fields gets what the person typed,
	// and answers with an identity, [ErrRejected] or a [ThrottledError]. An
	// ambient method finds the person in the request, or returns [ErrDenied].
	// Any other method answers with a redirect.
	Begin(ctx context.Context, r Request) (Step, error)

	// Finish takes the request with which the browser comes back after a
	// redirect, and answers with an identity. A method that never redirects
	// returns ErrDenied.
	Finish(ctx context.Context, r Request) (Step, error)

	// Recheck takes an identity that this method established earlier and
	// returns it as it is now: with today's groups, for a method that keeps
	// them itself. It returns ErrDenied if the person may no longer sign in
	// this way. It is asked whenever a session is used and at every refresh,
	// so it is quick and calls nobody; what it can't know it leaves as it is.
	Recheck(ctx context.Context, id Identity) (Identity, error)
}

// Directory is a method that keeps its people itself, and can tell of them
// without their help. It is optional.
type Directory interface {
	// Lookup returns a person by their subject, as a sign-in would, with a zero
	// AuthTime. It returns ErrDenied for those who may not sign in.
	Lookup(ctx context.Context, subject string) (Identity, error)
}

// Info describes a method to the flow and to the page that offers it.
type Info struct {
	// ID names the method in URLs, logs and grants: lower-case letters, digits
	// and hyphens, at most 32. No two methods of a server share one.
	ID string
	// Label is what people call it, such as "Google"; a button says "Continue
	// with" before it. Methods without a button have none.
	Label string
	// Namespace is who hands out the subjects, such as the URL of an identity
	// provider. It keeps one provider's subjects from being taken for
	// another's. Empty for names that the operator hands out; at most one
	// method of a server may leave it empty.
	Namespace string
	// Fields are what a person types in for Begin; empty for all other methods.
	Fields []Field
	// Ambient says that the request itself shows who the person is: there is
	// nothing to click.
	Ambient bool
	// Unattended says that the method lets people in without proof. The server
	// refuses such a method where strangers can reach it.
	Unattended bool
	// Headers are request headers by which a proxy vouches for people. They are
	// removed from calls before these reach the protected server.
	Headers []string
	// Groups are groups that Recheck needs. They are always kept, also of
	// people who are in more groups than fit.
	Groups []string
	// Open says that anyone may have an account there, so that the server must
	// be told who may come in.
	Open bool
}

// Field is something that a person types in.
type Field struct {
	// Name is the field's name in [Request.Form]. The pages have words for
	// "username" and "password".
	Name string
	// Label is shown for every other name.
	Label string
	// Secret hides what is typed.
	Secret bool
	// Autocomplete is the HTML autocomplete token, such as "username" or
	// "current-password".
	Autocomplete string
}

// Request is what a method learns about one step of a sign-in.
type Request struct {
	// HTTP is the browser's request, for methods that look at its headers or
	// its connection. Its body has been read.
	HTTP *http.Request
	// RemoteIP is the browser's address as the host determined it, behind
	// trusted proxies too. It may be empty.
	RemoteIP string
	// Device names the browser if somebody has signed in with this method in it
	// before, and DeviceSubject is who that was, as in [Identity.Subject]. It
	// outlives sessions and restarts, proves nothing about who sits there now,
	// and is what throttling can go by where addresses say too little. Empty
	// otherwise.
	Device, DeviceSubject string
	// Form holds what the person typed, by [Field.Name]. For Begin.
	Form map[string]string
	// CallbackURL is where the browser has to come back to, and the method's
	// own: no other method shares it.
	CallbackURL string
	// State has to come back to CallbackURL as the query parameter state. The
	// flow makes it and checks it before it calls Finish.
	State string
	// Query is the query that the browser came back with. For Finish.
	Query url.Values
	// Saved is what Begin returned in [Step.Save]. For Finish.
	Saved []byte
	// Force asks for a sign-in even if the provider still knows the person.
	// For Begin.
	Force bool
}

// Step is where a sign-in stands after Begin or Finish: exactly one of Identity
// and Redirect is set.
type Step struct {
	// Identity is set when the person is known.
	Identity *Identity
	// Redirect is the URL at which the browser has to go on.
	Redirect string
	// Save goes with Redirect: up to 1 KiB that Finish gets back. It is sealed
	// in a cookie, so that neither the browser nor anyone else can read or
	// change it; a PKCE verifier and a nonce are safe in it.
	Save []byte
}

// Identity is a person, as a method has established.
type Identity struct {
	// Subject is the stable id that no other person of this method ever gets:
	// 1 to 200 characters of printable ASCII without space. Required.
	Subject string `json:"sub"`
	// Name and Email are for people, rules and upstream servers. Both may be
	// empty.
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
	// EmailVerified says that the method vouches for the address. Rules about
	// addresses look at no other.
	EmailVerified bool `json:"email_verified,omitempty"`
	// Groups are the person's groups, for rules.
	Groups []string `json:"groups,omitempty"`
	// GroupsUnknown says that the person may be in groups that could not be
	// learned. Rules then err on the side of caution: whoever denies a group
	// denies this person.
	GroupsUnknown bool `json:"groups_unknown,omitempty"`
	// AuthTime is when the person proved who they are.
	AuthTime time.Time `json:"auth_time"`
	// AuthTimeUnknown says that a provider which keeps people signed in did not
	// tell: AuthTime is when it named the person, and the proof may be older.
	AuthTimeUnknown bool `json:"auth_time_unknown,omitempty"`
	// Version changes when what the person signs in with changes, such as a
	// password: Recheck denies an identity with an older one, which ends
	// sessions at once and grants at their next refresh. It is no credential.
	// May be empty.
	Version string `json:"version,omitempty"`
}

// What Begin, Finish and Recheck return besides outages: every other error says
// that the method does not work at the moment.
var (
	// ErrRejected says that what the person typed is wrong. They may try again.
	ErrRejected = errors.New("login: rejected")
	// ErrDenied says that this person does not get in this way: they or the
	// provider refused, or the answer does not hold. Wrap it with the reason
	// for the log.
	ErrDenied = errors.New("login: denied")
)

// ThrottledError says that there were too many attempts.
type ThrottledError struct {
	// RetryAfter is how long to wait for the next.
	RetryAfter time.Duration
}

// Error implements error.
func (e *ThrottledError) Error() string {
	return fmt.Sprintf("login: too many attempts, wait %s", (e.RetryAfter + time.Second - 1).Truncate(time.Second))
}
