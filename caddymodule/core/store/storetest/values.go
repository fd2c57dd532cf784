package storetest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var valueParts = []part{
	{"Strings", stringsRoundTrip},
	{"EmptyFields", emptyFields},
	{"BigClientID", bigClientID},
	{"BigMetadata", bigFields(bigMetadata, "")},
	{"BigSealed", bigFields("", bigText(64<<10))},
	{"BigBoth", bigFields(bigMetadata, bigText(64<<10))},
	{"ManyGroups", manyGroups},
	{"Times", timesRoundTrip},
	{"OddZone", oddZone},
	{"IDs", idsByteForByte},
	{"Feed", feedRoundTrip},
	{"CallerKeepsItsBytes", callerKeepsItsBytes},
}

// awkward holds strings that encoders and databases like to change.
var awkward = []string{
	"Zoë 漢字 🙂 עברית",
	"e\u0301 is not \u00e9",
	`<script>&amp;"'` + "`" + `\ %00 %s {http.auth.user.id}`,
	"tab\tnewline\nreturn\rbell\adel\x7f",
	"line\u2028paragraph\u2029bom\ufeffjoiner\u200d",
	" leading and trailing ",
	"\U0010ffff",
}

// awkwardGrant returns a grant that has text in all its places.
func awkwardGrant(id, text string, now time.Time) store.Grant {
	g := sample(id, now)
	g.ClientID, g.ClientName, g.RedirectURI = text, text, text
	g.User = store.User{Subject: text, Name: text, Email: text, Groups: []string{text + "2", text, text, ""}, Login: text, Version: text, GroupsOf: text}
	g.Resource, g.Scope, g.UsedFrom = text, text, text
	g.ClientHash, g.ClientMetadata, g.Sealed = text, text, text
	return g
}

func stringsRoundTrip(t *testing.T, s store.Store) {
	now := clock()
	for i, text := range awkward {
		g := awkwardGrant(fmt.Sprint(i), text, now)
		ok(t, s.CreateGrant(t.Context(), now, g))
		has(t, s, now, g)
		r := store.Rotation{ID: g.ID, Expires: g.Expires, UsedFrom: text + "2"}
		g = rotated(g, now, r)
		same(t, rotate(t, s, now, r), g)
		has(t, s, now, g)
	}
}

func emptyFields(t *testing.T, s store.Store) {
	now := clock()
	g := store.Grant{ID: "a", Expires: now.Add(time.Hour)}
	ok(t, s.CreateGrant(t.Context(), now, g))
	has(t, s, now, g)
	lists(t, s, now, "", g)
	g = store.Grant{ID: "b", User: store.User{Subject: "b", Groups: []string{}}, Expires: now.Add(time.Hour)}
	ok(t, s.CreateGrant(t.Context(), now, g))
	has(t, s, now, g)
	lists(t, s, now, "b", g)
}

// manyGroups stores what a directory with much to say hands out, in its order.
func manyGroups(t *testing.T, s store.Store) {
	now := clock()
	for _, n := range []int{1, 500} {
		g := sample(fmt.Sprint(n), now)
		g.User.Groups = nil
		for i := range n {
			g.User.Groups = append(g.User.Groups, fmt.Sprintf("CN=group %d,OU=Größen,DC=example,DC=com", n-i))
		}
		ok(t, s.CreateGrant(t.Context(), now, g))
		has(t, s, now, g)
		g = rotate(t, s, now, store.Rotation{ID: g.ID, Expires: g.Expires})
		has(t, s, now, g)
	}
}

// bigClientID stores what a sealed client looks like: the metadata is in the
// identifier.
func bigClientID(t *testing.T, s store.Store) {
	now := clock()
	for _, size := range []int{1 << 10, 16 << 10} {
		g := sample(fmt.Sprint(size), now)
		g.ClientID = strings.Repeat("Az09-_.~", size/8)
		ok(t, s.CreateGrant(t.Context(), now, g))
		has(t, s, now, g)
		g = rotate(t, s, now, store.Rotation{ID: g.ID, Expires: g.Expires})
		has(t, s, now, g)
	}
}

// bigText returns text of a length in bytes, of all that a grant's sealed form
// may be: any UTF-8.
func bigText(size int) string {
	const unit = "v1.Az09-_+/=<&>\u2028漢🙂"
	return strings.Repeat(unit, size/len(unit)) + strings.Repeat("x", size%len(unit))
}

