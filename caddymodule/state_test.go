package caddymodule

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// TestWatched: a token ends with all that it names, also one of a kind that
// forgot the key of its client.
func TestWatched(t *testing.T) {
	claims := oauth.AccessTokenClaims{ClientID: "c", JWTID: "t", GrantID: "g", IssuedAt: 1_800_000_000}
	want := authserver.Watched{GrantID: "g", Token: "t", ClientKey: oauth.ClientKey("c"), Issued: time.Unix(1_800_000_000, 0), KeyID: "k"}
	for _, key := range []string{"", oauth.ClientKey("c")} {
		if got := watched(&resource.Token{AccessTokenClaims: claims, ClientKey: key, KeyID: "k"}); got != want {
			t.Errorf("key %q: %+v", key, got)
		}
	}
	if got := watched(&resource.Token{}); got.ClientKey != "" {
		t.Errorf("no client: %+v", got)
	}
	token := &resource.Token{AccessTokenClaims: claims, ClientKey: oauth.ClientKey("c")}
	if n := testing.AllocsPerRun(100, func() { watched(token) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestRetiredKeysEndStreams: a key is retired because it has leaked. Streams that
// were opened with its tokens end soon, also on a node that did not do it.
func TestRetiredKeysEndStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, st, _ := maintained(t)
		there, err := keys.Open(t.Context(), time.Now(), st, keys.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer run(t, a)()
		ended := make(chan struct{})
		token := &resource.Token{AccessTokenClaims: oauth.AccessTokenClaims{GrantID: "g"}, KeyID: a.keys.Ring().Describe()[0].KeyID}
		w := &authserver.Watch{End: func() { close(ended) }}
		a.backing().watch(token, w)
		time.Sleep(time.Minute + 13*time.Millisecond)
		select {
		case <-ended:
			t.Fatal("the stream of a good key ended")
		default:
		}
		if _, err := there.Retire(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
		case <-time.After(keysEvery + retireEvery):
			t.Error("the stream of a retired key goes on")
		}
	})
}
