package resource

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestCovers: what two servers could read differently needs a token (SPEC K23,
// THREATS P5 to P7).
func TestCovers(t *testing.T) {
	whole := newBench(t, func(c *Config) { c.Public = []string{"/", "/health", "/docs/*"} }).guard
	some := newBench(t, func(c *Config) { c.Paths = []string{"/mcp", "/api/*"}; c.Public = []string{"/mcp/health"} }).guard
	for _, tc := range []struct {
		path        string
		whole, some bool // needs a token
	}{
		{"/", false, false},
		{"/health", false, false},
		{"/health/", true, false},
		{"/HEALTH", true, false},
		{"/health/x", true, false},
		{"/healthy", true, false},
		{"/docs", false, false},
		{"/docs/", false, false},
		{"/docs/a/b.js", false, false},
		{"/docsx", true, false},
		{"/docs/../mcp", true, true},
		{"/docs/%2e%2e/mcp", true, true},
		{"/docs%2f..%2fmcp", true, true},
		{"/docs/..;/mcp", true, true},
		{"/docs/;/mcp", true, true},
		{"/docs//mcp", true, true},
		{"//docs/x", true, true},
		{"/docs/a%00", true, true},
		{"/docs/a%5cb", true, true},
		{"/docs/a%25b", true, true},
		{"/docs/%61", true, true},
		{"/docs/./a", true, true},
		{"/docs/%C0%AE%C0%AE/mcp", true, true},
		{"/docs/..%C0%AFmcp", true, true},
		{"/docs/%FF../mcp", true, true},
		{"/docs/\u2024\u2024/mcp", true, true},
		{"/x/%C0%AE%C0%AE/mcp", true, true},
		{"/%68ealth", true, true},
		{"/mcp", true, true},
		{"/mcp/", true, true},
		{"/MCP", true, true},
		{"/mcp/tools/call", true, true},
		{"/mcp.json", true, true},
		{"/mcp;x", true, true},
		{"/mcpx", true, false},
		{"/mcp/health", true, false},
		{"/mcp/Health", true, true},
		{"/api", true, true},
		{"/api/x", true, true},
		{"/API/x", true, true},
		{"/other", true, false},
		{"*", true, true},
		{"", true, true},
	} {
		u := &url.URL{Path: tc.path}
		if parsed, err := url.ParseRequestURI(tc.path); err == nil {
			u = parsed
		}
		if got := whole.covers(u); got != tc.whole {
			t.Errorf("whole site: %q needs a token: %v", tc.path, got)
		}
		if got := some.covers(u); got != tc.some {
			t.Errorf("some paths: %q needs a token: %v", tc.path, got)
		}
	}
}

// TestSanitize sends every spelling of what only the gateway may say
// (SPEC L1 to L4, THREATS P1 to P4).
func TestSanitize(t *testing.T) {
	names := DefaultIdentityHeaders
	names.User, names.Groups, names.Removed = "X-Who", "Teams", []string{"X-Api-Key"}
	names.Claims = []ClaimHeader{{"department", "Department"}, {"cost.center", "Cost-Center"}}
	r := httptest.NewRequest("POST", "https://gw.example/mcp?a=1&access_token=T&b=%20x&%61ccess_token=T&Access_Token=T", nil)
	r.Header = http.Header{
		"Authorization": {"Bearer T"}, "authorization": {"Bearer T"}, "Proxy-Authorization": {"Basic T"}, "Dpop": {"T"},
		"X-Who": {"root", "root"}, "X_who": {"root"}, "x-WHO": {"root"}, "X-Mcp-User": {"root"}, "X_Mcp_Email": {"root"}, "X-Mcp-Anything": {"root"},
		"Teams": {"root"}, "TEAMS": {"root"}, "Department": {"root"}, "cost-center": {"root"}, "Cost_Center": {"root"}, "x_api_key": {"root"},
		"X-Mcp-Groups": {"root"}, "X-Mcp-Assertion": {"root"}, "X_mcp-ASSERTION": {"root"},
		"Remote-User": {"root"}, "Remote_user": {"root"}, "X-Auth-Request-User": {"root"}, "X-Forwarded-User": {"root"},
		"Forwarded": {"for=1"}, "X_Forwarded_For": {"1"}, "X-Forwarded-Prefix": {"/"}, "X-Real-Ip": {"1"}, "X-Forwarded-For": {"192.0.2.1"}, "Upgrade": {"websocket"},
		"Connection": {"keep-alive, X-Who, Upgrade, Department", "x-mcp-scope, Cost-Center, X-Mcp-Assertion"}, "Trailer": {"X-Who"},
		"Mcp-Session-Id": {"s"}, "Mcp-Param-Foo": {"bar"}, "X-Custom": {"c"}, "Cookie": {"a=b"},
	}
	r.Trailer = http.Header{"X-Who": nil}
	names.Sanitize(r)
	want := []string{"Connection", "Cookie", "Mcp-Param-Foo", "Mcp-Session-Id", "X-Custom", "X-Forwarded-For"}
	var got []string
	for name := range r.Header {
		got = append(got, name)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("left are %v", got)
	}
	if c := r.Header.Values("Connection"); !slices.Equal(c, []string{"keep-alive"}) || r.Trailer != nil {
		t.Errorf("Connection %v, trailers %v", c, r.Trailer)
	}
	if r.URL.RawQuery != "a=1&b=%20x" {
		t.Errorf("query %q", r.URL.RawQuery)
	}
}

func TestQueryIsKeptByteForByte(t *testing.T) {
	for _, q := range []string{"", "a=1", "a=%zz&b", "x=%41&&y=;", "token=access_token"} {
		if got := withoutAccessToken(q); got != q {
			t.Errorf("%q becomes %q", q, got)
		}
	}
}

func TestAccessTokenLeavesTheQuery(t *testing.T) {
	for q, want := range map[string]string{
		"access_token=T": "", "a=1&access_token=T": "a=1", "a=1;access_token=T": "a=1", "access_token=T;a=1": "a=1",
		"a=1;access_token=T&b=2": "a=1;b=2", "ACCESS_TOKEN=T&b": "b", "access%5Ftoken=T&b": "b", "access_token": "", "access_token=1&access_token=2&c": "c",
	} {
		if got := withoutAccessToken(q); got != want || !HasAccessToken(q) {
			t.Errorf("%q becomes %q, want %q", q, got, want)
		}
	}
}

func FuzzBearer(f *testing.F) {
	for _, seed := range []string{"Bearer abc", "bearer a.b-c_d~e+f/g==", "Basic YTpi", "Bearer  a", "Bearer a, Bearer b", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		token, err := bearer(http.Header{"Authorization": {value}})
		if token != "" && (err != nil || !strings.HasSuffix(value, " "+token) || strings.ContainsAny(token, " ,\"\r\n\t")) {
			t.Fatalf("%q yields %q, %v", value, token, err)
		}
	})
}

