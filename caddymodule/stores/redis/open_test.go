package redis

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/backends"
)

// refused fails the test unless err is one that waiting won't mend, and says so.
func refused(t *testing.T, err error, says string) {
	t.Helper()
	if !errors.Is(err, store.ErrRefused) || !strings.Contains(err.Error(), says) {
		t.Errorf("got error %v, want a refusal that says %q", err, says)
	}
	if err != nil && strings.Contains(err.Error(), "horse") {
		t.Errorf("the error tells the password: %v", err)
	}
}

func TestWrongPassword(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t, aclUser(defaultPrefix)...)
	for name, o := range map[string]Options{
		"none":    at(server.Addr),
		"wrong":   {Addresses: []string{server.Addr}, Username: "gateway", Password: "wrong horse"},
		"unknown": {Addresses: []string{server.Addr}, Username: "nobody", Password: "correct horse"},
		"default": {Addresses: []string{server.Addr}, Password: "correct horse"},
	} {
		_, logs, err := tryOpen(t, patience, o)
		refused(t, err, "an ACL user needs: ~mcp_auth:* &mcp_auth:* ")
		if logs.Len() > 0 {
			t.Errorf("%s: logged %s", name, messages(logs))
		}
	}
	// Another gateway's keys are not for this user.
	_, _, err := tryOpen(t, patience, Options{Addresses: []string{server.Addr}, Username: "gateway", Password: "correct horse", Prefix: "other"})
	refused(t, err, "NOPERM")
}

func TestWrongDatabase(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t)
	_, _, err := tryOpen(t, patience, Options{Addresses: []string{server.Addr}, Database: 99})
	refused(t, err, "DB index is out of range")
	s := open(t, Options{Addresses: []string{server.Addr}, Database: 3})
	must(t, s.Ping(t.Context()))
	if _, _, err := tryOpen(t, patience, Options{Addresses: []string{server.Addr}, Cluster: true}); err == nil {
		t.Error("a server without Cluster was taken for one")
	} else {
		refused(t, err, "cluster")
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	server := backends.StartRedisTLS(t, aclUser(defaultPrefix)...)
	o := Options{Addresses: []string{server.Addr}, Username: "gateway", Password: "correct horse", TLS: true, CA: server.CAFile}
	s := open(t, o)
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))

	o.CA = ""
	_, _, err := tryOpen(t, patience, o)
	refused(t, err, "tls_ca")
	o.CA, o.ServerName = server.CAFile, "elsewhere.example"
	_, _, err = tryOpen(t, patience, o)
	refused(t, err, "tls_server_name")
}

func TestEvictionPolicy(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t, "--maxmemory-policy", "allkeys-lru")
	_, _, err := tryOpen(t, patience, at(server.Addr))
	refused(t, err, "set it to noeviction")
	for _, policy := range []string{"noeviction", "volatile-lru", "volatile-ttl"} {
		server.Do("config", "set", "maxmemory-policy", policy)
		open(t, at(server.Addr))
	}

	// A policy that is changed later is found by Ping.
	s := open(t, at(server.Addr))
	must(t, s.Ping(t.Context()))
	server.Do("config", "set", "maxmemory-policy", "allkeys-random")
	s.mu.Lock()
	s.inspected = time.Now().Add(-2 * inspectEvery)
	s.mu.Unlock()
	if err := s.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "allkeys-random") {
		t.Errorf("Ping: %v", err)
	}

	// So is one that can be read only with INFO, or not at all.
	server.Do("acl", "setuser", "info", "on", "nopass", "~*", "&*", "+@all", "-config")
	_, _, err = tryOpen(t, patience, Options{Addresses: []string{server.Addr}, Username: "info", Password: "any"})
	refused(t, err, "allkeys-random")
	server.Do("acl", "setuser", "blind", "on", "nopass", "~*", "&*", "+@all", "-config", "-info")
	_, logs, err := tryOpen(t, patience, Options{Addresses: []string{server.Addr}, Username: "blind", Password: "any"})
	must(t, err)
	if got := messages(logs); !strings.Contains(got, "warn can't read maxmemory-policy") {
		t.Errorf("logged %q", got)
	}
}

