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
// Time comes from the caller as now, so that expiry can be tested; nodes that
// share a store go by the store's own (Now). It is compared with whole-second
// precision or finer. A record whose Expires is not after now is treated as absent by every method, whether or not it was swept.
//
// Strings are valid UTF-8 without NUL and come back byte for byte. Ids, used
// keys and subjects may have up to 300 bytes. Times come back as the same
// moment, to the microsecond at least; their location may get lost. No groups
// may come back as nil. The key ring is any bytes. What a method takes and
// returns belongs to the caller: the store keeps no reference to it.
type Store interface {
	// CreateGrant stores a new grant. It returns ErrExists if a grant with this
	// id was ever created and has not expired, revoked or not: this is what
	// makes an authorization code single use.
	CreateGrant(ctx context.Context, now time.Time, g Grant) error

	// Grant returns the grant with this id. A revoked grant is returned
	// together with ErrRevoked.
	Grant(ctx context.Context, now time.Time, id string) (Grant, error)

	// RotateGrant moves the grant from generation r.From to r.From+1, sets
	// RotatedAt and UsedAt to now, Expires and UsedFrom to what r says, and
	// returns the new state. If the generation is another one, it returns the
	// current grant with ErrConflict; if the grant is revoked, the grant with
	// ErrRevoked.
	RotateGrant(ctx context.Context, now time.Time, r Rotation) (Grant, error)

	// RevokeGrant marks the grant as revoked and appends a Revocation to the
	// feed. It reports whether this call did it: false without an error means
	// that the grant was revoked before. It returns ErrNotFound for an unknown
	// grant. The grant stays, revoked, until Expires or until the
	// revocation's Until, whichever is later, so that its code can't be
	// redeemed again.
	RevokeGrant(ctx context.Context, now time.Time, r Revocation) (bool, error)

	// Grants returns the grants of a person that are neither revoked nor
	// expired, at most limit of them, none if limit is not positive. The newest
	// comes first: by Created, and among those of one moment by ID, byte by
	// byte. The person is who User.Subject is byte for byte.
	Grants(ctx context.Context, now time.Time, subject string, limit int) ([]Grant, error)

	// TouchGrants sets UsedAt and UsedFrom of grants. A use that is not later
	// than the grant's UsedAt is left out, and so is one of a grant that is
	// gone or revoked; they are no error. One grant may have several uses, in
	// any order. Nothing else changes, and the feed gets no entry.
	TouchGrants(ctx context.Context, now time.Time, uses []GrantUse) error

	// Use marks a key as used until the moment given, and returns now. If the
	// key is marked already, it changes nothing and returns ErrExists with the
	// now of the call that marked it: of any number of callers exactly one gets
	// nil. A mark whose until is not after now is treated as absent, also one
	// that was over when it was made, which is a question and no mark, and writes
	// nothing: the caller sees to it that what it guards
	// is over by then too. Keys have nothing to do with the ids of grants.
	Use(ctx context.Context, now time.Time, key string, until time.Time) (first time.Time, err error)

	// Announce appends a revocation to the feed that is not about a grant: of
	// browser sessions, of one token, or of a client's tokens. It does not look at
	// any grant. An entry that CheckAnnounced finds fault with is refused, with an
	// error that is none of the package's.
	Announce(ctx context.Context, now time.Time, r Revocation) error

	// Client returns what is stored about a client, or ErrNotFound. A client that
	// was deleted is returned with Deleted set.
	Client(ctx context.Context, key string) (ClientRecord, error)

	// PutClient stores a new version of a client's record: rec.Version must be one
	// more than the stored version, or 1 if there is none. Otherwise, and whenever
	// the stored record is Deleted, it changes nothing and returns ErrConflict:
	// of any number of callers with one version exactly one gets nil, and nobody
	// brings a deleted client back. Records never expire.
	PutClient(ctx context.Context, now time.Time, rec ClientRecord) error

	// Revocations returns the feed's entries after the cursor, oldest first,
	// whose Until is after now, and the cursor to continue from. The empty
	// cursor starts at the beginning. A store that lost track of a cursor
	// starts at the beginning again: entries may repeat, they are never missed.
	// Entries that come with an error are good, and the cursor stays where it was.
	Revocations(ctx context.Context, now time.Time, after string) ([]Revocation, string, error)

	// Await returns nil as soon as the feed may have an entry after the cursor,
	// of whichever node. It may do so without one, and an entry of another node
	// may go unnoticed now and then: it is a hint that saves waiting, and callers
	// read the feed from time to time all the same. When the context ends it
	// returns the context's error.
	Await(ctx context.Context, after string) error

	// KeyRing returns the stored key ring and its version. Where there is none
	// yet it returns ErrNotFound.
	KeyRing(ctx context.Context) (ring []byte, version uint64, err error)

	// SwapKeyRing replaces the ring if its version is still the given one (0:
	// there is none yet) and returns the new version. Otherwise it returns
	// ErrConflict and changes nothing.
	SwapKeyRing(ctx context.Context, version uint64, ring []byte) (uint64, error)

	// Records returns up to limit of all records that are kept, whatever their
	// kind and whether or not they have expired, except the key ring, and the
	// cursor to continue from, which is empty after the last. The empty cursor
	// starts. The order is the store's own, but entries of the feed come oldest
	// first. A record that is kept all the while is among them, as it is at some
	// moment of the walk; one that comes or goes meanwhile may be.
	Records(ctx context.Context, after string, limit int) ([]Record, string, error)

	// Restore keeps records as they are, in the place of those that are there
	// under the same id; entries of the feed are appended. It is for filling a
	// store that nobody uses yet, and safe to repeat. A record that Check finds
	// fault with is refused, with an error that is none of the package's, and
	// nothing is restored.
	Restore(ctx context.Context, records []Record) error

	// Reseal puts next in the place of old, a grant or a client that Records
	// returned, if what is kept is still the Same as old: it is for keeping a
	// record in another form, which may move a grant to another User.Subject.
	// It returns ErrConflict if the record has changed, and ErrNotFound if it is
	// gone. The feed gets no entry, and a client's version stays. What CheckReseal
	// finds fault with is refused, with an error that is none of the package's.
	Reseal(ctx context.Context, old, next Record) error

	// Now returns the store's own time, which all nodes that share it go by. For
	// a store on this machine it is the machine's.
	Now(ctx context.Context) (time.Time, error)

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
	// UsedAt is when a program last used the grant, and UsedFrom the address it
	// came from, as far as is known: refreshing sets both, calls do it with a
	// delay. Created and the address of the first redemption in the beginning.
	// Both are empty for a grant from before they were kept, until it is used:
	// RotatedAt then says the most.
	UsedAt   time.Time `json:"used_at,omitzero"`
	UsedFrom string    `json:"used_from,omitempty"`
	// ClientHash changes when the metadata of a client that keeps its id
	// change: what was approved then is not approved any more. Empty for a
	// client that can't change.
	ClientHash string `json:"client_hash,omitempty"`
	// ClientMetadata is what the client's metadata document said when the grant
	// was made, as JSON of up to 8 KiB, so that the grant lives on while the
	// document can't be fetched. Empty for clients without a document.
	ClientMetadata string `json:"client_metadata,omitempty"`
	// Revoked is when the grant was revoked; zero while it is good.
	Revoked time.Time `json:"revoked,omitzero"`
	// Sealed is what package atrest makes of the fields that are about the person
	// and the client, of up to 64 KiB; those are empty then. Stores keep it as it is.
	Sealed string `json:"sealed,omitempty"`
}

