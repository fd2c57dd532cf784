package trust

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// Bounds of what is taken over from a token, in bytes.
const (
	maxSubject = 200
	maxText    = 200
	maxGroups  = 1000 // entries
)

// Claims name the claims of a token that are read. A dot leads into an object:
// realm_access.roles. A claim whose name has dots itself is found as well.
type Claims struct {
	// User is the stable id of the user. Claims that people can change, such as
	// email, are refused. The default is sub.
	User string
	// Name and Email default to name and email.
	Name, Email string
	// Groups is a string or a list of strings. The default is groups.
	Groups string
	// Client is the OAuth client. The default is client_id, or else azp.
	Client string
	// Scope is a string with spaces or a list. The default is scope, or else
	// scp.
	Scope string
	// TrustEmail takes every address for a verified one, unless the token says
	// that it is not.
	TrustEmail bool
}

// changeable are claims that people can often change themselves.
var changeable = []string{"email", "preferred_username", "username", "upn", "unique_name", "name", "nickname", "given_name", "family_name"}

func (c Claims) check() error {
	if slices.Contains(changeable, c.User) {
		return fmt.Errorf("the claim %s can change hands: users are told apart by one that never does, such as sub", c.User)
	}
	return nil
}

func (c Claims) withDefaults() Claims {
	c.User = cmp.Or(c.User, "sub")
	c.Name = cmp.Or(c.Name, "name")
	c.Email = cmp.Or(c.Email, "email")
	c.Groups = cmp.Or(c.Groups, "groups")
	return c
}

// claims are a token's claims, or an introspection answer.
type claims map[string]any

func parseClaims(text []byte) (claims, error) {
	var c claims
	if err := json.Unmarshal(text, &c); err != nil || c == nil {
		return nil, errors.New("the claims are not a JSON object as they should be")
	}
	return c, nil
}

// find returns a claim by its name or by its path.
func (c claims) find(name string) any { return resource.FindClaim(c, name) }

// text returns a claim that is a string, or nothing.
func (c claims) text(name string) string {
	s, _ := c.find(name).(string)
	return s
}

// list returns a claim that is a string or a list of strings. ok is false for
// anything else.
func (c claims) list(name string) (values []string, ok bool) {
	switch v := c.find(name).(type) {
	case nil:
		return nil, true
	case string:
		return []string{v}, true
	case []any:
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, false
			}
			values = append(values, s)
		}
		return values, true
	}
	return nil, false
}

// seconds returns a claim that is a time, 0 if it is not there (RFC 7519 §2).
func (c claims) seconds(name string) (int64, error) {
	v, there := c[name]
	if !there {
		return 0, nil
	}
	f, ok := v.(float64)
	if !ok || math.IsNaN(f) || f < 0 || f > 1<<40 {
		return 0, fmt.Errorf("%s is not a time", name)
	}
	return int64(f), nil
}

// access makes of claims what is known in this house, or says why the token is
// not good here. The signature has been checked, or the provider was asked.
func (i *Issuer) access(c claims) (*resource.Token, error) {
	if err := accessToken(c); err != nil {
		return nil, err
	}
	if err := i.audience(c); err != nil {
		return nil, err
	}
	t := &resource.Token{Raw: c, AccessTokenClaims: oauth.AccessTokenClaims{
		Issuer: i.cfg.Issuer, Login: i.cfg.Issuer, Audience: i.cfg.URIs[0],
		Name: printed(c.text(i.cfg.Claims.Name)), Email: printed(c.text(i.cfg.Claims.Email)), JWTID: printed(c.text("jti")),
	}}
	var errs [3]error
	t.Expires, errs[0] = c.seconds("exp")
	t.NotBefore, errs[1] = c.seconds("nbf")
	t.IssuedAt, errs[2] = c.seconds("iat")
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	if t.Expires == 0 {
		return nil, errors.New("it has no exp")
	}
	subject := c.text(i.cfg.Claims.User)
	if !validSubject(subject) {
		return nil, fmt.Errorf("the claim %s is no id of 1 to %d visible ASCII characters", i.cfg.Claims.User, maxSubject)
	}
	t.Subject = i.own(subject)
	if client := i.client(c); validSubject(client) {
		t.ClientID = i.own(client)
	}
	var err error
	if t.Scopes, err = i.scope(c); err != nil {
		return nil, err
	}
	t.Scope = t.Scopes.String()
	t.AuthTime, _ = c.seconds("auth_time") // what is no time is not known
	if err := i.describe(c, t); err != nil {
		return nil, err
	}
	return t, i.checkTime(t)
}

