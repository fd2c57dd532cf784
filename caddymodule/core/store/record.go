package store

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"
)

// Record is one record as it is kept, for copying it to another store or
// keeping it in another form. Exactly one member is set.
type Record struct {
	Grant      *GrantRecord  `json:"grant,omitempty"`
	Use        *UseRecord    `json:"use,omitempty"`
	Client     *ClientRecord `json:"client,omitempty"`
	Revocation *Revocation   `json:"revocation,omitempty"`
}

// Check says what is wrong with r as a record to restore: exactly one member
// must be set.
func (r Record) Check() error {
	set := 0
	for _, is := range []bool{r.Grant != nil, r.Use != nil, r.Client != nil, r.Revocation != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		return errors.New("store: a record must be exactly one grant, used key, client or revocation")
	}
	return nil
}

// Clone returns a record that shares no memory with r.
func (r Record) Clone() Record {
	switch {
	case r.Grant != nil:
		r.Grant = &GrantRecord{Grant: copied(r.Grant.Grant), Keep: r.Grant.Keep}
	case r.Use != nil:
		u := *r.Use
		r.Use = &u
	case r.Client != nil:
		c := *r.Client
		r.Client = &c
	case r.Revocation != nil:
		e := *r.Revocation
		r.Revocation = &e
	}
	return r
}

// CheckReseal says what is wrong with old and next for [Store.Reseal], which
// takes two forms of one grant, or of one client in one version.
func CheckReseal(old, next Record) error {
	if old.Check() == nil && next.Check() == nil {
		switch {
		case old.Grant != nil && next.Grant != nil && old.Grant.ID == next.Grant.ID:
			return nil
		case old.Client != nil && next.Client != nil && old.Client.Key == next.Client.Key && old.Client.Version == next.Client.Version:
			return nil
		}
	}
	return errors.New("store: Reseal takes two forms of one grant, or of one version of a client")
}

// GrantRecord is a grant with how long it is kept.
type GrantRecord struct {
	Grant
	// Keep holds a revoked grant past its Expires; zero if nothing does.
	Keep time.Time `json:"keep,omitzero"`
}

// Due is when the record is of no use any more.
func (g GrantRecord) Due() time.Time {
	if g.Keep.After(g.Expires) {
		return g.Keep
	}
	return g.Expires
}

// Same reports whether g and old are one grant in one state: whatever
// changes a grant makes them differ.
func (g GrantRecord) Same(old GrantRecord) bool {
	return g.ID == old.ID && g.Generation == old.Generation && g.Sealed == old.Sealed &&
		g.UsedAt.Equal(old.UsedAt) && g.Revoked.Equal(old.Revoked)
}

// Same reports whether c and old are one client in one state.
func (c ClientRecord) Same(old ClientRecord) bool {
	return c.Key == old.Key && c.Version == old.Version && c.Metadata == old.Metadata && c.Deleted == old.Deleted
}

// UseRecord is a key that is used up.
type UseRecord struct {
	// Hash is [UseHash] of the key.
	Hash string `json:"hash"`
	// First is when it was used, Until how long that counts.
	First time.Time `json:"first"`
	Until time.Time `json:"until"`
}

// UseHash is under what every store keeps a used key: SHA-256 in unpadded
// base64url. All have one length, and a store does not say what was used.
func UseHash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
