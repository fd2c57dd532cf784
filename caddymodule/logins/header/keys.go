package header

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
)

// How the proxy's keys are fetched and kept.
const (
	fetchTimeout = 10 * time.Second
	maxJWKS      = 1 << 20
	maxKeys      = 100
	minRSABits   = 2048
	// freshFor is how long keys are used without looking for new ones: how
	// long a key that was withdrawn still counts.
	freshFor = 15 * time.Minute
	// waitAfter is the least time between two fetches, so that made-up key ids
	// cause no flood of them; waitFailed the same after one that failed.
	waitAfter  = 30 * time.Second
	waitFailed = 5 * time.Second
)

// keySet keeps the proxy's public keys. It fetches them when a token needs
// them, one fetch at a time, in the goroutine of the request that asks.
type keySet struct {
	url    string
	client *http.Client
	now    func() time.Time
	// turn holds one token: whoever takes it may fetch.
	turn chan struct{}

	mu      sync.Mutex
	keys    []publicKey
	fetched time.Time // last success
	tried   time.Time // last try
	failure error     // of the last try
}

// publicKey is a key that can verify signatures.
type publicKey struct {
	id  string
	alg jwa.SignatureAlgorithm // empty for any that fits
	// kind is RSA, or the name of the curve.
	kind string
	key  any
}

// newKeySet checks where the keys are. It fetches nothing.
func newKeySet(raw string, now func() time.Time) (*keySet, error) {
	u, err := url.Parse(raw)
	switch {
	case raw == "":
		return nil, errors.New("jwt needs jwks_url: where the proxy publishes its keys")
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return nil, errors.New("jwt jwks_url is not a URL such as https://team.cloudflareaccess.com/cdn-cgi/access/certs")
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return nil, errors.New("jwt jwks_url must use https: who answers there decides who signs")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	s := &keySet{url: u.String(), now: now, turn: make(chan struct{}, 1), client: &http.Client{
		Timeout:   fetchTimeout,
		Transport: transport,
		// The address is the operator's word for who signs; nobody else's.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	s.turn <- struct{}{}
	return s, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// find returns the keys that a token with this header can be signed with. If
// there are none, it is denied, or it is an outage if the keys could not be
// fetched.
func (s *keySet) find(ctx context.Context, id string, alg jwa.SignatureAlgorithm) ([]any, error) {
	if algorithms[alg] == "" {
		return nil, denied("the token's algorithm is not one of a public key")
	}
	found, fresh := s.lookup(id, alg)
	if len(found) > 0 && fresh {
		return found, nil
	}
	if !s.takeTurn(ctx, len(found) == 0) {
		if len(found) > 0 {
			return found, nil // somebody else is looking for new ones
		}
		return nil, fmt.Errorf("login header: waiting for the proxy's keys: %w", context.Cause(ctx))
	}
	s.refresh(ctx)
	s.turn <- struct{}{}
	found, _ = s.lookup(id, alg)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(found) > 0:
		return found, nil
	case s.failure != nil:
		return nil, s.failure
	}
	return nil, denied("the token is signed with a key that the proxy does not publish")
}

// takeTurn reports whether the caller may fetch. A caller that can't do without
// waits for its turn.
func (s *keySet) takeTurn(ctx context.Context, wait bool) bool {
	if !wait {
		select {
		case <-s.turn:
			return true
		default:
			return false
		}
	}
	select {
	case <-s.turn:
		return true
	case <-ctx.Done():
		return false
	}
}

// lookup returns the known keys that fit, and whether they are fresh. A token
// without a key id is good only where there is nothing to choose.
func (s *keySet) lookup(id string, alg jwa.SignatureAlgorithm) (found []any, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		if k.fits(alg) && (id == "" || k.id == id) {
			found = append(found, k.key)
		}
	}
	if id == "" && len(found) > 1 {
		found = nil
	}
	age := s.now().Sub(s.fetched)
	return found, age >= 0 && age < freshFor
}

// refresh fetches the keys, unless that was tried a moment ago. The caller has
// the turn. A failure leaves the keys as they are.
func (s *keySet) refresh(ctx context.Context) {
	s.mu.Lock()
	wait := waitAfter
	if s.failure != nil {
		wait = waitFailed
	}
	now := s.now()
	if !s.tried.IsZero() && now.Sub(s.tried) < wait && !now.Before(s.tried) {
		s.mu.Unlock()
		return
	}
	s.tried = now
	s.mu.Unlock()

	// A browser that hangs up must not spoil the fetch for the others.
	keys, err := s.fetch(context.WithoutCancel(ctx))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure = err; err == nil {
		s.keys, s.fetched = keys, now
	}
}

func (s *keySet) fetch(ctx context.Context) ([]publicKey, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, http.NoBody) //nolint:gosec // G704: the operator names the URL
	if err != nil {
		return nil, fmt.Errorf("login header: %w", err)
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := s.client.Do(r) //nolint:gosec // G704: the operator names the URL
	if err != nil {
		return nil, fmt.Errorf("login header: fetching the proxy's keys: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("login header: fetching the proxy's keys: status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, resp.Body, maxJWKS))
	if err != nil {
		return nil, fmt.Errorf("login header: reading the proxy's keys: %w", err)
	}
	return parseKeys(body)
}

// parseKeys reads a JWK set (RFC 7517 §5), and leaves out keys that it does not
// know or that are not for signatures. A set without any is an answer too: then
// nobody gets in.
func parseKeys(body []byte) ([]publicKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil || set.Keys == nil {
		return nil, errors.New("login header: the proxy's keys are not a JWK set")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("login header: the proxy publishes more than %d keys", maxKeys)
	}
	var keys []publicKey
	for _, raw := range set.Keys {
		if k, ok := parseKey(raw); ok {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

func parseKey(raw []byte) (publicKey, bool) {
	parsed, err := jwk.ParseKey(raw)
	if err != nil || parsed.KeyUsage() != "" && parsed.KeyUsage() != string(jwk.ForSignature) {
		return publicKey{}, false
	}
	k := publicKey{id: parsed.KeyID()}
	if alg := parsed.Algorithm(); alg != nil && alg.String() != "" {
		k.alg = jwa.SignatureAlgorithm(alg.String())
	}
	// A secret key has no public half, and its raw form is none of these.
	public, err := parsed.PublicKey()
	if err != nil || public.Raw(&k.key) != nil {
		return publicKey{}, false
	}
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		k.kind = "RSA"
		return k, key.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey:
		k.kind = key.Curve.Params().Name
		return k, true
	case ed25519.PublicKey:
		k.kind = "Ed25519"
		return k, true
	}
	return publicKey{}, false
}

// algorithms are those that are accepted, with the kind of key that each is
// for. All have a public key: a token signed with a shared secret, or not
// signed, proves nothing here (RFC 8725 §3.1, THREATS J1).
var algorithms = map[jwa.SignatureAlgorithm]string{
	jwa.RS256: "RSA", jwa.RS384: "RSA", jwa.RS512: "RSA", jwa.PS256: "RSA", jwa.PS384: "RSA", jwa.PS512: "RSA",
	jwa.ES256: "P-256", jwa.ES384: "P-384", jwa.ES512: "P-521", jwa.EdDSA: "Ed25519",
}

// fits reports whether the key can verify signatures of the algorithm.
func (k publicKey) fits(alg jwa.SignatureAlgorithm) bool {
	return k.kind == algorithms[alg] && (k.alg == "" || k.alg == alg)
}
