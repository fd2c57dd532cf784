package mcp_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
)

// filterEvents sends a stream through an EventFilter in pieces.
func filterEvents(pieces []string, most int, rewrite func([]byte) ([]byte, error)) (string, error) {
	var out bytes.Buffer
	f := mcp.NewEventFilter(&out, most, rewrite)
	for _, p := range pieces {
		if _, err := f.Write([]byte(p)); err != nil {
			return out.String(), err
		}
	}
	err := f.Close()
	return out.String(), err
}

// upper changes data that begin with "x", and refuses those that begin with "!".
func upper(data []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(data, []byte("x")):
		return bytes.ToUpper(data), nil
	case bytes.HasPrefix(data, []byte("!")):
		return nil, errUnreadable
	}
	return data, nil
}

var errUnreadable = errors.New("unreadable")

func TestEventFilter(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"unchanged", "event: message\nid: 1\ndata: a\n\ndata: b\n\n", ""},
		{"changed", "id: 1\ndata: xa\n\ndata: b\n\n", "id: 1\ndata: XA\n\ndata: b\n\n"},
		{"CRLF", "data: xa\r\nid: 1\r\n\r\ndata: b\r\n\r\n", "data: XA\r\nid: 1\r\n\r\ndata: b\r\n\r\n"},
		{"CRLF in one event", "data: xa\r\ndata: b\r\n\r\n", "data: XA\r\ndata: B\r\n\r\n"},
		{"CR", "data: xa\rid: 1\r\rdata: xb\r\r", "data: XA\rid: 1\r\rdata: XB\r\r"},
		{"all three", "data: xa\rid: 1\r\n\ndata: xb\n\r\ndata: c\n\n", "data: XA\rid: 1\r\n\ndata: XB\n\r\ndata: c\n\n"},
		{"no space", "data:xa\n\n", "data: XA\n\n"},
		{"two spaces", "data:  xa\n\n", ""},
		{"many lines", "data: xa\n: note\ndata:b\ndata\nid: 1\ndata: c\n\n", "data: XA\ndata: B\ndata: \ndata: C\n: note\nid: 1\n\n"},
		{"a mark", "\uFEFFdata: xa\n\n", "\uFEFFdata: XA\n\n"},
		{"a mark later", "data: b\n\n\uFEFFdata: xa\n\n", ""},
		{"the type before", "event: other\ndata: xa\n\ndata: xb\n\n", "event: other\ndata: xa\n\ndata: XB\n\n"},
		{"the type after", "data: xa\nevent: other\n\n", ""},
		{"the type message", "event:message\ndata: xa\n\n", "event:message\ndata: XA\n\n"},
		{"the type message, with white space", "event:  message \ndata: xa\n\n", "event:  message \ndata: XA\n\n"},
		{"the last type counts", "event: other\ndata: xa\nevent\n\n", "event: other\ndata: XA\nevent\n\n"},
		{"a type of no event", "event: other\n\ndata: xa\n\n", "event: other\n\ndata: XA\n\n"},
		{"other fields", "Data: xa\nDATA: xa\n data: xa\ndatax: xa\n\n", ""},
		{"keep-alives", ": ping\n\n:\n\n:\r\r\n\n", ""},
		{"no data, as in a stream that can be resumed", "id: 1\nretry: 5\ndata:\n\n", ""},
		{"only white space", "data: \ndata: \t\n\n", ""},
		{"not ended", "data: b\n\ndata: xa\n", "data: b\n\ndata: XA\n"},
		{"not ended, in a line", "data: b\n\ndata: xa", "data: b\n\ndata: XA\n"},
		{"not ended, of another type", "data: xa\nevent: other", ""},
		{"not ended, with more lines", "data: xa\nid: 1", "data: XA\nid: 1"},
		{"not ended, in a comment", "data: xa\n\n: pi", "data: XA\n\n: pi"},
		{"not ended, and unreadable", "data: b\n\nid: 1\ndata: !{\"tools\":[", "data: b\n\nid: 1\n"},
		{"not ended, in the mark", "\uFEFF"[:2], ""},
		{"nothing", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want == "" {
				tt.want = tt.in
			}
			for size := 1; size <= len(tt.in)+1; size++ {
				if got, err := filterEvents(pieces(tt.in, size), 1<<10, upper); got != tt.want || err != nil {
					t.Fatalf("in pieces of %d: %v\ngot  %q\nwant %q", size, err, got, tt.want)
				}
			}
		})
	}
}

