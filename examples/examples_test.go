package examples_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/compose-spec/compose-go/v2/schema"
	"github.com/compose-spec/compose-go/v2/template"
	"go.yaml.in/yaml/v3"

	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/standard"
)

// TestCaddyfiles adapts every Caddyfile of the examples, and the root's. A
// warning fails too: the adapter warns of files that `caddy fmt` would change.
func TestCaddyfiles(t *testing.T) {
	for _, path := range append(find(t, "Caddyfile"), "../Caddyfile") {
		t.Run(path, func(t *testing.T) { adapt(t, path) })
	}
}

// TestComposeFiles holds every compose file against the official schema, and
// against the files that it stands beside.
func TestComposeFiles(t *testing.T) {
	for _, path := range find(t, "compose.yaml") {
		t.Run(path, func(t *testing.T) {
			services := readCompose(t, path)
			for name, s := range services.Services {
				s.checkFiles(t, name, filepath.Dir(path))
				s.checkHardening(t, name)
				s.checkVolumes(t, name, filepath.Dir(path), services.Volumes)
				for other := range s.DependsOn {
					if _, ok := services.Services[other]; !ok {
						t.Errorf("%s depends on %s, which is not there", name, other)
					}
				}
			}
			checkStack(t, filepath.Dir(path), services.Services)
		})
	}
}

// checkStack makes sure that there is one way in, and looks at every Caddyfile
// of the stack.
func checkStack(t *testing.T, dir string, services map[string]service) {
	t.Helper()
	entrance := "gateway"
	if _, ok := services["balancer"]; ok {
		entrance = "balancer"
	}
	if len(services[entrance].Ports) == 0 {
		t.Fatalf("no service is called %s and publishes a port", entrance)
	}
	for name, s := range services {
		if name != entrance && len(s.Ports) > 0 {
			t.Errorf("%s publishes a port: that is a way around the %s", name, entrance)
		}
		for _, v := range s.Volumes {
			if v.Target == "/etc/caddy/Caddyfile" {
				t.Run(name, func(t *testing.T) { checkCaddy(t, filepath.Join(dir, v.Source), s, services[entrance], services) })
			}
		}
	}
}

// checkCaddy makes sure that the ports of a Caddy in a stack are those of its
// Caddyfile, read with the environment that it gets.
func checkCaddy(t *testing.T, path string, s, entrance service, services map[string]service) {
	t.Helper()
	for name, value := range s.Environment {
		t.Setenv(name, value)
	}
	config := adapt(t, path)
	var listens, reached []string
	for _, server := range config.Apps.HTTP.Servers {
		listens = append(listens, server.Listen...)
	}
	for _, port := range s.Expose {
		reached = append(reached, ":"+port)
	}
	for _, p := range s.Ports {
		reached = append(reached, ":"+p.Target)
	}
	if !slices.Equal(listens, reached) {
		t.Errorf("the Caddyfile listens on %q, the compose file opens %q", listens, reached)
	}
	for _, p := range entrance.Ports {
		if config.Apps.MCPAuth.InsecureAutoApprove && p.HostIP != "127.0.0.1" {
			t.Errorf("port %s is published on %q: with insecure_auto_approve it lets everyone in", p.Published, p.HostIP)
		}
		if issuer := config.Apps.MCPAuth.Issuer; issuer != "" && !strings.HasSuffix(issuer, ":"+p.Published) {
			t.Errorf("port %s is published, the issuer is %s", p.Published, issuer)
		}
	}
	// What it passes requests on to is a service of the stack, on a port that it
	// listens on.
	upstreams := strings.Fields(s.Environment["UPSTREAM"] + " " + s.Environment["GATEWAYS"])
	for _, upstream := range upstreams {
		host, port, _ := strings.Cut(upstream, ":")
		other := services[host]
		if !slices.Contains(other.Expose, port) || len(other.Command) > 0 && !slices.Contains(other.Command, port) {
			t.Errorf("no service of this stack listens on %s", upstream)
		}
	}
	if len(upstreams) == 0 {
		t.Error("it passes requests on to nothing")
	}
	checkVariables(t, readFile(t, path), s.Environment)
}

// checkVariables makes sure that what a Caddyfile reads reaches the container.
func checkVariables(t *testing.T, text string, environment map[string]string) {
	t.Helper()
	for _, match := range regexp.MustCompile(`\{(?:\$|env\.)(\w+)`).FindAllStringSubmatch(text, -1) {
		value, ok := environment[match[1]]
		if !ok {
			t.Errorf("the Caddyfile reads $%s, which the compose file does not set", match[1])
		}
		// Compose eats a dollar that is not written twice.
		if strings.HasSuffix(match[1], "_HASH") && !regexp.MustCompile(`^\$2a\$14\$[./A-Za-z0-9]{53}$`).MatchString(value) {
			t.Errorf("$%s is %q in the container, which is no hash", match[1], value)
		}
	}
}

