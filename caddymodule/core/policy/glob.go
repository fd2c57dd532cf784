package policy

import "strings"

// glob is a pattern in which * stands for any text. It is our own because the
// libraries mean something else: path.Match stops at slashes and gives [ and \ a
// meaning, as do those that are made for file names, and names of tools may hold
// all of these. With nothing but *, twenty lines do, in time linear to the text.
type glob struct {
	raw            string
	prefix, suffix string
	middle         []string
	exact          bool
}

func newGlob(pattern string) glob {
	parts := strings.Split(pattern, "*")
	g := glob{raw: pattern, prefix: parts[0], exact: len(parts) == 1}
	if g.exact {
		return g
	}
	g.suffix = parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		if part != "" {
			g.middle = append(g.middle, part)
		}
	}
	return g
}

func newGlobs(patterns []string) []glob {
	var out []glob
	for _, pattern := range patterns {
		out = append(out, newGlob(pattern))
	}
	return out
}

// match reports whether the pattern fits the whole text.
func (g *glob) match(text string) bool {
	if g.exact {
		return text == g.prefix
	}
	if len(text) < len(g.prefix)+len(g.suffix) || !strings.HasPrefix(text, g.prefix) || !strings.HasSuffix(text, g.suffix) {
		return false
	}
	text = text[len(g.prefix) : len(text)-len(g.suffix)]
	for _, part := range g.middle {
		// The leftmost place leaves the most for the parts that follow.
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return true
}

// covers reports whether the pattern fits everything that another one fits: the
// other's * are then a text that only a * of this one can stand for.
func (g *glob) covers(other string) bool { return g.match(other) }

// meets reports whether the pattern fits some text that begins with the prefix.
func (g *glob) meets(prefix string) bool {
	return strings.HasPrefix(g.prefix, prefix) || !g.exact && strings.HasPrefix(prefix, g.prefix)
}

func matchAny(globs []glob, text string) bool {
	for i := range globs {
		if globs[i].match(text) {
			return true
		}
	}
	return false
}
