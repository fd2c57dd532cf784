package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var clientParts = []part{
	{"NobodyKnown", noClientKnown},
	{"Versions", clientVersions},
	{"RefusalChangesNothing", refusedPutChangesNothing},
	{"DeletedIsFinal", deletedIsFinal},
	{"DeletedAtFirst", deletedAtFirst},
	{"ReplacesAll", putReplacesAll},
	{"Metadata", metadataRoundTrip},
	{"Times", clientTimes},
	{"KeysAreApart", clientKeysAreApart},
	{"ApartFromOthers", clientsAreNothingElse},
	{"NeverExpire", clientsNeverExpire},
}

// record returns a version of a client's record; what it says differs by
// version.
func record(key string, version uint64, now time.Time) store.ClientRecord {
	return store.ClientRecord{
		Key: key, Version: version, Changed: now.Add(time.Duration(version%100) * time.Second),
		Metadata: fmt.Sprintf(`{"client_name":"Version %d of %s"}`, version, key),
	}
}

// deleted returns the record that ends a client.
func deleted(key string, version uint64, now time.Time) store.ClientRecord {
	rec := record(key, version, now)
	rec.Metadata, rec.Deleted = "", true
	return rec
}

// puts stores a version that must be the next one.
func puts(t *testing.T, s store.Store, now time.Time, rec store.ClientRecord) {
	t.Helper()
	ok(t, s.PutClient(t.Context(), now, rec))
	hasClient(t, s, rec)
}

// keeps fails the test unless the store refuses what is put and goes on to have
// want.
func keeps(t *testing.T, s store.Store, now time.Time, want, put store.ClientRecord) {
	t.Helper()
	fails(t, s.PutClient(t.Context(), now, put), store.ErrConflict)
	hasClient(t, s, want)
}

// hasClient fails the test unless the store has this record.
func hasClient(t *testing.T, s store.Store, want store.ClientRecord) {
	t.Helper()
	got, err := s.Client(t.Context(), want.Key)
	ok(t, err)
	if !got.Changed.Equal(want.Changed) {
		t.Fatalf("client %.40q changed at %v, want %v", want.Key, got.Changed, want.Changed)
	}
	if got.Changed = want.Changed; got != want {
		t.Fatalf("got client\n%+v\nwant\n%+v", got, want)
	}
}

// noClient fails the test if there is a record of this client.
func noClient(t *testing.T, s store.Store, keys ...string) {
	t.Helper()
	for _, key := range keys {
		_, err := s.Client(t.Context(), key)
		fails(t, err, store.ErrNotFound)
	}
}

func noClientKnown(t *testing.T, s store.Store) {
	now := clock()
	noClient(t, s, "a", "unknown")
	for _, version := range []uint64{0, 2, 3, 1<<32 + 1, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
		fails(t, s.PutClient(t.Context(), now, record("a", version, now)), store.ErrConflict)
		fails(t, s.PutClient(t.Context(), now, deleted("a", version, now)), store.ErrConflict)
		noClient(t, s, "a")
	}
	puts(t, s, now, record("a", 1, now))
	noClient(t, s, "b")
}

func clientVersions(t *testing.T, s store.Store) {
	now := clock()
	for version := uint64(1); version <= 12; version++ { // past 9, where text and number sort differently
		puts(t, s, now, record("a", version, now))
	}
	puts(t, s, now, deleted("a", 13, now))
}

// refusedPutChangesNothing puts all versions but the next one, with news of
// every kind.
func refusedPutChangesNothing(t *testing.T, s store.Store) {
	now := clock()
	for version := range uint64(4) {
		current := record("a", version+1, now)
		puts(t, s, now, current)
		later := now.Add(time.Minute)
		for _, other := range []uint64{0, 1, version, version + 1, version + 3, version + 4, 1<<64 - 1} {
			news := record("a", other, later)
			news.Metadata = `{"news":true}`
			keeps(t, s, later, current, news)
			keeps(t, s, later, current, deleted("a", other, later))
		}
		keeps(t, s, later, current, current)
	}
}

func deletedIsFinal(t *testing.T, s store.Store) {
	now := clock()
	puts(t, s, now, record("a", 1, now))
	puts(t, s, now, record("b", 1, now))
	end := deleted("a", 2, now)
	puts(t, s, now, end)
	for _, later := range []time.Time{now, now.Add(time.Hour), now.Add(1000 * time.Hour)} {
		for version := range uint64(6) {
			keeps(t, s, later, end, record("a", version, later))
			keeps(t, s, later, end, deleted("a", version, later))
		}
	}
	puts(t, s, now, record("b", 2, now))
}

