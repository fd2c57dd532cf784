//go:build unix

package embedded

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLockedByAnotherProcess wants an error within seconds, and the file to be
// free when the other process is gone.
func TestLockedByAnotherProcess(t *testing.T) {
	path := newPath(t)
	cmd := child(t, "hold", path)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if line := firstLine(t, out); line != "open\n" {
		t.Fatalf("the child says %q", line)
	}
	begin := time.Now()
	_, err = Open(path)
	if err == nil || !strings.Contains(err.Error(), "in use by another process") || !strings.Contains(err.Error(), path) {
		t.Errorf("Open: %v", err)
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("the answer took %v", d)
	}
	must(t, in.Close())
	must(t, cmd.Wait())
	openTest(t, path)
}

// TestNotAFile wants an error, and no waiting, for what is no regular file.
func TestNotAFile(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	must(t, syscall.Mkfifo(fifo, 0o600))
	plain := filepath.Join(dir, "plain")
	must(t, os.WriteFile(plain, []byte("x"), 0o600))
	for _, path := range []string{dir, fifo, os.DevNull, filepath.Join(plain, "below", "db")} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Open(%s): %v", path, err)
		}
	}
}

// TestNoAccess opens, as a user without rights, what that user may not write.
func TestNoAccess(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "embedded-access-") //nolint:usetesting // t.TempDir is closed to other users
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o755))
	exe, err := os.Executable()
	must(t, err)
	program := filepath.Join(dir, "test")
	copyFile(t, exe, program)

	data, _ := sampleFile(t)
	readable := filepath.Join(dir, "readable.db")
	must(t, os.WriteFile(readable, data, 0o600))
	must(t, os.Chmod(readable, 0o444))
	unreadable := filepath.Join(dir, "unreadable.db")
	must(t, os.WriteFile(unreadable, data, 0o000))
	must(t, os.Mkdir(filepath.Join(dir, "locked"), 0o500))
	before := fingerprint(t, readable)

	for name, path := range map[string]string{
		"read-only file":      readable,
		"unreadable file":     unreadable,
		"unwritable folder":   filepath.Join(dir, "locked", "new.db"),
		"folder not makeable": filepath.Join(dir, "locked", "sub", "new.db"),
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program, path)
			cmd.Env = []string{childEnv + "=open"}
			if os.Geteuid() == 0 { // root may everything
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			}
			out, err := cmd.CombinedOutput()
			must(t, err)
			for _, text := range []string{"embedded: " + path + ":", "permission denied"} {
				if !strings.Contains(string(out), text) {
					t.Errorf("the error does not say %q: %s", text, out)
				}
			}
		})
	}
	if after := fingerprint(t, readable); after != before {
		t.Errorf("the file changed from %s to %s", before, after)
	}
}

// copyFile copies a program.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	must(t, err)
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	must(t, err)
	_, err = io.Copy(out, in)
	must(t, err)
	must(t, out.Close())
}
