package clients_test

import (
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth/extauth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// This file runs the SDKs as programs that have no person with them: the grant
// client_credentials (RFC 6749 §4.4, MCP's extension oauth-client-credentials).

// machineClients are programs that the operator knows. The Go SDK posts its
// secret, the TypeScript SDK and mcp-remote send it by Basic; where the operator
// names no method, one entry serves all.
func machineClients(t *testing.T, key clientKey) []string {
	t.Helper()
	return []string{
		"client machine {", "\tsecret {env.CLIENT_SECRET}", "\tgrants client_credentials", "}",
		"client machine-key {", "\tjwks `" + string(key.public(t)) + "`", "\tgrants client_credentials", "}",
	}
}

// TestGoSDKAlone: the Go SDK with a secret and nobody at a browser.
func TestGoSDKAlone(t *testing.T) {
	t.Parallel()
	g := attended(t, machineClients(t, newKey(t))...)
	c := &goClient{endpoint: g.URL + "/mcp", rec: newRecorder()}
	var err error
	c.handler, err = extauth.NewClientCredentialsHandler(&extauth.ClientCredentialsHandlerConfig{
		Credentials: &oauthex.ClientCredentials{
			ClientID: "machine", Issuer: g.URL, ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: clientSecret},
		},
		HTTPClient: c.http(),
	})
	if err != nil {
		t.Fatal(err)
	}
	hello(t, c.connect(t, ""), "Go")
	if all := c.rec.take(); len(all.grants("client_credentials").answered(200)) != 1 {
		all.log(t)
		t.Error("no client credentials were used")
	}
}

// TestTypeScriptSDKAlone: both generations of the TypeScript SDK, with a secret
// and with a private key.
func TestTypeScriptSDKAlone(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	key := newKey(t)
	g := attended(t, machineClients(t, key)...)
	for _, generation := range []string{"v1", "v2", "v2-modern"} {
		for name, known := range map[string]command{
			"secret": {Do: "alone", ID: "machine", Secret: clientSecret},
			"key":    {Do: "alone", ID: "machine-key", Key: key.private},
		} {
			t.Run(generation+" "+name, func(t *testing.T) {
				t.Parallel()
				c := startTS(t, generation, "http", g.URL+"/mcp")
				c.must(t, known)
				all := c.must(t, command{Do: "connect"}).Exchanges
				if len(all.grants("client_credentials").answered(200)) != 1 {
					all.log(t)
					t.Error("no client credentials were used")
				}
				c.hello(t, "machine").expect(t, steps{})
			})
		}
	}
}
