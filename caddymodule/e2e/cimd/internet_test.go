package cimd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// internet is the server at the public address, and the canaries at the
// internal ones.
type internet struct {
	// authority is the file of the certificate that its hosts are known by.
	authority string

	mu      sync.Mutex
	pages   map[string]http.HandlerFunc // by host and path
	asked   map[string]int              // by host and path
	touched []string                    // the canaries that got a connection
}

// newInternet begins to serve until the test ends. One test at a time can.
func newInternet(tb testing.TB) *internet {
	tb.Helper()
	needsNamespace(tb)
	n := &internet{pages: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	cert := n.certificate(tb)
	server := &http.Server{Handler: n, ErrorLog: log.New(logOf{tb}, "", 0), ReadHeaderTimeout: time.Minute}
	ln, err := tls.Listen("tcp", net.JoinHostPort(public, "443"), &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = server.Serve(ln); close(done) }()
	tb.Cleanup(func() { _ = server.Close(); <-done })
	for _, address := range internal {
		n.canary(tb, address)
	}
	n.sing(tb)
	return n
}

// logOf is where a server of a test complains: connections that are cut are
// what these tests are about.
type logOf struct{ testing.TB }

func (l logOf) Write(p []byte) (int, error) { return len(p), nil }

// canary listens at an internal address.
func (n *internet) canary(tb testing.TB, address string) {
	tb.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(address, "443"))
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			n.mu.Lock()
			n.touched = append(n.touched, address)
			n.mu.Unlock()
			_ = conn.Close()
		}
	}()
	tb.Cleanup(func() {
		_ = ln.Close()
		<-done
		n.mu.Lock()
		defer n.mu.Unlock()
		if len(n.touched) > 0 {
			tb.Errorf("internal listeners got connections: %v", n.touched)
			n.touched = nil
		}
	})
}

// sing makes sure that every canary notices a connection.
func (n *internet) sing(tb testing.TB) {
	tb.Helper()
	for i := range internal {
		conn, err := net.Dial("tcp", net.JoinHostPort(internalName(i), "443"))
		if err != nil {
			tb.Fatal(err)
		}
		_, _ = conn.Read(make([]byte, 1)) // until it is closed
		_ = conn.Close()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.touched) != len(internal) {
		tb.Fatalf("only these canaries notice a connection: %v", n.touched)
	}
	n.touched = nil
}

// ServeHTTP answers for every host.
func (n *internet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := r.Host + r.URL.Path
	n.mu.Lock()
	n.asked[at]++
	h := n.pages[at]
	n.mu.Unlock()
	if h == nil {
		http.NotFound(w, r)
		return
	}
	h(w, r)
}

// serve answers at a host and path.
func (n *internet) serve(at string, status int, kind, body string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pages[at] = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// requests is how often a host and path was asked.
func (n *internet) requests(at string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[at]
}

// certificate makes an authority, and a certificate of it for all names.
func (n *internet) certificate(tb testing.TB) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority of tests"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: template.NotBefore, NotAfter: template.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature}
	for host := range names() {
		leaf.DNSNames = append(leaf.DNSNames, host)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	n.authority = filepath.Join(tb.TempDir(), "authority.pem")
	if err := os.WriteFile(n.authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key}
}
