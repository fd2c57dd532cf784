package backends

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// redisPatience is how long a server may take to answer, and a cluster or a
	// Sentinel to be complete.
	redisPatience = 30 * time.Second
	// redisAttempts is how many ports are tried: somebody else may take a free one
	// before the server does.
	redisAttempts = 5
	// redisHarness is the ACL user that the tests' own commands go by, so that
	// they work whatever the server under test allows to others.
	redisHarness = "harness"
)

// Redis is one process of redis-server, or of valkey-server, on a port of this
// machine's loopback interface. It ends with the test.
type Redis struct {
	// Addr is host:port, the same across Stop and Start.
	Addr string
	// CAFile is the certificate, as a PEM file, that the server's own hangs on;
	// empty unless the server was started with [StartRedisTLS].
	CAFile string

	tb       testing.TB
	dir      string
	args     []string
	sentinel bool
	config   string // what a Sentinel's configuration file begins as
	tls      *tls.Config

	mu  sync.Mutex
	cmd *exec.Cmd // nil while it does not run
}

// StartRedis starts a server and waits until it answers. It keeps nothing on
// disk unless args say so: they are options as on the command line, such as
// "--appendonly", "yes", and count more than the defaults. The server is
// redis-server, or valkey-server if only that is installed; TEST_REDIS_SERVER
// names another. If there is none the test is skipped, or fails if
// REQUIRE_BACKENDS=1.
func StartRedis(tb testing.TB, args ...string) *Redis {
	tb.Helper()
	return startRedis(tb, &Redis{args: args})
}

// startRedis starts r on a free port.
func startRedis(tb testing.TB, r *Redis) *Redis {
	tb.Helper()
	binary := redisBinary(tb)
	r.tb, r.dir = tb, tb.TempDir()
	tb.Cleanup(r.Kill)
	if r.sentinel {
		if err := os.WriteFile(filepath.Join(r.dir, "sentinel.conf"), []byte(r.config), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	var err error
	for range redisAttempts {
		r.Addr = freeRedisAddr(tb)
		if err = r.run(binary); err == nil {
			return r
		}
	}
	tb.Fatalf("starting %s: %v\n%s", binary, err, r.log())
	return nil
}

// redisBinary returns the server's path.
func redisBinary(tb testing.TB) string {
	tb.Helper()
	names := []string{"redis-server", "valkey-server"}
	if named := os.Getenv("TEST_REDIS_SERVER"); named != "" {
		names = []string{named}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	text := strings.Join(names, " and ") + " are not installed (Debian package redis-server)"
	if os.Getenv("REQUIRE_BACKENDS") == "1" {
		tb.Fatal(text)
	}
	tb.Skip(text)
	return ""
}

// freeRedisAddr returns a loopback address that nobody listens on.
func freeRedisAddr(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Start starts the server again, on the same port and with the same data, and
// waits until it answers.
func (r *Redis) Start() {
	r.tb.Helper()
	var err error
	for range redisAttempts {
		if err = r.run(redisBinary(r.tb)); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond) // whoever has the port may give it back
	}
	r.tb.Fatalf("starting the Redis server at %s again: %v\n%s", r.Addr, err, r.log())
}

// run starts the process and waits until it answers.
func (r *Redis) run(binary string) error {
	logFile, err := os.OpenFile(filepath.Join(r.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	cmd := exec.Command(binary, r.commandLine()...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.dir, logFile, logFile
	if err := cmd.Start(); err != nil {
		return err
	}
	r.mu.Lock()
	r.cmd = cmd
	r.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is in its log
	}()
	c := r.Client()
	defer c.Close()
	for deadline := time.Now().Add(redisPatience); ; time.Sleep(10 * time.Millisecond) {
		// The client is not asked before something listens: it would take a break
		// after a failure, and complain aloud.
		conn, err := net.DialTimeout("tcp", r.Addr, redisPatience)
		if err == nil {
			conn.Close()
			err = c.Ping(context.Background()).Err()
		}
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return errors.New("the server ended at once")
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer after %v: %w", redisPatience, err)
		}
	}
}

// commandLine returns the server's arguments.
func (r *Redis) commandLine() []string {
	_, port, _ := net.SplitHostPort(r.Addr)
	if r.sentinel {
		return append([]string{filepath.Join(r.dir, "sentinel.conf"), "--sentinel", "--port", port}, r.args...)
	}
	args := []string{
		"--bind", "127.0.0.1", "--dir", r.dir, "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0",
		"--user", redisHarness, "on", "nopass", "~*", "&*", "+@all",
	}
	if r.tls != nil {
		args = append(args, "--port", "0", "--tls-port", port)
	} else {
		args = append(args, "--port", port)
	}
	return append(args, r.args...)
}

// Client returns a new connection to this server that may do everything,
// whatever the server allows to others. The caller closes it.
func (r *Redis) Client() *redis.Client {
	o := &redis.Options{
		Addr: r.Addr, TLSConfig: r.tls, MaxRetries: -1, PoolSize: 1, DialTimeout: time.Second,
		DialerRetries: 1, DisableIdentity: true,
	}
	if !r.sentinel {
		o.Username, o.Password = redisHarness, "any"
	}
	return redis.NewClient(o)
}

// Do runs one command on the server, such as Do("config", "set", "maxmemory",
// "1mb"), and returns its answer. It fails the test on an error.
func (r *Redis) Do(command ...any) any {
	r.tb.Helper()
	answer, err := r.try(command...)
	if err != nil {
		r.tb.Fatalf("%v on the Redis server at %s: %v", command, r.Addr, err)
	}
	return answer
}

func (r *Redis) try(command ...any) (any, error) {
	c := r.Client()
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), redisPatience)
	defer cancel()
	return c.Do(ctx, command...).Result()
}

// FlushAll removes all data of the server.
func (r *Redis) FlushAll() {
	r.tb.Helper()
	r.Do("flushall", "sync")
}

// Stop ends the server in order: it writes what it keeps to disk.
func (r *Redis) Stop() { r.end(syscall.SIGTERM) }

// Kill ends the server at once, as kill -9 does.
func (r *Redis) Kill() { r.end(syscall.SIGKILL) }

// Pause lets the server hang: connections stay, nothing is answered.
func (r *Redis) Pause() { r.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (r *Redis) Resume() { r.signal(syscall.SIGCONT) }

// signal sends a signal to the server if it runs.
func (r *Redis) signal(s os.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd != nil {
		_ = r.cmd.Process.Signal(s) // it may have ended by itself
	}
}

// end ends the process and waits until it is gone.
func (r *Redis) end(s os.Signal) {
	r.signal(s)
	r.mu.Lock()
	cmd := r.cmd
	r.cmd = nil
	r.mu.Unlock()
	if cmd == nil {
		return
	}
	for deadline := time.Now().Add(redisPatience); cmd.Process.Signal(syscall.Signal(0)) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
		}
	}
}

// log returns the end of what the server said.
func (r *Redis) log() string {
	const most = 4 << 10
	text, _ := os.ReadFile(filepath.Join(r.dir, "log"))
	return string(text[max(0, len(text)-most):])
}

// redisPort returns the port of an address as a number.
func redisPort(tb testing.TB, addr string) int {
	tb.Helper()
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		tb.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		tb.Fatal(err)
	}
	return port
}
