package fetch

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"code.dny.dev/ssrf"
)

// guard refuses connections to addresses that are not public: the special-use
// registries of RFC 6890 for IPv4, and for IPv6 everything outside 2000::/3 and
// what is special within (SPEC E10). It is asked with the address of every
// connection just before it is made, so that it makes no difference what a name
// resolved to before.
type guard struct {
	public *ssrf.Guardian
	permit func(netip.AddrPort) bool
}

// control is a net.Dialer's Control.
func (g guard) control(network, address string, c syscall.RawConn) error {
	err := g.public.Safe(network, address, c)
	if err == nil || g.permit == nil {
		return err
	}
	if ap, bad := netip.ParseAddrPort(address); bad == nil && g.permit(ap) {
		return nil
	}
	return err
}

// dialer makes the connections of a client.
type dialer struct {
	net.Dialer
	lookup func(ctx context.Context, host string, port uint16) ([]netip.AddrPort, error)
}

// DialContext has each address checked by the Control of the dialer.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if d.lookup == nil {
		return d.Dialer.DialContext(ctx, network, address)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, err
	}
	addrs, err := d.lookup(ctx, host, uint16(port))
	if err != nil {
		return nil, err
	}
	err = &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	for _, a := range addrs {
		conn, e := d.Dialer.DialContext(ctx, network, a.String())
		if e == nil {
			return conn, nil
		}
		err = errors.Join(err, e)
	}
	return nil, err
}
