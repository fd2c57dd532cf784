package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// Cursors of Records: a shard and the last name read in it, or how far the feed
// was read.
const (
	cursorNames = "names"
	cursorFeed  = "feed"
)

// Records implements [store.Store]. It goes through the names of each shard in
// their order, which nothing changes, and then through the feed.
func (s *Store) Records(ctx context.Context, after string, limit int) ([]store.Record, string, error) {
	limit = max(limit, 1)
	kind, rest, _ := strings.Cut(after, " ")
	if kind == cursorFeed {
		return s.feedPage(ctx, parsePositions(rest), limit)
	}
	shard, last := 0, ""
	if kind == cursorNames {
		number, name, _ := strings.Cut(rest, " ")
		var err error
		if shard, err = strconv.Atoi(number); err != nil || shard < 0 {
			return nil, "", errors.New("redis: this is no cursor of Records")
		}
		last = name
	}
	for ; shard < shards; shard, last = shard+1, "" {
		for {
			names, err := s.namePage(ctx, shard, last, limit)
			if err != nil {
				return nil, "", err
			}
			if len(names) == 0 {
				break
			}
			last = names[len(names)-1]
			records, err := s.named(ctx, shard, names)
			if err != nil {
				return nil, "", err
			}
			if len(records) > 0 {
				return records, fmt.Sprintf("%s %d %s", cursorNames, shard, last), nil
			}
		}
	}
	return s.feedPage(ctx, positions{}, limit)
}

