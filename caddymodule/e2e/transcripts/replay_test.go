package transcripts_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// stepTimeout bounds one request.
const stepTimeout = 30 * time.Second

// replay is one client on its way.
type replay struct {
	base    string
	values  map[string]string
	shared  map[string]expectation
	browser *gatewaytest.Browser
	http    *http.Client
}

// newReplay returns a client that has sent nothing yet, with a browser of its
// own for the person who uses it.
func newReplay(t *testing.T, base string, tr transcript, mode string) *replay {
	t.Helper()
	verifier := strings.Repeat("Transcript-of."+mode+"~", 3)
	r := &replay{
		base: base, shared: common(t), browser: gatewaytest.NewBrowser(t),
		values: map[string]string{
			"base": base, "resource": base + "/mcp", "origin": browserOrigin, "port": strconv.Itoa(gatewaytest.FreePort(t)),
			"state": "state of " + tr.Client + "+/=", "verifier": verifier, "challenge": gatewaytest.Challenge(verifier),
		},
		http: &http.Client{
			Timeout:       stepTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		},
	}
	if mode == modeDocument {
		r.values["client_id"] = tr.Document
	}
	return r
}

// run takes the steps, and says which one did not end as the client needs.
func (r *replay) run(ctx context.Context, steps []step) error {
	for i, s := range steps {
		if err := r.take(ctx, s); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, s.Does, err)
		}
	}
	return nil
}

func (r *replay) take(ctx context.Context, s step) error {
	var got outcome
	var err error
	if s.Person != nil {
		got, err = r.visit(s.Person)
	} else {
		got, err = r.send(ctx, *s.Request)
	}
	if err != nil {
		return err
	}
	for _, name := range s.Expect.As {
		if err := r.check(got, r.shared[name]); err != nil {
			return fmt.Errorf("as %s: %w", name, err)
		}
	}
	if err := r.check(got, s.Expect); err != nil {
		return err
	}
	for name, from := range s.Save {
		value := got.value(from)
		if value == "" {
			return fmt.Errorf("the answer has no %s: %d %s", from, got.status, got.body)
		}
		r.values[name] = value
	}
	return nil
}

// outcome is what a step ended with: an answer, or a redirect back to the
// client.
type outcome struct {
	status   int
	header   http.Header
	body     string
	json     any
	redirect *url.URL
}

// value finds a member of the JSON answer, a header, or a parameter of the
// redirect.
func (o outcome) value(name string) string {
	if o.redirect != nil {
		return o.redirect.Query().Get(name)
	}
	if members, ok := o.json.(map[string]any); ok {
		if text, ok := members[name].(string); ok {
			return text
		}
	}
	return o.header.Get(name)
}

var placeholder = regexp.MustCompile(`\{\{(\w+)\}\}`)

// fill puts the values of the moment into a text, each through a function. An
// unknown name stays, and then matches nothing.
func (r *replay) fill(text string, through func(string) string) string {
	return placeholder.ReplaceAllStringFunc(text, func(found string) string {
		value, ok := r.values[found[2:len(found)-2]]
		if !ok {
			return found
		}
		return through(value)
	})
}

func plain(s string) string { return s }

// text fills a text that goes out; every name in it must have a value.
func (r *replay) text(text string) (string, error) {
	filled := r.fill(text, plain)
	if m := placeholder.FindString(filled); m != "" {
		return "", fmt.Errorf("nothing was saved as %s", m)
	}
	return filled, nil
}

func (r *replay) query(params map[string]string) (url.Values, error) {
	values := url.Values{}
	for name, value := range params {
		filled, err := r.text(value)
		if err != nil {
			return nil, err
		}
		values.Set(name, filled)
	}
	return values, nil
}

// send sends what the client sends, with its headers and no others.
func (r *replay) send(ctx context.Context, q request) (outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := r.request(ctx, q)
	if err != nil {
		return outcome{}, err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return outcome{}, err
	}
	defer resp.Body.Close()
	got := outcome{status: resp.StatusCode, header: resp.Header}
	if q.Stream && resp.StatusCode == http.StatusOK {
		return got, nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return outcome{}, err
	}
	got.body = string(body)
	_ = json.Unmarshal(body, &got.json) // where JSON is expected, nil won't match
	return got, nil
}

func (r *replay) request(ctx context.Context, q request) (*http.Request, error) {
	var body []byte
	switch {
	case q.JSON != nil:
		raw, err := json.Marshal(q.JSON)
		if err != nil {
			return nil, err
		}
		filled, err := r.text(string(raw))
		if err != nil {
			return nil, err
		}
		body = []byte(filled)
	case q.Form != nil:
		form, err := r.query(q.Form)
		if err != nil {
			return nil, err
		}
		body = []byte(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, q.Method, r.base+q.Path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header["User-Agent"] = nil // none of Go's
	for name, value := range q.Headers {
		filled, err := r.text(value)
		if err != nil {
			return nil, err
		}
		req.Header.Set(name, filled)
	}
	return req, nil
}

// visit opens the authorization endpoint in the person's browser. They sign in
// if they are asked to, agree, and go where they are sent.
func (r *replay) visit(params map[string]string) (outcome, error) {
	query, err := r.query(params)
	if err != nil {
		return outcome{}, err
	}
	p := r.browser.Open(r.base + "/oauth/authorize?" + query.Encode())
	for range 3 {
		switch {
		case p.Location != nil:
			return outcome{status: p.Status, header: p.Header, redirect: p.Location}, nil
		case p.Has("field_password", ""):
			p = p.SignIn(user, password)
		case p.Has("decision", "allow"):
			p = p.Allow()
		default:
			// The way into a program is a link that the person follows.
			for _, link := range p.Links() {
				if u, err := url.Parse(link); err == nil && u.Query().Has("code") {
					return outcome{status: p.Status, header: p.Header, redirect: u}, nil
				}
			}
			return outcome{status: p.Status, header: p.Header, body: p.Text()}, nil
		}
	}
	return outcome{}, errors.New("the person is asked without end: " + p.Text())
}