// caddyConfig is the part of an adapted configuration that these tests read.
type caddyConfig struct {
	Apps struct {
		HTTP struct {
			Servers map[string]struct {
				Listen []string `json:"listen"`
			} `json:"servers"`
		} `json:"http"`
		MCPAuth struct {
			Issuer              string `json:"issuer"`
			InsecureAutoApprove bool   `json:"insecure_auto_approve"`
		} `json:"mcp_auth"`
	} `json:"apps"`
}

// adapt turns a Caddyfile into JSON, without a warning.
func adapt(t *testing.T, path string) caddyConfig {
	t.Helper()
	adapter := caddyconfig.GetAdapter("caddyfile")
	out, warnings, err := adapter.Adapt([]byte(readFile(t, path)), map[string]any{"filename": path})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		t.Error(w)
	}
	var config caddyConfig
	if err := json.Unmarshal(out, &config); err != nil {
		t.Fatal(err)
	}
	return config
}

// compose is the part of a compose file that these tests read.
type compose struct {
	Services map[string]service
	Volumes  map[string]any
}

// service is one container of a stack, in the long form of the format.
type service struct {
	Image string
	User  string
	Build struct {
		Context    string
		Dockerfile string
	}
	Command     []string
	Environment map[string]string
	Expose      []string
	Ports       []struct {
		HostIP    string `yaml:"host_ip"`
		Published string
		Target    string
	}
	Volumes []struct {
		Type   string
		Source string
		Target string
	}
	DependsOn map[string]any `yaml:"depends_on"`
	// The schema takes any text for a duration; decoding does not.
	HealthCheck *struct {
		Interval    time.Duration
		Timeout     time.Duration
		StartPeriod time.Duration `yaml:"start_period"`
	} `yaml:"healthcheck"`
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
}

// readCompose reads a compose file with the defaults of its variables, as
// somebody gets it who sets none but the secret, which has no default, and checks
// it against the schema.
func readCompose(t *testing.T, path string) compose {
	t.Helper()
	secret := func(name string) (string, bool) { return "0123456789abcdef0123456789abcdef", name == "MCP_AUTH_SECRET" }
	text, err := template.Substitute(readFile(t, path), secret)
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(document); err != nil {
		t.Fatal(err)
	}
	var c compose
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// checkFiles looks for what the image is built from. One that others made has a
// version, and is told what the Dockerfile tells ours.
func (s service) checkFiles(t *testing.T, name, dir string) {
	t.Helper()
	if s.Image != "" {
		if !regexp.MustCompile(`^[a-z]+:[0-9]`).MatchString(s.Image) || !regexp.MustCompile(`^[1-9]`).MatchString(s.User) || s.HealthCheck == nil {
			t.Errorf("%s: image %q, user %q: it needs a version, a user other than root and a health check", name, s.Image, s.User)
		}
		return
	}
	root := filepath.Join(dir, s.Build.Context)
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Errorf("%s: the build context is not the root of the repository: %v", name, err)
	}
	dockerfile := readFile(t, filepath.Join(root, s.Build.Dockerfile))
	if !regexp.MustCompile(`(?m)^USER [1-9]`).MatchString(dockerfile) {
		t.Errorf("%s: %s names no user, so it runs as root", name, s.Build.Dockerfile)
	}
	if s.HealthCheck == nil && !strings.Contains(dockerfile, "\nHEALTHCHECK ") {
		t.Errorf("%s: neither the service nor %s has a health check", name, s.Build.Dockerfile)
	}
	for _, match := range regexp.MustCompile(`(?m)^COPY ([^-].*) \S+$`).FindAllStringSubmatch(dockerfile, -1) {
		for source := range strings.FieldsSeq(match[1]) {
			if _, err := os.Stat(filepath.Join(root, source)); err != nil {
				t.Errorf("%s: %s copies what is not there: %v", name, s.Build.Dockerfile, err)
			}
		}
	}
}

// checkHardening asks for what costs nothing.
func (s service) checkHardening(t *testing.T, name string) {
	t.Helper()
	if !s.ReadOnly {
		t.Errorf("%s can write to its own root", name)
	}
	if !slices.Contains(s.CapDrop, "ALL") {
		t.Errorf("%s keeps capabilities", name)
	}
	if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
		t.Errorf("%s can gain privileges", name)
	}
}

// checkVolumes looks for mounted files and declared volumes.
func (s service) checkVolumes(t *testing.T, name, dir string, declared map[string]any) {
	t.Helper()
	for _, v := range s.Volumes {
		switch v.Type {
		case "bind":
			if _, err := os.Stat(filepath.Join(dir, v.Source)); err != nil {
				t.Errorf("%s mounts what is not there: %v", name, err)
			}
		case "volume":
			if _, ok := declared[v.Source]; !ok {
				t.Errorf("%s uses volume %s, which is not declared", name, v.Source)
			}
		default:
			t.Errorf("%s: mount of type %q", name, v.Type)
		}
	}
}

// find lists the files of this folder and below that have a name.
func find(t *testing.T, name string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == name {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatalf("no %s in the examples", name)
	}
	return found
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
