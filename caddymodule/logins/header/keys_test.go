package header

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// fetched wants the keys to have been fetched so often.
func fetched(t *testing.T, s *jwks, want int32) {
	t.Helper()
	if got := s.fetches.Load(); got != want {
		t.Errorf("the keys were fetched %d times, want %d", got, want)
	}
}

// TestKeysAreFetchedLazily: a configuration loads while the proxy is down, and
// strangers without a token cause no fetch.
func TestKeysAreFetchedLazily(t *testing.T) {
	rs := newSigner(t, "rs", jwa.RS256)
	server := newJWKS(t, rs.jwk(t, nil))
	l, c := behindSigner(t, server, nil)
	for _, token := range []string{"", "x", "a.b.c", hs256(t, "e30", "rs", []byte("k"))} {
		step, err := begin(t, l, token)
		checkStep(t, step, err, false, "")
	}
	fetched(t, server, 0)
	for range 5 {
		step, err := begin(t, l, rs.sign(t, nil))
		checkStep(t, step, err, true, "")
	}
	fetched(t, server, 1)
	c.pass(freshFor)
	for range 5 {
		step, err := begin(t, l, rs.sign(t, nil))
		checkStep(t, step, err, true, "")
	}
	fetched(t, server, 2)
}

// TestRotation: a new key works as soon as a token has it, and one that was
// withdrawn is forgotten.
func TestRotation(t *testing.T) {
	first, second := newSigner(t, "first", jwa.ES256), newSigner(t, "second", jwa.ES256)
	server := newJWKS(t, first.jwk(t, nil))
	l, c := behindSigner(t, server, nil)
	step, err := begin(t, l, first.sign(t, nil))
	checkStep(t, step, err, true, "")
	server.publish(first.jwk(t, nil), second.jwk(t, nil))
	c.pass(waitAfter)
	step, err = begin(t, l, second.sign(t, nil))
	checkStep(t, step, err, true, "")
	fetched(t, server, 2)
	server.publish(second.jwk(t, nil))
	c.pass(freshFor)
	step, err = begin(t, l, first.sign(t, nil))
	checkStep(t, step, err, false, "does not publish")
	step, err = begin(t, l, second.sign(t, nil))
	checkStep(t, step, err, true, "")
	fetched(t, server, 3)
	server.publish()
	c.pass(freshFor)
	step, err = begin(t, l, second.sign(t, nil))
	checkStep(t, step, err, false, "does not publish")
}

// TestFloodOfKeyIDs: tokens with made-up key ids cause one fetch at a time, and
// no more than one in waitAfter.
func TestFloodOfKeyIDs(t *testing.T) {
	rs, evil := newSigner(t, "rs", jwa.ES256), newSigner(t, "evil", jwa.ES256)
	server := newJWKS(t, rs.jwk(t, nil))
	l, c := behindSigner(t, server, nil)
	tokens := make([]string, 200)
	for i := range tokens {
		evil.id = fmt.Sprint("made-up-", i)
		tokens[i] = evil.sign(t, nil)
	}
	good := rs.sign(t, nil)
	for round := range int32(3) {
		var crowd sync.WaitGroup
		for _, token := range tokens {
			crowd.Go(func() {
				step, err := begin(t, l, token)
				checkStep(t, step, err, false, "does not publish")
			})
			crowd.Go(func() {
				step, err := begin(t, l, good)
				checkStep(t, step, err, true, "")
			})
		}
		crowd.Wait()
		fetched(t, server, round+1)
		c.pass(waitAfter - time.Second)
		step, err := begin(t, l, tokens[0])
		checkStep(t, step, err, false, "does not publish")
		fetched(t, server, round+1)
		c.pass(time.Second)
	}
}

// TestKeysOutage: while the keys can't be had, known ones go on working; only a
// token that needs another one meets an outage, which is no denial.
func TestKeysOutage(t *testing.T) {
	rs, next := newSigner(t, "rs", jwa.ES256), newSigner(t, "next", jwa.ES256)
	tooMany := make([]json.RawMessage, maxKeys+1)
	for i := range tooMany {
		tooMany[i] = json.RawMessage(`{}`)
	}
	for name, answer := range map[string]http.HandlerFunc{
		"status 503":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"not a JWK set":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"not a JWK set ": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":null}`) },
		" not a JWK set": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"issuer":"x"}`) },
		"too large": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"keys":["`+strings.Repeat("a", 2<<20)+`"]}`)
		},
		"more than 100 keys": func(w http.ResponseWriter, _ *http.Request) {
			json.NewEncoder(w).Encode(map[string]any{"keys": tooMany})
		},
		"status 302": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
	} {
		t.Run(name, func(t *testing.T) {
			server := newJWKS(t, rs.jwk(t, nil))
			l, c := behindSigner(t, server, nil)
			server.on(answer)
			down := func() {
				t.Helper()
				step, err := begin(t, l, rs.sign(t, nil))
				if err == nil || errors.Is(err, login.ErrDenied) || step.Identity != nil || !strings.Contains(err.Error(), strings.TrimSpace(name)) {
					t.Errorf("got %+v, %v; want an outage with %q", step.Identity, err, name)
				}
			}
			down()
			down()
			fetched(t, server, 1)
			c.pass(waitFailed)
			down()
			fetched(t, server, 2)

			server.publish(rs.jwk(t, nil))
			c.pass(waitFailed)
			step, err := begin(t, l, rs.sign(t, nil))
			checkStep(t, step, err, true, "")

			server.on(answer)
			c.pass(freshFor + time.Hour)
			step, err = begin(t, l, rs.sign(t, options{"exp": testNow.Add(48 * time.Hour).Unix()}))
			checkStep(t, step, err, true, "")
			_, err = begin(t, l, next.sign(t, options{"exp": testNow.Add(48 * time.Hour).Unix()}))
			if err == nil || errors.Is(err, login.ErrDenied) {
				t.Errorf("a key that is not known: %v", err)
			}
		})
	}
}