func FuzzChallenge(f *testing.F) {
	f.Add("it's \"bad\"", "read write", "invalid_token")
	f.Add("\r\nX-Evil: 1", "a\\b", "ü")
	f.Fuzz(func(t *testing.T, description, scope, code string) {
		s := Challenge{ResourceMetadata: "https://gw.example/x", Scope: strings.Fields(scope), Error: code, Description: description}.String()
		inside := false
		for i := range len(s) {
			switch c := s[i]; {
			case c < 0x20 || c > 0x7e || c == '\\':
				t.Fatalf("byte %#x in %q", c, s)
			case c == '"':
				inside = !inside
			}
		}
		if inside || !strings.HasPrefix(s, "Bearer ") {
			t.Fatalf("not a challenge: %q", s)
		}
	})
}

func FuzzVerify(f *testing.F) {
	b := newBench(f, nil)
	good := b.token(f, nil)
	f.Add(good)
	f.Add("a.b.c")
	f.Add(`{"payload":"","signature":""}`)
	f.Fuzz(func(t *testing.T, raw string) {
		// An ECDSA signature has more than one spelling; the claims have one.
		token, err := b.guard.verify(t.Context(), raw)
		if err == nil && raw[:strings.LastIndex(raw, ".")] != good[:strings.LastIndex(good, ".")] {
			t.Fatalf("%q passes as %+v", raw, token)
		}
	})
}
