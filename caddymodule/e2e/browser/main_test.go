package browser_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// endChromium ends the one Chromium of the package, if it was started.
var endChromium = func() {}

// web answers for every host below .example, by https.
var web = newSites()

func TestMain(m *testing.M) {
	code := m.Run()
	endChromium()
	web.server.Close()
	os.Exit(code)
}

// startChromium runs the browser, the first time that a test asks for it.
var startChromium = sync.OnceValues(func() (context.Context, error) {
	program, err := exec.LookPath("chromium")
	if err != nil {
		return nil, err
	}
	// Nothing leaves this machine: names below .example are the sites of the
	// tests, those below .test are gateways on their own ports.
	rules := "MAP *.example " + web.server.Listener.Addr().String() +
		", MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"
	// Its profile is in a temporary folder, which chromedp removes.
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.DisableGPU, chromedp.IgnoreCertErrors,
		chromedp.Flag("host-resolver-rules", rules), chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("lang", "en-US"), chromedp.Flag("hide-scrollbars", true),
		// With one process for a page and its frames, a test sees both.
		chromedp.Flag("disable-site-isolation-trials", true), chromedp.Flag("disable-features", "Translate,IsolateOrigins,site-per-process"),
	)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	browser, cancel := chromedp.NewContext(allocator)
	endChromium = func() {
		cancel()
		stop()
	}
	return browser, chromedp.Do(browser)
})

// sites are web sites of clients and of attackers, under one self-signed
// certificate.
type sites struct {
	server *httptest.Server

	mu    sync.Mutex
	hosts map[string]http.Handler
}

func newSites() *sites {
	s := &sites{hosts: map[string]http.Handler{}}
	s.server = httptest.NewTLSServer(s)
	return s
}

// ServeHTTP implements http.Handler.
func (s *sites) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	h := s.hosts[r.Host]
	s.mu.Unlock()
	if h == nil {
		http.NotFound(w, r)
		return
	}
	h.ServeHTTP(w, r)
}

// serve puts a site under a host name of its own below .example until the test
// ends, and returns its origin.
func (s *sites) serve(tb testing.TB, host string, h http.Handler) string {
	tb.Helper()
	if !strings.HasSuffix(host, ".example") {
		tb.Fatalf("Chromium finds no host %s", host)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hosts[host] != nil {
		tb.Fatalf("another test has the host %s", host)
	}
	s.hosts[host] = h
	tb.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.hosts, host)
	})
	return "https://" + host
}

// needChromium returns the browser. It skips a test where there is none, or
// fails it if the machine must have one.
func needChromium(tb testing.TB) context.Context {
	tb.Helper()
	browser, err := startChromium()
	switch {
	case errors.Is(err, exec.ErrNotFound) && os.Getenv("REQUIRE_BACKENDS") != "1":
		tb.Skipf("%v: install Debian's chromium", err)
	case err != nil:
		tb.Fatal(err)
	}
	return browser
}
