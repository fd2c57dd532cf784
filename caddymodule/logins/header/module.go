package header

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

func init() {
	caddy.RegisterModule(new(Login))
}

// Login takes people as a proxy in front has signed them in, which says who
// they are in request headers. It needs at least one proof that a request comes
// from that proxy: its address, a shared secret or a signature. Where several
// are configured, all must hold.
type Login struct {
	// The name of this login in logs and grants: up to 32 lower-case letters,
	// digits and hyphens. Default: `header`
	ID string `json:"id,omitempty"`

	// What people call it. There is no button, so it shows in few places.
	// Default: none.
	Label string `json:"label,omitempty"`

	// Who hands out the user ids, such as `https://auth.example.com`: it keeps
	// them apart from those of other logins. Default: none, which one login of
	// a server may have.
	Namespace string `json:"namespace,omitempty"`

	// The names of the headers by product: `authelia`, `authentik`,
	// `oauth2-proxy`, `cloudflare` or `tailscale`. Single ones can be replaced
	// below. It sets names only and proves nothing. Default: none.
	Preset string `json:"preset,omitempty"`

	// The header with the stable id of the person: up to 200 characters of
	// printable ASCII without space or comma. Required, unless a preset or
	// `jwt` says it. Example: `Remote-User`
	User string `json:"user,omitempty"`

	// The header with the person's e-mail address, which counts as verified.
	// `off` takes it out of a preset. Default: none.
	Email string `json:"email,omitempty"`

	// The header with the person's full name. `off` takes it out of a preset.
	// Default: none.
	Name string `json:"name,omitempty"`

	// The header with the person's groups. `off` takes it out of a preset.
	// Default: none.
	Groups string `json:"groups,omitempty"`

	// What separates groups. Default: the preset's, else `,`
	GroupsSeparator string `json:"groups_separator,omitempty"`

	// The addresses and networks of the proxy, as the other end of the
	// connection: no header changes it. `private_ranges` stands for the same
	// networks as elsewhere in Caddy, `unix` for every peer on a Unix socket.
	// Whoever can connect from there is believed, so it must be the proxy
	// alone. Placeholders are replaced. Default: none.
	// Example: `["10.0.0.7", "fd12::/64"]`
	TrustedProxies []string `json:"trusted_proxies,omitempty"`

	// The header with a secret that only the proxy knows. Caddy never logs
	// `Proxy-Authorization` and never passes it on. Default: none.
	SecretHeader string `json:"secret_header,omitempty"`

	// The secret: at least 16 characters of printable ASCII without space, for
	// example from `openssl rand -hex 32`. Placeholders are replaced. Required
	// with `secret_header`.
	Secret string `json:"secret,omitempty"`

	// A header that the proxy signs. With it, everything about the person comes
	// from the signed claims, and the headers above can't be named. Default:
	// none.
	JWT *JWT `json:"jwt,omitempty"`

	fields    fields
	watched   map[string]string // names of headers by how they fold
	peers     *peers
	verifier  *verifier // nil without JWT
	tailscale bool      // encoded words, and logins that are no addresses
	now       func() time.Time
}

// JWT configures a header with a JSON Web Token (RFC 7519) that the proxy has
// signed.
type JWT struct {
	// The header with the token. Default: the preset's: `Cf-Access-Jwt-Assertion`
	// for cloudflare, `X-Authentik-Jwt` for authentik; else required.
	Header string `json:"header,omitempty"`

	// The `iss` of tokens, byte for byte. Placeholders are replaced. Required.
	// Example: `https://team.cloudflareaccess.com`
	Issuer string `json:"issuer,omitempty"`

	// The `aud` of tokens: each must have one of these. Placeholders are
	// replaced. Required: without it, a token for another application of the
	// same proxy would do.
	Audience []string `json:"audience,omitempty"`

	// Where the proxy publishes its public keys (RFC 7517): https, except on
	// localhost. They are fetched when they are needed first. Placeholders are
	// replaced. Required.
	// Example: `https://team.cloudflareaccess.com/cdn-cgi/access/certs`
	JWKSURL string `json:"jwks_url,omitempty"`

	// Which claims say what.
	Claims Claims `json:"claims,omitzero"`

	// How far the clocks may be apart, at most 5m. Default: `30s`
	Leeway caddy.Duration `json:"leeway,omitempty"`
}

