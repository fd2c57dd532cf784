package browser_test

import (
	"net/http"
	"strings"
	"testing"
)

// What people do that nobody planned for.

// TestBackButton: back from the program there is the page again, as it was or
// anew. Neither gives the program a second code by itself, and the one that was
// answered can't be answered otherwise.
func TestBackButton(t *testing.T) {
	t.Parallel()
	g := start(t, users)
	p := newProgram(t, g)
	b := newTab(t)
	b.open(p.AuthorizeURL())
	b.signIn("alice", password)
	answered := eval[string](b, `document.querySelector("input[name=flow]").value`)
	b.allow()
	b.shows(doneTitle)
	p.redeems(p.answer())
	b.back()
	b.shows("Let this program in?")
	p.none()
	if eval[string](b, `document.querySelector("input[name=flow]").value`) == answered {
		b.expectStatus(http.StatusBadRequest)
		b.press("decision", "deny")
		b.shows("This was done before")
		p.none()
		return
	}
	b.press("decision", "deny")
	if second := p.answer(); second.Has("code") {
		t.Errorf("the program was told %v", second)
	}
}

// TestBackAfterSignOut: whoever sits down at the browser next sees nothing of
// what was there.
func TestBackAfterSignOut(t *testing.T) {
	t.Parallel()
	g := start(t, users)
	letIn(t, g, "alice", "Desk helper", local)
	b := newTab(t)
	b.open(g.URL + "/oauth/account")
	b.signIn("alice", password)
	b.says("Desk helper")
	b.press("do", "sign_out")
	b.shows("You are signed out")
	b.back()
	b.shows("Sign in")
	if seen := b.describe(); strings.Contains(seen, "Alice") || strings.Contains(seen, "Desk helper") {
		t.Errorf("after signing out, the page before says %s", seen)
	}
}

// TestDoubleClick: two clicks on Allow are one answer. Whichever of the two
// answers the browser follows, the program has one code that works.
func TestDoubleClick(t *testing.T) {
	t.Parallel()
	g := start(t, users)
	p := newProgram(t, g)
	b := newTab(t)
	b.open(p.AuthorizeURL())
	b.signIn("alice", password)
	b.leaving(doubleClick(button("decision", "allow")))
	b.shows(doneTitle)
	// The program may have been called twice; the page shown is the last call.
	last := parse(t, eval[string](b, `location.href`)).Query()
	p.redeems(last)
	for {
		select {
		case a := <-p.answers:
			if r := p.Redeem(t, a.Get("code")); r.Status == http.StatusOK {
				t.Error("a second code works as well")
			}
		default:
			return
		}
	}
}

// TestTwoTabs: two programs ask at once in one browser. Each gets its own
// answer, whichever is answered first.
func TestTwoTabs(t *testing.T) {
	t.Parallel()
	g := start(t, users)
	one, two := newProgram(t, g), newWebProgram(t, g, "two.example")
	first := newTab(t)
	first.open(one.AuthorizeURL())
	second := first.another()
	second.open(two.AuthorizeURL())

	first.signIn("alice", password)
	second.signIn("alice", password)
	first.says("127.0.0.1")
	second.says("two.example")
	// Whoever signed in anew in the other tab is asked again, not turned away.
	first.allow()
	if first.heading() == "Let this program in?" {
		one.none()
		first.allow()
	}
	second.allow()
	first.shows(doneTitle)
	second.shows(doneTitle)
	a, b := one.answer(), two.answer()
	if r := one.Redeem(t, b.Get("code")); r.Status == http.StatusOK {
		t.Error("one program can use the other's code")
	}
	one.redeems(a)
	two.redeems(b)
}

// TestTwoPeople: one person signs out and another one in while a page of the
// first is open. What is pressed there is not done in the name of either.
func TestTwoPeople(t *testing.T) {
	t.Parallel()
	g := start(t, users)
	p := newProgram(t, g)
	first := newTab(t)
	first.open(p.AuthorizeURL())
	first.signIn("alice", password)
	second := first.another()
	second.open(g.URL + "/oauth/account")
	second.press("do", "sign_out")
	second.open(g.URL + "/oauth/account")
	second.signIn("bob", password)
	first.allow()
	first.shows("Let this program in?")
	first.says("bob")
	p.none()
}

// TestCookiesOff: a browser that keeps no cookies gets a page that says so, and
// the way in works as soon as it does.
func TestCookiesOff(t *testing.T) {
	t.Parallel()
	g := start(t, users)
	p := newProgram(t, g)
	b := newTab(t)
	b.expectStatus(http.StatusForbidden)
	b.open(p.AuthorizeURL())
	b.forget()
	b.signIn("alice", password)
	b.shows("This step belongs to another browser")
	b.says("cookies")
	b.open(p.AuthorizeURL())
	b.signIn("alice", password)
	b.forget()
	b.allow()
	b.shows("This step belongs to another browser")
	p.none()
	b.open(p.AuthorizeURL())
	b.signIn("alice", password)
	b.allow()
	p.redeems(p.answer())
}

// TestProvider: by way of another service, and what comes back only works in
// the browser that went there (THREATS D2).
func TestProvider(t *testing.T) {
	t.Parallel()
	hub := newHub(t)
	g := start(t, users, hub.login())
	p := newProgram(t, g)
	b := newTab(t)
	b.open(p.AuthorizeURL())
	b.press("login", "github")
	b.shows("GitHub")
	callback := eval[string](b, `document.querySelector("#yes").href`)

	other := newTab(t)
	other.expectStatus(http.StatusBadRequest)
	other.open(callback)
	other.shows("This step belongs to another browser")

	b.leaving(click("#yes"))
	b.shows("Let this program in?")
	b.says("carol@example.com")
	b.allow()
	p.redeems(p.answer())

	// The way back has been gone.
	b.expectStatus(http.StatusBadRequest)
	b.open(callback)
	b.shows("This step belongs to another browser")
}

// TestProviderTrouble: the other service fails or says no.
func TestProviderTrouble(t *testing.T) {
	t.Parallel()
	hub := newHub(t)
	g := start(t, users, hub.login())
	p := newProgram(t, g)
	b := newTab(t)
	b.open(p.AuthorizeURL())
	b.press("login", "github")
	hub.down.Store(true)
	b.expectStatus(http.StatusServiceUnavailable)
	b.leaving(click("#yes"))
	b.shows("The service where you sign in does not answer")
	p.none()
	hub.down.Store(false)

	b.leaving(click(`main a.button[href*="/oauth/authorize"]`))
	b.shows("Sign in")
	b.press("login", "github")
	b.leaving(click("#no"))
	b.shows(doneTitle)
	if a := p.answer(); a.Get("error") != "access_denied" || a.Has("code") {
		t.Errorf("the program was told %v", a)
	}
}
