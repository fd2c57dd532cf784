package mcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrEventTooLarge is returned for an event that exceeds what an [EventFilter]
// may hold back.
var ErrEventTooLarge = errors.New("an event of the server is larger than may be held back")

// keptBuffer is how much an EventFilter keeps between events, in bytes: streams
// live long, and big events are rare.
const keptBuffer = 64 << 10

// EventFilter rewrites the data of a text/event-stream as it passes, in whatever
// pieces it comes. Lines before the data of an event pass when they are complete,
// so keep-alives are never late; from its first data line on an event is held back
// until it is complete. Then it passes as it is, or with other data lines.
//
// Only events of type "message", which is also that of events without one, are
// rewritten, and only if they have data. The format is that of the HTML standard,
// section 9.2: lines end with LF, CRLF or CR. An EventFilter is not safe for use
// by more than one goroutine.
type EventFilter struct {
	dst      io.Writer
	maxEvent int
	rewrite  func(data []byte) ([]byte, error)

	// buf is what has come and cannot go yet. All before passed has been written,
	// held is where it is held back from, lines before next have been read, and
	// there is no end of a line before searched.
	buf                          []byte
	passed, held, next, searched int
	// data says that the event has data, and other that its type is not "message".
	data, other bool
	// afterCR says that the last line ended with a CR: a LF that follows belongs to it.
	afterCR bool
	// begun says that there is no byte order mark to come.
	begun bool
	err   error
}

var _ io.WriteCloser = (*EventFilter)(nil)

// NewEventFilter returns an EventFilter that writes to dst. An event may have up
// to maxEvent bytes from its first data line on, as may a line. rewrite gets the
// data of an event, and returns what takes its place; it must not keep the slice,
// and may return it. An error of rewrite drops the event and ends the stream.
func NewEventFilter(dst io.Writer, maxEvent int, rewrite func(data []byte) ([]byte, error)) *EventFilter {
	return &EventFilter{dst: dst, maxEvent: maxEvent, rewrite: rewrite}
}

// Write takes the next bytes of the stream, and passes on all that they complete.
// After an error, which is the one of dst, of rewrite, or [ErrEventTooLarge],
// nothing passes any more and the error stays.
func (f *EventFilter) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	f.buf = append(f.buf, p...)
	f.err = f.advance()
	if err := f.pass(f.held); f.err == nil {
		f.err = err
	}
	if f.err != nil {
		f.buf = nil
		return 0, f.err
	}
	f.compact()
	return len(p), nil
}

// Close ends the stream. What is left is an event that the server did not end.
// The standard has clients ignore it, and some do not: it passes like one that is
// complete, or, if its data cannot be rewritten, not at all. Close does not close
// dst.
func (f *EventFilter) Close() error {
	if f.err != nil {
		return nil //nolint:nilerr // Write has told of it
	}
	rest := f.buf
	f.buf, f.err = nil, io.ErrClosedPipe
	f.read(rest[f.next:])
	if f.data {
		// Where the data cannot be read, nothing passes: half an event is no list, and
		// nobody waits for it.
		rest, _ = f.event(rest)
	}
	if len(rest) == 0 {
		return nil
	}
	_, err := f.dst.Write(rest)
	return err
}

var byteOrderMark = []byte("\uFEFF")

// advance reads the lines that are complete.
func (f *EventFilter) advance() error {
	if !f.begun {
		if len(f.buf) < len(byteOrderMark) && bytes.HasPrefix(byteOrderMark, f.buf) {
			return nil
		}
		f.begun = true
		if bytes.HasPrefix(f.buf, byteOrderMark) {
			f.next = len(byteOrderMark)
		}
	}
	for {
		if f.afterCR && f.next < len(f.buf) {
			f.afterCR = false
			if f.buf[f.next] == '\n' {
				f.next++
			}
		}
		if !f.data {
			f.held = f.next
		}
		end := endOfLine(f.buf, max(f.next, f.searched))
		f.searched = end
		if end-f.held > f.maxEvent {
			return ErrEventTooLarge
		}
		if end == len(f.buf) {
			return nil
		}
		if end == f.next {
			if err := f.dispatch(); err != nil {
				return err
			}
		}
		f.read(f.buf[f.next:end])
		f.afterCR = f.buf[end] == '\r'
		f.next = end + 1
	}
}

