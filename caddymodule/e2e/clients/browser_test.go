package clients_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// output is what a program writes, with an eye on the URL that it wants to have
// opened in a browser.
type output struct {
	want  *regexp.Regexp
	found chan string // the first URL

	mu   sync.Mutex
	text bytes.Buffer
	seen bool
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	if url := o.want.Find(o.text.Bytes()); url != nil && !o.seen {
		o.seen = true
		o.found <- string(bytes.TrimSpace(url))
	}
	return len(p), nil
}

// String returns everything so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// ran is what a finished program has left.
type ran struct {
	stdout, stderr string
	code           int
	// opened says whether it had a URL opened.
	opened bool
}

// run runs a program to its end. If it prints an authorization URL of the
// gateway, that is opened as a person would with a browser.
func run(t *testing.T, cmd *exec.Cmd, base string) ran {
	t.Helper()
	found := make(chan string, 2)
	want := regexp.MustCompile(regexp.QuoteMeta(base+"/oauth/authorize?") + `\S+\s`)
	stdout, stderr := &output{want: want, found: found}, &output{want: want, found: found}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var r ran
	for {
		select {
		case url := <-found:
			r.opened = true
			browse(t, url)
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatalf("%s: %v\n%s%s", cmd, err, stdout, stderr)
			}
			r.stdout, r.stderr, r.code = stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
			return r
		}
	}
}

// browse opens an authorization URL and hands the result to the program.
func browse(t *testing.T, authorize string) {
	t.Helper()
	r := gatewaytest.Send(t, http.MethodGet, authorize, "")
	callback := r.Header.Get("Location")
	if r.Status != http.StatusFound || callback == "" {
		t.Fatalf("the authorization endpoint answered %d %s", r.Status, r.Body)
	}
	deliver(t, callback)
}

// deliver opens a program's callback, which may not listen yet when the program
// prints the URL that leads to it.
func deliver(t *testing.T, callback string) {
	t.Helper()
	poll(t, "the callback to listen", func() bool {
		resp, err := http.Get(callback)
		if err != nil {
			return false
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return true
	})
}

// poll waits until something is so.
func poll(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(callTimeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %s for %s", callTimeout, what)
		}
	}
}
