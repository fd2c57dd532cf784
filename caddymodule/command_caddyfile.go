package caddymodule

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"text/template"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// gatewayCaddyfile is what mcp-gateway stands for. People go on from it, so its
// comments say what to do next.
var gatewayCaddyfile = template.Must(template.New("Caddyfile").Parse(`# {{.Command}}
#
# This is what that command stands for. Keep it as a file called Caddyfile that
# only you and Caddy can read, change it, and start it with: caddy run
{
	# Nothing but this file says what is served. Take both lines away for caddy
	# reload, for metrics, and for keys that you rotate by hand.
	admin off
	persist_config off

{{- if .Local}}

	# For programs on this machine only.
	default_bind {{.Bind}}
{{- end}}

	# What goes wrong, and a line for each sign-in, approval and token.
	log {
		level ERROR
		exclude mcp_auth http.handlers.mcp_auth.audit
	}
	log mcp_auth {
		include mcp_auth http.handlers.mcp_auth.audit
	}

	mcp_auth {
		issuer {{.Issuer}}

		# Whoever may sign in has a line here, with a hash that this prints:
		#	caddy hash-password --algorithm argon2id
		# With many people, keep them in a users_file, or let them use accounts
		# that they have: the README has the other logins, and the rules of who
		# may come in.
		login password {
			user {{.User}} {{.Hash}}
		}
	}
}

{{.Sites}} {
	mcp_auth {
		# The URL that people add to their clients.
		resource {{.Resource}}
	}

	# The MCP server. Nobody should reach it but through here: let it listen on
	# localhost, or on a network of its own.
{{- if .Secure}}
	reverse_proxy {{.Upstream}}
{{- else}}
	reverse_proxy {{.Upstream}} {
		# Many MCP servers refuse requests for a name that is not their own.
		header_up Host {upstream_hostport}
	}
{{- end}}
}
{{- if not .Local}}

# Caddy redirects plain HTTP by itself, also a POST that carries credentials,
# which a client would then send again. Refuse those.
http://{{.Host}} {
	@read method GET HEAD
	redir @read {{.Issuer}}{uri} permanent
	respond "Use https." 403
}
{{- end}}
`))

// caddyfile returns the Caddyfile, formatted as caddy fmt does.
func (g gateway) caddyfile() ([]byte, error) {
	var b bytes.Buffer
	if err := gatewayCaddyfile.Execute(&b, g); err != nil {
		return nil, fmt.Errorf("writing the Caddyfile: %w", err)
	}
	return caddyfile.Format(b.Bytes()), nil
}

// adaptText turns a Caddyfile into Caddy's JSON.
func adaptText(text []byte) ([]byte, error) {
	adapter := caddyconfig.GetAdapter("caddyfile")
	if adapter == nil {
		return nil, errors.New("this Caddy can't read Caddyfiles")
	}
	config, _, err := adapter.Adapt(text, map[string]any{"filename": "Caddyfile"})
	return config, err
}

// Command is the command line, without the password's hash.
func (g gateway) Command() string {
	command := "caddy mcp-gateway --to " + g.Upstream + " --from " + g.Issuer + " --user " + g.User
	if g.Path != defaultPath {
		command += " --path " + g.Path
	}
	return command
}

// Local reports whether clients reach the gateway on this machine only.
func (g gateway) Local() bool { return oauth.IsLoopbackHost(g.address().Host) }

// Secure reports whether the MCP server speaks https.
func (g gateway) Secure() bool { return strings.HasPrefix(g.Upstream, "https://") }

// Resource is the URL of the MCP endpoint, in canonical form: only an origin
// loses its slash.
func (g gateway) Resource() string {
	if g.Path == "/" {
		return g.Issuer
	}
	return g.Issuer + g.Path
}

// Host is the issuer's host without its port.
func (g gateway) Host() string { return g.address().Hostname() }

// Bind is the address that a local gateway listens on.
func (g gateway) Bind() string {
	if host := g.Host(); host != "localhost" {
		return host
	}
	return "127.0.0.1"
}

// Sites are the addresses of the site. Whoever types 127.0.0.1 for localhost
// gets a challenge with the right name, and not an empty page.
func (g gateway) Sites() string {
	if g.Host() == "localhost" {
		return g.Issuer + ", " + strings.Replace(g.Issuer, "localhost", "127.0.0.1", 1)
	}
	return strings.TrimPrefix(g.Issuer, "https://")
}

func (g gateway) address() *url.URL {
	u, err := url.Parse(g.Issuer)
	if err != nil {
		return new(url.URL) // it was checked
	}
	return u
}

// welcome tells what to do next.
func (g gateway) welcome() string {
	certificate := ""
	if !g.Local() {
		certificate = fmt.Sprintf(`Caddy gets the certificate by itself: %s must point at this machine, and
ports 80 and 443 be open to the internet. The first connection may take a moment.
`, g.Host())
	}
	return fmt.Sprintf(`
The gateway runs at %[1]s, in front of %[2]s.
%[3]sState is in %[4]s.

Add this URL to your MCP clients, and sign in as %[5]s when the browser opens:
  %[6]s

With Claude Code:
  claude mcp add --transport http my-server %[6]s

See which programs you let in, and take that back:
  %[1]s/oauth/account

Ctrl+C stops. With --print you get the Caddyfile that this stands for.
`, g.Issuer, g.Upstream, certificate, caddy.AppDataDir(), g.User, g.Resource())
}
