package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var resealParts = []part{
	{"Grant", resealGrant},
	{"RevokedGrant", resealRevoked},
	{"Client", resealClient},
	{"ChangedGrant", resealChangedGrant},
	{"ChangedClient", resealChangedClient},
	{"Unknown", resealUnknown},
	{"Refused", resealRefused},
	{"CallerKeepsItsRecords", resealKeepsNoReference},
}

// sealedForm returns a grant as it is kept when it is sealed with a key: it
// belongs to another subject and says nothing about anybody.
func sealedForm(g store.GrantRecord, key string) store.GrantRecord {
	g.User = store.User{Subject: "sealed by " + key}
	g.ClientID, g.ClientName, g.ClientMetadata, g.UsedFrom, g.RedirectURI = "", "", "", "", ""
	g.Sealed = key + bigText(4<<10)
	return g
}

// reseal puts next in the place of old.
func reseal(t *testing.T, s store.Store, old, next store.GrantRecord) {
	t.Helper()
	ok(t, s.Reseal(t.Context(), store.Record{Grant: &old}, store.Record{Grant: &next}))
}

// keptGrant returns a grant as Records has it.
func keptGrant(t *testing.T, s store.Store, id string) store.GrantRecord {
	t.Helper()
	g, there := kept(t, s).grants[id]
	if !there {
		t.Fatalf("no record of %q", id)
	}
	return g
}

func resealGrant(t *testing.T, s store.Store) {
	now := clock()
	want := fill(t, s, now)
	_, cursor := poll(t, s, now, "")
	plainForm := keptGrant(t, s, "rotated")
	form := plainForm
	for _, key := range []string{"one", "two", "three"} {
		next := sealedForm(plainForm, key)
		reseal(t, s, form, next)
		has(t, s, now, next.Grant)
		lists(t, s, now, next.User.Subject, next.Grant)
		if form.Sealed == "" {
			lists(t, s, now, "user-1", want.grants["new"].Grant, want.grants["touched"].Grant)
		} else {
			lists(t, s, now, form.User.Subject)
		}
		form = keptGrant(t, s, "rotated")
	}
	want.grants["rotated"] = form
	equalState(t, kept(t, s), want)
	polls(t, s, now, cursor)
	hasRing(t, s, []byte("the key ring is not among them"), 1)
	// Its generation and its end are those that it had.
	later := now.Add(time.Hour)
	fails(t, s.CreateGrant(t.Context(), later, sample("rotated", later)), store.ErrExists)
	gone(t, s, form.Expires, "rotated")
	r := store.Rotation{ID: "rotated", From: 1, Expires: now.Add(5 * time.Hour), UsedFrom: "sealed too"}
	form.Grant = rotated(form.Grant, later, r)
	same(t, rotate(t, s, later, r), form.Grant)
	sweepAll(t, s, now.Add(3*time.Hour))
	has(t, s, now.Add(3*time.Hour), form.Grant)
	lists(t, s, now.Add(3*time.Hour), form.User.Subject, form.Grant)
	// Back to where it began.
	plainForm.Grant.Generation, plainForm.Grant.RotatedAt, plainForm.Grant.UsedAt = 2, later, later
	plainForm.Grant.Expires = form.Expires
	reseal(t, s, form, plainForm)
	lists(t, s, now.Add(3*time.Hour), form.User.Subject)
	lists(t, s, now.Add(3*time.Hour), "user-1", plainForm.Grant)
	sweepAll(t, s, form.Expires)
	gone(t, s, form.Expires, "rotated")
}

func resealRevoked(t *testing.T, s store.Store) {
	now := clock()
	fill(t, s, now)
	_, cursor := poll(t, s, now, "")
	old := keptGrant(t, s, "revoked for long")
	next := sealedForm(old, "key")
	reseal(t, s, old, next)
	lists(t, s, now, next.User.Subject)
	staysRevoked(t, s, next.Grant, now, now.Add(time.Hour), old.Keep.Add(-time.Second))
	sweepAll(t, s, old.Keep.Add(-time.Second))
	staysRevoked(t, s, next.Grant, old.Keep.Add(-time.Second))
	polls(t, s, now, cursor)
	gone(t, s, old.Keep, old.ID)
	sweepAll(t, s, old.Keep)
	gone(t, s, old.Keep, old.ID)
}

func resealClient(t *testing.T, s store.Store) {
	now := clock()
	want := fill(t, s, now)
	_, cursor := poll(t, s, now, "")
	for _, key := range []string{"new", "ended"} {
		old := want.clients[key]
		for _, form := range []string{"sealed one", bigMetadata, "sealed two"} {
			next := old
			next.Metadata = form
			ok(t, s.Reseal(t.Context(), store.Record{Client: &old}, store.Record{Client: &next}))
			hasClient(t, s, next)
			old = next
		}
		want.clients[key] = old
	}
	equalState(t, kept(t, s), want)
	polls(t, s, now, cursor)
	keeps(t, s, now, want.clients["new"], record("new", 3, now))
	puts(t, s, now, record("new", 4, now))
	keeps(t, s, now, want.clients["ended"], record("ended", 3, now))
}

