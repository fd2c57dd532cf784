package oidc

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestSubject: the subject is what no other person of the provider ever gets,
// and nothing that could break what it is written into (SPEC F38, O41).
func TestSubject(t *testing.T) {
	r := newRogue(t)
	long := strings.Repeat("s", maxSubject)
	for _, sub := range []any{"alice", "google-oauth2|123", "248289761001", long, "a@b"} {
		r.claims["sub"] = sub
		if id := r.accepted(r.login()); id.Subject != sub {
			t.Errorf("subject %q, want %q", id.Subject, sub)
		}
	}
	for _, sub := range []any{
		nil, "", " ", "alice smith", "alice\n", "alice\r\nX: y", "\x00", "alice\u00a0", "álice", "\u202ealice", "\x7f", long + "s",
		7, true,
		[]string{"alice"},
		map[string]any{},
	} {
		r.claims["sub"] = sub
		r.refused(r.login(), "")
	}
}

// TestSubjectOfAnotherClaim: another claim can be the subject, but none that
// people choose themselves (SPEC F38: never key people on their address).
func TestSubjectOfAnotherClaim(t *testing.T) {
	r := newRogue(t)
	r.claims["oid"] = "00000000-1111"
	subject := func(claim string) map[string]string { return map[string]string{"subject": claim} }
	if id := r.accepted(r.login("claims", subject("oid"))); id.Subject != "00000000-1111" {
		t.Errorf("subject %s", id.Subject)
	}
	r.refused(r.login("claims", subject("uid")), "uid")
	for _, claim := range []string{"email", "EMAIL", "upn", "preferred_username", "name", "unique_name"} {
		_, err := load(t, map[string]any{"issuer": r.URL, "client_id": "x", "claims": subject(claim)})
		if err == nil || !strings.Contains(err.Error(), "another person") {
			t.Errorf("claim subject %s: %v", claim, err)
		}
	}
}

// TestEmailVerified: rules look at addresses that somebody vouches for (SPEC
// F38).
func TestEmailVerified(t *testing.T) {
	const address = "alice@example.com"
	for _, tt := range []struct {
		mode, claim string
		email       any
		says        any
		want        string // - for no address, ! for verified, x for refused
	}{
		{"", "", address, true, "!"},
		{"", "", address, "true", "!"},
		{"", "", address, false, ""},
		{"", "", address, "false", ""},
		{"", "", address, nil, ""},
		{"", "", address, 1, ""},
		{"", "", address, "True", ""},
		{"claim", "", address, true, "!"},
		{"require", "", address, true, "!"},
		{"require", "", address, false, "x"},
		{"require", "", address, nil, "x"},
		{"require", "", nil, true, "x"},
		{"trust", "", address, nil, "!"},
		{"trust", "", address, true, "!"},
		{"trust", "", address, false, ""},
		{"trust", "", nil, nil, "-"},
		// email_verified speaks of email only.
		{"", "upn", address, true, ""},
		{"trust", "upn", address, nil, "!"},
		// What is no address is none.
		{"", "", "alice", true, "-"},
		{"", "", "@example.com", true, "-"},
		{"", "", "alice@", true, "-"},
		{"", "", "al ice@example.com", true, "-"},
		{"", "", "alice@example.com\r\nBcc: x", true, "-"},
		{"", "", strings.Repeat("a", maxEmail) + "@example.com", true, "-"},
		{"", "", []string{address}, true, "-"},
	} {
		r := newRogue(t)
		claim := tt.claim
		if claim == "" {
			claim = "email"
		}
		r.claims[claim], r.claims["email_verified"] = tt.email, tt.says
		l := r.login("email_verified", tt.mode, "claims", map[string]string{"email": tt.claim})
		if tt.want == "x" {
			r.refused(l, "verified e-mail")
			continue
		}
		id := r.accepted(l)
		if tt.want == "-" != (id.Email == "") || tt.want == "!" != id.EmailVerified {
			t.Errorf("%+v: address %q, verified %t", tt, id.Email, id.EmailVerified)
		}
	}
}

