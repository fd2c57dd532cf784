package pages

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/html"
)

// hostile are the texts of SPEC O39 to O42 and their relatives.
var hostile = []string{
	"<script>alert(1)</script>", `"><svg onload=alert(1)>`, `' onmouseover='alert(1)`, `" autofocus onfocus="alert(1)`, "</style><script>",
	"javascript:alert(1)", "data:text/html,<script>alert(1)</script>", "{{template \"x\"}}", "{{.Site}}", "{env.SECRET}", "{program}", "{http.request.host}",
	"abc\u202egpj.exe", "a\u200d\u2069\ufeffb", "\x00\x1b[31m\r\nX: y", "\u2028\u2029", "\xff\xfe\xfd", "\U000e0041tag", "https://evil.example/",
	strings.Repeat("W", 10<<10), strings.Repeat("\u05d0", 10<<10), strings.Repeat("\u0301", 10<<10), strings.Repeat("a b ", 3<<10),
}

// TestPages holds what is true of every page in every language, whatever the
// texts from outside are: it is whole, accessible, light and alone.
func TestPages(t *testing.T) {
	site := testSite(t, func(c *SiteConfig) { c.Brand = Brand{Name: "Acme", LogoURL: "/logo.svg"} })
	texts := map[string]values{"plain": plainValues}
	for i, text := range hostile {
		texts["hostile "+strconv.Itoa(i)] = everywhere(text)
	}
	for accept, words := range accepts {
		for textName, v := range texts {
			for pageName, page := range samples(v) {
				t.Run(words.Lang+"/"+textName+"/"+pageName, func(t *testing.T) {
					a := show(t, site, page, accept)
					checkMarkup(t, a)
					checkTargets(t, a, page)
					checkForms(t, a)
					checkNames(t, a, words)
					if _, fixed := page.(Reference); fixed && textName != "plain" {
						return // its texts are those of openapi.json, and shown as they are
					}
					checkText(t, a)
					limit := 30 << 10
					if textName == "plain" {
						limit = 20 << 10
					}
					if n := a.Body.Len(); n > limit {
						t.Errorf("the page has %d bytes", n)
					}
				})
			}
		}
	}
}

// ours are the elements that our templates use: no others are on a page.
var ours = strings.Fields("html head meta link title style body header div img p strong span nav ul li a main h1 h2 h3 h4 bdi wbr code pre" +
	" form input button label select option fieldset legend details summary article section dl dt dd i br time footer")

func checkMarkup(t *testing.T, a answer) {
	t.Helper()
	count := map[string]int{}
	level := 0
	for _, n := range a.elements() {
		count[n.Data]++
		if !slices.Contains(ours, n.Data) {
			t.Errorf("the page has a %s", n.Data)
		}
		for _, at := range n.Attr {
			if strings.HasPrefix(at.Key, "on") || slices.Contains([]string{"style", "srcset", "formaction", "ping", "target", "background"}, at.Key) {
				t.Errorf("%s has %s=%q", n.Data, at.Key, at.Val)
			}
		}
		if len(n.Data) == 2 && n.Data[0] == 'h' && n.Data[1] >= '1' && n.Data[1] <= '4' {
			next := int(n.Data[1] - '0')
			if next > level+1 {
				t.Errorf("%s %q follows level %d", n.Data, textOf(n), level)
			}
			level = next
		}
	}
	for _, name := range []string{"title", "style", "header", "main", "h1", "footer"} {
		if count[name] != 1 {
			t.Errorf("%d %s", count[name], name)
		}
	}
	nonce, ok := attr(a.all("style")[0], "nonce")
	if !ok || nonce == "" || !strings.Contains(a.Header().Get("Content-Security-Policy"), "style-src 'nonce-"+nonce+"';") {
		t.Errorf("the style sheet has the nonce %q, the policy is %s", nonce, a.Header().Get("Content-Security-Policy"))
	}
	if strings.Contains(a.Body.String(), "ZgotmplZ") {
		t.Error("a value was in a place where it must not be")
	}
}

// checkTargets holds that a page leads nowhere but to this server, except where
// leading back to the program is what it is for.
func checkTargets(t *testing.T, a answer, page Page) {
	t.Helper()
	for _, n := range a.elements() {
		for _, key := range []string{"href", "src", "action", "content"} {
			target, ok := attr(n, key)
			if !ok || n.Data == "meta" && key == "content" && !strings.Contains(target, "url=") {
				continue
			}
			_, leaves := page.(Leave)
			switch {
			case n.Data == "link":
				if rel, _ := attr(n, "rel"); rel != "icon" || target != "/logo.svg" {
					t.Errorf("the page links %s %q", rel, target)
				}
			case n.Data == "meta":
				if !leaves || target != "0;url="+testLeave {
					t.Errorf("the page goes on to %q", target)
				}
			case n.Data == "a" && target == testReturn:
				if rel, _ := attr(n, "rel"); rel != "noreferrer nofollow" {
					t.Error("a foreign link without rel")
				}
			case n.Data == "a" && leaves && target == testLeave, strings.HasPrefix(target, "#"), ownPath(target):
			default:
				t.Errorf("%s %s=%q", n.Data, key, target)
			}
		}
	}
}

