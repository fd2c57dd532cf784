package header

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// request is one that the proxy could have sent. Headers are pairs.
func request(remoteAddr string, headers ...string) login.Request {
	r := httptest.NewRequest(http.MethodGet, "https://mcp.example.com/oauth/authorize", http.NoBody)
	r.RemoteAddr = remoteAddr
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return login.Request{HTTP: r}
}

func TestPeers(t *testing.T) {
	for _, tt := range []struct {
		list string
		peer string
		in   bool
	}{
		{"10.0.0.0/8", "10.1.2.3:4567", true},
		{"10.0.0.0/8", "[::ffff:10.1.2.3]:4567", true}, // IPv4 on a socket for both
		{"10.0.0.0/8", "11.0.0.1:4567", false},
		{"10.0.0.0/8", "[::ffff:11.0.0.1]:4567", false},
		{"10.0.0.0/8", "[::10.1.2.3]:4567", false},
		{"10.0.0.0/8", "[64:ff9b::10.1.2.3]:4567", false},
		{"10.9.9.9/8", "10.1.2.3:4567", true}, // the bits of the host don't count
		{"10.1.2.3", "10.1.2.3:4567", true},
		{"10.1.2.3", "10.1.2.4:4567", false},
		{"::ffff:10.1.2.3", "10.1.2.3:4567", true},
		{"::ffff:10.0.0.0/104", "10.1.2.3:4567", true},
		{"::ffff:10.0.0.0/104", "11.1.2.3:4567", false},
		{"fe80::/10", "[fe80::1%eth0]:4567", true},
		{"fe80::1", "[fe80::1%eth0]:4567", true},
		{"fe80::1", "[fe80::2%eth0]:4567", false},
		{"10.0.0.0/8", "[::ffff:10.1.2.3%eth0]:4567", true},
		{"127.0.0.1", "127.0.0.1:0", true},
		{"::1", "[::1]:443", true},
		{"::1", "127.0.0.1:443", false},
		{"private_ranges", "192.168.7.7:1", true},
		{"private_ranges", "172.16.0.1:1", true},
		{"private_ranges", "127.9.9.9:1", true},
		{"private_ranges", "[fd12::1]:1", true},
		{"private_ranges", "[::1]:1", true},
		{"private_ranges", "8.8.8.8:1", false},
		{"private_ranges", "@", false},
		{"private_ranges", "", false},
		{"unix", "@", true},
		{"unix", "", true},
		{"unix", "127.0.0.1:1", false},
		{"unix", "@abstract", false},
		{"unix", "/run/other.sock", false},
		{"unix 10.0.0.1", "10.0.0.1:1", true},
		// What can't be read is nobody's address.
		{"10.0.0.0/8", "10.1.2.3", false},
		{"10.0.0.0/8", "10.1.2.3:", false},
		{"10.0.0.0/8", ":80", false},
		{"10.0.0.0/8", "10.1.2.3:80:80", false},
		{"10.0.0.0/8", "10.1.2.3:99999", false},
		{"10.0.0.0/8", "010.1.2.3:80", false},
		{"10.0.0.0/8", "10.1.2.3 :80", false},
		{"10.0.0.0/8", "localhost:80", false},
		{"::1", "::1", false},
		{"::1", "[::1]", false},
		{"::1", "::1:80", false},
	} {
		l := mustLoad(t, options{"user": "Remote-User", "trusted_proxies": strings.Fields(tt.list)})
		step, err := l.Begin(t.Context(), request(tt.peer, "Remote-User", "alice",
			"X-Forwarded-For", "10.1.2.3", "Forwarded", "for=10.1.2.3", "X-Real-Ip", "10.1.2.3"))
		switch {
		case tt.in && (err != nil || step.Identity == nil || step.Identity.Subject != "alice"):
			t.Errorf("%s: %q is not trusted: %v", tt.list, tt.peer, err)
		case !tt.in && (!errors.Is(err, login.ErrDenied) || step.Identity != nil):
			t.Errorf("%s: %q is trusted: %+v, %v", tt.list, tt.peer, step.Identity, err)
		}
	}
}

