package header

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// peers are the ends of connections that are the proxy.
type peers struct {
	networks []netip.Prefix
	unix     bool
}

// A network wider than these is no list of proxies but everybody, or half of
// everybody. The widest private ones are 10.0.0.0/8 and fc00::/7.
const (
	widestIPv4 = 8
	widestIPv6 = 7
)

// parsePeers reads trusted_proxies. Wide networks are refused if the address is
// the only proof.
func parsePeers(entries []string, only bool) (*peers, error) {
	p := new(peers)
	for _, entry := range entries {
		for word := range strings.FieldsSeq(entry) { // a placeholder may hold several
			switch word {
			case "unix":
				p.unix = true
				continue
			case "private_ranges":
				if err := p.add(only, caddyhttp.PrivateRangesCIDR()...); err != nil {
					return p, err
				}
				continue
			}
			if err := p.add(only, word); err != nil {
				return p, err
			}
		}
	}
	if len(entries) > 0 && !p.listed() {
		return p, errors.New("trusted_proxies is empty: list the proxy's addresses, or leave it out")
	}
	return p, nil
}

func (p *peers) add(only bool, words ...string) error {
	for _, word := range words {
		network, err := parseNetwork(word)
		if err != nil {
			return err
		}
		widest := widestIPv6
		if network.Addr().Is4() {
			widest = widestIPv4
		}
		if only && network.Bits() < widest {
			return fmt.Errorf("trusted_proxies %s lets half the world say who it is: list the proxy's own addresses, or add secret_header or jwt", word)
		}
		p.networks = append(p.networks, network)
	}
	return nil
}

// parseNetwork reads an address or a network. IPv4 written as IPv6 becomes
// IPv4, as the addresses of peers do.
func parseNetwork(word string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(word)
	if err != nil {
		var addr netip.Addr
		if addr, err = netip.ParseAddr(word); err == nil && addr.Zone() == "" {
			network = netip.PrefixFrom(addr, addr.BitLen())
		}
	}
	const mapped = 96 // the bits of ::ffff:0:0/96
	if network.Addr().Is4In6() {
		network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-mapped)
	}
	if err != nil || !network.IsValid() {
		return netip.Prefix{}, fmt.Errorf("trusted_proxies: %q is not an address, a network such as 10.0.0.0/8, private_ranges or unix", word)
	}
	return network.Masked(), nil
}

// listed reports whether there is anything to compare with.
func (p *peers) listed() bool { return p.unix || len(p.networks) > 0 }

// include reports whether the other end of a connection is listed. What can't
// be read is not.
func (p *peers) include(remoteAddr string) bool {
	// What net/http says of the other end of a Unix socket that has no name.
	if remoteAddr == "@" || remoteAddr == "" {
		return p.unix
	}
	peer, err := netip.ParseAddrPort(remoteAddr)
	if err != nil {
		return false
	}
	// A zone says on which link an address is, not which address.
	addr := peer.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(p.networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// checkProofs makes sure that the request comes from the proxy, as far as the
// connection and the secret can tell.
func (l *Login) checkProofs(r *http.Request) error {
	if err := l.checkSpelling(r.Header); err != nil {
		return err
	}
	if l.peers.listed() {
		// The address of TLS early data over QUIC is not proven yet.
		if r.TLS != nil && !r.TLS.HandshakeComplete {
			return denied("the request came before the handshake was complete")
		}
		if !l.peers.include(r.RemoteAddr) {
			return denied("the request comes from %q, which is not in trusted_proxies", r.RemoteAddr)
		}
	}
	if l.SecretHeader != "" {
		got, err := take(r.Header, l.SecretHeader, maxValue)
		if err != nil {
			return err
		}
		if !equalSecret(got, l.Secret) {
			return denied("the secret in header %s is missing or wrong", l.SecretHeader)
		}
	}
	return nil
}

// equalSecret takes the same time for every wrong secret, whatever its length.
func equalSecret(got, want string) bool {
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && want != ""
}
