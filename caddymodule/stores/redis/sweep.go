package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// sweepLimit is how many records one Sweep removes at most.
const sweepLimit = 1000

// Sweep implements [store.Store]. It reads from the index what has ended, and
// lets the server remove what has not got another end since. Nothing else
// removes: no key has a time to live.
func (s *Store) Sweep(ctx context.Context, now time.Time) (int, error) {
	at := strconv.FormatInt(now.UnixMilli(), 10)
	answers := make([]*redis.StringSliceCmd, shards)
	err := s.pipe(ctx, func(pipe redis.Pipeliner) {
		for i := range answers {
			answers[i] = pipe.ZRangeByScore(ctx, s.key(i, kindEnds), &redis.ZRangeBy{Min: "-inf", Max: at, Count: sweepLimit / shards})
		}
	})
	if err != nil {
		return 0, err
	}
	var steps []step
	for i, answer := range answers {
		if members := answer.Val(); len(members) > 0 {
			steps = append(steps, s.sweepStep(i, at, members))
		}
	}
	counts, err := s.runAll(ctx, steps)
	if err != nil {
		return 0, err
	}
	total := 0
	for _, count := range counts {
		n, _ := count.(int64)
		total += int(n)
	}
	return total, nil
}

// sweepStep returns what removes records of one shard.
func (s *Store) sweepStep(shard int, at string, members []string) step {
	st := step{sweepScript, s.keys(shard, kindEnds, kindPersons, kindNames, kindUsed, kindFeed), []any{at}}
	for _, member := range members {
		if member[0] == 'g' {
			st.keys = append(st.keys, s.grantKey(member[min(1+personLen, len(member)):]))
		}
		st.args = append(st.args, member)
	}
	return st
}