// own marks a name as the provider's. Neither names of other providers nor our
// own can be taken for it: an issuer has no | in it.
func (i *Issuer) own(name string) string { return i.cfg.Issuer + "|" + name }

// accessToken refuses what is signed by the same provider with the same keys
// and is no access token that may be presented as a bearer token: ID tokens,
// refresh tokens, logout tokens, and tokens that are bound to a key
// (RFC 8725 §3.12, RFC 9449 §7.2, RFC 8705 §3).
func accessToken(c claims) error {
	for _, name := range []string{"cnf", "nonce", "at_hash", "c_hash", "events"} {
		if c[name] != nil {
			return fmt.Errorf("it has the claim %s, which a bearer token does not have", name)
		}
	}
	for name, good := range map[string][]string{
		"token_use":  {"access", "access_token"},        // Cognito, Ory
		"typ":        {"bearer", "jwt", "at+jwt"},       // Keycloak
		"token_type": {"bearer", "access_token", "jwt"}, // RFC 7662 §2.2, and what some put there
	} {
		if kind := c.text(name); kind != "" && !slices.Contains(good, strings.ToLower(kind)) {
			return fmt.Errorf("its %s says that it is no bearer access token", name)
		}
	}
	return nil
}

// audience compares every audience of the token (RFC 9068 §4, SPEC K14).
func (i *Issuer) audience(c claims) error {
	named, ok := c.list("aud")
	if !ok || len(named) == 0 {
		return errors.New("it names no audience")
	}
	good := 0
	for _, aud := range named {
		if i.accepts(aud) {
			good++
		}
	}
	switch {
	case good == 0:
		return errors.New("it is for another audience")
	case good < len(named) && !i.cfg.OtherAudiences:
		return errors.New("it is for others as well, which the option other_audiences accepts")
	}
	return nil
}

func (i *Issuer) accepts(aud string) bool {
	if len(i.cfg.Audiences) > 0 {
		return slices.Contains(i.cfg.Audiences, aud)
	}
	return slices.ContainsFunc(i.cfg.URIs, func(uri string) bool { return oauth.SameResource(aud, uri) })
}

func (i *Issuer) client(c claims) string {
	if i.cfg.Claims.Client != "" {
		return c.text(i.cfg.Claims.Client)
	}
	return cmp.Or(c.text("client_id"), c.text("azp"))
}

func (i *Issuer) scope(c claims) (oauth.Scope, error) {
	name := i.cfg.Claims.Scope
	if name == "" {
		if name = "scope"; c[name] == nil {
			name = "scp"
		}
	}
	values, ok := c.list(name)
	if ok {
		var scope oauth.Scope
		if scope, ok = oauth.ParseScope(strings.Join(values, " ")); ok {
			return scope, nil
		}
	}
	return nil, fmt.Errorf("the claim %s is no scope", name)
}

// describe adds what rules want to know.
func (i *Issuer) describe(c claims, t *resource.Token) error {
	groups, ok := c.list(i.cfg.Claims.Groups)
	if !ok || len(groups) > maxGroups {
		return fmt.Errorf("the claim %s is no list of groups", i.cfg.Claims.Groups)
	}
	t.Groups = groups
	// A token without the claim may be one that was asked for without the scope
	// that brings it, and providers leave the groups of people out who have many
	// (OpenID Connect Core §5.6.2). Only an empty list says that there are none.
	elsewhere, _ := c["_claim_names"].(map[string]any)
	_, left := elsewhere[i.cfg.Claims.Groups]
	many, _ := c["hasgroups"].(bool)
	t.GroupsUnknown = left || many || c.find(i.cfg.Claims.Groups) == nil
	says, said := c["email_verified"].(bool)
	switch {
	case c["email_verified"] == "true": // Cognito
		says, said = true, true
	case c["email_verified"] != nil && !said:
		said = true // whatever it is, it is not yes
	}
	// email_verified speaks of the claim email and no other.
	t.EmailVerified = t.Email != "" && (said && says && i.cfg.Claims.Email == "email" || !said && i.cfg.Claims.TrustEmail)
	return nil
}

// validSubject accepts what stands in logs and headers as it is.
func validSubject(s string) bool {
	if s == "" || len(s) > maxSubject {
		return false
	}
	for i := range len(s) {
		if s[i] <= 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// printed returns text that is short and has no control characters, or
// nothing.
func printed(s string) string {
	if len(s) > maxText || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return ""
	}
	return s
}
