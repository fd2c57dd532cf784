package readme_test

import (
	"encoding"
	"encoding/json"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/stores/embedded"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/stores/postgres"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/stores/redis"
)

// table is a table of options.
type table struct {
	document, heading string
	// opens is the option that opens the block, if it has a row too.
	opens string
	// wrong is a Caddyfile with an option that does not exist.
	wrong string
}

const (
	signInFile   = "docs/signing-in.md"
	tokensFile   = "docs/tokens.md"
	identityFile = "docs/identity.md"
	policyFile   = "docs/policy.md"
	pgFile       = "docs/store-postgres.md"
	redisFile    = "docs/store-redis.md"
)

// inApp is a Caddyfile with options of the global option.
func inApp(options string) string { return "{\n\tmcp_auth {\n" + options + "\n\t}\n}\n" }

// inSite is one with options of the directive.
func inSite(options string) string {
	return inApp("issuer http://localhost") + ":80 {\n\tmcp_auth {\n" + options + "\n\t}\n}\n"
}

// readmeTables are the README's tables of options.
var readmeTables = []table{
	{readmeFile, "Global option `mcp_auth`", "", inApp("zzz")},
	{readmeFile, "`allow` and `deny`", "", inApp("allow zzz x")},
	{readmeFile, "`brand`", "", inApp("brand {\nzzz\n}")},
	{readmeFile, "`registration`", "", inApp("registration {\nzzz\n}")},
	{readmeFile, "`client_metadata`", "", inApp("client_metadata {\nzzz\n}")},
	{readmeFile, "`client`", "client", inApp("client x {\nzzz\n}")},
	{readmeFile, "`store embedded`", "", inApp("store embedded {\nzzz\n}")},
	{readmeFile, "Directive `mcp_auth`", "", inSite("zzz")},
	{identityFile, "`assertion`", "assertion", inSite("assertion {\nzzz\n}")},
	{tokensFile, "`trust`", "trust", inSite("trust https://a.example {\nzzz\n}")},
	{tokensFile, "`introspection`", "introspection", inSite("trust https://a.example {\nintrospection {\nzzz\n}\n}")},
}

// loginTables are the tables of options of each login.
var loginTables = map[string][]table{
	"auto":   {{signInFile, "`login auto`", "", inApp("login auto {\nzzz\n}")}},
	"github": {{signInFile, "`login github`", "", inApp("login github {\nzzz\n}")}},
	"header": {
		{signInFile, "`login header`", "", inApp("login header {\nzzz\n}")},
		{signInFile, "`jwt`", "jwt", inApp("login header {\njwt {\nzzz\n}\n}")},
	},
	"oidc": {{signInFile, "`login oidc`", "login", inApp("login oidc https://a.example {\nzzz\n}")}},
	"password": {
		{signInFile, "`login password`", "", inApp("login password {\nzzz\n}")},
		{signInFile, "`user`", "user", inApp("login password {\nuser x y {\nzzz\n}\n}")},
	},
}

// stores are the stores that have pages of their own, and storeTables the tables
// of options in them.
var (
	stores      = map[string]any{"postgres": postgres.Module{}, "redis": redis.Module{}}
	storeTables = map[string][]table{
		"postgres": {{pgFile, "`store postgres`", "", inApp("store postgres {\nzzz\n}")}},
		"redis":    {{redisFile, "Options of `store redis`", "store", inApp("store redis a:1 {\nzzz\n}")}},
	}
)

var knownOptions = regexp.MustCompile(`\(known: ([\w, ]+)\)|it knows (\w+)`)

