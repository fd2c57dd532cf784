package oauth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestRedirectPolicy: which hosts a client may have that nobody vouches for.
func TestRedirectPolicy(t *testing.T) {
	for _, tc := range []struct {
		allow, deny []string
		uri         string
		want        error
	}{
		{nil, nil, "https://any.example/cb", nil},
		{nil, nil, "cursor://a/cb", nil},
		{nil, nil, "myapp:/cb", ErrSchemeNotAllowed},
		{[]string{"claude.ai"}, nil, "https://claude.ai/cb", nil},
		{[]string{"claude.ai"}, nil, "https://CLAUDE.ai/cb", nil},
		{[]string{"claude.ai"}, nil, "https://claude.ai:8443/cb", nil},
		{[]string{"claude.ai:443"}, nil, "https://claude.ai/cb", ErrHostNotAllowed},
		{[]string{"claude.ai:8443"}, nil, "https://claude.ai:8443/cb", nil},
		{[]string{"claude.ai"}, nil, "https://evilclaude.ai/cb", ErrHostNotAllowed},
		{[]string{"claude.ai"}, nil, "https://claude.ai.evil/cb", ErrHostNotAllowed},
		{[]string{"claude.ai"}, nil, "https://x.claude.ai/cb", ErrHostNotAllowed},
		{[]string{"*.example.com"}, nil, "https://a.b.example.com/cb", nil},
		{[]string{"*.example.com"}, nil, "https://a.example.com:1/cb", nil},
		{[]string{"*.example.com"}, nil, "https://example.com/cb", ErrHostNotAllowed},
		{[]string{"*.example.com"}, nil, "https://evilexample.com/cb", ErrHostNotAllowed},
		{[]string{"claude.ai"}, nil, "http://localhost:1/cb", ErrHostNotAllowed},
		{[]string{"claude.ai"}, nil, "cursor://a/cb", nil},
		{[]string{"claude.ai", LoopbackHosts}, nil, "http://localhost:1/cb", nil},
		{[]string{LoopbackHosts}, nil, "http://[::1]:1/cb", nil},
		{[]string{"localhost"}, nil, "http://127.0.0.1:1/cb", ErrHostNotAllowed},
		{[]string{"[2001:db8::1]"}, nil, "https://[2001:db8::1]:9/cb", nil},
		{nil, []string{"evil.example"}, "https://evil.example:1/cb", ErrHostNotAllowed},
		{nil, []string{"evil.example"}, "https://EVIL.example/cb", ErrHostNotAllowed},
		{nil, []string{"*.evil.example"}, "https://a.evil.example/cb", ErrHostNotAllowed},
		{nil, []string{LoopbackHosts}, "https://127.0.0.1:1/cb", ErrHostNotAllowed},
		{nil, []string{LoopbackHosts}, "http://127.0.0.1:1/cb", ErrHostNotAllowed},
		{[]string{"*.example.com"}, []string{"bad.example.com"}, "https://bad.example.com/cb", ErrHostNotAllowed},
	} {
		p := RedirectPolicy{Schemes: DefaultRedirectSchemes, Allow: tc.allow, Deny: tc.deny}
		if err := p.Check(tc.uri); !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
			t.Errorf("allow %q deny %q: %s: %v, want %v", tc.allow, tc.deny, tc.uri, err, tc.want)
		}
	}
}

// TestSelectLeavesOut: clients send one list for all their editions; what the
// policy does not want is left out, what is dangerous refuses the list (O14).
func TestSelectLeavesOut(t *testing.T) {
	p := RedirectPolicy{Schemes: []string{"cursor"}, Deny: []string{"evil.example"}}
	got, err := p.Select([]string{"cursor://a/cb", "https://evil.example/cb", "myapp:/cb", "https://good.example/cb", "cursor://a/cb"})
	if want := []string{"cursor://a/cb", "https://good.example/cb"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	for _, uris := range [][]string{
		nil,
		{},
		{"myapp:/cb"},
		{"https://evil.example/cb"},
		{"cursor://a/cb", "javascript:alert(1)"},
		{"cursor://a/cb", "http://evil.example/cb"},
		{"cursor://a/cb", ""},
		slices.Repeat([]string{"cursor://a/cb"}, maxRedirectURIs+1),
	} {
		got, err := p.Select(uris)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Code != CodeInvalidRedirectURI || got != nil {
			t.Errorf("%q: %q, %v", uris, got, err)
		}
	}
}

func TestCheckHostPattern(t *testing.T) {
	for _, good := range []string{"claude.ai", "*.example.com", "example.com:8443", "*.example.com:1", "loopback", "localhost", "127.0.0.1", "[::1]", "xn--bcher-kva.example"} {
		if err := CheckHostPattern(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "*", "*.", "*.com", "a.*.com", "*a.com", "https://claude.ai", "claude.ai/", "claude.ai/cb", "user@claude.ai", "claude.ai.", "Claude.ai",
		"bücher.example", "127.1", "claude.ai:", "claude.ai:99999", "a b", "**.example.com", "::1", "claude.ai?", "claude.ai#",
	} {
		if err := CheckHostPattern(bad); err == nil {
			t.Errorf("%q is taken for a pattern", bad)
		}
	}
}

// FuzzRedirectPolicy: no spelling of a host gets past a list.
func FuzzRedirectPolicy(f *testing.F) {
	for _, seed := range []string{"https://good.example/cb", "https://GOOD.example:1/cb", "http://localhost/cb", "https://evil.example@good.example", "cursor://x/y", "https://x.good.example/"} {
		f.Add(seed)
	}
	only := RedirectPolicy{Schemes: []string{"cursor"}, Allow: []string{"good.example"}}
	but := RedirectPolicy{Schemes: []string{"cursor"}, Deny: []string{"good.example"}}
	f.Fuzz(func(t *testing.T, uri string) {
		allowed, denied := only.Check(uri) == nil, but.Check(uri) != nil
		if CheckRedirectURI(uri, []string{"cursor"}) != nil {
			if allowed || !denied {
				t.Fatalf("%q is no redirect URI and passes", uri)
			}
			return
		}
		if strings.HasPrefix(uri, "cursor:") {
			return
		}
		host := fmt.Sprintf("%s/", strings.ToLower(authorityOf(uri)))
		if named := strings.HasPrefix(host, "good.example/") || strings.HasPrefix(host, "good.example:"); allowed != named || denied != named {
			t.Fatalf("%q: allowed %v, denied %v", uri, allowed, denied)
		}
	})
}
