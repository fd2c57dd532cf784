package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// streams measures what an open stream of events keeps in memory, and whether
// every stream gets what is sent on it while it is open.
func (b *bench) streams() error {
	if !b.wants("stream") {
		return nil
	}
	b.out.Streams = b.size.streams
	tokens, err := b.mint(b.out.Streams, b.gateway.site)
	if err != nil {
		return err
	}
	var kept [2][]float64
	for range b.streamRounds {
		for i, p := range []*process{b.gateway, b.plain} {
			b.say("%d streams", b.out.Streams)
			each, lost, err := b.hold(p, tokens)
			if err != nil {
				return fmt.Errorf("streams: %w", err)
			}
			kept[i] = append(kept[i], each)
			b.out.Lost += lost
		}
	}
	same := func(f float64) float64 { return f }
	b.out.Beside = append(b.out.Beside, beside{"stream", median(kept[0], same), median(kept[1], same)})
	return nil
}

// hold opens streams, each with a token of its own, and returns the memory that
// each takes, and how many lost what was sent.
func (b *bench) hold(p *process, tokens []string) (each float64, lost int, err error) {
	// A call with each token, so that what is remembered of tokens does not count.
	if _, err := shared(p.site, tokens, func(c *conn, token string) (*conn, error) {
		_, err := c.expect(http.StatusOK, call(p.site, token))
		return c, err
	}); err != nil {
		return 0, 0, err
	}
	before, err := p.kept()
	if err != nil {
		return 0, 0, err
	}
	open, err := shared(p.site, tokens, func(_ *conn, token string) (*stream, error) {
		return newStream(p.site, fmt.Appendf(nil, "GET /mcp HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n", p.site, token))
	})
	defer func() {
		for _, s := range open {
			if s != nil {
				s.close()
			}
		}
		err = errors.Join(err, b.drained())
	}()
	if err != nil {
		return 0, 0, err
	}
	during, err := p.kept()
	if err != nil {
		return 0, 0, err
	}
	if b.profile != "" {
		if err := b.heap(p); err != nil {
			return 0, 0, err
		}
	}
	var got atomic.Int64
	var wg sync.WaitGroup
	for _, s := range open {
		wg.Go(func() {
			if s.event() == nil {
				got.Add(1)
			}
		})
	}
	b.upstream.broadcast()
	wg.Wait()
	return (during.live - before.live) / float64(len(open)), len(open) - int(got.Load()), nil
}

// heap takes a profile of what a side keeps.
func (b *bench) heap(p *process) error {
	name := "heap-plain.pprof"
	if p == b.gateway {
		name = "heap-gateway.pprof"
	}
	text, err := p.heap("gc=1")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.profile, name), text, 0o600)
}

// drained waits until the upstream has seen the end of every stream.
func (b *bench) drained() error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if b.upstream.open.Load() == 0 {
			return nil
		}
	}
	return errors.New("streams that the client has closed stay open at the upstream")
}

// stream is an open stream of events.
type stream struct {
	*conn
	resp *http.Response
	body *bufio.Reader
}

// newStream opens a stream and reads its first event, which arrives while the
// stream is open: nothing on the way collects it.
func newStream(addr string, request []byte) (*stream, error) {
	c, err := dial(addr)
	if err != nil {
		return nil, err
	}
	resp, err := c.open(request) //nolint:bodyclose // the connection is closed as a whole
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New("a stream is answered by " + resp.Status)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	s := &stream{c, resp, bufio.NewReaderSize(resp.Body, 64)}
	if err := s.event(); err != nil {
		c.close()
		return nil, err
	}
	return s, nil
}

// event waits for the next event.
func (s *stream) event() error {
	if err := s.raw.SetDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("setting a deadline: %w", err)
	}
	for _, want := range []string{"data: hello", ""} {
		line, err := s.body.ReadString('\n')
		if err != nil {
			return fmt.Errorf("reading an event: %w", err)
		}
		if strings.TrimRight(line, "\n") != want {
			return fmt.Errorf("an event has the line %q", line)
		}
	}
	return nil
}
