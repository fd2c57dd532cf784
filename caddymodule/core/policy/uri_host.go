package policy

import (
	"net/netip"
	"strings"
)

// ports are the schemes whose hosts are names of the DNS, with their ports.
var ports = map[string]string{"http": "80", "https": "443", "ws": "80", "wss": "443", "ftp": "21"}

// normalHost brings the host into the form that most servers would end up with.
// Odd is true where readers part ways: some map characters beyond ASCII to others,
// or drop them, and a file of another host is one of this host to most.
func (p *uriParts) normalHost() (odd bool) {
	sent := p.host
	p.host, odd = decode(p.host)
	odd = odd || p.host != sent || p.host == "." || p.host == ".." || strings.Count(p.host, "@") > 1 ||
		strings.ContainsAny(p.host, `/\?#`) || strings.IndexFunc(p.host, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0
	p.host = p.host[strings.LastIndexByte(p.host, '@')+1:]
	usual, dns := ports[p.scheme]
	if dns || p.scheme == "file" {
		p.host = strings.ToLower(p.host)
	}
	name, port := cutPort(p.host)
	if dns {
		odd = odd || strings.TrimLeft(port, "0123456789") != "" || strings.HasSuffix(name, "..")
		name = strings.TrimSuffix(name, ".")
		odd = odd || name == "" || oddAddress(name)
	}
	p.host = name
	if port = strings.TrimLeft(port, "0"); port != "" && port != usual {
		p.host += ":" + port
	}
	if p.scheme == "file" {
		if p.host == "localhost" {
			p.host = ""
		}
		odd = odd || p.host != "" || sent != "" && !strings.EqualFold(sent, "localhost")
	}
	return odd
}

// otherHosts are the hosts that less exact readers see.
func (p *uriParts) otherHosts() []string {
	if !p.hasHost {
		return nil
	}
	var out []string
	lower := strings.ToLower(p.host)
	name, port := cutPort(lower)
	for _, host := range []string{lower, name, strings.TrimRight(name, ".")} {
		if host != p.host {
			out = append(out, host)
		}
	}
	if plain := strings.TrimRight(name, "."); plain != name && port != "" {
		out = append(out, plain+":"+port)
	}
	return out
}

// cutPort splits the port off, which is empty if there is none.
func cutPort(host string) (name, port string) {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || i < strings.LastIndexByte(host, ']') {
		return host, ""
	}
	return host[:i], host[i+1:]
}

// oddAddress reports whether a host is an IP address in one of its unusual
// spellings, such as 127.1 or 0x7f000001.
func oddAddress(host string) bool {
	if inner, bracket := strings.CutPrefix(host, "["); bracket {
		inner, bracket = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		return err != nil || !bracket || a.Is4In6() || a.Zone() != "" || a.String() != inner
	}
	if strings.Contains(host, ":") {
		return true
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last == "" || last[0] < '0' || last[0] > '9' {
		return false
	}
	_, err := netip.ParseAddr(host)
	return err != nil
}
