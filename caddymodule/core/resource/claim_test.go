package resource

import (
	"reflect"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

func TestClaim(t *testing.T) {
	ours := &Token{AccessTokenClaims: oauth.AccessTokenClaims{
		Issuer: "https://gw.example", Subject: "alice", Audience: "https://gw.example/mcp", ClientID: "c", ClientName: "C", Scope: "a b",
		JWTID: "j", GrantID: "g", Name: "Alice", Email: "alice@example.com", Login: "oidc", IssuedAt: 1, Expires: 2, AuthTime: 3, NotBefore: 4,
		EmailVerified: true, Groups: []string{"staff"},
	}}
	theirs := &Token{AccessTokenClaims: ours.AccessTokenClaims, Raw: map[string]any{
		"sub": "1", "n": 1.5, "list": []any{"x"}, "a.b": "whole", "a": map[string]any{"b": "path", "c": map[string]any{"d": true}, "": "odd"}, "null": nil,
	}}
	for name, want := range map[string]any{
		"iss": "https://gw.example", "sub": "alice", "aud": "https://gw.example/mcp", "client_id": "c", "client_name": "C", "scope": "a b",
		"jti": "j", "grant_id": "g", "name": "Alice", "email": "alice@example.com", "login": "oidc", "iat": int64(1), "exp": int64(2),
		"auth_time": int64(3), "nbf": int64(4), "email_verified": true, "groups": []any{"staff"}, "groups_unknown": false,
		"unknown": nil, "": nil, "sub.x": nil, "Subject": nil,
	} {
		if got := ours.Claim(name); !reflect.DeepEqual(got, want) {
			t.Errorf("ours: %s is %#v", name, got)
		}
	}
	for name, want := range map[string]any{
		"n": 1.5, "list": []any{"x"}, "a.b": "whole", "a.c.d": true, "a.": "odd", "a.c.d.e": nil,
		// Whoever an issuer says that it is, it is nobody else here.
		"sub": "alice", "email": "alice@example.com", "login": "oidc",
		"null": nil, "null.x": nil, ".": nil, "list.x": nil, "": nil,
	} {
		if got := theirs.Claim(name); !reflect.DeepEqual(got, want) {
			t.Errorf("theirs: %s is %#v", name, got)
		}
	}
	empty := new(Token)
	if got := empty.Claim("email"); got != nil {
		t.Errorf("no address is %#v", got)
	}
	if got := empty.Claim("groups"); !reflect.DeepEqual(got, []any{}) {
		t.Errorf("no groups are %#v", got)
	}
}

// TestGroupsKnown: a token that was issued before a reload does not say that its
// user is in none of the groups that are named since.
func TestGroupsKnown(t *testing.T) {
	before, now := oauth.GroupsOf([]string{"leads", "hr"}), oauth.GroupsOf([]string{"leads", "hr", "contractors"})
	ours := func(c oauth.AccessTokenClaims) *Token {
		t.Helper()
		token, err := NewToken(c)
		if err != nil {
			t.Fatal(err)
		}
		token.KeyID = "k"
		return token
	}
	for _, c := range []struct {
		name                   string
		token                  *Token
		before, now            bool
		outBefore, outdatedNow bool
	}{
		{"of the rules before", ours(oauth.AccessTokenClaims{GroupsOf: before}), true, false, false, true},
		{"of the rules of now", ours(oauth.AccessTokenClaims{GroupsOf: now}), false, true, true, false},
		{"all groups", ours(oauth.AccessTokenClaims{GroupsOf: oauth.GroupsOfAll}), true, true, false, false},
		{"nobody asked, or an older release", ours(oauth.AccessTokenClaims{}), false, false, true, true},
		{"the login can't tell", ours(oauth.AccessTokenClaims{GroupsOf: now, GroupsUnknown: true}), false, false, true, false},
		{"the login can't tell at all", ours(oauth.AccessTokenClaims{GroupsOf: oauth.GroupsOfAll, GroupsUnknown: true}), false, false, false, false},
		{"another issuer's", &Token{Raw: map[string]any{}}, true, true, false, false},
		{"another issuer's, unknown", &Token{Raw: map[string]any{}, AccessTokenClaims: oauth.AccessTokenClaims{GroupsUnknown: true}}, false, false, false, false},
	} {
		if got := [...]bool{c.token.GroupsKnown(before), c.token.GroupsKnown(now), c.token.GroupsOutdated(before), c.token.GroupsOutdated(now)}; got != [...]bool{c.before, c.now, c.outBefore, c.outdatedNow} {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if oauth.GroupsOf([]string{"a", "b"}) != oauth.GroupsOf([]string{"b", "a", "b"}) || oauth.GroupsOf([]string{"a", "b"}) == oauth.GroupsOf([]string{"a"}) || oauth.GroupsOf(nil) == "" {
		t.Error("sets of names are not told apart")
	}
	if _, err := NewToken(oauth.AccessTokenClaims{Scope: "a\"b"}); err == nil {
		t.Error("a malformed scope was taken")
	}
}
