package browser_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// stop is what has the focus, as far as a person can tell.
type stop struct {
	Name, Value, Text string
	// Ring says that it can be seen where the focus is.
	Ring bool
}

const focused = `(() => {
	const e = document.activeElement, s = getComputedStyle(e)
	return {
		Name: e.getAttribute("name") ?? "", Value: e.tagName === "INPUT" ? "" : e.value ?? "", Text: e.textContent.trim(),
		Ring: e.matches(":focus-visible") && s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2 &&
			s.outlineColor !== "transparent" && s.outlineColor !== getComputedStyle(document.body).backgroundColor,
	}
})()`

// tabTo presses Tab until an element of this name and value has the focus, and
// checks that the focus can be seen wherever it goes.
func (b *tab) tabTo(name, value string) {
	b.Helper()
	for range 20 {
		b.do(chromedp.KeyEvent(kb.Tab))
		at := eval[stop](b, focused)
		if !at.Ring {
			b.Errorf("it can't be seen that %+v has the focus", at)
		}
		if at.Name == name && at.Value == value {
			return
		}
	}
	b.Fatalf("Tab does not lead to %s %s", name, value)
}

// stays checks that keys do nothing where nothing has the focus.
func (b *tab) stays(keys ...string) {
	b.Helper()
	before := eval[float64](b, `performance.timeOrigin`)
	for _, key := range keys {
		b.do(chromedp.KeyEvent(key))
	}
	b.mu.Lock()
	wanted := len(b.wanted)
	b.mu.Unlock()
	if eval[float64](b, `performance.timeOrigin`) != before || wanted != 0 {
		b.Errorf("keys that were pressed on no button led to %s", b.describe())
	}
}

// TestKeyboard: everything can be done with the keys alone, it can be seen
// where one is, and nobody lets a program in by holding down a key that was
// meant for the page before.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	g := start(t, users)
	p := newProgram(t, g)
	b := newTab(t)
	b.open(p.AuthorizeURL())
	b.stays(kb.Enter, " ")
	b.tabTo("field_username", "")
	b.do(chromedp.KeyEvent("alice"))
	b.tabTo("field_password", "")
	b.do(chromedp.KeyEvent(password))
	b.leaving(chromedp.KeyEvent(kb.Enter))
	b.shows("Let this program in?")

	b.mu.Lock()
	b.wanted = nil
	b.mu.Unlock()
	b.stays(kb.Enter, " ", kb.Enter)
	p.none()
	b.tabTo("decision", "switch")
	b.tabTo("decision", "deny")
	b.tabTo("decision", "allow")
	b.leaving(chromedp.KeyEvent(" "))
	b.shows(doneTitle)
	p.redeems(p.answer())
}

// TestKeyboardAccount: a program can be taken back with the keys alone.
func TestKeyboardAccount(t *testing.T) {
	t.Parallel()
	g := start(t, users)
	_, token := letIn(t, g, "alice", "Desk helper", local)
	b := newTab(t)
	b.open(g.URL + "/oauth/account")
	// Nothing has to be read first on this page, so the cursor waits in it.
	b.do(chromedp.KeyEvent("alice"), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(password))
	b.leaving(chromedp.KeyEvent(kb.Enter))
	b.shows("Your programs")
	id := eval[string](b, `document.querySelector("button[name=grant]").value`)
	b.tabTo("grant", id)
	b.leaving(chromedp.KeyEvent(kb.Enter))
	b.says("You have not let any program in.")
	refused(t, g, token)
	for range 20 {
		b.do(chromedp.KeyEvent(kb.Tab))
		if at := eval[stop](b, focused); strings.Contains(at.Text, "About this server") {
			return
		}
	}
	t.Error("Tab does not lead to the end of the page")
}
