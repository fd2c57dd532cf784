package clients_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// conformanceTimeout bounds one run of the conformance suite.
const conformanceTimeout = 2 * time.Minute

// check is one verdict of the conformance suite.
type check struct {
	ID      string `json:"id"`
	Status  string `json:"status"`
	Message string `json:"errorMessage"`
}

// verdicts are the checks by scenario.
type verdicts map[string][]check

// conform runs a command of the conformance suite and returns its verdicts.
func conform(t *testing.T, base string, args ...string) (verdicts, ran) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), conformanceTimeout)
	defer cancel()
	out := t.TempDir()
	cmd := nodeCommand(ctx, t, t.TempDir(), module("@modelcontextprotocol", "conformance", "dist", "index.js"),
		append(args, "--output-dir", out)...)
	r := run(t, cmd, base)
	return readVerdicts(t, out, r), r
}

// scenarioDir is how the suite names the folder of a scenario's verdict: with
// what was tested before it and the time behind it.
var scenarioDir = regexp.MustCompile(`^(?:authorization-server|server)-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z$`)

func readVerdicts(t *testing.T, dir string, r ran) verdicts {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "*", "checks.json"))
	if len(files) == 0 {
		t.Fatalf("the suite left no verdict and ended with %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	all := verdicts{}
	for _, file := range files {
		name := scenarioDir.FindStringSubmatch(filepath.Base(filepath.Dir(file)))
		text, err := os.ReadFile(file)
		if err != nil || name == nil {
			t.Fatalf("verdict %s: %v", file, err)
		}
		var checks []check
		if err := json.Unmarshal(text, &checks); err != nil {
			t.Fatalf("verdict %s: %v", file, err)
		}
		all[name[1]] = checks
	}
	return all
}

// suiteSecret is the secret of the suite's confidential clients.
const suiteSecret = "a secret of the conformance suite"

// TestConformanceAuthorization: the suite's two scenarios for authorization
// servers, with clients of the configuration. The code grant asks for neither
// scope nor resource, so it is run once more with a resource. Each run listens
// on a port of its own, which the registered redirect URI leaves open (RFC 8252
// §7.3).
//
// The suite is a public client wherever the metadata lists "none", and it
// prefers client_secret_post: to see it authenticate in the other ways it is
// shown metadata that lists less.
func TestConformanceAuthorization(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	for _, tt := range []struct {
		name, method string
		resource     bool
		listed       []string // what the suite is shown; nil: all
	}{
		{"public", "none", false, nil},
		{"public, with resource", "none", true, nil},
		{"client_secret_post", "client_secret_post", true, []string{"client_secret_basic", "client_secret_post"}},
		{"client_secret_basic", "client_secret_basic", false, []string{"client_secret_basic"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			client := []string{"client conformance {", "\tredirect_uri http://127.0.0.1/callback", "\tauth_method " + tt.method}
			args := []string{"--client-id", "conformance"}
			if tt.method != "none" {
				client = append(client, "\tsecret {env.SUITE_SECRET}")
				args = append(args, "--client-secret", suiteSecret)
			}
			issuer := listing(t, tt.listed, configured(t, append(client, "}")...))
			if tt.resource {
				args = append(args, "--resource", issuer+"/mcp")
			}
			port := strconv.Itoa(gatewaytest.FreePort(t))
			v, r := conform(t, issuer, append([]string{"authorization", "--url", issuer, "--port", port}, args...)...)
			if r.code != 0 || !r.opened {
				t.Errorf("the suite ended with %d, signed in: %t\n%s%s", r.code, r.opened, r.stdout, r.stderr)
			}
			for _, scenario := range []string{"authorization-server-metadata-endpoint", "authorization-code-grant"} {
				if len(v[scenario]) == 0 {
					t.Errorf("scenario %s did not run", scenario)
				}
			}
			v.strict(t)
		})
	}
}

// listing starts a gateway and returns its issuer. Unless methods is nil, a
// proxy stands before it that takes all other methods of client authentication
// out of its metadata.
func listing(t *testing.T, methods []string, caddyfile string) string {
	t.Helper()
	o := gatewaytest.Options{Caddyfile: caddyfile, Port: gatewaytest.FreePort(t), Env: []string{"SUITE_SECRET=" + suiteSecret}}
	if methods == nil {
		return gatewaytest.Start(t, o).URL
	}
	target := &url.URL{Scheme: "http", Host: fmt.Sprintf("localhost:%d", o.Port)}
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ModifyResponse: func(r *http.Response) error { return listOnly(r, methods) },
	})
	t.Cleanup(front.Close)
	issuer := strings.Replace(front.URL, "127.0.0.1", "localhost", 1)
	site := fmt.Sprintf("\nhttp://:%d {\n", o.Port)
	o.Caddyfile = strings.ReplaceAll(strings.Replace(caddyfile, "\n{URL} {\n", site, 1), "{URL}", issuer)
	gatewaytest.Start(t, o)
	return issuer
}

// listOnly takes methods of client authentication out of a metadata document.
func listOnly(r *http.Response, methods []string) error {
	if !strings.HasPrefix(r.Request.URL.Path, "/.well-known/") {
		return nil
	}
	var document map[string]any
	if err := json.NewDecoder(r.Body).Decode(&document); err != nil {
		return err
	}
	_ = r.Body.Close()
	document["token_endpoint_auth_methods_supported"] = methods
	text, err := json.Marshal(document)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	r.Header.Del("Content-Length")
	return err
}

// strict fails the test for every check that did not succeed, be it by a
// warning.
func (v verdicts) strict(t *testing.T) {
	t.Helper()
	for scenario, checks := range v {
		for _, c := range checks {
			if c.Status != "SUCCESS" {
				t.Errorf("%s %s/%s: %s", c.Status, scenario, c.ID, c.Message)
			}
		}
	}
}
