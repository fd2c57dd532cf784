package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// ClientConfig is a client that is registered in the configuration. The operator
// vouches for it: its name and its redirect URIs are shown as they are.
type ClientConfig struct {
	// The client identifier. Required.
	ID string `json:"client_id,omitempty"`

	// The client's secret, for confidential clients. Placeholders are
	// replaced. Default: none, a public client.
	Secret string `json:"client_secret,omitempty"`

	// The hash of its secret instead: bcrypt or argon2id as
	// `caddy hash-password` prints them, or `sha256:` and the SHA-256 of a long
	// random secret in hexadecimal digits. Placeholders are replaced.
	SecretHash string `json:"client_secret_hash,omitempty"`

	// Its public keys as a JWK set, for `private_key_jwt`.
	JWKS json.RawMessage `json:"jwks,omitempty"`

	// The file of the JWK set. It is read when the configuration is loaded.
	JWKSFile string `json:"jwks_file,omitempty"`

	// Where the client publishes its JWK set, over https.
	JWKSURI string `json:"jwks_uri,omitempty"`

	// What people see. Default: the identifier.
	Name string `json:"client_name,omitempty"`

	// The redirect URIs, compared byte for byte; the port of an http URI on
	// localhost is free. Required for `authorization_code`.
	RedirectURIs []string `json:"redirect_uris,omitempty"`

	// How the client authenticates: `none`, `client_secret_basic`,
	// `client_secret_post` or `private_key_jwt`. Default: `private_key_jwt` with
	// keys, `none` with neither keys nor a secret. With a secret the client may
	// send it in both ways, for programs differ in that.
	AuthMethod string `json:"token_endpoint_auth_method,omitempty"`

	// What it may do: `authorization_code`, `refresh_token` and
	// `client_credentials`. Default: the first two, or nothing for a client
	// that introspects and has no redirect URI.
	GrantTypes []string `json:"grant_types,omitempty"`

	// The scopes that it may have at most. Default: all.
	Scopes []string `json:"scopes,omitempty"`

	// The resources that it may have tokens for, by their URIs. Default: all.
	Resources []string `json:"resources,omitempty"`

	// Skips the question of consent: who can sign in and is allowed in gets in.
	Trusted bool `json:"trusted,omitempty"`

	// Lets the client ask about tokens of its resources (RFC 7662). It must
	// authenticate.
	Introspect bool `json:"introspect,omitempty"`
}

// maxJWKS bounds a file of keys, in bytes.
const maxJWKS = 64 << 10

// client translates the entry for the core.
func (c *ClientConfig) client() authserver.Client {
	out := authserver.Client{
		ID:           c.ID,
		Secret:       c.Secret,
		SecretHash:   c.SecretHash,
		JWKS:         c.JWKS,
		JWKSURI:      c.JWKSURI,
		Name:         c.Name,
		RedirectURIs: c.RedirectURIs,
		AuthMethod:   c.AuthMethod,
		GrantTypes:   c.GrantTypes,
		Scopes:       c.Scopes,
		Resources:    c.Resources,
		Trusted:      c.Trusted,
		Introspects:  c.Introspect,
	}
	if out.Name == "" {
		out.Name = c.ID
	}
	if out.AuthMethod == "" {
		switch {
		case c.Secret != "" || c.SecretHash != "":
			out.AuthMethod, out.AnySecretMethod = oauth.AuthMethodBasic, true
		case c.JWKS != nil || c.JWKSURI != "":
			out.AuthMethod = oauth.AuthMethodPrivateKeyJWT
		default:
			out.AuthMethod = oauth.AuthMethodNone
		}
	}
	if c.GrantTypes == nil && (len(c.RedirectURIs) > 0 || !c.Introspect) {
		out.GrantTypes = []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}
	}
	return out
}

// loadClientKeys reads the files of keys.
func (a *App) loadClientKeys() error {
	for i := range a.Clients {
		if err := a.Clients[i].loadKeys(); err != nil {
			return fmt.Errorf("client %q: %w", a.Clients[i].ID, err)
		}
	}
	return nil
}

func (c *ClientConfig) loadKeys() error {
	if c.JWKSFile == "" {
		return nil
	}
	if c.JWKS != nil {
		return errKeysTwice
	}
	data, err := os.ReadFile(c.JWKSFile)
	if err != nil {
		return fmt.Errorf("reading its keys: %w", err)
	}
	if len(data) > maxJWKS {
		return fmt.Errorf("its keys in %s have %d bytes, they may have up to %d", c.JWKSFile, len(data), maxJWKS)
	}
	c.JWKS = data
	return nil
}

var errKeysTwice = errors.New("it has keys twice: jwks and jwks_file")

// parseClient reads:
//
//	client <client_id> {
//		name         <name>
//		secret       <secret>
//		secret_hash  <hash>
//		jwks         <file>|<json>
//		jwks_uri     <url>
//		auth_method  none|client_secret_basic|client_secret_post|private_key_jwt
//		redirect_uri <uri...>
//		grants       authorization_code|refresh_token|client_credentials...
//		scopes       <scope...>
//		resources    <uri...>
//		trusted
//		introspect
//	}
func (a *App) parseClient(d *caddyfile.Dispenser) error {
	var c ClientConfig
	if !d.AllArgs(&c.ID) {
		return d.ArgErr()
	}
	head := *d // an error about the whole client names this line
	for _, other := range a.Clients {
		if other.ID == c.ID {
			return head.Errf("client %q: another client has this id too", c.ID)
		}
	}
	err := parseBlock(d, "client", map[string]option{
		"name":         text(&c.Name),
		"secret":       credential(&c.Secret),
		"secret_hash":  credential(&c.SecretHash),
		"jwks":         c.parseJWKS,
		"jwks_uri":     text(&c.JWKSURI),
		"auth_method":  text(&c.AuthMethod),
		"redirect_uri": list(&c.RedirectURIs),
		"grants":       list(&c.GrantTypes),
		"scopes":       scopes(&c.Scopes),
		"resources":    list(&c.Resources),
		"trusted":      flag(&c.Trusted),
		"introspect":   flag(&c.Introspect),
	})
	if err != nil {
		return err
	}
	probe := c.legible()
	if err := probe.client().Check(); err != nil {
		return head.Errf("client %q: %v", c.ID, err)
	}
	a.Clients = append(a.Clients, c)
	return nil
}

// parseJWKS reads: jwks <file>|<json>. JSON begins with a brace, in backquotes.
func (c *ClientConfig) parseJWKS(d *caddyfile.Dispenser) error {
	var value string
	if c.JWKS != nil || c.JWKSFile != "" {
		return d.Err("jwks occurs twice")
	}
	if !d.AllArgs(&value) {
		return d.Err("jwks takes one argument, a file or JSON in backquotes")
	}
	if !strings.HasPrefix(value, "{") {
		c.JWKSFile = value
		return nil
	}
	if !json.Valid([]byte(value)) {
		return d.Err("jwks: this is not valid JSON")
	}
	c.JWKS = json.RawMessage(value)
	return nil
}

// legible returns the client with stand-ins for what is not known before the
// configuration is loaded: placeholders and the content of files.
func (c *ClientConfig) legible() ClientConfig {
	out := *c
	if strings.Contains(out.SecretHash, "{") {
		out.SecretHash = "sha256:" + strings.Repeat("0", 64)
	}
	if out.JWKSFile != "" && out.JWKSURI == "" {
		out.JWKSURI = "https://keys.invalid/"
	} else if out.JWKSFile != "" {
		out.JWKS = json.RawMessage(`{"keys":[]}`) // beside jwks_uri, which is refused
	}
	return out
}
