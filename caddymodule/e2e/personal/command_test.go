package personal_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// command runs caddy mcp-token, and returns what it writes to each side and
// whether it was content.
func command(tb testing.TB, args ...string) (stdout, stderr string, ok bool) {
	tb.Helper()
	binary, err := gatewaytest.Binary()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(tb.Context(), binary, append([]string{"mcp-token"}, args...)...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	cmd.Env = append(os.Environ(), "HOME="+tb.TempDir())
	err = cmd.Run()
	return out.String(), complaints.String(), err == nil
}

// TestCommand takes a token from create by list to revoke.
func TestCommand(t *testing.T) {
	h := open(t, "")
	at := []string{"--address", h.Admin}
	created := append([]string{"create", "--user", "bob", "--name", "Nightly report", "--resource", h.URL + "/mcp", "--scope", "mcp:tools:read", "--expires", "12h"}, at...)
	out, says, ok := command(t, created...)
	token := strings.TrimSuffix(out, "\n")
	if !ok || tokenText.FindString(token) != token || strings.Contains(says, token) || !strings.Contains(says, "only this once") {
		t.Fatalf("%t %q %q", ok, out, says)
	}
	r := call(t, h.URL, token)
	if wantStatus(t, r, http.StatusOK); !strings.Contains(r.Body, `"X-Mcp-User":["bob"]`) || !strings.Contains(r.Body, `"X-Mcp-Scope":["mcp:tools:read"]`) {
		t.Errorf("the server gets %s", r.Body)
	}
	wantRefused(t, call(t, h.payroll, token))

	out, says, ok = command(t, "list", "--user", "bob", "--json", "--config", filepath.Join(h.Dir, "Caddyfile"), "--adapter", "caddyfile")
	var listed []struct{ ID, Name, User, Login, Resource, Scope string }
	if err := json.Unmarshal([]byte(out), &listed); !ok || err != nil || len(listed) != 1 {
		t.Fatalf("%t %v %q %q", ok, err, out, says)
	}
	if k := listed[0]; k.Name != "Nightly report" || k.User != "bob" || k.Login != "password" || k.Resource != h.URL+"/mcp" || strings.Contains(out, token[12:]) {
		t.Errorf("listed is %s", out)
	}
	if out, _, ok = command(t, append([]string{"list", "--user", "bob"}, at...)...); !ok || !strings.Contains(out, listed[0].ID) || !strings.Contains(out, "Nightly report") {
		t.Errorf("as a table: %s", out)
	}
	if out, _, ok = command(t, append([]string{"list", "--user", "alice"}, at...)...); !ok || strings.Contains(out, "Nightly") {
		t.Errorf("somebody else's: %s", out)
	}
	wantShown(t, account(t, h, "bob"), "Nightly report")

	if _, says, ok = command(t, append([]string{"revoke", listed[0].ID}, at...)...); !ok || !strings.Contains(says, "is revoked") {
		t.Errorf("revoke: %t %s", ok, says)
	}
	wantRefused(t, call(t, h.URL, token))
	t.Run("by the token itself", func(t *testing.T) {
		out, _, ok := command(t, created...)
		if _, says, revoked := command(t, append([]string{"revoke", strings.TrimSpace(out)}, at...)...); !ok || !revoked {
			t.Errorf("%t %t %s", ok, revoked, says)
		}
		wantRefused(t, call(t, h.URL, strings.TrimSpace(out)))
		if strings.Contains(h.Logs(), strings.TrimSpace(out)[8:]) {
			t.Error("the log has the token")
		}
	})
	t.Run("what does not work", func(t *testing.T) { testMistakes(t, h, listed[0].ID) })
}

// testMistakes: every mistake is said in words that help, and nothing is made.
func testMistakes(t *testing.T, h *house, revoked string) {
	order := func(says string, change ...string) {
		t.Helper()
		o := map[string]any{"user": "alice", "name": "x", "resource": h.URL + "/mcp", "expires_in": 60}
		for i := 0; i+1 < len(change); i += 2 {
			o[change[i]] = change[i+1]
		}
		body, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		r := gatewaytest.PostJSON(t, "http://"+h.Admin+"/mcp_auth/personal_tokens", string(body))
		if r.Status != http.StatusBadRequest || !strings.Contains(r.Body, says) || strings.Contains(r.Body, "mcp_pat_") {
			t.Errorf("%q: %d %s", change, r.Status, r.Body)
		}
	}
	order("does not let this person in", "user", "nonsense")
	order("whose token", "user", "")
	order("needs a name", "name", "")
	order("say which one", "resource", "")
	order("personal_access_tokens", "resource", h.closed+"/mcp")
	order("more than this server has", "scope", "payroll:read")
	order("rules do not allow", "user", "bob", "resource", h.payroll+"/mcp")
	order("no such login", "login", "ldap")
	for says, args := range map[string][]string{
		"365 days at most":    {"create", "--user", "alice", "--name", "x", "--resource", h.URL + "/mcp", "--expires", "366d"},
		"not a duration":      {"create", "--user", "alice", "--name", "x", "--resource", h.URL + "/mcp", "--expires", "soon"},
		"whose tokens":        {"list"},
		"no live token":       {"revoke", revoked},
		"the id of one token": {"revoke"},
		"one of create":       {},
	} {
		out, complaint, ok := command(t, append(args, "--address", h.Admin)...)
		if ok || !strings.Contains(complaint, says) || strings.Contains(out, "mcp_pat_") {
			t.Errorf("%q: %t %q %q", args, ok, complaint, out)
		}
	}
	if _, complaint, ok := command(t, "list", "--user", "alice", "--address", "localhost:1"); ok || !strings.Contains(complaint, "no answer from a Caddy at localhost:1") {
		t.Errorf("without a Caddy: %t %s", ok, complaint)
	}
	for _, method := range []string{http.MethodPut, http.MethodPatch} {
		if r := gatewaytest.Send(t, method, "http://"+h.Admin+"/mcp_auth/personal_tokens", "{}"); r.Status != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, r.Status)
		}
	}
	for body, status := range map[string]int{"": 400, "[": 400, `{"user":7}`: 400, strings.Repeat(" ", 1<<20): 400} {
		if r := gatewaytest.PostJSON(t, "http://"+h.Admin+"/mcp_auth/personal_tokens", body); r.Status != status {
			t.Errorf("%.20q: %d %s", body, r.Status, r.Body)
		}
	}
	if out, _, ok := command(t, "list", "--user", "alice", "--json", "--address", h.Admin); !ok || strings.TrimSpace(out) != "[]" {
		t.Errorf("made by mistake: %s", out)
	}
}

// TestNoneAccepted: where no server accepts tokens, the page does not speak of
// them and the command says why there are none.
func TestNoneAccepted(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{})
	p := gatewaytest.NewBrowser(t).Open(g.URL + "/oauth/account")
	if p.Status != http.StatusOK || strings.Contains(p.Text(), "token") {
		t.Errorf("the page: %d %s", p.Status, p.Text())
	}
	if _, says, ok := command(t, "create", "--user", "alice", "--name", "x", "--address", g.Admin); ok || !strings.Contains(says, "no server here accepts personal access tokens") {
		t.Errorf("the command: %t %s", ok, says)
	}
}
