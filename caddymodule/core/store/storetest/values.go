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
	{"Times", timesRoundTrip},
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

func stringsRoundTrip(t *testing.T, s store.Store) {
	now := clock()
	for i, text := range awkward {
		g := sample(fmt.Sprint(i), now)
		g.ClientID, g.ClientName, g.RedirectURI = text, text, text
		g.User = store.User{Subject: text, Name: text, Email: text}
		g.Resource, g.Scope = text, text
		ok(t, s.CreateGrant(t.Context(), now, g))
		has(t, s, now, g)
		g = rotate(t, s, now, store.Rotation{ID: g.ID, Expires: g.Expires})
		has(t, s, now, g)
	}
}

func emptyFields(t *testing.T, s store.Store) {
	now := clock()
	g := store.Grant{ID: "a", Expires: now.Add(time.Hour)}
	ok(t, s.CreateGrant(t.Context(), now, g))
	has(t, s, now, g)
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

func timesRoundTrip(t *testing.T, s store.Store) {
	zone := time.FixedZone("", 5*3600+45*60)
	now := clock().Add(123456 * time.Microsecond).In(zone)
	g := sample("a", now)
	g.AuthTime = time.Date(1999, 12, 31, 23, 59, 59, 999999000, time.UTC)
	g.NotAfter = time.Date(2262, 12, 31, 23, 59, 59, 0, zone) // past what int64 nanoseconds hold
	ok(t, s.CreateGrant(t.Context(), now, g))
	has(t, s, now, g)

	later := now.Add(90*time.Second + time.Microsecond)
	g.Generation, g.RotatedAt, g.Expires = 1, later, later.Add(2*time.Hour)
	same(t, rotate(t, s, later, store.Rotation{ID: "a", Expires: g.Expires}), g)
	has(t, s, later, g)

	g.Revoked = later.Add(time.Second)
	revoke(t, s, g.Revoked, revocation("a", later))
	has(t, s, g.Revoked, g)
}

// idsByteForByte wants ids that only a sloppy comparison takes for equal to be
// different grants.
func idsByteForByte(t *testing.T, s store.Store) {
	now := clock()
	ids := append([]string{"id", "ID", "Id", "id ", " id", "id/", "i:d", "i*", "i_", "i%", strings.Repeat("x", 128)}, awkward...)
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