// bigFields stores the longest metadata of a client, or the longest sealed form,
// with a grant, through all that may happen to the grant.
func bigFields(metadata, sealed string) func(t *testing.T, s store.Store) {
	return func(t *testing.T, s store.Store) {
		now := clock()
		g := sample("a", now)
		g.ClientMetadata, g.Sealed = metadata, sealed
		ok(t, s.CreateGrant(t.Context(), now, g))
		has(t, s, now, g)
		lists(t, s, now, g.User.Subject, g)
		r := store.Rotation{ID: "a", Expires: g.Expires}
		g = rotated(g, now, r)
		same(t, rotate(t, s, now, r), g)
		has(t, s, now, g)
		u := store.GrantUse{GrantID: "a", At: now.Add(time.Second), From: "192.0.2.9"}
		touch(t, s, now, u)
		g = touched(g, u)
		has(t, s, now, g)
		revoke(t, s, now, revocation("a", now))
		g.Revoked = now
		has(t, s, now, g)
		// The code of an expired grant that is used again makes a grant of its own.
		later := g.Expires.Add(time.Hour)
		again := sample("a", later)
		again.ClientMetadata = ""
		ok(t, s.CreateGrant(t.Context(), later, again))
		has(t, s, later, again)
	}
}

func timesRoundTrip(t *testing.T, s store.Store) {
	zone := time.FixedZone("", 5*3600+45*60)
	now := clock().Add(123456 * time.Microsecond).In(zone)
	g := sample("a", now)
	g.AuthTime = time.Date(1999, 12, 31, 23, 59, 59, 999999000, time.UTC)
	g.NotAfter = time.Date(2262, 12, 31, 23, 59, 59, 0, zone) // past what int64 nanoseconds hold
	ok(t, s.CreateGrant(t.Context(), now, g))
	has(t, s, now, g)

	later := now.Add(90*time.Second + time.Microsecond)
	r := store.Rotation{ID: "a", Expires: later.Add(2 * time.Hour)}
	g = rotated(g, later, r)
	same(t, rotate(t, s, later, r), g)
	has(t, s, later, g)

	g.Revoked = later.Add(time.Second)
	revoke(t, s, g.Revoked, revocation("a", later))
	has(t, s, g.Revoked, g)
}

// oddZone stores the times of a place whose zone counts seconds, as all did
// once: text formats like to drop them, which makes another moment of it.
func oddZone(t *testing.T, s store.Store) {
	now := clock().In(time.FixedZone("LMT", 19*60+32))
	g := sample("a", now)
	ok(t, s.CreateGrant(t.Context(), now, g))
	has(t, s, now, g)
	g = rotate(t, s, now, store.Rotation{ID: "a", Expires: now.Add(2 * time.Hour)})
	has(t, s, g.Expires.Add(-time.Second), g)
	uses(t, s, now, "k", now.Add(time.Hour))
	used(t, s, now.Add(time.Hour-time.Second), "k", now)
	r := store.Revocation{Subject: "user-1", Before: now, Reason: "sign_out_everywhere", Until: now.Add(time.Hour)}
	end(t, s, now, r)
	entries, _, err := s.Revocations(t.Context(), now, "")
	ok(t, err)
	if len(entries) != 1 || !equalRevocation(entries[0], r) {
		t.Fatalf("feed: %v, want only %v", entries, r)
	}
	gone(t, s, g.Expires, "a")
	sweepAll(t, s, g.Expires)
	uses(t, s, g.Expires, "k", g.Expires.Add(time.Hour))
}

// idsByteForByte wants ids that only a sloppy comparison takes for equal to be
// different grants.
func idsByteForByte(t *testing.T, s store.Store) {
	now := clock()
	ids := append([]string{"id", "ID", "Id", "id ", " id", "id/", "i:d", "i*", "i_", "i%", strings.Repeat("x", 128), strings.Repeat("x", 300)}, awkward...)
	for i, id := range ids {
		g := sample(id, now)
		g.User.Subject = fmt.Sprint(i)
		ok(t, s.CreateGrant(t.Context(), now, g))
	}
	for i, id := range ids {
		g := sample(id, now)
		g.User.Subject = fmt.Sprint(i)
		has(t, s, now, g)
	}
}

func feedRoundTrip(t *testing.T, s store.Store) {
	now := clock()
	until := now.Add(time.Hour + 123456*time.Microsecond)
	for i, text := range awkward {
		id := fmt.Sprint(i, text)
		create(t, s, id, now)
		revoke(t, s, now, store.Revocation{GrantID: id, Reason: text, Until: until})
	}
	entries, _, err := s.Revocations(t.Context(), now, "")
	ok(t, err)
	if len(entries) != len(awkward) {
		t.Fatalf("%d entries, want %d", len(entries), len(awkward))
	}
	for i, text := range awkward {
		want := store.Revocation{GrantID: fmt.Sprint(i, text), Reason: text, Until: until}
		if !equalRevocation(entries[i], want) {
			t.Fatalf("entry %d is %+v, want %+v", i, entries[i], want)
		}
	}
}

// callerKeepsItsBytes wants the store to share no memory with its callers.
func callerKeepsItsBytes(t *testing.T, s store.Store) {
	ring := []byte("the ring")
	_, err := s.SwapKeyRing(t.Context(), 0, ring)
	ok(t, err)
	clear(ring)
	first, _, err := s.KeyRing(t.Context())
	ok(t, err)
	clear(first)
	second, _, err := s.KeyRing(t.Context())
	ok(t, err)
	if !bytes.Equal(second, []byte("the ring")) {
		t.Fatalf("the stored ring became %q", second)
	}
}
