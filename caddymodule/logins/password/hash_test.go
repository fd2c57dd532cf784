package password

import (
	"io"
	"os"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// hashPassword runs `caddy hash-password`.
func hashPassword(t *testing.T, args ...string) string {
	t.Helper()
	registered, ok := caddycmd.Commands()["hash-password"]
	if !ok {
		t.Fatal("caddy has no hash-password command any more")
	}
	r, w, err := os.Pipe()
	must(t, err)
	stdout := os.Stdout
	os.Stdout = w
	cmd := &cobra.Command{Use: "hash-password"}
	registered.CobraFunc(cmd)
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	os.Stdout = stdout
	must(t, err)
	must(t, w.Close())
	out, err := io.ReadAll(r)
	must(t, err)
	return strings.TrimSpace(string(out))
}

// TestHashPasswordCommand wants what Caddy's own command prints to be what this
// module takes.
func TestHashPasswordCommand(t *testing.T) {
	const typed = "correct horse battery staple, and more of it than one would ever type by hand"
	for name, tt := range map[string]struct {
		args []string
		weak bool
	}{
		"argon2id":         {args: []string{"--algorithm", "argon2id", "--plaintext", typed}},
		"argon2id, long":   {args: []string{"--algorithm", "argon2id", "--plaintext", typed + typed + typed}},
		"argon2id, tuned":  {args: []string{"--algorithm", "argon2id", "--argon2id-time", "3", "--argon2id-memory", "16384", "--argon2id-threads", "2", "--argon2id-keylen", "24", "--plaintext", typed}},
		"argon2id, cheap":  {args: []string{"--algorithm", "argon2id", "--argon2id-memory", "8192", "--plaintext", typed}, weak: true},
		"bcrypt":           {args: []string{"--algorithm", "bcrypt", "--bcrypt-cost", "10", "--plaintext", typed[:72]}},
		"bcrypt, cheapest": {args: []string{"--algorithm", "bcrypt", "--bcrypt-cost", "4", "--plaintext", typed[:72]}, weak: true},
	} {
		t.Run(name, func(t *testing.T) {
			right := tt.args[len(tt.args)-1]
			h, err := parseHash(hashPassword(t, tt.args...))
			must(t, err)
			if h.weak != tt.weak {
				t.Errorf("weak is %v", h.weak)
			}
			for password, want := range map[string]bool{right: true, right[:len(right)-1]: false} {
				if got, err := h.matches(password); err != nil || got != want {
					t.Errorf("matches with %d bytes: %v, %v; want %v", len(password), got, err, want)
				}
			}
		})
	}
}

// TestDefaultHashes wants the hashes of Caddy's defaults to be no weak ones. They
// are the ones that Caddy compares with where there is no user.
func TestDefaultHashes(t *testing.T) {
	for _, text := range []string{
		"$2a$14$X3ulqf/iGxnf1k6oMZ.RZeJUoqI9PX2PM4rS5lkIKJXduLGXGPrt6",
		"$argon2id$v=19$m=47104,t=1,p=1$P2nzckEdTZ3bxCiBCkRTyA$xQL3Z32eo5jKl7u5tcIsnEKObYiyNZQQf5/4sAau6Pg",
	} {
		h, err := parseHash(text)
		must(t, err)
		if h.weak {
			t.Errorf("%.10s is called weak", text)
		}
	}
}

// TestBcryptIgnoresNothing: bcrypt looks at 72 bytes. A longer password that
// begins like the right one must not do, as all that follows would be for show.
func TestBcryptIgnoresNothing(t *testing.T) {
	right := strings.Repeat("a", 72)
	for _, version := range []string{"$2a$", "$2b$", "$2y$"} {
		h, err := parseHash(version + cheapBcrypt(t, right)[4:])
		must(t, err)
		for password, want := range map[string]bool{right: true, right + "b": false, right[:71]: false} {
			if got, err := h.matches(password); err != nil || got != want {
				t.Errorf("%s, %d bytes: %v, %v; want %v", version, len(password), got, err, want)
			}
		}
	}
}

// TestFakeHashes wants a fake to parse, to cost the same, and never to match.
func TestFakeHashes(t *testing.T) {
	for _, text := range []string{cheapBcrypt(t, "sesame"), cheapArgon2("sesame")} {
		h, err := parseHash(text)
		must(t, err)
		fake, err := parseHash(h.fake().text)
		must(t, err)
		if cost(fake.text) != cost(text) || len(fake.text) != len(text) || fake.text == text {
			t.Errorf("a fake of another cost: %.20s and %.20s", fake.text, text)
		}
		if same, err := h.fake().matches("sesame"); same || err != nil {
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
		if _, err := parseHash("$argon2id$v=19$m=47104,t=1,p=1$P2nzckEdTZ3bxCiBCkRTyA$" + keyPart); err == nil {
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
		_, err := newAccount(User{Username: "alice", Hash: text})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "user alice: ") {
			t.Errorf("%.40q: %v; want user alice and %q", text, err, want)
			continue
		}
		if strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), salt) || (text != "" && strings.Contains(err.Error(), text)) {
			t.Errorf("the error repeats the hash: %v", err)
		}
	}
}

// TestTag wants a version that changes with the hash and says nothing about it.
func TestTag(t *testing.T) {
	a, err := parseHash(cheapBcrypt(t, "sesame"))
	must(t, err)
	b, err := parseHash(cheapBcrypt(t, "sesame"))
	must(t, err)
	again, err := parseHash(a.text)
	must(t, err)
	if a.tag() == b.tag() || a.tag() != again.tag() || len(a.tag()) != 12 {
		t.Errorf("tags %q, %q and %q", a.tag(), again.tag(), b.tag())
	}
	for i := range len(a.tag()) - 4 {
		if strings.Contains(a.text, a.tag()[i:i+5]) {
			t.Errorf("the tag %q repeats the hash", a.tag())
		}
	}
}
