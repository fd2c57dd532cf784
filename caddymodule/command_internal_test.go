package caddymodule

import (
	"errors"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
)

// TestTwice: a new password is typed twice, at a terminal.
func TestTwice(t *testing.T) {
	broken := errors.New("the terminal is gone")
	for _, tt := range []struct {
		name  string
		typed []string
		err   error // of the last line
		want  string
		asked int
	}{
		{"the same", []string{"correct horse", "correct horse"}, nil, "", 2},
		{"another", []string{"correct horse", "correct house"}, nil, "the two passwords differ", 2},
		{"the beginning", []string{"correct horse", "correct"}, nil, "the two passwords differ", 2},
		{"nothing the second time", []string{"correct horse", ""}, nil, "the two passwords differ", 2},
		// A bad one is not asked for again.
		{"nothing", []string{""}, nil, "there is no password", 1},
		{"too short", []string{"horse"}, nil, "the password is too short", 1},
		{"an error", []string{""}, broken, broken.Error(), 1},
		{"an error the second time", []string{"correct horse", ""}, broken, broken.Error(), 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var prompts []string
			password, err := twice("Choose a password for alice", func(prompt string) ([]byte, error) {
				prompts = append(prompts, prompt)
				if len(prompts) == len(tt.typed) {
					return []byte(tt.typed[len(prompts)-1]), tt.err
				}
				return []byte(tt.typed[len(prompts)-1]), nil
			})
			if tt.want == "" && (err != nil || string(password) != tt.typed[0]) {
				t.Errorf("%q, %v", password, err)
			}
			if tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want) || password != nil) {
				t.Errorf("got %q and %v, want an error that begins with %q", password, err, tt.want)
			}
			if want := []string{"Choose a password for alice: ", "The same once more: "}[:tt.asked]; !slices.Equal(prompts, want) {
				t.Errorf("asked %q, want %q", prompts, want)
			}
		})
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestStandardInputBreaks: a password of which the end is missing is none.
func TestStandardInputBreaks(t *testing.T) {
	half := io.MultiReader(strings.NewReader("correct hor"), brokenReader{})
	if password, err := firstLine(half); !errors.Is(err, io.ErrUnexpectedEOF) || password != nil {
		t.Errorf("%q, %v", password, err)
	}
}

// TestHashPassword: the hash has the costs that Caddy recommends and the salt
// that is kept, and is one that --password-hash takes.
func TestHashPassword(t *testing.T) {
	dir := t.TempDir()
	hash := func(keep bool, password string) string {
		t.Helper()
		salt, err := gatewaySalt(dir, keep)
		if err != nil {
			t.Fatal(err)
		}
		hash, err := hashPassword([]byte(password), salt)
		if err != nil || checkHash(hash) != nil {
			t.Fatalf("%s: %v, %v", hash, err, checkHash(hash))
		}
		if ok, err := (caddyauth.Argon2idHash{}).Compare([]byte(hash), []byte(password)); !ok || err != nil {
			t.Errorf("%s is not its hash: %v", hash, err)
		}
		return hash
	}
	printed := hash(false, "correct horse")
	if other := hash(false, "correct horse"); other == printed {
		t.Error("without a kept salt, two hashes share theirs")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("printing leaves %v behind, %v", left, err)
	}
	served := hash(true, "correct horse")
	decoy := string(caddyauth.Argon2idHash{}.FakeHash())
	if costs, _, _ := strings.Cut(decoy, "$P2nz"); !strings.HasPrefix(served, costs+"$") || len(served) != len(decoy) {
		t.Errorf("%s has other costs than %s", served, decoy)
	}
	for _, keep := range []bool{true, false} {
		if again := hash(keep, "correct horse"); again != served {
			t.Errorf("the same password, again: %s and %s", served, again)
		}
		if other := hash(keep, "correct house"); other == served {
			t.Error("another password has the same hash")
		}
	}
}

