package fetch_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch/fetchtest"
)

// clock is a clock that tests set.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }
func decode(_ string, r *fetch.Response) (string, error) {
	if strings.HasPrefix(string(r.Body), "bad") {
		return "", errors.New("not this one")
	}
	if strings.HasPrefix(string(r.Body), "panic") {
		panic("a decoder's mistake")
	}
	return string(r.Body), nil
}

// rig is a cache with a host whose answers a test sets.
type rig struct {
	*fetch.Cache[string]
	net    *fetchtest.Net
	clock  *clock
	answer atomic.Pointer[http.HandlerFunc]
}

func newRig(t *testing.T, edit func(*fetch.CacheOptions[string])) *rig {
	t.Helper()
	r := &rig{net: fetchtest.New(t), clock: newClock()}
	r.net.Handle(host, func(w http.ResponseWriter, req *http.Request) { (*r.answer.Load())(w, req) })
	o := fetch.CacheOptions[string]{Decode: decode, Now: r.clock.now, StaleFor: time.Hour}
	if edit != nil {
		edit(&o)
	}
	r.Cache = fetch.NewCache(fetch.New(r.net.Options()), o)
	t.Cleanup(r.Close)
	return r
}

func (r *rig) says(body string, header ...string) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		fmt.Fprint(w, body)
	})
	r.answer.Store(&h)
}

func (r *rig) fails(code int) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	r.answer.Store(&h)
}

// get expects a document from a source, after so many requests in all.
func (r *rig) get(t *testing.T, want string, from fetch.Source, requests int) fetch.Status {
	t.Helper()
	got, status, err := r.Get(t.Context(), doc)
	if err != nil || got != want || status.Source != from || r.net.Seen(host) != requests {
		t.Fatalf("got %q from %d after %d requests, %v; want %q from %d after %d", got, status.Source, r.net.Seen(host), err, want, from, requests)
	}
	return status
}

// TestFreshness: hosts say how long, within our bounds (SPEC E13).
func TestFreshness(t *testing.T) {
	date := newClock().now().UTC()
	at := func(d time.Duration) string { return date.Add(d).Format(http.TimeFormat) }
	for _, tt := range []struct {
		name   string
		header []string
		want   time.Duration
	}{
		{"says nothing", nil, 15 * time.Minute},
		{"max-age", []string{"Cache-Control", "max-age=600"}, 10 * time.Minute},
		{"max-age of several", []string{"Cache-Control", "public, must-revalidate , MAX-AGE=600"}, 10 * time.Minute},
		{"two lines", []string{"Cache-Control", "public", "Cache-Control", "max-age=600"}, 10 * time.Minute},
		{"quoted", []string{"Cache-Control", `max-age="600"`}, 10 * time.Minute},
		{"s-maxage", []string{"Cache-Control", "max-age=60, s-maxage=600"}, 10 * time.Minute},
		{"age", []string{"Cache-Control", "max-age=600", "Age", "300"}, 5 * time.Minute},
		{"nonsense age", []string{"Cache-Control", "max-age=600", "Age", "-300"}, 10 * time.Minute},
		{"too old", []string{"Cache-Control", "max-age=600", "Age", "4000000000"}, 10 * time.Minute},
		{"older than it may", []string{"Cache-Control", "max-age=600", "Age", "700"}, time.Minute},
		{"too short", []string{"Cache-Control", "max-age=1"}, time.Minute},
		{"too long", []string{"Cache-Control", "max-age=31536000, immutable"}, 24 * time.Hour},
		{"longer than any number", []string{"Cache-Control", "max-age=99999999999999999999"}, 24 * time.Hour},
		{"no-store", []string{"Cache-Control", "no-store, max-age=600"}, time.Minute},
		{"no-cache", []string{"Cache-Control", "no-cache"}, time.Minute},
		{"unreadable", []string{"Cache-Control", "max-age=x"}, time.Minute},
		{"expires", []string{"Date", at(0), "Expires", at(10 * time.Minute)}, 10 * time.Minute},
		{"expires by a clock of its own", []string{"Date", at(time.Hour), "Expires", at(70 * time.Minute)}, 10 * time.Minute},
		{"expired", []string{"Date", at(0), "Expires", at(-time.Minute)}, time.Minute},
		{"expires 0", []string{"Expires", "0"}, time.Minute},
		{"max-age before expires", []string{"Cache-Control", "max-age=600", "Expires", "0"}, 10 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.says("a", tt.header...)
			r.get(t, "a", fetch.Network, 1)
			r.clock.advance(tt.want - time.Second)
			r.get(t, "a", fetch.Memory, 1)
			r.clock.advance(time.Second)
			r.get(t, "a", fetch.Network, 2)
		})
	}
}

