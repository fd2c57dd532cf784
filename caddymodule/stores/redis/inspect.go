package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// rights is what the ACL user of the gateway needs, besides the keys and the
// channel.
const rights = "+@read +@write +@connection +@transaction +@scripting +@pubsub +time +info +config|get +cluster|slots +cluster|shards +cluster|nodes"

// refusals are how a server's errors begin that waiting won't mend.
var refusals = []string{
	"WRONGPASS", "NOAUTH", "NOPERM", "ERR invalid password", "ERR AUTH", "ERR Client sent AUTH", "ERR DB index",
	"ERR invalid DB index", "ERR SELECT", "ERR unknown command", "ERR This instance has cluster support disabled",
	"MOVED", "ERR wrong number of arguments for 'auth'",
}

// explained marks errors that waiting won't mend as refused, and says what to do.
func (s *Store) explained(err error) error {
	_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	switch text := redisText(err); {
	case unverified:
		return fmt.Errorf("%w; is tls_ca the certificate authority of the server, and tls_server_name its name: %w", err, store.ErrRefused)
	case strings.HasPrefix(text, "MOVED"):
		return fmt.Errorf("the server is a node of a Cluster; add the option cluster: %w: %w", err, store.ErrRefused)
	case strings.HasPrefix(text, "READONLY"):
		return fmt.Errorf("the server is a replica; name the master, or its Sentinels with master_name: %w", err)
	case begins(text, refusals):
		return fmt.Errorf("%w; check username and password; an ACL user needs: ~%s:* &%s:* %s: %w", err, s.prefix, s.prefix, rights, store.ErrRefused)
	}
	return err
}

// redisText returns what a server said, or nothing if it did not say the error.
func redisText(err error) string {
	if said, ok := errors.AsType[redis.Error](err); ok {
		return said.Error()
	}
	return ""
}

func begins(text string, beginnings []string) bool {
	for _, b := range beginnings {
		if strings.HasPrefix(text, b) {
			return true
		}
	}
	return false
}

// options is what a server says of how it keeps data; empty where it does not.
type options struct {
	policy string // maxmemory-policy
	aof    string // "1" or "0"
	fsync  string // appendfsync
	save   string // save points; "?" if unknown
}

// inspect looks at the options of every master. A policy that evicts grants is
// an error; at the start, what else endangers them is a warning.
func (s *Store) inspect(ctx context.Context, starting bool) error {
	check := func(ctx context.Context, c *redis.Client) error {
		o := optionsOf(ctx, c)
		addr := c.Options().Addr
		if addr == "FailoverClient" { // what the client calls it
			addr = "of the Sentinels"
		}
		if starting {
			s.warn(addr, o)
		}
		return evicts(addr, o.policy)
	}
	var err error
	switch c := s.client.(type) {
	case *redis.ClusterClient:
		err = c.ForEachMaster(ctx, check)
	case *redis.Client:
		err = check(ctx, c)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inspected = time.Now()
	return nil
}

// evicts refuses a policy that removes keys when memory gets scarce. The
// policies that remove only keys with a time to live are fine: no key of this
// store has one.
func evicts(addr, policy string) error {
	if !strings.HasPrefix(policy, "allkeys") {
		return nil
	}
	return fmt.Errorf("redis: the server %s has maxmemory-policy %s, which throws grants away when memory gets scarce; set it to noeviction: %w",
		addr, policy, store.ErrRefused)
}

// optionsOf asks a server for its options, as far as this user may.
func optionsOf(ctx context.Context, c *redis.Client) options {
	o := options{save: "?"}
	if text, err := c.Info(ctx, "memory").Result(); err == nil {
		o.policy = infoField(text, "maxmemory_policy")
	}
	if text, err := c.Info(ctx, "persistence").Result(); err == nil {
		o.aof = infoField(text, "aof_enabled")
	}
	config := func(name string) (string, bool) {
		values, err := c.ConfigGet(ctx, name).Result()
		value, ok := values[name]
		return value, err == nil && ok
	}
	if o.policy == "" {
		o.policy, _ = config("maxmemory-policy")
	}
	o.fsync, _ = config("appendfsync")
	if save, ok := config("save"); ok {
		o.save = save
	}
	return o
}

// infoField returns a value of what INFO answered.
func infoField(text, name string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// warn says what may lose grants without anybody's fault.
func (s *Store) warn(addr string, o options) {
	server := zap.String("server", addr)
	if o.policy == "" {
		s.logger.Warn("can't read maxmemory-policy of the Redis server; make sure that it is noeviction, or grants get lost", server)
	}
	switch {
	case o.aof == "0" && o.save == "":
		s.logger.Warn("the Redis server keeps nothing on disk: when it restarts, everybody is signed out; set appendonly yes and appendfsync always", server)
	case o.aof == "0":
		s.logger.Warn("the Redis server only makes snapshots: when it crashes, what happened since the last one is lost; set appendonly yes and appendfsync always", server)
	case o.aof == "1" && o.fsync == "no":
		s.logger.Warn("the Redis server leaves writing to the operating system: when the machine crashes, up to half a minute is lost; set appendfsync always", server)
	case o.aof == "1" && o.fsync == "everysec":
		s.logger.Info("the Redis server writes to disk once a second: when the machine crashes, up to a second is lost; appendfsync always loses nothing", server)
	}
}

// quiet silences the client's own log: what matters is in the errors.
var quiet = sync.OnceFunc(logging.Disable)
