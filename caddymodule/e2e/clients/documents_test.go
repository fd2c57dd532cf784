package clients_test

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// documents is a host of client metadata documents and key sets. It speaks
// https on the loopback, where a gateway fetches nothing: so a proxy stands
// between, as in houses that let nothing out but through one, and takes every
// host name of the documents there.
type documents struct {
	proxy  string // its URL
	origin string // of the documents
	ca     string // the file of the host's authority

	mu    sync.Mutex
	files map[string]any
}

// serveDocuments runs the host and the proxy until the test ends.
func serveDocuments(t *testing.T) *documents {
	t.Helper()
	d := &documents{origin: "https://example.com", files: map[string]any{}}
	host := httptest.NewTLSServer(d)
	t.Cleanup(host.Close)
	d.ca = filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: host.Certificate().Raw}
	if err := os.WriteFile(d.ca, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "example.com:443" {
			http.Error(w, "no way out", http.StatusForbidden)
			return
		}
		tunnel(t, w, host.Listener.Addr().String())
	}))
	t.Cleanup(proxy.Close)
	d.proxy = proxy.URL
	return d
}

// tunnel connects a client of the proxy with an address until one of them ends.
func tunnel(t *testing.T, w http.ResponseWriter, address string) {
	there, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n") // it may be gone
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(there, buffered); _ = there.Close() })
	both.Go(func() { _, _ = io.Copy(here, there); _ = here.Close() })
	both.Wait()
}

// ServeHTTP implements http.Handler.
func (d *documents) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	file, ok := d.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(file) // the gateway may have gone
}

// publish puts a file there and returns its URL.
func (d *documents) publish(path string, file any) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files[path] = file
	return d.origin + path
}

// options are what a gateway needs to fetch from it.
func (d *documents) options() (env, caddyfile []string) {
	return []string{"SSL_CERT_FILE=" + d.ca}, []string{"client_metadata {", "\tproxy " + d.proxy, "}"}
}
