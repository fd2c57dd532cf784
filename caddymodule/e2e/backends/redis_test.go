package backends

import (
	"strings"
	"testing"
)

func TestRedis(t *testing.T) {
	t.Run("Restart", func(t *testing.T) {
		r := StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
		r.Do("set", "k", "v")
		r.Kill()
		if _, err := r.try("get", "k"); err == nil {
			t.Fatal("a killed server answers")
		}
		r.Start()
		if got := r.Do("get", "k"); got != "v" {
			t.Fatalf("after a restart: %v", got)
		}
		r.Pause()
		r.Resume()
		r.FlushAll()
		if got := r.Do("dbsize"); got != int64(0) {
			t.Fatalf("after FlushAll: %v keys", got)
		}
	})
	t.Run("TLSAndACL", func(t *testing.T) {
		r := StartRedisTLS(t, "--user", "default", "off", "--user", "gateway", "on", ">secret", "~mcp_auth*", "+@all")
		if got := r.Do("acl", "getuser", "gateway"); got == nil {
			t.Fatal("the user is unknown")
		}
	})
	t.Run("Cluster", func(t *testing.T) {
		nodes := StartRedisCluster(t, 3)
		if addrs := RedisAddrs(nodes); len(addrs) != 3 {
			t.Fatal(addrs)
		}
	})
	t.Run("Sentinel", func(t *testing.T) {
		master := StartRedis(t)
		StartRedisReplica(t, master)
		s := StartSentinel(t, master, "main")
		if got, _ := s.Do("info", "sentinel").(string); !strings.Contains(got, "name=main") {
			t.Fatal(got)
		}
	})
}