// TestHostedDomain: an account of another domain, or of none, does not get in,
// whatever its address is (SPEC F38).
func TestHostedDomain(t *testing.T) {
	r := newRogue(t)
	r.claims["email"], r.claims["email_verified"] = "mallory@example.com", true
	l := r.login("hosted_domains", []string{"Example.com"})
	if l.Info().Open {
		t.Error("a pinned domain is not open to anyone")
	}
	for _, hd := range []any{nil, "", "evil.example", "example.com.evil.example", []string{"example.com"}, true} {
		r.claims["hd"] = hd
		r.refused(l, "hd")
	}
	r.claims["hd"] = "example.com"
	r.accepted(l)
	if r.asked.Get("hd") != "example.com" {
		t.Errorf("hint %q", r.asked.Get("hd"))
	}
	r.accepted(r.login("hosted_domains", []string{"example.com", "example.org"}))
	if r.asked.Get("hd") != "*" {
		t.Errorf("hint %q", r.asked.Get("hd"))
	}
}

// TestTenant: the same for a tenant (SPEC F38).
func TestTenant(t *testing.T) {
	r := newRogue(t)
	l := r.login("tenants", []string{ours})
	for _, tid := range []any{nil, "", evils, []string{ours}, ours + " "} {
		r.claims["tid"] = tid
		r.refused(l, "tid")
	}
	r.claims["tid"] = ours
	if id := r.accepted(l); id.Subject != "alice" || l.Info().Open {
		t.Errorf("subject %s, info %+v", id.Subject, l.Info())
	}
}

// TestUserinfoCannotPin: what is not signed does not get anybody in.
func TestUserinfoCannotPin(t *testing.T) {
	r := newRogue(t)
	r.serve["/userinfo"] = func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, 200, map[string]any{"sub": "alice", "hd": "example.com", "tid": ours})
	}
	r.refused(r.login("userinfo", true, "hosted_domains", []string{"example.com"}), "hd")
	r.refused(r.login("userinfo", true, "tenants", []string{ours}), "tid")
}

// TestGroups: how many shapes groups come in.
func TestGroups(t *testing.T) {
	many := func(n int) []string { return slices.Repeat([]string{"g"}, n) }
	for _, tt := range []struct {
		claim string // where; default groups
		value any
		want  []string
		bad   bool
	}{
		{"", nil, nil, false},
		{"", "admin", []string{"admin"}, false},
		{"", []string{"a", "b"}, []string{"a", "b"}, false},
		{"", []string{}, []string{}, false},
		{"", []string{"a", ""}, []string{"a"}, false},
		{"", many(maxGroups), many(maxGroups), false},
		{"", many(maxGroups + 1), nil, true},
		{"", []string{strings.Repeat("g", maxGroup+1)}, nil, true},
		{"", []any{"a", 7}, nil, true},
		{"", []any{[]string{"a"}}, nil, true},
		{"", map[string]any{"admin": true}, nil, true},
		{"", true, nil, true},
		{"", []string{"a\nb"}, nil, true},
		{"roles", []string{"a"}, []string{"a"}, false},
		{"https://example.com/roles", []string{"a"}, []string{"a"}, false},
	} {
		r := newRogue(t)
		claim := tt.claim
		if claim == "" {
			claim = "groups"
		}
		r.claims[claim] = tt.value
		l := r.login("claims", map[string]string{"groups": tt.claim})
		if tt.bad {
			r.refused(l, "the claim groups")
			continue
		}
		if id := r.accepted(l); !slices.Equal(id.Groups, tt.want) {
			t.Errorf("%v: groups %q", tt.value, id.Groups)
		}
	}
}

