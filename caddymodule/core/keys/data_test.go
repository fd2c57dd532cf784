package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var nextSecret = []byte("the next secret, also of at least thirty-two bytes")

func swapped(s ...[]byte) Options { return Options{Secret: s[0], Previous: s[1:]} }

// TestSecretRotation changes the secret of two nodes on one store, one after the
// other, in the documented order: both can read the ring all the way.
func TestSecretRotation(t *testing.T) {
	s := store.NewMemory()
	a, b := open(t, s, swapped(secret)), open(t, s, swapped(secret))
	token := sign(t, a, start)
	fresh := func(m *Manager) {
		t.Helper()
		if err := m.Refresh(t.Context(), start); err != nil {
			t.Fatal(err)
		}
		if !verifies(m.Ring(), token) {
			t.Fatal("another ring")
		}
	}
	for _, step := range []Options{swapped(secret, nextSecret), swapped(nextSecret, secret), swapped(nextSecret)} {
		a = open(t, s, step)
		fresh(a)
		fresh(b)
		if err := b.Rotate(t.Context(), start, true); err != nil { // the older node writes too
			t.Fatal(err)
		}
		fresh(a)
		b = open(t, s, step)
		fresh(a)
	}
	if _, err := Open(t.Context(), start, s, swapped(secret)); !errors.Is(err, ErrSecret) {
		t.Errorf("with the old secret: %v", err)
	}
}

// TestPreviousSecretIsReplaced: opening changes nothing, applying wraps anew,
// and only once.
func TestPreviousSecretIsReplaced(t *testing.T) {
	s := store.NewMemory()
	open(t, s, swapped(secret))
	_, before, _ := s.KeyRing(t.Context())
	m, err := Open(t.Context(), start, s, swapped(nextSecret, bytes.ToUpper(secret), secret))
	if err != nil {
		t.Fatal(err)
	}
	if _, after, _ := s.KeyRing(t.Context()); after != before {
		t.Error("opening changed the stored ring")
	}
	for range 3 {
		if err := m.Apply(t.Context(), start); err != nil {
			t.Fatal(err)
		}
	}
	if _, after, _ := s.KeyRing(t.Context()); after != before+1 {
		t.Errorf("the ring was written %d times", after-before)
	}
	for name, o := range map[string]Options{
		"only the old one":   swapped(secret),
		"others":             swapped(bytes.ToUpper(secret), secret),
		"none":               {},
		"short":              swapped(nextSecret, []byte("short")),
		"previous, none now": {Previous: [][]byte{nextSecret}},
		"derived":            {Secret: nextSecret, Previous: [][]byte{secret}, Derive: true},
	} {
		if _, err := Open(t.Context(), start, s, o); err == nil {
			t.Errorf("%s: the ring opens", name)
		} else if bytes.Contains([]byte(err.Error()), []byte("thirty")) {
			t.Errorf("%s: the error has a secret: %v", name, err)
		}
	}
}

// TestPersonNames stay through every rotation and reopening, and go with the
// keys.
func TestPersonNames(t *testing.T) {
	s := store.NewMemory()
	m := open(t, s, swapped(secret))
	name := m.Ring().PersonName("alice")
	if other := m.Ring().PersonName("bob"); len(name) != 43 || other == name {
		t.Errorf("names %q and %q", name, other)
	}
	for range 3 {
		if err := m.Rotate(t.Context(), start, true); err != nil {
			t.Fatal(err)
		}
	}
	for _, again := range []*Manager{m, open(t, s, swapped(secret))} {
		if names := again.Ring().PersonNames("alice"); !slices.Equal(names, []string{name}) {
			t.Errorf("after rotations %q, before %q", names, name)
		}
	}
	if _, err := m.Retire(t.Context(), start); err != nil {
		t.Fatal(err)
	}
	if names := m.Ring().PersonNames("alice"); len(names) != 2 || names[0] == name || names[1] != name {
		t.Errorf("after retirement %q, before %q", names, name)
	}
	one := open(t, store.NewMemory(), Options{Secret: secret, Derive: true})
	two := open(t, store.NewMemory(), Options{Secret: secret, Derive: true})
	if one.Ring().PersonName("alice") != two.Ring().PersonName("alice") {
		t.Error("one secret derives two names")
	}
}

