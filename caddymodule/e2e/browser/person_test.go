package browser_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// What a person does in a tab.

// open types an address in.
func (b *tab) open(url string) {
	b.Helper()
	b.leaving(chromedp.Navigate(url))
}

// speak makes the browser ask for pages in a language.
func (b *tab) speak(language string) {
	b.Helper()
	agent := eval[string](b, `navigator.userAgent`)
	call(b, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: agent, AcceptLanguage: language})
}

// fill types into a field of the page, in place of what it has.
func (b *tab) fill(name, text string) {
	b.Helper()
	field := `input[name="` + name + `"]`
	b.do(click(field))
	eval[any](b, fmt.Sprintf(`document.querySelector(%q).select(), null`, field))
	b.do(chromedp.KeyEvent(text))
}

// signIn fills in the form for name and password, and sends it.
func (b *tab) signIn(name, password string) {
	b.Helper()
	b.fill("field_username", name)
	b.fill("field_password", password)
	b.leaving(click("form button.main"))
}

// button selects the button of that name and value.
func button(name, value string) string {
	return fmt.Sprintf(`button[name="%s"][value="%s"]`, name, value)
}

// place finds where on the screen the first element of a selector is. It has to
// be in sight, with nothing over it.
func place(selector string) chromedp.Action[[]float64] {
	return chromedp.Evaluate[[]float64](fmt.Sprintf(`(() => {
		const e = document.querySelector(%q)
		e.scrollIntoView({block: "center"})
		const r = e.getBoundingClientRect(), x = r.x + r.width / 2, y = r.y + r.height / 2
		if (!e.contains(document.elementFromPoint(x, y))) throw "there is something over it"
		return [x, y]
	})()`, selector))
}

// click clicks with the mouse.
func click(selector string) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		at, err := place(selector)(ctx, t)
		if err != nil {
			return chromedp.Void{}, fmt.Errorf("clicking on %s: %w", selector, err)
		}
		return chromedp.MouseClickXY(at[0], at[1])(ctx, t)
	}
}

// doubleClick clicks twice, so quickly that the page that the first click leads
// to is not there yet.
func doubleClick(selector string) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		at, err := place(selector)(ctx, t)
		if err != nil {
			return chromedp.Void{}, fmt.Errorf("clicking on %s: %w", selector, err)
		}
		return chromedp.Steps(chromedp.MouseClickXY(at[0], at[1]), chromedp.MouseClickXY(at[0], at[1], chromedp.ClickCount(2)))(ctx, t)
	}
}

// press presses a button that leads to another page.
func (b *tab) press(name, value string) {
	b.Helper()
	b.leaving(click(button(name, value)))
}

// allow lets the program in.
func (b *tab) allow() { b.Helper(); b.press("decision", "allow") }

// back presses the browser's back button.
func (b *tab) back() {
	b.Helper()
	history := call(b, page.GetNavigationHistory, cdp.Empty{})
	before := history.Entries[history.CurrentIndex-1]
	b.leaving(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: before.ID})
		return chromedp.Void{}, err
	})
}

// heading is what stands at the top of the page.
func (b *tab) heading() string {
	b.Helper()
	return eval[string](b, `document.querySelector("h1")?.textContent ?? document.title`)
}

// shows checks which page this is.
func (b *tab) shows(heading string) {
	b.Helper()
	if got := b.heading(); got != heading {
		b.Fatalf("the page is %q, want %q\n%s", got, heading, b.describe())
	}
}

// says checks that the page has a text.
func (b *tab) says(text string) {
	b.Helper()
	if got := b.describe(); !strings.Contains(got, text) {
		b.Errorf("the page does not say %q:\n%s", text, got)
	}
}

// status is the one that the page came with.
func (b *tab) status() int {
	b.Helper()
	return eval[int](b, `performance.getEntriesByType("navigation")[0].responseStatus`)
}

// forget removes all cookies of the profile, as a browser does that keeps
// none.
func (b *tab) forget() {
	b.Helper()
	call(b, network.ClearBrowserCookies, cdp.Empty{})
}