// namePage returns the names after one in a shard.
func (s *Store) namePage(ctx context.Context, shard int, after string, limit int) ([]string, error) {
	ctx, cancel, err := s.bounded(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	from := "-"
	if after != "" {
		from = "(" + after
	}
	names, err := s.client.ZRangeByLex(ctx, s.key(shard, kindNames), &redis.ZRangeBy{Min: from, Max: "+", Count: int64(limit)}).Result()
	return names, fault(err)
}

// named reads the records of these names; one that is gone is left out.
func (s *Store) named(ctx context.Context, shard int, names []string) ([]store.Record, error) {
	grants := make(map[string]*redis.MapStringStringCmd)
	texts := make(map[string]*redis.StringCmd)
	err := s.pipe(ctx, func(pipe redis.Pipeliner) {
		for _, name := range names {
			switch id := name[1:]; name[0] {
			case 'g':
				grants[name] = pipe.HGetAll(ctx, s.grantKey(id))
			case 'u':
				texts[name] = pipe.HGet(ctx, s.key(shard, kindUsed), id)
			default:
				texts[name] = pipe.HGet(ctx, s.key(shard, kindClients), id)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	var out []store.Record
	for _, name := range names {
		var r store.Record
		if cmd, ok := grants[name]; ok {
			r.Grant, err = parseGrant(cmd.Val())
		} else if text := texts[name].Val(); text != "" {
			r, err = parseNamed(name, text)
		}
		if err != nil {
			return nil, err
		}
		if r != (store.Record{}) {
			out = append(out, r)
		}
	}
	return out, nil
}

// parseNamed reads a used key or a client.
func parseNamed(name, text string) (store.Record, error) {
	if name[0] == 'u' {
		first, until, err := parseMark(text)
		return store.Record{Use: &store.UseRecord{Hash: name[1:], First: first, Until: until}}, err
	}
	rec, err := parseClient(text)
	return store.Record{Client: &rec}, err
}

// feedPage returns the entries after a cursor, whether or not they are over,
// oldest first.
func (s *Store) feedPage(ctx context.Context, from positions, limit int) ([]store.Record, string, error) {
	answers := make([]*redis.StringSliceCmd, shards)
	err := s.pipe(ctx, func(pipe redis.Pipeliner) {
		for i := range answers {
			answers[i] = pipe.ZRangeByScore(ctx, s.key(i, kindFeed), &redis.ZRangeBy{
				Min: fmt.Sprint("(", from[i].number), Max: "+inf", Count: int64(limit) + 1,
			})
		}
	})
	if err != nil {
		return nil, "", err
	}
	perShard := make([][]entry, shards)
	for i, answer := range answers {
		texts := make([]any, len(answer.Val()))
		for j, text := range answer.Val() {
			texts[j] = text
		}
		if perShard[i], err = parseEntries(i, texts); err != nil {
			return nil, "", err
		}
	}
	all := merge(perShard)
	more := len(all) > limit
	all = all[:min(limit, len(all))]
	var out []store.Record
	for _, e := range all {
		from[e.shard] = e.position
		out = append(out, store.Record{Revocation: &e.Revocation})
	}
	if !more {
		return out, "", nil
	}
	return out, cursorFeed + " " + from.cursor(), nil
}

// Restore implements [store.Store]. Entries of the feed go to one shard, where
// they stay in their order.
func (s *Store) Restore(ctx context.Context, records []store.Record) error {
	var steps []step
	var entries []any
	for _, r := range records {
		if err := r.Check(); err != nil {
			return fmt.Errorf("redis: %w", err)
		}
		if r.Revocation != nil {
			text, err := entryText(*r.Revocation)
			if err != nil {
				return err
			}
			entries = append(entries, score(r.Revocation.Until), text)
			continue
		}
		st, err := s.restoreStep(r)
		if err != nil {
			return err
		}
		steps = append(steps, st)
	}
	if _, err := s.runAll(ctx, steps); err != nil || len(entries) == 0 {
		return err
	}
	return s.announce(ctx, 0, entries)
}

// restoreStep returns what keeps a record in the place of what is there.
func (s *Store) restoreStep(r store.Record) (step, error) {
	switch {
	case r.Grant != nil:
		fields, err := grantFields(*r.Grant, newCall())
		return step{restoreScript, s.putKeys(r.Grant.ID), fields}, err
	case r.Use != nil:
		// At the end of time no mark counts.
		return s.useStep(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), *r.Use)
	default:
		if err := checkName("a client's key", r.Client.Key); err != nil {
			return step{}, err
		}
		text, err := clientText(*r.Client, newCall())
		return step{setClientScript, s.keys(shardOf(r.Client.Key), kindClients, kindNames), []any{r.Client.Key, text}}, err
	}
}

// Reseal implements [store.Store]. It compares what is kept with old here, and
// lets the server make sure that nothing changed since.
func (s *Store) Reseal(ctx context.Context, old, next store.Record) error {
	if err := store.CheckReseal(old, next); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	if old.Client != nil {
		return s.resealClient(ctx, *old.Client, *next.Client)
	}
	return s.resealGrant(ctx, *old.Grant, *next.Grant)
}

func (s *Store) resealGrant(ctx context.Context, old, next store.GrantRecord) error {
	limited, cancel, err := s.bounded(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	fields, err := s.client.HGetAll(limited, s.grantKey(old.ID)).Result()
	if err != nil {
		return fault(err)
	}
	kept, err := parseGrant(fields)
	switch {
	case err != nil:
		return err
	case kept == nil:
		return store.ErrNotFound
	case !kept.Same(old):
		return store.ErrConflict
	}
	put, err := grantFields(next, newCall())
	if err != nil {
		return err
	}
	args := append([]any{fields[fieldDocument], fields[fieldGeneration], fields[fieldUsed], fields[fieldRevoked]}, put...)
	answer, err := s.verdict(ctx, step{resealScript, s.putKeys(old.ID), args})
	if err != nil {
		return err
	}
	return judged(answer)
}

func (s *Store) resealClient(ctx context.Context, old, next store.ClientRecord) error {
	text, err := s.clientText(ctx, old.Key)
	if err != nil {
		return err
	}
	kept, err := parseClient(text)
	switch {
	case err != nil:
		return err
	case !kept.Same(old):
		return store.ErrConflict
	}
	put, err := clientText(next, newCall())
	if err != nil {
		return err
	}
	keys := s.keys(shardOf(old.Key), kindClients, kindNames)
	answer, err := s.verdict(ctx, step{setClientScript, keys, []any{old.Key, put, text}})
	if err != nil {
		return err
	}
	return judged(answer)
}
