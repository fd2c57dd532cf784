package caddymodule

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// TestReadAll: what comes is read whole, and no more than limit; what was announced and
// does not come is an error.
func TestReadAll(t *testing.T) {
	const large = bodyAtOnce + 5
	text := strings.Repeat("x", 3*bodyFirst)
	for _, tt := range []struct {
		name          string
		body          io.Reader
		length, limit int64
		want          int
		err           error
	}{
		{"nothing", strings.NewReader(""), 0, 10, 0, nil},
		{"short", strings.NewReader("{}"), 2, 10, 2, nil},
		{"in pieces", iotest.OneByteReader(strings.NewReader(text)), int64(len(text)), 1 << 20, len(text), nil},
		{"as long as announced", strings.NewReader(text), int64(len(text)), 1 << 20, len(text), nil},
		{"ends early", strings.NewReader(text), int64(len(text)) + 1, 1 << 20, 0, io.ErrUnexpectedEOF},
		{"ends in the first part", strings.NewReader("{"), 2, 10, 0, io.ErrUnexpectedEOF},
		{"chunked", strings.NewReader(text), -1, int64(len(text)), len(text), nil},
		{"chunked, too long", strings.NewReader(text), -1, int64(len(text)) - 1, 0, errTooLarge},
		{"chunked, without a limit", strings.NewReader(text), -1, -1, len(text), nil},
		{"large", io.LimitReader(endless{}, large), large, -1, large, nil},
		{"large, and ends early", io.LimitReader(endless{}, large-1), large, -1, 0, io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readAll(tt.body, tt.length, tt.limit)
			if !errors.Is(err, tt.err) || err == nil && (len(got) != tt.want || len(bytes.Trim(got, "x")) > len("{}")) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

// TestReadAllAnnounced: whoever announces much and sends little does not get the room.
func TestReadAllAnnounced(t *testing.T) {
	for _, length := range []int64{bodyAtOnce, bodyAtOnce + 1, 1 << 40, 1<<63 - 1} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := readAll(strings.NewReader("{"), length, -1)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, io.ErrUnexpectedEOF) || grown > 1<<20 {
			t.Errorf("%d announced: %d bytes of room, %v", length, grown, err)
		}
	}
}

// endless is as many x as anybody reads.
type endless struct{}

// Read implements io.Reader.
func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
