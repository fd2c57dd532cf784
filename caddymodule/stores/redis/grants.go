package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// What scripts answer, apart from errors.
const (
	answerOK       = "ok"
	answerAbsent   = "absent"
	answerExists   = "exists"
	answerConflict = "conflict"
	answerRevoked  = "revoked"
	answerBefore   = "before"
)

// verdicts are the answers that are errors of the contract.
var verdicts = map[string]error{
	answerAbsent: store.ErrNotFound, answerExists: store.ErrExists,
	answerConflict: store.ErrConflict, answerRevoked: store.ErrRevoked,
}

// judged returns the error that an answer stands for.
func judged(answer string) error {
	if err, ok := verdicts[answer]; ok {
		return err
	}
	if answer != answerOK {
		return fmt.Errorf("redis: a script answered %q", answer)
	}
	return nil
}

// putKeys are the keys of put.lua.
func (s *Store) putKeys(id string) []string {
	shard := shardOf(id)
	return append([]string{s.grantKey(id)}, s.keys(shard, kindPersons, kindEnds, kindNames)...)
}

// CreateGrant implements [store.Store].
func (s *Store) CreateGrant(ctx context.Context, now time.Time, g store.Grant) error {
	call := newCall()
	fields, err := grantFields(store.GrantRecord{Grant: g}, call)
	if err != nil {
		return err
	}
	at, err := stamp(now)
	if err != nil {
		return err
	}
	answer, err := s.verdict(ctx, step{createScript, s.putKeys(g.ID), append([]any{at, call}, fields...)})
	if err != nil {
		return err
	}
	return judged(answer)
}

// Grant implements [store.Store].
func (s *Store) Grant(ctx context.Context, now time.Time, id string) (store.Grant, error) {
	g, err := s.grant(ctx, id)
	switch {
	case err != nil:
		return store.Grant{}, err
	case g == nil || !g.Due().After(now):
		return store.Grant{}, store.ErrNotFound
	case !g.Revoked.IsZero():
		return g.Grant, store.ErrRevoked
	}
	return g.Grant, nil
}

