package caddymodule_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// modulePath is the module whose walls these are.
const modulePath = "github.com/caddy-mcp/caddy-mcp-auth"

// Third-party code that some rooms must never reach. An entry stands for itself
// and everything below it.
var (
	caddyAndZap = []string{"github.com/caddyserver", "go.uber.org/zap"}
	bbolt       = []string{"go.etcd.io/bbolt"}
	pgx         = []string{"github.com/jackc/pgx"}
	redis       = []string{"github.com/redis/go-redis"}
	drivers     = slices.Concat(bbolt, pgx, redis)
	outside     = slices.Concat(caddyAndZap, drivers)
	guests      = []string{modulePath + "/caddymodule/stores", modulePath + "/caddymodule/logins"}
	storetest   = []string{modulePath + "/caddymodule/core/store/storetest"}
	fetchtest   = []string{modulePath + "/caddymodule/core/fetch/fetchtest"}
)

// room is a package, or a tree of them, and what it may import.
type room struct {
	// path names the packages, relative to the module: "*" stands for one path
	// element, "/..." at the end for the package and everything below it.
	path string
	// may lists, in the same way, which of our packages it imports. Packages of
	// one room may always import each other.
	may []string
	// never lists code that must not be among its direct imports.
	never []string
	// without lists code that it must not depend on, however long the way.
	without []string
	// only, unless nil, lists all third-party code that it may depend on.
	only []string
	// later marks a room that need not exist yet.
	later bool
	// tests marks a room of tests, which import what they like.
	tests bool
}

// rooms is the plan of the house; the first line that covers a package counts.
// A package that none covers fails the test: a new room comes with its walls.
var rooms = []room{
	// The core has never heard of Caddy, zap or a database driver.
	{path: "caddymodule/core/oauth/...", only: []string{}},
	{path: "caddymodule/core/seal/...", only: []string{"golang.org/x"}},
	{path: "caddymodule/core/clients/...", only: []string{}, may: []string{"caddymodule/core/oauth"}},
	{path: "caddymodule/core/passhash/...", only: []string{"golang.org/x"}},
	{path: "caddymodule/core/fetch", only: []string{"golang.org/x", "code.dny.dev/ssrf", "github.com/maypok86/otter", "github.com/pquerna/cachecontrol"}},
	{path: "caddymodule/core/fetch/fetchtest", without: outside, may: []string{"caddymodule/core/fetch"}},
	{path: "caddymodule/core/jose/...", without: slices.Concat(outside, fetchtest), may: []string{"caddymodule/core/fetch"}},
	{path: "caddymodule/core/mcp/...", without: outside},
	{path: "caddymodule/core/policy/...", without: outside, may: []string{"caddymodule/core/oauth", "caddymodule/core/mcp"}},
	{path: "caddymodule/core/pages/...", without: outside, may: []string{"caddymodule/core/oauth"}},
	{path: "caddymodule/core/store", without: outside, may: []string{"caddymodule/core/oauth"}},
	{path: "caddymodule/core/store/storetest", without: outside, may: []string{"caddymodule/core/store"}},
	{path: "caddymodule/core/login/...", without: outside, may: []string{"caddymodule/core/oauth"}},
	{
		path: "caddymodule/core/keys/...", without: outside,
		may: []string{"caddymodule/core/oauth", "caddymodule/core/seal", "caddymodule/core/store"},
	},
	{
		path: "caddymodule/core/atrest/...", without: slices.Concat(outside, storetest),
		may: []string{"caddymodule/core/seal", "caddymodule/core/keys", "caddymodule/core/store"},
	},
	{
		// Keys are handed to it as a function.
		path: "caddymodule/core/resource/...", without: outside,
		may: []string{"caddymodule/core/oauth", "caddymodule/core/mcp", "caddymodule/core/jose"},
	},
	{
		path: "caddymodule/core/trust/...", without: slices.Concat(outside, fetchtest),
		may: []string{"caddymodule/core/oauth", "caddymodule/core/fetch", "caddymodule/core/jose", "caddymodule/core/resource"},
	},
	{
		// All of core but resource: who issues tokens does not check them.
		path: "caddymodule/core/authserver/...", without: outside,
		may: []string{
			"caddymodule/core/oauth", "caddymodule/core/seal", "caddymodule/core/keys",
			"caddymodule/core/store", "caddymodule/core/login", "caddymodule/core/mcp",
			"caddymodule/core/fetch", "caddymodule/core/jose", "caddymodule/core/pages", "caddymodule/core/clients",
			"caddymodule/core/passhash",
		},
	},
	// Guests know Caddy, their own core package and their driver; not the glue,
	// and not each other.
	{path: "caddymodule/stores/embedded/...", may: []string{"caddymodule/core/store"}, never: slices.Concat(pgx, redis)},
	{path: "caddymodule/stores/memory/...", may: []string{"caddymodule/core/store"}, never: drivers},
	{path: "caddymodule/stores/postgres/...", may: []string{"caddymodule/core/store"}, never: slices.Concat(bbolt, redis)},
	{path: "caddymodule/stores/redis/...", may: []string{"caddymodule/core/store"}, never: slices.Concat(bbolt, pgx)},
	{path: "caddymodule/stores/*/...", may: []string{"caddymodule/core/store"}},
	{path: "caddymodule/logins/auto/...", may: []string{"caddymodule/core/login"}, never: drivers},
	{path: "caddymodule/logins/password/...", may: []string{"caddymodule/core/login", "caddymodule/core/passhash"}, never: drivers},
	{path: "caddymodule/logins/*/...", may: []string{"caddymodule/core/login"}, never: drivers},
	// The glue knows the core; guests come to it through Caddy's registry.
	{path: "caddymodule", may: []string{"caddymodule/core/..."}, never: drivers, without: slices.Concat(guests, storetest, fetchtest)},
	{
		path: "caddymodule/standard", without: slices.Concat(storetest, fetchtest),
		may: []string{"caddymodule", "caddymodule/core/...", "caddymodule/stores/...", "caddymodule/logins/..."},
	},
	{path: "caddymodule/cmd/caddy", may: []string{"caddymodule", "caddymodule/standard", "mockmcp"}, without: storetest},
	// The example server stands for one that does not know this product.
	{path: "mockmcp", without: outside},
	{path: "mockmcp/cmd/mockmcp", may: []string{"mockmcp"}, without: outside},
	// It measures from outside.
	{path: "bench/..."},
	// Tests of the whole.
	{path: "caddymodule/e2e/...", tests: true, later: true},
	{path: "examples/...", tests: true, later: true},
}