// User is the person behind a grant, as the sign-in method named them.
type User struct {
	// Subject is the stable, unique id that becomes the token's sub.
	Subject string `json:"subject"`
	// Name and Email are for people; Email may be empty.
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
	// EmailVerified says that the method vouched for the address.
	EmailVerified bool `json:"email_verified,omitempty"`
	// Groups are those that the method named at sign-in.
	// GroupsUnknown says that there may be more, and GroupsOf which groups the
	// rules named then, if Groups are only those.
	Groups        []string `json:"groups,omitempty"`
	GroupsUnknown bool     `json:"groups_unknown,omitempty"`
	GroupsOf      string   `json:"groups_of,omitempty"`
	// Login is the id of the method, and Version what it said of how the person
	// signs in: another one ends the grant at its next refresh.
	Login   string `json:"login,omitempty"`
	Version string `json:"version,omitempty"`
}

// Rotation asks for a grant's next generation.
type Rotation struct {
	// ID names the grant.
	ID string
	// From is the generation that the caller saw.
	From uint64
	// Expires is the grant's new Expires; the caller keeps it within NotAfter.
	Expires time.Time
	// UsedFrom is the address of the program. RotateGrant sets UsedAt to now.
	UsedFrom string
}

// GrantUse says that a program used a grant.
type GrantUse struct {
	// GrantID names the grant.
	GrantID string
	// At is when, From the address that the program came from.
	At   time.Time
	From string
}

// Revocation is an entry of the feed from which every node learns what is no
// longer good: the tokens of a grant, one browser session, all browser sessions
// of a person, one access token, or all tokens of a client. Exactly one of
// GrantID, Session, Subject, Token and Client is set.
type Revocation struct {
	// GrantID names the grant.
	GrantID string `json:"grant_id,omitempty"`
	// Session names a browser session that was signed out.
	Session string `json:"session,omitempty"`
	// Subject names a person, Client a client by its record's key; Before is when
	// what ends must have begun.
	Subject string    `json:"subject,omitempty"`
	Client  string    `json:"client,omitempty"`
	Before  time.Time `json:"before,omitzero"`
	// Token is the jti of one access token.
	Token string `json:"token,omitempty"`
	// Reason is a short fixed word for the log: "code_replay",
	// "refresh_reuse", "user", "client", "sign_out", "sign_out_everywhere".
	Reason string `json:"reason"`
	// Until is when nothing of it could be good any more anyway; after it the
	// entry is of no use and may be swept.
	Until time.Time `json:"until"`
}

// CheckAnnounced says what is wrong with r as an entry for [Store.Announce],
// which takes one that names exactly one of a session, a person, a token and a
// client, and no grant.
func (r Revocation) CheckAnnounced() error {
	if r.GrantID != "" {
		return errors.New("store: an announced revocation must not name a grant")
	}
	named := 0
	for _, name := range []string{r.Session, r.Subject, r.Token, r.Client} {
		if name != "" {
			named++
		}
	}
	if named != 1 {
		return errors.New("store: an announced revocation must name exactly one session, person, token or client")
	}
	return nil
}

// ClientRecord is what became of a client after it was registered. A client
// that was neither changed nor deleted has none: its registration is its id.
type ClientRecord struct {
	// Key is a hash of the client_id, of up to 300 bytes.
	Key string `json:"key"`
	// Version counts the changes, from 1.
	Version uint64 `json:"version"`
	// Metadata are the client's metadata as JSON of up to 8 KiB; empty if Deleted.
	Metadata string `json:"metadata,omitempty"`
	// Changed is when this version was made.
	Changed time.Time `json:"changed"`
	// Deleted says that the client is gone for good.
	Deleted bool `json:"deleted,omitempty"`
}
