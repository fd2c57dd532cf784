package oauth

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestCheckRedirectURI(t *testing.T) {
	good := []string{
		"https://claude.ai/api/mcp/auth_callback",
		"https://c/cb?x=1",
		"https://example.com",
		"https://example.com:8443/cb",
		"https://xn--bcher-kva.example/cb",
		"https://192.0.2.1/cb",
		"https://[2001:db8::1]:8443/cb",
		"http://127.0.0.1/callback",
		"http://127.0.0.1:33418/",
		"http://localhost:6274/oauth/callback",
		"http://[::1]:1234/cb",
		"cursor://anysphere.cursor-mcp/oauth/callback",
		"vscode:/callback",
	}
	for _, uri := range good {
		if err := CheckRedirectURI(uri, DefaultRedirectSchemes); err != nil {
			t.Errorf("%s is refused: %v", uri, err)
		}
	}
}

// TestRedirectURIConfusion is the corpus of SPEC C12 to C14 and O11: spellings
// that two parsers read differently, and schemes that a browser acts upon.
func TestRedirectURIConfusion(t *testing.T) {
	bad := []string{
		"", "/cb", "//evil/cb", "https:evil", "https:/evil/cb", "https://", "https:///cb",
		"http://evil.example/cb", "https://a/cb#x", "https://a/cb#", "https://*.a/cb", "https://a/*/..",
		"https://user@a/cb", "https://c.example@evil", "https://c.example\\@evil", "https://evil#@c.example/cb",
		"https://c.example%2eevil/cb", "https://c.example%40evil/cb", "https://a:b@c/cb",
		"HTTPS://c.example/cb", "Https://c.example/cb", "https://c.example./cb", "https://.c.example/cb",
		"https://c..example/cb", "https://-c.example/cb", "https://bücher.example/cb",
		"https://a /cb", "https://a/c b", "https://a\t/cb", "https://a\n/cb", "\nhttps://a/cb", "https://a/cb\x00",
		"https://a/%0d%0aLocation:x", "https://a/x%00", "https://a/..%5c", "https://a/../b", "https://a/%2e%2e/b", "https://a/./b",
		"https://a:99999/cb", "https://a:0/cb", "https://a:/cb", "https://a:08/cb", "https://a:http/cb",
		"http://127.0.0.1.evil/cb", "http://127.0.0.1@evil/cb", "http://[::ffff:127.0.0.1]/cb", "http://0x7f.1/cb",
		"http://127.1/cb", "http://2130706433/cb", "http://0177.0.0.1/cb", "http://localhost.evil/cb", "http://localhost./cb",
		"http://LOCALHOST/cb", "http://[::1%25eth0]/cb", "http://[0:0:0:0:0:0:0:1]/cb", "http://127.0.0.1:80:80/cb",
		"javascript:alert(1)", "JavaScript:alert(1)", "javascript://a/%0aalert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd",
		"blob:https://a/x", "about:blank", "ws://a/cb", "wss://a/cb", "ftp://a/cb", "mailto:a@b", "urn:ietf:wg:oauth:2.0:oob",
		"cursor:opaque", "cursor://user@host/cb", "cursor://a/cb#f", "Cursor://a/cb",
		"https://a/cb?code=1", "https://a/cb?state=x", "https://a/cb?%63ode=1", "https://a/cb?iss=x", "https://a/cb?a=%zz", "https://a/cb?a;b",
		"https://a/" + strings.Repeat("x", maxURI),
	}
	for _, uri := range bad {
		if err := CheckRedirectURI(uri, DefaultRedirectSchemes); err == nil {
			t.Errorf("%q is accepted", uri)
		} else if errors.Is(err, ErrSchemeNotAllowed) {
			t.Errorf("%q is only taken for an unknown scheme", uri)
		}
	}
}