// listed is what `go list -json` tells of a package.
type listed struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
}

// TestWalls holds the rule of who may import whom (the depguard rules of
// .golangci.yml show direct imports in the editor; this follows them through).
func TestWalls(t *testing.T) {
	for _, breach := range breaches(rooms, goList(t)) {
		t.Error(breach)
	}
}

// goList describes all packages of the module and everything they depend on.
func goList(t *testing.T) map[string]listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Standard,Imports,Deps", "./...")
	cmd.Dir = ".."
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, complaints.String())
	}
	packages := map[string]listed{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages[p.ImportPath] = p
	}
}

// breaches says, sorted, where packages do not fit the plan.
func breaches(plan []room, packages map[string]listed) []string {
	found := map[int]bool{}
	var out []string
	for importPath, p := range packages {
		name, ours := strings.CutPrefix(importPath, modulePath+"/")
		if !ours {
			continue
		}
		i := lineOf(plan, name)
		if i < 0 {
			out = append(out, name+" is not in the plan; a new room needs a line in rooms and a depguard rule")
			continue
		}
		found[i] = true
		if !plan[i].tests {
			out = append(out, plan[i].breaches(name, p, packages)...)
		}
	}
	for i, r := range plan {
		if !found[i] && !r.later && !strings.Contains(r.path, "*") {
			out = append(out, r.path+" has no package; if it moved, its walls move with it")
		}
	}
	slices.Sort(out)
	return out
}

// lineOf finds the line of the plan that covers a package, or -1.
func lineOf(plan []room, name string) int {
	return slices.IndexFunc(plan, func(r room) bool {
		_, ok := match(r.path, name)
		return ok
	})
}

// breaches says what one package of this room imports against the plan.
func (r room) breaches(name string, p listed, packages map[string]listed) []string {
	home, _ := match(r.path, name)
	var out []string
	for _, imp := range p.Imports {
		other, ours := strings.CutPrefix(imp, modulePath+"/")
		allowed := !within(imp, r.never)
		if ours {
			there, _ := match(r.path, other)
			allowed = there == home || slices.ContainsFunc(r.may, func(pattern string) bool {
				_, ok := match(pattern, other)
				return ok
			})
		}
		if !allowed {
			out = append(out, name+" may not import "+strings.TrimPrefix(imp, modulePath+"/"))
		}
	}
	for _, dep := range p.Deps {
		stranger := r.only != nil && !packages[dep].Standard && !within(dep, []string{modulePath}) && !within(dep, r.only)
		if stranger || within(dep, r.without) {
			out = append(out, name+" may not depend on "+dep)
		}
	}
	return out
}