func checkForms(t *testing.T, a answer) {
	t.Helper()
	forms := a.all("form")
	for _, f := range forms {
		method, _ := attr(f, "method")
		action, _ := attr(f, "action")
		if method != "post" || action != testAction {
			t.Errorf("form: %s %s", method, action)
		}
		tokens, submits := 0, 0
		for n := range f.Descendants() {
			name, _ := attr(n, "name")
			value, _ := attr(n, "value")
			kind, _ := attr(n, "type")
			switch {
			case n.Data == "button":
				submits++
			case n.Data == "input" && name == "flow":
				tokens++
				if value != testToken || kind != "hidden" {
					t.Errorf("flow is %q, %s", value, kind)
				}
			}
		}
		if tokens != 1 || submits == 0 {
			t.Errorf("a form with %d tokens and %d buttons", tokens, submits)
		}
	}
	for _, n := range a.all("button", "input") {
		if !slices.ContainsFunc(slices.Collect(n.Ancestors()), func(p *html.Node) bool { return p.Data == "form" }) {
			t.Errorf("%s outside of a form", n.Data)
		}
	}
	if blocked := strings.Contains(a.Header().Get("Content-Security-Policy"), "form-action"); blocked != (len(forms) == 0) {
		t.Errorf("%d forms, and the policy is %s", len(forms), a.Header().Get("Content-Security-Policy"))
	}
}

// checkNames holds that everything has a name that assistive programs find,
// and that the page says which language it is in.
func checkNames(t *testing.T, a answer, w *words) {
	t.Helper()
	if lang, _ := attr(a.all("html")[0], "lang"); lang != w.Lang {
		t.Errorf("lang is %q", lang)
	}
	if title := textOf(a.all("title")[0]); !strings.HasSuffix(title, " · Acme") || len(title) < 10 {
		t.Errorf("the title is %q", title)
	}
	ids := a.attributes("id")
	if slices.Sort(ids); len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Errorf("an id twice: %v", ids)
	}
	for _, key := range []string{"aria-labelledby", "aria-describedby", "for"} {
		for _, refs := range a.attributes(key) {
			for ref := range strings.FieldsSeq(refs) {
				if !slices.Contains(ids, ref) {
					t.Errorf("%s names %s, which is not there", key, ref)
				}
			}
		}
	}
	labels := a.attributes("for")
	for _, n := range a.elements() {
		id, _ := attr(n, "id")
		kind, _ := attr(n, "type")
		switch _, hasAlt := attr(n, "alt"); {
		case n.Data == "input" && kind != "hidden" && !slices.Contains(labels, id):
			t.Errorf("input %q has no label", id)
		case n.Data == "img" && !hasAlt:
			t.Error("a picture without alt")
		case slices.Contains([]string{"a", "button", "label", "summary", "h1", "h2", "h3"}, n.Data) && textOf(n) == "":
			t.Errorf("an empty %s", n.Data)
		}
	}
}

var verb = regexp.MustCompile(`\{[a-z]+\}`)

// checkText holds that nothing invisible is on the page, and that no text from
// outside is longer than it may be.
func checkText(t *testing.T, a answer) {
	t.Helper()
	text := a.text()
	for _, r := range text {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			t.Fatalf("the page has %U", r)
		}
	}
	for _, long := range []string{"W", "\u05d0", "\u0301", "a b "} {
		if strings.Contains(text, strings.Repeat(long, maxURL+1)) {
			t.Errorf("a text of %q is not cut", long)
		}
	}
	for _, v := range verb.FindAllString(text, -1) {
		if v != "{program}" || !strings.Contains(a.Body.String(), `>{program}<`) {
			t.Errorf("nothing was put in for %s", v)
		}
	}
}

// TestHostileTextStays: what looks like markup, a template or a placeholder is
// shown as what it is, a text.
func TestHostileTextStays(t *testing.T) {
	for _, text := range []string{"<script>alert(1)</script>", `"><svg onload=alert(1)>`, "{{.Site}}", "{env.SECRET}", "{resource}"} {
		for name, page := range samples(everywhere(text)) {
			if slices.Contains([]string{"problem", "signed out", "signed out everywhere", "leave, nameless", "sign in to the account page"}, name) {
				continue // nothing from outside is on them
			}
			if a := read(t, page); !strings.Contains(a.text(), text) {
				t.Errorf("%s does not show %s", name, text)
			}
		}
	}
}
