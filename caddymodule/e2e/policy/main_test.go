package policy_test

import (
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

var suite gatewaytest.Suite

func TestMain(m *testing.M) { os.Exit(suite.Main(m)) }

// rules are those of most resources here.
const rules = `
		scopes tickets:read
		step_up_scopes tickets:refund tickets:pay tickets:admin
		hierarchy tickets:admin tickets:refund
		tool search_*         require scope tickets:read
		tool refund           require scope tickets:refund tickets:pay
		tool audited {
			require scope tickets:read
			audit   amount
		}
		tool mine             require expression {http.mcp.arguments.user} == {http.auth.user.id}
		tool delete_*         deny
		prompt hello          allow
		resource_uri file:///hr/*                 deny
		resource_uri file:///pub/* https://pub.example/*  allow
		resource_uri tickets:*  require scope tickets:read
		resource_uri refunds:*  require scope tickets:refund tickets:pay
		method tasks/get      allow
`

// site is a resource at a path with options of its own.
func site(path, options string) string {
	return `
	handle ` + path + `* {
		mcp_auth {
			resource {URL}` + path + `
			` + options + `
		}
		reverse_proxy {UPSTREAM} {
			transport http {
				compression off
			}
		}
	}`
}

// config is the whole configuration. The resource of the last block is /mcp, with
// rules; what the others are for is in their names.
func config(first string) string {
	return `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	debug
	mcp_auth {
		issuer {URL}
		store embedded {DIR}/state.db
		development
		login auto {
			user alice
			email alice@example.com
			groups hr leads
		}
		client limited {
			redirect_uri http://127.0.0.1/limited
			scopes tickets:read
		}
	}
}
{URL} {
	log` + first + `
	handle {
		mcp_auth {
			resource {URL}/mcp {URL}/sse
			trusted_origins http://localhost:6274` + rules + `
		}
		reverse_proxy {UPSTREAM} {
			transport http {
				compression off
			}
		}
	}
}
`
}

var others = site("/plain", "scopes a") +
	site("/dry", "dry_run"+rules) +
	site("/later", "list_step_up"+rules) +
	site("/small", "max_message 1KiB"+rules) +
	site("/perUser", "rate_limit user 3 1h"+rules) +
	site("/perClient", "rate_limit client 3 1h"+rules) +
	site("/people", "scopes tickets:read\n\t\t\ttool refund require group leads\n\t\t\ttool mine require user alice\n"+
		"\t\t\ttool inside require email *@example.com\n\t\t\ttool here require login auto") +
	site("/narrow", "max_streams 2\n\t\t\tmax_calls 3"+rules)

// rig is the gateway and the upstream that tests share, one after the other.
type rig struct {
	*gatewaytest.Gateway
	up *gatewaytest.Upstream
}

var shared = sync.OnceValue(func() *rig { return start(&suite) })

func start(tb testing.TB) *rig {
	u := gatewaytest.NewUpstream(tb, nil)
	return &rig{gatewaytest.Start(tb, gatewaytest.Options{Caddyfile: config(others), Upstream: u.Addr()}), u}
}

// use returns the shared rig with an upstream that answers as told: nil is a short
// JSON answer.
func use(tb testing.TB, answer http.HandlerFunc) *rig {
	tb.Helper()
	r := shared()
	r.up.Take()
	r.up.Answer.Store(&answer)
	return r
}

// token mints a token for a path of the gateway. params are further parameters of
// /dev/token.
func (r *rig) token(tb testing.TB, path, scope string, params ...string) string {
	tb.Helper()
	form := "resource=" + r.URL + path
	if scope != "" {
		form += "&scope=" + strings.ReplaceAll(scope, " ", "+")
	}
	for i := 0; i+1 < len(params); i += 2 {
		form += "&" + params[i] + "=" + params[i+1]
	}
	reply := gatewaytest.Send(tb, "POST", r.URL+"/dev/token", form, "Content-Type", "application/x-www-form-urlencoded")
	if reply.Status != 200 {
		tb.Fatalf("dev token: %d %s", reply.Status, reply.Body)
	}
	return reply.Text(tb, "access_token")
}
