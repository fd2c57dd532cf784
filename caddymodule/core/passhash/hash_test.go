package passhash

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// cheapBcrypt returns the cheapest bcrypt hash that there is.
func cheapBcrypt(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	must(t, err)
	return string(h)
}

// cheapArgon2 returns an argon2id hash that takes 16 KiB and one pass.
func cheapArgon2(password string) string {
	salt := []byte("sixteen bytes ok")
	sum := argon2.IDKey([]byte(password), salt, 1, 16, 1, 32)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=19$m=16,t=1,p=1$%s$%s", enc.EncodeToString(salt), enc.EncodeToString(sum))
}

// TestDefaultHashes wants the hashes of Caddy's defaults to be no weak ones. They
// are the ones that Caddy compares with where there is no user.
func TestDefaultHashes(t *testing.T) {
	for _, text := range []string{
		"$2a$14$X3ulqf/iGxnf1k6oMZ.RZeJUoqI9PX2PM4rS5lkIKJXduLGXGPrt6",
		"$argon2id$v=19$m=47104,t=1,p=1$P2nzckEdTZ3bxCiBCkRTyA$xQL3Z32eo5jKl7u5tcIsnEKObYiyNZQQf5/4sAau6Pg",
	} {
		h, err := Parse(text)
		must(t, err)
		if h.Weak() {
			t.Errorf("%.10s is called weak", text)
		}
	}
}

// TestBcryptIgnoresNothing: bcrypt looks at 72 bytes. A longer password that
// begins like the right one must not do, as all that follows would be for show.
func TestBcryptIgnoresNothing(t *testing.T) {
	right := strings.Repeat("a", 72)
	for _, version := range []string{"$2a$", "$2b$", "$2y$"} {
		h, err := Parse(version + cheapBcrypt(t, right)[4:])
		must(t, err)
		for password, want := range map[string]bool{right: true, right + "b": false, right[:71]: false} {
			if got, err := h.Matches(password); err != nil || got != want {
				t.Errorf("%s, %d bytes: %v, %v; want %v", version, len(password), got, err, want)
			}
		}
	}
}

// TestFakeHashes wants a fake to parse, to cost the same, and never to match.
func TestFakeHashes(t *testing.T) {
	for _, text := range []string{cheapBcrypt(t, "sesame"), cheapArgon2("sesame")} {
		h, err := Parse(text)
		must(t, err)
		fake, err := Parse(h.Fake().Text())
		must(t, err)
		if cost(fake.Text()) != cost(text) || len(fake.Text()) != len(text) || fake.Text() == text {
			t.Errorf("a fake of another cost: %.20s and %.20s", fake.Text(), text)
		}
		if same, err := h.Fake().Matches("sesame"); same || err != nil {
			t.Errorf("the fake of %.10s: %v, %v", text, same, err)
		}
	}
}

// cost is what a hash says about the work for it.
func cost(text string) string {
	parts := strings.Split(text, "$")
	return strings.Join(parts[:len(parts)-len(parts)/3], "$")
}

// TestEmptyKeyMatchesNobody: the comparison of an argon2id hash whose key is
// empty, or a byte, is true for any password, or for one in 256.
func TestEmptyKeyMatchesNobody(t *testing.T) {
	for _, keyPart := range []string{"", "AA", "AAAAAAAAAAAAAAAAAAAA"} { // 0, 1, 15 bytes
		if _, err := Parse("$argon2id$v=19$m=47104,t=1,p=1$P2nzckEdTZ3bxCiBCkRTyA$" + keyPart); err == nil {
			t.Errorf("a key of %d characters is accepted", len(keyPart))
		}
	}
}

