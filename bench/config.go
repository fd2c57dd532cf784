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
	rules string // the gateway's third site, which judges calls
	admin string
}

const globals = `{
	admin %[4]s
	persist_config off
	default_bind 127.0.0.1
%[6]s}

`

// plainText is plain Caddy: a proxy, and an answer of Caddy's own.
const plainText = globals + `http://%[1]s {
	reverse_proxy %[5]s {
		transport http {
			keepalive_idle_conns_per_host %[7]d
		}
	}
}

http://%[2]s {
	respond 401
}
`

// gatewayText is the same proxy behind mcp_auth, one more with the transport that
// Caddy has by default, and one with rules, of which the tenth is about the calls. Registrations are not bounded, because they come
// from one address here.
const gatewayText = globals + `http://%[1]s {
	mcp_auth
	reverse_proxy %[5]s {
		transport http {
			keepalive_idle_conns_per_host %[7]d
		}
	}
}

http://%[2]s {
	mcp_auth {
		resource http://%[2]s/mcp
	}
	reverse_proxy %[5]s
}

http://%[3]s {
	mcp_auth {
		resource http://%[3]s/mcp
		scopes tickets:read
		hierarchy tickets:admin tickets:refund tickets:read
		tool refund_1 refund_2 refund_3 require scope tickets:refund
		tool refund_* {
			require scope tickets:refund
			require group leads
		}
		tool close_* reopen_* require scope tickets:refund
		tool export_* require group analysts
		tool delete_* deny
		tool admin_* require scope tickets:admin
		prompt * allow
		resource_uri file:///hr/* require group hr
		method completion/complete allow
		tool search_* require scope tickets:read
		default deny
	}
	reverse_proxy %[5]s {
		transport http {
			keepalive_idle_conns_per_host %[7]d
		}
	}
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
	var at [4]string
	for i := range at {
		port, err := freePort()
		if err != nil {
			return config{}, err
		}
		host := "localhost"
		if i == len(at)-1 {
			host = "127.0.0.1"
		}
		at[i] = fmt.Sprintf("%s:%d", host, port)
	}
	c := config{site: at[0], other: at[1], rules: at[2], admin: at[3]}
	text, extra := plainText, ""
	if gateway {
		text, extra = gatewayText, fmt.Sprintf(gatewayGlobals, c.site)
	}
	c.text = strings.TrimLeft(fmt.Sprintf(text, c.site, c.other, c.rules, c.admin, upstream, extra, idleConns), "\n")
	return c, nil
}
