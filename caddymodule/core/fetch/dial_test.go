package fetch

import (
	"net/netip"
	"testing"

	"code.dny.dev/ssrf"
)

// TestAddresses is the corpus of SPEC E10: every range, at both its ends.
func TestAddresses(t *testing.T) {
	g := guard{public: ssrf.New(ssrf.WithPorts(443))}
	refused := []string{
		"0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255",
		"127.0.0.0", "127.0.0.1", "127.255.255.255", "169.254.0.0", "169.254.169.254", "169.254.255.255",
		"172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.255", "192.168.0.0", "192.168.255.255",
		"198.18.0.0", "198.19.255.255", "224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.255",
		"192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1",
		"::", "::1", "::7f00:1", "fc00::", "fd00:ec2::254", "fdff:ffff::1", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1",
		"ff00::1", "ff02::1", "ffff::1",
		"::ffff:0.0.0.0", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:255.255.255.255",
		"64:ff9b::", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1",
		"2002::", "2002:7f00:1::1", "2002:a00:1::", "2002:ffff::1",
		"2001::", "2001:0:7f00:1::1", "2001:0:ffff::1", "2001:db8::1", "3fff::1", "5f00::1", "100::1", "4000::1",
	}
	for _, ip := range refused {
		network := "tcp6"
		if netip.MustParseAddr(ip).Is4() {
			network = "tcp4"
		}
		if err := g.control(network, netip.AddrPortFrom(netip.MustParseAddr(ip), 443).String(), nil); err == nil {
			t.Errorf("%s may be connected to", ip)
		}
	}
	for _, tt := range []struct {
		network, address string
		ok               bool
	}{
		{"tcp4", "9.255.255.255:443", true},
		{"tcp4", "11.0.0.0:443", true},
		{"tcp4", "100.63.255.255:443", true},
		{"tcp4", "100.128.0.0:443", true},
		{"tcp4", "172.15.255.255:443", true},
		{"tcp4", "172.32.0.0:443", true},
		{"tcp4", "198.17.255.255:443", true},
		{"tcp4", "198.20.0.0:443", true},
		{"tcp4", "223.255.255.255:443", true},
		{"tcp6", "[2606:4700:4700::1111]:443", true},
		{"tcp6", "[2003::1]:443", true},
		{"tcp4", "8.8.8.8:80", false},
		{"tcp4", "8.8.8.8:22", false},
		{"udp4", "8.8.8.8:443", false},
		{"unix", "/run/docker.sock", false},
	} {
		if err := g.control(tt.network, tt.address, nil); (err == nil) != tt.ok {
			t.Errorf("%s %s: %v, want ok %t", tt.network, tt.address, err, tt.ok)
		}
	}
}
