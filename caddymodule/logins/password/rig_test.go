package password

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/passhash"
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

// rig is a login whose clock and whose hashing a test can see and move.
type rig struct {
	*Login
	t *testing.T

	mu     sync.Mutex
	time   time.Time
	hashed []string // what every computation was compared with
	during func()   // runs in every computation, unless nil
}

// newRig provisions a login with these users, and lets go of it at the end.
func newRig(t *testing.T, users ...User) *rig {
	t.Helper()
	r := &rig{t: t, Login: &Login{Users: users}, time: time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)}
	r.provision()
	return r
}

// provision provisions the login as the host does.
func (r *rig) provision() {
	r.t.Helper()
	r.now, r.log = r.clock, zap.NewNop()
	r.compare = func(h passhash.Hash, password string) (bool, error) {
		r.mu.Lock()
		r.hashed = append(r.hashed, h.Text())
		during := r.during
		r.mu.Unlock()
		if during != nil {
			during()
		}
		return h.Matches(password)
	}
	must(r.t, r.Provision(newContext(r.t)))
	r.t.Cleanup(func() { must(r.t, r.Cleanup()) })
}

// newContext stands for one configuration.
func newContext(t *testing.T) caddy.Context {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	return ctx
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.time
}

// pass lets time go by.
func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.time = r.time.Add(d)
}

// work counts the hashes that were computed so far.
func (r *rig) work() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.hashed)
}

// try signs in.
func (r *rig) try(user, password, ip string) (*login.Identity, error) {
	return r.tryIn(r.t.Context(), user, password, ip)
}

func (r *rig) tryIn(ctx context.Context, user, password, ip string) (*login.Identity, error) {
	return r.begin(ctx, user, password, login.Request{RemoteIP: ip})
}

// begin signs in, from where the request says.
func (r *rig) begin(ctx context.Context, user, password string, from login.Request) (*login.Identity, error) {
	from.Form = map[string]string{"username": user, "password": password}
	step, err := r.Begin(ctx, from)
	return step.Identity, err
}

// in wants a sign-in to succeed.
func (r *rig) in(user, password, ip string) *login.Identity {
	r.t.Helper()
	id, err := r.try(user, password, ip)
	if err != nil {
		r.t.Fatalf("%s from %q: %v", user, ip, err)
	}
	return id
}

// wrong wants a sign-in to be rejected, after a comparison.
func (r *rig) wrong(user, password, ip string) {
	r.t.Helper()
	before := r.work()
	if id, err := r.try(user, password, ip); !errors.Is(err, login.ErrRejected) || id != nil {
		r.t.Fatalf("%s from %q: %v, %v; want ErrRejected", user, ip, id, err)
	}
	if n := r.work() - before; n != 1 {
		r.t.Fatalf("%s from %q: %d hashes were computed, want 1", user, ip, n)
	}
}

// throttled wants a sign-in to be throttled, without any work, and returns how
// long to wait.
func (r *rig) throttled(user, password, ip string) time.Duration {
	r.t.Helper()
	before := r.work()
	_, err := r.try(user, password, ip)
	wait := waitOf(err)
	if wait <= 0 {
		r.t.Fatalf("%s from %q: %v; want a ThrottledError", user, ip, err)
	}
	if n := r.work() - before; n != 0 {
		r.t.Fatalf("%s from %q: %d hashes were computed for a throttled attempt", user, ip, n)
	}
	return wait
}

// waitOf returns what a ThrottledError asks for, or 0.
func waitOf(err error) time.Duration {
	if e, ok := errors.AsType[*login.ThrottledError](err); ok {
		return e.RetryAfter
	}
	return 0
}

// alice is the user of most tests.
func alice(t testing.TB) User {
	return User{
		Username: "alice", Hash: cheapBcrypt(t, "sesame"), Email: "alice@example.com",
		Name: "Alice Example", Groups: []string{"leads", "support"},
	}
}

const home, elsewhere = "192.0.2.10", "198.51.100.7"

// secretFree wants a text that people may see to hold no part of a hash.
func secretFree(t testing.TB, text string) {
	t.Helper()
	for _, mark := range []string{"$2", "$argon2id", "sesame", "SECRET"} {
		if strings.Contains(text, mark) {
			t.Errorf("%q has %q in it", text, mark)
		}
	}
}

// write writes a file in place.
func write(t testing.TB, path, content string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o600))
}