// TestRetiredKeysOpenOnlyData, and only until all of it is sealed anew.
func TestRetiredKeysOpenOnlyData(t *testing.T) {
	s := store.NewMemory()
	m := open(t, s, swapped(secret))
	data, err1 := m.Ring().Data.SealFor(PurposeGrant, "id", []byte("x"))
	client, err2 := m.Ring().Sealer.Seal(PurposeClient, []byte("x"), time.Time{})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for range 2 { // twice is once too often, but it happens
		if n, err := m.Retire(t.Context(), start); err != nil || n != 1 {
			t.Fatalf("dropped %d, %v", n, err)
		}
	}
	opens := func(m *Manager) bool {
		if _, err := m.Ring().Sealer.Open(PurposeClient, client, start); err == nil {
			t.Error("a retired key opens client ids")
		}
		_, err := m.Ring().Data.OpenFor(PurposeGrant, "id", data)
		return err == nil
	}
	if !opens(m) || !opens(open(t, s, swapped(secret))) {
		t.Error("what is stored does not open any more")
	}
	if err := m.MarkResealed(t.Context(), start, "another"); err != nil || !opens(m) || m.Ring().Resealed() {
		t.Errorf("the note of another key counts: %v", err)
	}
	for range 2 {
		if err := m.MarkResealed(t.Context(), start, m.Ring().Data.KeyID()); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, s, swapped(secret))
	if opens(m) || opens(again) || !again.Ring().Resealed() || len(again.Ring().PersonNames("alice")) != 1 {
		t.Error("the retired keys are still there")
	}
	if err := again.Rotate(t.Context(), start, true); err != nil || again.Ring().Resealed() {
		t.Errorf("after a rotation all is still sealed with the newest key: %v", err)
	}
}

// TestOldRing: a ring of a version that sealed nothing in the store has all that
// it takes.
func TestOldRing(t *testing.T) {
	s := store.NewMemory()
	old, err := newRingData("ES256", start)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"ring": map[string]any{"id": old.ID, "seal": old.Seal, "signing": old.Signing}})
	if err == nil {
		_, err = s.SwapKeyRing(t.Context(), 0, text)
	}
	if err != nil {
		t.Fatal(err)
	}
	m := open(t, s, swapped(secret))
	v, err := m.Ring().Data.SealFor(PurposeGrant, "id", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, s, swapped(secret)).Ring().Data.OpenFor(PurposeGrant, "id", v); err != nil {
		t.Error(err)
	}
	if !m.SealsData() || m.Ring().Resealed() {
		t.Error("nothing has to be sealed")
	}
}

// TestRetireInTheClear keeps no keys for a store that is not sealed.
func TestRetireInTheClear(t *testing.T) {
	m := open(t, store.NewMemory(), Options{})
	if _, err := m.Retire(t.Context(), start); err != nil || len(m.Ring().data.Retired) != 0 || m.SealsData() {
		t.Errorf("kept %d, %v", len(m.Ring().data.Retired), err)
	}
}

// TestDerivedNote: a ring that is not stored notes for itself that all is sealed.
func TestDerivedNote(t *testing.T) {
	s := store.NewMemory()
	m := open(t, s, Options{Secret: secret, Derive: true})
	if err := m.MarkResealed(t.Context(), start, m.Ring().Data.KeyID()); err != nil || !m.Ring().Resealed() {
		t.Error(err)
	}
	if err := m.Refresh(t.Context(), start.Add(time.Hour)); err != nil || !m.Ring().Resealed() {
		t.Error(err)
	}
	if _, _, err := s.KeyRing(t.Context()); !errors.Is(err, store.ErrNotFound) {
		t.Error("a derived ring was stored")
	}
}