// TestErrorsAreNotKept is the first half of O38.
func TestErrorsAreNotKept(t *testing.T) {
	r := newRig(t, nil)
	for i, spoil := range []func(){
		func() { r.fails(500) }, func() { r.fails(404) }, func() { r.says("bad", "Cache-Control", "max-age=600") }, func() { r.says("panic") },
	} {
		spoil()
		if got, _, err := r.Get(t.Context(), doc); err == nil || got != "" || r.net.Seen(host) != i+1 {
			t.Fatalf("%d: got %q, %v", i, got, err)
		}
		if _, _, ok := r.Peek(doc); ok {
			t.Fatalf("%d is kept", i)
		}
	}
	r.says("bad")
	if _, _, err := r.Get(t.Context(), doc); !errors.Is(err, fetch.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	r.says("good")
	r.get(t, "good", fetch.Network, 6)
	// Nor does an invalid document take the place of a valid one.
	r.clock.advance(15 * time.Minute)
	r.says("bad", "ETag", `"2"`)
	if s := r.get(t, "good", fetch.Stale, 7); !errors.Is(s.Cause, fetch.ErrInvalid) {
		t.Errorf("cause %v", s.Cause)
	}
}

// TestSpellings is the second half of O38: two spellings share nothing.
func TestSpellings(t *testing.T) {
	r := newRig(t, nil)
	r.net.Handle("Client.Example", text("other"))
	r.says("one")
	r.get(t, "one", fetch.Network, 1)
	for _, raw := range []string{"https://client.example/doc?", "https://client.example/%64oc", "https://client.example:443/doc"} {
		if _, s, err := r.Get(t.Context(), raw); err != nil || s.Source != fetch.Network {
			t.Errorf("%s: from %d, %v", raw, s.Source, err)
		}
	}
	if got, _, err := r.Get(t.Context(), "https://Client.Example/doc"); err == nil && got == "one" && r.net.Seen("Client.Example") == 0 {
		t.Error("the upper-case host has the other's document")
	}
}

func TestStaleWhileError(t *testing.T) {
	r := newRig(t, nil)
	r.says("a", "Cache-Control", "max-age=60")
	r.get(t, "a", fetch.Network, 1)
	r.fails(503)
	r.clock.advance(time.Minute)
	s := r.get(t, "a", fetch.Stale, 2)
	if !errors.Is(s.Cause, fetch.ErrStatus) {
		t.Errorf("cause %v", s.Cause)
	}
	// The host is left alone for a while.
	r.clock.advance(29 * time.Second)
	if s := r.get(t, "a", fetch.Stale, 2); s.Cause == nil {
		t.Error("no cause")
	}
	r.clock.advance(time.Second)
	r.get(t, "a", fetch.Stale, 3)
	r.clock.advance(time.Hour)
	if got, _, err := r.Get(t.Context(), doc); err == nil {
		t.Errorf("beyond StaleFor: %q", got)
	}
	r.says("b")
	r.get(t, "b", fetch.Network, 5)
}

func TestGoneIsGone(t *testing.T) {
	r := newRig(t, nil)
	r.says("a", "Cache-Control", "max-age=60")
	r.get(t, "a", fetch.Network, 1)
	r.clock.advance(time.Minute)
	r.fails(410)
	if got, _, err := r.Get(t.Context(), doc); !errors.Is(err, fetch.ErrGone) {
		t.Errorf("got %q, %v", got, err)
	}
	if _, _, ok := r.Peek(doc); ok {
		t.Error("it is still there")
	}
}

func TestClockSetBack(t *testing.T) {
	r := newRig(t, nil)
	r.says("a")
	r.get(t, "a", fetch.Network, 1)
	r.clock.advance(-time.Hour)
	r.get(t, "a", fetch.Network, 2)
}

func TestRevalidation(t *testing.T) {
	r := newRig(t, nil)
	h := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if req.Header.Get("If-None-Match") == `"1"` && req.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		fmt.Fprint(w, "a")
	})
	r.answer.Store(&h)
	r.get(t, "a", fetch.Network, 1)
	for i := range 3 {
		r.clock.advance(time.Minute)
		r.get(t, "a", fetch.Network, i+2)
	}
	r.get(t, "a", fetch.Memory, 4)
}

