package spec_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// maxClientID is what issue 2 allows for what real clients send.
const maxClientID = 1024

// realClients returns the registrations of testdata/clients.json, by name. A
// metadata document is registered as if it were sent, by a method that its
// client offers and this server has.
func realClients(t *testing.T) map[string]map[string]any {
	t.Helper()
	text, err := os.ReadFile("testdata/clients.json")
	if err != nil {
		t.Fatal(err)
	}
	var facts struct {
		Documents []struct {
			Document map[string]any `json:"document"`
		} `json:"metadata_documents"`
		Partly  []map[string]any `json:"metadata_documents_known_in_part"`
		Dynamic []map[string]any `json:"dynamic_registration"`
	}
	if err := json.Unmarshal(text, &facts); err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]any{}
	add := func(name any, document map[string]any) {
		if document["redirect_uris"] == nil {
			return
		}
		if offered, _ := document["token_endpoint_auth_methods_supported"].([]any); slices.Contains(offered, any("none")) {
			document["token_endpoint_auth_method"] = "none"
		}
		all[name.(string)] = document
	}
	for _, d := range facts.Documents {
		add(d.Document["client_id"], d.Document)
	}
	for _, d := range facts.Partly {
		add(d["client_id"], d)
	}
	for _, d := range facts.Dynamic {
		// The longest name that one of them is likely to send.
		add(d["client"], map[string]any{"client_name": d["client"].(string) + " on the laptop of Example", "redirect_uris": d["redirect_uris"]})
	}
	return all
}

// registerReal registers one of them, with the placeholders filled in.
func registerReal(t *testing.T, base, name string, document map[string]any) *gatewaytest.Client {
	t.Helper()
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	filled := strings.NewReplacer(`\u003cport\u003e`, "54321", `\u003cid\u003e`, "0123456789abcdef").Replace(string(text))
	r := gatewaytest.PostJSON(t, base+"/oauth/register", filled)
	wantStatus(t, r, http.StatusCreated)
	var sent map[string]any
	if err := json.Unmarshal([]byte(filled), &sent); err != nil {
		t.Fatal(err)
	}
	uris, err := json.Marshal(sent["redirect_uris"])
	if err != nil {
		t.Fatal(err)
	}
	doc := r.JSON(t)
	wantMember(t, doc, "redirect_uris", string(uris))
	wantMember(t, doc, "grant_types", `["authorization_code","refresh_token"]`)
	wantMember(t, doc, "token_endpoint_auth_method", `"none"`)
	wantNothingEmpty(t, name, doc)
	id, _ := doc["client_id"].(string)
	if len(id) > maxClientID || strings.HasPrefix(id, "https://") {
		t.Errorf("%s: a client_id of %d bytes, %.20s", name, len(id), id)
	}
	first, _ := sent["redirect_uris"].([]any)[0].(string)
	return &gatewaytest.Client{Base: base, ID: id, RedirectURI: first, Verifier: strings.Repeat("v", 50)}
}

// TestRealClients registers every known client, restarts and reloads the
// gateway, and lets each of them go through the flow.
func TestRealClients(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile("", "")})
	clients := map[string]*gatewaytest.Client{}
	for name, document := range realClients(t) {
		clients[name] = registerReal(t, g.URL, name, document)
	}
	if len(clients) < 17 {
		t.Fatalf("only %d clients were found", len(clients))
	}
	clients["unknown scheme"] = registerMixed(t, g.URL)
	clients["confidential"] = registerWith(t, g.URL, "client_secret_post")
	old := g.Dir
	g.Kill()
	port, err := url.Parse(g.URL)
	if err != nil {
		t.Fatal(err)
	}
	g = gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile("", ""), Dir: old, Port: atoi(t, port.Port())})
	for name, c := range clients {
		t.Run(name+"/restart", func(t *testing.T) { wantWholeFlow(t, c) })
	}
	_, upstream := gatewaytest.Mock(t)
	if err := g.Reload(caddyfile("access_token_lifetime 30m", ""), upstream); err != nil {
		t.Fatal(err)
	}
	for name, c := range clients {
		t.Run(name+"/reload", func(t *testing.T) { wantWholeFlow(t, c) })
		t.Run(name+"/tampered", func(t *testing.T) { wantTamperProof(t, c, 61) })
	}
	t.Run("every character", func(t *testing.T) {
		wantTamperProof(t, clients["Cursor"], 1)
		wantTamperProofEnd(t, clients["Cursor"])
	})
}

