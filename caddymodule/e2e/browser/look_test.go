package browser_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// What is held of every page, whatever it says.

// maxWeight bounds what is transferred for a page that people meet on their way,
// headers included; maxReference the reference for developers.
const (
	maxWeight    = 30 << 10
	maxReference = 48 << 10
)

// looks are the ways in which every page is looked at.
var looks = []struct {
	name          string
	width, height int64
	scheme        string
	phone         bool
	// axe says that axe-core looks too.
	axe bool
}{
	{name: "light", width: 1280, height: 800, scheme: "light", axe: true},
	{name: "dark", width: 1280, height: 800, scheme: "dark", axe: true},
	{name: "phone", width: 390, height: 844, scheme: "light", phone: true},
}

// inspect weighs the page, takes pictures of it, looks whether it fits on a
// phone, and lets axe-core look for what people with disabilities would stumble
// over.
func (b *tab) inspect(name string) {
	b.Helper()
	limit := maxWeight
	if strings.HasSuffix(name, "-reference") {
		limit = maxReference
	}
	b.weigh(limit)
	world := b.loadAxe()
	for _, l := range looks {
		call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: l.width, Height: l.height, DeviceScaleFactor: 1, Mobile: l.phone,
		})
		call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: l.scheme}},
		})
		b.picture(name + "-" + l.name)
		if l.axe {
			b.axe(world, l.name)
		}
		if l.phone {
			b.fits(l.width)
		}
	}
	// The narrowest that has to do (WCAG 2.2 §1.4.10).
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 320, Height: 640, DeviceScaleFactor: 1, Mobile: true})
	b.fits(320)
	call(b, emulation.ClearDeviceMetricsOverride, cdp.Empty{})
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{})
}

// weigh checks what was transferred since the page was asked for.
func (b *tab) weigh(limit int) {
	b.Helper()
	var weight float64
	poll(b, "the page's weight", func() (bool, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		weight = b.loaded
		return weight > 0, nil
	})
	if weight > float64(limit) {
		b.Errorf("the page weighs %v bytes, the limit is %d", weight, limit)
	}
}

// fits checks that nobody has to scroll sideways.
func (b *tab) fits(width int64) {
	b.Helper()
	got := eval[[]int64](b, `[innerWidth, document.scrollingElement.scrollWidth]`)
	if got[0] != width || got[1] > width {
		b.Errorf("on a screen %d wide, the page is %d wide and %d to scroll through", width, got[0], got[1])
	}
}

// pictures is the folder for pictures.
var pictures = sync.OnceValues(func() (string, error) {
	dir := cmp.Or(os.Getenv("SCREENSHOTS"), filepath.Join(gatewaytest.Root(), "caddymodule", "e2e", "browser", "screenshots"))
	return dir, os.MkdirAll(dir, 0o755)
})

// picture keeps a picture of the whole page.
func (b *tab) picture(name string) {
	b.Helper()
	dir, err := pictures()
	if err != nil {
		b.Fatal(err)
	}
	shot := call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: new(true)})
	if err := os.WriteFile(filepath.Join(dir, name+".png"), shot.Data, 0o644); err != nil {
		b.Fatal(err)
	}
}

// axeSource is axe-core, from npm.
var axeSource = sync.OnceValues(func() (string, error) {
	text, err := os.ReadFile(filepath.Join(gatewaytest.Root(), "caddymodule", "e2e", "node", "node_modules", "axe-core", "axe.min.js"))
	return string(text), err
})

// loadAxe puts axe-core beside the page: into a world of its own, where the
// page's policy does not hold and nothing of it can be seen from the page. It
// returns the world.
func (b *tab) loadAxe() runtime.ExecutionContextID {
	b.Helper()
	source, err := axeSource()
	if err != nil {
		if os.Getenv("REQUIRE_BACKENDS") == "1" {
			b.Fatal(err)
		}
		b.Skip("axe-core is not installed: run npm ci in caddymodule/e2e/node")
	}
	frame := call(b, page.GetFrameTree, cdp.Empty{}).FrameTree.Frame.ID
	world := call(b, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: frame, WorldName: "axe"}).ExecutionContextID
	beside[any](b, world, source+"; null")
	return world
}

// violation is what axe-core finds.
type violation struct {
	ID, Help string
	Nodes    []string
}

// axe checks the page as it looks now. What axe-core can't decide by itself
// counts too: there should be nothing of that kind.
func (b *tab) axe(world runtime.ExecutionContextID, look string) {
	b.Helper()
	found := beside[[]violation](b, world, `axe.run(document, {
		runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
		resultTypes: ["violations", "incomplete"],
	}).then(r => [...r.violations, ...r.incomplete].map(v => ({ID: v.id, Help: v.help, Nodes: v.nodes.map(n => n.html + " " + n.failureSummary)})))`)
	for _, v := range found {
		b.Errorf("axe-core, %s: %s (%s): %s", look, v.Help, v.ID, v.Nodes)
	}
}

// beside evaluates an expression in a world beside the page.
func beside[T any](b *tab, world runtime.ExecutionContextID, expression string) T {
	b.Helper()
	r := call(b, runtime.Evaluate, runtime.EvaluateParams{
		Expression: expression, ContextID: world, ReturnByValue: new(true), AwaitPromise: new(true),
	})
	if r.ExceptionDetails != nil {
		b.Fatal(fmt.Sprint(&chromedp.ExceptionError{ExceptionDetails: r.ExceptionDetails}))
	}
	var v T
	if err := json.Unmarshal(r.Result.Value, &v); err != nil {
		b.Fatal(err)
	}
	return v
}
