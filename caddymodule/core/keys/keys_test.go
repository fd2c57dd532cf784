package keys

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var (
	start  = time.Unix(1_800_000_000, 0)
	secret = []byte("a secret of at least thirty-two bytes")
)

func open(t testing.TB, s store.Store, o Options) *Manager {
	t.Helper()
	m, err := Open(t.Context(), start, s, o)
	if err == nil {
		err = m.Apply(t.Context(), start)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func sign(t testing.TB, m *Manager, now time.Time) string {
	t.Helper()
	token, err := m.Ring().Sign(now, oauth.AccessTokenClaims{Issuer: "https://gw.example", Subject: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// verifies reports whether a ring knows the key of a token and it fits.
func verifies(r *Ring, token string) bool {
	msg, err := jws.ParseString(token)
	if err != nil {
		return false
	}
	h := msg.Signatures()[0].ProtectedHeaders()
	alg, key, ok := r.VerifyKey(h.KeyID())
	if !ok || alg != string(h.Algorithm()) || h.Type() != "at+jwt" {
		return false
	}
	_, err = jws.Verify([]byte(token), jws.WithKey(jwa.SignatureAlgorithm(alg), key))
	return err == nil
}

func TestEveryAlgorithmSignsAndPublishesNoSecret(t *testing.T) {
	for _, alg := range Algorithms {
		t.Run(alg, func(t *testing.T) {
			m := open(t, store.NewMemory(), Options{Algorithm: alg})
			if !verifies(m.Ring(), sign(t, m, start)) {
				t.Error("its own token is not valid")
			}
			var set struct {
				Keys []map[string]any `json:"keys"`
			}
			if err := json.Unmarshal(m.Ring().JWKS(true), &set); err != nil || set.Keys == nil {
				t.Fatalf("JWK set %s: %v", m.Ring().JWKS(true), err)
			}
			if want := map[bool]int{true: 1, false: 2}[alg == "HS256"]; len(set.Keys) != want {
				t.Fatalf("%d keys are published: %s", len(set.Keys), m.Ring().JWKS(true))
			}
			for i, k := range set.Keys {
				want := alg
				if i == len(set.Keys)-1 {
					want = "ES256" // that of assertions
				}
				for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
					if k[private] != nil {
						t.Errorf("member %s is published", private)
					}
				}
				if k["use"] != "sig" || k["alg"] != want || k["kid"] == "" {
					t.Errorf("published key %v", k)
				}
			}
		})
	}
}

func TestRingSurvivesReopening(t *testing.T) {
	for name, o := range map[string]Options{"stored": {}, "wrapped": {Secret: secret}, "derived": {Secret: secret, Derive: true}} {
		t.Run(name, func(t *testing.T) {
			s := store.NewMemory()
			before := open(t, s, o)
			token := sign(t, before, start)
			sealed, _ := before.Ring().Sealer.Seal(PurposeClient, []byte("x"), time.Time{})
			if o.Derive {
				s = store.NewMemory() // nothing is stored
			}
			after := open(t, s, o)
			if !verifies(after.Ring(), token) {
				t.Error("the token is not valid any more")
			}
			if _, err := after.Ring().Sealer.Open(PurposeClient, sealed, start); err != nil {
				t.Errorf("the sealed value does not open: %v", err)
			}
			if before.Ring().ID != after.Ring().ID {
				t.Error("the ring has another id")
			}
		})
	}
}

func TestSecretWrapsTheStoredRing(t *testing.T) {
	s := store.NewMemory()
	open(t, s, Options{})
	plain, _, _ := s.KeyRing(t.Context())
	if !bytes.Contains(plain, []byte(`"d"`)) {
		t.Fatal("the test looks for the wrong thing")
	}
	open(t, s, Options{Secret: secret}) // wraps what was there
	wrapped, version, _ := s.KeyRing(t.Context())
	if bytes.Contains(wrapped, []byte(`"d"`)) || bytes.Contains(wrapped, []byte("seal")) {
		t.Errorf("the ring is still readable: %s", wrapped)
	}
	for name, o := range map[string]Options{
		"another secret": {Secret: bytes.ToUpper(secret)}, "no secret": {},
	} {
		if _, err := Open(t.Context(), start, s, o); !errors.Is(err, ErrSecret) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if again, v, _ := s.KeyRing(t.Context()); v != version || !bytes.Equal(again, wrapped) {
		t.Error("a wrong secret changed the stored ring")
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, o := range map[string]Options{
		"unknown algorithm":     {Algorithm: "none"},
		"short secret":          {Secret: secret[:31]},
		"derive without secret": {Derive: true},
		"derived RSA":           {Derive: true, Secret: secret, Algorithm: "RS256"},
	} {
		s := store.NewMemory()
		if _, err := Open(t.Context(), start, s, o); err == nil {
			t.Errorf("%s is accepted", name)
		}
		if _, _, err := s.KeyRing(t.Context()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: a ring was stored", name)
		}
	}
	for _, junk := range []string{"", "junk", "{}", `{"ring":{}}`, `{"ring":{"id":"x","signing":[{"key":{"kty":"oct"}}]}}`} {
		s := store.NewMemory()
		if _, err := s.SwapKeyRing(t.Context(), 0, []byte(junk)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), start, s, Options{}); err == nil {
			t.Errorf("stored ring %q is accepted", junk)
		}
	}
}

// TestOpenChangesNothing: a configuration that is tried and rejected must not
// lock out the one that goes on running.
func TestOpenChangesNothing(t *testing.T) {
	s := store.NewMemory()
	open(t, s, Options{})
	_, before, _ := s.KeyRing(t.Context())
	if _, err := Open(t.Context(), start, s, Options{Secret: secret, Algorithm: "EdDSA"}); err != nil {
		t.Fatal(err)
	}
	if _, after, _ := s.KeyRing(t.Context()); after != before {
		t.Error("opening changed the stored ring")
	}
}

func TestChangedAlgorithmKeepsOldTokens(t *testing.T) {
	s := store.NewMemory()
	token := sign(t, open(t, s, Options{Algorithm: "ES256"}), start)
	m := open(t, s, Options{Algorithm: "EdDSA", TokenLifetime: time.Hour})
	if m.Ring().Algorithm(start) != "EdDSA" || !verifies(m.Ring(), token) {
		t.Errorf("signs with %s, old token valid: %v", m.Ring().Algorithm(start), verifies(m.Ring(), token))
	}
}

// TestRotation follows the calendar: published before it signs, old tokens
// valid until they have expired, sealed values for ever.
func TestRotation(t *testing.T) {
	s := store.NewMemory()
	o := Options{RotateEvery: 30 * 24 * time.Hour, TokenLifetime: time.Hour}
	m := open(t, s, o)
	token := sign(t, m, start)
	sealed, _ := m.Ring().Sealer.Seal(PurposeClient, []byte("x"), time.Time{})
	maintain := func(now time.Time) bool {
		changed, err := m.Maintain(t.Context(), now)
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
	if maintain(start.Add(29 * 24 * time.Hour)) {
		t.Error("rotates too early")
	}
	due := start.Add(o.RotateEvery - publishLead)
	if !maintain(due) || maintain(due.Add(time.Second)) {
		t.Error("does not rotate once when due")
	}
	if n := len(m.Ring().signing); n != 2 {
		t.Fatalf("%d signing keys", n)
	}
	kid := func(now time.Time) string { return m.Ring().current(now).kid }
	if kid(due) != kid(start) || kid(due.Add(publishLead)) == kid(start) {
		t.Error("the new key does not wait until everybody has seen it")
	}
	if err := m.Refresh(t.Context(), due.Add(publishLead)); err != nil || m.Ring().sealing != 0 {
		t.Errorf("the new sealing key does not take over: %v", err)
	}
	if !verifies(m.Ring(), token) {
		t.Error("the old token is not valid after rotation")
	}
	if !maintain(due.Add(publishLead + o.TokenLifetime + dropMargin)) {
		t.Error("the old signing key is not dropped")
	}
	if verifies(m.Ring(), token) {
		t.Error("the old key still verifies")
	}
	if _, err := m.Ring().Sealer.Open(PurposeClient, sealed, start); err != nil {
		t.Errorf("a client id does not survive: %v", err)
	}
}

// TestRotateAgainWhileAKeyWaits: the waiting key must not take over from the
// one that replaced it.
func TestRotateAgainWhileAKeyWaits(t *testing.T) {
	m := open(t, store.NewMemory(), Options{TokenLifetime: time.Hour})
	if err := errors.Join(m.Rotate(t.Context(), start, false), m.Rotate(t.Context(), start.Add(time.Minute), true)); err != nil {
		t.Fatal(err)
	}
	kid := m.Ring().current(start.Add(time.Minute)).kid
	for _, later := range []time.Duration{publishLead, 24 * time.Hour} {
		if m.Ring().current(start.Add(later)).kid != kid {
			t.Errorf("another key signs after %s", later)
		}
	}
	if n := len(m.Ring().signing); n != 2 {
		t.Errorf("%d signing keys, want the first and the new one", n)
	}
}

// TestRestlessRotation: whoever rotates more often than keys take to become
// active must not lose the key that signs meanwhile.
func TestRestlessRotation(t *testing.T) {
	m := open(t, store.NewMemory(), Options{TokenLifetime: time.Hour})
	for now := start; now.Before(start.Add(27 * time.Hour)); now = now.Add(publishLead - time.Minute) {
		token := sign(t, m, now)
		if err := m.Rotate(t.Context(), now, false); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Maintain(t.Context(), now.Add(publishLead-time.Minute)); err != nil {
			t.Fatal(err)
		}
		if !verifies(m.Ring(), token) {
			t.Fatalf("after %s a token of nine minutes is not valid", now.Sub(start))
		}
	}
}

// TestRotateAfterTheClockWasSetBack: the key that signs must not be taken for
// one that waits.
func TestRotateAfterTheClockWasSetBack(t *testing.T) {
	m := open(t, store.NewMemory(), Options{TokenLifetime: time.Hour})
	earlier := start.Add(-time.Hour)
	token := sign(t, m, earlier)
	if err := m.Rotate(t.Context(), earlier, true); err != nil {
		t.Fatal(err)
	}
	if !verifies(m.Ring(), token) {
		t.Error("the key that signed is gone")
	}
}

func TestOtherNodeFollows(t *testing.T) {
	s := store.NewMemory()
	a, b := open(t, s, Options{}), open(t, s, Options{})
	if a.Ring().ID != b.Ring().ID {
		t.Fatal("two nodes made two rings")
	}
	if err := a.Rotate(t.Context(), start, false); err != nil {
		t.Fatal(err)
	}
	token := sign(t, a, start.Add(publishLead))
	if err := b.Refresh(t.Context(), start.Add(time.Minute)); err != nil || !verifies(b.Ring(), token) {
		t.Errorf("the other node does not know the new key: %v", err)
	}
}

// TestRetireDropsEveryKey: after a leak the newest key is one of those that
// leaked.
func TestRetireDropsEveryKey(t *testing.T) {
	m := open(t, store.NewMemory(), Options{})
	token := sign(t, m, start)
	sealed, _ := m.Ring().Sealer.Seal(PurposeClient, []byte("x"), time.Time{})
	if n, err := m.Retire(t.Context(), start); n != 1 || err != nil {
		t.Errorf("dropped %d, %v", n, err)
	}
	if verifies(m.Ring(), token) {
		t.Error("a token of the retired key is valid")
	}
	if _, err := m.Ring().Sealer.Open(PurposeClient, sealed, start); err == nil {
		t.Error("a value of the retired key opens")
	}
	if !verifies(m.Ring(), sign(t, m, start)) || len(m.Ring().Describe()) != 1 {
		t.Error("the new key does not work")
	}
}

// TestRingGrows: sealing keys are kept for ever, and the ring must open however
// many there are.
func TestRingGrows(t *testing.T) {
	for _, alg := range []string{"ES256", "RS256"} {
		s := store.NewMemory()
		m := open(t, s, Options{Secret: secret, Algorithm: alg})
		sealed, _ := m.Ring().Sealer.Seal(PurposeClient, []byte("x"), time.Time{})
		for range map[string]int{"ES256": 60, "RS256": 4}[alg] {
			if err := m.Rotate(t.Context(), start, true); err != nil {
				t.Fatal(err)
			}
		}
		again := open(t, s, Options{Secret: secret, Algorithm: alg})
		if _, err := again.Ring().Sealer.Open(PurposeClient, sealed, start); err != nil {
			t.Errorf("%s: the first client id: %v", alg, err)
		}
	}
}

// slowStore holds a read of the ring open until the test lets it go.
type slowStore struct {
	store.Store
	hold chan struct{}
	read chan struct{}
}

func (s *slowStore) KeyRing(ctx context.Context) ([]byte, uint64, error) {
	ring, version, err := s.Store.KeyRing(ctx)
	if s.hold != nil {
		hold := s.hold
		s.hold = nil
		close(s.read)
		<-hold
	}
	return ring, version, err
}

// TestSlowReaderPutsNoOldRingBack: a refresh that read before a rotation must
// not install what it read after it.
func TestSlowReaderPutsNoOldRingBack(t *testing.T) {
	s := &slowStore{Store: store.NewMemory(), read: make(chan struct{})}
	m := open(t, s, Options{})
	hold := make(chan struct{})
	s.hold = hold
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := m.Refresh(context.Background(), start); err != nil {
			t.Error(err)
		}
	})
	<-s.read
	wg.Go(func() {
		if _, err := m.Retire(context.Background(), start); err != nil {
			t.Error(err)
		}
	})
	before := m.Ring().current(start).kid
	close(hold)
	wg.Wait()
	if m.Ring().current(start).kid == before {
		t.Error("the retired key is back")
	}
}

func TestDerivedRingDoesNotRotate(t *testing.T) {
	m := open(t, store.NewMemory(), Options{Secret: secret, Derive: true, RotateEvery: time.Hour})
	if changed, err := m.Maintain(t.Context(), start.AddDate(1, 0, 0)); changed || err != nil {
		t.Errorf("changed %v, %v", changed, err)
	}
	if m.Rotate(t.Context(), start, true) == nil {
		t.Error("rotates")
	}
	if _, err := m.Retire(t.Context(), start); err == nil {
		t.Error("retires")
	}
}

// TestManyNodesMakeOneRing: whoever comes second takes what is there.
func TestManyNodesMakeOneRing(t *testing.T) {
	s := store.NewMemory()
	ids := make([]string, 16)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			m, err := Open(context.Background(), start, s, Options{})
			if err != nil {
				ids[i] = fmt.Sprint(err)
				return
			}
			ids[i] = m.Ring().ID
		})
	}
	wg.Wait()
	if len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 1 {
		t.Errorf("rings: %s", strings.Join(ids, " "))
	}
}

// TestManyNodesRotateOnce: of all nodes that find a rotation due at once, one
// makes it, and the others take its keys.
func TestManyNodesRotateOnce(t *testing.T) {
	const every = 24 * time.Hour
	s := store.NewMemory()
	nodes := make([]*Manager, 16)
	for i := range nodes {
		nodes[i] = open(t, s, Options{RotateEvery: every})
	}
	var changes atomic.Int64
	var wg sync.WaitGroup
	for _, m := range nodes {
		wg.Go(func() {
			changed, err := m.Maintain(t.Context(), start.Add(every))
			if err != nil {
				t.Error(err)
			}
			if changed {
				changes.Add(1)
			}
		})
	}
	wg.Wait()
	if n := changes.Load(); n != 1 {
		t.Errorf("%d nodes rotated, want one", n)
	}
	for _, m := range nodes {
		if keys := m.Ring().Describe(); len(keys) != 2 || keys[0].KeyID != nodes[0].Ring().Describe()[0].KeyID {
			t.Errorf("a node has other keys: %v", keys)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	for _, alg := range Algorithms {
		b.Run(alg, func(b *testing.B) {
			m := open(b, store.NewMemory(), Options{Algorithm: alg})
			b.ReportAllocs()
			for b.Loop() {
				sign(b, m, start)
			}
		})
	}
}