// Claims names the claims of a token. A dot leads into an object, unless there
// is a claim with the dot in its name.
type Claims struct {
	// The stable id of the person. Default: `sub`
	User string `json:"user,omitempty"`

	// The e-mail address. It counts as verified unless the claim
	// `email_verified` says false. Default: `email`
	Email string `json:"email,omitempty"`

	// The full name. Default: `name`
	Name string `json:"name,omitempty"`

	// The groups: a list of strings, or one. Default: `groups`
	Groups string `json:"groups,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Login) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "mcp_auth.logins.header",
		New: func() caddy.Module { return new(Login) },
	}
}

// Provision checks the options. It fetches nothing.
func (l *Login) Provision(caddy.Context) error {
	if err := l.provision(); err != nil {
		return fmt.Errorf("login header: %w", err)
	}
	return nil
}

func (l *Login) provision() error {
	l.now = time.Now
	if l.ID == "" {
		l.ID = "header"
	}
	if err := l.replace(caddy.NewReplacer()); err != nil {
		return err
	}
	p, known := presets[l.Preset]
	if !known {
		return fmt.Errorf("unknown preset %q (known: %s)", l.Preset, knownPresets())
	}
	if err := l.setProofs(p); err != nil {
		return err
	}
	if err := l.setFields(p); err != nil {
		return err
	}
	return l.watch()
}

// Cleanup closes the connections that are kept open for the keys.
func (l *Login) Cleanup() error {
	if l.verifier != nil {
		l.verifier.keys.client.CloseIdleConnections()
	}
	return nil
}

// setProofs reads what proves that a request comes from the proxy.
func (l *Login) setProofs(p preset) error {
	if len(l.TrustedProxies) == 0 && l.SecretHeader == "" && l.Secret == "" && l.JWT == nil {
		return errors.New("anyone could send these headers: say how to know the proxy, with trusted_proxies, secret_header or jwt")
	}
	var err error
	if l.peers, err = parsePeers(l.TrustedProxies, l.Secret == "" && l.JWT == nil); err != nil {
		return err
	}
	if err := l.checkSecret(); err != nil {
		return err
	}
	if l.JWT == nil {
		return nil
	}
	if l.JWT.Header == "" {
		l.JWT.Header = p.jwt
	}
	l.verifier, err = newVerifier(l.JWT, l.now)
	return err
}

// minSecret is the least length of a secret: nobody guesses 16 characters that
// were drawn at random.
const minSecret = 16

var secretFormat = regexp.MustCompile(`^[!-~]*$`)

// checkSecret says nothing of the secret.
func (l *Login) checkSecret() error {
	switch {
	case l.SecretHeader == "" && l.Secret == "":
		return nil
	case l.SecretHeader == "":
		return errors.New("secret needs secret_header, the header that has it")
	case len(l.Secret) < minSecret || len(l.Secret) > maxValue || !secretFormat.MatchString(l.Secret):
		return fmt.Errorf("the secret must have at least %d characters of printable ASCII without space, for example from openssl rand -hex 32", minSecret)
	}
	return checkName("secret_header", &l.SecretHeader)
}

// setFields decides where what is known about the person comes from.
func (l *Login) setFields(p preset) error {
	if l.JWT != nil {
		for option, value := range map[string]string{
			"user": l.User, "email": l.Email, "name": l.Name, "groups": l.Groups, "groups_separator": l.GroupsSeparator,
		} {
			if value != "" {
				return fmt.Errorf("with jwt, people are who the signed claims say, so %s can't name a header: use claim in the jwt block", option)
			}
		}
		return nil
	}
	l.tailscale = p.tailscale
	l.fields = fields{
		user: orDefault(l.User, p.user), email: orDefault(l.Email, p.email), name: orDefault(l.Name, p.name),
		groups: orDefault(l.Groups, p.groups), separator: orDefault(l.GroupsSeparator, orDefault(p.separator, ",")),
	}
	if l.fields.user == "" || l.User == off {
		return errors.New("no header says who the person is: name it with user, or choose a preset")
	}
	for option, name := range map[string]*string{
		"user": &l.fields.user, "email": &l.fields.email, "name": &l.fields.name, "groups": &l.fields.groups,
	} {
		if *name == off {
			*name = ""
		}
		if err := checkName(option, name); err != nil {
			return err
		}
	}
	return nil
}

// off takes a header out of a preset.
const off = "off"

func orDefault(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// headerName has no underscore: servers behind this one read it as a hyphen,
// and so two names would be one (THREATS P1).
var headerName = regexp.MustCompile(`^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$`)

// taken are headers that mean something else to HTTP, browsers or proxies.
var taken = []string{
	"Authorization", "Connection", "Content-Length", "Content-Type", "Cookie", "Forwarded", "Host", "Keep-Alive",
	"Origin", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
}

// checkName brings the name of a header into the spelling that the server uses.
func checkName(option string, name *string) error {
	if *name == "" {
		return nil
	}
	canonical := http.CanonicalHeaderKey(*name)
	if !headerName.MatchString(*name) || slices.Contains(taken, canonical) {
		return fmt.Errorf("%s: %q is not a header that can be used here: write letters, digits and hyphens, such as Remote-User", option, *name)
	}
	*name = canonical
	return nil
}

// watch lists the headers that must not come in another spelling.
func (l *Login) watch() error {
	names := []string{l.fields.user, l.fields.email, l.fields.name, l.fields.groups}
	if l.JWT != nil {
		names = append(names, l.JWT.Header)
	}
	if l.SecretHeader != "" && slices.Contains(names, l.SecretHeader) {
		return fmt.Errorf("secret_header: %s says who the person is already", l.SecretHeader)
	}
	l.watched = map[string]string{}
	for _, name := range append(names, l.SecretHeader) {
		if name != "" {
			l.watched[fold(name)] = name
		}
	}
	return nil
}

// replace fills placeholders in. One that has no value is an error, or a
// missing environment variable would become an empty secret.
func (l *Login) replace(repl *caddy.Replacer) error {
	values := map[string]*string{"secret_header": &l.Secret, "namespace": &l.Namespace}
	for i := range l.TrustedProxies {
		values[fmt.Sprintf("trusted_proxies %d", i+1)] = &l.TrustedProxies[i]
	}
	if l.JWT != nil {
		values["jwt issuer"], values["jwt jwks_url"] = &l.JWT.Issuer, &l.JWT.JWKSURL
		for i := range l.JWT.Audience {
			values[fmt.Sprintf("jwt audience %d", i+1)] = &l.JWT.Audience[i]
		}
	}
	for name, field := range values {
		value, err := repl.ReplaceOrErr(*field, true, true)
		if err != nil {
			return placeholderError(name, *field)
		}
		*field = value
	}
	return nil
}

// lookups are the placeholders that a configuration may have in a credential.
var lookups = regexp.MustCompile(`\{(env|file|vars|system)\.[^{}]*\}`)

// placeholderError names the placeholder if it is one, and nothing else of the
// value: what looks like a placeholder may be a part of the secret.
func placeholderError(name, value string) error {
	if found := lookups.FindString(value); found != "" {
		return fmt.Errorf("%s: the placeholder %s has no value", name, found)
	}
	return fmt.Errorf(`%s has a placeholder that does not exist; write \{ for a brace that is none`, name)
}

// Interface guards
var (
	_ login.Method       = (*Login)(nil)
	_ caddy.Provisioner  = (*Login)(nil)
	_ caddy.CleanerUpper = (*Login)(nil)
)
