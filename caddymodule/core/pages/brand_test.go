package pages

import (
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestBrand(t *testing.T) {
	site := testSite(t, func(c *SiteConfig) {
		c.Brand = Brand{Name: `Acme & "Söhne"`, LogoURL: "/static/logo.svg?v=1", Color: "#A00", DarkColor: "#FFB0B0"}
	})
	for name, page := range samples(plainValues) {
		a := show(t, site, page, "")
		if head := textOf(a.all("header")[0]); !strings.HasPrefix(head, `Acme & "Söhne" https://mcp.example.com`) || strings.Contains(head, english.Frame.Server) {
			t.Errorf("%s: the header says %q", name, head)
		}
		if src := a.attributes("src"); !slices.Equal(src, []string{"/static/logo.svg?v=1"}) {
			t.Errorf("%s: pictures %v", name, src)
		}
		style := a.all("style")[0].FirstChild.Data
		if !strings.Contains(style, "--accent:#aa0000;--on:#ffffff") || !strings.Contains(style, "--accent:#ffb0b0;--on:#000000") {
			t.Errorf("%s: style %.200s", name, style)
		}
	}
	if a := read(t, SignedOut{}); len(a.all("img")) > 0 || !strings.Contains(textOf(a.all("header")[0]), english.Frame.Server) {
		t.Error("without a brand the page has one")
	}
}

// TestBrandErrors holds that each says which option is wrong, and what would be
// right.
func TestBrandErrors(t *testing.T) {
	for want, brand := range map[string]Brand{
		`brand name "Acme"`:                              {Name: "Acme\u202e"},
		"brand name":                                     {Name: strings.Repeat("x", 61)},
		`brand logo "https://cdn.example/l.svg"`:         {LogoURL: "https://cdn.example/l.svg"},
		`brand logo "//cdn.example/l.svg"`:               {LogoURL: "//cdn.example/l.svg"},
		`brand logo "logo.svg"`:                          {LogoURL: "logo.svg"},
		`brand logo "data:image/svg+xml,x"`:              {LogoURL: "data:image/svg+xml,x"},
		`brand color "red" is not a colour`:              {Color: "red"},
		`brand color "#12345" is not a colour`:           {Color: "#12345"},
		`brand color "#fff}" is not a colour`:            {Color: "#fff}"},
		`brand color "#123\n" is not a colour`:           {Color: "#123\n"},
		`brand color "#fc0" has a contrast of only 1.`:   {Color: "#fc0"},
		`choose a darker colour`:                         {Color: "#767676"}, // 4.54 on white, less on ours
		`brand dark_color "#00f" has a contrast of only`: {DarkColor: "#00f"},
		`choose a lighter colour`:                        {Color: "#a00", DarkColor: "#a00"},
		`brand dark_color "url(x)" is not a colour`:      {DarkColor: "url(x)"},
	} {
		_, err := NewSite(SiteConfig{Issuer: testIssuer, Home: testHome, Brand: brand})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", brand, err, want)
		}
	}
}

// TestEveryBrandIsReadable: whatever colour is accepted, links and buttons can
// be read in both schemes.
func TestEveryBrandIsReadable(t *testing.T) {
	accepted := 0
	for r := 0; r < 16; r += 3 {
		for g := 0; g < 16; g += 3 {
			for b := 0; b < 16; b += 3 {
				const digits = "0123456789abcdef"
				colours, err := Brand{Color: "#" + digits[r:r+1] + digits[g:g+1] + digits[b:b+1]}.check()
				if err != nil {
					continue
				}
				accepted++
				for i, m := range regexp.MustCompile(`--accent:(#\w{6});--on:(#\w{6})`).FindAllStringSubmatch(colours, -1) {
					backs := [][]string{lightScheme.backs, darkScheme.backs}[i]
					if contrast(m[1], m[2]) < minContrast || contrast(m[1], backs[0]) < minContrast || contrast(m[1], backs[1]) < minContrast {
						t.Errorf("%v is not readable", m)
					}
				}
			}
		}
	}
	if accepted < 50 {
		t.Errorf("only %d colours were accepted", accepted)
	}
}

