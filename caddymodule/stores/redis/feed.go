package redis

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// position is how far a shard's feed was read: number and time of an entry. Two
// entries never have both in common, also where a server lost some and gave
// their numbers again. The zero position is the beginning.
type position struct{ number, at uint64 }

// positions is a cursor: how far the feed of each shard was read.
type positions [shards]position

// cursor writes positions as text, with a checksum.
func (p positions) cursor() string {
	var b strings.Builder
	for _, at := range p {
		b.WriteString(strconv.FormatUint(at.number, 10) + "." + strconv.FormatUint(at.at, 10) + " ")
	}
	return b.String() + checksum(b.String())
}

// parsePositions reads a cursor; any other text is the beginning.
func parsePositions(cursor string) positions {
	var p positions
	parts := strings.Split(cursor, " ")
	if len(parts) != shards+1 {
		return positions{}
	}
	for i, part := range parts[:shards] {
		number, at, _ := strings.Cut(part, ".")
		// What is no number fails the checksum of what was read.
		p[i].number, _ = strconv.ParseUint(number, 10, 64)
		p[i].at, _ = strconv.ParseUint(at, 10, 64)
	}
	if p.cursor() != cursor {
		return positions{}
	}
	return p
}

func checksum(text string) string {
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(text)))
}

// entry is an entry of the feed as it was read.
type entry struct {
	store.Revocation
	shard int
	position
}

// entryText is an entry as it is kept, behind its number and its time.
func entryText(r store.Revocation) (string, error) {
	if err := checkText(r.GrantID, r.Session, r.Subject, r.Client, r.Token, r.Reason); err != nil {
		return "", err
	}
	r.Before, r.Until = r.Before.UTC(), r.Until.UTC()
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("redis: writing a revocation: %w", err)
	}
	return string(text), nil
}

// parseEntry reads an entry: number, time, JSON.
func parseEntry(shard int, text string) (entry, error) {
	e := entry{shard: shard}
	number, rest, _ := strings.Cut(text, " ")
	at, body, _ := strings.Cut(rest, " ")
	var err1, err2 error
	e.number, err1 = strconv.ParseUint(number, 10, 64)
	e.at, err2 = strconv.ParseUint(at, 10, 64)
	err := cmp.Or(err1, err2)
	if err == nil {
		err = json.Unmarshal([]byte(body), &e.Revocation)
	}
	if err != nil {
		return entry{}, fmt.Errorf("redis: the feed: %w: %w", errDamaged, err)
	}
	return e, nil
}

