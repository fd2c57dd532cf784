package oauth

import (
	"slices"
	"strings"
)

// Scope is an ordered set of scope tokens (RFC 6749 §3.3).
type Scope []string

// identityScopes are asked for by clients out of OpenID habit. They mean
// nothing at an MCP resource, so they are dropped without a word; refresh
// tokens are issued whether or not offline_access was asked for.
var identityScopes = []string{"openid", "profile", "email", "address", "phone", "offline_access"}

// ParseScope reads a space-separated scope parameter. It drops repetitions and
// reports false where a token has a character outside of
// %x21 / %x23-5B / %x5D-7E. The empty string is the empty scope.
func ParseScope(s string) (Scope, bool) {
	var out Scope
	for token := range strings.SplitSeq(s, " ") {
		if token == "" {
			continue
		}
		if !validScopeToken(token) {
			return nil, false
		}
		if !slices.Contains(out, token) {
			out = append(out, token)
		}
	}
	return out, true
}

// ValidScopeToken reports whether s is one scope token of RFC 6749 §3.3.
func ValidScopeToken(s string) bool { return s != "" && validScopeToken(s) }

func validScopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// String joins the tokens with single spaces.
func (s Scope) String() string { return strings.Join(s, " ") }

// Contains reports whether the set holds the token.
func (s Scope) Contains(token string) bool { return slices.Contains(s, token) }

// ContainsAll reports whether every token of other is in the set.
func (s Scope) ContainsAll(other Scope) bool {
	for _, token := range other {
		if !s.Contains(token) {
			return false
		}
	}
	return true
}

// Intersect returns the tokens of s that other holds too, in the order of s.
func (s Scope) Intersect(other Scope) Scope {
	var out Scope
	for _, token := range s {
		if other.Contains(token) {
			out = append(out, token)
		}
	}
	return out
}

// Union returns the tokens of s, and those of other that s lacks, in their order.
func (s Scope) Union(other Scope) Scope {
	out := slices.Clip(s)
	for _, token := range other {
		if !out.Contains(token) {
			out = append(out, token)
		}
	}
	return out
}

// WithoutIdentity returns the set without the scopes of OpenID Connect.
func (s Scope) WithoutIdentity() Scope {
	var out Scope
	for _, token := range s {
		if !slices.Contains(identityScopes, token) {
			out = append(out, token)
		}
	}
	return out
}
