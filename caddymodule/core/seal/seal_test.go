package seal

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"
)

const (
	apple Purpose = "apple"
	pear  Purpose = "pear"
)

func secret(b byte) []byte { return bytes.Repeat([]byte{b}, KeySize) }

func newSealer(t testing.TB, secrets ...[]byte) *Sealer {
	t.Helper()
	s, err := New([]Purpose{apple, pear}, secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealOpen(t *testing.T) {
	s, now := newSealer(t, secret(1)), time.Unix(1000, 0)
	a, err := s.Seal(apple, []byte("hello"), now.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := s.Seal(apple, []byte("hello"), now.Add(time.Minute))
	if a == b {
		t.Error("two values of one text are alike")
	}
	if text, err := s.Open(apple, a, now); err != nil || string(text) != "hello" {
		t.Errorf("opened %q, %v", text, err)
	}
	if _, err := s.Open(apple, a, now.Add(59*time.Second)); err != nil {
		t.Errorf("before its expiry: %v", err)
	}
	if text, err := s.Open(apple, a, now.Add(time.Minute)); !errors.Is(err, ErrExpired) || string(text) != "hello" {
		t.Errorf("after its expiry: %q, %v", text, err)
	}
	forever, _ := s.Seal(apple, []byte("x"), time.Time{})
	if _, err := s.Open(apple, forever, now.AddDate(100, 0, 0)); err != nil {
		t.Errorf("without expiry: %v", err)
	}
}

// TestNotInterchangeable: a value for one purpose or of another server is
// nothing for another (THREATS T14).
func TestNotInterchangeable(t *testing.T) {
	s, other, now := newSealer(t, secret(1)), newSealer(t, secret(2)), time.Unix(1000, 0)
	v, _ := s.Seal(apple, []byte("hello"), time.Time{})
	if _, err := s.Open(pear, v, now); !errors.Is(err, ErrInvalid) {
		t.Errorf("another purpose: %v", err)
	}
	if _, err := other.Open(apple, v, now); !errors.Is(err, ErrInvalid) {
		t.Errorf("another key: %v", err)
	}
	if _, err := s.Seal("unknown", nil, now); err == nil {
		t.Error("an unknown purpose seals")
	}
}

func TestEveryChangedCharacterIsNoticed(t *testing.T) {
	s, now := newSealer(t, secret(1)), time.Unix(1000, 0)
	v, _ := s.Seal(apple, []byte("hello"), time.Time{})
	for i := range v {
		changed := []byte(v)
		changed[i] ^= 1
		if _, err := s.Open(apple, string(changed), now); !errors.Is(err, ErrInvalid) {
			t.Fatalf("character %d changed: %v", i, err)
		}
	}
	for _, bad := range []string{"", v[:len(v)-1], v + "A", v + "=", v + "\n", v[:5] + "\n" + v[5:], " " + v} {
		if _, err := s.Open(apple, bad, now); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q opens: %v", bad, err)
		}
	}
}

func TestOlderKeysOpen(t *testing.T) {
	before, now := newSealer(t, secret(1)), time.Unix(1000, 0)
	v, _ := before.Seal(apple, []byte("hello"), time.Time{})
	tag, _ := before.Tag(pear, []byte("msg"))
	companion, _ := before.Companion(pear, v)
	after := newSealer(t, secret(2), secret(1))
	if _, err := after.Open(apple, v, now); err != nil {
		t.Errorf("after rotation: %v", err)
	}
	if !after.CheckTag(pear, []byte("msg"), tag) {
		t.Error("the tag is refused after rotation")
	}
	if again, err := after.Companion(pear, v); err != nil || !bytes.Equal(again, companion) {
		t.Errorf("the companion changed with rotation: %v", err)
	}
	retired := newSealer(t, secret(2))
	if _, err := retired.Open(apple, v, now); !errors.Is(err, ErrInvalid) {
		t.Errorf("after retirement: %v", err)
	}
	if _, err := retired.Companion(pear, v); !errors.Is(err, ErrInvalid) {
		t.Errorf("companion after retirement: %v", err)
	}
}

func TestTags(t *testing.T) {
	s := newSealer(t, secret(1))
	tag, err := s.Tag(apple, []byte("msg"))
	if err != nil || len(tag) != TagSize {
		t.Fatalf("%d bytes, %v", len(tag), err)
	}
	if !s.CheckTag(apple, []byte("msg"), tag) {
		t.Error("its own tag is refused")
	}
	if s.CheckTag(pear, []byte("msg"), tag) || s.CheckTag(apple, []byte("other"), tag) || s.CheckTag(apple, []byte("msg"), tag[:TagSize-1]) || s.CheckTag(apple, []byte("msg"), nil) {
		t.Error("a foreign tag is accepted")
	}
	for i := range tag {
		changed := bytes.Clone(tag)
		changed[i] ^= 1
		if s.CheckTag(apple, []byte("msg"), changed) {
			t.Fatalf("byte %d of the tag does not matter", i)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, keys := range map[string][][]byte{
		"no key": nil, "a short key": {secret(1)[:31]}, "one key twice": {secret(1), secret(1)},
	} {
		if _, err := New([]Purpose{apple}, keys...); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func FuzzOpen(f *testing.F) {
	s := newSealer(f, secret(1))
	good, _ := s.Seal(apple, []byte("hello"), time.Time{})
	f.Add(good)
	f.Add("")
	f.Add(good[:20])
	f.Fuzz(func(t *testing.T, v string) {
		// A fuzzing worker has the same key and seals its own good value.
		if text, err := s.Open(apple, v, time.Unix(1, 0)); err == nil && string(text) != "hello" {
			t.Fatalf("%q opens to %q", v, text)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	s, text := newSealer(b, secret(1)), bytes.Repeat([]byte("x"), 200)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Seal(apple, text, time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	s := newSealer(b, secret(1))
	v, _ := s.Seal(apple, bytes.Repeat([]byte("x"), 200), time.Time{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Open(apple, v, time.Unix(1, 0)); err != nil {
			b.Fatal(err)
		}
	}
}

// TestOwner: a value of one record is nothing in another, and nothing without an
// owner.
func TestOwner(t *testing.T) {
	s, now := newSealer(t, secret(1)), time.Unix(1000, 0)
	v, err := s.SealFor(apple, "grant 1", []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := s.OpenFor(apple, "grant 1", v); err != nil || string(text) != "hello" {
		t.Errorf("its owner: %q, %v", text, err)
	}
	for _, owner := range []string{"", "grant 2", "grant ", "grant 11"} {
		if _, err := s.OpenFor(apple, owner, v); !errors.Is(err, ErrInvalid) {
			t.Errorf("owner %q: %v", owner, err)
		}
	}
	if _, err := s.OpenFor(pear, "grant 1", v); !errors.Is(err, ErrInvalid) {
		t.Errorf("another purpose: %v", err)
	}
	if _, err := s.Open(apple, v, now); !errors.Is(err, ErrInvalid) {
		t.Errorf("without an owner: %v", err)
	}
	if _, err := s.SealFor("plum", "grant 1", nil); err == nil {
		t.Error("an unknown purpose is sealed for")
	}
}

// TestKeyOf tells which key sealed a value, and what is no sealed value.
func TestKeyOf(t *testing.T) {
	s := newSealer(t, secret(1))
	v, _ := s.SealFor(apple, "o", []byte("hello"))
	older := newSealer(t, secret(2), secret(1))
	for name, tt := range map[string]struct {
		by    *Sealer
		value string
		id    string
		known bool
	}{
		"its own":     {s, v, s.KeyID(), true},
		"an older":    {older, v, s.KeyID(), true},
		"unknown":     {newSealer(t, secret(2)), v, s.KeyID(), false},
		"short":       {s, v[:20], "", false},
		"nothing":     {s, "", "", false},
		"no base64":   {s, "!" + v[1:], "", false},
		"other ver":   {s, "B" + v[1:], "", false},
		"over limits": {s.WithLimit(len(v) - 1), v, "", false},
	} {
		if id, known := tt.by.KeyOf(tt.value); id != tt.id || known != tt.known {
			t.Errorf("%s: %q, %v; want %q, %v", name, id, known, tt.id, tt.known)
		}
	}
	if s.KeyID() == older.KeyID() || len(s.KeyID()) != 2*idSize {
		t.Errorf("key ids %q and %q", s.KeyID(), older.KeyID())
	}
}

// TestFirstUseAtOnce: what a key is for a purpose is made when it is first needed,
// also where many need it at the same moment.
func TestFirstUseAtOnce(t *testing.T) {
	before, now := newSealer(t, secret(1)), time.Unix(1000, 0)
	v, _ := before.Seal(apple, []byte("hello"), time.Time{})
	tag, _ := before.Tag(pear, []byte("msg"))
	after := newSealer(t, secret(2), secret(1))
	var wg sync.WaitGroup
	for _, s := range []*Sealer{after, after.WithLimit(1 << 20)} {
		for range 8 {
			wg.Go(func() {
				if _, err := s.Open(apple, v, now); err != nil || !s.CheckTag(pear, []byte("msg"), tag) {
					t.Errorf("it does not open: %v", err)
				}
				if w, err := s.Seal(apple, nil, time.Time{}); err != nil {
					t.Error(err)
				} else if _, err := s.Open(apple, w, now); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}
