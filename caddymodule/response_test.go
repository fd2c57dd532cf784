package caddymodule

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// through sends an upstream's answer through a responseGuard.
func through(t *testing.T, stream streamEnd, upstream func(http.ResponseWriter, *http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream.end = cancel
	var g responseGuard
	g.guard(w, resource.Decision{AllowOrigin: "https://app.example"}, stream)
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		upstream(w, r)
		return nil
	})
	if err := g.serve(next, httptest.NewRequest("GET", "/mcp", nil).WithContext(ctx)); err != nil {
		t.Fatal(err)
	}
	return w
}

func never() streamEnd { return streamEnd{at: time.Now().Add(time.Hour)} }

// TestUpstreamChallengeStaysInside: clients would follow it to a foreign
// authorization server (SPEC L14).
func TestUpstreamChallengeStaysInside(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		w := through(t, never(), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="https://evil.example/"`)
			w.Header().Set("Content-Length", "6")
			w.Header().Set("Set-Cookie", "session=1")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "secret")
		})
		if w.Code != http.StatusBadGateway || w.Header().Get("WWW-Authenticate") != "" || w.Header().Get("Set-Cookie") != "" ||
			w.Header().Get("Content-Length") != "" || strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), "refused the gateway") {
			t.Errorf("%d becomes %d %v %s", status, w.Code, w.Header(), w.Body)
		}
	}
	plain := through(t, never(), func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	if plain.Code != http.StatusForbidden || plain.Body.String() != "no\n" {
		t.Errorf("a 403 without challenge becomes %d %s", plain.Code, plain.Body)
	}
}

func TestUpstreamAnswerIsRelayed(t *testing.T) {
	w := through(t, never(), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Mcp-Session-Id", "s1")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Add("Set-Cookie", "a=b")
		w.WriteHeader(http.StatusAccepted)
		w.WriteHeader(http.StatusTeapot) // too late
		_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("body"))
	})
	if w.Code != http.StatusAccepted || w.Body.String() != "body" || w.Header().Get("Mcp-Session-Id") != "s1" ||
		w.Header().Get("Access-Control-Allow-Origin") != "https://app.example" || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

// TestFlushLetsNothingOutBefore: a flush writes the header, and must write the
// clean one.
func TestFlushLetsNothingOutBefore(t *testing.T) {
	w := through(t, never(), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "a=b")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	})
	if !w.Flushed || w.Header().Get("Set-Cookie") != "" || w.Result().Header.Get("Set-Cookie") != "" {
		t.Errorf("flushed %v with %v", w.Flushed, w.Header())
	}
}

// streamOf answers with a stream of a type until its request is cancelled, and
// then does what Caddy's proxy does.
func streamOf(mediaType string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		w.WriteHeader(http.StatusOK)
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
}

// TestLateAnswerIsWhole: a JSON answer that takes longer than its token lives,
// or than the process had meant to, is not cut.
func TestLateAnswerIsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var exit openStreams
		exit.end()
		w := through(t, streamEnd{exit: &exit, at: time.Now().Add(-time.Second)}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"result":`)
			time.Sleep(time.Hour)
			if r.Context().Err() == nil {
				_, _ = io.WriteString(w, `1}`)
			}
		})
		if w.Body.String() != `{"result":1}` {
			t.Errorf("got %s", w.Body)
		}
	})
}

// TestStreamEndsWithItsToken: SPEC K24.
func TestStreamEndsWithItsToken(t *testing.T) {
	for mediaType, clean := range map[string]bool{"text/event-stream; charset=utf-8": true, "application/x-ndjson": false, "": false} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			defer func() {
				if d := time.Since(start); d != time.Minute {
					t.Errorf("%q ended after %s", mediaType, d)
				}
				if broken := recover() != nil; broken == clean {
					t.Errorf("%q: the client sees it broken: %v", mediaType, broken)
				}
			}()
			through(t, streamEnd{at: start.Add(time.Minute)}, streamOf(mediaType))
		})
	}
}

func TestStreamEndsWithItsGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		watch := func(_ *resource.Token, w *authserver.Watch) { time.AfterFunc(5*time.Second, w.End) }
		through(t, streamEnd{at: start.Add(time.Hour), watch: watch}, streamOf("text/event-stream"))
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("ended after %s", d)
		}
	})
}

// TestStreamEndsWithTheProcess: one that listens ends at once, what may be the
// answer to a call has a while to end by itself, and one that begins after the
// end began is no better off. None is remembered when it is over.
func TestStreamEndsWithTheProcess(t *testing.T) {
	for name, tt := range map[string]struct {
		mediaType     string
		exit, lasting time.Duration
	}{
		"listens":         {"text/event-stream", time.Second, time.Second},
		"begins too late": {"text/event-stream", 0, 0},
		"may be a call's": {"application/x-ndjson", time.Second, time.Second + exitDrain},
		"late call":       {"application/x-ndjson", 0, exitDrain},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var exit openStreams
				if tt.exit == 0 {
					exit.end()
				}
				start := time.Now()
				time.AfterFunc(tt.exit, exit.end)
				func() {
					defer func() { _ = recover() }() // a broken answer
					through(t, streamEnd{exit: &exit}, streamOf(tt.mediaType))
				}()
				if d := time.Since(start); d != tt.lasting {
					t.Errorf("ended after %s", d)
				}
				for i := range exit.parts {
					if n := len(exit.parts[i].open); n > 0 {
						t.Errorf("%d left", n)
					}
				}
			})
		})
	}
}

// TestOtherPanicsGoOn: only the proxy's reaction to our own end is swallowed.
func TestOtherPanicsGoOn(t *testing.T) {
	for name, tc := range map[string]struct {
		ended bool
		value any
	}{
		"the client went away": {false, http.ErrAbortHandler}, "a bug": {true, errors.New("bug")}, "a bug's text": {true, "bug"},
	} {
		func() {
			defer func() {
				if p := recover(); p != tc.value {
					t.Errorf("%s: recovered %v", name, p)
				}
			}()
			var g responseGuard
			g.guard(httptest.NewRecorder(), resource.Decision{}, never())
			g.ended.Store(tc.ended)
			_ = g.serve(caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { panic(tc.value) }), httptest.NewRequest("GET", "/", nil))
			t.Errorf("%s: no panic", name)
		}()
	}
}
