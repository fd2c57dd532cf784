package store

import (
	"context"
	"errors"
	"time"
)

// Errors that every implementation returns, wrapped or as they are. Any other
// error means that the store could not do its work (an outage); callers answer
// it with 503 and never with a verdict about the client.
var (
	// ErrNotFound says that no live record has this id: it never existed, has
	// expired, or was swept.
	ErrNotFound = errors.New("store: not found")
	// ErrExists says that a record with this id was created before.
	ErrExists = errors.New("store: already exists")
	// ErrConflict says that the record moved on since the caller read it.
	ErrConflict = errors.New("store: conflict")
	// ErrRevoked says that the grant was revoked.
	ErrRevoked = errors.New("store: revoked")
)

// Store keeps the state of one authorization server.
//
// Every method is one atomic step: it either happens as a whole or not at all,
// also when many goroutines or nodes call it at once. A method that writes
// returns nil only after the write is durable (fsync, or the database's own
// commit): what it acknowledged survives kill -9. Methods honour the context's
// deadline. Where the outcome of a write is unknown, they return an error that
// is none of the package's errors.
//
// Time comes from the caller as now, so that expiry can be tested; it is
// compared with whole-second precision or finer. A record whose Expires is not
// after now is treated as absent by every method, whether or not it was swept.
//
// Strings are valid UTF-8 without NUL and come back byte for byte. Times come
// back as the same moment, to the microsecond at least; their location may get
// lost. The key ring is any bytes.
type Store interface {
	// CreateGrant stores a new grant. It returns ErrExists if a grant with this
	// id was ever created and has not expired, revoked or not: this is what
	// makes an authorization code single use.
	CreateGrant(ctx context.Context, now time.Time, g Grant) error

	// Grant returns the grant with this id. A revoked grant is returned
	// together with ErrRevoked.
	Grant(ctx context.Context, now time.Time, id string) (Grant, error)

	// RotateGrant moves the grant from generation r.From to r.From+1, sets
	// RotatedAt to now and Expires to r.Expires, and returns the new state. If
	// the generation is another one, it returns the current grant with
	// ErrConflict; if the grant is revoked, the grant with ErrRevoked.
	RotateGrant(ctx context.Context, now time.Time, r Rotation) (Grant, error)

	// RevokeGrant marks the grant as revoked and appends a Revocation to the
	// feed. It reports whether this call did it: false without an error means
	// that the grant was revoked before. It returns ErrNotFound for an unknown
	// grant. The grant stays, revoked, until Expires or until the
	// revocation's Until, whichever is later, so that its code can't be
	// redeemed again.
	RevokeGrant(ctx context.Context, now time.Time, r Revocation) (bool, error)

	// Revocations returns the feed's entries after the cursor, oldest first,
	// whose Until is after now, and the cursor to continue from. The empty
	// cursor starts at the beginning. A store that lost track of a cursor
	// starts at the beginning again: entries may repeat, they are never missed.
	Revocations(ctx context.Context, now time.Time, after string) ([]Revocation, string, error)

	// KeyRing returns the stored key ring and its version. Where there is none
	// yet it returns ErrNotFound.
	KeyRing(ctx context.Context) (ring []byte, version uint64, err error)

	// SwapKeyRing replaces the ring if its version is still the given one (0:
	// there is none yet) and returns the new version. Otherwise it returns
	// ErrConflict and changes nothing.
	SwapKeyRing(ctx context.Context, version uint64, ring []byte) (uint64, error)

	// Sweep removes expired records and returns how many. Correctness never
	// depends on it. One call does a bounded amount of work; callers repeat it.
	Sweep(ctx context.Context, now time.Time) (int, error)

	// Ping reports whether the store can read and write right now.
	Ping(ctx context.Context) error
}

// Grant is what a person approved: one client may call one resource with some
// scopes. It is created by redeeming an authorization code, under an id derived
// from that code, and holds nothing that could be presented as a credential.
type Grant struct {
	// ID is derived from the authorization code by a one-way function.
	ID string `json:"id"`
	// ClientID is the OAuth client identifier, byte for byte.
	ClientID string `json:"client_id"`
	// ClientName is what the client called itself when the grant was made.
	ClientName string `json:"client_name,omitempty"`
	// RedirectURI is where the code was sent.
	RedirectURI string `json:"redirect_uri"`
	// User is who approved.
	User User `json:"user"`
	// Resource is the canonical URI of the protected MCP server.
	Resource string `json:"resource"`
	// Scope is the granted scope, space separated; refreshing can't widen it.
	Scope string `json:"scope"`
	// AuthTime is when the user signed in.
	AuthTime time.Time `json:"auth_time"`
	// Created is when the code was redeemed.
	Created time.Time `json:"created"`
	// Generation counts refreshes. The refresh token of generation n is good
	// while the grant's generation is n.
	Generation uint64 `json:"generation"`
	// RotatedAt is when the grant reached its generation; Created for 0.
	RotatedAt time.Time `json:"rotated_at"`
	// Expires is when the grant ends unless it is refreshed before.
	Expires time.Time `json:"expires"`
	// NotAfter is when the grant ends even if it is refreshed (absolute
	// lifetime). Expires is never later.
	NotAfter time.Time `json:"not_after"`
	// Revoked is when the grant was revoked; zero while it is good.
	Revoked time.Time `json:"revoked,omitzero"`
}

// User is the person behind a grant, as the sign-in method named them.
type User struct {
	// Subject is the stable, unique id that becomes the token's sub.
	Subject string `json:"subject"`
	// Name and Email are for people; Email may be empty.
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
}

// Rotation asks for a grant's next generation.
type Rotation struct {
	// ID names the grant.
	ID string
	// From is the generation that the caller saw.
	From uint64
	// Expires is the grant's new Expires; the caller keeps it within NotAfter.
	Expires time.Time
}

// Revocation is an entry of the feed from which every node learns that access
// tokens of a grant are no longer good.
type Revocation struct {
	// GrantID names the grant.
	GrantID string `json:"grant_id"`
	// Reason is a short fixed word for the log: "code_replay",
	// "refresh_reuse", "user".
	Reason string `json:"reason"`
	// Until is when the grant's last access token has expired; after it the
	// entry is of no use and may be swept.
	Until time.Time `json:"until"`
}
