package readme_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/logins/auto"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/stores/embedded"
)

// optionTables are the README's sections with options, and a Caddyfile for each
// with an option that does not exist.
var optionTables = []struct{ heading, wrong string }{
	{"Global option `mcp_auth`", "{\n\tmcp_auth {\n\t\tzzz\n\t}\n}\n"},
	{"`registration`", "{\n\tmcp_auth {\n\t\tregistration {\n\t\t\tzzz\n\t\t}\n\t}\n}\n"},
	{"`client`", "{\n\tmcp_auth {\n\t\tclient x {\n\t\t\tzzz\n\t\t}\n\t}\n}\n"},
	{"`login auto`", "{\n\tmcp_auth {\n\t\tlogin auto {\n\t\t\tzzz\n\t\t}\n\t}\n}\n"},
	{"`store embedded`", "{\n\tmcp_auth {\n\t\tstore embedded {\n\t\t\tzzz\n\t\t}\n\t}\n}\n"},
	{"Directive `mcp_auth`", "{\n\tmcp_auth {\n\t\tissuer http://localhost\n\t}\n}\n:80 {\n\tmcp_auth {\n\t\tzzz\n\t}\n}\n"},
}

var knownOptions = regexp.MustCompile(`\(known: ([\w, ]+)\)|it knows (\w+)`)

// TestOptions compares the tables of options with what the parser says it
// knows.
func TestOptions(t *testing.T) {
	for _, table := range optionTables {
		t.Run(table.heading, func(t *testing.T) {
			heading := strings.ReplaceAll(table.heading, "`", "")
			known := knownBy(t, table.wrong)
			var documented []string
			for _, row := range rows(t, table.heading) {
				name := strings.Fields(code(row[0])[0])[0]
				if name == "client" && heading == "client" {
					continue // the line that opens the block
				}
				documented = append(documented, name)
			}
			slices.Sort(documented)
			if documented = slices.Compact(documented); !slices.Equal(documented, known) {
				t.Errorf("the README has %q, the parser knows %q", documented, known)
			}
		})
	}
	claims := knownBy(t, "{\n\tmcp_auth {\n\t\tissuer http://localhost\n\t}\n}\n:80 {\n\tmcp_auth {\n\t\tidentity_header zzz X\n\t}\n}\n")
	for _, claim := range claims {
		if !strings.Contains(section(t, "What the server behind it learns"), "`identity_headers."+claim+"`") {
			t.Errorf("the identity header %s is not in the README", claim)
		}
	}
}

// knownBy returns the options that the error for a wrong one lists, sorted.
func knownBy(t *testing.T, wrong string) []string {
	t.Helper()
	_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(wrong), map[string]any{"filename": "Caddyfile"})
	if err == nil {
		t.Fatalf("no error for\n%s", wrong)
	}
	m := knownOptions.FindStringSubmatch(err.Error())
	if m == nil {
		t.Fatalf("the error lists no known options: %v", err)
	}
	known := strings.Split(m[1]+m[2], ", ")
	slices.Sort(known)
	return known
}

// TestJSONNames compares the JSON names in the tables with the fields of the
// configuration structs, in both directions.
func TestJSONNames(t *testing.T) {
	var fields []string
	for prefix, v := range map[string]any{
		"": caddymodule.App{}, "login.": auto.Login{}, "store.": embedded.Module{}, "-": caddymodule.Handler{},
	} {
		fields = append(fields, jsonFields(strings.TrimPrefix(prefix, "-"), reflect.TypeOf(v))...)
	}
	var documented []string
	headings := []string{"What the server behind it learns"}
	for _, table := range optionTables {
		headings = append(headings, table.heading)
	}
	for _, heading := range headings {
		for _, row := range rows(t, heading) {
			documented = append(documented, code(row[1])...)
		}
	}
	for _, name := range fields {
		if !slices.Contains(documented, name) {
			t.Errorf("the JSON field %s is not in the README", name)
		}
	}
	for _, name := range documented {
		inner := strings.TrimSuffix(name, "[]") + "."
		if !slices.Contains(fields, name) && !slices.ContainsFunc(fields, func(f string) bool {
			return strings.HasPrefix(strings.ReplaceAll(f, "[]", ""), inner)
		}) {
			t.Errorf("the README has a JSON field %s, the configuration has none", name)
		}
	}
}

