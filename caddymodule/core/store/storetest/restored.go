package storetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// restoreParts copy to and from [store.Memory], so that records of one store
// are good for every other.
var restoreParts = []part{
	{"FromAnother", restoreFromAnother},
	{"IntoAnother", restoreIntoAnother},
	{"Repeated", restoreRepeated},
	{"InThePlaceOfOthers", restoreReplaces},
	{"LifeGoesOn", lifeGoesOn},
	{"RestoredRecordsEnd", restoredRecordsEnd},
	{"RestoredRecordsAreSwept", restoredAreSwept},
	{"Values", restoreValues},
	{"Nothing", restoreNothing},
	{"Refused", restoreRefused},
	{"CallerKeepsItsRecords", restoreKeepsNoReference},
}

// copyAll brings all records from one store to another, in pages.
func copyAll(t *testing.T, from, to store.Store) {
	t.Helper()
	for page := range slices.Chunk(walk(t, from, plenty, nil), 5) {
		ok(t, to.Restore(t.Context(), page))
	}
}

func restoreFromAnother(t *testing.T, s store.Store) {
	now, other := clock(), store.NewMemory()
	want := fill(t, other, now)
	copyAll(t, other, s)
	equalState(t, kept(t, s), want)
	answersAlike(t, now, s, want)
	noRing(t, s)
}

func restoreIntoAnother(t *testing.T, s store.Store) {
	now, other := clock(), store.NewMemory()
	want := fill(t, s, now)
	copyAll(t, s, other)
	equalState(t, kept(t, other), want)
	answersAlike(t, now, other, want)
	noRing(t, other)
	equalState(t, kept(t, s), want)
}

func noRing(t *testing.T, s store.Store) {
	t.Helper()
	_, _, err := s.KeyRing(t.Context())
	fails(t, err, store.ErrNotFound)
}

// answersAlike asks a store for all that fill stored, by the methods that the
// server calls.
func answersAlike(t *testing.T, now time.Time, s store.Store, want state) {
	t.Helper()
	lists(t, s, now, "user-1", want.grants["new"].Grant, want.grants["rotated"].Grant, want.grants["touched"].Grant)
	lists(t, s, now, "user-2", want.grants["old"].Grant)
	lists(t, s, now, "hash of a subject", want.grants["sealed"].Grant)
	for id, g := range want.grants {
		has(t, s, now, g.Grant)
		fails(t, s.CreateGrant(t.Context(), now, sample(id, now)), store.ErrExists)
	}
	for _, key := range []string{"k", "K", "new"} {
		used(t, s, now, key, now)
	}
	for _, c := range want.clients {
		hasClient(t, s, c)
	}
	entries, _, err := s.Revocations(t.Context(), now, "")
	ok(t, err)
	if !slices.EqualFunc(entries, want.feed, equalRevocation) {
		t.Fatalf("got the feed\n%+v\nwant\n%+v", entries, want.feed)
	}
}

// restoreRepeated interrupts a copy at every page and begins anew: all that
// has a name is there once, and the feed misses nothing.
func restoreRepeated(t *testing.T, s store.Store) {
	now, other := clock(), store.NewMemory()
	want := fill(t, other, now)
	pages := slices.Collect(slices.Chunk(walk(t, other, plenty, nil), 4))
	for until := range len(pages) + 1 {
		for _, page := range pages[:until] {
			ok(t, s.Restore(t.Context(), page))
		}
	}
	got := kept(t, s)
	first := got.feed[:0:0]
	for _, e := range got.feed {
		if n := len(first); n < len(want.feed) && e == want.feed[n] {
			first = append(first, e)
		}
	}
	got.feed = first // the others are repetitions
	equalState(t, got, want)
	for id, g := range want.grants {
		has(t, s, now, g.Grant)
		fails(t, s.CreateGrant(t.Context(), now, sample(id, now)), store.ErrExists)
	}
	lists(t, s, now, "user-1", want.grants["new"].Grant, want.grants["rotated"].Grant, want.grants["touched"].Grant)
	puts(t, s, now, record("new", 4, now))
}

