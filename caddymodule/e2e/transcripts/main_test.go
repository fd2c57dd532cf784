package transcripts_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/clients"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// Who signs in.
const (
	user     = "alice"
	password = "correct horse battery staple"
)

// browserOrigin is where a client in a browser comes from.
const browserOrigin = "http://localhost:6274"

// caddyfile is a gateway where Alice signs in with a password.
const caddyfile = `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	mcp_auth {
		issuer {URL}
		store embedded {DIR}/state.db
		login password {
			user alice {env.HASH}
		}
	}
}
{URL} {
	mcp_auth {
		resource {URL}/mcp
		trusted_origins ` + browserOrigin + `
	}
	reverse_proxy {UPSTREAM}
}
`

// start runs a gateway with further options of the app, each a line.
func start(t *testing.T, options ...string) *gatewaytest.Gateway {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(caddyfile, "\t\tlogin", "\t\t"+strings.Join(append(options, "login"), "\n\t\t"), 1)
	return gatewaytest.Start(t, gatewaytest.Options{Caddyfile: text, Env: []string{"HASH=" + string(hash)}})
}

// TestReplay takes every client through its transcript, in every mode that it
// has. The mode of metadata documents is taken where the server offers it.
func TestReplay(t *testing.T) {
	t.Parallel()
	g := start(t)
	metadata := gatewaytest.Send(t, http.MethodGet, g.URL+"/.well-known/oauth-authorization-server", "").JSON(t)
	documents, _ := metadata["client_id_metadata_document_supported"].(bool)
	var replayed []string
	for _, tr := range transcripts(t) {
		for _, mode := range tr.modes() {
			if mode == modeDocument && !documents {
				continue
			}
			replayed = append(replayed, mode)
			t.Run(tr.Client+" "+mode, func(t *testing.T) {
				t.Parallel()
				if err := newReplay(t, g.URL, tr, mode).run(t.Context(), tr.in(mode)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	// Both ways were really gone.
	if !slices.Contains(replayed, modeDynamic) || documents && !slices.Contains(replayed, modeDocument) {
		t.Errorf("replayed in the modes %q", replayed)
	}
}

// TestDocumentTranscripts: there are clients for the mode of metadata
// documents, so that it can't go untested when the server has it.
func TestDocumentTranscripts(t *testing.T) {
	var with []string
	for _, tr := range transcripts(t) {
		if slices.Contains(tr.modes(), modeDocument) {
			with = append(with, tr.Client)
		}
	}
	slices.Sort(with)
	if want := "chatgpt claude claude-code codex opencode vscode"; strings.Join(with, " ") != want {
		t.Errorf("clients with a metadata document: %q, want %s", with, want)
	}
}

// TestReplayConfigured takes the clients with a metadata document through its
// mode where an operator has written the same client into the configuration,
// from the bundled copy: it needs no document then, fetched or bundled.
func TestReplayConfigured(t *testing.T) {
	t.Parallel()
	var with []transcript
	var options []string
	for _, tr := range transcripts(t) {
		if raw, _, ok := clients.Document(tr.Document); ok {
			with = append(with, tr)
			options = append(options, configured(t, raw))
		}
	}
	g := start(t, options...)
	for _, tr := range with {
		t.Run(tr.Client, func(t *testing.T) {
			t.Parallel()
			if err := newReplay(t, g.URL, tr, modeDocument).run(t.Context(), tr.in(modeDocument)); err != nil {
				t.Error(err)
			}
		})
	}
}

// configured is the option for the client of a metadata document.
func configured(t *testing.T, raw []byte) string {
	t.Helper()
	var m struct {
		ClientID     string   `json:"client_id"`
		Name         string   `json:"client_name"`
		RedirectURIs []string `json:"redirect_uris"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("client %s {\n\t\t\tname %q\n\t\t\tredirect_uri %s\n\t\t}", m.ClientID, m.Name, strings.Join(m.RedirectURIs, " "))
}
