package header

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// testNow is when the tests take place.
var testNow = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

const proxyAddr = "10.0.0.1:1234"

// behindProxy loads a login that trusts proxyAddr.
func behindProxy(t testing.TB, o options) *Login {
	t.Helper()
	all := options{"trusted_proxies": []string{"10.0.0.1"}}
	maps.Copy(all, o)
	l := mustLoad(t, all)
	l.now = func() time.Time { return testNow }
	return l
}

// TestPresets is what each product sends, as its documentation shows it.
func TestPresets(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options options
		headers []string
		want    login.Identity
	}{
		{
			"authelia",
			options{"preset": "authelia"},
			[]string{"Remote-User", "john", "Remote-Email", "john@example.com", "Remote-Name", "John Doe", "Remote-Groups", "admins,dev"},
			login.Identity{Subject: "john", Name: "John Doe", Email: "john@example.com", EmailVerified: true, Groups: []string{"admins", "dev"}},
		},
		{
			"authelia, who is in no group",
			options{"preset": "authelia"},
			[]string{"Remote-User", "john", "Remote-Email", "", "Remote-Name", "", "Remote-Groups", ""},
			login.Identity{Subject: "john"},
		},
		{
			"authentik",
			options{"preset": "authentik"},
			[]string{
				"X-authentik-username", "akadmin", "X-authentik-uid", "900347b8a298", "X-authentik-email", "root@localhost",
				"X-authentik-name", "authentik Default Admin", "X-authentik-groups", "foo|bar,baz|bar",
			},
			login.Identity{Subject: "900347b8a298", Name: "authentik Default Admin", Email: "root@localhost", EmailVerified: true, Groups: []string{"bar", "bar,baz", "foo"}},
		},
		{
			"authentik by username",
			options{"preset": "authentik", "user": "X-authentik-username", "groups": "off"},
			[]string{"X-authentik-username", "akadmin", "X-authentik-uid", "900347b8a298", "X-authentik-groups", "foo|bar"},
			login.Identity{Subject: "akadmin"},
		},
		{
			"oauth2-proxy",
			options{"preset": "oauth2-proxy"},
			[]string{"X-Forwarded-User", "auth0|5f7c", "X-Forwarded-Email", "a@example.com", "X-Forwarded-Preferred-Username", "alice", "X-Forwarded-Groups", "a, b"},
			login.Identity{Subject: "auth0|5f7c", Name: "alice", Email: "a@example.com", EmailVerified: true, Groups: []string{"a", "b"}},
		},
		{
			"cloudflare",
			options{"preset": "cloudflare"},
			[]string{"Cf-Access-Authenticated-User-Email", "a@example.com"},
			login.Identity{Subject: "a@example.com", Email: "a@example.com", EmailVerified: true},
		},
		{
			"tailscale",
			options{"preset": "tailscale"},
			[]string{"Tailscale-User-Login", "alice@example.com", "Tailscale-User-Name", "=?utf-8?q?Ferris_B=C3=BCller?="},
			login.Identity{Subject: "alice@example.com", Name: "Ferris Büller", Email: "alice@example.com", EmailVerified: true},
		},
		{
			"tailscale by GitHub",
			options{"preset": "tailscale"},
			[]string{"Tailscale-User-Login", "alice@github", "Tailscale-User-Name", "Alice"},
			login.Identity{Subject: "alice@github", Name: "Alice"},
		},
		{
			"own names",
			options{"user": "x-user", "groups": "x-groups", "groups_separator": ";"},
			[]string{"X-User", " alice ", "X-Groups", "; b; a; ;a; "},
			login.Identity{Subject: "alice", Groups: []string{"a", "b"}},
		},
		{
			"encoded words stay as they are",
			options{"user": "X-User", "name": "X-Name"},
			[]string{"X-User", "alice", "X-Name", "=?utf-8?q?=0D=0Aevil?="},
			login.Identity{Subject: "alice", Name: "=?utf-8?q?=0D=0Aevil?="},
		},
		{
			"an address with two readings is not vouched for",
			options{"user": "X-User", "email": "X-Email"},
			[]string{"X-User", "alice", "X-Email", "alice@evil.example@example.com"},
			login.Identity{Subject: "alice", Email: "alice@evil.example@example.com"},
		},
		{
			"a name in another script",
			options{"user": "X-User", "name": "X-Name"},
			[]string{"X-User", "zhang", "X-Name", "張偉"},
			login.Identity{Subject: "zhang", Name: "張偉"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			step, err := behindProxy(t, tt.options).Begin(t.Context(), request(proxyAddr, tt.headers...))
			if err != nil {
				t.Fatal(err)
			}
			tt.want.AuthTime = testNow
			if !reflect.DeepEqual(*step.Identity, tt.want) || step.Redirect != "" {
				t.Errorf("got %+v\nwant %+v", *step.Identity, tt.want)
			}
		})
	}
}

