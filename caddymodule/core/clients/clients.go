package clients

import (
	_ "embed" // clients.json
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// Client is one row: an MCP client that people use. Its slices are shared, and
// only read.
type Client struct {
	// Key names the client in tests and files: lower-case letters, digits and
	// hyphens.
	Key string `json:"key"`
	// Name is what people call it.
	Name string `json:"name"`
	// ClientIDs are the URLs of its metadata documents, if it has any.
	ClientIDs []string `json:"client_ids"`
	// RedirectURIs are patterns of its redirect URIs. The port of a loopback
	// URI is free, and "/*" at the end stands for one path segment.
	RedirectURIs []string `json:"redirect_uris"`
	// Registers lists the ways in which it gets a client_id, in the order in
	// which it tries them: the Way constants.
	Registers []string `json:"registers"`
	// Flags are what it needs from a server.
	Flags []Flag `json:"flags"`
	// Fix says how a person makes it forget a registration that was lost.
	Fix Fix `json:"fix"`
	// Common says that its fix is shown when nothing tells which client it is.
	Common bool `json:"common"`
	// Evidence is who saw this, and when.
	Evidence []Evidence `json:"evidence"`
	// Recorded is the version of the real client from which its transcript was
	// recorded, or empty if the transcript was put together from the evidence.
	Recorded string `json:"recorded"`
	// Runs says that the real client runs in this project's tests.
	Runs bool `json:"runs"`
}

// The ways in which clients get a client_id.
const (
	// WayDocument is a client metadata document: the client_id is its URL.
	WayDocument = "document"
	// WayDynamic is dynamic registration (RFC 7591).
	WayDynamic = "dynamic"
	// WayConfigured is a client_id that somebody enters by hand.
	WayConfigured = "configured"
	// WayToken is no client_id at all: a bearer token that somebody enters.
	WayToken = "token"
)

// Fix is something to do. Text is the key of the words in the catalogues of
// pages; Code is what to type, if anything is.
type Fix struct {
	Text string `json:"text"`
	Code string `json:"code"`
}

// Evidence is one observation.
type Evidence struct {
	// Seen is the day of the observation, or of the report.
	Seen string `json:"seen"`
	// Says is what was seen.
	Says string `json:"says"`
	// Where lists threads (owner/repository#number) and pages.
	Where []string `json:"where"`
}

//go:embed clients.json
var clientsJSON []byte

var all = sync.OnceValue(func() []Client {
	var rows []Client
	if err := json.Unmarshal(clientsJSON, &rows); err != nil {
		panic("clients.json: " + err.Error()) // it is embedded, and a test reads it
	}
	return rows
})

// All returns every row.
func All() []Client { return slices.Clone(all()) }

// ByClientID returns the client whose metadata document has this URL.
func ByClientID(clientID string) (Client, bool) {
	for _, c := range all() {
		if slices.Contains(c.ClientIDs, clientID) {
			return c, true
		}
	}
	return Client{}, false
}

// ByRedirectURI returns the clients that use a redirect URI like this one: a
// guess, because anybody can register it, and because many programs share
// http://localhost/callback.
func ByRedirectURI(uri string) []Client { return ByRedirectURIs([]string{uri}) }

// ByRedirectURIs returns the clients that all the redirect URIs fit, none for
// an empty list.
func ByRedirectURIs(uris []string) []Client {
	if len(uris) == 0 {
		return nil
	}
	return slices.DeleteFunc(All(), func(c Client) bool {
		return slices.ContainsFunc(uris, func(uri string) bool { return !c.uses(uri) })
	})
}

func (c Client) uses(uri string) bool {
	if oauth.CheckRedirectURI(uri, oauth.DefaultRedirectSchemes) != nil {
		return false
	}
	return slices.ContainsFunc(c.RedirectURIs, func(pattern string) bool { return matches(pattern, uri) })
}

// matches compares a checked URI with a pattern.
func matches(pattern, uri string) bool {
	pattern, open := strings.CutSuffix(pattern, "/*")
	if !open {
		return oauth.MatchRedirectURI(pattern, uri)
	}
	end := strings.LastIndexByte(uri, '/')
	segment := uri[end+1:]
	return segment != "" && !strings.Contains(segment, "?") && oauth.MatchRedirectURI(pattern, uri[:end])
}
