package storetest

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var recordParts = []part{
	{"None", noRecords},
	{"EveryKindInPages", everyKindInPages},
	{"FeedOldestFirst", recordsFeedOrder},
	{"KeptPastTheEnd", recordsKeep},
	{"Values", recordValues},
	{"StayWhileOthersChange", recordsStay},
	{"GarbageCursor", garbageRecordsCursor},
	{"CallerKeepsItsRecords", callerKeepsItsRecords},
}

// state is all that a store keeps but its key ring.
type state struct {
	grants  map[string]store.GrantRecord
	uses    map[string]store.UseRecord
	clients map[string]store.ClientRecord
	feed    []store.Revocation
}

// collect sorts records by kind. A record that comes twice must be the same
// each time; an entry of the feed has no name by which to tell.
func collect(t *testing.T, records []store.Record) state {
	t.Helper()
	st := state{map[string]store.GrantRecord{}, map[string]store.UseRecord{}, map[string]store.ClientRecord{}, nil}
	for _, r := range records {
		ok(t, r.Check())
		switch {
		case r.Grant != nil:
			enter(t, st.grants, r.Grant.ID, plainRecord(*r.Grant))
		case r.Use != nil:
			u := *r.Use
			u.First, u.Until = moment(u.First), moment(u.Until)
			enter(t, st.uses, u.Hash, u)
		case r.Client != nil:
			c := *r.Client
			c.Changed = moment(c.Changed)
			enter(t, st.clients, c.Key, c)
		case r.Revocation != nil:
			e := *r.Revocation
			e.Before, e.Until = moment(e.Before), moment(e.Until)
			st.feed = append(st.feed, e)
		}
	}
	return st
}

func enter[T any](t *testing.T, records map[string]T, name string, r T) {
	t.Helper()
	if old, twice := records[name]; twice && !reflect.DeepEqual(old, r) {
		t.Fatalf("two records of %.40q:\n%+v\n%+v", name, old, r)
	}
	records[name] = r
}

// moment drops what may get lost of a time.
func moment(at time.Time) time.Time { return at.Round(0).UTC() }

// plainRecord is plain with the end of a grant in one form: a Keep that isn't
// after Expires holds nothing.
func plainRecord(g store.GrantRecord) store.GrantRecord {
	keep := moment(g.Keep)
	if !keep.After(g.Expires) {
		keep = time.Time{}
	}
	return store.GrantRecord{Grant: plain(g.Grant), Keep: keep}
}

// walk reads all records in pages. between is called after each; may be nil.
func walk(t *testing.T, s store.Store, limit int, between func(page int)) []store.Record {
	t.Helper()
	var out []store.Record
	for page, cursor := 0, ""; ; page++ {
		records, next, err := s.Records(t.Context(), cursor, limit)
		ok(t, err)
		if len(records) > limit {
			t.Fatalf("a page of %d records, want up to %d", len(records), limit)
		}
		out = append(out, records...)
		if next == "" {
			return out
		}
		if cursor = next; page > 20_000 {
			t.Fatal("there is no last page")
		}
		if between != nil {
			between(page)
		}
	}
}

// kept returns all that a store keeps.
func kept(t *testing.T, s store.Store) state {
	t.Helper()
	return collect(t, walk(t, s, 7, nil))
}

// equalState fails the test unless both are one state.
func equalState(t *testing.T, got, want state) {
	t.Helper()
	equalRecords(t, "grant", got.grants, want.grants)
	equalRecords(t, "used key", got.uses, want.uses)
	equalRecords(t, "client", got.clients, want.clients)
	if !slices.Equal(got.feed, want.feed) {
		t.Fatalf("got the feed\n%+v\nwant\n%+v", got.feed, want.feed)
	}
}

func equalRecords[T any](t *testing.T, kind string, got, want map[string]T) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if r, there := got[name]; !there || !reflect.DeepEqual(r, want[name]) {
			t.Fatalf("%s %.40q (there: %v): got\n%+v\nwant\n%+v", kind, name, there, r, want[name])
		}
	}
	if len(got) > len(want) {
		t.Fatalf("%d records of kind %s, want %d", len(got), kind, len(want))
	}
}