// TestNestedClaims: Keycloak keeps roles in an object, and names may have dots.
func TestNestedClaims(t *testing.T) {
	c, err := parseClaims([]byte(`{
		"realm_access": {"roles": ["a"]}, "resource_access": {"my.client": {"roles": ["b"]}, "my": {"client": {"other": "d"}}},
		"https://example.com/x.y": "c", "text": "t", "none": null
	}`))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"realm_access.roles":              `["a"]`,
		"resource_access.my.client.roles": `["b"]`,
		"resource_access.my.client.other": `"d"`,
		"https://example.com/x.y":         `"c"`,
		"text":                            `"t"`,
		"text.t":                          `null`,
		"realm_access.":                   `null`,
		".realm_access":                   `null`,
		"realm_access.roles.0":            `null`,
		"none":                            `null`,
		"":                                `null`,
		"...":                             `null`,
	} {
		if got := toJSON(t, c.find(path)); got != want {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
	}
}

// TestGroupsLeftOut: Entra leaves groups out of people who have many. They count
// as having none, and the log says so once.
func TestGroupsLeftOut(t *testing.T) {
	r := newRogue(t)
	r.serve["/evil"] = func(http.ResponseWriter, *http.Request) { t.Error("the canary was asked for") }
	l := r.login()
	core, logs := observer.New(zap.WarnLevel)
	l.logger = zap.New(core)
	r.accepted(l)
	if logs.Len() > 0 {
		t.Errorf("log %v", logs.All())
	}
	r.claims["_claim_names"] = map[string]string{"groups": "src1"}
	r.claims["_claim_sources"] = map[string]any{"src1": map[string]string{"endpoint": r.URL + "/evil"}}
	for range 3 {
		if id := r.accepted(l); len(id.Groups) > 0 || !id.GroupsUnknown {
			t.Errorf("groups %q, unknown %t", id.Groups, id.GroupsUnknown)
		}
	}
	if logs.Len() != 1 || !strings.Contains(logs.All()[0].Message, "groups") {
		t.Errorf("log %v", logs.All())
	}
}

// TestUserinfo: the endpoint adds what the ID token leaves out.
func TestUserinfo(t *testing.T) {
	r := newRogue(t)
	info := map[string]any{"sub": "alice", "name": "Alice", "email": "alice@example.com", "email_verified": true, "groups": "dev", "auth_time": 1}
	r.serve["/userinfo"] = func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "Bearer "+testAccess {
			t.Error("no access token came")
		}
		writeJSON(w, 200, info)
	}
	id := r.accepted(r.login("userinfo", true))
	if id.Name != "Alice" || id.Email != "alice@example.com" || !id.EmailVerified || !slices.Equal(id.Groups, []string{"dev"}) || id.AuthTime.Unix() == 1 {
		t.Errorf("identity %+v", id)
	}
	// What is signed wins, and nobody vouches for another address than theirs.
	r.claims["name"], r.claims["email"] = "Bob", "bob@example.com"
	if id := r.accepted(r.login("userinfo", true)); id.Name != "Bob" || id.Email != "bob@example.com" || id.EmailVerified {
		t.Errorf("identity %+v", id)
	}
	r.claims["email"] = "alice@example.com"
	if id := r.accepted(r.login("userinfo", true)); !id.EmailVerified {
		t.Errorf("identity %+v", id)
	}
}

// TestUserinfoOfAnotherPerson: an answer about somebody else is not mixed in
// (SPEC F38; OpenID Connect Core §5.3.2).
func TestUserinfoOfAnotherPerson(t *testing.T) {
	r := newRogue(t)
	for _, sub := range []any{"bob", "", nil, "Alice", 7} {
		r.serve["/userinfo"] = func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, 200, map[string]any{"sub": sub, "name": "Bob"})
		}
		r.refused(r.login("userinfo", true), "another person")
	}
}

