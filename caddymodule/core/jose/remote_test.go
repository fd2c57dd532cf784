package jose_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch/fetchtest"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/jose"
)

const (
	host = "client.example"
	keys = "https://client.example/jwks"
)

// publisher is a host with a key set that a test changes.
type publisher struct {
	*jose.Remote
	net    *fetchtest.Net
	at     atomic.Int64
	body   atomic.Pointer[[]byte] // nil: an outage
	maxAge string
}

func newPublisher(t *testing.T) *publisher {
	t.Helper()
	p := &publisher{net: fetchtest.New(t), maxAge: "max-age=600"}
	p.at.Store(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	p.net.Handle(host, func(w http.ResponseWriter, _ *http.Request) {
		body := p.body.Load()
		if body == nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Header().Set("Cache-Control", p.maxAge)
		_, _ = w.Write(*body)
	})
	p.Remote = jose.NewRemote(fetch.New(p.net.Options()), jose.RemoteOptions{Now: func() time.Time { return time.Unix(0, p.at.Load()) }})
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) advance(d time.Duration) { p.at.Add(int64(d)) }

func (p *publisher) publish(t *testing.T, ids ...string) {
	t.Helper()
	set := jwk.NewSet()
	for _, id := range ids {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key, err := jwk.FromRaw(private.Public())
		if err != nil {
			t.Fatal(err)
		}
		_ = key.Set("kid", id)
		_ = set.AddKey(key)
	}
	body, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	p.body.Store(&body)
}

// find expects an error, or none, after so many requests in all.
func (p *publisher) find(t *testing.T, kid string, want error, requests int) {
	t.Helper()
	found, err := p.Keys(t.Context(), keys, kid, "ES256")
	if !errors.Is(err, want) || (err == nil) != (len(found) == 1) || p.net.Seen(host) != requests {
		t.Fatalf("%d keys, %v, after %d requests; want %v after %d", len(found), err, p.net.Seen(host), want, requests)
	}
}

func TestRotation(t *testing.T) {
	p := newPublisher(t)
	p.publish(t, "a")
	p.find(t, "a", nil, 1)
	p.publish(t, "a", "b")
	// The set was fetched a moment ago: made-up ids cause no flood.
	for range 10 {
		p.find(t, "b", jose.ErrNoKey, 1)
	}
	p.advance(30 * time.Second)
	p.find(t, "b", nil, 2)
	p.find(t, "made-up", jose.ErrNoKey, 2)
	p.advance(30 * time.Second)
	p.find(t, "made-up", jose.ErrNoKey, 3)
	p.find(t, "made-up", jose.ErrNoKey, 3)
	// A key that was withdrawn is good until the set is stale.
	p.publish(t, "b")
	p.find(t, "a", nil, 3)
	p.advance(10 * time.Minute)
	p.find(t, "a", jose.ErrNoKey, 4)
	p.find(t, "b", nil, 4)
}

func TestManyUnknownAtOnce(t *testing.T) {
	p := newPublisher(t)
	p.publish(t, "a")
	p.find(t, "a", nil, 1)
	p.advance(time.Minute)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, err := p.Keys(t.Context(), keys, "made-up", "ES256"); !errors.Is(err, jose.ErrNoKey) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if n := p.net.Seen(host); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// TestOutage: a host that is down is no verdict about a token (SPEC K19).
func TestOutage(t *testing.T) {
	p := newPublisher(t)
	p.find(t, "a", jose.ErrUnavailable, 1)
	p.publish(t, "a")
	p.advance(30 * time.Second)
	p.find(t, "a", nil, 2)
	p.body.Store(nil)
	p.advance(time.Minute)
	p.find(t, "a", nil, 2)
	p.find(t, "b", jose.ErrUnavailable, 3)
	p.find(t, "b", jose.ErrUnavailable, 3)
	p.find(t, "a", nil, 3)
	// Stale keys are good for an hour, and no longer.
	p.advance(10 * time.Minute)
	p.find(t, "a", nil, 4)
	p.advance(58 * time.Minute)
	p.find(t, "a", nil, 5)
	p.advance(2 * time.Minute)
	p.find(t, "a", jose.ErrUnavailable, 6)
	p.publish(t, "a")
	p.advance(30 * time.Second)
	p.find(t, "a", nil, 7)
}

// TestFailingAddressIsSpared: whoever names somebody else's address as the place
// of its keys, and then sends one token after the other, has that address asked
// once in 30 s and not for each token.
func TestFailingAddressIsSpared(t *testing.T) {
	p := newPublisher(t)
	for range 300 {
		p.find(t, "a", jose.ErrUnavailable, 1)
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, err := p.Keys(t.Context(), keys, "a", "ES256"); !errors.Is(err, jose.ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	p.find(t, "a", jose.ErrUnavailable, 1)
	p.advance(29 * time.Second)
	p.find(t, "a", jose.ErrUnavailable, 1)
	p.advance(time.Second)
	p.find(t, "a", jose.ErrUnavailable, 2)
	p.find(t, "a", jose.ErrUnavailable, 2)
	// Another address of the host is another matter, and a good answer ends it.
	if _, err := p.Keys(t.Context(), keys+"/other", "a", "ES256"); !errors.Is(err, jose.ErrUnavailable) || p.net.Seen(host) != 3 {
		t.Errorf("another address: %v after %d requests", err, p.net.Seen(host))
	}
	p.publish(t, "a")
	p.advance(30 * time.Second)
	p.find(t, "a", nil, 4)
}

func TestWhatIsNeverFetched(t *testing.T) {
	p := newPublisher(t)
	p.publish(t, "a")
	if _, err := p.Keys(t.Context(), keys, "a", "HS256"); !errors.Is(err, jose.ErrNoKey) {
		t.Errorf("a shared secret: %v", err)
	}
	for _, raw := range []string{"https://127.0.0.1/jwks", "http://client.example/jwks", "file:///etc/passwd"} {
		if _, err := p.Keys(t.Context(), raw, "a", "ES256"); !errors.Is(err, jose.ErrNoKey) || errors.Is(err, jose.ErrUnavailable) {
			t.Errorf("%s: %v", raw, err)
		}
	}
	if p.net.Connections() != 0 {
		t.Error("something was fetched")
	}
}

func TestBadSets(t *testing.T) {
	p := newPublisher(t)
	for i, text := range []string{"<html>", `{"keys":[{"kty":"oct","k":"AQ"}]}`, `{"keys":[` + string(make([]byte, 200<<10)) + `]}`} {
		body := []byte(text)
		p.body.Store(&body)
		p.find(t, "a", jose.ErrUnavailable, i+1)
		p.advance(30 * time.Second)
	}
}
