package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// Use implements [store.Store].
func (s *Store) Use(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
	u := store.UseRecord{Hash: store.UseHash(key), First: now, Until: until}
	st, err := s.useStep(now, u)
	if err != nil {
		return time.Time{}, err
	}
	if !until.After(now) {
		st.args = append(st.args, "look") // it writes nothing
	}
	old, err := s.verdict(ctx, st)
	if err != nil {
		return time.Time{}, err
	}
	if old == "" {
		return now, nil
	}
	first, _, err := parseMark(old)
	if err != nil {
		return time.Time{}, err
	}
	return first, store.ErrExists
}

// useStep marks a key unless there is a mark that counts at the moment given,
// which it returns.
func (s *Store) useStep(now time.Time, u store.UseRecord) (step, error) {
	call := newCall()
	text, err := mark(u.First, u.Until, call)
	if err != nil {
		return step{}, err
	}
	at, err := stamp(now)
	if err != nil {
		return step{}, err
	}
	return step{
		useScript, s.keys(shardOf(u.Hash), kindUsed, kindEnds, kindNames),
		[]any{at, call, u.Hash, text, score(u.Until)},
	}, nil
}

// Client implements [store.Store].
func (s *Store) Client(ctx context.Context, key string) (store.ClientRecord, error) {
	text, err := s.clientText(ctx, key)
	if err != nil {
		return store.ClientRecord{}, err
	}
	return parseClient(text)
}

// clientText returns a client's record as it is kept.
func (s *Store) clientText(ctx context.Context, key string) (string, error) {
	ctx, cancel, err := s.bounded(ctx)
	if err != nil {
		return "", err
	}
	defer cancel()
	text, err := s.client.HGet(ctx, s.key(shardOf(key), kindClients), key).Result()
	if errors.Is(err, redis.Nil) {
		return "", store.ErrNotFound
	}
	return text, fault(err)
}

// PutClient implements [store.Store].
func (s *Store) PutClient(ctx context.Context, _ time.Time, rec store.ClientRecord) error {
	if err := checkName("a client's key", rec.Key); err != nil {
		return err
	}
	call := newCall()
	text, err := clientText(rec, call)
	if err != nil {
		return err
	}
	before := "none" // there is no version before 0
	if rec.Version > 0 {
		before = strconv.FormatUint(rec.Version-1, 10)
	}
	keys := s.keys(shardOf(rec.Key), kindClients, kindNames)
	answer, err := s.verdict(ctx, step{clientScript, keys, []any{rec.Key, before, call, text}})
	if err != nil {
		return err
	}
	return judged(answer)
}

// KeyRing implements [store.Store].
func (s *Store) KeyRing(ctx context.Context) ([]byte, uint64, error) {
	ctx, cancel, err := s.bounded(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer cancel()
	fields, err := s.client.HMGet(ctx, s.key(0, kindRing), "version", "ring").Result()
	if err != nil {
		return nil, 0, fault(err)
	}
	if len(fields) != 2 || fields[0] == nil {
		return nil, 0, store.ErrNotFound
	}
	version, err := strconv.ParseUint(fmt.Sprint(fields[0]), 10, 64)
	if err != nil {
		return nil, 0, fmt.Errorf("redis: the key ring: %w: %w", errDamaged, err)
	}
	ring, _ := fields[1].(string)
	return []byte(ring), version, nil
}

// SwapKeyRing implements [store.Store].
func (s *Store) SwapKeyRing(ctx context.Context, version uint64, ring []byte) (uint64, error) {
	args := []any{strconv.FormatUint(version, 10), strconv.FormatUint(version+1, 10), newCall(), ring}
	answer, err := s.verdict(ctx, step{ringScript, s.keys(0, kindRing), args})
	if err == nil {
		err = judged(answer)
	}
	if err != nil {
		return 0, err
	}
	return version + 1, nil
}

// Now implements [store.Store]: the time of the server that has the key ring.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	answer, err := s.run(ctx, timeScript, s.keys(0, kindRing))
	if err != nil {
		return time.Time{}, err
	}
	list, _ := answer.([]any)
	if len(list) != 2 {
		return time.Time{}, fmt.Errorf("redis: TIME answered %v", answer)
	}
	at, err := parsePosition(list[0], list[1])
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(int64(at.number), int64(at.at)*int64(time.Microsecond)).UTC(), nil
}
