package header

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/lestrrat-go/jwx/v2/jwt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// Limits of tokens.
const (
	maxToken      = 16 << 10
	defaultLeeway = 30 * time.Second
	maxLeeway     = 5 * time.Minute
)

// verifier reads people out of signed tokens.
type verifier struct {
	header   string
	issuer   string
	audience []string
	claims   Claims
	leeway   time.Duration
	keys     *keySet
	now      func() time.Time
}

// newVerifier checks the options of jwt.
func newVerifier(j *JWT, now func() time.Time) (*verifier, error) {
	switch {
	case j.Header == "":
		return nil, errors.New("jwt needs the name of its header, such as jwt Cf-Access-Jwt-Assertion")
	case j.Issuer == "":
		return nil, errors.New("jwt needs issuer: the iss claim of the proxy's tokens")
	case len(j.Audience) == 0 || slices.Contains(j.Audience, ""):
		return nil, errors.New("jwt needs audience: the aud claim of tokens for this application, or one for another application would do")
	case j.Leeway < 0 || time.Duration(j.Leeway) > maxLeeway:
		return nil, fmt.Errorf("jwt leeway must be at most %s", maxLeeway)
	}
	if j.Leeway == 0 {
		j.Leeway = caddy.Duration(defaultLeeway)
	}
	if err := checkName("jwt", &j.Header); err != nil {
		return nil, err
	}
	keys, err := newKeySet(j.JWKSURL, now)
	if err != nil {
		return nil, err
	}
	c := j.Claims
	return &verifier{
		header: j.Header, issuer: j.Issuer, audience: j.Audience, leeway: time.Duration(j.Leeway), keys: keys, now: now,
		claims: Claims{
			User: orDefault(c.User, "sub"), Email: orDefault(c.Email, "email"),
			Name: orDefault(c.Name, "name"), Groups: orDefault(c.Groups, "groups"),
		},
	}, nil
}