// fill stores records of every kind in every condition that does not end soon,
// by the methods that the server calls, and returns them.
func fill(t *testing.T, s store.Store, now time.Time) state {
	t.Helper()
	var out []store.Record
	add := func(g store.Grant, keep time.Time) {
		out = append(out, store.Record{Grant: &store.GrantRecord{Grant: g, Keep: keep}})
	}
	add(create(t, s, "new", now), time.Time{})
	g := sample("old", now)
	g.User.Subject, g.Created = "user-2", now.Add(-24*time.Hour)
	ok(t, s.CreateGrant(t.Context(), now, g))
	add(g, time.Time{})
	create(t, s, "rotated", now)
	r := store.Rotation{ID: "rotated", Expires: now.Add(3 * time.Hour), UsedFrom: "2001:db8::9"}
	add(rotate(t, s, now.Add(time.Second), r), time.Time{})
	u := store.GrantUse{GrantID: "touched", At: now.Add(123456 * time.Microsecond), From: "192.0.2.9"}
	g = create(t, s, "touched", now)
	touch(t, s, now, u)
	add(touched(g, u), time.Time{})
	g = sample("sealed", now)
	g.User, g.ClientID, g.ClientMetadata, g.Sealed = store.User{Subject: "hash of a subject"}, "", "", bigText(64<<10)
	ok(t, s.CreateGrant(t.Context(), now, g))
	add(g, time.Time{})

	for id, until := range map[string]time.Time{"revoked": now.Add(30 * time.Minute), "revoked for long": now.Add(5 * time.Hour)} {
		g = create(t, s, id, now)
		e := store.Revocation{GrantID: id, Reason: "user", Until: until}
		revoke(t, s, now, e)
		g.Revoked = now
		add(g, until)
		out = append(out, store.Record{Revocation: &e})
	}
	for _, e := range []store.Revocation{endSession("s", now), endPerson("user-1", now), endToken("jti", now), endClient("c", now), endToken("jti", now)} {
		end(t, s, now, e)
		out = append(out, store.Record{Revocation: &e})
	}
	for key, until := range map[string]time.Time{"k": now.Add(time.Hour), "K": now.Add(4 * time.Hour), "new": now.Add(time.Hour + 5*time.Microsecond)} {
		uses(t, s, now, key, until)
		out = append(out, store.Record{Use: &store.UseRecord{Hash: store.UseHash(key), First: now, Until: until}})
	}
	for version := range uint64(3) {
		puts(t, s, now, record("new", version+1, now))
	}
	puts(t, s, now, record("ended", 1, now))
	puts(t, s, now, deleted("ended", 2, now))
	last, ended := record("new", 3, now), deleted("ended", 2, now)
	out = append(out, store.Record{Client: &last}, store.Record{Client: &ended})
	_, err := s.SwapKeyRing(t.Context(), 0, []byte("the key ring is not among them"))
	ok(t, err)
	return collect(t, out)
}

func noRecords(t *testing.T, s store.Store) {
	for _, limit := range []int{1, plenty} {
		if records := walk(t, s, limit, nil); len(records) > 0 {
			t.Fatalf("an empty store has %d records", len(records))
		}
	}
}

func everyKindInPages(t *testing.T, s store.Store) {
	want := fill(t, s, clock())
	for _, limit := range []int{1, 2, 3, 5, 16, 17, 18, plenty} {
		equalState(t, collect(t, walk(t, s, limit, nil)), want)
	}
}

func recordsFeedOrder(t *testing.T, s store.Store) {
	now := clock()
	var want []store.Revocation
	for i := range 25 { // past 9, where text and number sort differently
		e := endToken(fmt.Sprint((i*7)%25), now)
		e.Until = e.Until.Add(time.Duration((i*11)%25) * time.Minute)
		end(t, s, now, e)
		want = append(want, e)
	}
	for _, limit := range []int{1, 4, plenty} {
		equalState(t, collect(t, walk(t, s, limit, nil)), state{feed: want})
	}
}

// recordsKeep wants a revoked grant to come with the time until which it is
// kept, and one that expired by the suite's clock to come as well.
func recordsKeep(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	e := store.Revocation{GrantID: "a", Reason: "user", Until: g.Expires.Add(123456 * time.Microsecond)}
	revoke(t, s, now, e)
	g.Revoked = now
	want := collect(t, []store.Record{{Grant: &store.GrantRecord{Grant: g, Keep: e.Until}}, {Revocation: &e}})
	equalState(t, kept(t, s), want)
	later := g.Expires
	staysRevoked(t, s, g, later)
	sweepAll(t, s, later)
	equalState(t, kept(t, s), want)
}

func recordValues(t *testing.T, s store.Store) {
	now := clock()
	var out []store.Record
	for i, text := range awkward {
		g := awkwardGrant(fmt.Sprint(i, text), text, now)
		ok(t, s.CreateGrant(t.Context(), now, g))
		e := store.Revocation{Client: text, Before: now.Add(time.Microsecond), Reason: text, Until: now.Add(time.Hour)}
		end(t, s, now, e)
		c := record(text, 1, now)
		c.Metadata = text
		puts(t, s, now, c)
		uses(t, s, now, text, now.Add(time.Hour))
		u := store.UseRecord{Hash: store.UseHash(text), First: now, Until: now.Add(time.Hour)}
		out = append(out, store.Record{Grant: &store.GrantRecord{Grant: g}}, store.Record{Revocation: &e}, store.Record{Client: &c}, store.Record{Use: &u})
	}
	equalState(t, kept(t, s), collect(t, out))
}

