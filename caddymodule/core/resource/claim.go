package resource

import (
	"slices"
	"strings"
)

// Claim returns a claim of the token in the types of JSON: string, float64, bool,
// []any, map[string]any, and int64 for the times of our own tokens. It is nil
// for one that is not there, and nothing that is returned may be changed.
//
// The claims of oauth.AccessTokenClaims are as they are known here, whoever issued the
// token: users and clients of other issuers have the issuer before their id. Beyond
// these, tokens of other issuers have whatever their issuer says, by name or by path
// (FindClaim).
func (t *Token) Claim(name string) any {
	if t.Raw != nil && !slices.Contains(ownClaims, name) {
		return FindClaim(t.Raw, name)
	}
	switch name {
	case "email_verified":
		return t.EmailVerified
	case "groups":
		groups := make([]any, len(t.Groups))
		for i, g := range t.Groups {
			groups[i] = g
		}
		return groups
	case "groups_unknown":
		return t.GroupsUnknown
	}
	if text := t.text(name); text != "" {
		return text
	}
	if seconds := t.seconds(name); seconds != 0 {
		return seconds
	}
	return nil
}

// ownClaims mean the same for every token: of another issuer's, its sub is the user as
// he is known here, and a grant_id that it makes up is none.
var ownClaims = []string{
	"iss", "sub", "aud", "client_id", "client_name", "scope", "jti", "grant_id", "login",
	"name", "email", "email_verified", "groups", "groups_unknown", "iat", "exp", "nbf", "auth_time",
}

// text returns a claim of ours that is a string.
func (t *Token) text(name string) string {
	switch name {
	case "iss":
		return t.Issuer
	case "sub":
		return t.Subject
	case "aud":
		return t.Audience
	case "client_id":
		return t.ClientID
	case "client_name":
		return t.ClientName
	case "scope":
		return t.Scope
	case "jti":
		return t.JWTID
	case "grant_id":
		return t.GrantID
	case "name":
		return t.Name
	case "email":
		return t.Email
	case "login":
		return t.Login
	}
	return ""
}

// seconds returns a claim of ours that is a time.
func (t *Token) seconds(name string) int64 {
	switch name {
	case "iat":
		return t.IssuedAt
	case "exp":
		return t.Expires
	case "nbf":
		return t.NotBefore
	case "auth_time":
		return t.AuthTime
	}
	return 0
}

// FindClaim returns a claim by its name or by its path: a dot leads into an
// object, as in realm_access.roles. A claim whose name has dots itself is found as
// well. It is nil for one that is not there.
func FindClaim(claims map[string]any, name string) any {
	if v, ok := claims[name]; ok {
		return v
	}
	head, rest, dotted := strings.Cut(name, ".")
	if object, ok := claims[head].(map[string]any); dotted && ok {
		return FindClaim(object, rest)
	}
	return nil
}