// pieces cuts a text into pieces of one size.
func pieces(s string, size int) []string {
	var p []string
	for ; len(s) > size; s = s[size:] {
		p = append(p, s[:size])
	}
	return append(p, s)
}

// TestL12_EventsAreNotLate: what is complete has passed when Write returns, with
// one write for as much as stays as it is.
func TestL12_EventsAreNotLate(t *testing.T) {
	var out bytes.Buffer
	f := mcp.NewEventFilter(&out, 1<<10, upper)
	for _, step := range []struct{ in, out string }{
		{": pi", ""},
		{"ng\n", ": ping\n"},
		{"\n", "\n"},
		{":\r", ":\r"},
		{"\n", "\n"},
		{"id: 1\nda", "id: 1\n"},
		{"ta: xa\n", ""},
		{"\n", "data: XA\n\n"},
		{"data: xb\r\r", "data: XB\r\r"},
		{"\ndata: c\n\ndata: d\n\n: x", "\ndata: c\n\ndata: d\n\n"},
	} {
		out.Reset()
		if n, err := f.Write([]byte(step.in)); n != len(step.in) || err != nil {
			t.Fatalf("%q: %d, %v", step.in, n, err)
		}
		if out.String() != step.out {
			t.Errorf("after %q: %q passed, want %q", step.in, out.String(), step.out)
		}
	}
}

func TestEventFilterEnds(t *testing.T) {
	const most = 20
	fits := "data: " + strings.Repeat("a", most-6) + "\n\n"
	for _, tt := range []struct {
		name, in, want string
		err            error
	}{
		{"as large as may be", fits[:most] + "\n", "data: aaaaaaaaaaaaaa\n", mcp.ErrEventTooLarge},
		{"the largest", fits[:most-1] + "\n\n" + fits[:most-1] + "\n\n", fits[:most-1] + "\n\n" + fits[:most-1] + "\n\n", nil},
		{"a large line", "id: 1\n: " + strings.Repeat("a", most), "id: 1\n", mcp.ErrEventTooLarge},
		{"a large complete line", "id: 1\n: " + strings.Repeat("a", most) + "\n", "id: 1\n", mcp.ErrEventTooLarge},
		{"many lines", "id: 1\n" + strings.Repeat("data: a\n", most) + "\n", "id: 1\n", mcp.ErrEventTooLarge},
		{"many lines without data", strings.Repeat("id: 1\n", most), strings.Repeat("id: 1\n", most), nil},
		{"unreadable", "data: xa\n\ndata: !a\n\ndata: b\n\n", "data: XA\n\n", errUnreadable},
	} {
		if tt.name == "as large as may be" {
			tt.want = ""
		}
		for size := 1; size <= len(tt.in); size++ {
			got, err := filterEvents(pieces(tt.in, size), most, upper)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%s, in pieces of %d: %q, %v", tt.name, size, got, err)
			}
		}
	}

	// An error stays.
	f := mcp.NewEventFilter(&bytes.Buffer{}, most, upper)
	for range 2 {
		if n, err := f.Write([]byte("data: !\n\n")); n != 0 || !errors.Is(err, errUnreadable) {
			t.Errorf("%d, %v", n, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := f.Write([]byte("data: a\n\n")); err == nil {
		t.Error("written after Close")
	}
	for _, in := range []string{"data: a\n\n", "data: xa\n\n", "id: 1\n"} {
		if _, err := mcp.NewEventFilter(brokenPipe{}, most, upper).Write([]byte(in)); !errors.Is(err, errBroken) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

type brokenPipe struct{}

var errBroken = errors.New("broken pipe")

func (brokenPipe) Write([]byte) (int, error) { return 0, errBroken }

// TestL17_FilterEvents: a list that comes as an event is filtered like one that
// comes alone.
func TestL17_FilterEvents(t *testing.T) {
	in := "id: 1\ndata: " + strings.ReplaceAll(result("\"tools\":[\n{\"name\":\"hidden\"},\n{\"name\":\"one\"}]"), "\n", "\ndata: ") + "\n\n"
	want := "id: 1\ndata: " + result(`"tools":[`) + "\n\n"
	want = strings.Replace(want, `"tools":[`, "\"tools\":[\ndata: {\"name\":\"one\"}]", 1)
	got, err := filterEvents(pieces(in, 7), 1<<10, func(data []byte) ([]byte, error) {
		return mcp.FilterAnswer(data, keepShown, false)
	})
	if err != nil || got != want {
		t.Errorf("%v\ngot  %q\nwant %q", err, got, want)
	}
}
