package oauth

import "net/netip"

// Network is what one caller has of the Internet: an address, or a /64 of IPv6,
// whose owner has 2^64 of them. Text that is no address is returned as it is.
func Network(address string) string { return NetworkOf(address, 64) }

// NetworkOf is Network for an IPv6 prefix of so many bits, 0 to 128.
func NetworkOf(address string, bits int) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	prefix, _ := ip.Prefix(bits) // fits every IPv6 address
	return prefix.String()
}
