package authserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/clients"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// The tests here are about when a document is fetched, and what serves when it
// can't be.

// SPEC E10, O36, THREATS G2, G5: a name that resolves to an address which is not public gets no
// connection, whatever else it resolves to, and the page says nothing of it.
func TestDocumentInternalAddresses(t *testing.T) {
	canary, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer canary.Close()
	touched := make(chan string, 100)
	go func() {
		for {
			conn, err := canary.Accept()
			if err != nil {
				return
			}
			touched <- conn.RemoteAddr().String()
			_ = conn.Close()
		}
	}()
	// The port is one that may be asked, so that the address alone decides.
	port := netip.MustParseAddrPort(canary.Addr().String()).Port()
	w := newWeb(t, nil)
	options := w.net.Options()
	options.Ports = []uint16{443, port}
	w.rig = w.node(t, func(_ *Config, d *Deps) { d.Fetch = fetch.New(options) })
	generic := ""
	for i, address := range []string{
		"127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "192.0.0.8",
		"198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fc00::1", "fe80::1", "ff02::1", "::ffff:127.0.0.1",
		"64:ff9b::7f00:1", "2002:7f00:1::", "2001::1", "fe80::1%lo",
	} {
		host := fmt.Sprintf("h%d.example.com", i)
		at := netip.AddrPortFrom(netip.MustParseAddr(address), port)
		w.net.Resolve(host, at)
		id := "https://" + host + "/client.json"
		page := w.from(fmt.Sprintf("203.0.113.%d", i), id)
		w.refuses(t, page, http.StatusBadRequest, "document")
		if cause := w.lastCause(); !strings.Contains(cause, "not public") {
			t.Errorf("%s: %s", address, cause)
		}
		if generic == "" {
			generic = stable(page)
		} else if stable(page) != generic {
			t.Errorf("%s: the page differs from that of the others", address)
		}
	}
	select {
	case from := <-touched:
		t.Errorf("an internal listener got a connection from %s", from)
	default:
	}
}

// SPEC O36: a name whose second answer is private (DNS rebinding) is checked
// again when its document is fetched again.
func TestDocumentRebinding(t *testing.T) {
	w := newWeb(t, nil)
	w.publish(docID, document(docID), "Cache-Control", "no-store")
	shows(t, w.browser(t).get(request(docID)), http.StatusOK, signInMarker)
	internal := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the internal server was asked") }))
	defer internal.Close()
	w.net.Resolve(docHost, netip.MustParseAddrPort(internal.Listener.Addr().String()))
	w.pass(10 * time.Minute)
	w.browser(t).get(request(docID))
	if got := w.metadataEvents(); got[len(got)-1] != "stale_document" {
		t.Errorf("events %v", got)
	}
}

// SPEC E12, O37: too long, compressed or endless documents are not read on.
func TestDocumentSize(t *testing.T) {
	w := newWeb(t, nil)
	w.publish(docID, document(docID, set{"x", strings.Repeat("x", 6<<10)}))
	w.refusesDocument(t, docID)
	const exact = "https://client.example.com/exact.json"
	fits := document(exact, set{"x", ""})
	w.publish(exact, document(exact, set{"x", strings.Repeat("x", 5<<10-len(fits))}))
	shows(t, w.browser(t).get(request(exact)), http.StatusOK, signInMarker)
	w.handle(docID, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		for range 1 << 14 {
			if _, err := rw.Write([]byte(strings.Repeat(" ", 1<<10))); err != nil {
				return // as it should be: nobody reads 16 MiB
			}
		}
		t.Error("all of an endless document was read")
	})
	w.refusesDocument(t, docID)
}