// TestHostileHeaders: what has two readings, or none, shows nobody.
func TestHostileHeaders(t *testing.T) {
	many := make([]string, 600)
	for i := range many {
		many[i] = fmt.Sprint("g", i)
	}
	for _, tt := range []struct {
		name    string
		preset  string
		headers []string
		want    string
	}{
		{"nobody", "authelia", nil, "Remote-User is missing or empty"},
		{"only an address", "authelia", []string{"Remote-Email", "a@example.com"}, "Remote-User is missing or empty"},
		{"empty", "authelia", []string{"Remote-User", ""}, "missing or empty"},
		{"blank", "authelia", []string{"Remote-User", "  "}, "missing or empty"},
		{"twice", "authelia", []string{"Remote-User", "admin", "Remote-User", "alice"}, "occurs 2 times"},
		{"twice the same", "authelia", []string{"Remote-User", "alice", "Remote-User", "alice"}, "occurs 2 times"},
		{"twice, one empty", "authelia", []string{"Remote-User", "alice", "Remote-User", ""}, "occurs 2 times"},
		{"put together on the way", "authelia", []string{"Remote-User", "admin,alice"}, "has a comma"},
		{"with a space", "authelia", []string{"Remote-User", "admin alice"}, "printable ASCII without space"},
		{"not ASCII", "authelia", []string{"Remote-User", "аdmin"}, "printable ASCII without space"},
		{"not UTF-8", "authelia", []string{"Remote-User", "a\xff"}, "not UTF-8"},
		{"tab", "authelia", []string{"Remote-User", "a\tb"}, "control characters"},
		{"line break", "authelia", []string{"Remote-User", "alice\r\nRemote-Groups: admins"}, "control characters"},
		{"zero byte", "authelia", []string{"Remote-User", "alice\x00"}, "control characters"},
		{"delete", "authelia", []string{"Remote-User", "alice\x7f"}, "control characters"},
		{"C1", "authelia", []string{"Remote-User", "alice", "Remote-Name", "a\u0085b"}, "control characters"},
		{"long subject", "authelia", []string{"Remote-User", strings.Repeat("a", 201)}, "1 to 200 characters"},
		{"very long subject", "authelia", []string{"Remote-User", strings.Repeat("a", 5000)}, "more than 1024 bytes"},
		{"long name", "authelia", []string{"Remote-User", "a", "Remote-Name", strings.Repeat("a", 5000)}, "more than 1024 bytes"},
		{"a name that turns the page around", "authelia", []string{"Remote-User", "a", "Remote-Name", "\u202eecila"}, "control characters"},
		{"two addresses", "authelia", []string{"Remote-User", "a", "Remote-Email", "a@example.com", "Remote-Email", "b@example.com"}, "Remote-Email occurs 2 times"},
		{"two lists of groups", "authelia", []string{"Remote-User", "a", "Remote-Groups", "admins", "Remote-Groups", "users"}, "Remote-Groups occurs 2 times"},
		{"a group with a line break", "authelia", []string{"Remote-User", "a", "Remote-Groups", "a\nb"}, "control characters"},
		{"too many groups", "authelia", []string{"Remote-User", "a", "Remote-Groups", strings.Join(many, ",")}, "more than 500 groups"},
		{"long groups", "authelia", []string{"Remote-User", "a", "Remote-Groups", strings.Repeat("a,", 9000)}, "more than 16384 bytes"},
		{"a long group", "authelia", []string{"Remote-User", "a", "Remote-Groups", strings.Repeat("a", 2000)}, "more than 1024 bytes"},
		{"encoded line break", "tailscale", []string{"Tailscale-User-Login", "a@b.example", "Tailscale-User-Name", "=?utf-8?q?=0D=0AX?="}, "control characters"},
		{"encoded subject", "tailscale", []string{"Tailscale-User-Login", "=?utf-8?b?YWRtaW4geA==?="}, "printable ASCII without space"},
		{"unknown charset", "tailscale", []string{"Tailscale-User-Login", "a@b.example", "Tailscale-User-Name", "=?x-evil?q?a?="}, "can't be read"},
		{"words that grow", "tailscale", []string{"Tailscale-User-Login", "a@b.example", "Tailscale-User-Name", "=?iso-8859-1?q?" + strings.Repeat("\xe9", 900) + "?="}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			step, err := behindProxy(t, options{"preset": tt.preset}).Begin(t.Context(), request(proxyAddr, tt.headers...))
			checkStep(t, step, err, false, tt.want)
		})
	}
}

