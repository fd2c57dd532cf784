package authserver

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// everyMethod are the client authentication methods of the registry (RFC 7591
// §4.2 and what was added since), everyGrant some grants of other servers.
var (
	everyMethod = []string{
		"none", "client_secret_post", "client_secret_basic", "client_secret_jwt", "private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth",
	}
	everyGrant = []string{
		"authorization_code", "refresh_token", "client_credentials", "password", "implicit", "urn:ietf:params:oauth:grant-type:device_code",
		"urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:token-exchange",
	}
)

// presents makes a request authenticate with a method, as a client that is
// registered for it.
func (p *machines) presents(tb testing.TB, method string, form url.Values) (header []string) {
	tb.Helper()
	switch method {
	case "none":
		form.Set("client_id", anyoneID)
	case "client_secret_post":
		as(serverID, form)
	case "client_secret_basic":
		return []string{basicOf(batchID)}
	case "private_key_jwt":
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", p.assertion(tb, nil))
	case "client_secret_jwt":
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", signer{[]byte(theSecret), "HS256", ""}.sign(tb, nil, `{"iss":"batch","sub":"batch"}`))
	default: // a certificate, beside which the client names itself
		form.Set("client_id", batchID)
	}
	return header
}

// described serves the metadata document.
func (p *machines) described(tb testing.TB) oauth.ServerMetadata {
	tb.Helper()
	return decode[oauth.ServerMetadata](tb, p.do("GET", oauth.WellKnownServer, "", ""), http.StatusOK)
}

// TestListedMethodsWork (SPEC B10, B11, B16): at each endpoint every method that
// is listed authenticates, and every other one is invalid_client.
func TestListedMethodsWork(t *testing.T) {
	for name, edit := range map[string]func(*Config, *Deps){
		"all": nil,
		"no keys": func(c *Config, _ *Deps) {
			c.Clients = slices.DeleteFunc(c.Clients, func(cl Client) bool { return cl.AuthMethod == oauth.AuthMethodPrivateKeyJWT })
		},
	} {
		p := newMachines(t, edit)
		m := p.described(t)
		for _, endpoint := range []struct {
			path       string
			methods    []string
			algorithms []string
			form       url.Values
		}{
			{tokenPath, m.TokenEndpointAuthMethodsSupported, m.TokenEndpointAuthAlgorithms, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}},
			{revokePath, m.RevocationAuthMethods, m.RevocationAuthAlgorithms, url.Values{"token": {"x"}}},
			{introspectPath, m.IntrospectionAuthMethods, m.IntrospectionAuthAlgorithms, url.Values{"token": {"x"}}},
		} {
			listsKeys := slices.Contains(endpoint.methods, oauth.AuthMethodPrivateKeyJWT)
			if listsKeys != (len(endpoint.algorithms) > 0) || slices.Contains(endpoint.algorithms, "none") || listsKeys == (name == "no keys") {
				t.Errorf("%s, %s: methods %v with algorithms %v", name, endpoint.path, endpoint.methods, endpoint.algorithms)
			}
			for _, method := range everyMethod {
				form := url.Values{}
				maps.Copy(form, endpoint.form)
				header := p.presents(t, method, form)
				w := p.from(name+endpoint.path+method, endpoint.path, form, header...)
				authenticated := w.Code != http.StatusUnauthorized
				if authenticated != slices.Contains(endpoint.methods, method) {
					t.Errorf("%s, %s: %s is listed: %v, and answers %d %s", name, endpoint.path, method, !authenticated, w.Code, w.Body)
				}
				if !authenticated {
					fails(t, w, http.StatusUnauthorized, oauth.CodeInvalidClient)
				}
			}
		}
	}
}

// TestListedGrantsWork (SPEC B9): every grant that is listed gives a token, and
// every other one is unsupported_grant_type.
func TestListedGrantsWork(t *testing.T) {
	for name, edit := range map[string]func(*Config, *Deps){
		"all": nil,
		"no programs": func(c *Config, _ *Deps) {
			c.Clients = slices.DeleteFunc(c.Clients, func(cl Client) bool { return slices.Contains(cl.GrantTypes, oauth.GrantClientCredentials) })
		},
	} {
		p := newMachines(t, edit)
		listed := p.described(t).GrantTypesSupported
		if programs := slices.Contains(listed, oauth.GrantClientCredentials); programs != (name == "all") {
			t.Errorf("%s: %v", name, listed)
		}
		for _, grantType := range everyGrant {
			var w *httptest.ResponseRecorder
			switch grantType {
			case "authorization_code":
				w = p.form(tokenPath, codeForm(anyoneID, p.codeFor(t, anyoneID)))
			case "refresh_token":
				w = p.form(tokenPath, refreshForm(anyoneID, p.session(t, anyoneID).RefreshToken))
			default:
				w = p.from("x", tokenPath, url.Values{"grant_type": {grantType}}, basicOf(batchID))
			}
			if slices.Contains(listed, grantType) {
				decode[oauth.TokenResponse](t, w, http.StatusOK)
			} else {
				fails(t, w, http.StatusBadRequest, oauth.CodeUnsupportedGrantType)
			}
		}
	}
}

// TestMetadataHasNothingEmpty (SPEC B21, B16): what does not apply is left out, and
// an endpoint that is listed is there.
func TestMetadataHasNothingEmpty(t *testing.T) {
	for _, edit := range []func(*Config, *Deps){nil, func(c *Config, _ *Deps) { c.Clients = nil }} {
		p := newMachines(t, edit)
		var doc map[string]any
		if err := json.Unmarshal(p.do("GET", oauth.WellKnownServer, "", "").Body.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		for name, v := range doc {
			if list, ok := v.([]any); v == nil || v == "" || ok && len(list) == 0 {
				t.Errorf("%s is %v", name, v)
			}
		}
		for _, name := range []string{"token_endpoint", "revocation_endpoint", "introspection_endpoint"} {
			uri, listed := doc[name].(string)
			if listed != (edit == nil || name != "introspection_endpoint") {
				t.Errorf("%s is %v", name, doc[name])
			}
			if u, err := url.Parse(uri); listed && (err != nil || p.do("POST", u.Path, "application/x-www-form-urlencoded", "").Code == http.StatusNotFound) {
				t.Errorf("%s: nothing is at %s", name, uri)
			}
		}
	}
}
