package clients_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// recorder is a transport that notes what goes through it.
type recorder struct {
	base http.RoundTripper

	mu    sync.Mutex
	noted exchanges
}

// newRecorder returns a recorder with connections of its own.
func newRecorder() *recorder {
	return &recorder{base: http.DefaultTransport.(*http.Transport).Clone()}
}

// RoundTrip implements http.RoundTripper. It leaves streams alone, and reads
// only the small JSON documents of the authorization server.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	e := exchange{
		Method: req.Method,
		Path:   req.URL.Path,
		Query:  single(req.URL.Query()),
		Bearer: strings.HasPrefix(req.Header.Get("Authorization"), "Bearer "),
		Basic:  strings.HasPrefix(req.Header.Get("Authorization"), "Basic "),
	}
	if strings.HasPrefix(req.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		_ = req.Body.Close()
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(body))
		form, _ := url.ParseQuery(string(body))
		e.Form = single(form)
	}
	resp, err := r.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	e.Status, e.Challenge = resp.StatusCode, resp.Header.Get("WWW-Authenticate")
	if strings.HasPrefix(e.Path, "/oauth/") || strings.HasPrefix(e.Path, "/.well-known/") {
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(body))
		_ = json.Unmarshal(body, &e.Reply) // pages are not JSON
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.noted = append(r.noted, e)
	return resp, nil
}

// take returns what was noted since the last time.
func (r *recorder) take() exchanges {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.noted
	r.noted = nil
	return all
}

// all returns what was noted since the last take.
func (r *recorder) all() exchanges {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.noted)
}

func single(values url.Values) map[string]string {
	m := make(map[string]string, len(values))
	for name := range values {
		m[name] = values.Get(name)
	}
	return m
}
