package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/spf13/cobra"
)

// exampleHash is what `caddy hash-password` prints for "antitiming".
const exampleHash = "$argon2id$v=19$m=47104,t=1,p=1$P2nzckEdTZ3bxCiBCkRTyA$xQL3Z32eo5jKl7u5tcIsnEKObYiyNZQQf5/4sAau6Pg"

// quickStart runs mcp-gateway as Caddy does, with stdin as its standard input,
// and returns what it writes to each side.
func quickStart(t *testing.T, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	return runCommand(t, "mcp-gateway", stdin, args...)
}

// runCommand is quickStart for any command.
func runCommand(t *testing.T, name, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	registered, ok := caddycmd.Commands()[name]
	if !ok {
		t.Fatalf("Caddy has no command %s", name)
	}
	cmd := &cobra.Command{Use: registered.Name, SilenceUsage: true}
	registered.CobraFunc(cmd)
	var out, complaints bytes.Buffer
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&complaints)
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), complaints.String(), err
}

// TestGatewayPrint compares what --print writes with testdata/command: the
// flags in the first line, then the Caddyfile, then the JSON it becomes.
func TestGatewayPrint(t *testing.T) {
	files, err := filepath.Glob("testdata/command/*.golden")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".golden"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			flags, _, _ := strings.Cut(string(want), "\n")
			text, complaints, err := quickStart(t, "", append(strings.Fields(flags), "--password-hash", exampleHash, "--print")...)
			if err != nil || complaints != "" {
				t.Fatalf("%v\n%s", err, complaints)
			}
			if formatted := caddyfile.Format([]byte(text)); string(formatted) != text {
				t.Errorf("caddy fmt would change it:\n%s", formatted)
			}
			got := flags + "\n" + separator + text + separator + adapt(t, text) + "\n"
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// TestGatewayFlags has a line for everything that the flags refuse, and for how
// the refusal begins. It is one line each, and never repeats what was typed: a
// password may stand in the wrong place.
func TestGatewayFlags(t *testing.T) {
	const to = "--to=localhost:9000"
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"nothing", nil, "--to is missing"},
		{"empty --to", []string{"--to="}, "--to is missing"},
		{"no port", []string{"--to=s3cretpw"}, "--to needs a port"},
		{"no port on a name with a dot", []string{"--to=s3cretpw.example.com"}, "--to needs a port"},
		{"a path in --to", []string{"--to=http://localhost:9000/s3cretpw"}, "--to takes no path: --path says"},
		{"a query in --to", []string{"--to=http://localhost:9000?s3cretpw"}, "--to takes no path"},
		{"a fragment in --to", []string{"--to=http://localhost:9000#s3cretpw"}, "--to must not have a fragment"},
		{"credentials in --to", []string{"--to=http://alice:s3cretpw@localhost:9000"}, "--to must not carry user information"},
		{"another scheme in --to", []string{"--to=ftp://s3cretpw:21"}, "--to must be an http or https URI"},
		{"port 0", []string{"--to=localhost:0"}, "--to has a port that is not 1 to 65535"},
		{"port too high", []string{"--to=localhost:65536"}, "--to has a port that is not 1 to 65535"},
		{"port with a word", []string{"--to=localhost:s3cretpw"}, "--to is not a valid absolute URI"},
		{"http on 443", []string{"--to=backend.example.com:443"}, "--to has a port that does not fit"},
		{"https on 80", []string{"--to=https://backend.example.com:80"}, "--to has a port that does not fit"},
		{"a socket", []string{"--to=unix//run/s3cretpw.sock"}, "--to "},
		{"a brace in --to", []string{"--to={env.s3cretpw}:9000"}, "--to has a character that does not belong in a URI"},
		{"a line break in --to", []string{"--to=localhost:9000\nadmin s3cretpw"}, "--to has a character that does not belong in a URI"},
		{"a blank in --to", []string{"--to=localhost:9000 s3cretpw:1"}, "--to has a character that does not belong in a URI"},

		{"empty --from", []string{to, "--from="}, "--from "},
		{"http for a public name", []string{to, "--from=http://s3cretpw.example.com"}, "--from takes http:// for localhost only, because anyone on the way could read passwords"},
		{"http for an address", []string{to, "--from=http://192.0.2.1:8080"}, "--from takes http:// for localhost only"},
		{"http for every address", []string{to, "--from=http://0.0.0.0:8080"}, "--from takes http:// for localhost only"},
		{"http for what begins with localhost", []string{to, "--from=http://localhost.s3cretpw.com"}, "--from takes http:// for localhost only"},
		{"https for localhost", []string{to, "--from=https://localhost:8443"}, "--from takes https:// for public names only"},
		{"https on 80", []string{to, "--from=mcp.example.com:80"}, "--from has port 80"},
		{"an address", []string{to, "--from=192.0.2.1"}, "--from must be a public name"},
		{"an IPv6 address", []string{to, "--from=https://[2001:db8::1]"}, "--from must be a public name"},
		{"a name without a dot", []string{to, "--from=s3cretpw"}, "--from must be a public name"},
		{"a name of the local network", []string{to, "--from=s3cretpw.local"}, "--from must be a public name"},
		{"a wildcard", []string{to, "--from=*.example.com"}, "--from has a host that is not a plain DNS name"},
		{"a path in --from", []string{to, "--from=mcp.example.com/s3cretpw"}, "--from takes no path: --path says"},
		{"credentials in --from", []string{to, "--from=https://alice:s3cretpw@mcp.example.com"}, "--from must not carry user information"},
		{"a brace in --from", []string{to, "--from=mcp.example.com{$s3cretpw}"}, "--from has a character that does not belong in a URI"},
		{"another scheme in --from", []string{to, "--from=ws://mcp.example.com"}, "--from must be an http or https URI"},

		{"a path that is none", []string{to, "--path=s3cretpw"}, "--path must be a plain path"},
		{"an empty path", []string{to, "--path="}, "--path must be a plain path"},
		{"a path with dots", []string{to, "--path=/a/../s3cretpw"}, "--path must be a plain path"},
		{"a path with a brace", []string{to, "--path=/{$s3cretpw}"}, "--path must be a plain path"},
		{"a path with a line break", []string{to, "--path=/mcp\ns3cretpw"}, "--path must be a plain path"},
		{"a path with two slashes", []string{to, "--path=//s3cretpw"}, "--path must be a plain path"},
		{"the gateway's own path", []string{to, "--path=/oauth/s3cretpw"}, "--path can't be below /oauth"},
		{"the well-known path", []string{to, "--path=/.well-known/s3cretpw"}, "--path can't be below /.well-known"},
		{"an old client's path", []string{to, "--path=/token"}, "--path can't be below /token"},

		{"an empty user", []string{to, "--user="}, "--user must be 1 to 64 letters"},
		{"a user of two words", []string{to, "--user=alice s3cretpw"}, "--user must be 1 to 64 letters"},
		{"a user with a brace", []string{to, "--user=a{$s3cretpw}"}, "--user must be 1 to 64 letters"},
		{"a user with a line break", []string{to, "--user=a\ns3cretpw"}, "--user must be 1 to 64 letters"},
		{"a long user", []string{to, "--user=" + strings.Repeat("a", 65)}, "--user must be 1 to 64 letters"},

		{"a password for a hash", []string{to, "--password-hash=s3cretpw"}, "--password-hash is not a hash"},
		{"half a hash", []string{to, "--password-hash=" + exampleHash[:60]}, "--password-hash is not a hash"},
		{"a hash and more", []string{to, "--password-hash=" + exampleHash + "\n\tuser s3cretpw x"}, "--password-hash is not a hash"},
		{"a hash with a key that is empty", []string{to, "--password-hash=$argon2id$v=19$m=47104,t=1,p=1$P2nzckEdTZ3bxCiBCkRTyA$"}, "--password-hash is not a hash"},
		{"a hash that the shell ate from", []string{to, "--password-hash=9=47104,t=1,p=1"}, "--password-hash is not a hash"},

		{"an unknown flag", []string{to, "--password=s3cretpw"}, "unknown flag: --password: caddy mcp-gateway --help"},
		{"a flag without its value", []string{"--to"}, "flag needs an argument: --to: caddy mcp-gateway --help"},
		{"an argument", []string{to, "s3cretpw"}, "mcp-gateway takes flags only"},
		{"the server as an argument", []string{"localhost:9000"}, "mcp-gateway takes flags only: the MCP server goes behind --to"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, complaints, err := quickStart(t, "correct horse\n", append([]string{"--print"}, tt.args...)...)
			if err == nil {
				t.Fatalf("it is taken:\n%s", out)
			}
			if !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want %q at its beginning", err, tt.want)
			}
			if complaints != "Error: "+err.Error()+"\n" || out != "" {
				t.Errorf("it is not one line on standard error: %q %q", complaints, out)
			}
			if strings.Contains(complaints, "s3cretpw") {
				t.Errorf("it repeats what was typed: %s", complaints)
			}
		})
	}
}

