package policy

import (
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
)

// TestURITailDodges: a server that takes ? and # for parts of a file's name, and
// cleans the whole, opens what the rules don't allow. Many strip file:// and do so.
func TestURITailDodges(t *testing.T) {
	allowed := build(t, Config{Rules: []Rule{allow(uris("file:///pub/*"))}})
	denied := build(t, Config{Rules: []Rule{deny(uris("file:///etc/passwd"))}, Default: ActionAllow})
	for _, uri := range []string{
		"file:///pub/x?/../../etc/passwd", "file:///pub/x#/../../etc/passwd", "file:///pub/?a%2f..%2f..%2f..%2fetc%2fpasswd", "file:///pub/?/../../etc/passwd",
		`file:///pub/x?\..\..\etc\passwd`, "file:///pub/x?%5c..%5c../../etc/passwd", "file:///pub/x?/%252e%252e/../etc/passwd", "file:///pub/x?a#/../../etc/passwd",
		"file:///pub/x?/../../etc/passwd#y", "file:///pub/x%3f/../../etc/passwd",
	} {
		// What such a server opens.
		name, _ := strings.CutPrefix(strings.ReplaceAll(uri, `\`, "/"), "file://")
		for range 2 {
			name, _ = url.PathUnescape(name)
		}
		name, _, _ = strings.Cut(path.Clean(strings.ReplaceAll(name, `\`, "/")), "#")
		if name != "/etc/passwd" {
			t.Errorf("%q is no dodge: it opens %s", uri, name)
		}
		for _, p := range []*Policy{allowed, denied} {
			m := read(uri)
			if v := p.Judge(t.Context(), &Caller{}, &m); v.Outcome != Denied {
				t.Errorf("%q is let pass by %s", uri, v.Rule)
			}
		}
	}
}

// TestURIHostDodges: another spelling of a host is the same host.
func TestURIHostDodges(t *testing.T) {
	for pattern, guarded := range map[string][]string{
		"file:///hr/*": {
			"file://x/hr/s", "file://127.0.0.1/hr/s", "file://localhost:80/hr/s", "file://localhost./hr/s", "file://u@localhost/hr/s", "file://:80/hr/s", "file://@/hr/s",
		},
		"https://hr.example/*": {
			"https://hr.example:/x", "https://hr.example:443/x", "https://hr.example:0443/x", "https://hr.example:8443/x", "https://hr.example:x/x", "https://ⓗr.example/x",
			"https://h\u00adr.example/x", "https://hr。example/x", "https://%68r.example/x", "https://u@hr.example/x", "https://u:p@hr.example:443/x",
			"https://a@b@hr.example/x", "https://HR.example.:443/x", "https://hr.example../x", "https:hr.example/x", "https:///hr.example/x",
		},
		"https://hr.example:8443/*": {"https://hr.example:08443/x", "https://hr.example.:8443/x", "https://u@HR.example:8443/x"},
		"http://127.0.0.1/*":        {"http://127.1/x", "http://0x7f.0.0.1/x", "http://2130706433/x", "http://127.0.0.01/x", "http://[::ffff:127.0.0.1]/x", "http://127.0.0.1:080/x"},
		"http://[::1]/*":            {"http://[::1]:80/x", "http://[0:0::1]/x", "http://[::1]:/x", "http://[::1/x"},
		"tickets://hr/*":            {"tickets://hr:1/x", "tickets://hr:/x", "tickets://HR:1/x", "tickets://hr./x", "tickets://hr.:1/x", "tickets://u@hr/x", "tickets://h%72/x"},
		"tickets://hr:1/*":          {"tickets://hr:01/x", "tickets://HR:1/x", "tickets://hr.:1/x"},
		"tickets://hr/x?*":          {"tickets://HR/x?y", "tickets://hr:1/x?y"},
	} {
		p := build(t, Config{Rules: []Rule{deny(uris(pattern))}, Default: ActionAllow})
		for _, uri := range guarded {
			m := read(uri)
			if v := p.Judge(t.Context(), &Caller{}, &m); v.Outcome != Denied {
				t.Errorf("%s: %q is let pass by %s", pattern, uri, v.Rule)
			}
			dir, isDir := strings.CutSuffix(uri, "/x")
			m = mcp.Message{Kind: mcp.Request, Method: mcp.MethodComplete, URIs: []string{dir + "/{x}"}}
			if v := p.Judge(t.Context(), &Caller{}, &m); isDir && v.Outcome != Denied {
				t.Errorf("%s: the template %q is let pass by %s", pattern, m.URIs[0], v.Rule)
			}
		}
	}
}

// TestPlainHosts: hosts without tricks go on being told apart.
func TestPlainHosts(t *testing.T) {
	p := build(t, Config{
		Rules: []Rule{
			deny(uris("https://hr.example/*", "tickets://hr/*", "file:///hr/*", "file:///hr-old/*")),
			allow(uris("https://*", "http://10.0.0.1:8080/*", "http://[::1]/*", "tickets://*", "file:///*")),
		},
	})
	for _, uri := range []string{
		"https://it.example:8443/x", "https://it.example/x?u=a/b#c", "http://10.0.0.1:8080/x", "http://[::1]/x", "tickets://it:1/x", "tickets://it/hr", "file:///pub/x",
		"https://it.example/x?u=https://y/..z", "https://1password.example/x", "https://0x.example/x",
	} {
		m := read(uri)
		if v := p.Judge(t.Context(), &Caller{}, &m); v.Outcome != Allowed {
			t.Errorf("%q is refused: %+v", uri, v)
		}
	}
}
