package postgres

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/backends"
)

// newCertificate returns a certificate that vouches for itself, and its key.
func newCertificate(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	must(t, err)
	der8, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der8})
}

// TestReloadReadsFiles wants a reload to go by certificates and passwords that
// were renewed in their files, and to share connections while they were not.
func TestReloadReadsFiles(t *testing.T) {
	p, o, dir := backends.SharedPostgres(t), options(t), t.TempDir()
	user := "r" + o.Schema
	p.Exec(t, "CREATE USER "+user+"; CREATE SCHEMA "+o.Schema+" AUTHORIZATION "+user)
	t.Cleanup(func() { p.Exec(t, "DROP OWNED BY "+user+"; DROP USER "+user) })
	file := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, text []byte) { must(t, os.WriteFile(file(name), text, 0o600)) }
	renew := map[string]func(){
		"certificate": func() {
			cert, key := newCertificate(t)
			write("client.pem", cert)
			write("client.key", key)
		},
		"authority": func() {
			cert, _ := newCertificate(t)
			write("ca.pem", cert)
		},
		"password": func() {
			password := secret + rand.Text()
			p.Exec(t, "ALTER USER "+user+" PASSWORD '"+password+"'")
			write("pass", []byte("*:*:*:"+user+":"+password+"\n"))
		},
	}
	for _, fn := range renew {
		fn()
	}
	dsn := fmt.Sprintf("postgres://%s@%s/postgres?sslmode=prefer&sslcert=%s&sslkey=%s&sslrootcert=%s&passfile=%s",
		user, p.Addr, file("client.pem"), file("client.key"), file("ca.pem"), file("pass"))
	fields := map[string]any{"dsn": dsn, "schema": o.Schema, "timeout": "30s"}
	reload := func() *Module {
		t.Helper()
		ctx, _ := newContext(t)
		m, err := load(t, ctx, fields)
		must(t, err)
		return m
	}
	running := reload()
	for what, fn := range renew {
		if same := reload(); same.Store != running.Store {
			t.Fatalf("before the %s: a reload connected a second time", what)
		}
		fn()
		m := reload()
		if m.Store == running.Store {
			t.Fatalf("a new %s: the reload goes on with the old one", what)
		}
		works(t, m, what)
		cert, err := os.ReadFile(file("ca.pem"))
		must(t, err)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(cert)
		config := m.pool.Config().ConnConfig.TLSConfig
		if !config.RootCAs.Equal(roots) {
			t.Errorf("after the %s: another authority is trusted", what)
		}
		cert, err = os.ReadFile(file("client.pem"))
		must(t, err)
		if block, _ := pem.Decode(cert); !slices.Equal(config.Certificates[0].Certificate[0], block.Bytes) {
			t.Errorf("after the %s: another certificate is shown", what)
		}
		running = m
	}
	// What can't be used is refused, and what runs goes on.
	write("ca.pem", []byte("half a certif"))
	ctx, _ := newContext(t)
	_, err := load(t, ctx, fields)
	fails(t, err, "dsn can't be used")
	works(t, running, "after a bad file")
}

// TestFilesOf wants all ways to name a file to be seen.
func TestFilesOf(t *testing.T) {
	dir := t.TempDir()
	home, service := filepath.Join(dir, "home"), filepath.Join(dir, "service")
	must(t, os.WriteFile(service, []byte("[db]\nhost=h\nsslrootcert = /of/service.pem\n"), 0o600))
	t.Setenv("HOME", home)
	t.Setenv("PGSSLKEY", "/of/environment.key")
	for dsn, want := range map[string][]string{
		"postgres://h/db":                    {filepath.Join(home, ".pgpass"), filepath.Join(home, ".postgresql", "root.crt"), "/of/environment.key"},
		"postgres://h/db?sslcert=/a+b%20c":   {"/a+b c"},
		"postgres://h/db?x=1&sslrootcert=/a": {"/a"},
		"host=h sslcert=/a passfile=/b":      {"/a", "/b"},
		`host=h sslcert = '/a \'b\'' user=u`: {"/a 'b'"},
		`host=h sslcert=/a\ b&c`:             {"/a b&c"},
		`host=h sslcert='`:                   nil, // the driver refuses it
		"service=db servicefile=" + service:  {service, "/of/service.pem"},
	} {
		got := filesOf(dsn)
		for _, path := range want {
			if !slices.Contains(got, path) {
				t.Errorf("%s: %s misses %s", dsn, strings.Join(got, " "), path)
			}
		}
	}
}