// deletedAtFirst deletes a client that was never changed.
func deletedAtFirst(t *testing.T, s store.Store) {
	now := clock()
	end := deleted("a", 1, now)
	puts(t, s, now, end)
	for version := range uint64(4) {
		keeps(t, s, now, end, record("a", version, now))
		keeps(t, s, now, end, deleted("a", version, now))
	}
}

// putReplacesAll wants nothing of an older version to show through.
func putReplacesAll(t *testing.T, s store.Store) {
	now := clock()
	puts(t, s, now, record("a", 1, now))
	puts(t, s, now, store.ClientRecord{Key: "a", Version: 2, Changed: now})
	early := record("a", 3, now)
	early.Changed = now.Add(-24 * time.Hour) // what it says is the caller's business
	puts(t, s, now, early)
	odd := deleted("a", 4, now)
	odd.Metadata = "of no use, and kept"
	puts(t, s, now, odd)
}

func metadataRoundTrip(t *testing.T, s store.Store) {
	now := clock()
	texts := append([]string{
		"", " ", "{}", "null", "no JSON", "{ \"b\" : 1,\n\t\"a\":1.0, \"a\":2 }", `{"n":12345678901234567890,"e":1e400}`,
		bigMetadata,
	}, awkward...)
	for i, text := range texts {
		rec := record("a", uint64(i)+1, now)
		rec.Metadata = text
		puts(t, s, now, rec)
	}
}

// bigMetadata is as long as metadata may be, 8 KiB, and of what JSON would
// escape.
var bigMetadata = func() string {
	text := `{"client_name":"` + strings.Repeat("<&>\u2028漢🙂", 480)
	return text + strings.Repeat("x", 8<<10-len(text)-2) + `"}`
}()

func clientTimes(t *testing.T, s store.Store) {
	now := clock()
	for i, at := range []time.Time{
		now.Add(123456 * time.Microsecond).In(time.FixedZone("", 5*3600+45*60)),
		now.In(time.FixedZone("LMT", 19*60+32)),
		time.Date(1999, 12, 31, 23, 59, 59, 999999000, time.UTC),
		time.Date(2262, 12, 31, 23, 59, 59, 0, time.UTC), // past what int64 nanoseconds hold
		{},
	} {
		rec := record("a", uint64(i)+1, now)
		rec.Changed = at
		puts(t, s, now, rec)
	}
}

func clientKeysAreApart(t *testing.T, s store.Store) {
	now := clock()
	long := strings.Repeat("k", 299)
	keys := append([]string{
		"k", "K", "k ", " k", "kk", "k:", "k/", "k*", "k_", "k%", "a:b", "a", "é", "e\u0301x", long, long + "1", long + "2",
		strings.Repeat("漢", 100), "k\n", "k\x01", "0", "00", "clients", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
	}, awkward...)
	for i, key := range keys {
		for version := range uint64(i%3 + 1) {
			puts(t, s, now, record(key, version+1, now))
		}
	}
	for i, key := range keys {
		last := uint64(i%3 + 1)
		hasClient(t, s, record(key, last, now))
		if i%2 == 0 {
			puts(t, s, now, deleted(key, last+1, now))
		}
	}
	for i, key := range keys {
		last := uint64(i%3 + 1)
		if i%2 == 0 {
			hasClient(t, s, deleted(key, last+1, now))
		} else {
			hasClient(t, s, record(key, last, now))
		}
	}
	noClient(t, s, long[:298])
}

