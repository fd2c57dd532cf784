//go:build linux

package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var _ = onPlatform(map[string]func(string) error{"full disk": childFillsDisk})

// limits are where the disk is full, in bytes of the file. The first keeps the
// file from growing; the others make writes fail that lie within it, the last
// one also that of the header.
var limits = []uint64{256 << 10, 20 << 10, 0}

// TestFullDisk runs a process whose files can't grow over a limit: the system
// then refuses writes, as it does on a full disk.
func TestFullDisk(t *testing.T) {
	path := newPath(t)
	cmd := child(t, "full disk", path)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var stored []string
	revoked := false // grant-2, which was acknowledged if it was possible
	for r := bufio.NewScanner(out); r.Scan(); {
		if r.Text() == "revoked" {
			revoked = true
		} else {
			stored = append(stored, r.Text())
		}
	}
	must(t, cmd.Wait())
	if len(stored) < 100 {
		t.Fatalf("only %d grants were acknowledged", len(stored))
	}
	s := openTest(t, path) // proves the file as well
	for _, id := range stored {
		_, err := s.Grant(t.Context(), testNow, id)
		if id == "grant-2" && (revoked || err != nil) {
			if !errors.Is(err, store.ErrRevoked) {
				t.Fatalf("the revocation of %s was acknowledged: %v", id, err)
			}
		} else if err != nil {
			t.Fatalf("%s was acknowledged: %v", id, err)
		}
	}
}

// childFillsDisk fills the disk to each limit and frees it again. It prints
// the id of every grant that was acknowledged.
func childFillsDisk(path string) error {
	signal.Ignore(syscall.SIGXFSZ) // then the write fails with an error
	s, err := Open(path)
	if err != nil {
		return err
	}
	serial := 0
	create := func() error {
		serial++
		id := fmt.Sprint("grant-", serial)
		err := s.CreateGrant(context.Background(), testNow, testGrant(id))
		if err == nil {
			fmt.Println(id)
		}
		return err
	}
	for range 50 {
		if err := create(); err != nil {
			return err
		}
	}
	for _, limit := range limits {
		if err := limitFiles(limit); err != nil {
			return err
		}
		if err := fillUp(s, create); err != nil {
			return fmt.Errorf("limit %d: %w", limit, err)
		}
		if err := limitFiles(^uint64(0)); err != nil {
			return err
		}
		// It must heal by itself.
		if err := errors.Join(s.Ping(context.Background()), create(), create(), s.Ping(context.Background())); err != nil {
			return fmt.Errorf("limit %d is gone: %w", limit, err)
		}
	}
	return s.Close()
}

// fillUp writes until the disk is full, and then some more.
func fillUp(s *Store, create func() error) error {
	var err error
	for n := 0; err == nil; n++ {
		if err = create(); n > 10_000 {
			return errors.New("the disk is never full")
		}
	}
	ctx := context.Background()
	if isVerdict(err) || !errors.Is(err, syscall.EFBIG) && !strings.Contains(err.Error(), syscall.EFBIG.Error()) {
		return fmt.Errorf("a strange error: %w", err)
	}
	// Reading goes on, writing fails without a verdict, or succeeds where it
	// needs little, and Ping is not misled by that.
	if _, err := s.Grant(ctx, testNow, "grant-1"); err != nil {
		return err
	}
	for range 20 {
		if err := create(); isVerdict(err) {
			return fmt.Errorf("a verdict: %w", err)
		}
	}
	r := store.Revocation{GrantID: "grant-2", Reason: "user", Until: testNow.Add(time.Hour)}
	did, err := s.RevokeGrant(ctx, testNow, r)
	if did && err != nil {
		return fmt.Errorf("revoked and failed: %w", err)
	}
	if did {
		fmt.Println("revoked")
	}
	if s.Ping(ctx) == nil {
		return errors.New("Ping sees nothing wrong")
	}
	return nil
}

// limitFiles sets how large this process may make files. Output goes to a
// pipe, which is no file.
func limitFiles(size uint64) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
		return err
	}
	l.Cur = min(size, l.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
		return os.NewSyscallError("setrlimit", err)
	}
	return nil
}

var _ = onPlatform(map[string]func(string) error{"full disk, older file": childOpensOnFullDisk})

// TestOlderLayoutOnFullDisk brings a file up to date on a disk without room:
// that fails, with an error and a file that is as good as before, and is done
// when there is room again.
func TestOlderLayoutOnFullDisk(t *testing.T) {
	path := newPath(t)
	s, err := Open(path)
	must(t, err)
	parallel(t, 2000, func(i int) error { return s.CreateGrant(t.Context(), testNow, testGrant(fmt.Sprint(i))) })
	must(t, s.Close())
	asLayout(t, path, 1)
	must(t, child(t, "full disk, older file", path).Run())
	s = openTest(t, path)
	grants, err := s.Grants(t.Context(), testNow, "user-1", 1<<20)
	if err != nil || len(grants) != 2000 {
		t.Fatalf("%d grants, %v", len(grants), err)
	}
}

// childOpensOnFullDisk tries to open a file of layout 1 at several limits.
func childOpensOnFullDisk(path string) error {
	signal.Ignore(syscall.SIGXFSZ) // then the write fails with an error
	for _, limit := range []uint64{0, 20 << 10} {
		if err := limitFiles(limit); err != nil {
			return err
		}
		s, err := Open(path)
		if err == nil {
			return errors.Join(fmt.Errorf("limit %d: it opened", limit), s.Close())
		}
		if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), fmt.Sprint("layout 1 can't be brought to layout ", schema)) {
			return fmt.Errorf("limit %d: a strange error: %w", limit, err)
		}
		if err := limitFiles(^uint64(0)); err != nil {
			return err
		}
		if err := checkFile(path); err != nil {
			return fmt.Errorf("after limit %d: %w", limit, err)
		}
	}
	return nil
}
