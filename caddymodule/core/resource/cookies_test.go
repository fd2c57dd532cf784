package resource

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
)

// SPEC F37, O9: the session of a browser is nothing for the MCP server, which
// may live on the same host.
func TestCookies(t *testing.T) {
	for _, c := range []struct{ sent, want []string }{
		{nil, nil},
		{[]string{"a=1; b=2"}, []string{"a=1; b=2"}},
		{[]string{"__Host-mcp_auth_session=s"}, nil},
		{[]string{"a=1; __Host-mcp_auth_session=s; b=2;c=3"}, []string{"a=1; b=2;c=3"}},
		{[]string{"__Host-mcp_auth_session=s; b=2"}, []string{"b=2"}},
		{[]string{"mcp_auth_browser=x", "mcp_auth_upstream_ABC.1=y; z=1", "__HOST-MCP_AUTH_session=s"}, []string{"z=1"}},
		{[]string{"xmcp_auth_session=s; mcp_authority=1"}, []string{"xmcp_auth_session=s; mcp_authority=1"}},
	} {
		r := &http.Request{Header: http.Header{"Cookie": slices.Clone(c.sent)}}
		hideCookies(r.Header)
		if got := r.Header.Values("Cookie"); !slices.Equal(got, c.want) {
			t.Errorf("%q becomes %q", c.sent, got)
		}
	}
}

// The headers of a sign-in proxy, its secret among them, end at the gateway, in
// every spelling.
func TestProxyHeadersRemoved(t *testing.T) {
	names := DefaultIdentityHeaders
	names.Removed = []string{"X-Proxy-Secret"}
	r := &http.Request{Header: http.Header{"X-Proxy-Secret": {"s"}, "X_proxy_secret": {"s"}, "X-Other": {"o"}}, URL: &url.URL{}}
	names.Sanitize(r)
	if len(r.Header) != 1 || r.Header.Get("X-Other") != "o" {
		t.Errorf("left: %v", r.Header)
	}
}

// Whatever a Cookie header looks like: no reader finds one of our cookies in
// what is left, and all that Go's reader found besides is still there.
func FuzzHideCookies(f *testing.F) {
	f.Add("a=1; __Host-mcp_auth_session=s; b=2")
	f.Add(";;mcp_auth_browser ;=;\t__host-MCP_AUTH_x=1")
	f.Add("a=\"mcp_auth_session=1; mcp_auth_session=2\"")
	f.Fuzz(func(t *testing.T, value string) {
		before := (&http.Request{Header: http.Header{"Cookie": {value}}}).Cookies()
		r := &http.Request{Header: http.Header{"Cookie": {value}}}
		hideCookies(r.Header)
		left := r.Cookies()
		for _, c := range left {
			if ownCookie(c.Name) {
				t.Errorf("%q leaves %s", value, c.Name)
			}
		}
		others := slices.DeleteFunc(before, func(c *http.Cookie) bool { return ownCookie(c.Name) })
		if len(left) != len(others) {
			t.Errorf("%q: %d cookies of %d are left", value, len(left), len(others))
		}
	})
}
