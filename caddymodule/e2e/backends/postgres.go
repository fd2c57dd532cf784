package backends

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// postgresPatience is how long a server may take to answer or to end.
	postgresPatience = 30 * time.Second
	// postgresAttempts is how many ports are tried: somebody else may take a free
	// one before the server does.
	postgresAttempts = 5
	// postgresLeftBehind ends the server when this process is gone, however it
	// went: its input is a pipe that only this process holds open.
	postgresLeftBehind = `read -r _; kill -QUIT "$1"; i=0
		while kill -0 "$1" 2>/dev/null && [ $i -lt 100 ]; do i=$((i+1)); sleep 0.1; done
		rm -rf "$2"`
)

// Postgres is one PostgreSQL server, with all its processes, on a port of this
// machine's loopback interface.
type Postgres struct {
	// Addr is host:port, the same across Stop and Start.
	Addr string
	// User and Password are the superuser's. Passwords are asked for, in the clear:
	// what hides them costs more than the rest of a connection.
	User, Password string

	tb       testing.TB // nil for the shared server
	bin      string
	dir      string
	settings []string
	owner    *syscall.Credential // nil: whoever runs the test

	mu    sync.Mutex
	cmd   *exec.Cmd // nil while it does not run
	ended chan struct{}
	guard *exec.Cmd
}

// StartPostgres makes a new, empty server and waits until it answers; it ends
// with the test. It doesn't ask the disk to keep anything (fsync=off), and so
// survives Kill but no power cut, unless settings say otherwise: they are
// name=value as in postgresql.conf, such as "fsync=on". The server is the newest
// below /usr/lib/postgresql, or the one of the folder that TEST_POSTGRES_BIN names.
// If there is none the test is skipped, or fails if REQUIRE_BACKENDS=1.
func StartPostgres(tb testing.TB, settings ...string) *Postgres {
	tb.Helper()
	p := &Postgres{tb: tb, bin: postgresBin(tb), settings: settings}
	tb.Cleanup(p.remove)
	if err := p.create(); err != nil {
		tb.Fatalf("starting PostgreSQL: %v\n%s", err, p.log())
	}
	return p
}

// sharedPostgres is the server of [SharedPostgres], once there is one.
var sharedPostgres struct {
	sync.Mutex
	server *Postgres
	err    error
}

// SharedPostgres returns one server for all tests of a test binary, which it
// starts at the first call; it ends with the binary. Tests of one that stops or
// hangs start their own.
func SharedPostgres(tb testing.TB) *Postgres {
	tb.Helper()
	bin := postgresBin(tb)
	sharedPostgres.Lock()
	defer sharedPostgres.Unlock()
	if sharedPostgres.server == nil {
		sharedPostgres.server = &Postgres{bin: bin}
		sharedPostgres.err = sharedPostgres.server.create()
	}
	if sharedPostgres.err != nil {
		tb.Fatalf("starting PostgreSQL: %v\n%s", sharedPostgres.err, sharedPostgres.server.log())
	}
	return sharedPostgres.server
}

// postgresBin returns the folder with the server's programs.
func postgresBin(tb testing.TB) string {
	tb.Helper()
	if named := os.Getenv("TEST_POSTGRES_BIN"); named != "" {
		return named
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // the pattern is good
	if len(found) > 0 {
		return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return postgresVersion(a) - postgresVersion(b) }))
	}
	const text = "PostgreSQL is not installed (Debian package postgresql)"
	if os.Getenv("REQUIRE_BACKENDS") == "1" {
		tb.Fatal(text)
	}
	tb.Skip(text)
	return ""
}

