package trust_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/trust"
)

func from(t *testing.T, address string) context.Context {
	t.Helper()
	return oauth.WithMeta(t.Context(), oauth.Meta{RemoteIP: address})
}

// atOnce is how many fetches a client for introspection has under way.
const atOnce = 64

func (p *provider) fetching(c *trust.Config) {
	o := p.net.Options()
	o.AllowPrivate, o.Concurrency, o.PerHost = true, atOnce, atOnce
	c.Client = fetch.New(o)
}

// TestABadTokenIsAskedAboutOnce: a client that goes on with a token that was
// revoked, or a stranger with one that never was, does not pass every call on to
// the provider.
func TestABadTokenIsAskedAboutOnce(t *testing.T) {
	p := newProvider(t)
	i := p.issuer(t, introspected(nil))
	p.answer("elsewhere", "aud", "https://else.example")
	for n, raw := range []string{"made-up", "elsewhere"} {
		for range 200 {
			if _, err := i.Verify(t.Context(), raw); err == nil || errors.Is(err, resource.ErrUnavailable) || errors.Is(err, resource.ErrThrottled) {
				t.Fatalf("%s: %v", raw, err)
			}
		}
		if asked := p.count("/introspect"); asked != n+1 {
			t.Errorf("%s: asked %d times, want %d", raw, asked, n+1)
		}
	}
	// An outage is no answer, and is not remembered.
	p.change(func() { p.down = true })
	if _, err := i.Verify(t.Context(), "new"); !errors.Is(err, resource.ErrUnavailable) {
		t.Errorf("outage: %v", err)
	}
	p.change(func() { p.down = false })
	p.answer("new")
	if _, err := i.Verify(t.Context(), "new"); err != nil {
		t.Errorf("after the outage: %v", err)
	}
}

// TestMadeUpTokensAreNotPassedOn: a stranger who makes tokens up has the
// provider asked about the first few; neither those whose tokens are good nor
// other networks feel any of it.
func TestMadeUpTokensAreNotPassedOn(t *testing.T) {
	p := newProvider(t)
	i := p.issuer(t, introspected(nil))
	p.answer("good")
	p.answer("new")
	if _, err := i.Verify(from(t, "2001:db8:1:1::1"), "good"); err != nil {
		t.Fatal(err)
	}
	refused, throttled := 0, 0
	for n := range 500 {
		_, err := i.Verify(from(t, fmt.Sprintf("2001:db8:1:1::%x", n)), fmt.Sprintf("made-up-%d", n))
		switch {
		case errors.Is(err, resource.ErrThrottled):
			throttled++
		case err != nil && !errors.Is(err, resource.ErrUnavailable):
			refused++
		default:
			t.Fatalf("a made-up token: %v", err)
		}
	}
	if asked := p.count("/introspect"); asked != 61 || refused != 60 || throttled != 440 {
		t.Errorf("asked %d times, refused %d, throttled %d", asked, refused, throttled)
	}
	// What is remembered as bad needs no question and is plainly refused.
	if _, err := i.Verify(from(t, "2001:db8:1:1::1"), "made-up-0"); err == nil || errors.Is(err, resource.ErrThrottled) {
		t.Errorf("a known bad token: %v", err)
	}
	p.advance(31 * time.Second) // the good one has to be asked about again
	for _, tt := range []struct {
		name, address, raw string
		throttled          bool
	}{
		{"good before, same network", "2001:db8:1:1::2", "good", false},
		{"new, same network", "2001:db8:1:1::2", "new", true},
		{"new, next network", "2001:db8:1:2::2", "new", false},
		{"known by now, same network", "2001:db8:1:1::2", "new", false},
	} {
		if _, err := i.Verify(from(t, tt.address), tt.raw); (err != nil) != tt.throttled || tt.throttled && !errors.Is(err, resource.ErrThrottled) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	p.advance(30 * time.Second)
	if _, err := i.Verify(from(t, "2001:db8:1:1::2"), "made-up-last"); err == nil || errors.Is(err, resource.ErrThrottled) {
		t.Errorf("a minute later: %v", err)
	}
}

// TestStrangersDoNotStarve: the provider is slow, and strangers of many networks
// have it asked about as much as they can. Tokens that were good before are
// asked about all the same.
func TestStrangersDoNotStarve(t *testing.T) {
	const strangers = 160
	p := newProvider(t)
	p.answer("good")
	j := p.issuer(t, func(c *trust.Config) { introspected(nil)(c); p.fetching(c) })
	if _, err := j.Verify(t.Context(), "good"); err != nil {
		t.Fatal(err)
	}
	waiting, answered, release := make(chan struct{}, strangers), make(chan error, strangers), make(chan struct{})
	p.net.Handle(host, func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("token") != "good" {
			waiting <- struct{}{}
			<-release
		}
		p.serve(w, r)
	})
	var wg sync.WaitGroup
	for n := range strangers {
		wg.Go(func() {
			_, err := j.Verify(from(t, fmt.Sprintf("192.0.2.%d", n)), fmt.Sprintf("bad-%d", n))
			answered <- err
		})
	}
	held := 0
	for range strangers { // each is with the provider, or was sent away
		select {
		case <-waiting:
			held++
		case err := <-answered:
			if !errors.Is(err, resource.ErrUnavailable) {
				t.Errorf("a stranger who waits in vain: %v", err)
			}
		}
	}
	p.advance(31 * time.Second)
	if _, err := j.Verify(t.Context(), "good"); err != nil {
		t.Errorf("while strangers hold %d of %d places: %v", held, atOnce, err)
	}
	close(release)
	wg.Wait()
	if held == 0 || held >= atOnce {
		t.Errorf("strangers held %d of %d places", held, atOnce)
	}
}