// grant returns a grant as it is kept, nil if there is none.
func (s *Store) grant(ctx context.Context, id string) (*store.GrantRecord, error) {
	ctx, cancel, err := s.bounded(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	fields, err := s.client.HGetAll(ctx, s.grantKey(id)).Result()
	if err != nil {
		return nil, fault(err)
	}
	return parseGrant(fields)
}

// RotateGrant implements [store.Store].
func (s *Store) RotateGrant(ctx context.Context, now time.Time, r store.Rotation) (store.Grant, error) {
	if err := checkText(r.UsedFrom); err != nil {
		return store.Grant{}, err
	}
	at, err := stamp(now)
	if err != nil {
		return store.Grant{}, err
	}
	expires, err := stamp(r.Expires)
	if err != nil {
		return store.Grant{}, err
	}
	keys := []string{s.grantKey(r.ID), s.key(shardOf(r.ID), kindEnds)}
	from, to := strconv.FormatUint(r.From, 10), strconv.FormatUint(r.From+1, 10)
	answer, err := s.run(ctx, rotateScript, keys, at, newCall(), from, to, expires, score(r.Expires), r.UsedFrom)
	if err != nil {
		return store.Grant{}, err
	}
	list, _ := answer.([]any)
	if len(list) == 0 {
		return store.Grant{}, fmt.Errorf("redis: a script answered %T", answer)
	}
	verdict := judged(fmt.Sprint(list[0]))
	if len(list) < 2 {
		return store.Grant{}, verdict
	}
	fields, _ := list[1].([]any)
	g, err := parseGrant(pairs(fields))
	if err != nil || g == nil {
		return store.Grant{}, fmt.Errorf("redis: grant after a rotation: %w", err)
	}
	return g.Grant, verdict
}

// RevokeGrant implements [store.Store].
func (s *Store) RevokeGrant(ctx context.Context, now time.Time, r store.Revocation) (bool, error) {
	at, err := stamp(now)
	if err != nil {
		return false, err
	}
	until, err := stamp(r.Until)
	if err != nil {
		return false, err
	}
	text, err := entryText(r)
	if err != nil {
		return false, err
	}
	keys := append([]string{s.grantKey(r.GrantID)}, s.keys(shardOf(r.GrantID), kindPersons, kindEnds, kindFeed, kindMeta)...)
	answer, err := s.verdict(ctx, step{revokeScript, keys, []any{at, newCall(), until, score(r.Until), text, s.channel()}})
	if err != nil || answer == answerBefore {
		return false, err
	}
	err = judged(answer)
	return err == nil, err
}

// Grants implements [store.Store]. It asks every shard for the first of the
// person's grants, and reads the first of those.
func (s *Store) Grants(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	const most = 200 // in one go
	person := personHash(subject)
	var out []store.Grant
	for from := "[" + person; len(out) < limit; {
		page := min(limit-len(out), most)
		members, err := s.personPage(ctx, person, from, page)
		if err != nil {
			return nil, err
		}
		grants, err := s.grantsOf(ctx, members)
		if err != nil {
			return nil, err
		}
		for _, g := range grants {
			// What changed since the index was read is left out. The comparison is also
			// the last line of defence against showing a person what is not theirs.
			if g != nil && g.User.Subject == subject && g.Revoked.IsZero() && g.Expires.After(now) {
				out = append(out, g.Grant)
			}
		}
		if len(members) < page {
			break
		}
		from = "(" + members[len(members)-1]
	}
	return out, nil
}

// personPage returns the first members of the index of persons from one on, of
// all shards together.
func (s *Store) personPage(ctx context.Context, person, from string, limit int) ([]string, error) {
	answers := make([]*redis.StringSliceCmd, shards)
	err := s.pipe(ctx, func(pipe redis.Pipeliner) {
		for i := range answers {
			answers[i] = pipe.ZRangeByLex(ctx, s.key(i, kindPersons), &redis.ZRangeBy{
				Min: from, Max: "(" + person + ":", // what comes after the digits
				Count: int64(limit),
			})
		}
	})
	if err != nil {
		return nil, err
	}
	var members []string
	for _, answer := range answers {
		members = append(members, answer.Val()...)
	}
	slices.Sort(members)
	return members[:min(limit, len(members))], nil
}

// grantsOf reads the grants that members of the index of persons stand for; nil
// for one that is gone.
func (s *Store) grantsOf(ctx context.Context, members []string) ([]*store.GrantRecord, error) {
	answers := make([]*redis.MapStringStringCmd, len(members))
	err := s.pipe(ctx, func(pipe redis.Pipeliner) {
		for i, member := range members {
			answers[i] = pipe.HGetAll(ctx, s.grantKey(member[min(personLen, len(member)):]))
		}
	})
	if err != nil {
		return nil, err
	}
	grants := make([]*store.GrantRecord, len(members))
	for i, answer := range answers {
		if grants[i], err = parseGrant(answer.Val()); err != nil {
			return nil, err
		}
	}
	return grants, nil
}

// TouchGrants implements [store.Store]. The uses of one shard are one step; if a
// later shard fails, the uses are told again or lost, which is what uses may be.
func (s *Store) TouchGrants(ctx context.Context, now time.Time, uses []store.GrantUse) error {
	at, err := stamp(now)
	if err != nil {
		return err
	}
	var perShard [shards]step
	for _, u := range uses {
		if err := checkText(u.From); err != nil {
			return err
		}
		used, err := stamp(u.At)
		if err != nil {
			return err
		}
		st := &perShard[shardOf(u.GrantID)]
		if st.script == nil {
			*st = step{script: touchScript, args: []any{at}}
		}
		st.keys = append(st.keys, s.grantKey(u.GrantID))
		st.args = append(st.args, used, u.From)
	}
	steps := slices.DeleteFunc(perShard[:], func(st step) bool { return st.script == nil })
	_, err = s.runAll(ctx, steps)
	return err
}
