package password

import (
	"io"
	"os"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth" // registers hash-password
	"github.com/spf13/cobra"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/passhash"
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
			h, err := passhash.Parse(hashPassword(t, tt.args...))
			must(t, err)
			if h.Weak() != tt.weak {
				t.Errorf("weak is %v", h.Weak())
			}
			for password, want := range map[string]bool{right: true, right[:len(right)-1]: false} {
				if got, err := h.Matches(password); err != nil || got != want {
					t.Errorf("matches with %d bytes: %v, %v; want %v", len(password), got, err, want)
				}
			}
		})
	}
}

// cost is what a hash says about the work for it.
func cost(text string) string {
	parts := strings.Split(text, "$")
	return strings.Join(parts[:len(parts)-len(parts)/3], "$")
}

// TestErrorsNameTheUser wants the name with a bad hash, and not the hash.
func TestErrorsNameTheUser(t *testing.T) {
	_, err := newAccount(User{Username: "alice", Hash: "SECRET"})
	if err == nil || !strings.HasPrefix(err.Error(), "user alice: this is no bcrypt or argon2id hash") || strings.Contains(err.Error(), "SECRET") {
		t.Error(err)
	}
}