// match reports whether a pattern covers a package, and the part of the name
// that the pattern spells out: the same for all packages of one room.
func match(pattern, name string) (string, bool) {
	root, tree := strings.CutSuffix(pattern, "/...")
	elements := strings.Split(name, "/")
	depth := strings.Count(root, "/") + 1
	if len(elements) < depth || (len(elements) > depth && !tree) {
		return "", false
	}
	home := path.Join(elements[:depth]...)
	ok, err := path.Match(root, home)
	return home, ok && err == nil
}

// within reports whether an import path is one of the entries or below one.
func within(importPath string, entries []string) bool {
	return slices.ContainsFunc(entries, func(entry string) bool {
		return importPath == entry || strings.HasPrefix(importPath, entry+"/")
	})
}

// TestWallsHold makes sure that the check sees what it is there to see.
func TestWallsHold(t *testing.T) {
	const (
		core   = modulePath + "/caddymodule/core/"
		stores = modulePath + "/caddymodule/stores/"
		zap    = "go.uber.org/zap"
	)
	plan := []room{
		{path: "caddymodule/core/oauth/...", only: []string{"golang.org/x"}},
		{path: "caddymodule/core/store", may: []string{"caddymodule/core/oauth"}, without: []string{zap}},
		{path: "caddymodule/stores/redis/...", later: true},
		{path: "caddymodule/stores/*/...", may: []string{"caddymodule/core/store"}, never: []string{"go.etcd.io/bbolt"}},
		{path: "examples/...", tests: true, later: true},
	}
	house := map[string]listed{
		"fmt":          {Standard: true},
		core + "oauth": {Imports: []string{"fmt"}, Deps: []string{"fmt", "golang.org/x/text/cases"}},
		core + "store": {Imports: []string{core + "oauth"}, Deps: []string{"fmt", core + "oauth"}},
		stores + "own": {Imports: []string{core + "store", stores + "own/wire"}, Deps: []string{zap}},
		// Below a guest is the guest.
		stores + "own/wire":      {},
		modulePath + "/examples": {Imports: []string{core + "oauth", zap}},
	}
	if got := breaches(plan, house); len(got) > 0 {
		t.Fatalf("the house as planned: %q", got)
	}

	for _, tt := range []struct {
		name string
		path string
		is   *listed // nil: the package is gone
		want string
	}{
		{"a room is gone", core + "store", nil, "caddymodule/core/store has no package"},
		{"an unplanned room", core + "extra", &listed{}, "caddymodule/core/extra is not in the plan"},
		{"below a room without a tree", core + "store/x", &listed{}, "caddymodule/core/store/x is not in the plan"},
		{"upwards", core + "oauth", &listed{Imports: []string{core + "store"}}, "oauth may not import caddymodule/core/store"},
		{"a stranger", core + "oauth", &listed{Deps: []string{"fmt", zap}}, "oauth may not depend on " + zap},
		{"a long way", core + "store", &listed{Deps: []string{"a.example/b", zap + "/zapcore"}}, "store may not depend on " + zap},
		{"another's driver", stores + "own", &listed{Imports: []string{"go.etcd.io/bbolt"}}, "own may not import go.etcd.io/bbolt"},
		{"a neighbour", stores + "redis", &listed{Imports: []string{stores + "own"}}, "redis may not import caddymodule/stores/own"},
		{"a neighbour by pattern", stores + "new", &listed{Imports: []string{stores + "own"}}, "new may not import caddymodule/stores/own"},
		{"tests as a library", core + "store", &listed{Imports: []string{modulePath + "/examples"}}, "store may not import examples"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spoiled := maps.Clone(house)
			delete(spoiled, tt.path)
			if tt.is != nil {
				spoiled[tt.path] = *tt.is
			}
			if got := breaches(plan, spoiled); len(got) != 1 || !strings.Contains(got[0], tt.want) {
				t.Errorf("got %q, want one with %q", got, tt.want)
			}
		})
	}
}