// resealChangedGrant has everything that changes a grant come between: what was
// read is not the last word any more.
func resealChangedGrant(t *testing.T, s store.Store) {
	now := clock()
	later := now.Add(time.Minute)
	for name, change := range map[string]func(id string){
		"rotated":           func(id string) { rotate(t, s, now, store.Rotation{ID: id, Expires: now.Add(time.Hour)}) },
		"rotated and later": func(id string) { rotate(t, s, later, store.Rotation{ID: id, Expires: now.Add(time.Hour)}) },
		"touched":           func(id string) { touch(t, s, now, store.GrantUse{GrantID: id, At: now.Add(time.Microsecond)}) },
		"revoked":           func(id string) { revoke(t, s, now, revocation(id, now)) },
		"resealed": func(id string) {
			old := keptGrant(t, s, id)
			reseal(t, s, old, sealedForm(old, "another key"))
		},
		"made again": func(id string) {
			after := now.Add(3 * time.Hour)
			ok(t, s.CreateGrant(t.Context(), after, sample(id, after)))
		},
	} {
		id := "a grant that was " + name
		create(t, s, id, now)
		old := keptGrant(t, s, id)
		change(id)
		want := kept(t, s)
		next := sealedForm(old, "key")
		fails(t, s.Reseal(t.Context(), store.Record{Grant: &old}, store.Record{Grant: &next}), store.ErrConflict)
		equalState(t, kept(t, s), want)
		lists(t, s, now, next.User.Subject)
		// With what is there now it goes.
		old = want.grants[id]
		next = sealedForm(old, "key")
		reseal(t, s, old, next)
		has(t, s, now, next.Grant)
		ok(t, s.Reseal(t.Context(), store.Record{Grant: &next}, store.Record{Grant: &old})) // out of the others' way
	}
}

func resealChangedClient(t *testing.T, s store.Store) {
	now := clock()
	puts(t, s, now, record("a", 1, now))
	old := record("a", 1, now)
	next := old
	next.Metadata = "sealed"
	refused := func(want store.ClientRecord) {
		t.Helper()
		fails(t, s.Reseal(t.Context(), store.Record{Client: &old}, store.Record{Client: &next}), store.ErrConflict)
		hasClient(t, s, want)
	}
	other := old
	other.Metadata = "resealed by another"
	ok(t, s.Reseal(t.Context(), store.Record{Client: &old}, store.Record{Client: &other}))
	refused(other)
	puts(t, s, now, record("a", 2, now))
	refused(record("a", 2, now))
	puts(t, s, now, deleted("a", 3, now))
	refused(deleted("a", 3, now))
}

func resealUnknown(t *testing.T, s store.Store) {
	now := clock()
	want := fill(t, s, now)
	g := store.GrantRecord{Grant: sample("k", now)} // which a used key is called
	next, c := sealedForm(g, "key"), record("k", 1, now)
	fails(t, s.Reseal(t.Context(), store.Record{Grant: &g}, store.Record{Grant: &next}), store.ErrNotFound)
	fails(t, s.Reseal(t.Context(), store.Record{Client: &c}, store.Record{Client: &c}), store.ErrNotFound)
	equalState(t, kept(t, s), want)
	gone(t, s, now, "k")
	noClient(t, s, "k")
}

func resealRefused(t *testing.T, s store.Store) {
	now := clock()
	want := fill(t, s, now)
	g, other := want.grants["new"], want.grants["old"]
	c, ended, version := want.clients["new"], want.clients["ended"], want.clients["new"]
	version.Version++
	u := store.UseRecord{Hash: store.UseHash("k"), First: now, Until: now.Add(time.Hour)}
	for name, pair := range map[string][2]store.Record{
		"two grants":         {{Grant: &g}, {Grant: &other}},
		"two clients":        {{Client: &c}, {Client: &ended}},
		"another version":    {{Client: &c}, {Client: &version}},
		"a grant, a client":  {{Grant: &g}, {Client: &c}},
		"a client, a grant":  {{Client: &c}, {Grant: &g}},
		"a used key":         {{Use: &u}, {Use: &u}},
		"an entry":           {{Revocation: &want.feed[0]}, {Revocation: &want.feed[0]}},
		"nothing":            {{}, {}},
		"a grant, nothing":   {{Grant: &g}, {}},
		"nothing, a grant":   {{}, {Grant: &g}},
		"a grant and more":   {{Grant: &g, Client: &c}, {Grant: &g}},
		"a grant, then more": {{Grant: &g}, {Grant: &g, Client: &c}},
	} {
		refusal(t, name, s.Reseal(t.Context(), pair[0], pair[1]))
	}
	equalState(t, kept(t, s), want)
}

