package oidc

import (
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"mime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-json-experiment/json"
	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// Limits of what is taken over about a person.
const (
	maxSubject = 200 // bytes
	maxName    = 200 // characters
	maxEmail   = 254 // bytes (RFC 5321 §4.5.3.1.3)
	maxGroups  = 500
	maxGroup   = 256 // bytes
)

// tenantSeparator stands between tenant and sub in the subjects of a provider
// for many tenants.
const tenantSeparator = ":"

// claims are the members of a JSON object that a provider sent.
type claims map[string]any

// claimsOf reads the claims of a token once more: names are compared byte for
// byte, and a name that comes twice is refused.
func claimsOf(token *oidc.IDToken) (claims, error) {
	var raw stdjson.RawMessage
	if err := token.Claims(&raw); err != nil {
		return nil, err
	}
	return parseClaims(raw)
}

func parseClaims(text []byte) (claims, error) {
	var all claims
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	if all == nil {
		return nil, errors.New("not an object")
	}
	return all, nil
}

// text returns a claim that is a string, or nothing.
func (c claims) text(name string) string {
	s, _ := c[name].(string)
	return s
}

// number returns a claim that is a time in seconds.
func (c claims) number(name string) (int64, bool) {
	f, ok := c[name].(float64)
	if !ok || math.IsNaN(f) || math.Abs(f) > 1<<52 {
		return 0, false
	}
	return int64(f), true
}

// authTime is when the person proved who they are: as the provider says, or now
// where it doesn't.
func (c claims) authTime(now time.Time) time.Time {
	if seconds, ok := c.number("auth_time"); ok && seconds < now.Unix() {
		return time.Unix(seconds, 0)
	}
	return now
}

// audience returns the claim aud, a string or a list of strings.
func (c claims) audience() []string {
	list, ok := c["aud"].([]any)
	if !ok {
		list = []any{c["aud"]}
	}
	var audience []string
	for _, item := range list {
		if s, ok := item.(string); ok {
			audience = append(audience, s)
		}
	}
	return audience
}

// find follows a path of names with dots between them. Names may have dots
// themselves: the shortest name that is there goes first.
func (c claims) find(path string) any {
	if value, ok := c[path]; ok {
		return value
	}
	for i := range len(path) {
		if path[i] != '.' {
			continue
		}
		if inner, ok := c[path[:i]].(map[string]any); ok {
			if value := claims(inner).find(path[i+1:]); value != nil {
				return value
			}
		}
	}
	return nil
}

// subject returns the person's stable id. It comes from the ID token only, and
// with the tenant in front where one issuer has many.
func (l *Login) subject(p *provider, all claims) (string, error) {
	subject, _ := all.find(l.Claims.Subject).(string)
	if p.template != "" && subject != "" {
		subject = all.text("tid") + tenantSeparator + subject
	}
	printable := !strings.ContainsFunc(subject, func(r rune) bool { return r <= ' ' || r > '~' })
	if subject == "" || len(subject) > maxSubject || !printable {
		return "", denied("the claim %s is not 1 to %d characters of printable ASCII without space", l.Claims.Subject, maxSubject)
	}
	return subject, nil
}

// identity makes an identity of what the provider says about the person.
func (l *Login) identity(subject string, about claims) (*login.Identity, error) {
	id := &login.Identity{Subject: subject, Version: l.version}
	id.AuthTime = about.authTime(l.now())
	_, says := about.number("auth_time")
	id.AuthTimeUnknown = !says
	name, _ := about.find(l.Claims.Name).(string)
	id.Name = displayName(name)
	email, _ := about.find(l.Claims.Email).(string)
	if isAddress(email) {
		id.Email, id.EmailVerified = email, l.emailVerified(about)
	}
	if l.EmailVerified == verifiedRequire && !id.EmailVerified {
		return nil, denied("the account has no verified e-mail address")
	}
	var err error
	id.GroupsUnknown = l.groupsLeftOut(about)
	if id.Groups, err = l.groups(about); err != nil {
		return nil, denied("the claim %s: %w", l.Claims.Groups, err)
	}
	return id, nil
}

// displayName drops what is not printed and cuts what is too long.
func displayName(name string) string {
	name = strings.TrimSpace(clean(name, len(name)))
	if utf8.RuneCountInString(name) > maxName {
		name = string([]rune(name)[:maxName])
	}
	return name
}

// isAddress reports whether a text can be an e-mail address. It does not say
// whether there is such an address.
func isAddress(email string) bool {
	at := strings.LastIndexByte(email, '@')
	return at > 0 && at < len(email)-1 && len(email) <= maxEmail && utf8.ValidString(email) &&
		!hasControl(email) && !strings.ContainsRune(email, ' ')
}

// emailVerified reports whether the provider vouches for the address. Some send
// the claim as a string.
func (l *Login) emailVerified(about claims) bool {
	says, there := about["email_verified"]
	if l.Claims.Email != claimEmail {
		there = false // the claim speaks of another address
	}
	if !there {
		return l.EmailVerified == verifiedTrust
	}
	yes, _ := says.(bool)
	return yes || says == "true"
}

// groups reads a string or a list of strings. A list that is too long is an
// error: leaving groups out could let somebody in whom a rule denies.
func (l *Login) groups(about claims) ([]string, error) {
	var list []any
	switch value := about.find(l.Claims.Groups).(type) {
	case nil:
		return nil, nil
	case string:
		list = []any{value}
	case []any:
		list = value
	default:
		return nil, errors.New("it is neither a string nor a list of strings")
	}
	if len(list) > maxGroups {
		return nil, fmt.Errorf("it has %d groups, more than %d: have the provider send fewer", len(list), maxGroups)
	}
	groups := make([]string, 0, len(list))
	for _, item := range list {
		group, ok := item.(string)
		switch {
		case !ok, len(group) > maxGroup, !utf8.ValidString(group), hasControl(group):
			return nil, fmt.Errorf("it has something that is not a group's name of at most %d bytes", maxGroup)
		case group != "":
			groups = append(groups, group)
		}
	}
	return groups, nil
}

// groupsLeftOut reports whether Entra left the groups out because there are too many,
// and names a place to fetch them from instead. They are not fetched: the
// person's groups are unknown, and the log says so once.
func (l *Login) groupsLeftOut(about claims) bool {
	elsewhere, _ := about["_claim_names"].(map[string]any)
	_, left := elsewhere[l.Claims.Groups]
	if left && l.warned.CompareAndSwap(false, true) {
		l.logger.Warn("the provider leaves out the groups of people who have many, so only rules that deny a group apply to them: "+
			"have it send app roles, or only the groups that are assigned to the application", zap.String("login", l.ID))
	}
	return left
}

// userinfo adds what the userinfo endpoint says (OpenID Connect Core §5.3). The
// ID token is signed and wins.
func (l *Login) userinfo(ctx context.Context, p *provider, all claims, accessToken string) (claims, error) {
	body, header, err := l.get(ctx, p.userInfo, accessToken)
	if err != nil {
		return nil, fmt.Errorf("userinfo: %w", err)
	}
	if kind, _, err := mime.ParseMediaType(header.Get("Content-Type")); err == nil && kind == "application/jwt" {
		return nil, errors.New("userinfo: the provider signs its answer; have it send plain JSON to this client")
	}
	info, err := parseClaims(body)
	if err != nil {
		return nil, fmt.Errorf("userinfo: %w", bounded(err))
	}
	// §5.3.2: or somebody else's data would be taken for this person's.
	if sub := info.text(claimSubject); sub == "" || sub != all.text(claimSubject) {
		return nil, denied("userinfo speaks of another person (sub)")
	}
	return merge(all, info), nil
}

// merge adds claims of info to those of an ID token. What it says about an
// address goes with that address only.
func merge(all, info claims) claims {
	sum := maps.Clone(info)
	if _, own := all[claimEmail]; own && all[claimEmail] != info[claimEmail] {
		delete(sum, "email_verified")
	}
	for _, name := range []string{"iss", "aud", "hd", "tid", "auth_time"} {
		delete(sum, name)
	}
	maps.Copy(sum, all)
	return sum
}
