package browser_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience bounds every wait. It is long because the machine may be busy.
const patience = 90 * time.Second

// tab is one tab of the browser. Every complaint of Chromium about a page, in
// the console or as an issue, fails the test unless the test expects it.
type tab struct {
	testing.TB
	ctx context.Context //nolint:containedctx // it is how chromedp knows the tab

	mu         sync.Mutex
	expected   []string // parts of the complaints that are fine
	complaints []string
	wanted     []string // where pages wanted to go, by links, forms and refreshes
	loaded     float64  // bytes since the last navigation, headers included
}

// newTab opens a tab in a profile of its own, without cookies.
func newTab(t testing.TB) *tab {
	t.Helper()
	return openTab(needChromium(t), t, chromedp.WithNewBrowserContext())
}

// another opens a second tab in the same profile.
func (b *tab) another() *tab {
	b.Helper()
	return openTab(b.ctx, b.TB)
}

func openTab(parent context.Context, t testing.TB, options ...chromedp.ContextOption) *tab {
	t.Helper()
	b := &tab{TB: t}
	ctx, cancel := chromedp.NewContext(parent, append(options, chromedp.WithListener(b.listen))...)
	b.ctx = ctx
	t.Cleanup(func() {
		b.settle()
		cancel()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, text := range b.complaints {
			t.Errorf("Chromium complains: %s", text)
		}
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	call(b, audits.Enable, cdp.Empty{})
	// Several tabs are open at once, and each is to think that it has the focus.
	call(b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	return b
}

// settle asks the page something, so that what it complained about before has
// been heard.
func (b *tab) settle() {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	_, _ = chromedp.Run(ctx, chromedp.Evaluate[bool](`true`)) // a tab that is gone has nothing more to say
}

// listen hears everything that happens in the tab.
func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		b.complain("console." + string(e.Type))
	case *runtime.EventExceptionThrown:
		b.complain("exception: " + e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		b.complain(fmt.Sprintf("%s %s: %s %s", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL))
	case *audits.EventIssueAdded:
		b.complain(issue(e.Issue))
	case *page.EventFrameRequestedNavigation:
		b.wanted = append(b.wanted, e.URL)
	case *network.EventLoadingFinished:
		b.loaded += e.EncodedDataLength
	}
}

// issue describes an issue. Those about bounce tracking are left out: every
// sign-in leads over a site that the person did not choose.
func issue(i *audits.InspectorIssue) string {
	switch d := i.Details; {
	case i.Code == audits.InspectorIssueCodeBounceTrackingIssue:
		return ""
	case d.ContentSecurityPolicyIssueDetails != nil:
		return "content security policy: " + d.ContentSecurityPolicyIssueDetails.ViolatedDirective
	case d.GenericIssueDetails != nil:
		return "issue " + string(d.GenericIssueDetails.ErrorType)
	}
	return "issue " + string(i.Code)
}

func (b *tab) complain(text string) {
	if text != "" && !slices.ContainsFunc(b.expected, func(s string) bool { return strings.Contains(text, s) }) {
		b.complaints = append(b.complaints, text)
	}
}

// expect lets complaints pass that have this text in them.
func (b *tab) expect(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = append(b.expected, text)
}

// expectStatus lets the complaint pass that Chromium has about every page that
// does not come with status 200.
func (b *tab) expectStatus(status int) {
	b.expect(fmt.Sprintf("Failed to load resource: the server responded with a status of %d ", status))
}

// went returns the last address with this beginning that a page wanted to go
// to, or "".
func (b *tab) went(prefix string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, to := range slices.Backward(b.wanted) {
		if strings.HasPrefix(to, prefix) {
			return to
		}
	}
	return ""
}

// call runs a command of the protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		b.Fatal(err)
	}
	return result
}

// do runs actions, and fails the test if they do not work.
func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.Fatalf("%v\n%s", err, b.describe())
	}
}

// eval returns the value of an expression in the page.
func eval[T any](b *tab, expression string) T {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.Fatalf("%s: %v", expression, err)
	}
	return v
}

// wait waits until an expression is true. An error is no end: while one page
// takes the place of another there is nothing to ask.
func (b *tab) wait(what, expression string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	poll(b, what, func() (bool, error) {
		return chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
	})
}

// poll waits for a condition.
func poll(tb testing.TB, what string, condition func() (bool, error)) {
	tb.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := condition()
		if err == nil && ok {
			return
		}
		select {
		case <-deadline:
			if b, ok := tb.(*tab); ok {
				tb.Log(b.describe())
			}
			tb.Fatalf("waited for %s in vain: %v", what, err)
		case <-tick.C:
		}
	}
}

// describe says what the tab shows, for a test that fails.
func (b *tab) describe() string {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return text
}

// leaving runs actions that lead to another page, and waits until that is
// there.
func (b *tab) leaving(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	before := eval[float64](b, `performance.timeOrigin`)
	b.mu.Lock()
	b.loaded = 0
	b.mu.Unlock()
	b.do(steps...)
	b.wait("another page", fmt.Sprintf(`performance.timeOrigin !== %v && document.readyState === "complete"`, before))
}