// jsonFields lists the JSON names of a struct's fields, those of inner structs
// with the outer name and a dot before.
func jsonFields(prefix string, typ reflect.Type) []string {
	var names []string
	for f := range typ.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		switch {
		case f.Type.Kind() == reflect.Struct:
			names = append(names, jsonFields(prefix+name+".", f.Type)...)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			names = append(names, jsonFields(prefix+name+"[].", f.Type.Elem())...)
		default:
			names = append(names, prefix+name)
		}
	}
	return names
}

// TestDefaults compares the defaults that stand in core with the README.
func TestDefaults(t *testing.T) {
	defaults := map[string]string{}
	for _, row := range slices.Concat(rows(t, "Global option `mcp_auth`"), rows(t, "Directive `mcp_auth`"), rows(t, "`registration`")) {
		defaults[code(row[1])[0]] = row[2] + row[3]
	}
	for name, want := range map[string]time.Duration{
		"lifetimes.access_token":     authserver.DefaultAccessTokenLifetime,
		"lifetimes.code":             authserver.DefaultCodeLifetime,
		"lifetimes.refresh_grace":    authserver.DefaultRefreshGrace,
		"lifetimes.refresh_idle":     authserver.DefaultRefreshIdle,
		"lifetimes.refresh_absolute": authserver.DefaultRefreshAbsolute,
	} {
		if got, err := caddy.ParseDuration(code(defaults[name])[0]); err != nil || got != want {
			t.Errorf("default of %s: README %q, code %s", name, defaults[name], want)
		}
	}
	if got := code(defaults["scopes"])[0]; got != authserver.DefaultScopes.String() {
		t.Errorf("default scopes: README %q, code %q", got, authserver.DefaultScopes)
	}
	schemes := code(defaults["registration.redirect_schemes"])
	if schemes = slices.DeleteFunc(schemes, func(s string) bool { return s == "none" }); !slices.Equal(schemes, oauth.DefaultRedirectSchemes) {
		t.Errorf("default redirect schemes: README %q, code %q", schemes, oauth.DefaultRedirectSchemes)
	}
	for _, name := range reflect.ValueOf(resource.DefaultIdentityHeaders).Fields() {
		if !strings.Contains(section(t, "What the server behind it learns"), "| `"+name.String()+"` |") {
			t.Errorf("the README has no header %s", name)
		}
	}
}

// TestEndpoints compares the table of endpoints with a gateway that has all of
// them.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{})
	var documented []string
	for _, row := range rows(t, "Endpoints") {
		for _, path := range code(row[0]) {
			documented = append(documented, path)
			if r := gatewaytest.Send(t, http.MethodGet, g.URL+path, ""); r.Status == http.StatusNotFound || r.Status == http.StatusUnauthorized {
				t.Errorf("GET %s: %d", path, r.Status)
			}
		}
	}
	var api struct {
		Paths map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal([]byte(gatewaytest.Send(t, http.MethodGet, g.URL+"/oauth/openapi.json", "").Body), &api); err != nil {
		t.Fatal(err)
	}
	if len(api.Paths) == 0 {
		t.Error("the OpenAPI document has no paths")
	}
	for path := range api.Paths {
		if strings.HasPrefix(path, "/.well-known/") { // also behind each endpoint's path
			path = strings.TrimSuffix(strings.TrimSuffix(path, "/mcp"), "/sse")
		}
		if !slices.Contains(documented, path) {
			t.Errorf("the endpoint %s is not in the README", path)
		}
	}
}

var links = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks follows the links inside the repository.
func TestLinks(t *testing.T) {
	files := []string{"README.md"}
	examples, err := filepath.Glob(filepath.Join(gatewaytest.Root(), "examples", "*", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range examples {
		files = append(files, "examples/"+filepath.Base(filepath.Dir(path))+"/README.md")
	}
	for _, file := range files {
		text := readFile(t, file)
		for _, m := range links.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			switch {
			case strings.HasPrefix(target, "https://"):
			case target == "":
				if !hasAnchor(t, text, anchor) {
					t.Errorf("%s: no heading for #%s", file, anchor)
				}
			default:
				if _, err := os.Stat(filepath.Join(gatewaytest.Root(), filepath.Dir(file), target)); err != nil {
					t.Errorf("%s: %v", file, err)
				}
			}
		}
	}
}

// hasAnchor reports whether a heading gets this anchor on GitHub.
func hasAnchor(t *testing.T, text, anchor string) bool {
	t.Helper()
	_, prose := parse(t, text)
	for heading := range prose {
		made := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(heading), "")
		if strings.ReplaceAll(made, " ", "-") == anchor {
			return true
		}
	}
	return false
}
