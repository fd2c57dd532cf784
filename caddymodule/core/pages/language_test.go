package pages

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

func TestLanguage(t *testing.T) {
	for accept, want := range map[string]string{
		"":                                     "en",
		"en":                                   "en",
		"en-GB,en;q=0.9":                       "en",
		"zh":                                   "zh-Hans",
		"zh-CN,zh;q=0.9,en;q=0.8":              "zh-Hans",
		"zh-Hans-CN":                           "zh-Hans",
		"zh-SG":                                "zh-Hans",
		"zh-TW":                                "zh-Hans", // closer than English
		"zh-HK,zh;q=0.9":                       "zh-Hans",
		"zh-TW, en;q=0.9":                      "en",
		"en;q=0.1, zh":                         "zh-Hans",
		"de, zh;q=0.5":                         "zh-Hans",
		"fr-FR, de":                            "en",
		"*":                                    "en",
		"zh;q=0":                               "en",
		";;;,,q=":                              "en",
		"<script>":                             "en",
		"zh" + strings.Repeat(",en;q=0.1", 99): "en", // too long to look at
	} {
		if got := wordsFor(accept).Lang; got != want {
			t.Errorf("%.40q: %s, want %s", accept, got, want)
		}
	}
}

func FuzzLanguage(f *testing.F) {
	f.Add("zh-CN,zh;q=0.9,en;q=0.8")
	f.Add("en-US-u-rg-gbzzzz,*;q=1.5,---")
	f.Fuzz(func(t *testing.T, accept string) {
		if w := wordsFor(accept); !slices.Contains(languages, w) {
			t.Errorf("%q has no words", accept)
		}
	})
}

// catalogue returns every string of a language by where it stands.
func catalogue(w *words) map[string]string {
	all := map[string]string{}
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			all[path] = v.String()
		case reflect.Struct:
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		case reflect.Map:
			for _, key := range v.MapKeys() {
				walk(fmt.Sprintf("%s[%s]", path, key), v.MapIndex(key))
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
			}
		default:
			panic(path + " is neither a text nor made of texts")
		}
	}
	walk("", reflect.ValueOf(*w))
	return all
}

// mayBeEmpty is what a Step need not have.
var mayBeEmpty = regexp.MustCompile(`\.(Who|Code)$`)

// names are the same in every language.
var names = []string{"Claude Code", "Cursor", "VS Code", "MCP Inspector", "curl"}

// TestCatalogues holds that every language says everything that English says,
// with the same values in it, and in its own words.
func TestCatalogues(t *testing.T) {
	want := catalogue(&english)
	if len(want) < 300 {
		t.Fatalf("only %d texts were found", len(want))
	}
	for _, w := range languages {
		got := catalogue(w)
		for path := range got {
			if _, ok := want[path]; !ok {
				t.Errorf("%s%s has no English", w.Lang, path)
			}
		}
		for path, english := range want {
			text, ok := got[path]
			code := strings.HasSuffix(path, ".Code")
			switch {
			case !ok:
				t.Errorf("%s%s is missing", w.Lang, path)
			case text == "" && (english != "" || !mayBeEmpty.MatchString(path)):
				t.Errorf("%s%s is empty", w.Lang, path)
			case strings.TrimSpace(text) != text:
				t.Errorf("%s%s has space around it", w.Lang, path)
			case code && text != english:
				t.Errorf("%s%s is %q, and commands are the same everywhere", w.Lang, path, text)
			case w.Lang != "en" && text == english && text != "" && !code && !slices.Contains(names, text):
				t.Errorf("%s%s is not translated: %s", w.Lang, path, text)
			case !slices.Equal(verbs(text), verbs(english)):
				t.Errorf("%s%s has %v, English has %v", w.Lang, path, verbs(text), verbs(english))
			case strings.Count(text, "{") != len(verbs(text)):
				t.Errorf("%s%s has a verb that none is: %s", w.Lang, path, text)
			}
		}
	}
}

func verbs(text string) []string {
	all := verb.FindAllString(text, -1)
	slices.Sort(all)
	return all
}

// TestChineseIsChinese: a text of some length without a Chinese character was
// forgotten.
func TestChineseIsChinese(t *testing.T) {
	for path, text := range catalogue(&chinese) {
		han := strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Han, r) })
		if !han && text != "" && !mayBeEmpty.MatchString(path) && path != ".Lang" {
			t.Errorf("%s: %s", path, text)
		}
	}
}

