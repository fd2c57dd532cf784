package password

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/passhash"
)

func TestSignIn(t *testing.T) {
	r := newRig(t, alice(t), User{Username: "Bob.B+1@example.com", Hash: cheapArgon2("sesame")})
	want := login.Identity{
		Subject: "alice", Name: "Alice Example", Email: "alice@example.com", EmailVerified: true,
		Groups: []string{"leads", "support"}, AuthTime: r.clock(), Version: r.people.Load().accounts["alice"].version,
	}
	for _, typed := range []string{"alice", "Alice", "ALICE", " alice\t"} {
		if got := r.in(typed, "sesame", home); !reflect.DeepEqual(*got, want) {
			t.Errorf("%q: %+v, want %+v", typed, *got, want)
		}
	}
	bob := r.in("bob.b+1@EXAMPLE.com", "sesame", home)
	if bob.Subject != "Bob.B+1@example.com" || bob.Email != "" || bob.EmailVerified || bob.Groups != nil {
		t.Errorf("bob is %+v", bob)
	}
	for i, password := range []string{"Sesame", "sesame ", " sesame", "sesam", "sesame\x00", "sesame\n"} {
		r.wrong("alice", password, address(i))
	}
	// The Kelvin sign has a lower-case k in ASCII.
	must(t, r.use([]*account{mustAccount(t, User{Username: "kay", Hash: cheapArgon2("sesame")})}))
	r.wrong("\u212aay", "sesame", home)
	r.in("KAY", "sesame", home)
}

func mustAccount(t *testing.T, u User) *account {
	t.Helper()
	a, err := newAccount(u)
	must(t, err)
	return a
}

// TestIdentityIsACopy wants what a caller does to an identity to stay there.
func TestIdentityIsACopy(t *testing.T) {
	r := newRig(t, alice(t))
	r.in("alice", "sesame", home).Groups[0] = "admins"
	if got := r.in("alice", "sesame", home).Groups[0]; got != "leads" {
		t.Errorf("the group is now %q", got)
	}
}

func TestInfo(t *testing.T) {
	r := newRig(t, alice(t))
	info := r.Info()
	if info.ID != "password" || info.Namespace != "" || info.Open || info.Ambient || info.Unattended || len(info.Fields) != 2 {
		t.Fatalf("%+v", info)
	}
	if f := info.Fields[0]; f.Name != "username" || f.Secret || f.Autocomplete != "username" {
		t.Errorf("%+v", f)
	}
	if f := info.Fields[1]; f.Name != "password" || !f.Secret || f.Autocomplete != "current-password" {
		t.Errorf("%+v", f)
	}
	if _, err := r.Finish(t.Context(), login.Request{}); !errors.Is(err, login.ErrDenied) {
		t.Errorf("Finish: %v", err)
	}
}

// TestEqualWork (SPEC O44): whether there is such a user, whether they are
// disabled, and whether the password is right, each attempt computes exactly one
// hash of the same cost. What is refused beforehand is refused for everybody.
func TestEqualWork(t *testing.T) {
	bob := User{Username: "bob", Hash: cheapBcrypt(t, "sesame"), Disabled: true}
	r := newRig(t, alice(t), bob)
	want := cost(alice(t).Hash)
	for _, user := range []string{"alice", "bob", "nobody", "no one", strings.Repeat("x", 1000), "\xff\xfe", "alice|"} {
		for i, password := range []string{"wrong", "sesame", strings.Repeat("p", maxPassword)} {
			before := r.work()
			id, err := r.try(user, password, fmt.Sprintf("192.0.2.%d", i))
			if user == "alice" && password == "sesame" {
				must(t, err)
			} else if !errors.Is(err, login.ErrRejected) || id != nil || err.Error() != login.ErrRejected.Error() {
				t.Errorf("%.20q, %.10s: %v, %v", user, password, id, err)
			}
			if n := r.work() - before; n != 1 {
				t.Errorf("%.20q, %.10s: %d hashes", user, password, n)
			} else if got := cost(r.hashed[before]); got != want {
				t.Errorf("%.20q, %.10s: the cost is %s, want %s", user, password, got, want)
			}
		}
		before := r.work()
		for _, password := range []string{"", strings.Repeat("p", maxPassword+1)} {
			if _, err := r.try(user, password, home); !errors.Is(err, login.ErrRejected) {
				t.Errorf("%.20q with %d bytes: %v", user, len(password), err)
			}
		}
		if n := r.work() - before; n != 0 {
			t.Errorf("%.20q: %d hashes for what can't be a password", user, n)
		}
	}
	for _, h := range r.hashed[3:] { // alice's own were the first three
		if h == r.people.Load().accounts["alice"].hash.Text() {
			t.Error("another's password was compared with alice's hash")
		}
	}
}

