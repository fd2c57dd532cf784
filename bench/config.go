package main

import (
	"fmt"
	"strings"
)

// idleConns is how many idle connections to the upstream the measured proxies
// keep; Caddy's default is 32. docs/performance.md says why.
const idleConns = 256

// config is a Caddyfile and the addresses in it.
type config struct {
	text  string
	site  string // what is measured
	other string // the second site: respond 401, or the proxy with Caddy's default transport
	admin string
}

const globals = `{
	admin %[3]s
	persist_config off
	default_bind 127.0.0.1
%[5]s}

`

// plainText is plain Caddy: a proxy, and an answer of Caddy's own.
const plainText = globals + `http://%[1]s {
	reverse_proxy %[4]s {
		transport http {
			keepalive_idle_conns_per_host %[6]d
		}
	}
}

http://%[2]s {
	respond 401
}
`

// gatewayText is the same proxy behind mcp_auth, and one more with the transport
// that Caddy has by default. Registrations are not bounded, because they come
// from one address here.
const gatewayText = globals + `http://%[1]s {
	mcp_auth
	reverse_proxy %[4]s {
		transport http {
			keepalive_idle_conns_per_host %[6]d
		}
	}
}

http://%[2]s {
	mcp_auth {
		resource http://%[2]s/mcp
	}
	reverse_proxy %[4]s
}
`

const gatewayGlobals = `	mcp_auth {
		issuer http://%s
		development
		login auto
		registration {
			rate_limit off off
		}
	}
`

// newConfig puts free ports into a Caddyfile.
func newConfig(gateway bool, upstream string) (config, error) {
	var at [3]string
	for i := range at {
		port, err := freePort()
		if err != nil {
			return config{}, err
		}
		host := "localhost"
		if i == 2 {
			host = "127.0.0.1"
		}
		at[i] = fmt.Sprintf("%s:%d", host, port)
	}
	c := config{site: at[0], other: at[1], admin: at[2]}
	text, extra := plainText, ""
	if gateway {
		text, extra = gatewayText, fmt.Sprintf(gatewayGlobals, c.site)
	}
	c.text = strings.TrimLeft(fmt.Sprintf(text, c.site, c.other, c.admin, upstream, extra, idleConns), "\n")
	return c, nil
}