// TestContrast has the examples that everybody knows.
func TestContrast(t *testing.T) {
	for pair, want := range map[[2]string]float64{{"#000000", "#ffffff"}: 21, {"#ffffff", "#ffffff"}: 1, {"#767676", "#ffffff"}: 4.54} {
		if got := contrast(pair[0], pair[1]); math.Abs(got-want) > 0.01 {
			t.Errorf("%v: %f", pair, got)
		}
	}
}

// TestStyle holds that the style sheets load nothing and know both schemes, and
// that every pair of colours is readable: 4.5 to 1 for text (WCAG 2.2 §1.4.3),
// 3 to 1 for the edges of what can be used (§1.4.11).
func TestStyle(t *testing.T) {
	for _, style := range []string{baseStyle, flowStyle, docsStyle} {
		for _, never := range []string{"url(", "@import", "@font-face", "expression", "outline: none", "outline: 0"} {
			if strings.Contains(style, never) {
				t.Errorf("a style sheet has %s", never)
			}
		}
	}
	colours, err := Brand{}.check()
	if err != nil {
		t.Fatal(err)
	}
	accents := regexp.MustCompile(`--accent:.*`).FindAllString(colours, -1)
	schemes := regexp.MustCompile(`--back: .*`).FindAllString(baseStyle, -1)
	if len(schemes) != 2 || len(accents) != 2 {
		t.Fatalf("%d colour schemes, %d accents", len(schemes), len(accents))
	}
	for i, known := range []scheme{lightScheme, darkScheme} {
		colour := map[string]string{}
		for _, m := range regexp.MustCompile(`--(\w+): ?#(\w+)[;}]`).FindAllStringSubmatch(schemes[i]+strings.ReplaceAll(accents[i], "}", ";"), -1) {
			if len(m[2]) == 3 {
				m[2] = strings.Join([]string{m[2][:1], m[2][:1], m[2][1:2], m[2][1:2], m[2][2:], m[2][2:]}, "")
			}
			colour[m[1]] = "#" + m[2]
		}
		if !slices.Equal(known.backs, []string{colour["back"], colour["card"]}) {
			t.Errorf("brands are checked against other backgrounds than the pages': %v", known.backs)
		}
		for least, pairs := range map[float64]string{
			4.5: "text/back text/card text/field text/alarm soft/back soft/card accent/back accent/card on/accent back/text warn/back warn/card",
			3:   "edge/back edge/field edge/card warn/alarm accent/field",
		} {
			for pair := range strings.FieldsSeq(pairs) {
				a, b, _ := strings.Cut(pair, "/")
				if colour[a] == "" || colour[b] == "" {
					t.Fatalf("no colour %s in %v", pair, colour)
				}
				if c := contrast(colour[a], colour[b]); c < least {
					t.Errorf("%s: contrast %.2f in %s", pair, c, schemes[i])
				}
			}
		}
	}
}

// TestIcon: without a logo the pages bring an icon along, in the brand's
// colour. Without one, browsers ask the host for /favicon.ico, which is a call
// without a token to the MCP server.
func TestIcon(t *testing.T) {
	for brand, want := range map[Brand]string{
		{}:                                       "fill='#0b5394'",
		{Color: "#7a1f3d"}:                       "fill='#7a1f3d'",
		{Color: "#736", DarkColor: "#fff"}:       "fill='#773366'",
		{Color: "#7a1f3d", LogoURL: "/logo.svg"}: "/logo.svg",
	} {
		a := show(t, testSite(t, func(c *SiteConfig) { c.Brand = brand }), SignedOut{}, "en")
		icon, _ := attr(a.all("link")[0], "href")
		plain, err := url.PathUnescape(icon)
		if err != nil || !strings.Contains(plain, want) || brand.LogoURL == "" && !strings.HasPrefix(plain, "data:image/svg+xml,<svg ") {
			t.Errorf("%+v: the icon is %q, %v", brand, plain, err)
		}
	}
}