// TestUnixSocket asks net/http what the other end of a Unix socket is called.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l := mustLoad(t, options{"user": "Remote-User", "trusted_proxies": []string{"unix"}})
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := l.Begin(r.Context(), login.Request{HTTP: r}); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	})}}
	server.Start()
	t.Cleanup(server.Close)
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	t.Cleanup(client.CloseIdleConnections)
	r, _ := http.NewRequest(http.MethodGet, "http://unix/", http.NoBody)
	r.Header.Set("Remote-User", "alice")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// TestProofs: every configured proof must hold, and nothing that a client can
// send stands in for one.
func TestProofs(t *testing.T) {
	const inside, outside = "10.0.0.1:1", "203.0.113.7:1"
	address := options{"trusted_proxies": []string{"10.0.0.1"}}
	secret := options{"secret_header": "X-Proxy-Secret", "secret": testSecret}
	both := options{"trusted_proxies": []string{"10.0.0.1"}, "secret_header": "X-Proxy-Secret", "secret": testSecret}
	for _, tt := range []struct {
		name    string
		options options
		peer    string
		headers []string
		in      bool
		want    string // of the reason
	}{
		{"address", address, inside, nil, true, ""},
		{"wrong address", address, outside, nil, false, "not in trusted_proxies"},
		{"wrong address with a secret that nobody asked for", address, outside, []string{"X-Proxy-Secret", testSecret}, false, "not in trusted_proxies"},
		{"secret", secret, outside, []string{"X-Proxy-Secret", testSecret}, true, ""},
		{"no secret", secret, inside, nil, false, "missing or wrong"},
		{"empty secret", secret, inside, []string{"X-Proxy-Secret", ""}, false, "missing or wrong"},
		{"wrong secret", secret, inside, []string{"X-Proxy-Secret", "MARKER-0123456789abcdeg"}, false, "missing or wrong"},
		{"beginning of the secret", secret, inside, []string{"X-Proxy-Secret", testSecret[:20]}, false, "missing or wrong"},
		{"more than the secret", secret, inside, []string{"X-Proxy-Secret", testSecret + "x"}, false, "missing or wrong"},
		{"secret in other case", secret, inside, []string{"X-Proxy-Secret", strings.ToLower(testSecret)}, false, "missing or wrong"},
		{"secret twice", secret, inside, []string{"X-Proxy-Secret", testSecret, "X-Proxy-Secret", testSecret}, false, "occurs 2 times"},
		{"secret and another", secret, inside, []string{"X-Proxy-Secret", testSecret, "X-Proxy-Secret", "x"}, false, "occurs 2 times"},
		{"secret in a list", secret, inside, []string{"X-Proxy-Secret", "x, " + testSecret}, false, "missing or wrong"},
		{"secret in another header", secret, inside, []string{"X-Secret", testSecret}, false, "missing or wrong"},
		{"secret with an underscore", secret, inside, []string{"X_Proxy_Secret", testSecret}, false, "second spelling"},
		{"secret, and one with an underscore", secret, inside, []string{"X-Proxy-Secret", testSecret, "X_proxy-Secret", "x"}, false, "second spelling"},
		{"huge secret", secret, inside, []string{"X-Proxy-Secret", strings.Repeat("a", 5000)}, false, "more than 1024 bytes"},
		{"both", both, inside, []string{"X-Proxy-Secret", testSecret}, true, ""},
		{"both, wrong address", both, outside, []string{"X-Proxy-Secret", testSecret}, false, "not in trusted_proxies"},
		{"both, wrong secret", both, inside, []string{"X-Proxy-Secret", "x"}, false, "missing or wrong"},
		{"neither", both, outside, nil, false, "not in trusted_proxies"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := options{"user": "Remote-User"}
			maps.Copy(o, tt.options)
			step, err := mustLoad(t, o).Begin(t.Context(), request(tt.peer, append(tt.headers, "Remote-User", "alice")...))
			checkStep(t, step, err, tt.in, tt.want)
		})
	}
}

