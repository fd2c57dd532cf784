package features_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// house serves a server of its own to each run and way.
type house struct {
	mux     *http.ServeMux
	servers map[string]*full // by place
}

func place(w way, r run) string { return "/" + w.name + "/" + r.String() }

func newHouse() house {
	h := house{http.NewServeMux(), map[string]*full{}}
	for _, w := range ways() {
		for _, r := range runs() {
			f := r.server()
			h.servers[place(w, r)] = f
			h.mux.Handle(place(w, r), r.serve(func(*http.Request) *mcp.Server { return f.Server }))
		}
	}
	return h
}

// gateway starts one with a resource for each way.
func gateway(t *testing.T, upstream string) *gatewaytest.Gateway {
	t.Helper()
	var sites strings.Builder
	for _, w := range ways()[1:] {
		sites.WriteString(strings.NewReplacer("{NAME}", w.name, "{RULES}", w.rules).Replace(`
	handle /{NAME}/* {
		mcp_auth {
			resource {URL}/{NAME}
			{RULES}
		}
		reverse_proxy {UPSTREAM}
	}
`))
	}
	return gatewaytest.Start(t, gatewaytest.Options{Upstream: upstream, Caddyfile: `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	mcp_auth {
		issuer {URL}
		store memory
		development
		login auto
	}
}
{URL} {` + sites.String() + `
	handle {
		mcp_auth
	}
}
`})
}

func token(t *testing.T, g *gatewaytest.Gateway, w way) string {
	t.Helper()
	reply := gatewaytest.PostForm(t, g.URL+"/dev/token", url.Values{"resource": {g.URL + "/" + w.name}})
	if reply.Status != http.StatusOK {
		t.Fatalf("token: %d %s", reply.Status, reply.Body)
	}
	return reply.Text(t, "access_token")
}

// TestSame runs the script past the gateway and through it, and compares what
// the client saw.
func TestSame(t *testing.T) {
	h := newHouse()
	upstream := httptest.NewServer(h.mux)
	t.Cleanup(upstream.Close)
	g := gateway(t, upstream.Listener.Addr().String())
	tokens := map[string]string{}
	for _, w := range ways()[1:] {
		tokens[w.name] = token(t, g, w)
	}
	t.Run("runs", func(t *testing.T) {
		for _, r := range runs() {
			t.Run(r.String(), func(t *testing.T) {
				t.Parallel()
				var direct *client
				for i, w := range ways() {
					base := g.URL
					if i == 0 {
						base = upstream.URL
					}
					ok := t.Run(w.name, func(t *testing.T) {
						c := r.connect(t, h.servers[place(w, r)], base, place(w, r), tokens[w.name])
						c.script()
						if i == 0 {
							direct = c
							return
						}
						same(t, w, direct, c)
					})
					if !ok && i == 0 {
						return
					}
				}
			})
		}
	})
}

// same compares the record of a way with that of the server alone.
func same(t *testing.T, w way, want, got *client) {
	t.Helper()
	lines := func(steps []string, change func(string) string) []string {
		var out []string
		for _, step := range steps {
			name, rest, _ := strings.Cut(step, "\n")
			out = append(out, name+"\n"+change(rest))
		}
		return out
	}
	differ(t, "steps", lines(want.steps, w.expected), lines(got.steps, w.arrived))
	for _, what := range slices.Sorted(maps.Keys(want.heard)) {
		differ(t, "heard: "+what, want.heard[what], got.heard[what])
	}
	if len(want.heard) != len(got.heard) {
		t.Errorf("heard %v, want %v", slices.Sorted(maps.Keys(got.heard)), slices.Sorted(maps.Keys(want.heard)))
	}
	differ(t, "on the wire", want.wire.exchanged(w.expected), got.wire.exchanged(w.arrived))
}

// differ shows the first place where two records part.
func differ(t *testing.T, what string, want, got []string) {
	t.Helper()
	for i := range max(len(want), len(got)) {
		var a, b string
		if i < len(want) {
			a = want[i]
		}
		if i < len(got) {
			b = got[i]
		}
		if a != b {
			t.Errorf("%s, %d of %d (%d): want\n%.2000s\n\ngot\n%.2000s", what, i+1, len(want), len(got), a, b)
			return
		}
	}
}