// recordsStay changes the store between pages: what stays must be among the
// records, however much comes and goes around it.
func recordsStay(t *testing.T, s store.Store) {
	now := clock()
	want := fill(t, s, now)
	for _, limit := range []int{1, 5} {
		// A store that expires records by its own clock has a minute left.
		over := clock().Add(time.Minute)
		got := collect(t, dropFleeting(walk(t, s, limit, func(page int) {
			if page > 15 { // else there may always be one more
				return
			}
			for _, side := range []string{"!", "~"} { // before and after in most orders
				id := fmt.Sprint(side, "fleeting ", limit, " ", page)
				g := sample(id, now)
				g.Expires = over
				ok(t, s.CreateGrant(t.Context(), now, g))
				_, err := s.Use(t.Context(), now, id, over)
				ok(t, err)
			}
			end(t, s, now, store.Revocation{Session: "fleeting", Reason: "sign_out", Until: over})
			if page%3 == 2 {
				sweepAll(t, s, over)
			}
		})))
		sweepAll(t, s, over)
		for hash := range got.uses {
			if _, stays := want.uses[hash]; !stays {
				delete(got.uses, hash) // its name is not known
			}
		}
		equalState(t, got, want)
	}
}

// dropFleeting leaves out the records of recordsStay that come and go.
func dropFleeting(records []store.Record) []store.Record {
	return slices.DeleteFunc(records, func(r store.Record) bool {
		return r.Grant != nil && len(r.Grant.ID) > 9 && r.Grant.ID[1:9] == "fleeting" ||
			r.Revocation != nil && r.Revocation.Session == "fleeting"
	})
}

// garbageRecordsCursor (THREATS T12): a cursor is a place, and nothing that a
// store runs. It may be refused, without a verdict.
func garbageRecordsCursor(t *testing.T, s store.Store) {
	want := fill(t, s, clock())
	for _, cursor := range garbage {
		_, _, err := s.Records(t.Context(), cursor, plenty)
		for _, verdict := range verdicts {
			if errors.Is(err, verdict) {
				t.Errorf("cursor %.40q: the verdict %v", cursor, err)
			}
		}
	}
	equalState(t, kept(t, s), want)
}

// callerKeepsItsRecords wants what Records returns to be the caller's own.
func callerKeepsItsRecords(t *testing.T, s store.Store) {
	want := fill(t, s, clock())
	for _, r := range walk(t, s, plenty, nil) {
		spoil(r)
	}
	equalState(t, kept(t, s), want)
}

// spoil changes everything that a record leads to.
func spoil(r store.Record) {
	switch {
	case r.Grant != nil:
		clear(r.Grant.User.Groups)
		*r.Grant = store.GrantRecord{}
	case r.Use != nil:
		*r.Use = store.UseRecord{}
	case r.Client != nil:
		*r.Client = store.ClientRecord{}
	case r.Revocation != nil:
		*r.Revocation = store.Revocation{}
	}
}

// raceRecords walks while others refresh, mark and create: what is there all
// the while is never missed.
func raceRecords(t *testing.T, nodes []store.Store) {
	now := clock()
	const total = 40
	for i := range total {
		create(t, turn(nodes, i), fmt.Sprint("stays ", i), now)
	}
	var stop atomic.Bool
	done := make(chan []error, 1)
	go func() {
		done <- together(8, func(w int) error {
			s := turn(nodes, w)
			for n := 0; n < 25 && !stop.Load(); n++ {
				id := fmt.Sprint("stays ", (n*8+w)%total)
				g, err := s.Grant(t.Context(), now, id)
				if err == nil {
					_, err = s.RotateGrant(t.Context(), now, store.Rotation{ID: id, From: g.Generation, Expires: g.Expires.Add(time.Second)})
				}
				if err != nil && !errors.Is(err, store.ErrConflict) {
					return err
				}
				if err := s.CreateGrant(t.Context(), now, sample(fmt.Sprint(w, " comes ", n), now)); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	for range 5 {
		for _, s := range nodes {
			seen := map[string]bool{}
			for _, r := range walk(t, s, 9, nil) {
				if r.Grant != nil {
					seen[r.Grant.ID] = true
				}
			}
			for i := range total {
				if id := fmt.Sprint("stays ", i); !seen[id] {
					t.Errorf("%q is missing", id)
				}
			}
		}
	}
	stop.Store(true)
	ok(t, errors.Join(<-done...))
}
