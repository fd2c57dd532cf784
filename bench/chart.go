package main

import (
	"fmt"
	"strings"
)

// Measures of the chart, in pixels.
const (
	chartWidth = 760
	labelWidth = 330
	barHeight  = 12
	rowHeight  = 40
	chartTop   = 64
)

// chart draws the CPU of each call on both sides. Its colours suit a light and
// a dark page.
func (r *results) chart() string {
	type row struct {
		label          string
		plain, gateway float64
	}
	var rows []row
	longest := 1.0
	for _, title := range titles {
		for _, p := range r.Pairs {
			if p.ID == title.id {
				rows = append(rows, row{fmt.Sprintf("%s, %d connections", title.name, p.Conns), p.Other.CPU, p.Gateway.CPU})
				longest = max(longest, p.Other.CPU, p.Gateway.CPU)
			}
		}
	}
	height := chartTop + len(rows)*rowHeight + 8
	scale := (chartWidth - labelWidth - 70) / longest
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" role="img" aria-label="CPU per call, plain Caddy and the gateway">
<style>
text { font: 12px sans-serif; fill: #24292f }
.title { font-weight: bold }
.plain { fill: #8c959f }
.gateway { fill: #1f6feb }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .plain { fill: #6e7681 } }
</style>
<text class="title" x="8" y="20">CPU per call, in microseconds (%[3]s, %[4]s, %[5]d cores)</text>
<rect class="plain" x="8" y="34" width="12" height="12"/><text x="26" y="44">plain Caddy</text>
<rect class="gateway" x="120" y="34" width="12" height="12"/><text x="138" y="44">gateway</text>
`, chartWidth, height, r.Date, r.Go, r.Cores)
	for i, row := range rows {
		y := chartTop + i*rowHeight
		fmt.Fprintf(&s, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", labelWidth-8, y+barHeight+4, row.label)
		for j, bar := range []struct {
			class string
			value float64
		}{{"plain", row.plain}, {"gateway", row.gateway}} {
			top := y + j*(barHeight+2)
			fmt.Fprintf(&s, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>", bar.class, labelWidth, top, bar.value*scale, barHeight)
			fmt.Fprintf(&s, "<text x=\"%.1f\" y=\"%d\">%.0f</text>\n", labelWidth+bar.value*scale+6, top+barHeight-2, bar.value)
		}
	}
	s.WriteString("</svg>\n")
	return s.String()
}
