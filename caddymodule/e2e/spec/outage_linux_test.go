package spec_test

import (
	"net/http"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// limitFiles lets a process write no file beyond a size; zero is a full disk.
func limitFiles(t *testing.T, pid int, size uint64) {
	t.Helper()
	limit := syscall.Rlimit{Cur: size, Max: ^uint64(0)}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
}

// TestOutage is G5 and O55: while the store can't write, no client is told
// that its credentials are bad, nothing is granted, and all goes on afterwards.
func TestOutage(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile("", "")})
	c := gatewaytest.Register(t, g.URL)
	access, refresh := c.Tokens(t)
	code, used := c.Code(t), c.Code(t)
	replayed := c.Redeem(t, used)
	wantStatus(t, replayed, http.StatusOK)

	pid, err := strconv.Atoi(filepath.Base(processDir(t, g)))
	if err != nil {
		t.Fatal(err)
	}
	limitFiles(t, pid, 0)
	wantOutage := func(name string, r gatewaytest.Reply) {
		t.Helper()
		wantError(t, r, http.StatusServiceUnavailable, "temporarily_unavailable")
		if r.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", name)
		}
	}
	wantOutage("code", c.Redeem(t, code))
	wantOutage("refresh", c.Refresh(t, refresh))
	// T6: a revocation that was not written is not reported as done.
	wantOutage("replay", c.Redeem(t, used))
	wantInvalidGrant(t, c.Redeem(t, "x"))
	wantAlive(t, g.URL, access)
	wantStatus(t, gatewaytest.PostJSON(t, g.URL+"/oauth/register", `{`+loopbackURI+`}`), http.StatusCreated)
	health := get(t, g.URL+"/oauth/health")
	wantStatus(t, health, http.StatusServiceUnavailable)
	if health.Text(t, "reason") == "" {
		t.Errorf("health gives no reason: %s", health.Body)
	}

	limitFiles(t, pid, ^uint64(0))
	eventually(t, "the gateway recovers", 10*time.Second, func() bool { return c.Redeem(t, code).Status == http.StatusOK })
	refreshed(t, c, refresh)
	wantInvalidGrant(t, c.Redeem(t, used))
	wantDead(t, g.URL, replayed.Text(t, "access_token"))
}