func TestLongestSubject(t *testing.T) {
	step, err := behindProxy(t, options{"preset": "authelia"}).Begin(t.Context(), request(proxyAddr, "Remote-User", strings.Repeat("~", 200)))
	checkStep(t, step, err, true, "")
}

// TestNothingElse: the login neither redirects nor forgets.
func TestNothingElse(t *testing.T) {
	l := behindProxy(t, options{"preset": "authelia"})
	if step, err := l.Finish(t.Context(), request(proxyAddr, "Remote-User", "alice")); !errors.Is(err, login.ErrDenied) || step.Identity != nil {
		t.Errorf("Finish: %+v, %v", step, err)
	}
	if step, err := l.Begin(t.Context(), login.Request{}); !errors.Is(err, login.ErrDenied) || step.Identity != nil {
		t.Errorf("Begin without a request: %+v, %v", step, err)
	}
	id := login.Identity{Subject: "alice", Groups: []string{"a"}, AuthTime: testNow}
	if got, err := l.Recheck(t.Context(), id); err != nil || !reflect.DeepEqual(got, id) {
		t.Errorf("Recheck: %+v, %v", got, err)
	}
}

// FuzzHeaders: whatever comes, there is a valid identity or a denial.
func FuzzHeaders(f *testing.F) {
	f.Add("Remote-User", "alice", "a@example.com", "Alice", "a,b")
	f.Add("Remote_User", "alice\r\n", "a@b@c", "=?utf-8?q?=00?=", "\xff|")
	f.Add("remote-user", "", "", "\u202e", strings.Repeat(",", 100))
	var logins []*Login
	for _, preset := range []string{"authelia", "authentik", "tailscale", "oauth2-proxy"} {
		logins = append(logins, behindProxy(f, options{"preset": preset}))
	}
	f.Fuzz(func(t *testing.T, spelling, user, email, name, groups string) {
		for _, l := range logins {
			r := request(proxyAddr)
			for header, value := range map[string]string{l.fields.user: user, l.fields.email: email, l.fields.name: name, l.fields.groups: groups} {
				if header != "" {
					r.HTTP.Header[header] = []string{value}
				}
			}
			_, own := r.HTTP.Header[spelling]
			r.HTTP.Header[spelling] = append(r.HTTP.Header[spelling], user)
			step, err := l.Begin(t.Context(), r)
			if err != nil {
				if !errors.Is(err, login.ErrDenied) || step.Identity != nil {
					t.Fatalf("%+v, %v", step, err)
				}
				continue
			}
			if _, watched := l.watched[fold(spelling)]; own || watched {
				t.Fatalf("header %q was accepted", spelling)
			}
			checkIdentity(t, *step.Identity)
		}
	})
}

// checkIdentity holds an identity to the contract.
func checkIdentity(t *testing.T, id login.Identity) {
	t.Helper()
	printable := func(s string) bool {
		return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) && len(s) <= maxValue
	}
	if id.Subject == "" || len(id.Subject) > 200 || strings.ContainsFunc(id.Subject, func(c rune) bool { return c <= ' ' || c > '~' }) {
		t.Errorf("subject %q", id.Subject)
	}
	if !printable(id.Name) || !printable(id.Email) || id.AuthTime.IsZero() {
		t.Errorf("identity %+v", id)
	}
	if id.EmailVerified && strings.Count(id.Email, "@") != 1 {
		t.Errorf("address %q is vouched for", id.Email)
	}
	if len(id.Groups) > maxGroups || slices.Contains(id.Groups, "") || slices.ContainsFunc(id.Groups, func(g string) bool { return !printable(g) }) {
		t.Errorf("groups %q", id.Groups)
	}
}

func TestFold(t *testing.T) {
	for _, name := range []string{"Remote-User", "remote_user", "REMOTE.USER", "Remote User", "Remote\u2010User"} {
		if got := fold(name); got != "remote-user" {
			t.Errorf("fold(%q) = %q", name, got)
		}
	}
	if name := http.CanonicalHeaderKey("x-authentik-uid"); name != presets["authentik"].user {
		t.Errorf("presets must be canonical, such as %s", name)
	}
	for preset, p := range presets {
		for _, name := range []string{p.user, p.email, p.name, p.groups, p.jwt} {
			if name != http.CanonicalHeaderKey(name) {
				t.Errorf("%s: %s is not canonical", preset, name)
			}
		}
	}
}