// postgresVersion reads the version in /usr/lib/postgresql/15/bin/postgres.
func postgresVersion(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// create makes the data folder and starts the server on a free port.
func (p *Postgres) create() (err error) {
	p.User, p.Password = "postgres", rand.Text()
	if p.dir, err = os.MkdirTemp("", "postgres-test-"); err != nil {
		return err
	}
	password := filepath.Join(p.dir, "password")
	if err := os.WriteFile(password, []byte(p.Password), 0o600); err != nil {
		return err
	}
	if os.Geteuid() == 0 { // the server refuses to run as root
		if p.owner, err = postgresOwner(); err != nil {
			return err
		}
		for _, path := range []string{p.dir, password} {
			if err := os.Chown(path, int(p.owner.Uid), int(p.owner.Gid)); err != nil {
				return err
			}
		}
	}
	initdb := p.command("initdb", "--pgdata", p.data(), "--username", p.User, "--pwfile", password,
		"--auth", "password", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	for range postgresAttempts {
		if p.Addr, err = freePostgresAddr(); err != nil {
			return err
		}
		if err = p.run(); err == nil {
			return nil
		}
	}
	return err
}

// postgresOwner is the account that the Debian package makes.
func postgresOwner() (*syscall.Credential, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL won't run as root: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

func freePostgresAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }

// command is one of the server's programs, run by the owner of the data. It gets
// nothing of the environment that changes how the server behaves.
func (p *Postgres) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, program), args...)
	cmd.Dir, cmd.Env = p.dir, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.owner, Setpgid: true}
	return cmd
}

// run starts the server and waits until it answers.
func (p *Postgres) run() error {
	logFile, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	_, port, err := net.SplitHostPort(p.Addr)
	if err != nil {
		return err
	}
	args := []string{"-D", p.data(), "-p", port, "-h", "127.0.0.1", "-k", ""}
	defaults := []string{"fsync=off", "max_connections=200", "shared_buffers=32MB", "autovacuum=off"}
	for _, setting := range slices.Concat(defaults, p.settings) {
		args = append(args, "-c", setting)
	}
	cmd := p.command("postgres", args...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is in its log
	}()
	guard := exec.Command("sh", "-c", postgresLeftBehind, "sh", strconv.Itoa(cmd.Process.Pid), p.dir)
	if _, err := guard.StdinPipe(); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	if err := guard.Start(); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	p.mu.Lock()
	p.cmd, p.ended, p.guard = cmd, ended, guard
	p.mu.Unlock()
	if err := p.await(ended); err != nil {
		p.end(syscall.SIGKILL)
		return err
	}
	return nil
}

// await waits until the server answers.
func (p *Postgres) await(ended <-chan struct{}) error {
	for deadline := time.Now().Add(postgresPatience); ; time.Sleep(10 * time.Millisecond) {
		err := p.exec(context.Background(), "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return errors.New("the server ended at once")
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer after %v: %w", postgresPatience, err)
		}
	}
}

// Start starts the server again, on the same port and with the same data, and
// waits until it answers.
func (p *Postgres) Start() {
	var err error
	for range postgresAttempts {
		if err = p.run(); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond) // whoever has the port may give it back
	}
	p.fatalf("starting PostgreSQL at %s again: %v\n%s", p.Addr, err, p.log())
}

// Stop ends the server in order, and with it all connections.
func (p *Postgres) Stop() {
	p.Resume()
	p.end(syscall.SIGINT)
}

// Kill ends all processes of the server at once, as kill -9 does.
func (p *Postgres) Kill() { p.end(syscall.SIGKILL) }

// Pause lets the server hang: connections stay, and the system takes new ones in,
// but nothing is answered.
func (p *Postgres) Pause() { p.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (p *Postgres) Resume() { p.signal(syscall.SIGCONT) }

// URL returns the address of a database for a client that goes by url.URL.User.
func (p *Postgres) URL(database string) *url.URL {
	return &url.URL{
		Scheme: "postgres", User: url.UserPassword(p.User, p.Password), Host: p.Addr,
		Path: "/" + database, RawQuery: "sslmode=disable",
	}
}

// DSN makes a new, empty database and returns the address of it, as a URL with
// the superuser's password. It is dropped when the test ends.
func (p *Postgres) DSN(tb testing.TB) string {
	tb.Helper()
	name := "t" + strings.ToLower(rand.Text())
	p.Exec(tb, "CREATE DATABASE "+name)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = p.exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)") // the server may be down
	})
	return p.URL(name).String()
}

// Exec runs SQL in the database postgres, as the superuser.
func (p *Postgres) Exec(tb testing.TB, sql string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), postgresPatience)
	defer cancel()
	if err := p.exec(ctx, sql); err != nil {
		tb.Fatalf("%s on PostgreSQL at %s: %v", sql, p.Addr, err)
	}
}

func (p *Postgres) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, p.URL("postgres").String())
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}
