package header

import (
	"maps"
	"slices"
	"strings"
)

// preset is how a product names its headers.
type preset struct {
	user, email, name, groups, separator, jwt string
	tailscale                                 bool
}

// presets are the products by name. Where a product has an id that never
// changes beside a name that people may change, the id is the user.
var presets = map[string]preset{
	"":         {},
	"authelia": {user: "Remote-User", email: "Remote-Email", name: "Remote-Name", groups: "Remote-Groups", separator: ","},
	"authentik": {
		user: "X-Authentik-Uid", email: "X-Authentik-Email", name: "X-Authentik-Name", groups: "X-Authentik-Groups", separator: "|",
		jwt: "X-Authentik-Jwt",
	},
	"oauth2-proxy": {
		user: "X-Forwarded-User", email: "X-Forwarded-Email", name: "X-Forwarded-Preferred-Username", groups: "X-Forwarded-Groups", separator: ",",
	},
	"cloudflare": {user: "Cf-Access-Authenticated-User-Email", email: "Cf-Access-Authenticated-User-Email", jwt: "Cf-Access-Jwt-Assertion"},
	"tailscale":  {user: "Tailscale-User-Login", email: "Tailscale-User-Login", name: "Tailscale-User-Name", tailscale: true},
}

func knownPresets() string {
	return strings.Join(slices.Sorted(maps.Keys(presets))[1:], ", ")
}
