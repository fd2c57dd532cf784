package faults_test

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

var (
	full    = flag.Bool("full", false, "use large sizes, such as 100,000 registrations and 10,000 streams")
	figures = flag.String("figures", "", "write what was measured to this file")
)

// figure is something measured.
type figure struct {
	Fault string `json:"fault"`
	What  string `json:"what"`
	Value string `json:"value"`
}

var measured struct {
	sync.Mutex
	all []figure
}

// note writes a figure down.
func note(t *testing.T, fault, what, format string, args ...any) {
	t.Helper()
	f := figure{fault, what, fmt.Sprintf(format, args...)}
	t.Logf("%s: %s: %s", f.Fault, f.What, f.Value)
	measured.Lock()
	defer measured.Unlock()
	measured.all = append(measured.all, f)
}

func TestMain(m *testing.M) {
	flag.Parse()
	status := m.Run()
	if *figures != "" && status == 0 {
		slices.SortStableFunc(measured.all, func(a, b figure) int { return cmp.Compare(a.Fault, b.Fault) })
		text, err := json.MarshalIndent(measured.all, "", "\t")
		if err == nil {
			err = os.WriteFile(*figures, append(text, '\n'), 0o600)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}

// size is n, or small unless -full is given.
func size(n, small int) int {
	if *full {
		return n
	}
	return small
}

// configuration returns a Caddyfile with options for the app and the handler.
// Whatever a person would have to click is clicked.
func configuration(store, app, handler string) string {
	return `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	grace_period 10s
	servers {
		timeouts {
			read_header 2s
			read_body 2s
		}
	}
	mcp_auth {
		issuer {URL}
		store ` + cmp.Or(store, "embedded {DIR}/state.db") + `
		development
		login auto {
			user alice
		}
		registration {
			rate_limit off off
		}
		` + app + `
	}
}
{URL} {
	mcp_auth {
		max_calls 100000
		` + handler + `
	}
	reverse_proxy {UPSTREAM} {
		transport http {
			keepalive_idle_conns_per_host 256
		}
	}
}
`
}

// client keeps its connections, as the clients of a busy gateway do.
var client = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 512, MaxConnsPerHost: 0, IdleConnTimeout: time.Minute},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       30 * time.Second,
}

// reply is an answer that was read whole.
type reply struct {
	status int
	header http.Header
	body   string
	took   time.Duration
}

// send makes a request; the header lists names and values in turn.
func send(method, target, body string, header ...string) (reply, error) {
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return do(req)
}

// do sends a request and reads the answer whole.
func do(req *http.Request) (reply, error) {
	begin := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(text), time.Since(begin)}, err
}

// call calls the upstream with a token.
func call(base, token string) (reply, error) {
	return send(http.MethodPost, base+"/mcp", `{}`, "Content-Type", "application/json", "Authorization", "Bearer "+token)
}

func wantCall(t *testing.T, base, token string, status int) {
	t.Helper()
	if r, err := call(base, token); err != nil || r.status != status {
		t.Errorf("call: %d, %v; want %d", r.status, err, status)
	}
}

// form posts a form.
func form(target, values string) (reply, error) {
	return send(http.MethodPost, target, values, "Content-Type", "application/x-www-form-urlencoded")
}

// devToken mints an access token.
func devToken(t *testing.T, base string) string {
	t.Helper()
	return gatewaytest.PostForm(t, base+"/dev/token", nil).Text(t, "access_token")
}

// upstream answers calls at once, and GET with an event stream that says
// hello and then nothing until the client goes.
func upstream(t *testing.T) (addr string, open *atomic.Int64) {
	t.Helper()
	open = new(atomic.Int64)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, `{}`)
			return
		}
		open.Add(1)
		defer open.Add(-1)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: hello\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})}
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	return ln.Addr().String(), open
}

// crowd calls do n times from some goroutines, and returns how often each
// status came; an error counts as status 0.
func crowd(goroutines, n int, do func(i int) (reply, error)) map[int]int {
	var next atomic.Int64
	var mu sync.Mutex
	statuses := map[int]int{}
	var group sync.WaitGroup
	for range goroutines {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				r, err := do(i)
				if err != nil {
					r.status = 0
				}
				mu.Lock()
				statuses[r.status]++
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return statuses
}

// eventually waits for a condition.
func eventually(t *testing.T, within time.Duration, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// member returns a string member of a JSON object, or "".
func member(body, name string) string {
	var m map[string]any
	_ = json.Unmarshal([]byte(body), &m) // then there is none
	s, _ := m[name].(string)
	return s
}

// port returns the port of an origin.
func port(t *testing.T, origin string) (n int) {
	t.Helper()
	if _, err := fmt.Sscanf(origin, "http://localhost:%d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}
