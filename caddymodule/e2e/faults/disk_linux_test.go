package faults_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// disk mounts a small file system of its own and returns where. Only root may:
// others skip the test, unless everything that tests ask for has to be there.
func disk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m,mode=0700"); err != nil {
		text := fmt.Sprintf("a file system of its own can't be mounted (as root it can): %v", err)
		if os.Getenv("REQUIRE_BACKENDS") == "1" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// brokenDisk starts a gateway whose store is on a disk of its own, breaks that,
// wants an outage and nothing worse, and mends it.
func brokenDisk(t *testing.T, fault string, damage, mend func(dir string) error) {
	dir := disk(t)
	addr, _ := upstream(t)
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: configuration("embedded "+dir+"/state.db", "", ""), Upstream: addr})
	c := gatewaytest.Register(t, g.URL)
	access, refresh := c.Tokens(t)
	cold, code := devToken(t, g.URL), c.Code(t)
	if err := damage(dir); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	// While the file has room inside, small writes may go well, which is fine.
	eventually(t, 20*time.Second, "the store can't write", func() bool {
		r := c.Redeem(t, c.Code(t))
		if r.Status != http.StatusOK {
			wantOutage(t, r)
		}
		return r.Status != http.StatusOK
	})
	note(t, fault, "issuance refused with 503 after", "%.1f s", time.Since(begin).Seconds())
	if health := gatewaytest.Send(t, http.MethodGet, g.URL+"/oauth/health", ""); health.Status != http.StatusServiceUnavailable {
		t.Errorf("health: %d %s", health.Status, health.Body)
	}
	wantCall(t, g.URL, access, http.StatusOK)
	wantCall(t, g.URL, cold, http.StatusOK)
	wantCall(t, g.URL, access+"x", http.StatusUnauthorized)
	gatewaytest.Register(t, g.URL)
	begin = time.Now()
	if err := mend(dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "it heals by itself", func() bool {
		return gatewaytest.Send(t, http.MethodGet, g.URL+"/oauth/health", "").Status == http.StatusOK
	})
	note(t, fault, "healed without a restart after", "%.1f s", time.Since(begin).Seconds())
	if r := c.Refresh(t, refresh); r.Status != http.StatusOK {
		t.Errorf("the refresh token from before: %d %s", r.Status, r.Body)
	}
	if r := c.Redeem(t, code); r.Status != http.StatusOK {
		t.Errorf("the code from before: %d %s", r.Status, r.Body)
	}
}

// wantOutage checks an answer of the token endpoint while the store does not
// work: never a verdict about the client.
func wantOutage(t *testing.T, r gatewaytest.Reply) {
	t.Helper()
	if r.Status != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" || r.Text(t, "error") != "temporarily_unavailable" {
		t.Errorf("%d %v %s; want 503 with Retry-After", r.Status, r.Header, r.Body)
	}
}

// THREATS 3: nothing is acknowledged that was not stored; calls go on.
func TestFullDisk(t *testing.T) {
	brokenDisk(t, "full disk", func(dir string) error {
		f, err := os.Create(filepath.Join(dir, "other"))
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		return nil
	}, func(dir string) error { return os.Remove(filepath.Join(dir, "other")) })
}

func TestReadOnlyDisk(t *testing.T) {
	// A file system with files that are open for writing can't be remounted: it
	// is what a kernel does that found an error on the disk, which can't be had
	// here. A folder that is mounted over takes the file away instead.
	brokenDisk(t, "read-only disk", func(dir string) error {
		return syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_RDONLY, "size=4k")
	}, func(dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) })
}
