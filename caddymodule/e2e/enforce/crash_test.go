package enforce_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// session is what a client knows about its grant: only what was acknowledged.
type session struct {
	client          *gatewaytest.Client
	code            string // redeemed
	access, refresh string // the newest ones
	revoked         bool   // acknowledged
	open            bool   // a revocation was sent, its answer never came
}

// journal collects the sessions of a load.
type journal struct {
	mu       sync.Mutex
	sessions []*session
	steps    atomic.Int64
	faults   []string
}

func (j *journal) add(s *session) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.sessions = append(j.sessions, s)
}

func (j *journal) fault(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.faults = append(j.faults, text)
}

// worker sends requests until one gets no answer, because the server died.
type worker struct {
	j    *journal
	http *http.Client
	base string
}

// form posts a form to the token endpoint. ok is false if there was no answer.
func (w *worker) form(values url.Values, want int) (answer map[string]any, ok bool) {
	resp, err := w.http.PostForm(w.base+"/oauth/token", values)
	return w.read(resp, err, want)
}

func (w *worker) read(resp *http.Response, err error, want int) (answer map[string]any, ok bool) {
	if err != nil {
		return nil, false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, false
	}
	if resp.StatusCode != want {
		w.j.fault(resp.Status + " " + string(body))
		return nil, false
	}
	w.j.steps.Add(1)
	_ = json.Unmarshal(body, &answer) // a redirect has no body
	return answer, true
}

// register returns a new client.
func (w *worker) register() (*gatewaytest.Client, bool) {
	resp, err := w.http.Post(w.base+"/oauth/register", "application/json", strings.NewReader(`{"redirect_uris":["http://127.0.0.1/cb"]}`))
	m, ok := w.read(resp, err, http.StatusCreated)
	if !ok {
		return nil, false
	}
	id, _ := m["client_id"].(string)
	return &gatewaytest.Client{Base: w.base, ID: id, RedirectURI: "http://127.0.0.1/cb", Verifier: strings.Repeat("verifier-0123456789.", 3)}, true
}

// authorize returns a code.
func (w *worker) authorize(c *gatewaytest.Client) (string, bool) {
	resp, err := w.http.Get(c.AuthorizeURL())
	if _, ok := w.read(resp, err, http.StatusFound); !ok {
		return "", false
	}
	u, err := resp.Location()
	if err != nil {
		return "", false
	}
	return u.Query().Get("code"), true
}

// refresh moves a session on.
func (w *worker) refresh(s *session) bool {
	m, ok := w.form(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.refresh}, "client_id": {s.client.ID}}, http.StatusOK)
	if ok {
		s.access, _ = m["access_token"].(string)
		s.refresh, _ = m["refresh_token"].(string)
	}
	return ok
}

// run makes sessions, refreshes them n%4 times and revokes every third one.
func (w *worker) run() {
	for n := 0; ; n++ {
		c, ok := w.register()
		if !ok {
			return
		}
		code, ok := w.authorize(c)
		if !ok {
			return
		}
		m, ok := w.form(c.TokenForm(code), http.StatusOK)
		if !ok {
			return
		}
		s := &session{client: c, code: code}
		s.access, _ = m["access_token"].(string)
		s.refresh, _ = m["refresh_token"].(string)
		w.j.add(s)
		for range n % 4 {
			if !w.refresh(s) {
				return
			}
		}
		if n%3 == 0 {
			s.open = true
			if _, ok := w.form(c.TokenForm(code), http.StatusBadRequest); !ok {
				return
			}
			s.open, s.revoked = false, true
		}
	}
}

// load runs workers against a gateway, kills it in the middle, and returns
// what it had acknowledged by then.
func load(t *testing.T, g *gatewaytest.Gateway, steps int64) *journal {
	t.Helper()
	j := new(journal)
	var workers sync.WaitGroup
	for range 8 {
		transport := new(http.Transport)
		w := &worker{j: j, base: g.URL, http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}}
		workers.Go(func() {
			defer transport.CloseIdleConnections()
			w.run()
		})
	}
	eventually(t, time.Minute, "the load is under way", func() bool { return j.steps.Load() > steps })
	g.Kill()
	workers.Wait()
	for _, f := range j.faults {
		t.Errorf("under load: %s", f)
	}
	return j
}

// check compares a session with the server that was started again.
func (s *session) check(t *testing.T, base string) {
	t.Helper()
	if s.revoked {
		wantInvalid(t, call(t, base+"/mcp", bearer(s.access)...))
		wantGone(t, "refresh of a revoked grant", s.client.Refresh(t, s.refresh))
	} else if !s.open {
		wantStatus(t, call(t, base+"/mcp", bearer(s.access)...), http.StatusOK)
		r := s.client.Refresh(t, s.refresh)
		wantStatus(t, r, http.StatusOK)
		wantStatus(t, call(t, base+"/mcp", bearer(r.Text(t, "access_token"))...), http.StatusOK)
	}
	s.client.Code(t) // its id is still known
	wantGone(t, "a used code", s.client.Redeem(t, s.code))
	wantInvalid(t, call(t, base+"/mcp", bearer(s.access)...)) // that replay revoked the grant
}

func wantGone(t *testing.T, what string, r gatewaytest.Reply) {
	t.Helper()
	if r.Status != http.StatusBadRequest || r.Text(t, "error") != "invalid_grant" {
		t.Errorf("%s: %d %s", what, r.Status, r.Body)
	}
}

// THREATS 3: what was acknowledged survives kill -9, what was used stays used.
func TestKill(t *testing.T) {
	p := newPlace(t)
	const app = "code_lifetime 5m\nrefresh_grace 5m"
	for round := range int64(3) {
		g := p.start(t, app)
		j := load(t, g, 150+70*round)
		g = p.start(t, app)
		t.Run("THREATS 3 kill -9 under load", func(t *testing.T) {
			revoked := 0
			for _, s := range j.sessions {
				if s.revoked {
					revoked++
				}
				s.check(t, g.URL)
			}
			if len(j.sessions) < 20 || revoked == 0 {
				t.Errorf("the load was too small to show anything: %d sessions, %d revoked", len(j.sessions), revoked)
			}
		})
		g.Kill()
	}
}