// TestGatewaySalt: a salt that is no salt is replaced, one that can't be read is
// an error, and nobody else can read it.
func TestGatewaySalt(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mcp_auth", "mcp-gateway.salt")
	first, err := gatewaySalt(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.WriteFile(path, first[:5], 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := gatewaySalt(dir, true)
	if err != nil || len(second) != saltSize || slices.Equal(first, second) {
		t.Errorf("after damage: %x, %v", second, err)
	}
	if third, err := gatewaySalt(dir, true); err != nil || !slices.Equal(second, third) {
		t.Errorf("%x becomes %x, %v", second, third, err)
	}
	for _, keep := range []bool{true, false} {
		if salt, err := gatewaySalt(path, keep); err == nil || salt != nil {
			t.Errorf("a file as the directory: %x", salt)
		}
	}
}

// TestSystemUser: the system's name for a person becomes a user name.
func TestSystemUser(t *testing.T) {
	for name, want := range map[string]string{
		"alice": "alice", "Alice.Example": "Alice.Example", `EXAMPLE\alice`: "alice", "alice@example.com": "alice@example.com",
		"al ice": "alice", "-alice": "alice", "_www": "www", "żółw": "w", "李": "me", "": "me", "...": "me",
		"a{$B}\n": "aB", strings.Repeat("a", 70): strings.Repeat("a", 64),
	} {
		got := systemUser(func() (*user.User, error) { return &user.User{Username: name}, nil })
		if got != want || checkUser(got) != nil {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
	if got := systemUser(func() (*user.User, error) { return nil, user.UnknownUserIdError(10001) }); got != "me" {
		t.Errorf("nobody becomes %q", got)
	}
}

// TestGatewayListens: what is listened on follows from --from, and is what is
// looked at beforehand.
func TestGatewayListens(t *testing.T) {
	for _, tt := range []struct {
		from, issuer string
		want         []string
	}{
		{"http://localhost:8080", "http://localhost:8080", []string{"127.0.0.1:8080"}},
		{"localhost:8081", "http://localhost:8081", []string{"127.0.0.1:8081"}},
		{"LOCALHOST:8081/", "http://localhost:8081", []string{"127.0.0.1:8081"}},
		{"localhost", "http://localhost", []string{"127.0.0.1:80"}},
		{"127.0.0.1:8081", "http://127.0.0.1:8081", []string{"127.0.0.1:8081"}},
		{"[::1]:8081", "http://[::1]:8081", []string{"[::1]:8081"}},
		{"MCP.example.com", "https://mcp.example.com", []string{":443", ":80"}},
		{"https://mcp.example.com/", "https://mcp.example.com", []string{":443", ":80"}},
		{"mcp.example.com:443", "https://mcp.example.com", []string{":443", ":80"}},
		{"mcp.example.com:8443", "https://mcp.example.com:8443", []string{":8443", ":80"}},
	} {
		g, err := (&gatewayFlags{to: ":9000", from: tt.from, path: "/", user: "alice"}).gateway()
		if err != nil || g.Issuer != tt.issuer || g.Resource() != tt.issuer || !slices.Equal(g.listens(), tt.want) {
			t.Errorf("--from %s: %+v, listens %q, %v", tt.from, g, g.listens(), err)
		}
	}
}

// TestGatewayUpstream: every way to write --to, what reverse_proxy gets, and
// what is dialled beforehand.
func TestGatewayUpstream(t *testing.T) {
	for _, tt := range []struct{ to, upstream, dial string }{
		{"localhost:9000", "localhost:9000", "localhost:9000"},
		{":9000", "localhost:9000", "localhost:9000"},
		{"localhost:80", "localhost:80", "localhost:80"},
		{"http://localhost", "localhost:80", "localhost:80"},
		{"http://localhost:9000/", "localhost:9000", "localhost:9000"},
		{"127.0.0.1:9000", "127.0.0.1:9000", "127.0.0.1:9000"},
		{"[::1]:9000", "[::1]:9000", "[::1]:9000"},
		{"mcp_server:9000", "mcp_server:9000", "mcp_server:9000"},
		{"https://Backend.example.com", "https://backend.example.com", "backend.example.com:443"},
		{"https://backend.example.com:8443", "https://backend.example.com:8443", "backend.example.com:8443"},
	} {
		upstream, dial, err := parseTo(tt.to)
		if err != nil || upstream != tt.upstream || dial != tt.dial {
			t.Errorf("--to %s: %q, %q, %v", tt.to, upstream, dial, err)
		}
	}
}

// TestListenError: what to do about a port that can't be had depends on who has
// it, and on which side the gateway is.
func TestListenError(t *testing.T) {
	local, public := gateway{Issuer: "http://localhost:8080"}, gateway{Issuer: "https://mcp.example.com"}
	failed := func(errno syscall.Errno) error {
		return &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", errno)}
	}
	for _, tt := range []struct {
		g    gateway
		err  error
		want string
	}{
		{local, failed(syscall.EADDRINUSE), "is in use by another program: choose a free port for the gateway, as in --from http://localhost:8081"},
		{public, failed(syscall.EADDRINUSE), "is in use by another program: stop that one; if it is a Caddy, add what --print writes to its Caddyfile"},
		{public, failed(syscall.EACCES), "may not be listened on by this user"},
		{local, failed(syscall.EADDRNOTAVAIL), "cannot assign requested address"},
	} {
		if got := tt.g.listenError(tt.g.listens()[0], tt.err).Error(); !strings.Contains(got, tt.want) || strings.Contains(got, "\n") {
			t.Errorf("got %q, want %q in it", got, tt.want)
		}
	}
}

// TestStartError: what Caddy wraps around an error is dropped, the error stays,
// in one line.
func TestStartError(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"loading new config: loading mcp_auth app module: provision mcp_auth: the issuer is wrong", "the issuer is wrong"},
		{"loading new config: http app module: start: listening on :443: no", "listening on :443: no"},
		{"one\ntwo", "one; two"},
		{"provision mcp_auth.stores.embedded: embedded: x is in use by another process: stop", "another gateway uses the data directory "},
		{"Caddyfile:30: module not registered: mcp_auth.logins.password", "this Caddy lacks a part of the gateway: build it with github.com/caddy-mcp/"},
	} {
		if got := startError(errors.New(tt.in)).Error(); !strings.HasPrefix(got, tt.want) || strings.Contains(got, "\n") {
			t.Errorf("%q becomes %q, want %q", tt.in, got, tt.want)
		}
	}
}

// TestCheckDataDir leaves nothing behind, and says which directory can't be
// used.
func TestCheckDataDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "caddy")
	if err := checkDataDir(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkDataDir(filepath.Join(file, "caddy")); err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "XDG_DATA_HOME") {
		t.Error(err)
	}
}

