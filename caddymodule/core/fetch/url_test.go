package fetch

import (
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
)

var urlTests = []struct {
	name, raw    string
	ok, clientID bool
}{
	{"a document", "https://client.example/oauth/metadata.json", true, true},
	{"a query", "https://client.example/meta?v=1", true, true},
	{"another port", "https://client.example:8443/meta", true, true},
	{"upper-case host", "https://Client.Example/meta", true, true},
	{"encoded octets", "https://client.example/a%20b/%E4", true, true},
	{"dots in a name", "https://client.example/a..b/.well-known/x", true, true},
	{"underscore", "https://my_client.example/meta", true, true},
	{"punycode", "https://xn--bcher-kva.example/meta", true, true},
	{"bare slash", "https://client.example/", true, false},
	{"no path", "https://client.example", true, false},
	{"no path, a query", "https://client.example?x=/y", true, false},
	{"longest", "https://client.example/" + strings.Repeat("a", 2048-len("https://client.example/")), true, true},

	{"too long", "https://client.example/" + strings.Repeat("a", 2049-len("https://client.example/")), false, false},
	{"empty", "", false, false},
	{"http", "http://client.example/meta", false, false},
	{"upper-case scheme", "HTTPS://client.example/meta", false, false},
	{"mixed-case scheme", "Https://client.example/meta", false, false},
	{"file", "file:///etc/passwd", false, false},
	{"gopher", "gopher://client.example/x", false, false},
	{"unix socket", "unix:///run/docker.sock", false, false},
	{"unix socket in a host", "https://unix%2F%2Frun%2Fdocker.sock/x", false, false},
	{"javascript", "javascript:alert(1)", false, false},
	{"data", "data:application/json,{}", false, false},
	{"no scheme", "//client.example/meta", false, false},
	{"relative", "/meta", false, false},
	{"opaque", "https:client.example/meta", false, false},
	{"one slash", "https:/client.example/meta", false, false},
	{"three slashes", "https:///client.example/meta", false, false},
	{"userinfo", "https://u:p@client.example/meta", false, false},
	{"empty userinfo", "https://@client.example/meta", false, false},
	{"encoded userinfo", "https://a%40b@client.example/meta", false, false},
	{"fragment", "https://client.example/meta#x", false, false},
	{"empty fragment", "https://client.example/meta#", false, false},
	{"dot segment", "https://client.example/./meta", false, false},
	{"dot dot segment", "https://client.example/a/../meta", false, false},
	{"ends in dots", "https://client.example/a/..", false, false},
	{"encoded dots", "https://client.example/a/%2e%2E/meta", false, false},
	{"half encoded dots", "https://client.example/a/.%2e/meta", false, false},
	{"encoded slash with dots", "https://client.example/a%2f..%2fmeta", false, false},
	{"encoded backslash with dots", "https://client.example/a%5c..%5Cmeta", false, false},
	{"backslash", "https://client.example\\@evil.example/meta", false, false},
	{"space", "https://client.example/a b", false, false},
	{"newline", "https://client.example/a\r\nHost: x", false, false},
	{"leading space", " https://client.example/meta", false, false},
	{"unicode host", "https://bücher.example/meta", false, false},
	{"full-width dot", "https://127\uff0e0.0.1/meta", false, false},
	{"bad escape", "https://client.example/%zz", false, false},
	{"no host", "https:///meta", false, false},
	{"port only", "https://:443/meta", false, false},
	{"empty port", "https://client.example:/meta", false, false},
	{"port 0", "https://client.example:0/meta", false, false},
	{"leading zero in port", "https://client.example:0443/meta", false, false},
	{"port too large", "https://client.example:65536/meta", false, false},
	{"port not a number", "https://client.example:https/meta", false, false},
	{"loopback", "https://127.0.0.1/meta", false, false},
	{"public address", "https://8.8.8.8/meta", false, false},
	{"cloud metadata", "https://169.254.169.254/latest/meta-data/", false, false},
	{"short", "https://127.1/meta", false, false},
	{"decimal", "https://2130706433/meta", false, false},
	{"octal", "https://0177.0.0.1/meta", false, false},
	{"hex", "https://0x7f.0.0.1/meta", false, false},
	{"hex, last label", "https://client.0x7f/meta", false, false},
	{"hex in one", "https://0x7f000001/meta", false, false},
	{"zero", "https://0/meta", false, false},
	{"trailing dot", "https://client.example./meta", false, false},
	{"address with trailing dot", "https://127.0.0.1./meta", false, false},
	{"ipv6 loopback", "https://[::1]/meta", false, false},
	{"ipv6 public", "https://[2606:4700::1111]/meta", false, false},
	{"mapped", "https://[::ffff:127.0.0.1]/meta", false, false},
	{"zone id", "https://[fe80::1%25eth0]/meta", false, false},
	{"encoded host", "https://%6cocalhost.example/meta", false, false},
	{"single label", "https://localhost/meta", false, false},
	{"a service nearby", "https://redis/meta", false, false},
	{"own admin API", "https://localhost:2019/config/", false, false},
	{"empty label", "https://client..example/meta", false, false},
	{"hyphen first", "https://-client.example/meta", false, false},
	{"long label", "https://" + strings.Repeat("a", 64) + ".example/meta", false, false},
	{"long name", "https://" + strings.Repeat("a.", 130) + "example/meta", false, false},
}