// checkStep wants an identity, or a denial with a reason that holds no secret.
func checkStep(t *testing.T, step login.Step, err error, in bool, reason string) {
	t.Helper()
	switch {
	case in && (err != nil || step.Identity == nil):
		t.Errorf("denied: %v", err)
	case !in && (!errors.Is(err, login.ErrDenied) || step.Identity != nil || !strings.Contains(err.Error(), reason)):
		t.Errorf("got %+v, %v; want a denial with %q", step.Identity, err, reason)
	}
	if err != nil && strings.Contains(err.Error(), "MARKER") {
		t.Errorf("the reason has a secret in it: %v", err)
	}
}

// TestEarlyDataHasNoAddress: the source of a QUIC packet is anyone's word until
// the handshake is complete.
func TestEarlyDataHasNoAddress(t *testing.T) {
	l := mustLoad(t, options{"user": "Remote-User", "trusted_proxies": []string{"10.0.0.1"}})
	r := request("10.0.0.1:1", "Remote-User", "alice")
	r.HTTP.TLS = &tls.ConnectionState{}
	step, err := l.Begin(t.Context(), r)
	checkStep(t, step, err, false, "before the handshake was complete")
	r.HTTP.TLS.HandshakeComplete = true
	step, err = l.Begin(t.Context(), r)
	checkStep(t, step, err, true, "")
}

// TestSecondSpelling is THREATS P1: a front that folds underscores or case
// would take the client's header for the proxy's.
func TestSecondSpelling(t *testing.T) {
	l := mustLoad(t, options{"preset": "authelia", "trusted_proxies": []string{"10.0.0.1"}})
	for _, name := range []string{"Remote_User", "REMOTE_USER", "remote_user", "Remote.User", "remote-user", "REMOTE-USER", "Remote Groups", "Remote_Email", "Remote_Name", "Remote~Groups"} {
		for _, alone := range []bool{true, false} {
			r := request("10.0.0.1:1")
			if !alone {
				r.HTTP.Header.Set("Remote-User", "alice")
			}
			r.HTTP.Header[name] = []string{"admin"} // as it came, not canonical
			step, err := l.Begin(t.Context(), r)
			checkStep(t, step, err, false, "second spelling")
		}
	}
	r := request("10.0.0.1:1", "Remote-User", "alice", "X-Remote_User", "admin", "RemoteUser", "admin")
	step, err := l.Begin(t.Context(), r)
	checkStep(t, step, err, true, "")
}

func FuzzPeers(f *testing.F) {
	for _, s := range []string{"10.0.0.1:1", "[::1]:1", "@", "", "[fe80::1%a]:1", "[::ffff:10.0.0.1]:1", "10.0.0.1", ":1"} {
		f.Add(s)
	}
	p, err := parsePeers([]string{"10.0.0.0/8", "::1", "unix"}, true)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !p.include(s) || s == "@" || s == "" {
			return
		}
		// Another reader must come to the same end.
		host, _, err := net.SplitHostPort(s)
		host, _, _ = strings.Cut(host, "%")
		ip := net.ParseIP(host)
		_, ten, _ := net.ParseCIDR("10.0.0.0/8")
		if err != nil || ip == nil || !ten.Contains(ip) && !ip.Equal(net.IPv6loopback) {
			t.Errorf("%q is trusted", s)
		}
	})
}

func TestKnownPresets(t *testing.T) {
	if got := strings.Split(knownPresets(), ", "); len(got) != len(presets)-1 || slices.Contains(got, "") {
		t.Errorf("presets %q", got)
	}
}
