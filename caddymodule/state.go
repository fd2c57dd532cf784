package caddymodule

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// states holds what must outlive a configuration reload, by key ring and
// issuer: open streams of the old configuration keep hearing of revocations
// that the new one learns of, and tokens stay verified.
var states = caddy.NewUsagePool()

// state is in memory only and holds no handle of the store, whose guest module
// has a life of its own.
type state struct {
	revoked *authserver.RevocationSet
	tokens  *resource.Cache
	calls   *callCounter
	streams *callCounter // open streams by user
	// sessions are those of MCP servers.
	sessions *sessions
}

// Destruct is called by the pool when the last configuration let go.
func (*state) Destruct() error { return nil }

func newState() (caddy.Destructor, error) {
	return &state{authserver.NewRevocationSet(), resource.NewCache(), newCallCounter(), newCallCounter(), newSessions()}, nil
}

// ended reports whether a token was revoked, by itself or with what it hangs on.
// It looks again when something was revoked since it was found good.
func (s *state) ended(t *resource.Token) bool {
	k, edition := seenOf(t), s.revoked.Edition()
	if k.good.Load() == edition {
		return false
	}
	if s.revoked.Ended(k.watched) {
		return true
	}
	k.good.Store(edition)
	return false
}

// seen is what is made of a token once, for all calls that present it.
type seen struct {
	watched     authserver.Watched
	good        atomic.Uint64 // the edition of the revocations in which it was good
	placeholder caddy.ReplacerFunc
	owner       atomic.Pointer[digest]            // of sessions
	user        digest                            // of rate limits
	client      digest                            // of rate limits
	identity    atomic.Pointer[resource.Identity] // for the handler that asked last
}

// seenOf returns what was made of a token.
func seenOf(t *resource.Token) *seen {
	if k, ok := t.Memo.Load().(*seen); ok {
		return k
	}
	k := &seen{
		watched: watched(t), placeholder: placeholderOf(t), user: digestOf(t.Issuer, t.Subject), client: digestOf(t.Issuer, t.ClientID),
	}
	t.Memo.Store(k)
	return k
}

// userPlaceholder is how the names of a user's placeholders begin.
const userPlaceholder = "http.auth.user."

// placeholderOf returns a function that finds the placeholders of a token's user.
func placeholderOf(t *resource.Token) caddy.ReplacerFunc {
	return func(name string) (any, bool) {
		last, ours := strings.CutPrefix(name, userPlaceholder)
		if !ours {
			return nil, false
		}
		switch last {
		case "id":
			return t.Subject, true
		case "email":
			return t.Email, true
		case "name":
			return t.Name, true
		case "client_id":
			return t.ClientID, true
		case "scope":
			return t.Scope, true
		case "groups":
			return joinGroups(t.Groups), true
		case "grant_id":
			return t.GrantID, true
		}
		return nil, false
	}
}

// joinGroups makes one text of groups, in which nobody gets two groups by the name
// of one.
func joinGroups(groups []string) string {
	escaped := make([]string, len(groups))
	for i, g := range groups {
		escaped[i] = commaEscaper.Replace(g)
	}
	return strings.Join(escaped, ",")
}

var commaEscaper = strings.NewReplacer(",", "%2C", "%", "%25")

// watched returns what a revocation of the token could be about. A token without
// the key of its client gets it here, so that no kind of tokens outlives a client
// because somebody forgot it.
func watched(t *resource.Token) authserver.Watched {
	key := t.ClientKey
	if key == "" && t.ClientID != "" {
		key = oauth.ClientKey(t.ClientID)
	}
	return authserver.Watched{GrantID: t.GrantID, Token: t.JWTID, ClientKey: key, Issued: time.Unix(t.IssuedAt, 0), KeyID: t.KeyID}
}
