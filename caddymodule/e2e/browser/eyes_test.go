package browser_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
)

// notes is a test that only notes what is wrong.
type notes struct {
	testing.TB
	errors []string
}

// Errorf implements testing.TB.
func (n *notes) Errorf(format string, args ...any) {
	n.errors = append(n.errors, fmt.Sprintf(format, args...))
}

// TestEyes: what the other tests look for is seen where it is there.
func TestEyes(t *testing.T) {
	t.Parallel()
	bad := web.serve(t, "bad.example", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; img-src data:; script-src 'nonce-x'")
		fmt.Fprintf(w, `<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><title>Bad</title>
<main><h1>Bad</h1><img src="data:," width="600" height="1"><p style="color: red">styled</p></main>
<script nonce="x">console.error("oh")</script>%s`, strings.Repeat(" ", maxWeight))
	}))
	noted := &notes{TB: t}
	b := newTab(t)
	b.TB = noted
	b.open(bad)
	b.weigh(maxWeight)
	b.axe(b.loadAxe(), "as it is")
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 390, Height: 844, DeviceScaleFactor: 1, Mobile: true})
	b.fits(390)
	b.settle()
	b.TB = t

	b.mu.Lock()
	defer b.mu.Unlock()
	seen := slices.Concat(noted.errors, b.complaints)
	b.complaints = nil
	for _, want := range []string{"the page weighs", "(image-alt)", "to scroll through", "console.error", "content security policy: style-src"} {
		if !slices.ContainsFunc(seen, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("nobody noticed %q: %q", want, seen)
		}
	}
}