// TestEveryCodeIsExplained: whatever can be shown has words of its own in every
// language, and they are for people.
func TestEveryCodeIsExplained(t *testing.T) {
	var pages []Error
	for _, code := range []string{
		oauth.CodeInvalidRequest, oauth.CodeInvalidClient, oauth.CodeUnauthorizedClient, oauth.CodeAccessDenied,
		oauth.CodeUnsupportedResponseType, oauth.CodeInvalidScope, oauth.CodeInvalidTarget, oauth.CodeServerError,
		oauth.CodeTemporarilyUnavailable, oauth.CodeRequestNotSupported, oauth.CodeRequestURINotSupported,
		oauth.CodeLoginRequired, oauth.CodeConsentRequired, "interaction_required",
	} {
		pages = append(pages, Error{Code: code, Description: "technical words", RequestID: "req-1"})
	}
	for _, problem := range []string{
		ProblemExpired, ProblemBrowser, ProblemUsed, ProblemForeignForm, ProblemProvider,
		ProblemDenied, ProblemProxy, ProblemDocument, ProblemTooLong,
	} {
		pages = append(pages, Error{Problem: problem, Code: oauth.CodeAccessDenied, Description: "technical words", RequestID: "req-1"})
	}
	for accept, w := range accepts {
		titles := map[string]bool{}
		for _, p := range pages {
			says := w.explain(p)
			if says.Title == w.OtherError.Title || says.Title == "" || len(says.Steps) == 0 {
				t.Errorf("%s: %s%s is not explained", w.Lang, p.Problem, p.Code)
			}
			titles[says.Title] = true
			text := show(t, testSite(t, nil), p, accept).text()
			for _, want := range []string{says.Title, says.What, says.Why, says.Steps[0].Text, p.Code, "technical words", "req-1"} {
				if !strings.Contains(text, want) {
					t.Errorf("%s: %s%s: the page does not say %q", w.Lang, p.Problem, p.Code, want)
				}
			}
		}
		if len(titles) < len(pages)-4 { // request objects share one, prompt=none shares another
			t.Errorf("%s: %d titles for %d pages", w.Lang, len(titles), len(pages))
		}
	}
	if text := read(t, Error{Code: "unheard_of", Problem: "unheard_of"}).text(); !strings.Contains(text, english.OtherError.Title) {
		t.Error("an unknown code has no words")
	}
}

func TestSay(t *testing.T) {
	for _, c := range []struct {
		sentence string
		pairs    []string
		want     []piece
	}{
		{"", nil, nil},
		{"plain", nil, []piece{{"plain", false}}},
		{"{a}", []string{"a", "1"}, []piece{{"1", true}}},
		{"x {a} y {b}.", []string{"b", "{a}", "a", "{b}"}, []piece{{"x ", false}, {"{b}", true}, {" y ", false}, {"{a}", true}, {".", false}}},
		{"x {a} y", nil, []piece{{"x {a} y", false}}},
		{"x {a", []string{"a", "1"}, []piece{{"x {a", false}}},
	} {
		if got := say(c.sentence, c.pairs...); !slices.Equal(got, c.want) {
			t.Errorf("say(%q) = %v", c.sentence, got)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "1 second", 0: "1 second", time.Millisecond: "1 second", time.Second: "1 second", 1001 * time.Millisecond: "2 seconds",
		90 * time.Second: "90 seconds", 91 * time.Second: "2 minutes", 10 * time.Minute: "10 minutes",
	} {
		if got := english.duration(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
	if got := chinese.duration(time.Minute); got != "60 秒" {
		t.Error(got)
	}
}

func TestMoment(t *testing.T) {
	at := time.Date(2026, 11, 3, 1, 5, 0, 0, time.FixedZone("", 3600*2))
	if got := english.moment(at); got != (moment{"2026-11-02 23:05 UTC", "2026-11-02T23:05:00Z"}) {
		t.Errorf("%v", got)
	}
	if got := chinese.moment(at).Text; got != "2026年11月2日 23:05（UTC）" {
		t.Errorf("%v", got)
	}
	if got := english.moment(time.Time{}); got != (moment{}) {
		t.Errorf("%v", got)
	}
}
