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
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// patience bounds one answer.
const patience = 30 * time.Second

// conn is a client's connection. Requests are written as they are, ready made,
// so that the load generator takes little of the machine.
type conn struct {
	raw net.Conn
	br  *bufio.Reader
}

func dial(addr string) (*conn, error) {
	raw, err := (&net.Dialer{Timeout: patience}).DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return &conn{raw, bufio.NewReader(raw)}, nil
}

// open sends a request and returns the head of the answer.
func (c *conn) open(request []byte) (*http.Response, error) {
	if err := c.raw.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, fmt.Errorf("setting a deadline: %w", err)
	}
	if _, err := c.raw.Write(request); err != nil {
		return nil, fmt.Errorf("sending: %w", err)
	}
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		return nil, fmt.Errorf("reading an answer: %w", err)
	}
	return resp, nil
}

// reply is an answer, read whole.
type reply struct {
	code   int
	header http.Header
	body   []byte
}

// do sends a request and reads the whole answer.
func (c *conn) do(request []byte) (reply, error) {
	resp, err := c.open(request)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, fmt.Errorf("reading an answer: %w", err)
	}
	return reply{resp.StatusCode, resp.Header, body}, nil
}

// expect sends a request whose answer must have a status.
func (c *conn) expect(status int, request []byte) (reply, error) {
	r, err := c.do(request)
	if err == nil && r.code != status {
		err = fmt.Errorf("the answer has status %d, not %d: %.300s", r.code, status, r.body)
	}
	return r, err
}

func (c *conn) close() { _ = c.raw.Close() }

// errDone is what a step returns that has nothing left to do.
var errDone = errors.New("nothing left to do")

// step is one operation: a request, or several that belong together.
type step func(c *conn) error

// load is what one measurement puts on a process.
type load struct {
	id    string
	conns int
	time  time.Duration
	// addr is where the connections go. Default: the process's site.
	addr string
	// warm says that the first step of each connection comes before the clock
	// starts, so that what is remembered is.
	warm bool
	// worker returns the step that connection i repeats.
	worker func(i int) step
}

// sample is what one measurement found, times per operation.
type sample struct {
	Count  int     `json:"count"`
	CPU    float64 `json:"cpu_us"`
	Rate   float64 `json:"per_second"`
	P50    float64 `json:"p50_us"`
	P99    float64 `json:"p99_us"`
	Allocs float64 `json:"allocs"`
	Bytes  float64 `json:"bytes"`
}

// measure puts a load on a process and tells what each operation cost.
func (b *bench) measure(p *process, l load) (sample, error) {
	if l.addr == "" {
		l.addr = p.site
	}
	conns, steps, err := connect(l)
	if err != nil {
		return sample{}, err
	}
	defer func() {
		for _, c := range conns {
			c.close()
		}
	}()
	var m [3]memory // asking costs memory too: so ask twice before, and subtract
	for i := range 2 {
		if m[i], err = p.memory(""); err != nil {
			return sample{}, err
		}
	}
	cpu, err := cpuTime(p.cmd.Process.Pid)
	if err != nil {
		return sample{}, err
	}
	began := time.Now()
	profiled := b.profiling(p, l)
	lats, err := repeat(conns, steps, l.time)
	if err != nil {
		return sample{}, err
	}
	wall := time.Since(began)
	if err := <-profiled; err != nil {
		return sample{}, err
	}
	after, err := cpuTime(p.cmd.Process.Pid)
	if err != nil {
		return sample{}, err
	}
	if m[2], err = p.memory(""); err != nil {
		return sample{}, err
	}
	n := float64(len(lats))
	if n == 0 {
		return sample{}, errors.New("nothing was done in the time given")
	}
	slices.Sort(lats)
	return sample{
		Count: len(lats), CPU: micros(after-cpu) / n, Rate: n / wall.Seconds(),
		P50: micros(lats[len(lats)/2]), P99: micros(lats[len(lats)*99/100]),
		Allocs: max(0, m[2].mallocs-m[1].mallocs-(m[1].mallocs-m[0].mallocs)) / n,
		Bytes:  max(0, m[2].bytes-m[1].bytes-(m[1].bytes-m[0].bytes)) / n,
	}, nil
}

// profiling takes a CPU profile of the gateway while a load is on it, if that is
// wanted, and tells when it is written.
func (b *bench) profiling(p *process, l load) <-chan error {
	done := make(chan error, 1)
	if b.profile == "" || p != b.gateway {
		done <- nil
		return done
	}
	go func() {
		text, err := get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.admin, max(1, int(l.time/time.Second))))
		if err == nil {
			err = os.WriteFile(filepath.Join(b.profile, fmt.Sprintf("%s-%d.pprof", l.id, l.conns)), text, 0o600)
		}
		done <- err
	}()
	return done
}

// connect opens the connections and warms them up.
func connect(l load) (conns []*conn, steps []step, err error) {
	for i := range l.conns {
		c, err := dial(l.addr)
		if err == nil {
			conns, steps = append(conns, c), append(steps, l.worker(i))
			if l.warm {
				err = steps[i](c)
			}
		}
		if err != nil {
			for _, c := range conns {
				c.close()
			}
			return nil, nil, err
		}
	}
	return conns, steps, nil
}

// repeat has each connection repeat its step until the time is over, and
// returns how long each took.
func repeat(conns []*conn, steps []step, most time.Duration) ([]time.Duration, error) {
	var mu sync.Mutex
	var all []time.Duration
	var failed error
	var wg sync.WaitGroup
	deadline := time.Now().Add(most)
	for i, c := range conns {
		wg.Go(func() {
			var lats []time.Duration
			var err error
			for at := time.Now(); err == nil && at.Before(deadline); {
				if err = steps[i](c); err == nil {
					now := time.Now()
					lats, at = append(lats, now.Sub(at)), now
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, lats...)
			if err != nil && !errors.Is(err, errDone) {
				failed = err
			}
		})
	}
	wg.Wait()
	return all, failed
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
