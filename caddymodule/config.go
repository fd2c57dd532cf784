package caddymodule

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
)

// KeysConfig configures the key ring.
type KeysConfig struct {
	// The algorithm that signs access tokens: `ES256`, `RS256`, `EdDSA` or
	// `HS256`. After a change, older tokens stay valid, except with derive.
	// Default: `ES256`
	Algorithm string `json:"algorithm,omitempty"`

	// Encrypts the key ring in the store, and with it what the store keeps of
	// people and programs. At least 32 bytes, for example from
	// `openssl rand -base64 32`. Placeholders are replaced. A wrong secret
	// refuses to start and changes nothing. Set it before the first start: what
	// was stored without it is encrypted in the background, but can stay in free
	// space of the store's file. Default: everything is stored as it is, and the
	// store's own permissions protect it.
	Secret string `json:"secret,omitempty"`

	// Secrets that the key ring in the store may be encrypted with instead: the
	// one that `secret` had before, or the one that it gets next. The ring is then
	// encrypted with `secret` again. Placeholders are replaced. Not with derive.
	// Default: none. Example: `["{env.MCP_AUTH_OLD_SECRET}"]`
	PreviousSecrets []string `json:"previous_secrets,omitempty"`

	// Makes the keys from the secret instead of storing them, for servers that
	// have no volume. They never rotate.
	Derive bool `json:"derive,omitempty"`

	// How long a key signs before the next takes over; older keys go on
	// verifying. A negative value turns scheduled rotation off. Default: `90d`
	RotateEvery caddy.Duration `json:"rotate_every,omitempty"`
}

// LifetimesConfig bounds what is issued.
type LifetimesConfig struct {
	// How long an access token is good. Default: `1h`
	AccessToken caddy.Duration `json:"access_token,omitempty"`

	// How long an authorization code is good, at most 10m. Default: `60s`
	Code caddy.Duration `json:"code,omitempty"`

	// How long the refresh token before the newest one still works, so that a
	// lost answer ends no session. A negative value turns it off: then any
	// second use ends the session. Default: `60s`
	RefreshGrace caddy.Duration `json:"refresh_grace,omitempty"`

	// Ends a session that was not refreshed for so long. Default: `30d`
	RefreshIdle caddy.Duration `json:"refresh_idle,omitempty"`

	// Ends a session however often it is refreshed. Default: `180d`
	RefreshAbsolute caddy.Duration `json:"refresh_absolute,omitempty"`

	// The longest that a personal access token may live, at least `1d`. Those
	// that were made before keep what they got. Default: `365d`
	PersonalToken caddy.Duration `json:"personal_token,omitempty"`
}

// SessionsConfig bounds how long a browser stays signed in.
type SessionsConfig struct {
	// Ends a session that was not used for so long. Default: `8h`
	Idle caddy.Duration `json:"idle,omitempty"`

	// Ends a session however often it is used. Default: `7d`
	Lifetime caddy.Duration `json:"lifetime,omitempty"`
}

// BrandConfig is how the pages look that people see.
type BrandConfig struct {
	// What the server is called. Default: `Sign-in server`, in the language of
	// the page.
	Name string `json:"name,omitempty"`

	// The file of a logo: SVG, PNG, JPEG, WebP or GIF, at most 64 KiB. It is
	// read when the configuration is loaded. Default: none.
	Logo string `json:"logo,omitempty"`

	// The colour of buttons and links, as `#rgb` or `#rrggbb`. It must stand
	// out from the page well enough to be read. Default: a blue.
	Color string `json:"color,omitempty"`

	// The same for people whose screen is dark. Default: a light blue.
	DarkColor string `json:"dark_color,omitempty"`
}

// maxLogo bounds a logo, in bytes: it comes with every page.
const maxLogo = 64 << 10

// load reads the logo.
func (c *BrandConfig) load() (authserver.Logo, error) {
	if c.Logo == "" {
		return authserver.Logo{}, nil
	}
	kind, ok := map[string]string{
		".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif",
	}[strings.ToLower(filepath.Ext(c.Logo))]
	if !ok {
		return authserver.Logo{}, fmt.Errorf("brand: the logo %s is not an .svg, .png, .jpg, .webp or .gif file", c.Logo)
	}
	data, err := os.ReadFile(c.Logo)
	if err != nil {
		return authserver.Logo{}, fmt.Errorf("brand: reading the logo: %w", err)
	}
	if len(data) == 0 || len(data) > maxLogo {
		return authserver.Logo{}, fmt.Errorf("brand: the logo %s has %d bytes, it may have up to %d", c.Logo, len(data), maxLogo)
	}
	return authserver.Logo{Type: kind, Data: data}, nil
}

const defaultRotation = 90 * 24 * time.Hour

// config translates the module's fields for the core, the resources excepted.
func (a *App) config() authserver.Config {
	l := a.Lifetimes
	cfg := authserver.Config{
		Issuer: a.Issuer,
		Lifetimes: authserver.Lifetimes{
			AccessToken:     time.Duration(l.AccessToken),
			Code:            time.Duration(l.Code),
			RefreshGrace:    time.Duration(l.RefreshGrace),
			RefreshIdle:     time.Duration(l.RefreshIdle),
			RefreshAbsolute: time.Duration(l.RefreshAbsolute),
			PersonalToken:   time.Duration(l.PersonalToken),
		},
		Registration:             a.Registration.registration(),
		Documents:                a.ClientMetadata.config(),
		Rules:                    a.Rules,
		Sessions:                 authserver.Sessions{Idle: time.Duration(a.Sessions.Idle), Absolute: time.Duration(a.Sessions.Lifetime)},
		TrustedRedirectHosts:     a.TrustedRedirectHosts,
		Brand:                    pages.Brand{Name: a.Brand.Name, Color: a.Brand.Color, DarkColor: a.Brand.DarkColor},
		RootPaths:                !a.DisableRootPaths,
		Development:              a.Development,
		AllowUnattended:          a.InsecureAutoApprove,
		LenientAssertionAudience: a.LenientAssertionAudience,
	}
	for _, c := range a.Clients {
		cfg.Clients = append(cfg.Clients, c.client())
	}
	return cfg
}

func (a *App) keyOptions() keys.Options {
	rotate := time.Duration(a.Keys.RotateEvery)
	if rotate == 0 {
		rotate = defaultRotation
	}
	lifetime := time.Duration(a.Lifetimes.AccessToken)
	if lifetime == 0 {
		lifetime = authserver.DefaultAccessTokenLifetime
	}
	var previous [][]byte
	for _, secret := range a.Keys.PreviousSecrets {
		previous = append(previous, []byte(secret))
	}
	return keys.Options{
		Algorithm:     a.Keys.Algorithm,
		Secret:        []byte(a.Keys.Secret),
		Previous:      previous,
		Derive:        a.Keys.Derive,
		RotateEvery:   max(rotate, 0),
		TokenLifetime: lifetime,
	}
}