// SPEC E13, O38: HTTP's rules about freshness; errors are never kept.
func TestDocumentCache(t *testing.T) {
	w := newWeb(t, nil)
	asked := func(want int) {
		t.Helper()
		if n := w.net.Seen(docHost); n != want {
			t.Fatalf("%d requests, want %d", n, want)
		}
	}
	w.fails(docID, http.StatusInternalServerError)
	w.refusesDocument(t, docID)
	w.publish(docID, document(docID, set{"client_name", nil}), "Cache-Control", "max-age=3600")
	w.refusesDocument(t, docID)
	w.publish(docID, document(docID), "Cache-Control", "max-age=300")
	good := func() {
		t.Helper()
		shows(t, w.browser(t).get(request(docID)), http.StatusOK, signInMarker)
	}
	good()
	asked(3)
	w.pass(299 * time.Second)
	good()
	asked(3)
	w.pass(2 * time.Second)
	good()
	asked(4)
	t.Run("a host that fails later ends nothing", func(t *testing.T) {
		w.fails(docID, http.StatusServiceUnavailable)
		w.pass(6 * 24 * time.Hour)
		good()
		w.pass(2 * 24 * time.Hour)
		w.refusesDocument(t, docID)
	})
	t.Run("a document that is gone is gone", func(t *testing.T) {
		w.publish(docID, document(docID), "Cache-Control", "max-age=300")
		good()
		w.fails(docID, http.StatusGone)
		w.pass(time.Hour)
		w.refusesDocument(t, docID)
	})
	t.Run("an older answer is not overwritten by a bad one", func(t *testing.T) {
		w.publish(docID, document(docID), "Cache-Control", "max-age=300")
		good()
		w.publish(docID, document(docID, set{"client_secret", "x"}))
		w.pass(time.Hour)
		good() // stale: the developers' mistake locks nobody out
	})
}

// SPEC O37: many who want one document are one fetch.
func TestDocumentSingleFlight(t *testing.T) {
	w := newWeb(t, nil)
	release := make(chan struct{})
	w.handle(docID, func(rw http.ResponseWriter, _ *http.Request) {
		<-release
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte(document(docID)))
	})
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			if page := w.browser(t).get(request(docID)); page.Code != http.StatusOK {
				t.Errorf("status %d", page.Code)
			}
		})
	}
	eventually(t, func() bool { return w.net.Seen(docHost) > 0 })
	close(release)
	group.Wait()
	if n := w.net.Seen(docHost); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// from sends a request for a document's client as if from an address.
func (w *web) from(ip, id string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodGet, testIssuer+request(id), http.NoBody)
	req = req.WithContext(oauth.WithMeta(context.Background(), oauth.Meta{RemoteIP: ip}))
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, req)
	return rec
}

// SPEC E22, O37: an anonymous flood of distinct client_ids makes few fetches,
// ends in "not now" and never in a verdict, and leaves others alone.
func TestDocumentFlood(t *testing.T) {
	w := newWeb(t, nil)
	w.publish(docID, document(docID))
	if got := w.from("203.0.113.9", docID); got.Code != http.StatusOK {
		t.Fatalf("status %d", got.Code)
	}
	var mu sync.Mutex
	codes := map[int]int{}
	var group sync.WaitGroup
	for i := range 1000 {
		group.Go(func() {
			page := w.from("198.51.100.7", fmt.Sprintf("https://h%d.example.org/c.json", i))
			mu.Lock()
			defer mu.Unlock()
			codes[page.Code]++
			if page.Code == http.StatusTooManyRequests && page.Header().Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		})
	}
	group.Wait()
	if attempts := codes[http.StatusBadRequest] + codes[http.StatusServiceUnavailable]; codes[http.StatusTooManyRequests] != 1000-newDocumentsRate.PerAddress || attempts != newDocumentsRate.PerAddress {
		t.Errorf("answers %v", codes)
	}
	if got := w.from("198.51.100.7", docID); got.Code != http.StatusOK {
		t.Errorf("a program in memory is refused with %d", got.Code)
	}
	const other = "https://client.example.com/other.json"
	w.publish(other, document(other))
	if got := w.from("203.0.113.9", other); got.Code != http.StatusOK {
		t.Errorf("another address is refused with %d", got.Code)
	}
	t.Run("from many addresses", func(t *testing.T) {
		codes := map[int]int{}
		for i := range 400 {
			codes[w.from(fmt.Sprintf("2001:db8:%x::1", i), fmt.Sprintf("https://g%d.example.org/c.json", i)).Code]++
		}
		if codes[http.StatusBadRequest] > newDocumentsRate.Total || codes[http.StatusServiceUnavailable] < 400-newDocumentsRate.Total {
			t.Errorf("answers %v", codes)
		}
	})
	t.Run("one network of IPv6 is one", func(t *testing.T) {
		w := newWeb(t, nil)
		last := 0
		for i := range newDocumentsRate.PerAddress + 1 {
			last = w.from(fmt.Sprintf("2001:db8:0:%x::1", i+1), fmt.Sprintf("https://g%d.example.org/c.json", i)).Code
		}
		if last != http.StatusTooManyRequests {
			t.Errorf("status %d", last)
		}
	})
}