func TestUnknownSchemeCanBeToldApart(t *testing.T) {
	if err := CheckRedirectURI("myapp:/cb", DefaultRedirectSchemes); !errors.Is(err, ErrSchemeNotAllowed) {
		t.Errorf("got %v, want ErrSchemeNotAllowed", err)
	}
	if err := CheckRedirectURI("myapp:/cb", []string{"myapp"}); err != nil {
		t.Errorf("an allowed scheme is refused: %v", err)
	}
	for _, s := range neverSchemes {
		if AllowableRedirectScheme(s) {
			t.Errorf("%s can be allowed", s)
		}
	}
}

func TestMatchRedirectURI(t *testing.T) {
	for _, tc := range []struct {
		registered, requested string
		want                  bool
	}{
		{"https://c/cb", "https://c/cb", true},
		{"https://c/cb", "https://c/cb/", false},
		{"https://c/cb", "https://c/CB", false},
		{"https://c/cb", "https://c/cb?x=1", false},
		{"https://c/cb", "https://c:443/cb", false},
		{"https://c/cb", "http://c/cb", false},
		{"https://localhost/cb", "https://localhost:8443/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:1234/cb", true},
		{"http://127.0.0.1:5000/cb", "http://127.0.0.1:1234/cb", true},
		{"http://127.0.0.1:5000/cb", "http://127.0.0.1/cb", true},
		{"http://localhost/cb", "http://localhost:1/cb", true},
		{"http://[::1]/cb", "http://[::1]:9/cb", true},
		{"http://127.0.0.1", "http://127.0.0.1:80", true},
		{"http://127.0.0.1/cb?x=1", "http://127.0.0.1:2/cb?x=1", true},
		{"http://127.0.0.1/cb", "http://127.0.0.1:2/cb?x=1", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:2/cb/id", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:2/CB", false},
		{"http://127.0.0.1/cb", "http://localhost:2/cb", false},
		{"http://localhost/cb", "http://[::1]:2/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1.evil/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1@evil/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:1@evil/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:/cb", false},
		{"cursor://a/cb", "cursor://a:1/cb", false},
	} {
		if got := MatchRedirectURI(tc.registered, tc.requested); got != tc.want {
			t.Errorf("MatchRedirectURI(%q, %q) = %v", tc.registered, tc.requested, got)
		}
	}
}

// FuzzRedirectURI: whatever is accepted parses to the same host in Go as by
// RFC 3986, and whatever matches a registered URI leads to its host.
func FuzzRedirectURI(f *testing.F) {
	for _, seed := range []string{
		"https://c.example/cb", "http://127.0.0.1:1/cb", "http://localhost/cb", "https://c.example@evil/", "cursor://a/b",
		"http://127.0.0.1:1@evil/cb", "https://a\\b", "http://[::1]:80/x", "https://a%2eb/", "http://127.0.0.1/cb?x#y",
	} {
		f.Add(seed)
	}
	registered := []string{"http://127.0.0.1/cb", "http://localhost:8080/cb", "https://c.example/cb?x=1", "cursor://a/b"}
	f.Fuzz(func(t *testing.T, raw string) {
		err := CheckRedirectURI(raw, DefaultRedirectSchemes)
		if err == nil {
			u, perr := url.Parse(raw)
			if perr != nil || u.User != nil || u.Fragment != "" {
				t.Fatalf("%q is accepted and does not parse cleanly: %v", raw, perr)
			}
			if u.Host != authorityOf(raw) {
				t.Fatalf("%q has two hosts: %q and %q", raw, u.Host, authorityOf(raw))
			}
			if u.Scheme == "http" && !IsLoopbackHost(u.Host) {
				t.Fatalf("%q is http and not loopback", raw)
			}
		}
		for _, reg := range registered {
			if err != nil || !MatchRedirectURI(reg, raw) {
				continue
			}
			a, _ := url.Parse(reg)
			b, _ := url.Parse(raw)
			if a.Hostname() != b.Hostname() || a.EscapedPath() != b.EscapedPath() || a.RawQuery != b.RawQuery {
				t.Fatalf("%q matches %q", raw, reg)
			}
		}
	})
}
