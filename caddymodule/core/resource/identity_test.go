package resource

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// told returns the identity headers of a token.
func told(t *testing.T, n *IdentityHeaders, token *Token) map[string]string {
	t.Helper()
	h, room := http.Header{}, new(Values)
	made := n.Identity(token)
	if !made.Of(n) || made.Of(new(IdentityHeaders)) {
		t.Error("it does not know whose it is")
	}
	made.Set(h, room)
	out := map[string]string{}
	for name, values := range h {
		if len(values) != 1 || cap(values) != 1 {
			t.Errorf("%s has the values %q of %d", name, values, cap(values))
		}
		out[name] = values[0]
	}
	return out
}

func TestIdentityHeaders(t *testing.T) {
	names := DefaultIdentityHeaders
	names.Scope = ""
	names.Claims = []ClaimHeader{{"email_verified", "Verified"}, {"nothing", "Nothing"}}
	got := told(t, &names, &Token{AccessTokenClaims: oauth.AccessTokenClaims{
		Subject: "alice", Name: "Älice\r\nX-Evil: 1 100%", ClientID: "c1", ClientName: "trusted", Scope: "read",
		Groups: []string{"leads", "a,b", "50%", " edge ", "", "Büro"}, EmailVerified: true,
	}})
	want := map[string]string{
		"X-Mcp-User": "alice", "X-Mcp-Name": "%C3%84lice%0D%0AX-Evil: 1 100%25", "X-Mcp-Client": "c1",
		"X-Mcp-Groups": "leads,a%2Cb,50%25,%20edge%20,B%C3%BCro", "Verified": "true",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := told(t, &names, &Token{AccessTokenClaims: oauth.AccessTokenClaims{Subject: "alice", Groups: []string{""}}}); got["X-Mcp-Groups"] != "" {
		t.Errorf("no groups are told as %v", got)
	}
}

func TestClaimHeaders(t *testing.T) {
	raw := map[string]any{
		"text": "R&D, Ünit 7\n", "empty": "", "number": float64(12345678901), "part": 1.5, "yes": true, "no": false, "null": nil,
		"list": []any{"a", "b,c", float64(7), true}, "nothing": []any{}, "nested": []any{"a", []any{"b"}},
		"object": map[string]any{"b": float64(1), "a": []any{"x", "ü"}}, "long": strings.Repeat("x", MaxIdentityHeader+1),
		"encoded": strings.Repeat("ü", MaxIdentityHeader/4), "fits": strings.Repeat("x", MaxIdentityHeader),
	}
	want := map[string]string{
		"text": "R&D, %C3%9Cnit 7%0A", "number": "12345678901", "part": "1.5", "yes": "true", "no": "false",
		"list": "a,b%2Cc,7,true", "nested": `["a",["b"]]`, "object": `{"a":["x","%C3%BC"],"b":1}`,
		"fits": strings.Repeat("x", MaxIdentityHeader),
	}
	names := IdentityHeaders{}
	for _, claim := range slices.Sorted(maps.Keys(raw)) {
		names.Claims = append(names.Claims, ClaimHeader{claim, claim})
	}
	token := &Token{Raw: raw}
	if got := told(t, &names, token); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if left := names.Identity(token).TooLong; !slices.Equal(left, []string{"encoded", "long"}) {
		t.Errorf("left out are %q", left)
	}
}