const claudeID = "https://claude.ai/oauth/mcp-oauth-client-metadata"

// INTEROP 9: the copies of known documents are good by our own rules.
func TestBundledDocumentsAreGood(t *testing.T) {
	w := newWeb(t, nil)
	found := 0
	for _, row := range clients.All() {
		for _, id := range row.ClientIDs {
			raw, _, ok := clients.Document(id)
			if !ok {
				continue
			}
			found++
			if _, err := w.parseDocument(id, raw); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
	}
	if found < 5 {
		t.Errorf("%d documents", found)
	}
}

// INTEROP 1.9: Claude's document answers many servers with a bot challenge.
func TestBundledDocument(t *testing.T) {
	raw, _, _ := clients.Document(claudeID)
	const live = `"client_name":"Claude of today"`
	changed := func() string {
		var doc map[string]any
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatal(err)
		}
		doc["client_name"] = "Claude of today"
		text, err := json.Marshal(doc)
		if err != nil || !strings.Contains(string(text), live) {
			t.Fatal(err)
		}
		return string(text)
	}()
	serve := func(rw http.ResponseWriter, status int, kind, body string) {
		rw.Header().Set("Content-Type", kind)
		rw.WriteHeader(status)
		_, _ = rw.Write([]byte(body))
	}
	for _, c := range []struct {
		name, kind, body string
		status           int
		want             string // the name of the program, or "" for a refusal
	}{
		{"bot challenge", "text/html", "<p>Are you a robot?</p>", 403, ">Claude</bdi>"},
		{"bot challenge with 200", "text/html", "<p>Are you a robot?</p>", 200, ">Claude</bdi>"},
		{"outage", "text/plain", "", 502, ">Claude</bdi>"},
		{"live", "application/json", changed, 200, ">Claude of today</bdi>"},
		{"live and bad", "application/json", strings.Replace(changed, "https://claude.ai/api", "javascript:", 1), 200, ""},
		{"gone", "text/html", "", 404, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWeb(t, nil)
			w.handle(claudeID, func(rw http.ResponseWriter, _ *http.Request) { serve(rw, c.status, c.kind, c.body) })
			if c.want == "" {
				w.refusesDocument(t, claudeID)
				return
			}
			shows(t, w.browser(t).get(request(claudeID)), http.StatusOK, c.want)
		})
	}
	t.Run("no such host, and then live again", func(t *testing.T) {
		w := newWeb(t, nil)
		shows(t, w.browser(t).get(request(claudeID)), http.StatusOK, ">Claude</bdi>")
		if got := w.metadataEvents(); !slices.Equal(got, []string{"bundled_document"}) {
			t.Errorf("events %v", got)
		}
		if tokens := w.browser(t).approve(request(claudeID), claudeID); tokens.RefreshToken == "" {
			t.Error("no refresh token")
		}
	})
	t.Run("it is not asked for each page", func(t *testing.T) {
		w := newWeb(t, nil)
		w.fails(claudeID, http.StatusForbidden)
		for range 5 {
			shows(t, w.browser(t).get(request(claudeID)), http.StatusOK, ">Claude</bdi>")
		}
		if n := w.net.Seen("claude.ai"); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
	t.Run("off", func(t *testing.T) {
		w := newWeb(t, func(c *Config, _ *Deps) { c.Documents.BundledOff = true })
		w.fails(claudeID, http.StatusForbidden)
		w.refusesDocument(t, claudeID)
		if got := w.metadataEvents(); !slices.Equal(got, []string{"failed"}) {
			t.Errorf("events %v", got)
		}
	})
	t.Run("denied", func(t *testing.T) {
		w := newWeb(t, func(c *Config, _ *Deps) { c.Documents.Deny = []string{"claude.ai"} })
		w.refusesDocument(t, claudeID)
	})
	t.Run("another document of the host has no copy", func(t *testing.T) {
		w := newWeb(t, nil)
		w.refusesDocument(t, claudeID+"/")
	})
}

// One home has 65,536 networks of IPv6, or 256. With twelve of them it spent what
// all others have for new programs, and Claude's live document, on a healthy
// host, gave way to our copy because of that.
func TestDocumentBudgetOfOneHome(t *testing.T) {
	w := newWeb(t, nil)
	w.publish(docID, document(docID))
	w.publish(claudeID, document(claudeID, set{"client_name", "Claude of today"}))
	flood := func(home string) {
		for i := range 12 {
			for k := range newDocumentsRate.PerAddress {
				w.from(fmt.Sprintf(home, i), fmt.Sprintf("https://n%d-%d.invalid/c.json", i, k))
			}
		}
	}
	flood("2001:db8:0:%x::1")
	if got := w.from("203.0.113.9", docID); got.Code != http.StatusOK {
		t.Errorf("somebody else's new program is refused with %d", got.Code)
	}
	t.Run("when many spend all of it", func(t *testing.T) {
		flood("2001:db8:%x::1") // twelve homes
		const other = "https://client.example.com/other.json"
		w.publish(other, document(other))
		if got := w.from("203.0.113.10", other); got.Code != http.StatusServiceUnavailable {
			t.Fatalf("there is still room: %d", got.Code)
		}
		shows(t, w.from("203.0.113.9", claudeID), http.StatusOK, ">Claude of today</bdi>")
		if got := w.metadataEvents(); slices.Contains(got, "bundled_document") || w.net.Seen("claude.ai") != 1 {
			t.Errorf("events %v after %d requests", got[len(got)-3:], w.net.Seen("claude.ai"))
		}
	})
}

// That this server is busy is no reason for a copy: people are asked to try
// again, and get what the host says.
func TestBundledDocumentNotForOurOwnSake(t *testing.T) {
	w := newWeb(t, nil)
	w.publish(claudeID, document(claudeID, set{"client_name", "Claude of today"}))
	for _, cause := range []error{fetch.ErrBusy, fetch.ErrClosed} {
		_, err := w.documentFailed(t.Context(), claudeID, fmt.Errorf("fetching: %w", cause))
		if e, ok := errors.AsType[*oauth.Error](err); !ok || e.Code != oauth.CodeTemporarilyUnavailable {
			t.Errorf("%v: %v", cause, err)
		}
	}
	if got := w.metadataEvents(); slices.Contains(got, "bundled_document") {
		t.Errorf("events %v", got)
	}
}

// Documents with a copy are fetched outside of the budget, but not without end: a
// host that refuses is asked within the budget for the next minute.
func TestBundledDocumentHostIsSpared(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusNotFound} {
		w := newWeb(t, nil)
		w.fails(claudeID, status)
		for range 100 {
			w.from("198.51.100.7", claudeID)
		}
		if n := w.net.Seen("claude.ai"); n > 1+newDocumentsRate.PerAddress {
			t.Errorf("status %d: %d requests", status, n)
		}
	}
}
