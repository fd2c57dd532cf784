package standard_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	modulePath = "github.com/caddy-mcp/caddy-mcp-auth"
	checkout   = "../.."
)

// mainGo is the program that xcaddy writes.
const mainGo = `package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "` + modulePath + `/caddymodule/standard"
)

func main() { caddycmd.Main() }
`

// TestXcaddy does what xcaddy does: a module of its own imports Caddy and this
// package, with the checkout in place of the published module.
func TestXcaddy(t *testing.T) {
	if testing.Short() {
		t.Skip("links a whole Caddy")
	}
	root, err := filepath.Abs(checkout)
	if err != nil {
		t.Fatal(err)
	}
	// Our own go.mod under another name pins the versions that we test with, and
	// our go.sum has all of them: nothing is downloaded.
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		write(t, filepath.Join(dir, name), read(t, filepath.Join(root, name)))
	}
	write(t, filepath.Join(dir, "main.go"), mainGo)
	run(t, dir, "go", "mod", "edit", "-module=caddy", "-require="+modulePath+"@v0.0.0", "-replace="+modulePath+"="+root)

	binary := filepath.Join(dir, "caddy-with-mcp-auth")
	run(t, dir, "go", "build", "-mod=mod", "-buildvcs=false", "-o", binary, ".")

	modules := strings.Fields(run(t, dir, binary, "list-modules"))
	for _, id := range []string{
		"mcp_auth",
		"http.handlers.mcp_auth",
		"http.handlers.mcp_auth_server",
		"mcp_auth.stores.embedded",
		"mcp_auth.stores.memory",
		"mcp_auth.stores.redis",
		"mcp_auth.logins.auto", "mcp_auth.logins.github", "mcp_auth.logins.header", "mcp_auth.logins.oidc", "mcp_auth.logins.password",
	} {
		if !slices.Contains(modules, id) {
			t.Errorf("list-modules lacks %s", id)
		}
	}
}

// TestXcaddyDockerfile keeps the image's build file in step with go.mod, and
// with what an image of a security product owes its users.
func TestXcaddyDockerfile(t *testing.T) {
	stages := dockerStages(read(t, filepath.Join(checkout, "xcaddy.Dockerfile")))
	if len(stages) != 3 { // before the first FROM, builder, final
		t.Fatalf("%d parts, want the head and two stages", len(stages))
	}
	head, builder, final := stages[0], stages[1], stages[2]

	module := run(t, checkout, "go", "list", "-m")
	caddy := run(t, checkout, "go", "list", "-m", "-f", "{{.Version}}", "github.com/caddyserver/caddy/v2")
	language := run(t, checkout, "go", "list", "-m", "-f", "{{.GoVersion}}")
	if module != modulePath {
		t.Errorf("the module is called %s; this test says %s", module, modulePath)
	}

	for _, tt := range []struct {
		name  string
		stage []string
		want  string
	}{
		{"the Go release of go.mod", head, "ARG GO_VERSION=" + minor(language)},
		{"Caddy's version of go.mod", builder, "ARG CADDY_VERSION=" + caddy},
		{"our packages", builder, "--with " + module + "/caddymodule/standard"},
		{"our checkout", builder, "--replace " + module + "=."},
		{"no module proxy for us", builder, "GOPRIVATE=" + module},
		{"no clone of us", builder, "GOVCS=" + module + ":off,public:git"},
		{"certificates on a volume", final, "XDG_DATA_HOME=/data"},
		{"the volume", final, `VOLUME ["/data"`},
		{"its owner", final, "install -d -o caddy -g caddy -m 0700 /data"},
		{"a health check", final, "HEALTHCHECK "},
		{"the way to ask for health", final, "/oauth/health"},
	} {
		if !slices.ContainsFunc(tt.stage, func(line string) bool { return strings.Contains(line, tt.want) }) {
			t.Errorf("%s: no line with %q", tt.name, tt.want)
		}
	}

	user := ""
	for _, line := range final {
		if name, ok := strings.CutPrefix(line, "USER "); ok {
			user = name
		}
	}
	// A name could be root's; Kubernetes takes a number only.
	if user == "" || strings.HasPrefix(user, "0") || strings.Trim(user, "0123456789:") != "" {
		t.Errorf("the image runs as USER %q, want the number of a user who is not root", user)
	}
}

// dockerStages splits a Dockerfile at each FROM into instructions on one line
// each, without comments.
func dockerStages(text string) [][]string {
	stages := [][]string{nil}
	instruction := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		part, more := strings.CutSuffix(line, `\`)
		instruction += strings.TrimSpace(part) + " "
		if more {
			continue
		}
		if strings.HasPrefix(instruction, "FROM ") {
			stages = append(stages, nil)
		}
		last := len(stages) - 1
		stages[last] = append(stages[last], strings.TrimSpace(instruction))
		instruction = ""
	}
	return stages
}

// minor shortens a Go version to its release: 1.26.0 to 1.26.
func minor(version string) string {
	parts := strings.Split(version, ".")
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// run runs a command to its end and returns what it printed.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, complaints.String())
	}
	return strings.TrimSpace(string(out))
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
