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
			checkGateway(t, filepath.Dir(path), services.Services)
		})
	}
}

// checkGateway makes sure that the gateway is the only way in, and that its
// ports are those of its Caddyfile, read with the environment that it gets.
func checkGateway(t *testing.T, dir string, services map[string]service) {
	t.Helper()
	gateway, ok := services["gateway"]
	if !ok {
		t.Fatal("no service is called gateway")
	}
	for name, s := range services {
		if name != "gateway" && len(s.Ports) > 0 {
			t.Errorf("%s publishes a port: that is a way around the gateway", name)
		}
	}
	for name, value := range gateway.Environment {
		t.Setenv(name, value)
	}
	config := adapt(t, filepath.Join(dir, "Caddyfile"))
	var listens, published []string
	for _, server := range config.Apps.HTTP.Servers {
		listens = append(listens, server.Listen...)
	}
	for _, p := range gateway.Ports {
		published = append(published, ":"+p.Target)
		if config.Apps.MCPAuth.InsecureAutoApprove && p.HostIP != "127.0.0.1" {
			t.Errorf("port %s is published on %q: with insecure_auto_approve it lets everyone in", p.Published, p.HostIP)
		}
		if issuer := config.Apps.MCPAuth.Issuer; !strings.HasSuffix(issuer, ":"+p.Published) {
			t.Errorf("port %s is published, the issuer is %s", p.Published, issuer)
		}
	}
	if !slices.Equal(listens, published) {
		t.Errorf("the Caddyfile listens on %q, the compose file publishes %q", listens, published)
	}
	// The upstream is a service of the stack, on a port that it listens on.
	host, port, _ := strings.Cut(gateway.Environment["UPSTREAM"], ":")
	if !slices.Contains(services[host].Expose, port) || !slices.Contains(services[host].Command, port) {
		t.Errorf("no service of this stack listens on %s:%s", host, port)
	}
	// A variable that the Caddyfile reads has to reach the container.
	text := readFile(t, filepath.Join(dir, "Caddyfile"))
	for _, match := range regexp.MustCompile(`\{(?:\$|env\.)(\w+)`).FindAllStringSubmatch(text, -1) {
		value, ok := gateway.Environment[match[1]]
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
// somebody gets it who sets none, and checks it against the schema.
func readCompose(t *testing.T, path string) compose {
	t.Helper()
	unset := func(string) (string, bool) { return "", false }
	text, err := template.Substitute(readFile(t, path), unset)
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

// checkFiles looks for what the image is built from.
func (s service) checkFiles(t *testing.T, name, dir string) {
	t.Helper()
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
