package pages

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"  Claude \t\n Code ": "Claude Code",
		"a\u202eb\u2066c":     "abc",
		"a\u2028b\u00a0c":     "a b c",
		"grüße 日本語 😀":         "grüße 日本語 😀",
		"0123456789abc":       "012345678…",
		"0123456789":          "0123456789",
		"":                    "",
	} {
		limit := 10
		if strings.Contains(in, "日") || strings.Contains(in, "Claude") {
			limit = 20
		}
		if got := clean(in, limit); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, seed := range hostile {
		f.Add(seed[:min(len(seed), 300)])
	}
	f.Fuzz(func(t *testing.T, in string) {
		out := clean(in, 50)
		if utf8.RuneCountInString(out) > 50 || strings.Contains(out, "  ") || strings.TrimSpace(out) != out {
			t.Errorf("%q became %q", in, out)
		}
		for _, r := range out {
			if !unicode.IsPrint(r) {
				t.Errorf("%q has %U", out, r)
			}
		}
	})
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"https://mcp.example.com/mcp":     "https://mcp.example.com/mcp",
		"https://h/a?b=1&c":               "'https://h/a?b=1&c'",
		"it's $(x)":                       `'it'\''s $(x)'`,
		"":                                "''",
		"\u00e4":                          "'\u00e4'",
		"https://[::1]:8080/~user/mcp":    "'https://[::1]:8080/~user/mcp'",
		"https://mcp.example.com/a%20b,c": "https://mcp.example.com/a%20b,c",
	} {
		if got := shellQuote(in); got != want {
			t.Errorf("shellQuote(%q) = %s, want %s", in, got, want)
		}
	}
}