// TestBrowserThatHangsUp: who asks for the keys and leaves must not spoil the
// fetch for the others.
func TestBrowserThatHangsUp(t *testing.T) {
	rs := newSigner(t, "rs", jwa.ES256)
	server := newJWKS(t, rs.jwk(t, nil))
	l, _ := behindSigner(t, server, nil)
	gone, cancel := context.WithCancel(t.Context())
	answer := server.answer
	server.on(func(w http.ResponseWriter, r *http.Request) {
		cancel()
		answer(w, r)
	})
	step, err := l.Begin(gone, request("203.0.113.7:1", testHeader, rs.sign(t, nil)))
	checkStep(t, step, err, true, "")
	step, err = begin(t, l, rs.sign(t, nil))
	checkStep(t, step, err, true, "")
	fetched(t, server, 1)
}

// TestWaitingForKeys: while one request fetches, those that have their key go
// on, and the others wait no longer than they live.
func TestWaitingForKeys(t *testing.T) {
	rs, next := newSigner(t, "rs", jwa.ES256), newSigner(t, "next", jwa.ES256)
	server := newJWKS(t, rs.jwk(t, nil))
	l, c := behindSigner(t, server, nil)
	step, err := begin(t, l, rs.sign(t, nil))
	checkStep(t, step, err, true, "")

	asked, release := make(chan struct{}), make(chan struct{})
	both := []json.RawMessage{rs.jwk(t, nil), next.jwk(t, nil)}
	server.on(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		json.NewEncoder(w).Encode(map[string]any{"keys": both})
	})
	c.pass(freshFor)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		step, err := begin(t, l, next.sign(t, nil))
		checkStep(t, step, err, true, "")
	})
	<-asked
	step, err = begin(t, l, rs.sign(t, nil)) // stale, and good enough
	checkStep(t, step, err, true, "")
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Begin(short, request("203.0.113.7:1", testHeader, next.sign(t, nil))); !errors.Is(err, context.Canceled) || errors.Is(err, login.ErrDenied) {
		t.Errorf("a request that ended: %v", err)
	}
	waiting.Go(func() {
		step, err := begin(t, l, next.sign(t, nil))
		checkStep(t, step, err, true, "")
	})
	close(release)
	waiting.Wait()
	fetched(t, server, 2)
}

// TestKeyWithoutID: without an id there must be nothing to choose.
func TestKeyWithoutID(t *testing.T) {
	a, b, c := newSigner(t, "", jwa.ES256), newSigner(t, "b", jwa.ES256), newSigner(t, "c", jwa.RS256)
	token := a.signWith(t, options{"kid": nil}, nil)
	l, _ := behindSigner(t, newJWKS(t, a.jwk(t, options{"kid": nil}), c.jwk(t, nil)), nil)
	step, err := begin(t, l, token)
	checkStep(t, step, err, true, "")
	l, _ = behindSigner(t, newJWKS(t, a.jwk(t, options{"kid": nil}), b.jwk(t, nil)), nil)
	step, err = begin(t, l, token)
	checkStep(t, step, err, false, "does not publish")
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(newSigner(f, "a", jwa.ES256).jwk(f, nil)))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"X25519","x":"AA"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := parseKeys(body)
		if err != nil && keys != nil {
			t.Errorf("%d keys and %v", len(keys), err)
		}
		if one, ok := parseKey(body); ok {
			keys = append(keys, one)
		}
		for _, k := range keys {
			if k.kind == "" || k.key == nil || k.fits(jwa.HS256) || k.fits(jwa.NoSignature) || k.fits("") {
				t.Errorf("key %+v", k)
			}
		}
	})
}

// TestKeyKinds: which algorithms a key is for, the key says.
func TestKeyKinds(t *testing.T) {
	all := map[jwa.SignatureAlgorithm]signer{}
	for _, alg := range []jwa.SignatureAlgorithm{jwa.RS256, jwa.ES256, jwa.ES384, jwa.EdDSA} {
		all[alg] = newSigner(t, "k", alg)
	}
	for published, s := range all {
		l, _ := behindSigner(t, newJWKS(t, s.jwk(t, options{"alg": nil})), nil)
		for alg, other := range all {
			reason := "does not publish"
			if alg == published {
				reason, other = "signature is wrong", newSigner(t, "k", alg)
			}
			step, err := begin(t, l, other.sign(t, nil))
			checkStep(t, step, err, false, reason)
		}
	}
}