func TestPersistenceWarnings(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t)
	logged := func(want string) {
		t.Helper()
		_, logs, err := tryOpen(t, patience, at(server.Addr))
		must(t, err)
		if got := messages(logs); !strings.Contains(got, want) || (want == "" && got != "") {
			t.Errorf("logged %q, want %q", got, want)
		}
	}
	logged("warn the Redis server keeps nothing on disk")
	server.Do("config", "set", "save", "60 1000")
	logged("warn the Redis server only makes snapshots")
	server.Do("config", "set", "appendonly", "yes")
	server.Do("config", "set", "appendfsync", "everysec")
	logged("info the Redis server writes to disk once a second")
	server.Do("config", "set", "appendfsync", "no")
	logged("warn the Redis server leaves writing")
	server.Do("config", "set", "appendfsync", "always")
	logged("")
}

// TestLateServer wants the store to wait for a server that starts after it, and
// to say why it waits.
func TestLateServer(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t)
	server.Stop()
	begin := time.Now()
	_, logs, err := tryOpen(t, time.Second, at(server.Addr))
	if err == nil || errors.Is(err, store.ErrRefused) || !strings.Contains(err.Error(), server.Addr) || !strings.Contains(err.Error(), "gave up after") {
		t.Errorf("without a server: %v", err)
	}
	if took := time.Since(begin); took > patience {
		t.Errorf("gave up after %v", took)
	}
	if got := messages(logs); !strings.Contains(got, "warn waiting for the Redis server") {
		t.Errorf("logged %q", got)
	}
	opened := make(chan *Store)
	go func() {
		s, _, err := tryOpen(t, patience, at(server.Addr))
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	server.Start()
	if s := <-opened; s != nil {
		must(t, s.Ping(t.Context()))
	}
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	master := backends.StartRedis(t)
	backends.StartRedisReplica(t, master)
	sentinel := backends.StartSentinel(t, master, "main")
	s := open(t, Options{Addresses: []string{sentinel.Addr}, MasterName: "main"})
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
	eventually(t, func() error {
		if n := master.Do("wait", 1, 1000).(int64); n < 1 {
			return errors.New("the replica is behind")
		}
		return nil
	})
	master.Kill()
	eventually(t, func() error { return s.CreateGrant(t.Context(), testNow, testGrant("b")) })
	for _, id := range []string{"a", "b"} {
		_, err := s.Grant(t.Context(), testNow, id)
		must(t, err)
	}
	_, _, err := tryOpen(t, time.Second, Options{Addresses: []string{sentinel.Addr}, MasterName: "unknown"})
	if err == nil {
		t.Error("an unknown master was found")
	}
}

// TestDocumentedRights compares the rights that errors name with the ACL rule of
// the documentation.
func TestDocumentedRights(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "store-redis.md"))
	must(t, err)
	if !strings.Contains(string(text), " ~mcp_auth:* &mcp_auth:* "+rights+"\n") {
		t.Error("docs/store-redis.md has another ACL rule")
	}
}

func TestOptionsCheck(t *testing.T) {
	for want, o := range map[string]Options{
		"name the server's address": {},
		"not host:port":             {Addresses: []string{"user:horse@localhost"}},
		"several addresses":         {Addresses: []string{"a:1", "b:1"}},
		"exclude each other":        {Addresses: []string{"a:1"}, Cluster: true, MasterName: "m"},
		"only database 0":           {Addresses: []string{"a:1"}, Cluster: true, Database: 1},
		"negative":                  {Addresses: []string{"a:1"}, Database: -1},
		"go with master_name":       {Addresses: []string{"a:1"}, SentinelPassword: "horse"},
		"go together":               {Addresses: []string{"a:1"}, Cert: "c"},
		"prefix":                    {Addresses: []string{"a:1"}, Prefix: "a{b}"},
		"tls_ca":                    {Addresses: []string{"a:1"}, TLS: true, CA: "/nowhere"},
		"tls_cert and tls_key":      {Addresses: []string{"a:1"}, TLS: true, Cert: "/nowhere", Key: "/nowhere"},
	} {
		if o.Prefix == "" {
			o.Prefix = defaultPrefix
		}
		if _, err := o.universal(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "horse") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