// TestGatewayPassword: the first line of standard input becomes a hash, and is
// seen nowhere.
func TestGatewayPassword(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir()) // where a salt would be
	for _, tt := range []struct{ name, stdin, password string }{
		{"a line", "correct horse\n", "correct horse"},
		{"no line break", "correct horse", "correct horse"},
		{"a line break of Windows", "correct horse\r\n", "correct horse"},
		{"more lines", "correct horse\nand another\n", "correct horse"},
		{"blanks", "  correct horse  \n", "  correct horse  "},
		{"eight characters of two bytes", "ääääääää\n", "ääääääää"},
		{"longer than bcrypt's 72 bytes", strings.Repeat("long ", 40) + "\n", strings.Repeat("long ", 40)},
		{"as long as may be", strings.Repeat("a", 4096) + "\r\n", strings.Repeat("a", 4096)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, complaints, err := quickStart(t, tt.stdin, "--to=localhost:9000", "--user=alice", "--print")
			if err != nil || complaints != "" {
				t.Fatalf("%v\n%s", err, complaints)
			}
			if strings.Contains(out, tt.password) {
				t.Error("the password is in the Caddyfile")
			}
			_, rest, _ := strings.Cut(out, "\t\t\tuser alice ")
			hash, _, _ := strings.Cut(rest, "\n")
			if ok, err := (caddyauth.Argon2idHash{}).Compare([]byte(hash), []byte(tt.password)); !ok || err != nil {
				t.Errorf("%q is not its hash: %v", hash, err)
			}
		})
	}
}

