package fetchtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
)

// Net is the internet of a test.
type Net struct {
	// Addr is where the server listens.
	Addr netip.AddrPort

	server *httptest.Server
	roots  *x509.CertPool

	mu    sync.Mutex
	hosts map[string]http.Handler
	names map[string][]netip.AddrPort
	seen  map[string]int
	conns int
}

// New starts the server. It ends with the test.
func New(tb testing.TB) *Net {
	tb.Helper()
	n := &Net{
		hosts: map[string]http.Handler{}, names: map[string][]netip.AddrPort{}, seen: map[string]int{},
		roots: x509.NewCertPool(),
	}
	ca := n.authority(tb)
	n.server = httptest.NewUnstartedServer(http.HandlerFunc(n.serve))
	n.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	n.server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			n.mu.Lock()
			n.conns++
			n.mu.Unlock()
		}
	}
	n.server.TLS = &tls.Config{GetCertificate: ca}
	n.server.StartTLS()
	tb.Cleanup(n.server.Close)
	n.Addr = netip.MustParseAddrPort(n.server.Listener.Addr().String())
	return n
}

// Handle answers for a host name, at https://host/ and every port.
func (n *Net) Handle(host string, h http.HandlerFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[host] = h
	n.names[host] = []netip.AddrPort{n.Addr}
}

// Resolve makes a name resolve to these addresses, of which those of port 0
// get the port that is asked for.
func (n *Net) Resolve(host string, addrs ...netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[host] = addrs
}

// Seen returns how many requests a host got.
func (n *Net) Seen(host string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seen[host]
}

// Connections returns how many connections the server got.
func (n *Net) Connections() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.conns
}

// Options let a client reach this internet, and no other private address.
func (n *Net) Options() fetch.Options {
	return fetch.Options{
		Permit:  func(a netip.AddrPort) bool { return a == n.Addr },
		RootCAs: n.roots,
		Lookup:  n.Lookup,
	}
}

// Lookup is the resolver.
func (n *Net) Lookup(_ context.Context, host string, port uint16) ([]netip.AddrPort, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	addrs, ok := n.names[host]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var out []netip.AddrPort
	for _, a := range addrs {
		if a.Port() == 0 {
			a = netip.AddrPortFrom(a.Addr(), port)
		}
		out = append(out, a)
	}
	return out, nil
}

func (n *Net) serve(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	n.mu.Lock()
	n.seen[host]++
	h := n.hosts[host]
	n.mu.Unlock()
	if h == nil {
		http.NotFound(w, r)
		return
	}
	h.ServeHTTP(w, r)
}

// authority returns a function that makes a certificate for any name.
func (n *Net) authority(tb testing.TB) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fetchtest"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	n.roots.AddCert(ca)
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{hello.ServerName},
			NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		}
		der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key)
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
	}
}