// restoreReplaces restores over records of the same names that are in no way
// like them.
func restoreReplaces(t *testing.T, s store.Store) {
	now, other := clock(), store.NewMemory()
	want := fill(t, other, now)
	for id := range want.grants {
		g := sample(id, now)
		g.User.Subject, g.Created, g.Expires = "user-9", now.Add(-time.Minute), now.Add(9*time.Hour)
		ok(t, s.CreateGrant(t.Context(), now, g))
		if id == "new" {
			revoke(t, s, now, store.Revocation{GrantID: id, Reason: "user", Until: now.Add(20 * time.Hour)})
		}
	}
	for _, key := range []string{"k", "K", "new"} {
		uses(t, s, now.Add(-time.Minute), key, now.Add(9*time.Hour))
	}
	for version := range uint64(5) {
		puts(t, s, now, record("new", version+1, now))
	}
	puts(t, s, now, deleted("ended", 1, now))
	copyAll(t, other, s)
	want.feed = append([]store.Revocation{{GrantID: "new", Reason: "user", Until: now.Add(20 * time.Hour)}}, want.feed...)
	equalState(t, kept(t, s), want)
	answersAlike(t, now, s, want)
	lists(t, s, now, "user-9")
	// They end when they should, not when those before would have.
	later := now.Add(time.Hour)
	gone(t, s, later, "new")
	uses(t, s, later, "k", later.Add(time.Hour))
	puts(t, s, later, record("new", 4, later))
}

// lifeGoesOn does with restored records what was done with them before.
func lifeGoesOn(t *testing.T, s store.Store) {
	now, other := clock(), store.NewMemory()
	want := fill(t, other, now)
	copyAll(t, other, s)
	_, cursor := poll(t, s, now, "")
	later := now.Add(time.Minute)

	_, err := s.RotateGrant(t.Context(), later, store.Rotation{ID: "rotated", From: 0, Expires: now.Add(time.Hour)})
	fails(t, err, store.ErrConflict)
	r := store.Rotation{ID: "rotated", From: 1, Expires: now.Add(2 * time.Hour), UsedFrom: "192.0.2.3"}
	g := rotated(want.grants["rotated"].Grant, later, r)
	same(t, rotate(t, s, later, r), g)
	u := store.GrantUse{GrantID: "sealed", At: later, From: "192.0.2.4"}
	touch(t, s, later, u, store.GrantUse{GrantID: "touched", At: now, From: "too late"})
	has(t, s, later, touched(want.grants["sealed"].Grant, u))
	has(t, s, later, want.grants["touched"].Grant)
	lists(t, s, later, "user-1", want.grants["new"].Grant, g, want.grants["touched"].Grant)

	revoke(t, s, later, revocation("new", later))
	lists(t, s, later, "user-1", g, want.grants["touched"].Grant)
	did, err := s.RevokeGrant(t.Context(), later, revocation("revoked", later))
	if did || err != nil {
		t.Fatalf("a restored grant that was revoked: RevokeGrant = %v, %v", did, err)
	}
	end(t, s, later, endSession("later", later))
	polls(t, s, later, cursor, "new", "session later")

	keeps(t, s, later, record("new", 3, now), record("new", 3, later))
	puts(t, s, later, record("new", 4, later))
	keeps(t, s, later, deleted("ended", 2, now), record("ended", 3, later))
	version, err := s.SwapKeyRing(t.Context(), 0, []byte("ring"))
	ok(t, err)
	hasRing(t, s, []byte("ring"), version)
}

func restoredRecordsEnd(t *testing.T, s store.Store) {
	now, other := clock(), store.NewMemory()
	want := fill(t, other, now)
	copyAll(t, other, s)
	long := want.grants["revoked for long"]
	has(t, s, long.Keep.Add(-time.Second), long.Grant)
	g := want.grants["rotated"].Grant
	has(t, s, g.Expires.Add(-time.Second), g)
	used(t, s, now.Add(4*time.Hour-time.Second), "K", now)
	for _, sweep := range []bool{false, true} {
		later := now.Add(time.Hour)
		if sweep {
			sweepAll(t, s, later)
		}
		for _, id := range []string{"new", "old", "touched", "sealed", "revoked"} {
			gone(t, s, later, id)
		}
		lists(t, s, later, "user-1", g)
		lists(t, s, later, "user-2")
		polls(t, s, later, "", longOnly(want)...)
		gone(t, s, g.Expires, "rotated")
	}
	staysRevoked(t, s, long.Grant, long.Keep.Add(-time.Second))
	later := long.Keep
	gone(t, s, later, "revoked for long")
	uses(t, s, later, "K", later.Add(time.Hour))
	again := create(t, s, "revoked for long", later)
	has(t, s, later, again)
}

// longOnly returns the labels of the entries of fill that last longer than an
// hour.
func longOnly(st state) []string {
	var out []string
	for _, e := range st.feed {
		if e.GrantID == "revoked for long" {
			out = append(out, label(e))
		}
	}
	return out
}