// resealKeepsNoReference wants what Reseal takes to stay the caller's own.
func resealKeepsNoReference(t *testing.T, s store.Store) {
	now := clock()
	create(t, s, "a", now)
	old := keptGrant(t, s, "a")
	next := old.Grant
	next.User.Groups = []string{"one", "two"}
	want := next
	want.User.Groups = slices.Clone(next.User.Groups)
	given := store.Record{Grant: &store.GrantRecord{Grant: next}}
	ok(t, s.Reseal(t.Context(), store.Record{Grant: &old}, given))
	clear(next.User.Groups)
	spoil(given)
	has(t, s, now, want)
}

// raceReseal seals, refreshes and revokes at once: each grant ends up with all
// that was acknowledged, and with its person and no other.
func raceReseal(t *testing.T, nodes []store.Store) {
	now := clock()
	for round := range 10 {
		id := fmt.Sprint("g", round)
		create(t, nodes[0], id, now)
		revoked := round%2 == 1
		old := keptGrant(t, nodes[0], id)
		r := store.Rotation{ID: id, Expires: now.Add(2 * time.Hour), UsedFrom: "refreshed"}
		errs := together(racers, func(i int) error {
			s := turn(nodes, i/4)
			switch {
			case i%4 == 0:
				_, err := s.RotateGrant(t.Context(), now.Add(time.Second), r)
				return err
			case i%4 == 1 && revoked:
				_, err := s.RevokeGrant(t.Context(), now, revocation(id, now))
				return err
			}
			next := sealedForm(old, fmt.Sprint("racer ", i))
			return s.Reseal(t.Context(), store.Record{Grant: &old}, store.Record{Grant: &next})
		})
		want := resealWinners(t, old, rotated(old.Grant, now.Add(time.Second), r), revoked, errs)
		if revoked {
			want.Revoked = now
		}
		for _, s := range nodes {
			has(t, s, now, want.Grant)
			inListOf(t, s, want.User.Subject, id, !revoked)
			if want.Sealed != "" {
				inListOf(t, s, old.User.Subject, id, false)
			}
		}
	}
}

// resealWinners returns what those racers of raceReseal made that won. refreshed
// is what a rotation makes of the grant.
func resealWinners(t *testing.T, old store.GrantRecord, refreshed store.Grant, revoked bool, errs []error) store.GrantRecord {
	t.Helper()
	want, seals, rotations := old, 0, 0
	for i, err := range errs {
		switch {
		case i%4 == 1 && revoked:
			ok(t, err)
		case err == nil && i%4 == 0:
			rotations++
		case err == nil:
			seals++
			want = sealedForm(old, fmt.Sprint("racer ", i))
		case !errors.Is(err, store.ErrConflict):
			fails(t, err, store.ErrRevoked)
		}
	}
	if seals > 1 || rotations > 1 || rotations == 0 && !revoked {
		t.Fatalf("%d new forms of one old one, %d refreshes of one generation", seals, rotations)
	}
	if rotations == 1 {
		want.Generation, want.RotatedAt, want.Expires = refreshed.Generation, refreshed.RotatedAt, refreshed.Expires
		want.UsedAt, want.UsedFrom = refreshed.UsedAt, refreshed.UsedFrom
	}
	return want
}

// inListOf fails the test unless a grant is in a person's list, or not.
func inListOf(t *testing.T, s store.Store, subject, id string, want bool) {
	t.Helper()
	grants, err := s.Grants(t.Context(), clock(), subject, plenty)
	ok(t, err)
	if slices.Contains(grantIDs(grants), id) != want {
		t.Fatalf("%q is in the list of %q: %v", id, subject, !want)
	}
}

// raceResealClient seals a client and changes it at once: the change is never
// lost.
func raceResealClient(t *testing.T, nodes []store.Store) {
	now := clock()
	for round := range 10 {
		key := fmt.Sprint("c", round)
		old := record(key, 1, now)
		puts(t, nodes[0], now, old)
		errs := together(racers, func(i int) error {
			if i%4 == 0 {
				return turn(nodes, i/4).PutClient(t.Context(), now, record(key, 2, now))
			}
			next := old
			next.Metadata = fmt.Sprint("sealed by ", i)
			return turn(nodes, i/4).Reseal(t.Context(), store.Record{Client: &old}, store.Record{Client: &next})
		})
		var changes []error
		for i, err := range errs {
			if i%4 == 0 {
				changes = append(changes, err)
			} else if err != nil {
				fails(t, err, store.ErrConflict)
			}
		}
		one(t, changes, store.ErrConflict)
		for _, s := range nodes {
			hasClient(t, s, record(key, 2, now))
		}
	}
}