// clientsAreNothingElse wants clients, grants, used keys and the feed not to
// meet, whatever they are called.
func clientsAreNothingElse(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	uses(t, s, now, "a", now.Add(time.Hour))
	uses(t, s, now, "used", now.Add(time.Hour))
	noClient(t, s, "a", "used", "user-1", g.ClientID)
	for _, key := range []string{"a", "used", "free", "user-1", g.ClientID} {
		puts(t, s, now, record(key, 1, now))
		puts(t, s, now, deleted(key, 2, now))
	}
	has(t, s, now, g)
	lists(t, s, now, "user-1", g)
	polls(t, s, now, "")
	gone(t, s, now, "free")
	used(t, s, now, "a", now)
	uses(t, s, now, "free", now.Add(time.Hour))
	has(t, s, now, create(t, s, "free", now))

	puts(t, s, now, record("c", 1, now))
	revoke(t, s, now, revocation("a", now))
	for _, r := range []store.Revocation{
		endClient("c", now), endClient("unknown", now), endToken("c", now), endPerson("c", now), endSession("c", now),
	} {
		end(t, s, now, r)
	}
	hasClient(t, s, record("c", 1, now))
	hasClient(t, s, deleted("a", 2, now))
	noClient(t, s, "unknown")
}

// clientsNeverExpire wants the sweeper, and time, to leave clients alone.
func clientsNeverExpire(t *testing.T, s store.Store) {
	now := clock()
	puts(t, s, now, record("a", 1, now))
	puts(t, s, now, deleted("b", 1, now))
	later := now.Add(100_000 * time.Hour)
	if n := sweepAll(t, s, later); n != 0 {
		t.Fatalf("Sweep removed %d records", n)
	}
	hasClient(t, s, record("a", 1, now))
	keeps(t, s, later, record("a", 1, now), record("a", 1, later))
	keeps(t, s, later, deleted("b", 1, now), record("b", 1, later))
	puts(t, s, later, record("a", 2, now))
	sweepAll(t, s, later)
	hasClient(t, s, record("a", 2, now))
	hasClient(t, s, deleted("b", 1, now))
}

// raceClient has racers who all saw one version.
func raceClient(t *testing.T, nodes []store.Store) {
	now := clock()
	for version := uint64(1); version <= 5; version++ {
		put := func(i int) store.ClientRecord {
			rec := record("a", version, now)
			rec.Metadata = fmt.Sprint("racer ", i)
			return rec
		}
		errs := together(racers, func(i int) error { return turn(nodes, i).PutClient(t.Context(), now, put(i)) })
		winner := one(t, errs, store.ErrConflict)
		for _, s := range nodes {
			hasClient(t, s, put(winner))
		}
	}
}

// raceClientDelete changes and deletes at once: one racer wins, and if it
// deleted, nobody ever comes after it.
func raceClientDelete(t *testing.T, nodes []store.Store) {
	now := clock()
	for round := range 10 {
		key := fmt.Sprint("c", round)
		puts(t, nodes[0], now, record(key, 1, now))
		put := func(i int) store.ClientRecord {
			if i%4 < 2 { // on every node
				return deleted(key, 2, now)
			}
			return record(key, 2, now)
		}
		errs := together(racers, func(i int) error { return turn(nodes, i).PutClient(t.Context(), now, put(i)) })
		last := put(one(t, errs, store.ErrConflict))
		if !last.Deleted {
			last = deleted(key, 3, now)
			puts(t, nodes[0], now, last)
		}
		versions := []uint64{0, 1, 2, 3, 4}
		after := together(racers, func(i int) error {
			return turn(nodes, i).PutClient(t.Context(), now, record(key, versions[i%5], now))
		})
		for _, err := range after {
			fails(t, err, store.ErrConflict)
		}
		for _, s := range nodes {
			hasClient(t, s, last)
		}
	}
}

// raceClients has everybody change a client of their own.
func raceClients(t *testing.T, nodes []store.Store) {
	now := clock()
	errs := together(racers, func(i int) error {
		return turn(nodes, i).PutClient(t.Context(), now, record(fmt.Sprint("c", i), 1, now))
	})
	ok(t, errors.Join(errs...))
	for i := range racers {
		hasClient(t, turn(nodes, i+1), record(fmt.Sprint("c", i), 1, now))
	}
}

// sharedClients wants two nodes to take turns with one client.
func sharedClients(t *testing.T, a, b store.Store) {
	now := clock()
	noClient(t, a, "c")
	noClient(t, b, "c")
	for version := uint64(1); version <= 6; version++ {
		x, y := a, b
		if version%2 == 0 {
			x, y = b, a
		}
		puts(t, x, now, record("c", version, now))
		hasClient(t, y, record("c", version, now))
		keeps(t, y, now, record("c", version, now), record("c", version, now.Add(time.Minute)))
	}
	puts(t, a, now, deleted("c", 7, now))
	keeps(t, b, now, deleted("c", 7, now), record("c", 8, now))
}