// registerMixed registers a list with one scheme that nobody knows.
func registerMixed(t *testing.T, base string) *gatewaytest.Client {
	t.Helper()
	r := gatewaytest.PostJSON(t, base+"/oauth/register", `{"redirect_uris":["someeditor://auth/cb","https://someeditor.example/cb","http://localhost:1/cb"]}`)
	wantStatus(t, r, http.StatusCreated)
	wantMember(t, r.JSON(t), "redirect_uris", `["https://someeditor.example/cb","http://localhost:1/cb"]`)
	c := &gatewaytest.Client{Base: base, ID: r.Text(t, "client_id"), RedirectURI: "http://localhost:2/cb", Verifier: strings.Repeat("v", 50)}
	refused, _ := c.Authorize(t, "redirect_uri", "someeditor://auth/cb")
	wantPage(t, refused, http.StatusBadRequest)
	return c
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	var n int
	if err := json.Unmarshal([]byte(s), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func wantWholeFlow(t *testing.T, c *gatewaytest.Client) {
	t.Helper()
	r, _ := c.Authorize(t)
	q := redirected(t, r, c.Base)
	if !strings.HasPrefix(r.Header.Get("Location"), c.RedirectURI+"?") {
		t.Errorf("answered at %s", r.Header.Get("Location"))
	}
	reply := c.Redeem(t, q.Get("code"))
	wantStatus(t, reply, http.StatusOK)
	wantAlive(t, c.Base, reply.Text(t, "access_token"))
	wantStatus(t, c.Refresh(t, reply.Text(t, "refresh_token")), http.StatusOK)
}

// base64url is the alphabet of client ids.
const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// wantTamperProof changes every step-th character of a client_id.
func wantTamperProof(t *testing.T, c *gatewaytest.Client, step int) {
	t.Helper()
	for i := 0; i < len(c.ID); i += step {
		wantUnknownClient(t, c, flipped(c.ID, i))
	}
}

// flipped returns a base64url text with another character at one place.
func flipped(s string, i int) string {
	at := strings.IndexByte(base64url, s[i])
	return s[:i] + string(base64url[(at+1)%len(base64url)]) + s[i+1:]
}

// wantTamperProofEnd tries other spellings of the same client_id: bits that a
// lax decoder ignores, padding, line breaks, more and less text.
func wantTamperProofEnd(t *testing.T, c *gatewaytest.Client) {
	t.Helper()
	last := len(c.ID) - 1
	for _, char := range base64url {
		if byte(char) != c.ID[last] {
			wantUnknownClient(t, c, c.ID[:last]+string(char))
		}
	}
	for _, id := range []string{
		c.ID[:last], c.ID[1:], c.ID + "A", c.ID + "=", c.ID + "==", c.ID + " ", " " + c.ID, c.ID + "\n",
		c.ID[:8] + "\n" + c.ID[8:], strings.ToUpper(c.ID), c.ID + c.ID, c.ID + "\x00", strings.NewReplacer("-", "+", "_", "/").Replace(c.ID) + ".",
	} {
		wantUnknownClient(t, c, id)
	}
}

func wantUnknownClient(t *testing.T, c *gatewaytest.Client, id string) {
	t.Helper()
	r, _ := c.Authorize(t, "client_id", id)
	if r.Status != http.StatusBadRequest || r.Header.Get("Location") != "" {
		t.Fatalf("client_id %q: %d to %q", id, r.Status, r.Header.Get("Location"))
	}
	r = gatewaytest.PostForm(t, c.Base+"/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}, "client_id": {id}})
	wantError(t, r, http.StatusUnauthorized, "invalid_client")
}