// compact is a JWS in compact serialization (RFC 7515 §7.1): exactly three
// parts, so that nothing has to parse any other form.
var compact = regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`)

// identify returns the person that a request's token is about.
func (v *verifier) identify(ctx context.Context, h http.Header) (login.Identity, error) {
	raw, err := take(h, v.header, maxToken)
	switch {
	case err != nil:
		return login.Identity{}, err
	case raw == "":
		return login.Identity{}, denied("header %s is missing or empty", v.header)
	case !compact.MatchString(raw):
		return login.Identity{}, denied("header %s is not a signed token", v.header)
	}
	token, err := v.verify(ctx, []byte(raw))
	if err != nil {
		return login.Identity{}, err
	}
	return v.person(token)
}

// verify checks signature and standard claims (RFC 7519 §7.2, RFC 8725 §3). The
// algorithm is one of a public key; which one the key is for, the proxy's key
// set says, not the token.
func (v *verifier) verify(ctx context.Context, raw []byte) (jwt.Token, error) {
	message, err := jws.Parse(raw, jws.WithCompact())
	if err != nil || len(message.Signatures()) != 1 {
		return nil, denied("header %s is not a signed token", v.header)
	}
	protected := message.Signatures()[0].ProtectedHeaders()
	_, unencoded := protected.Get("b64")
	if len(protected.Critical()) > 0 || unencoded {
		return nil, denied("the token needs extensions that are not supported")
	}
	keys, err := v.keys.find(ctx, protected.KeyID(), protected.Algorithm())
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if payload, err := jws.Verify(raw, jws.WithKey(protected.Algorithm(), key)); err == nil {
			return v.validate(payload)
		}
	}
	return nil, denied("the token's signature is wrong")
}

// validate checks the standard claims of a token whose signature is right.
func (v *verifier) validate(payload []byte) (jwt.Token, error) {
	token := jwt.New()
	if json.Unmarshal(payload, token) != nil {
		return nil, denied("the token's claims can't be read")
	}
	err := jwt.Validate(token,
		jwt.WithClock(jwt.ClockFunc(v.now)),
		jwt.WithAcceptableSkew(v.leeway),
		jwt.WithRequiredClaim(jwt.ExpirationKey),
		jwt.WithIssuer(v.issuer),
		jwt.WithValidator(jwt.ValidatorFunc(v.checkAudience)),
		jwt.WithValidator(jwt.ValidatorFunc(checkExpiry)),
	)
	if err != nil {
		return nil, denied("the token is not valid: %w", err)
	}
	return token, nil
}

func (v *verifier) checkAudience(_ context.Context, t jwt.Token) jwt.ValidationError {
	for _, aud := range t.Audience() {
		if slices.Contains(v.audience, aud) {
			return nil
		}
	}
	return jwt.NewValidationError(errors.New(`"aud" is for another application`))
}

// checkExpiry refuses what the library takes for a token that never expires.
func checkExpiry(_ context.Context, t jwt.Token) jwt.ValidationError {
	if t.Expiration().Unix() > 0 {
		return nil
	}
	return jwt.NewValidationError(errors.New(`"exp" is not a time`))
}

// person reads the claims.
func (v *verifier) person(t jwt.Token) (login.Identity, error) {
	id := login.Identity{AuthTime: v.authTime(t)}
	for _, f := range []struct {
		claim string
		into  *string
	}{{v.claims.User, &id.Subject}, {v.claims.Email, &id.Email}, {v.claims.Name, &id.Name}} {
		value, _ := claim(t, f.claim)
		text, isText := value.(string)
		if value != nil && !isText {
			return login.Identity{}, denied("claim %s is not a string", f.claim)
		}
		*f.into = strings.TrimSpace(text)
		if err := checkText("claim "+f.claim, text, maxValue); err != nil {
			return login.Identity{}, err
		}
	}
	if err := checkSubject("claim "+v.claims.User, id.Subject); err != nil {
		return login.Identity{}, err
	}
	id.EmailVerified = isAddress(id.Email)
	if said, ok := t.Get("email_verified"); ok {
		verified, _ := said.(bool)
		id.EmailVerified = id.EmailVerified && verified
	}
	var err error
	id.Groups, err = v.groups(t)
	return id, err
}

func (v *verifier) groups(t jwt.Token) ([]string, error) {
	value, _ := claim(t, v.claims.Groups)
	what := "claim " + v.claims.Groups
	switch list := value.(type) {
	case nil:
		return nil, nil
	case string:
		return cleanGroups(what, []string{list})
	case []string: // aud, which the library knows
		return cleanGroups(what, list)
	case []any:
		names := make([]string, 0, len(list))
		for _, e := range list {
			name, ok := e.(string)
			if !ok {
				return nil, denied("%s has something else than strings", what)
			}
			names = append(names, name)
		}
		return cleanGroups(what, names)
	}
	return nil, denied("%s is not a list of strings", what)
}

// claim finds a claim by its name, or by a path with dots into objects.
func claim(t jwt.Token, name string) (any, bool) {
	if value, ok := t.Get(name); ok {
		return value, true
	}
	steps := strings.Split(name, ".")
	value, ok := t.Get(steps[0])
	for _, step := range steps[1:] {
		object, isObject := value.(map[string]any)
		if !isObject {
			return nil, false
		}
		value, ok = object[step]
	}
	return value, ok && len(steps) > 1
}

// authTime is when the person signed in, as far as the token says: auth_time
// (OpenID Connect Core §2), or when it was issued. Never in the future.
func (v *verifier) authTime(t jwt.Token) time.Time {
	now, when := v.now(), t.IssuedAt()
	switch at, _ := t.Get("auth_time"); seconds := at.(type) {
	case float64:
		if seconds > 0 && seconds <= float64(now.Unix()) {
			when = time.Unix(int64(seconds), 0)
		}
	case json.Number:
		if n, err := seconds.Int64(); err == nil && n > 0 && n <= now.Unix() {
			when = time.Unix(n, 0)
		}
	}
	if when.IsZero() || when.After(now) {
		return now
	}
	return when
}
