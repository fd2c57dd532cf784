package resource

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// prefixed is a kind of tokens with a prefix.
type prefixed struct {
	prefix string
	token  *Token
	err    error
	asked  int
}

func (k *prefixed) Recognizes(raw string) bool { return strings.HasPrefix(raw, k.prefix) }

func (k *prefixed) Verify(context.Context, string) (*Token, error) {
	k.asked++
	return k.token, k.err
}

// TestKinds: a token is judged by the first kind that recognizes it, and by no
// other.
func TestKinds(t *testing.T) {
	good := &Token{AccessTokenClaims: oauth.AccessTokenClaims{Subject: "s", Audience: mcp, GrantID: "g1"}}
	elsewhere := &Token{AccessTokenClaims: oauth.AccessTokenClaims{Subject: "s", Audience: "https://other.example/mcp"}}
	revoked := &Token{AccessTokenClaims: oauth.AccessTokenClaims{Subject: "s", Audience: mcp, GrantID: "gone"}}
	without := &Token{AccessTokenClaims: oauth.AccessTokenClaims{Subject: "s", Audience: mcp}}
	for _, tt := range []struct {
		name      string
		kind      prefixed
		raw       string
		status    int // 0: passes
		code      string
		challenge bool
		asked     int
	}{
		{"good", prefixed{prefix: "pat_", token: good}, "pat_x", 0, "", false, 1},
		{"without a grant", prefixed{prefix: "pat_", token: without}, "pat_x", 0, "", false, 1},
		{"of another kind", prefixed{prefix: "pat_", token: good}, "other_x", 401, oauth.CodeInvalidToken, true, 0},
		{"bad", prefixed{prefix: "pat_", err: errors.New("bad")}, "pat_x", 401, oauth.CodeInvalidToken, true, 1},
		{"for another resource", prefixed{prefix: "pat_", token: elsewhere}, "pat_x", 401, oauth.CodeInvalidToken, true, 1},
		{"revoked", prefixed{prefix: "pat_", token: revoked}, "pat_x", 401, oauth.CodeInvalidToken, true, 1},
		{"outage", prefixed{prefix: "pat_", err: fmt.Errorf("database: %w", ErrUnavailable)}, "pat_x", 503, oauth.CodeTemporarilyUnavailable, false, 1},
		{"guesses", prefixed{prefix: "pat_", err: fmt.Errorf("memory: %w", ErrThrottled)}, "pat_x", 429, oauth.CodeTemporarilyUnavailable, false, 1},
		{"not allowed", prefixed{prefix: "pat_", err: fmt.Errorf("rules: %w", ErrForbidden)}, "pat_x", 403, oauth.CodeAccessDenied, false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			last := &prefixed{prefix: "pat_", token: good}
			g, err := NewGuard(Config{URIs: []string{mcp}, AuthorizationServers: []string{issuer}},
				func(t *Token) bool { return t.GrantID == "gone" }, &tt.kind, last)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodPost, mcp, http.NoBody)
			r.Header.Set("Authorization", "Bearer "+tt.raw)
			d := g.Check(r)
			switch {
			case tt.status == 0 && (d.Token == nil || d.Deny != nil):
				t.Errorf("refused: %+v", d.Deny)
			case tt.status != 0 && (d.Deny == nil || d.Token != nil || d.Deny.Status != tt.status || d.Deny.Code != tt.code):
				t.Errorf("got %+v", d.Deny)
			case tt.status != 0 && (d.Deny.Challenge != "") != tt.challenge:
				t.Errorf("challenge %q", d.Deny.Challenge)
			}
			if tt.kind.asked != tt.asked || last.asked != 0 {
				t.Errorf("asked %d times, the other %d", tt.kind.asked, last.asked)
			}
		})
	}
}