// TestUserinfoBroken: an outage, and not the person's fault.
func TestUserinfoBroken(t *testing.T) {
	for name, serve := range map[string]http.HandlerFunc{
		"error": func(w http.ResponseWriter, req *http.Request) {
			http.Error(w, req.Header.Get("Authorization"), http.StatusInternalServerError)
		},
		"refused": func(w http.ResponseWriter, req *http.Request) {
			http.Error(w, req.Header.Get("Authorization"), http.StatusUnauthorized)
		},
		"garbage": func(w http.ResponseWriter, req *http.Request) {
			_, _ = w.Write([]byte(req.Header.Get("Authorization")))
		},
		"null":  func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, nil) },
		"twice": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"sub":"bob","sub":"alice"}`)) },
		"away": func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "http://localhost/", http.StatusFound)
		},
		"signed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/jwt; charset=utf-8")
			_, _ = w.Write([]byte("eyJ.e30."))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRogue(t)
			r.serve["/userinfo"] = serve
			reason := "userinfo"
			if name == "signed" {
				reason = "signs its answer"
			}
			r.down(r.login("userinfo", true), reason)
		})
	}
}

// TestDisplayName: names are shown to people (SPEC O39).
func TestDisplayName(t *testing.T) {
	for in, want := range map[string]string{
		"Alice Example":               "Alice Example",
		"  Zoë 王  ":                   "Zoë 王",
		"a\r\nb\x00c":                 "abc",
		"\u202eecilA\u200b":           "ecilA",
		"<b>x</b>{env.HOME}":          "<b>x</b>{env.HOME}",
		strings.Repeat("é", 10_000):   strings.Repeat("é", maxName),
		"\n":                          "",
		"a\ufffdb":                    "ab",
		strings.Repeat("\u202e", 500): "",
	} {
		if got := displayName(in); got != want {
			t.Errorf("%.40q: %.40q, want %.40q", in, got, want)
		}
	}
}

// FuzzClaims throws objects at what makes an identity of them: whatever comes
// out is within its limits (SPEC O39, O41).
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{
		`{"sub":"alice","name":"Alice","email":"a@example.com","email_verified":true,"groups":["a","b"]}`,
		`{"sub":"alice","realm_access":{"roles":["a"]},"_claim_names":{"groups":"src1"}}`,
		`{"sub":"a b","name":["x"],"email":"@","groups":{"a":1}}`,
		`{"sub":"alice","name":"\u202ex\ud800","email":"a\u0000@b","groups":"a\nb"}`,
		`{"sub":"a","sub":"b"}`, `[]`, `null`, `{"sub":1e999}`, `{"aud":["a",1,null],"exp":1e300}`,
	} {
		f.Add(seed, "realm_access.roles", true)
		f.Add(seed, "groups", false)
	}
	f.Fuzz(func(t *testing.T, text, groups string, trust bool) {
		all, err := parseClaims([]byte(text))
		if err != nil {
			return
		}
		l := &Login{Claims: Claims{Subject: claimSubject, Name: claimName, Email: claimEmail, Groups: groups}, logger: zap.NewNop(), now: time.Now}
		if l.EmailVerified = verifiedClaim; trust {
			l.EmailVerified = verifiedTrust
		}
		all.audience()
		_, _ = all.number("exp")
		subject, err := l.subject(&provider{}, all)
		if err != nil {
			return
		}
		if subject == "" || len(subject) > maxSubject || strings.ContainsFunc(subject, func(r rune) bool { return r < '!' || r > '~' }) {
			t.Errorf("subject %q", subject)
		}
		id, err := l.identity(subject, all)
		if err != nil {
			return
		}
		texts := append([]string{id.Name, id.Email}, id.Groups...)
		for _, s := range texts {
			if hasControl(s) || !utf8.ValidString(s) {
				t.Errorf("%q is in the identity", s)
			}
		}
		if utf8.RuneCountInString(id.Name) > maxName || len(id.Email) > maxEmail || len(id.Groups) > maxGroups || id.EmailVerified && id.Email == "" {
			t.Errorf("identity %+v", id)
		}
	})
}
