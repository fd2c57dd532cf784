package pages

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// piece is a part of a sentence: words of the catalogue, or what was put in.
type piece struct {
	Text string
	// Put says that the text was put into the sentence; it then gets an
	// element of its own, so that it can't change how the rest reads.
	Put bool
}

// say puts values into a sentence of the catalogue at its {verbs}. The pairs
// are verbs and values. Values are never looked at for verbs themselves. It is
// the templates' function: every piece is escaped there.
func say(sentence string, pairs ...string) []piece {
	var all []piece
	for sentence != "" {
		before, rest, ok := strings.Cut(sentence, "{")
		verb, after, closed := strings.Cut(rest, "}")
		value, known := valueOf(verb, pairs)
		if !ok || !closed || !known {
			return append(all, piece{Text: sentence})
		}
		if before != "" {
			all = append(all, piece{Text: before})
		}
		all, sentence = append(all, piece{Text: value, Put: true}), after
	}
	return all
}

func valueOf(verb string, pairs []string) (string, bool) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == verb {
			return pairs[i+1], true
		}
	}
	return "", false
}

// fill is say for a sentence without markup, such as a problem's.
func fill(sentence string, pairs ...string) string {
	var b strings.Builder
	for _, p := range say(sentence, pairs...) {
		b.WriteString(p.Text)
	}
	return b.String()
}

// counted is a sentence about a number, {n} in it, for languages that have two
// forms; those with one say it twice.
type counted struct{ One, Other string }

func (c counted) of(n int) string {
	if n == 1 {
		return c.One
	}
	return strings.ReplaceAll(c.Other, "{n}", strconv.Itoa(n))
}

// duration says in words how long to wait, rounded up.
func (t *words) duration(d time.Duration) string {
	if d <= 90*time.Second {
		return t.Seconds.of(max(1, int(math.Ceil(d.Seconds()))))
	}
	return t.Minutes.of(int(math.Ceil(d.Minutes())))
}

// moment is a time as a page shows it, and as a program reads it.
type moment struct{ Text, Machine string }

// moment returns nothing for the zero time.
func (t *words) moment(at time.Time) moment {
	if at.IsZero() {
		return moment{}
	}
	return moment{at.UTC().Format(t.Time), at.UTC().Format(time.RFC3339)}
}