// TestNobodysCost: where users have hashes of different costs, names that nobody
// has get the same mixture, and one name has always the same cost: after a
// restart too, or else two measurements would tell.
func TestNobodysCost(t *testing.T) {
	users := []User{}
	for i := range 30 {
		u := User{Username: fmt.Sprint("u", i), Hash: cheapArgon2("sesame")}
		if i%3 == 0 {
			u.Hash = cheapBcrypt(t, "sesame")
		}
		users = append(users, u)
	}
	first, second := newRig(t, users...), newRig(t, users...)
	const names = 3000
	bcrypts := 0
	for i := range names {
		name := fmt.Sprint("nobody", i)
		_, a := first.people.Load().find(name)
		_, b := second.people.Load().find(name)
		if cost(a.Text()) != cost(b.Text()) {
			t.Fatalf("%s has another cost after a restart", name)
		}
		if strings.HasPrefix(a.Text(), "$2") {
			bcrypts++
		}
	}
	if bcrypts < names/4 || bcrypts > names/2 {
		t.Errorf("%d of %d names cost what a third of the users do", bcrypts, names)
	}
}

// TestNoUsersAtAll wants an empty list to be no shortcut either.
func TestNoUsersAtAll(t *testing.T) {
	r := newRig(t, alice(t))
	r.configured = nil
	must(t, r.use(nil))
	r.wrong("alice", "sesame", home)
	if got := cost(r.hashed[0]); got != "$argon2id$v=19$m=47104,t=1,p=1" {
		t.Errorf("the cost is %s", got)
	}
}

// TestLookup: the users are known without their help, as a sign-in would have
// them.
func TestLookup(t *testing.T) {
	gone := User{Username: "gone", Hash: cheapArgon2("sesame"), Disabled: true}
	r := newRig(t, alice(t), gone)
	want := *r.in("alice", "sesame", home)
	want.AuthTime = time.Time{}
	if got, err := r.Lookup(t.Context(), "alice"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, subject := range []string{"gone", "nobody", "Alice", " alice", ""} {
		if got, err := r.Lookup(t.Context(), subject); !errors.Is(err, login.ErrDenied) || !reflect.ValueOf(got).IsZero() {
			t.Errorf("%q: %+v, %v", subject, got, err)
		}
	}
}

// TestRecheck wants a session to follow what is known about the person today.
func TestRecheck(t *testing.T) {
	r := newRig(t, alice(t))
	id := *r.in("alice", "sesame", home)
	r.pass(time.Hour)
	with := func(change func(u *User)) []User {
		u := alice(t)
		u.Hash = r.people.Load().accounts["alice"].hash.Text()
		change(&u)
		return []User{u}
	}
	other := User{Username: "other", Hash: cheapArgon2("sesame")}
	for name, tt := range map[string]struct {
		users  []User
		denied string
	}{
		"as before":         {users: with(func(*User) {})},
		"moved":             {users: with(func(u *User) { u.Email, u.Name, u.Groups = "a@example.org", "A", []string{"x"} })},
		"nothing known":     {users: with(func(u *User) { u.Email, u.Name, u.Groups = "", "", nil })},
		"another password":  {users: []User{alice(t)}, denied: "another password"},
		"disabled":          {users: with(func(u *User) { u.Disabled = true }), denied: "disabled"},
		"removed":           {users: []User{other}, denied: "no such user"},
		"written otherwise": {users: with(func(u *User) { u.Username = "Alice" }), denied: "no such user"},
	} {
		t.Run(name, func(t *testing.T) {
			now := newRig(t, tt.users...)
			got, err := now.Recheck(t.Context(), id)
			if tt.denied != "" {
				if !errors.Is(err, login.ErrDenied) || !strings.Contains(err.Error(), tt.denied) || !reflect.ValueOf(got).IsZero() {
					t.Fatalf("%+v, %v; want denied, %s", got, err, tt.denied)
				}
				return
			}
			must(t, err)
			u := tt.users[0]
			if got.Email != u.Email || got.EmailVerified != (u.Email != "") || got.Name != u.Name || !slices.Equal(got.Groups, u.Groups) ||
				got.Subject != "alice" || got.Version != id.Version || !got.AuthTime.Equal(id.AuthTime) {
				t.Errorf("%+v", got)
			}
			if now.work() != 0 {
				t.Error("a hash was computed")
			}
		})
	}
	for _, forged := range []login.Identity{{}, {Subject: "alice"}, {Subject: "ALICE", Version: id.Version}, {Subject: "other", Version: id.Version}} {
		if _, err := r.Recheck(t.Context(), forged); !errors.Is(err, login.ErrDenied) {
			t.Errorf("%+v: %v", forged, err)
		}
	}
}

// TestDisabledWhileHashing: who is shut out at a time when their password is
// being compared does not slip in.
func TestDisabledWhileHashing(t *testing.T) {
	r := newRig(t, alice(t), User{Username: "bob", Hash: cheapArgon2("sesame")})
	r.during = func() {
		gone := *r.configured[0] // as in a file that is read again, the entry is another
		gone.Disabled = true
		r.configured = []*account{&gone, r.configured[1]}
		must(t, r.use(nil))
	}
	r.wrong("alice", "sesame", home)
}

// TestFaultIsNoVerdict: a hash that can't be computed says nothing about the
// person, and does not count as a guess.
func TestFaultIsNoVerdict(t *testing.T) {
	r := newRig(t, alice(t))
	r.compare = func(passhash.Hash, string) (bool, error) { return true, errors.New("out of order") }
	for range 3 * pairPolicy.free {
		id, err := r.try("alice", "sesame", home)
		if id != nil || err == nil || errors.Is(err, login.ErrRejected) || errors.Is(err, login.ErrDenied) || waitOf(err) != 0 {
			t.Fatalf("%v, %v", id, err)
		}
	}
}
