package readme_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/backends"
)

// someSecret is the value of the variables that stand for secrets.
const someSecret = "0123456789abcdef0123456789abcdef"

var variables = regexp.MustCompile(`\{env\.(\w+)\}`)

// environment returns the variables that a configuration names. Those with the
// address of a server are of one that is started for it.
func environment(t *testing.T, text string) []string {
	t.Helper()
	var env []string
	servers := map[string]string{}
	for _, m := range variables.FindAllStringSubmatch(text, -1) {
		value := someSecret
		switch name, _, _ := strings.Cut(m[1], "_SENTINEL_"); {
		case strings.HasSuffix(m[1], "_HASH"):
			value = someHash
		case m[1] == "DATABASE_URL":
			value = backends.SharedPostgres(t).DSN(t) // a new database
		case m[1] == "REDIS_ADDRESS":
			value = startRedis(t).Addr
		case name == "REDIS": // all name one: it is enough for a start
			if servers[name] == "" {
				servers[name] = backends.StartSentinel(t, startRedis(t), "mymaster").Addr
			}
			value = servers[name]
		}
		env = append(env, m[1]+"="+value)
	}
	return env
}

var aclRule = regexp.MustCompile(`(?m)^user gateway on >\S+ (.*)$`)

// startRedis starts a server with no way in but the ACL user of the documents.
func startRedis(t *testing.T) *backends.Redis {
	t.Helper()
	rule := aclRule.FindStringSubmatch(readFile(t, redisFile))
	if rule == nil {
		t.Fatalf("%s has no ACL rule", redisFile)
	}
	return backends.StartRedis(t, slices.Concat(
		[]string{"--user", "default", "off", "--user", "gateway", "on", ">" + someSecret}, strings.Fields(rule[1]),
	)...)
}