func TestCheckURL(t *testing.T) {
	for _, tt := range urlTests {
		t.Run(tt.name, func(t *testing.T) {
			if err := CheckURL(tt.raw); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrURL) {
				t.Errorf("CheckURL(%q) = %v, want ok %t", tt.raw, err, tt.ok)
			}
			if err := CheckClientID(tt.raw); (err == nil) != tt.clientID || err != nil && !errors.Is(err, ErrURL) {
				t.Errorf("CheckClientID(%q) = %v, want ok %t", tt.raw, err, tt.clientID)
			}
		})
	}
}

func TestCheckOfAClient(t *testing.T) {
	public, private := New(Options{}), New(Options{AllowPrivate: true})
	other := New(Options{Ports: []uint16{443, 8443}})
	for _, tt := range []struct {
		name, raw string
		client    *Client
		ok        bool
	}{
		{"443 unsaid", "https://client.example/x", public, true},
		{"443 said", "https://client.example:443/x", public, true},
		{"another port", "https://client.example:8443/x", public, false},
		{"an allowed port", "https://client.example:8443/x", other, true},
		{"ssh", "https://client.example:22/x", other, false},
		{"configured", "https://idp.example:8443/", private, true},
		{"configured, in the same network", "https://idp:8443/realms/a", private, true},
		{"configured, by address", "https://10.0.0.7/x", private, true},
		{"configured, on this machine", "http://localhost:9000/x", private, true},
		{"configured, on this machine by address", "http://127.0.0.1:9000/x", private, true},
		{"configured, on this machine by IPv6", "http://[::1]:9000/x", private, true},
		{"configured without TLS", "http://idp.example/x", private, false},
		{"configured with a password", "https://u:p@idp.example/x", private, false},
		{"configured, a file", "file:///etc/passwd", private, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.client.Check(tt.raw); (err == nil) != tt.ok {
				t.Errorf("Check(%q) = %v, want ok %t", tt.raw, err, tt.ok)
			}
		})
	}
}

// FuzzCheckURL: what is accepted is what is asked for, of a name and no number.
func FuzzCheckURL(f *testing.F) {
	for _, tt := range urlTests {
		f.Add(tt.raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if CheckURL(raw) != nil {
			if CheckClientID(raw) == nil {
				t.Fatalf("%q is a client id and no URL", raw)
			}
			return
		}
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		host := u.Hostname()
		switch {
		case u.Scheme != "https" || !strings.HasPrefix(raw, "https://"+host):
			t.Errorf("%q: scheme or host", raw)
		case net.ParseIP(host) != nil || strings.ContainsAny(host, ":%[]@"):
			t.Errorf("%q: an address", raw)
		case u.User != nil || u.Fragment != "" || strings.Contains(raw, "#"):
			t.Errorf("%q: userinfo or fragment", raw)
		case u.JoinPath().Path != u.Path && !strings.Contains(u.Path, "//") && u.Path != "":
			t.Errorf("%q: the path is not clean", raw)
		case u.String() != raw:
			t.Errorf("%q is asked for as %q", raw, u.String())
		}
	})
}
