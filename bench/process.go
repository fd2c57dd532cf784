package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startTimeout bounds how long a Caddy may take to answer.
const startTimeout = 30 * time.Second

// process is a running Caddy.
type process struct {
	site  string // host and port of the site that is measured
	admin string // host and port of the admin API
	took  time.Duration

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	log  string        // the file that it logs to
}

// launch starts a Caddy with a configuration and waits until the site answers.
// Its state is kept in dir, where another one finds it again.
func launch(binary, dir string, c config) (*process, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making a folder for state: %w", err)
	}
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
		return nil, fmt.Errorf("writing a configuration: %w", err)
	}
	p := &process{site: c.site, admin: c.admin, done: make(chan struct{}), log: filepath.Join(dir, "log")}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("making a log: %w", err)
	}
	defer func() { _ = log.Close() }()                                                                           // it is the child's
	p.cmd = exec.CommandContext(context.Background(), binary, "run", "--config", file, "--adapter", "caddyfile") //nolint:gosec // built by this program, or named by its user
	p.cmd.Env = []string{"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	p.cmd.Stderr = log
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting Caddy: %w", err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the log tells why
	}()
	if err := p.answers(); err != nil {
		text, _ := os.ReadFile(p.log) // without it there is less to go on
		return nil, fmt.Errorf("%w\n%s", errors.Join(err, p.stop()), text)
	}
	p.took = time.Since(began)
	return p, nil
}

// answers waits for the first answer of the site, whatever it is.
func (p *process) answers() error {
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(200 * time.Microsecond) {
		select {
		case <-p.done:
			return errors.New("the process ended by itself")
		default:
		}
		c, err := dial(p.site)
		if err != nil {
			continue
		}
		_, err = c.do([]byte("GET /mcp/ready HTTP/1.1\r\nHost: " + p.site + "\r\n\r\n"))
		c.close()
		if err == nil {
			return nil
		}
	}
	return errors.New("the process does not answer")
}

// stop ends it as a service manager does.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
		return nil
	case <-time.After(20 * time.Second):
		return errors.Join(errors.New("the process does not end"), p.cmd.Process.Kill())
	}
}

// memory is what a process says of its heap.
type memory struct {
	mallocs, bytes float64 // allocated, ever
	live           float64 // heap and stacks in use, in bytes
}

// kept is memory after collections: what is live then is what something holds on
// to. The first two empty the pools of buffers.
func (p *process) kept() (memory, error) {
	for range 2 {
		if _, err := p.heap("gc=1"); err != nil {
			return memory{}, err
		}
	}
	return p.memory("&gc=1")
}

// heap returns a profile of the heap.
func (p *process) heap(query string) ([]byte, error) {
	return get("http://" + p.admin + "/debug/pprof/heap?" + query)
}

// memory asks the admin API.
func (p *process) memory(more string) (memory, error) {
	text, err := p.heap("debug=1" + more)
	if err != nil {
		return memory{}, err
	}
	values := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "# "), " = ")
		if first, _, _ := strings.Cut(strings.TrimSpace(rest), " "); ok && strings.HasPrefix(line, "# ") {
			if v, err := strconv.ParseFloat(first, 64); err == nil {
				values[name] = v
			}
		}
	}
	if values["Mallocs"] == 0 || values["Stack"] == 0 {
		return memory{}, errors.New("the heap profile does not have the counters that are read here")
	}
	return memory{values["Mallocs"], values["TotalAlloc"], values["HeapAlloc"] + values["Stack"]}, nil
}

// resident returns how much memory the process has that is its own: what other
// processes of the same binary share with it is not counted. In bytes.
func (p *process) resident() (float64, error) {
	f, err := os.Open("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0, fmt.Errorf("reading the size of a process: %w", err)
	}
	defer func() { _ = f.Close() }() // it was read only
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "RssAnon:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kib * 1024, err
		}
	}
	return 0, errors.New("the system does not tell the size of a process")
}

// get reads a document of the admin API.
func get(target string) ([]byte, error) {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, target, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("asking the admin API: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the admin API: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return text, err
}

// freePort returns a port of this machine that nothing listens on.
func freePort() (int, error) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().(*net.TCPAddr).Port, nil //nolint:forcetypeassert // a TCP listener has a TCP address
}
