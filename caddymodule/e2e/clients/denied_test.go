package clients_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// denyingRules are of a server where no scope helps with what is refused, but for
// one tool.
const denyingRules = `
		scopes mcp:tools:read
		step_up_scopes math:add
		tool get_weather      deny
		tool get_user_profile require group leads
		tool add_numbers      require scope math:add
		tool hello            allow
		default deny`

// streamableKinds are the SDKs over streamable HTTP.
func streamableKinds() []agentKind {
	return []agentKind{
		goKind("newest", "/mcp", ""),
		goKind("2025-11-25", "/mcp", "2025-11-25"),
		goKind("2025-03-26", "/mcp", "2025-03-26"),
		tsKind("v1", "v1", "http"),
		tsKind("v2", "v2", "http"),
		tsKind("v2 2026-07-28", "v2-modern", "http"),
	}
}

// denying is a gateway with denyingRules and further options.
func denying(t *testing.T, more string) (*gatewaytest.Gateway, *counted) {
	t.Helper()
	upstream := serveCounted(t)
	return gatewaytest.Start(t, gatewaytest.Options{Caddyfile: ruled(t, denyingRules+more), Upstream: upstream.address}), upstream
}

// TestDenied: what no scope would change is an error with the reason. The program
// does not ask for tokens, does not try again, and goes on.
func TestDenied(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	g, upstream := denying(t, "")
	forEachAgent(t, g.URL, streamableKinds(), func(t *testing.T, a agent, tag int) {
		for range 2 {
			denied(t, a, "get_weather", "the policy of this server does not allow this call")
			denied(t, a, "get_user_profile", "only members of certain groups")
			denied(t, a, "list_files", "the policy of this server does not allow this call")
			none(t, must(t, a, "hello"))
		}
		wantTools(t, a, "hello")
		if seen, refused := upstream.seen("hello", tag), upstream.seen("get_weather", tag); seen != 2 || refused != 0 {
			t.Errorf("the server saw %d calls, and %d that were refused; want 2 and none", seen, refused)
		}
	})
}

// TestListStepUp: with the option a list has what step-up could reach, and what
// nobody can reach is left out all the same.
func TestListStepUp(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	g, _ := denying(t, "\n\t\tlist_step_up")
	kinds := []agentKind{
		goKind("newest", "/mcp", ""), goKind("SSE", "/sse", "2024-11-05"),
		tsKind("v1", "v1", "http"), tsKind("v2", "v2-modern", "http"),
	}
	forEachAgent(t, g.URL, kinds, func(t *testing.T, a agent, _ int) { wantTools(t, a, "add_numbers", "hello") })
}

// TestINTEROP28: the TypeScript SDK v1 answers a challenge with the refresh token
// that it has, which can't widen anything. The call fails after one more try, and
// the session goes on.
func TestINTEROP28(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	g, upstream := stepping(t, "")
	a := tsKind("v1", "v1", "http").start(t, g.URL, 1)
	for range 2 {
		u := a.use(t, "add_numbers")
		if u.err == nil || len(u.to("/oauth/authorize")) > 0 {
			t.Fatalf("the SDK steps up: %q, %v", u.text, u.err)
		}
		if n := len(u.to("/mcp")); n > 2 {
			t.Errorf("%d calls, want at most 2: %v", n, u.err)
		}
		if refreshes := u.grants("refresh_token"); len(refreshes) != 1 || refreshes[0].Status >= http.StatusInternalServerError {
			t.Errorf("refreshes: %+v", refreshes)
		}
		none(t, must(t, a, "hello"))
	}
	wantTools(t, a, "hello")
	if n := upstream.seen("add_numbers", 1); n != 0 {
		t.Errorf("the server saw %d calls that were refused", n)
	}
}

// TestInspectorRefused: the Inspector's command line ends with an error of its own
// where a rule denies a call, or a challenge asks for more than it can get, and has
// its tokens still.
func TestInspectorRefused(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	g, upstream := denying(t, "")
	home := t.TempDir()
	use := func(tool, arg string) ran {
		return inspect(t, g, home, g.URL+"/mcp", "--format", "json",
			"--callback-url", fmt.Sprintf("http://127.0.0.1:%d/oauth/callback", gatewaytest.FreePort(t)),
			"--method", "tools/call", "--tool-name", tool, "--tool-arg", arg)
	}
	if r := use("hello", "name=client 1"); r.code != 0 || !r.opened {
		t.Fatalf("hello ended with %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	// It calls no tool that it does not see in the list.
	if r := use("get_weather", "location=Place 1"); r.code == 0 || r.opened {
		t.Errorf("a denied tool: ended with %d, signed in: %t\n%s%s", r.code, r.opened, r.stdout, r.stderr)
	}
	if r := use("hello", "name=client 1"); r.code != 0 || r.opened {
		t.Errorf("hello ended with %d, signed in: %t\n%s%s", r.code, r.opened, r.stdout, r.stderr)
	}
	if ok, no := upstream.seen("hello", 1), upstream.seen("get_weather", 1); ok != 2 || no != 0 {
		t.Errorf("the server saw %d calls, and %d that were refused; want 2 and none", ok, no)
	}
}

// TestDeniedSSE: programs of HTTP+SSE get their lists filtered on the stream, and a
// refusal is the answer to their POST, where alone they look for one.
func TestDeniedSSE(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	g, upstream := denying(t, "")
	kinds := []agentKind{goKind("SSE", "/sse", "2024-11-05"), tsKind("v1 SSE", "v1", "sse"), tsKind("v2 SSE", "v2", "sse")}
	forEachAgent(t, g.URL, kinds, func(t *testing.T, a agent, tag int) {
		wantTools(t, a, "hello")
		u := a.use(t, "get_weather")
		// The Go SDK's program sends it once more, as its handler tells it to.
		if n := len(u.refused()); u.err == nil || n == 0 || n > 2 || u.authorized() > 0 {
			u.log(t)
			t.Errorf("%v after %d refusals and %d requests for a token", u.err, n, u.authorized())
		}
		if _, isGo := a.(*goAgent); !isGo { // whose session ends with any POST that fails
			if !strings.Contains(fmt.Sprint(u.err), "the policy of this server does not allow this call") {
				t.Errorf("it fails without the reason: %v", u.err)
			}
			none(t, must(t, a, "hello"))
		}
		if seen := upstream.seen("get_weather", tag); seen != 0 {
			t.Errorf("the server saw %d calls that were refused", seen)
		}
	})
}

// TestLimited: a program that calls too often is told so, and its session goes on
// when there is room again.
func TestLimited(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	// Room for one more comes back each second.
	g, upstream := denying(t, "\n\t\trate_limit client 20 20s")
	forEachAgent(t, g.URL, streamableKinds(), func(t *testing.T, a agent, tag int) {
		good, limited := 0, used{}
		for range 200 {
			u := a.use(t, "hello")
			if u.err != nil {
				limited = u
				break
			}
			good++
		}
		if limited.err == nil || len(limited.answered(http.StatusTooManyRequests)) != 1 || limited.authorized() > 0 {
			limited.log(t)
			t.Fatalf("after %d calls: %v", good, limited.err)
		}
		poll(t, "room for a call", func() bool { return a.use(t, "hello").err == nil })
		if seen := upstream.seen("hello", tag); seen != good+1 {
			t.Errorf("the server saw %d calls, want %d", seen, good+1)
		}
	})
}
