package authserver

import (
	"fmt"
	"net/url"
	"slices"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// Documents configures clients that are described by a metadata document at
// their client_id. They are on by default.
type Documents struct {
	// Off turns them off: no fetch, no metadata member.
	Off bool
	// Allow lists the hosts whose documents are taken, such as claude.ai;
	// *.example.com stands for every host below example.com, and * for all.
	// Empty takes those of every host.
	Allow []string
	// Deny lists hosts whose documents are not taken, whatever Allow says.
	Deny []string
	// Warn lists hosts about which people are warned when they are asked.
	Warn []string
	// BundledOff turns the bundled copies off that serve when the document of a
	// known client can't be fetched.
	BundledOff bool
}

func (d Documents) check() error {
	for _, pattern := range slices.Concat(d.Allow, d.Deny, d.Warn) {
		if pattern == everyHost {
			continue
		}
		if err := oauth.CheckHostPattern(pattern); err != nil || pattern == oauth.LoopbackHosts {
			return fmt.Errorf("client metadata documents: %q is not a host such as claude.ai, *.example.com for those below it, or *", pattern)
		}
	}
	return nil
}

// everyHost is the pattern that stands for all.
const everyHost = "*"

// trusts reports whether a document is taken from where it is.
func (d Documents) trusts(id string) bool {
	return !hostIn(d.Deny, id) && (len(d.Allow) == 0 || hostIn(d.Allow, id))
}

// hostIn reports whether the host of a client_id is among those of a list.
func hostIn(patterns []string, id string) bool {
	u, err := url.Parse(id)
	return err == nil && slices.ContainsFunc(patterns, func(p string) bool { return p == everyHost || oauth.MatchHost(p, u) })
}
