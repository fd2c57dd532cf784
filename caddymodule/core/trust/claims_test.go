package trust

import (
	"strings"
	"testing"
	"time"
)

// FuzzClaims: whatever a provider's token says, its user is known by the
// provider's name, and by nothing that breaks a line.
func FuzzClaims(f *testing.F) {
	f.Add([]byte(`{"iss":"https://idp.example","aud":"https://mcp.example/mcp","sub":"u|1","exp":1767226000,"scope":"a b","groups":["x"]}`))
	f.Add([]byte(`{"aud":["https://mcp.example/mcp"],"sub":"u","exp":1.767226e9,"scp":["a"],"realm_access":{"roles":1},"_claim_names":{"groups":"x"}}`))
	f.Add([]byte(`{"aud":"https://mcp.example/mcp","sub":"a\u000ab","exp":1767226000}`))
	f.Add([]byte(`null`))
	now := time.Unix(1767225600, 0)
	const issuer = "https://idp.example"
	i, err := New(Config{Issuer: issuer, URIs: []string{"https://mcp.example/mcp"}, Now: func() time.Time { return now }})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(i.Close)
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseClaims(text)
		if err != nil {
			return
		}
		token, err := i.access(c)
		if err != nil {
			return
		}
		id, own := strings.CutPrefix(token.Subject, issuer+"|")
		switch {
		case !own || id == "" || strings.ContainsAny(id, " \r\n\x00"):
			t.Errorf("the user is %q", token.Subject)
		case token.ClientID != "" && !strings.HasPrefix(token.ClientID, issuer+"|"):
			t.Errorf("the client is %q", token.ClientID)
		case token.Expires == 0 || token.GrantID != "" || token.Audience != "https://mcp.example/mcp":
			t.Errorf("got %+v", token)
		case strings.ContainsAny(token.Name+token.Email+token.Scope, "\r\n\x00"):
			t.Errorf("a line breaks: %+v", token)
		}
	})
}