// TestOptions compares the tables of options with what the parsers say they
// know.
func TestOptions(t *testing.T) {
	all := slices.Clone(readmeTables)
	for _, tables := range []map[string][]table{loginTables, storeTables} {
		for _, more := range tables {
			all = append(all, more...)
		}
	}
	for _, table := range all {
		t.Run(table.document+" "+table.heading, func(t *testing.T) {
			known := knownBy(t, table.wrong)
			var documented []string
			for _, row := range rows(t, table.document, table.heading) {
				if name := strings.Fields(code(row[0])[0])[0]; name != table.opens {
					documented = append(documented, name)
				}
			}
			slices.Sort(documented)
			if documented = slices.Compact(documented); !slices.Equal(documented, known) {
				t.Errorf("documented are %q, the parser knows %q", documented, known)
			}
		})
	}
	for _, claim := range knownBy(t, inSite("identity_header zzz X")) {
		if !strings.Contains(section(t, readmeFile, "What the server behind it learns"), "`identity_headers."+claim+"`") {
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
	t.Run(readmeFile, func(t *testing.T) {
		fields := slices.Concat(
			jsonFields("", reflect.TypeFor[caddymodule.App]()), jsonFields("store.", reflect.TypeFor[embedded.Module]()),
			jsonFields("", reflect.TypeFor[caddymodule.Handler]()),
		)
		compareJSON(t, fields, append(readmeTables,
			table{document: readmeFile, heading: "What the server behind it learns"}, table{document: policyFile, heading: "Rules in JSON"}))
	})
	for name, login := range logins {
		t.Run("login "+name, func(t *testing.T) {
			compareJSON(t, jsonFields("", reflect.TypeOf(login)), loginTables[name])
		})
	}
	for name, store := range stores {
		t.Run("store "+name, func(t *testing.T) {
			compareJSON(t, jsonFields("store.", reflect.TypeOf(store)), storeTables[name])
		})
	}
}

func compareJSON(t *testing.T, fields []string, tables []table) {
	t.Helper()
	var documented []string
	for _, table := range tables {
		for _, row := range rows(t, table.document, table.heading) {
			documented = append(documented, code(row[1])...)
		}
	}
	for _, name := range fields {
		if !slices.Contains(documented, name) {
			t.Errorf("the JSON field %s is not documented", name)
		}
	}
	for _, name := range documented {
		inner := strings.TrimSuffix(name, "[]") + "."
		if !slices.Contains(fields, name) && !slices.ContainsFunc(fields, func(f string) bool {
			return strings.HasPrefix(strings.ReplaceAll(f, "[]", ""), inner)
		}) {
			t.Errorf("a JSON field %s is documented, the configuration has none", name)
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
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case inner.Kind() == reflect.Slice && reflect.PointerTo(inner.Elem()).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
			names = append(names, prefix+name)
		case inner.Kind() == reflect.Struct:
			names = append(names, jsonFields(prefix+name+".", inner)...)
		case inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct:
			names = append(names, jsonFields(prefix+name+"[].", inner.Elem())...)
		default:
			names = append(names, prefix+name)
		}
	}
	return names
}

// TestDefaults compares the defaults that stand in core with the README.
func TestDefaults(t *testing.T) {
	defaults := map[string]string{}
	for _, row := range slices.Concat(
		rows(t, readmeFile, "Global option `mcp_auth`"), rows(t, readmeFile, "Directive `mcp_auth`"), rows(t, readmeFile, "`registration`"),
	) {
		defaults[code(row[1])[0]] = row[2] + row[3]
	}
	for name, want := range map[string]time.Duration{
		"lifetimes.access_token":     authserver.DefaultAccessTokenLifetime,
		"lifetimes.code":             authserver.DefaultCodeLifetime,
		"lifetimes.refresh_grace":    authserver.DefaultRefreshGrace,
		"lifetimes.refresh_idle":     authserver.DefaultRefreshIdle,
		"lifetimes.refresh_absolute": authserver.DefaultRefreshAbsolute,
		"lifetimes.personal_token":   authserver.DefaultPersonalToken,
		"sessions.idle":              authserver.DefaultSessionIdle,
		"sessions.lifetime":          authserver.DefaultSessionAbsolute,
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
		if name.Kind() != reflect.String {
			continue
		}
		if !strings.Contains(section(t, readmeFile, "What the server behind it learns"), "| `"+name.String()+"` |") {
			t.Errorf("the README has no header %s", name)
		}
	}
}

// TestFlags compares the table of flags with those of mcp-gateway.
func TestFlags(t *testing.T) {
	command, ok := caddycmd.Commands()["mcp-gateway"]
	if !ok {
		t.Fatal("Caddy has no command mcp-gateway")
	}
	cmd := new(cobra.Command)
	command.CobraFunc(cmd)
	var documented []string
	for _, row := range rows(t, readmeFile, "Quick start") {
		name := strings.TrimPrefix(code(row[0])[0], "--")
		documented = append(documented, name)
		flag := cmd.Flag(name)
		if flag == nil {
			t.Errorf("mcp-gateway has no flag --%s", name)
			continue
		}
		if defaults := code(row[1]); len(defaults) == 1 && defaults[0] != flag.DefValue {
			t.Errorf("the default of --%s is %q, the README says %q", name, flag.DefValue, defaults[0])
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^ +--([\w-]+)`).FindAllStringSubmatch(cmd.Flags().FlagUsages(), -1) {
		if !slices.Contains(documented, m[1]) {
			t.Errorf("the flag --%s is not in the README", m[1])
		}
	}
}

// TestTokenFlags compares the table of flags with those of mcp-token.
func TestTokenFlags(t *testing.T) {
	cmd := new(cobra.Command)
	caddycmd.Commands()["mcp-token"].CobraFunc(cmd)
	flags, usage := map[string][]string{}, regexp.MustCompile(`(?m)^ +(?:-\w, )?--([\w-]+)`)
	for _, sub := range cmd.Commands() {
		for _, m := range usage.FindAllStringSubmatch(sub.LocalFlags().FlagUsages(), -1) {
			flags[m[1]] = append(flags[m[1]], sub.Name())
		}
	}
	for _, m := range usage.FindAllStringSubmatch(cmd.PersistentFlags().FlagUsages(), -1) {
		flags[m[1]] = []string{"all"}
	}
	for _, row := range rows(t, tokensFile, "Personal access tokens") {
		name := strings.TrimPrefix(code(row[0])[0], "--")
		of := strings.Split(strings.ReplaceAll(row[1], "`", ""), ", ")
		if !slices.Equal(of, flags[name]) {
			t.Errorf("--%s is documented for %q, and is there for %q", name, of, flags[name])
		}
		delete(flags, name)
	}
	if len(flags) > 0 {
		t.Errorf("flags without documentation: %v", flags)
	}
}

// TestStoreFlags compares the table of flags with those of mcp-store copy.
func TestStoreFlags(t *testing.T) {
	cmd := new(cobra.Command)
	caddycmd.Commands()["mcp-store"].CobraFunc(cmd)
	var flags, documented []string
	for _, m := range regexp.MustCompile(`(?m)^ +(?:-\w, )?--([\w-]+)`).FindAllStringSubmatch(cmd.Commands()[0].LocalFlags().FlagUsages(), -1) {
		flags = append(flags, m[1])
	}
	for _, row := range rows(t, "docs/stores.md", "Moving to another store") {
		documented = append(documented, strings.TrimPrefix(code(row[0])[0], "--"))
	}
	slices.Sort(flags)
	slices.Sort(documented)
	if !slices.Equal(flags, documented) {
		t.Errorf("documented are %q, there are %q", documented, flags)
	}
}

// everyEndpoint is a gateway that has all endpoints.
const everyEndpoint = `{
	admin {ADMIN}
	default_bind 127.0.0.1
	mcp_auth {
		issuer {URL}
		store memory
		development
		login password {
			user alice ` + someHash + `
		}
		login github {
			client_id x
			client_secret y
			organizations acme
		}
		brand {
			logo {DIR}/logo.svg
		}
		client asks {
			secret x
			introspect
		}
	}
}
{URL} {
	mcp_auth {
		resource {URL}/mcp {URL}/sse
	}
	reverse_proxy {UPSTREAM}
}
`

// TestEndpoints compares the table of endpoints with a gateway that has all of
// them.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "logo.svg"), `<svg xmlns="http://www.w3.org/2000/svg"/>`)
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: everyEndpoint, Dir: dir})
	var documented []string
	for _, row := range rows(t, readmeFile, "Endpoints") {
		for _, path := range code(row[0]) {
			path = strings.Replace(path, "<login>", "github", 1)
			documented = append(documented, path)
			mayAsk := path == "/oauth/register/client" // for the token of the registration
			if r := gatewaytest.Send(t, http.MethodGet, g.URL+path, ""); r.Status == http.StatusNotFound || r.Status == http.StatusUnauthorized && !mayAsk {
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
	files := append(documents(t), "SECURITY.md", "CONTRIBUTING.md")
	examples, err := filepath.Glob(filepath.Join(gatewaytest.Root(), "examples", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range examples {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			files = append(files, "examples/"+filepath.Base(path)+"/README.md")
		}
	}
	for _, file := range files {
		for _, m := range links.FindAllStringSubmatch(readFile(t, file), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.HasPrefix(target, "https://") {
				continue
			}
			linked := file
			if target != "" {
				linked = path.Join(path.Dir(file), target)
			}
			if _, err := os.Stat(filepath.Join(gatewaytest.Root(), filepath.FromSlash(linked))); err != nil {
				t.Errorf("%s: %v", file, err)
			} else if anchor != "" && !hasAnchor(t, linked, anchor) {
				t.Errorf("%s: %s has no heading for #%s", file, linked, anchor)
			}
		}
	}
	// Nobody finds an example to which nothing leads.
	for _, file := range files {
		if strings.HasPrefix(file, "examples/") && !strings.Contains(readFile(t, readmeFile), "]("+file+")") {
			t.Errorf("the README does not lead to %s", file)
		}
	}
}

// hasAnchor reports whether a heading of a document gets this anchor on GitHub.
func hasAnchor(t *testing.T, document, anchor string) bool {
	t.Helper()
	_, prose := parse(t, document)
	for heading := range prose {
		made := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(heading), "")
		if strings.ReplaceAll(made, " ", "-") == anchor {
			return true
		}
	}
	return false
}