// TestGatewayBadPassword: what could not be typed on the sign-in page, or is too
// easy to guess, is refused in one line that does not show it.
func TestGatewayBadPassword(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir()) // where a salt would be
	for _, tt := range []struct{ name, stdin, want string }{
		{"nothing", "", "there is no password"},
		{"an empty line", "\n", "there is no password"},
		{"an empty line of Windows", "\r\nmore\n", "there is no password"},
		{"seven characters", "s3cretp\n", "the password is too short"},
		{"seven characters of two bytes", "äääääää\n", "the password is too short"},
		{"too long", strings.Repeat("s3cretp", 600) + "\n", "the password is too long"},
		{"too long by one", strings.Repeat("a", 4097) + "\n", "the password is too long"},
		{"not UTF-8", "s3cretp\xff\xff\n", "the password has characters that nobody can type"},
		{"a tab", "s3cretp\tpassword\n", "the password has characters that nobody can type"},
		{"NUL", "s3cretp\x00password\n", "the password has characters that nobody can type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, complaints, err := quickStart(t, tt.stdin, "--to=localhost:9000", "--print")
			if err == nil {
				t.Fatalf("it is taken:\n%s", out)
			}
			if !strings.HasPrefix(err.Error(), tt.want) || strings.Count(complaints, "\n") != 1 || out != "" {
				t.Errorf("got %q and %q, want one line that begins with %q", complaints, out, tt.want)
			}
			if strings.Contains(complaints, "s3cretp") {
				t.Errorf("it shows the password: %s", complaints)
			}
		})
	}
}

// FuzzGatewayFlags: whatever the flags let through stands in the Caddyfile as
// one value. It adapts, it is formatted, and it says nothing that the command
// would not say: no other option, user or site.
func FuzzGatewayFlags(f *testing.F) {
	f.Add("localhost:9000", "mcp.example.com", "/mcp", "alice")
	f.Add(":9000", "localhost", "/", "a")
	f.Add("[::1]:9000", "[::1]:8081", "/a/b.c/~d_-/", "alice@example.com")
	f.Add("https://backend.example.com", "https://mcp.example.com:8443/", "/{$HOME}", "{env.HOME}")
	f.Add("a:1 b:2", "localhost:1\n}", "/mcp }\n", "a b\n}")
	f.Add("#", "http://localhost:8080 #", "/#", "\"a\"")
	f.Fuzz(func(t *testing.T, to, from, path, user string) {
		text, complaints, err := quickStart(t, "", "--print", "--password-hash="+exampleHash, "--to="+to, "--from="+from, "--path="+path, "--user="+user)
		if err != nil {
			if strings.Count(complaints, "\n") != 1 || text != "" {
				t.Errorf("not one line: %q %q", complaints, text)
			}
			return
		}
		if formatted := caddyfile.Format([]byte(text)); string(formatted) != text {
			t.Errorf("caddy fmt would change it:\n%s", text)
		}
		var config struct {
			Admin struct {
				Disabled bool
				Config   any
			}
			Logging any
			Apps    struct {
				HTTP struct{ Servers map[string]any }
				Auth struct {
					Issuer string
					Logins []struct {
						Module string
						Users  []struct{ User, Hash string }
					}
				} `json:"mcp_auth"`
			}
		}
		decoder := json.NewDecoder(strings.NewReader(adapt(t, text)))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&config); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		auth, servers := config.Apps.Auth, 2 // https and http
		if strings.HasPrefix(auth.Issuer, "http://") {
			servers = 1
		}
		if !config.Admin.Disabled || len(config.Apps.HTTP.Servers) != servers || len(auth.Logins) != 1 || auth.Logins[0].Module != "password" {
			t.Errorf("it says something else:\n%s", text)
		} else if users := auth.Logins[0].Users; len(users) != 1 || users[0].User != user || users[0].Hash != exampleHash {
			t.Errorf("it lets in %q", users)
		}
	})
}