func TestBadHashes(t *testing.T) {
	const salt, sum = "P2nzckEdTZ3bxCiBCkRTyA", "xQL3Z32eo5jKl7u5tcIsnEKObYiyNZQQf5/4sAau6Pg"
	good := cheapBcrypt(t, "SECRET")
	for text, want := range map[string]string{
		"":                                 "the hash is missing",
		"SECRET":                           "no bcrypt or argon2id hash",
		"{SHA}abc":                         "no bcrypt or argon2id hash",
		"$1$SECRET$aaaaaaaaaaaaaaaaaaaaaa": "no bcrypt or argon2id hash",
		"$6$SECRET$aaaaaaaaaaaaaaaaaaaaaa": "no bcrypt or argon2id hash",
		"$argon2i$v=19$m=47104,t=1,p=1$" + salt + "$" + sum: "no bcrypt or argon2id hash",
		"$argon2d$v=19$m=47104,t=1,p=1$" + salt + "$" + sum: "no bcrypt or argon2id hash",
		"$2x$" + good[4:]:           "bcrypt hash is damaged",
		"$2$" + good[4:]:            "bcrypt hash is damaged",
		good[:59]:                   "bcrypt hash is damaged",
		good + "a":                  "bcrypt hash is damaged",
		good + "\n":                 "bcrypt hash is damaged",
		good[:30] + "!" + good[31:]: "bcrypt hash is damaged",
		"$2a$03" + good[6:]:         "cost 03",
		"$2a$17" + good[6:]:         "cost 17",
		"$2a$31" + good[6:]:         "cost 31",
		"$2a$99" + good[6:]:         "cost 99",
		"$argon2id$":                "argon2id hash is damaged, or not",
		"$argon2id$v=16$m=47104,t=1,p=1$" + salt + "$" + sum:                        "argon2id hash is damaged, or not",
		"$argon2id$m=47104,t=1,p=1$" + salt + "$" + sum:                             "argon2id hash is damaged, or not",
		"$argon2id$v=19$t=1,m=47104,p=1$" + salt + "$" + sum:                        "argon2id hash is damaged, or not",
		"$argon2id$v=19$m=47104,t=1,p=1$" + salt + "$" + sum + "$":                  "argon2id hash is damaged, or not",
		"$argon2id$v=19$m=47104,t=1,p=1$" + salt + "$" + sum + "=":                  "argon2id hash is damaged, or not",
		"$argon2id$v=19$m=47104,t=0,p=1$" + salt + "$" + sum:                        "RFC 9106 does not allow",
		"$argon2id$v=19$m=47104,t=1,p=0$" + salt + "$" + sum:                        "RFC 9106 does not allow",
		"$argon2id$v=19$m=47104,t=1,p=256$" + salt + "$" + sum:                      "RFC 9106 does not allow",
		"$argon2id$v=19$m=7,t=1,p=1$" + salt + "$" + sum:                            "RFC 9106 does not allow",
		"$argon2id$v=19$m=4194304,t=1,p=1$" + salt + "$" + sum:                      "takes 4096 MiB",
		"$argon2id$v=19$m=1048577,t=1,p=1$" + salt + "$" + sum:                      "takes 1024 MiB",
		"$argon2id$v=19$m=1048576,t=5,p=1$" + salt + "$" + sum:                      "goes 5 times over 1024 MiB",
		"$argon2id$v=19$m=8,t=4294967295,p=1$" + salt + "$" + sum:                   "goes 4294967295 times",
		"$argon2id$v=19$m=4294967296,t=1,p=1$" + salt + "$" + sum:                   "out of range",
		"$argon2id$v=19$m=9999999999,t=1,p=1$" + salt + "$" + sum:                   "out of range",
		"$argon2id$v=19$m=47104,t=1,p=1$AAAA$" + sum:                                "damaged salt",
		"$argon2id$v=19$m=47104,t=1,p=1$A$" + sum:                                   "damaged salt",
		"$argon2id$v=19$m=47104,t=1,p=1$" + strings.Repeat("A", 88) + "$" + sum:     "damaged salt",
		"$argon2id$v=19$m=47104,t=1,p=1$" + salt + "$" + sum[:len(sum)-1] + "h":     "damaged key", // not canonical
		"$argon2id$v=19$m=47104,t=1,p=1$" + salt + "$" + strings.Repeat("A", 88):    "damaged key",
		"$argon2id$v=19$m=47104,t=1,p=1$" + salt + "$" + strings.Repeat("A", 1<<16): "damaged key",
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v; want %q", text, err, want)
			continue
		}
		if strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), salt) || (text != "" && strings.Contains(err.Error(), text)) {
			t.Errorf("the error repeats the hash: %v", err)
		}
	}
}