// read takes note of a line.
func (f *EventFilter) read(line []byte) {
	switch name, value := field(line); string(name) {
	case "data":
		f.data = true
	case "event":
		// Some clients take white space off that the standard leaves on.
		value = bytes.TrimSpace(value)
		f.other = len(value) > 0 && string(value) != "message"
	}
}

// dispatch ends an event, as the empty line at next does.
func (f *EventFilter) dispatch() error {
	if f.data {
		event := f.buf[f.held:f.next]
		out, err := f.event(event)
		if err != nil {
			return err
		}
		if !bytes.Equal(out, event) {
			if err := f.pass(f.held); err != nil {
				return err
			}
			if _, err := f.dst.Write(out); err != nil {
				return err
			}
			f.passed = f.next
		}
	}
	f.data, f.other = false, false
	return nil
}

// pass writes what has not been written yet, up to an index of buf.
func (f *EventFilter) pass(to int) error {
	if to <= f.passed {
		return nil
	}
	_, err := f.dst.Write(f.buf[f.passed:to])
	f.passed = to
	return err
}

// compact moves what is held back to the beginning of buf.
func (f *EventFilter) compact() {
	n := copy(f.buf, f.buf[f.held:])
	f.buf = f.buf[:n]
	f.next -= f.held
	f.searched = max(f.searched-f.held, 0)
	f.passed, f.held = 0, 0
	if n == 0 && cap(f.buf) > keptBuffer {
		f.buf = nil
	}
}

// event returns the lines of an event, from the first with data on, with the data
// that rewrite makes of theirs.
func (f *EventFilter) event(lines []byte) ([]byte, error) {
	if f.other {
		return lines, nil
	}
	data := dataOf(lines)
	if len(bytes.TrimSpace(data)) == 0 {
		return lines, nil
	}
	changed, err := f.rewrite(data)
	if err != nil {
		return nil, fmt.Errorf("rewriting an event: %w", err)
	}
	if bytes.Equal(changed, data) {
		return lines, nil
	}
	return withData(lines, changed), nil
}

// dataOf returns the data of an event: those of its lines, with a LF between them.
func dataOf(lines []byte) []byte {
	var data []byte
	for first := true; len(lines) > 0; {
		var line []byte
		line, _, lines = cutLine(lines)
		name, value := field(line)
		switch {
		case string(name) != "data":
		case first:
			// The slice is clipped: more data are joined to a copy.
			data, first = slices.Clip(value), false
		default:
			data = append(append(data, '\n'), value...)
		}
	}
	return data
}

// withData returns the lines of an event with other data in the place of the
// first data line. The other lines stay as they are.
func withData(lines, data []byte) []byte {
	out := make([]byte, 0, len(data)+256)
	for first := true; len(lines) > 0; {
		var line, ending []byte
		all := lines
		line, ending, lines = cutLine(lines)
		name, _ := field(line)
		switch {
		case string(name) != "data":
			out = append(out, all[:len(all)-len(lines)]...)
		case first:
			first = false
			if len(ending) == 0 {
				ending = []byte{'\n'}
			}
			for len(data) > 0 {
				line, _, data = cutLine(data)
				out = append(append(append(out, "data: "...), line...), ending...)
			}
		}
	}
	return out
}

// field returns the name of the field that a line sets, and its value. The name of
// a comment is empty.
func field(line []byte) (name, value []byte) {
	name, value, _ = bytes.Cut(line, []byte{':'})
	return name, bytes.TrimPrefix(value, []byte{' '})
}

// cutLine returns the first line of some text, what ends it, and what follows.
func cutLine(text []byte) (line, ending, rest []byte) {
	end := endOfLine(text, 0)
	after := end
	if after < len(text) && text[after] == '\r' {
		after++
	}
	if after < len(text) && text[after] == '\n' {
		after++
	}
	return text[:end], text[end:after], text[after:]
}

// endOfLine returns where the next CR or LF is, or the length of the text. It
// looks for both in windows: two fast searches each, and never all the text for
// the one that it does not use.
func endOfLine(text []byte, from int) int {
	const window = 512
	for ; from < len(text); from += window {
		part := text[from:min(from+window, len(text))]
		found := false
		for _, c := range []byte{'\n', '\r'} {
			if i := bytes.IndexByte(part, c); i >= 0 {
				part, found = part[:i], true
			}
		}
		if found {
			return from + len(part)
		}
	}
	return len(text)
}