// parseEntries reads entries of one shard, in their order. None has a time
// before that of its predecessor, even if the server's clock went back.
func parseEntries(shard int, texts []any) ([]entry, error) {
	var out []entry
	for _, text := range texts {
		e, err := parseEntry(shard, fmt.Sprint(text))
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// merge puts entries of all shards in the order of their times; those of one
// shard stay in theirs.
func merge(perShard [][]entry) []entry {
	type timed struct {
		entry
		order uint64
	}
	var all []timed
	for _, entries := range perShard {
		var latest uint64
		for _, e := range entries {
			latest = max(latest, e.at)
			all = append(all, timed{e, latest})
		}
	}
	slices.SortStableFunc(all, func(a, b timed) int { return cmp.Compare(a.order, b.order) })
	out := make([]entry, len(all))
	for i, t := range all {
		out[i] = t.entry
	}
	return out
}

// Revocations implements [store.Store]. It asks all shards in one go; an entry
// that is made meanwhile is found by the next call. What some shards of a Cluster
// can't tell must not hide what the others know: they keep their place in the
// cursor, which is logged. But who has read nothing yet gets all or an error, or
// would take a part for the whole.
func (s *Store) Revocations(ctx context.Context, now time.Time, after string) ([]store.Revocation, string, error) {
	next := parsePositions(after)
	first := next.cursor() != after
	steps := make([]step, shards)
	for i := range steps {
		steps[i] = step{feedScript, s.keys(i, kindFeed, kindMeta), []any{next[i].number, next[i].at}}
	}
	answers, errs, err := s.runEach(ctx, steps)
	if err != nil {
		return nil, "", err
	}
	perShard := make([][]entry, shards)
	for i, answer := range answers {
		if errs[i] != nil {
			continue
		}
		var end position
		if end, perShard[i], errs[i] = parseFeed(i, answer); errs[i] == nil {
			next[i] = end
		}
	}
	silent, err := silence(errs)
	if err != nil && (first || len(silent) == shards) {
		return nil, "", err
	}
	if !errors.Is(ctx.Err(), context.Canceled) { // that is no fault of the servers
		s.tellSilence(silent, err)
	}
	var out []store.Revocation
	for _, e := range merge(perShard) {
		if e.Until.After(now) {
			out = append(out, e.Revocation)
		}
	}
	return out, next.cursor(), nil
}

// parseFeed reads what the script answered for a shard: where its feed ends, and
// the entries.
func parseFeed(shard int, answer any) (position, []entry, error) {
	list, _ := answer.([]any)
	if len(list) != 3 {
		return position{}, nil, fmt.Errorf("redis: the feed: %w", errDamaged)
	}
	end, err := parsePosition(list[0], list[1])
	if err != nil {
		return position{}, nil, err
	}
	texts, _ := list[2].([]any)
	entries, err := parseEntries(shard, texts)
	return end, entries, err
}

// silence returns the shards that have an error, and the first of the errors.
func silence(errs []error) (silent []int, first error) {
	for i, err := range errs {
		if err != nil {
			silent = append(silent, i)
			first = cmp.Or(first, err)
		}
	}
	return silent, first
}

// tellSilence logs which shards don't give their part of the feed, when it is
// others than before.
func (s *Store) tellSilence(silent []int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Equal(silent, s.silent) {
		return
	}
	s.silent = silent
	if len(silent) == 0 {
		s.logger.Info("all shards tell their revocations again")
		return
	}
	s.logger.Error("some shards don't tell their revocations, which come late; those of the others come; look at the masters of the Redis Cluster",
		zap.Ints("shards", silent), zap.Error(err))
}

// parsePosition reads a number and a time; nil stands for none yet.
func parsePosition(number, at any) (position, error) {
	if number == nil {
		return position{}, nil
	}
	n, err1 := strconv.ParseUint(fmt.Sprint(number), 10, 64)
	t, err2 := strconv.ParseUint(fmt.Sprint(at), 10, 64)
	if err := cmp.Or(err1, err2); err != nil {
		return position{}, fmt.Errorf("redis: the feed: %w: %w", errDamaged, err)
	}
	return position{n, t}, nil
}

// news reports whether the feed of a shard that answers ends elsewhere than read.
func (s *Store) news(ctx context.Context, read positions) bool {
	ctx, cancel, err := s.bounded(ctx)
	if err != nil {
		return false
	}
	defer cancel()
	ends := make([]*redis.SliceCmd, shards)
	_, err = s.exec(ctx, func(pipe redis.Pipeliner) {
		for i := range ends {
			ends[i] = pipe.HMGet(ctx, s.key(i, kindMeta), "number", "at")
		}
	})
	if err != nil {
		return false
	}
	for i, cmd := range ends {
		fields := cmd.Val() // also where the error is that of another node
		if len(fields) != 2 {
			continue
		}
		if end, err := parsePosition(fields[0], fields[1]); err == nil && end != read[i] {
			return true
		}
	}
	return false
}

// Announce implements [store.Store]. An entry whose answer got lost may be there
// twice.
func (s *Store) Announce(ctx context.Context, _ time.Time, r store.Revocation) error {
	if err := r.CheckAnnounced(); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	text, err := entryText(r)
	if err != nil {
		return err
	}
	shard := shardOf(r.Session + r.Subject + r.Token + r.Client)
	return s.announce(ctx, shard, []any{score(r.Until), text})
}

// announce appends entries, each a score and a text, to the feed of a shard.
func (s *Store) announce(ctx context.Context, shard int, entries []any) error {
	_, err := s.run(ctx, announceScript, s.keys(shard, kindFeed, kindMeta, kindEnds), append([]any{s.channel()}, entries...)...)
	return err
}
