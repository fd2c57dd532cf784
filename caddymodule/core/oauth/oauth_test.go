package oauth

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestParseScope(t *testing.T) {
	for _, tc := range []struct {
		in, want string
		ok       bool
	}{
		{"", "", true},
		{"a b", "a b", true},
		{"  a   b  a ", "a b", true},
		{"mcp:tools:read", "mcp:tools:read", true},
		{`a"b`, "", false},
		{`a\b`, "", false},
		{"a\tb", "", false},
		{"ä", "", false},
		{"a\x00", "", false},
	} {
		got, ok := ParseScope(tc.in)
		if ok != tc.ok || got.String() != tc.want {
			t.Errorf("ParseScope(%q) = %q, %v", tc.in, got, ok)
		}
	}
}

func TestScopeSets(t *testing.T) {
	ab, bc := Scope{"a", "b"}, Scope{"b", "c"}
	if got := ab.Intersect(bc).String(); got != "b" {
		t.Errorf("intersection is %q", got)
	}
	if ab.ContainsAll(bc) || !ab.ContainsAll(Scope{"b"}) || !ab.ContainsAll(nil) {
		t.Error("ContainsAll is wrong")
	}
	if got := (Scope{"openid", "a", "offline_access"}).WithoutIdentity().String(); got != "a" {
		t.Errorf("without identity scopes: %q", got)
	}
}

func FuzzScope(f *testing.F) {
	f.Add("a b")
	f.Add(`a"b`)
	f.Add(" \x00 ")
	f.Fuzz(func(t *testing.T, raw string) {
		s, ok := ParseScope(raw)
		if !ok {
			return
		}
		again, ok := ParseScope(s.String())
		if !ok || again.String() != s.String() {
			t.Fatalf("%q becomes %q and then %q", raw, s, again)
		}
		for _, token := range s {
			if !ValidScopeToken(token) || !strings.Contains(raw, token) {
				t.Fatalf("%q yields token %q", raw, token)
			}
		}
	})
}

func TestVerifyS256(t *testing.T) {
	// The example of RFC 7636, appendix B.
	const verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	if !VerifyS256(challenge, verifier) {
		t.Error("the RFC's own example fails")
	}
	for _, tc := range [][2]string{
		{"", ""},
		{challenge, ""},
		{"", verifier},
		{challenge, challenge},
		{verifier, verifier},
		{challenge, verifier + "x"},
		{challenge, strings.ToLower(verifier)},
		{challenge + "=", verifier},
		{challenge, "short"},
		{challenge, strings.Repeat("a", 129)},
		{challenge, verifier[:42] + "\n"},
	} {
		if VerifyS256(tc[0], tc[1]) {
			t.Errorf("challenge %q accepts verifier %q", tc[0], tc[1])
		}
	}
}

func TestValidCodeChallenge(t *testing.T) {
	a := strings.Repeat("A", 43)
	for _, bad := range []string{"", a[:42], a + "A", a[:42] + "=", a[:42] + "+", a[:42] + "\n", a[:42] + "B", a[:20] + "\r" + a[:22]} {
		if ValidCodeChallenge(bad) {
			t.Errorf("%q passes", bad)
		}
	}
	if !ValidCodeChallenge(a) {
		t.Error("a good one is refused")
	}
}

func TestCanonicalResource(t *testing.T) {
	for in, want := range map[string]string{
		"https://gw.example/mcp":      "https://gw.example/mcp",
		"HTTPS://GW.Example/mcp":      "https://gw.example/mcp",
		"https://gw.example:443/mcp":  "https://gw.example/mcp",
		"http://localhost:80/mcp":     "http://localhost/mcp",
		"https://gw.example:8443/mcp": "https://gw.example:8443/mcp",
		"https://gw.example/":         "https://gw.example",
		"https://gw.example":          "https://gw.example",
		"https://gw.example/MCP/":     "https://gw.example/MCP/",
		"https://gw.example/m%63p":    "https://gw.example/m%63p",
		"https://gw.example/mcp?a=b":  "https://gw.example/mcp?a=b",
	} {
		got, err := CanonicalResource(in)
		if err != nil || got != want {
			t.Errorf("CanonicalResource(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "mcp.example.com", "/mcp", "https://gw.example/mcp#f", "https://gw.example#", "ftp://gw.example/mcp", "https://",
		"https://a@gw.example/mcp", "https://gw.example\\@evil/mcp", "urn:x", "https://gw .example", "https://127.1/mcp",
	} {
		if got, err := CanonicalResource(in); err == nil {
			t.Errorf("CanonicalResource(%q) = %q, want an error", in, got)
		}
	}
}

func TestSameResource(t *testing.T) {
	const r = "https://gw.example/mcp"
	for _, a := range []string{r, "HTTPS://gw.example/mcp", "https://gw.example:443/mcp"} {
		if !SameResource(a, r) {
			t.Errorf("%s is not %s", a, r)
		}
	}
	for _, a := range []string{
		"", "https://gw.example", "https://gw.example/mcp/", "https://gw.example/mcp-admin", "https://gw.example/MCP",
		"https://gw.example/%6dcp", "https://gw.example/mcp?x", "https://gw.example.evil/mcp", "http://gw.example/mcp",
	} {
		if SameResource(a, r) {
			t.Errorf("%s passes for %s", a, r)
		}
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("disk full")
	e := Unavailable(cause)
	if e.Status != http.StatusServiceUnavailable || !errors.Is(e, cause) {
		t.Errorf("got %v with status %d", e, e.Status)
	}
	if strings.Contains(e.Description, "disk") {
		t.Error("the cause reaches the client")
	}
	plain := Errorf(CodeInvalidClient, "a \"b\" \\ ü\r\nX: y")
	if plain.Status != http.StatusUnauthorized || plain.Description != "a 'b' ' ???X: y" {
		t.Errorf("got %d %q", plain.Status, plain.Description)
	}
	if plain.WithStatus(400).Status != 400 || plain.Status != 401 {
		t.Error("WithStatus changes the original")
	}
}

func FuzzCanonicalResource(f *testing.F) {
	f.Add("https://gw.example/mcp")
	f.Add("HTTP://LOCALHOST:80/")
	f.Add("https://a@b/c#d")
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := CanonicalResource(raw)
		if err != nil {
			return
		}
		again, err := CanonicalResource(c)
		if err != nil || again != c {
			t.Fatalf("%q becomes %q and then %q, %v", raw, c, again, err)
		}
		if OriginOf(c)+PathOf(c) != strings.SplitN(c, "?", 2)[0] {
			t.Fatalf("%q: origin %q and path %q don't add up", c, OriginOf(c), PathOf(c))
		}
	})
}
