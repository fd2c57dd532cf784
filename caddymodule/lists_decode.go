package caddymodule

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// This file undoes compressions that a server was asked not to use: of whole answers,
// and of event streams as they come. Of the content codings of RFC 9110 section 8.4.1
// it leaves out compress and deflate, and br, which servers that ignore
// Accept-Encoding don't use of themselves.

// decoder returns a reader of what was compressed, which reads ahead as little as the
// format allows.
type decoder func(from io.Reader) (io.ReadCloser, error)

// decoders are those that there are, by content coding.
var decoders = map[string]decoder{
	"gzip":   newGzipReader,
	"x-gzip": newGzipReader,
	"zstd": func(from io.Reader) (io.ReadCloser, error) {
		z, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	},
}

// newGzipReader reads a file of gzip, which may have several members (RFC 1952
// section 2.2).
func newGzipReader(from io.Reader) (io.ReadCloser, error) {
	m := &gzipMembers{from: bufio.NewReader(from)}
	return m, m.begin()
}

// gzipMembers looks for a further member when somebody wants more, and not as soon as
// one is over, as gzip.Reader does: the rest of a member would wait for the next one.
type gzipMembers struct {
	from  *bufio.Reader
	z     gzip.Reader
	ended bool
}

func (m *gzipMembers) begin() error {
	err := m.z.Reset(m.from)
	m.z.Multistream(false)
	return err
}

// Read implements io.Reader.
func (m *gzipMembers) Read(p []byte) (int, error) {
	if m.ended {
		if err := m.begin(); err != nil {
			return 0, err
		}
	}
	n, err := m.z.Read(p)
	if m.ended = errors.Is(err, io.EOF); m.ended {
		return n, nil
	}
	return n, err
}

// Close implements io.Closer.
func (m *gzipMembers) Close() error { return m.z.Close() }

// maxWindow is how far back zstd may look, in bytes: what RFC 9659 allows.
const maxWindow = 8 << 20

// decoderOf returns the decoder of an answer, or nil if it is not compressed. An error
// is a coding that nobody has asked for.
func decoderOf(h http.Header) (decoder, error) {
	coding := strings.ToLower(strings.Join(h.Values("Content-Encoding"), ", "))
	if coding == "" || coding == "identity" {
		return nil, nil
	}
	decode := decoders[coding]
	if decode == nil {
		return nil, fmt.Errorf("the server compressed its answer with %.32q although it was asked not to", coding)
	}
	return decode, nil
}

// decoded is a whole answer without its compression.
func decoded(body []byte, decode decoder) ([]byte, error) {
	from, err := decode(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("reading a compressed answer: %w", err)
	}
	defer func() { _ = from.Close() }() // it frees memory
	out, err := io.ReadAll(io.LimitReader(from, maxList+1))
	if err != nil {
		return nil, fmt.Errorf("reading a compressed answer: %w", err)
	}
	if len(out) > maxList {
		return nil, errListTooLong
	}
	return out, nil
}

// decodingWriter undoes a compression on the way to dst. Decoders want to read, and a
// stream is written: so the decoder is a coroutine, which runs while Write does and
// has passed on, when Write returns, all that can be known by then.
type decodingWriter struct {
	dst io.Writer

	in     []byte // what the decoder has not read yet
	closed bool   // no more will come
	next   func() ([]byte, bool)
	stop   func()
	err    error // why the decoder ended
}

// newDecodingWriter returns one whose stop must be called in the end, or the decoder
// waits for ever.
func newDecodingWriter(dst io.Writer, decode decoder) *decodingWriter {
	w := &decodingWriter{dst: dst}
	w.next, w.stop = iter.Pull(func(yield func([]byte) bool) { w.err = w.run(decode, yield) })
	return w
}

// run yields what comes out, and nil whenever the decoder needs more than there is.
func (w *decodingWriter) run(decode decoder, yield func([]byte) bool) error {
	from, err := decode(starving{w, yield})
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }() // it frees memory
	room := make([]byte, 32<<10)
	for {
		n, err := from.Read(room)
		if n > 0 && !yield(room[:n]) {
			return io.ErrClosedPipe
		}
		if err != nil {
			return err
		}
	}
}

// starving is what the decoder reads.
type starving struct {
	*decodingWriter
	yield func([]byte) bool
}

// Read implements io.Reader.
func (s starving) Read(p []byte) (int, error) {
	for len(s.in) == 0 {
		if s.closed {
			return 0, io.EOF
		}
		if !s.yield(nil) {
			return 0, io.ErrClosedPipe
		}
	}
	n := copy(p, s.in)
	s.in = s.in[n:]
	return n, nil
}

// Write implements io.Writer.
func (w *decodingWriter) Write(p []byte) (int, error) {
	w.in = p
	if err := w.advance(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close tells the decoder that there is no more. The error is one of the compressed
// stream, such as that it is cut off, or of dst.
func (w *decodingWriter) Close() error {
	w.closed = true
	return w.advance()
}

// advance runs the decoder until it needs more, or ends.
func (w *decodingWriter) advance() error {
	for {
		out, more := w.next()
		switch {
		case !more && errors.Is(w.err, io.EOF) && len(w.in) == 0:
			return nil
		case !more:
			return fmt.Errorf("reading a compressed stream: %w", w.err)
		case out == nil:
			return nil
		}
		if _, err := w.dst.Write(out); err != nil {
			return err
		}
	}
}
