package redis

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// Store keeps the state on Redis servers. It implements [store.Store]; make one
// with [Open] and end it with [Store.Close].
type Store struct {
	client redis.UniversalClient
	prefix string
	// timeout bounds every step.
	timeout time.Duration
	// known is the layout of this program.
	known  layout
	logger *zap.Logger
	bell   bell
	sub    *redis.PubSub

	mu        sync.Mutex
	inspected time.Time // when the servers' options were last looked at
	silent    []int     // shards whose part of the feed was missing the last time
}

// inspectEvery is how often Ping looks at the servers' options again: an
// administrator may change them while they run.
const inspectEvery = time.Minute

// Open connects to the servers. It waits for one that does not answer, until
// the context ends; what won't get better by waiting is an error that is
// [store.ErrRefused], also a layout of a newer program. Warnings, and why it
// waits, go to the logger.
func Open(ctx context.Context, o Options, logger *zap.Logger) (*Store, error) {
	return openWith(ctx, o, logger, current)
}

// openWith is Open for a program that knows this layout.
func openWith(ctx context.Context, o Options, logger *zap.Logger, known layout) (*Store, error) {
	universal, err := o.universal()
	if err != nil {
		return nil, err
	}
	quiet()
	s := &Store{client: redis.NewUniversalClient(universal), prefix: o.Prefix, timeout: o.Timeout, known: known, logger: logger}
	try := func(ctx context.Context) error {
		// One attempt must not use up the time of all.
		ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
		if err := s.probe(ctx); err != nil {
			return s.explained(err)
		}
		if err := s.checkLayout(ctx, true); err != nil {
			return s.explained(err)
		}
		return s.inspect(ctx, true)
	}
	err = store.Connect(ctx, try, func(err error, wait time.Duration) {
		logger.Warn("waiting for the Redis server", zap.Error(err), zap.Duration("next_try_in", wait), zap.Strings("addresses", o.Addresses))
	})
	if err != nil {
		_ = s.client.Close() // the error before says what matters
		return nil, fmt.Errorf("redis: no connection to %v: %w", o.Addresses, err)
	}
	s.follow(ctx)
	return s, nil
}

// follow subscribes to the channel, until [Store.Close].
func (s *Store) follow(ctx context.Context) {
	s.sub = s.client.Subscribe(context.WithoutCancel(ctx), s.channel())
	go s.bell.listen(s.sub)
}

// Close ends the connections. Afterwards every method fails.
func (s *Store) Close() error {
	err := s.sub.Close()
	if err2 := s.client.Close(); err == nil {
		err = err2
	}
	return fault(err)
}

// Ping implements [store.Store]. It writes a mark in every shard, so that each
// server that has a part of the state proves that it takes writes, and looks at
// the layout and the servers' options now and then.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.probe(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	due := time.Since(s.inspected) > inspectEvery
	s.mu.Unlock()
	if due {
		if err := s.checkLayout(ctx, false); err != nil {
			return err
		}
		return s.inspect(ctx, false)
	}
	return nil
}

// probe writes a mark in every shard. Nobody reads it.
func (s *Store) probe(ctx context.Context) error {
	return s.pipe(ctx, func(pipe redis.Pipeliner) {
		for i := range shards {
			pipe.HSet(ctx, s.key(i, kindMeta), "probe", "1")
		}
	})
}

// Interface guard.
var _ store.Store = (*Store)(nil)
