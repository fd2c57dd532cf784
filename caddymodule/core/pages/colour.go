package pages

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

const (
	minContrast = 4.5 // to 1, for text: WCAG 2.2 §1.4.3
	white       = "#ffffff"
	black       = "#000000"
)

// scheme is one of the two colour schemes. All colours have the form #rrggbb.
type scheme struct {
	accent string
	// backs are the backgrounds on which links stand, as in base.css.
	backs []string
	// wish is what a colour has to be that can't be read.
	wish string
}

var (
	lightScheme = scheme{accent: "#0b5394", backs: []string{"#fbfbf9", "#f1f1ec"}, wish: "darker"}
	darkScheme  = scheme{accent: "#8fc1f5", backs: []string{"#15181b", "#20242a"}, wish: "lighter"}
)

var hexColour = regexp.MustCompile(`\A#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})\z`)

// accept returns a colour in its long form if links in it can be read.
func (s scheme) accept(colour string) (string, error) {
	if !hexColour.MatchString(colour) {
		return "", fmt.Errorf("%q is not a colour: write # and six hexadecimal digits, such as #0b5394, or three", colour)
	}
	long := strings.ToLower(colour)
	if len(long) == 4 {
		long = "#" + strings.Repeat(long[1:2], 2) + strings.Repeat(long[2:3], 2) + strings.Repeat(long[3:], 2)
	}
	if c := s.contrast(long); c < minContrast {
		// Rounded down, so that no ratio reads as if it were enough.
		return "", fmt.Errorf("%q has a contrast of only %.2f to 1 on the page's background, and links need %.1f to 1: choose a %s colour",
			colour, math.Floor(c*100)/100, minContrast, s.wish)
	}
	return long, nil
}

// lighten mixes a colour with white until links in it can be read.
func (s scheme) lighten(colour string) string {
	mixed := colour
	for part := 0.05; s.contrast(mixed) < minContrast; part = min(part+0.05, 1) {
		mixed = "#"
		for i := 1; i < len(colour); i += 2 {
			v := float64(channel(colour, i))
			mixed += fmt.Sprintf("%02x", int(math.Round(v+(255-v)*part)))
		}
	}
	return mixed
}

// contrast returns the lowest of the contrasts to the backgrounds.
func (s scheme) contrast(colour string) float64 {
	lowest := math.Inf(1)
	for _, back := range s.backs {
		lowest = min(lowest, contrast(colour, back))
	}
	return lowest
}

// variables are the accent, and what can be read on it.
func (s scheme) variables() string { return "--accent:" + s.accent + ";--on:" + s.on() }

// on is what can be read on the accent.
func (s scheme) on() string {
	if contrast(black, s.accent) > contrast(white, s.accent) {
		return black
	}
	return white
}

// contrast is the contrast ratio of two colours (WCAG 2.2).
func contrast(a, b string) float64 {
	la, lb := luminance(a), luminance(b)
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

// luminance is the relative luminance of a colour (WCAG 2.2).
func luminance(colour string) float64 {
	linear := func(i int) float64 {
		c := float64(channel(colour, i)) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(1) + 0.7152*linear(3) + 0.0722*linear(5)
}

// channel reads the two digits at i.
func channel(colour string, i int) uint64 {
	v, err := strconv.ParseUint(colour[i:i+2], 16, 8)
	if err != nil {
		return 0 // the form was checked before
	}
	return v
}