// restoredAreSwept wants the sweeper to find all that ends, and to leave the
// clients.
func restoredAreSwept(t *testing.T, s store.Store) {
	now, other := clock(), store.NewMemory()
	want := fill(t, other, now)
	copyAll(t, other, s)
	copyAll(t, other, s) // twice, so that records are restored over themselves
	later := now.Add(6 * time.Hour)
	sweepAll(t, s, later)
	if n := sweepAll(t, s, later); n != 0 {
		t.Fatalf("after all was swept Sweep removed %d records", n)
	}
	polls(t, s, later, "")
	for id := range maps.Keys(want.grants) {
		gone(t, s, later, id)
	}
	for _, c := range want.clients {
		hasClient(t, s, c)
	}
}

func restoreValues(t *testing.T, s store.Store) {
	now, zone := clock(), time.FixedZone("LMT", 19*60+32)
	var out []store.Record
	for i, text := range awkward {
		at := now.Add(123456 * time.Microsecond).In(zone)
		g := store.GrantRecord{Grant: awkwardGrant(fmt.Sprint(i, text), text, at), Keep: at.Add(5 * time.Hour)}
		g.NotAfter, g.Revoked = time.Date(2262, 12, 31, 23, 59, 59, 0, zone), at
		e := store.Revocation{Session: text, Before: at, Reason: text, Until: at.Add(time.Hour)}
		c := store.ClientRecord{Key: text, Version: 1<<40 + uint64(i), Metadata: text, Changed: at}
		u := store.UseRecord{Hash: store.UseHash(text), First: at, Until: at.Add(time.Hour)}
		out = append(out, store.Record{Grant: &g}, store.Record{Revocation: &e}, store.Record{Client: &c}, store.Record{Use: &u})
	}
	minimal := store.GrantRecord{Grant: store.Grant{ID: "minimal", Expires: now.Add(time.Hour)}}
	out = append(out, store.Record{Grant: &minimal})
	big := store.GrantRecord{Grant: sample("big", now)}
	big.ClientMetadata, big.Sealed = bigMetadata, bigText(64<<10)
	out = append(out, store.Record{Grant: &big})
	ok(t, s.Restore(t.Context(), out))
	equalState(t, kept(t, s), collect(t, out))
	for _, r := range out {
		switch {
		case r.Grant != nil:
			has(t, s, now, r.Grant.Grant)
		case r.Client != nil:
			hasClient(t, s, *r.Client)
		}
	}
	for _, text := range awkward {
		used(t, s, now, text, now.Add(123456*time.Microsecond))
	}
}

func restoreNothing(t *testing.T, s store.Store) {
	want := fill(t, s, clock())
	ok(t, s.Restore(t.Context(), nil))
	ok(t, s.Restore(t.Context(), []store.Record{}))
	equalState(t, kept(t, s), want)
}

// restoreRefused has a fault in the middle: nothing of the rest is restored.
func restoreRefused(t *testing.T, s store.Store) {
	now := clock()
	want := fill(t, s, now)
	g := store.GrantRecord{Grant: sample("good", now)}
	c, e := record("good", 1, now), endSession("good", now)
	u := store.UseRecord{Hash: store.UseHash("good"), First: now, Until: now.Add(time.Hour)}
	for name, bad := range map[string]store.Record{
		"empty": {}, "a grant and a client": {Grant: &g, Client: &c}, "a used key and an entry": {Use: &u, Revocation: &e},
		"all": {Grant: &g, Use: &u, Client: &c, Revocation: &e},
	} {
		err := s.Restore(t.Context(), []store.Record{{Grant: &g}, {Use: &u}, {Client: &c}, {Revocation: &e}, bad, {Revocation: &e}})
		refusal(t, name, err)
	}
	equalState(t, kept(t, s), want)
}

// refusal fails the test unless err says that a call was refused, without a
// verdict.
func refusal(t *testing.T, name string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: it was taken", name)
	}
	for _, verdict := range verdicts {
		if errors.Is(err, verdict) {
			t.Errorf("%s: the verdict %v", name, err)
		}
	}
}

// restoreKeepsNoReference wants what Restore takes to stay the caller's own.
func restoreKeepsNoReference(t *testing.T, s store.Store) {
	other := store.NewMemory()
	want := fill(t, other, clock())
	records := walk(t, other, plenty, nil)
	ok(t, s.Restore(t.Context(), records))
	for i, r := range records {
		spoil(r)
		records[i] = store.Record{}
	}
	equalState(t, kept(t, s), want)
}