func TestRenew(t *testing.T) {
	r := newRig(t, nil)
	r.says("a")
	r.get(t, "a", fetch.Network, 1)
	r.says("b")
	if got, _, err := r.Renew(t.Context(), doc, time.Minute); err != nil || got != "a" {
		t.Errorf("within the while: %q, %v", got, err)
	}
	r.clock.advance(time.Minute)
	if got, s, err := r.Renew(t.Context(), doc, time.Minute); err != nil || got != "b" || s.Source != fetch.Network {
		t.Errorf("after it: %q, %v", got, err)
	}
	r.fails(500)
	r.clock.advance(time.Minute)
	if got, s, err := r.Renew(t.Context(), doc, time.Minute); err != nil || got != "b" || s.Cause == nil {
		t.Errorf("fails: %q, %+v, %v", got, s, err)
	}
	// The document is as fresh as it was, and who asks for more hears why not.
	if s := r.get(t, "b", fetch.Memory, 3); s.Cause == nil {
		t.Error("no cause")
	}
}

// TestOneFetchForAll: many want a document at once, one of them gives up, and
// the host is asked once.
func TestOneFetchForAll(t *testing.T) {
	r := newRig(t, nil)
	asked, release := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		fmt.Fprint(w, "a")
	})
	r.answer.Store(&h)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, _, err := r.Get(ctx, doc)
		first <- err
	}()
	<-asked
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("who gives up gets %v", err)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if got, _, err := r.Get(t.Context(), doc); err != nil || got != "a" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	close(release)
	wg.Wait()
	if n := r.net.Seen(host); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestBackground(t *testing.T) {
	r := newRig(t, nil)
	r.says("a", "Cache-Control", "max-age=60")
	r.get(t, "a", fetch.Network, 1)
	r.clock.advance(time.Minute)
	asked := make(chan struct{}, 100)
	h := http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		asked <- struct{}{}
		<-req.Context().Done()
	})
	r.answer.Store(&h)
	for range 20 {
		r.Revalidate(doc)
	}
	<-asked
	if got, s, ok := r.Peek(doc); !ok || got != "a" || s.Source != fetch.Stale {
		t.Errorf("meanwhile: %q, %+v, %t", got, s, ok)
	}
	began := time.Now()
	r.Close()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("Close took %s: it did not end the fetch", took)
	}
	if len(asked) > 0 {
		t.Errorf("%d more requests at once", len(asked))
	}
	r.Revalidate(doc)
	r.clock.advance(2 * time.Hour)
	if _, _, err := r.Get(t.Context(), doc); !errors.Is(err, fetch.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	r.Close()
}

func TestSize(t *testing.T) {
	r := newRig(t, func(o *fetch.CacheOptions[string]) { o.Size = 10 })
	r.says("a")
	for i := range 200 {
		if _, _, err := r.Get(t.Context(), fmt.Sprintf("%s%d", doc, i)); err != nil {
			t.Fatal(err)
		}
	}
	kept := func() (n int) {
		for i := range 200 {
			if _, _, ok := r.Peek(fmt.Sprintf("%s%d", doc, i)); ok {
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(5 * time.Second); kept() > 20; {
		if time.Now().After(deadline) {
			t.Fatalf("%d are kept", kept())
		}
	}
}

func TestCheckComesFirst(t *testing.T) {
	r := newRig(t, nil)
	r.says("a")
	if _, _, err := r.Get(t.Context(), "https://127.0.0.1/doc"); !errors.Is(err, fetch.ErrURL) {
		t.Errorf("got %v", err)
	}
	if r.net.Connections() != 0 {
		t.Error("it was connected to")
	}
}
