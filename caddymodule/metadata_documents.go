package caddymodule

import (
	"errors"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/jose"
)

// ClientMetadataConfig configures clients that are described by a metadata
// document at their client_id (OAuth Client ID Metadata Documents).
type ClientMetadataConfig struct {
	// Turns them off: nothing is fetched, and such clients are unknown.
	Disabled bool `json:"disabled,omitempty"`

	// The hosts whose documents are taken: `claude.ai`, `*.example.com` for
	// every host below example.com, or `*`. Default: those of every host.
	Allow []string `json:"allow,omitempty"`

	// Hosts whose documents are not taken, whatever `allow` says. Programs that
	// were let in before are refused too. Default: none.
	Deny []string `json:"deny,omitempty"`

	// Hosts about which people are warned when they are asked. Default: none.
	Warn []string `json:"warn,omitempty"`

	// Turns the bundled copies off, which serve when the document of a known
	// client, such as Claude, can't be fetched.
	DisableBundled bool `json:"disable_bundled,omitempty"`

	// The proxy through which documents, keys and logos are fetched, such as
	// `http://proxy.internal:3128`. It resolves their hosts, so it must refuse
	// private addresses itself. Placeholders are replaced. Default: none, also
	// if the environment names one.
	Proxy string `json:"proxy,omitempty"`
}

// parse reads:
//
//	client_metadata off
//	client_metadata {
//		allow   <host...>
//		deny    <host...>
//		warn    <host...>
//		bundled on|off
//		proxy   <url>
//	}
func (c *ClientMetadataConfig) parse(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		c.Disabled = d.Val() == "off"
		if !c.Disabled || d.NextArg() {
			return d.Err("client_metadata takes off, or a block")
		}
	}
	return parseBlock(d, "client_metadata", map[string]option{
		"allow": list(&c.Allow),
		"deny":  list(&c.Deny),
		"warn":  list(&c.Warn),
		"proxy": credential(&c.Proxy),
		"bundled": func(d *caddyfile.Dispenser) error {
			bundled := true
			err := onOff(&bundled)(d)
			c.DisableBundled = !bundled
			return err
		},
	})
}

func (c *ClientMetadataConfig) config() authserver.Documents {
	return authserver.Documents{Off: c.Disabled, Allow: c.Allow, Deny: c.Deny, Warn: c.Warn, BundledOff: c.DisableBundled}
}

// fetched is what fetches for one app, and what it keeps.
type fetched struct {
	client *fetch.Client
	// clientKeys are at addresses that strangers name, configuredKeys at those
	// of the configuration.
	clientKeys, configuredKeys *jose.Remote
}

// configuredHoldOff is how long the operator's own addresses are left alone after
// a failure: nobody else chose them, and people wait.
const configuredHoldOff = 5 * time.Second

// provision makes what fetches. It asks nobody yet.
func (c *ClientMetadataConfig) provision() (fetched, error) {
	var o fetch.Options
	if c.Proxy != "" {
		u, err := url.Parse(c.Proxy)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			// The value may hold a password.
			return fetched{}, errors.New("client_metadata: the proxy is not a URL such as http://proxy.internal:3128")
		}
		o.Proxy = u
	}
	return fetched{
		client: fetch.New(o),
		// A client of its own: who has many slow keys fetched keeps nobody's
		// document away.
		clientKeys:     jose.NewRemote(fetch.New(o), jose.RemoteOptions{}),
		configuredKeys: jose.NewRemote(fetch.New(fetch.Options{AllowPrivate: true}), jose.RemoteOptions{HoldOff: configuredHoldOff}),
	}, nil
}

// close ends what is under way. What is kept still serves.
func (f fetched) close() {
	for _, r := range []*jose.Remote{f.clientKeys, f.configuredKeys} {
		if r != nil { // a configuration that was refused early has none
			r.Close()
		}
	}
}
