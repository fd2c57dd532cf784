package clients_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestOAuth4WebAPI runs a strict client against everything that the metadata
// lists, and fails if something that is listed was not used with success.
func TestOAuth4WebAPI(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	var keys []clientKey
	for _, alg := range []string{"ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA", "Ed25519"} {
		keys = append(keys, newKeyFor(t, alg))
	}
	g := attended(t,
		"client signer {", "\tjwks `"+string(keys[0].public(t, keys[1:]...))+"`", "\tredirect_uri http://127.0.0.1/callback",
		"\tgrants authorization_code refresh_token client_credentials", "\tintrospect", "}",
		"client machine {", "\tsecret {env.CLIENT_SECRET}", "\tgrants client_credentials", "}",
		"client asks-by-post {", "\tsecret {env.CLIENT_SECRET}", "\tauth_method client_secret_post", "\tintrospect", "}",
		"client asks-by-basic {", "\tsecret {env.CLIENT_SECRET}", "\tintrospect", "}",
	)
	c := &strictClient{
		script: startScript(t, "oauth4webapi.mjs", g.URL+"/mcp", "http://127.0.0.1:3119/callback", "alice", personPassword), base: g.URL,
	}
	metadata := c.do(t, command{Do: "discover"})
	for _, method := range []string{"none", "client_secret_post", "client_secret_basic"} {
		c.do(t, command{Do: "register", Method: method})
		c.codeGrant(t)
	}
	signer := command{Do: "become", ID: "signer", Method: "private_key_jwt", Key: keys[0].private}
	c.do(t, signer)
	c.codeGrant(t)
	c.do(t, command{Do: "become", ID: claudeCode, Method: "none"})
	c.codeGrant(t)
	c.do(t, command{Do: "become", ID: "machine", Method: "client_secret_basic", Secret: clientSecret})
	c.issue(t, "credentials")
	for method, id := range map[string]string{"client_secret_post": "asks-by-post", "client_secret_basic": "asks-by-basic"} {
		c.do(t, command{Do: "become", ID: id, Method: method, Secret: clientSecret})
		c.active(t, true)
	}
	for _, key := range keys {
		signer.Key = key.private
		c.do(t, signer)
		c.issue(t, "credentials")
		c.active(t, true)
		c.do(t, command{Do: "revoke", Token: "access_token"})
		c.active(t, false)
	}
	checkUsed(t, metadata, c.all)
}

// strictClient is a running node/oauth4webapi.mjs and what it sent so far.
type strictClient struct {
	*script
	base string
	all  exchanges
}

// do sends a command that has to succeed.
func (c *strictClient) do(t *testing.T, cmd command) map[string]any {
	t.Helper()
	a := c.must(t, cmd)
	c.all = append(c.all, a.Exchanges...)
	return a.Result
}

// codeGrant gets tokens, and ends with what the client got.
func (c *strictClient) codeGrant(t *testing.T) {
	t.Helper()
	c.issue(t, "signIn")
	c.issue(t, "refresh")
	c.do(t, command{Do: "revoke", Token: "refresh_token"})
	if r := c.do(t, command{Do: "use"}); r["status"] != 401.0 {
		t.Errorf("the access token of a grant that was revoked is answered with %v", r)
	}
}

// issue runs a grant and calls the MCP server. The library has checked the
// access token as RFC 9068 §4 says; for what it is, is ours to check.
func (c *strictClient) issue(t *testing.T, grant string) {
	t.Helper()
	claims := c.do(t, command{Do: grant})
	if claims["aud"] != c.base+"/mcp" || claims["iss"] != c.base || claims["sub"] == "" {
		t.Errorf("%s: claims of the access token: %v", grant, claims)
	}
	if r := c.do(t, command{Do: "use"}); r["status"] != 200.0 {
		t.Errorf("%s: the access token is answered with %v", grant, r)
	}
}

// active asks about the last access token (RFC 7662).
func (c *strictClient) active(t *testing.T, want bool) {
	t.Helper()
	if r := c.do(t, command{Do: "introspect", Token: "access_token"}); r["active"] != want {
		t.Errorf("introspection says %v, want active=%t", r, want)
	}
}

// checkUsed compares what the metadata lists with what went over the wire and
// was answered with success.
func checkUsed(t *testing.T, metadata map[string]any, all exchanges) {
	t.Helper()
	all = slices.DeleteFunc(slices.Clone(all), func(e exchange) bool { return e.Status >= 400 })
	used := map[string][]string{}
	note := func(member, value string) { used[member] = append(used[member], value) }
	for member, value := range metadata {
		at, isText := value.(string)
		endpoint, isEndpoint := strings.CutSuffix(member, "_endpoint")
		if !isText || !isEndpoint && member != "jwks_uri" {
			continue
		}
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		seen := all.to(u.Path)
		if endpoint == "authorization" {
			continue // a person was there: without it there is no code to redeem
		}
		if len(seen) == 0 {
			t.Errorf("%s was never used", member)
		}
		for _, e := range seen {
			method, alg := e.authentication()
			note(endpoint+"_endpoint_auth_methods_supported", method)
			note(endpoint+"_endpoint_auth_signing_alg_values_supported", alg)
			note("grant_types_supported", e.Form["grant_type"])
		}
	}
	document := func(e exchange) bool { return strings.HasPrefix(e.Form["client_id"], "https://") }
	if documents, _ := metadata["client_id_metadata_document_supported"].(bool); documents && !slices.ContainsFunc(all, document) {
		t.Error("no client was identified by a metadata document")
	}
	for member := range metadata {
		if !strings.Contains(member, "_endpoint_auth_") && member != "grant_types_supported" {
			continue
		}
		for _, value := range listed(metadata, member) {
			if !slices.Contains(used[member], value) {
				t.Errorf("%s lists %s, which was never used; used was %q", member, value, slices.Compact(slices.Sorted(slices.Values(used[member]))))
			}
		}
	}
}

// authentication returns how the client of a request authenticated, and the
// algorithm if it signed something.
func (e exchange) authentication() (method, alg string) {
	switch {
	case e.Basic:
		return "client_secret_basic", ""
	case e.Form["client_secret"] != "":
		return "client_secret_post", ""
	case e.Form["client_assertion"] != "":
		head, _, _ := strings.Cut(e.Form["client_assertion"], ".")
		text, _ := base64.RawURLEncoding.DecodeString(head)
		var header struct {
			Alg string `json:"alg"`
		}
		_ = json.Unmarshal(text, &header) // then it has no algorithm
		return "private_key_jwt", header.Alg
	}
	return "none", ""
}

// listed returns a list of the metadata.
func listed(metadata map[string]any, member string) []string {
	values, _ := metadata[member].([]any)
	var texts []string
	for _, v := range values {
		texts = append(texts, fmt.Sprint(v))
	}
	return texts
}