// TestGatewayWelcome: what is printed names the addresses that were asked for.
func TestGatewayWelcome(t *testing.T) {
	for _, tt := range []struct {
		from, path string
		want, not  []string
	}{
		{
			"http://localhost:8081", "/mcp",
			[]string{
				"The gateway runs at http://localhost:8081, in front of localhost:9000.\n", "sign in as alice ", "\n  http://localhost:8081/mcp\n",
				"\n  claude mcp add --transport http my-server http://localhost:8081/mcp\n", "\n  http://localhost:8081/oauth/account\n", "Ctrl+C stops.",
			},
			[]string{"8080", "certificate"},
		},
		{
			"mcp.example.com:8443", "/tools/",
			[]string{
				"The gateway runs at https://mcp.example.com:8443,", "certificate by itself: mcp.example.com must point at this machine", "ports 80 and 443 be open",
				" my-server https://mcp.example.com:8443/tools/\n", "\n  https://mcp.example.com:8443/oauth/account\n",
			},
			[]string{"localhost:8080"},
		},
	} {
		g, err := (&gatewayFlags{to: ":9000", from: tt.from, path: tt.path, user: "alice", hash: ""}).gateway()
		if err != nil {
			t.Fatal(err)
		}
		text := g.welcome()
		for _, want := range tt.want {
			if !strings.Contains(text, want) {
				t.Errorf("the welcome has no %q:\n%s", want, text)
			}
		}
		for _, not := range append(tt.not, "%!", "argon2id") {
			if strings.Contains(text, not) {
				t.Errorf("the welcome has %q:\n%s", not, text)
			}
		}
	}
}
