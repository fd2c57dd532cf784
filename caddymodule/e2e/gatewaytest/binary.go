package gatewaytest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
)

// Binary returns the path of the project's Caddy, with the race detector if the
// tests have it. It is built once per test process; a process that finds it up to
// date has little to do, because the go command links it only if it must.
var Binary = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("caddy-mcp-auth-test-%d-%x", os.Getuid(), sha256.Sum256([]byte(Root())))[:40])
	path, args := filepath.Join(dir, "caddy"), []string{"build"}
	if raceEnabled {
		path += "-race"
		args = append(args, "-race")
	}
	if err := errors.Join(touchSources(), os.MkdirAll(dir, 0o700)); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("locking %s: %w", lock.Name(), err)
	}
	// What is built is never run itself: the go command may write to it.
	built := path + ".built"
	cmd := exec.Command("go", append(args, "-o", built, "./caddymodule/cmd/caddy")...)
	cmd.Dir = Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the gateway: %w\n%s", err, out)
	}
	return path, replaceWithCopy(path, built)
})

// replaceWithCopy puts a copy of a program in the place of another, which may be
// running. Another process copies: while this one had the copy open, a child that
// it starts meanwhile would keep it open too, and a program that is open can't run.
func replaceWithCopy(path, of string) error {
	fresh := fmt.Sprintf("%s.%d", path, os.Getpid())
	if out, err := exec.Command("cp", of, fresh).CombinedOutput(); err != nil {
		return fmt.Errorf("copying the gateway: %w\n%s", err, out)
	}
	return os.Rename(fresh, path)
}

// touchSources opens the folders of the gateway's code. The go command sees
// that, and runs a test again after the code has changed; it could not know
// otherwise what a program is made of that the test starts.
func touchSources() error {
	for _, dir := range []string{"caddymodule", "mockmcp"} {
		err := filepath.WalkDir(filepath.Join(Root(), dir), func(_ string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() && d.Name() == "node_modules" {
				return filepath.SkipDir
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Root returns the folder of the module.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}