// TestTag wants a version that changes with the hash and says nothing about it.
func TestTag(t *testing.T) {
	a, err := Parse(cheapBcrypt(t, "sesame"))
	must(t, err)
	b, err := Parse(cheapBcrypt(t, "sesame"))
	must(t, err)
	again, err := Parse(a.Text())
	must(t, err)
	if a.Tag() == b.Tag() || a.Tag() != again.Tag() || len(a.Tag()) != 12 {
		t.Errorf("tags %q, %q and %q", a.Tag(), again.Tag(), b.Tag())
	}
	for i := range len(a.Tag()) - 4 {
		if strings.Contains(a.Text(), a.Tag()[i:i+5]) {
			t.Errorf("the tag %q repeats the hash", a.Tag())
		}
	}
}

// FuzzParse wants what is accepted to be computable at a bounded cost, and errors
// that do not repeat what was given.
func FuzzParse(f *testing.F) {
	f.Add("$2a$14$X3ulqf/iGxnf1k6oMZ.RZeJUoqI9PX2PM4rS5lkIKJXduLGXGPrt6")
	f.Add("$argon2id$v=19$m=47104,t=1,p=1$P2nzckEdTZ3bxCiBCkRTyA$xQL3Z32eo5jKl7u5tcIsnEKObYiyNZQQf5/4sAau6Pg")
	f.Add("$argon2id$v=19$m=16,t=1,p=2$c2l4dGVlbiBieXRlcyBvaw$c2l4dGVlbiBieXRlcyBvaw")
	f.Add("$argon2id$v=19$m=4294967295,t=4294967295,p=255$$")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := Parse(text)
		if err != nil {
			if len(text) > 8 && strings.Contains(err.Error(), text) {
				t.Fatalf("the error repeats what was given: %v", err)
			}
			return
		}
		if a := h.argon2; a != nil && uint64(a.memory)*uint64(a.passes) > maxArgon2Work {
			t.Fatalf("%d KiB, %d times", a.memory, a.passes)
		}
		if fake, err := Parse(h.Fake().Text()); err != nil || fake.Tag() == h.Tag() || cost(fake.Text()) != cost(text) {
			t.Fatalf("a fake of %q is %q: %v", text, h.Fake().Text(), err)
		}
	})
}

// TestDecoys: names choose among all costs, and choose the same again.
func TestDecoys(t *testing.T) {
	var hashes []Hash
	for _, text := range []string{cheapBcrypt(t, "a"), cheapArgon2("b"), cheapArgon2("c")} {
		h, err := Parse(text)
		must(t, err)
		hashes = append(hashes, h)
	}
	d, err := NewDecoys("test", hashes)
	must(t, err)
	again, err := NewDecoys("test", hashes)
	must(t, err)
	bcrypts := 0
	for i := range 300 {
		name := fmt.Sprint("nobody", i)
		if cost(d.For(name).Text()) != cost(again.For(name).Text()) {
			t.Fatal("another choice for the same name")
		}
		if strings.HasPrefix(d.For(name).Text(), "$2") {
			bcrypts++
		}
	}
	if bcrypts < 60 || bcrypts > 140 {
		t.Errorf("%d of 300 names cost what a third of the hashes do", bcrypts)
	}
	if none, err := NewDecoys("test", nil); err != nil || cost(none.For("x").Text()) != "$argon2id$v=19$m=47104,t=1,p=1" {
		t.Errorf("without hashes: %v", err)
	}
}
