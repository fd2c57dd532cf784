package authserver

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/passhash"
)

// argon2OfTheSecret is by: caddy hash-password --algorithm argon2id --argon2id-memory 8192
const argon2OfTheSecret = "$argon2id$v=19$m=8192,t=1,p=1$eewnyTNQ4GSW9HhKlBBJTw$AgNALW3fFgOwpC1z+Hf6wEp692LWzfqujcBRl9+zr7M"

// hashedClients have their secrets as hashes of every kind.
func hashedClients(tb testing.TB) []Client {
	tb.Helper()
	slow, err := bcrypt.GenerateFromPassword([]byte(theSecret), bcrypt.MinCost)
	if err != nil {
		tb.Fatal(err)
	}
	sum := sha256.Sum256([]byte(theSecret))
	alone := []string{oauth.GrantClientCredentials}
	var all []Client
	for id, hash := range map[string]string{
		"bcrypt": string(slow),
		"argon2": argon2OfTheSecret,
		"sha256": "sha256:" + hex.EncodeToString(sum[:]),
	} {
		all = append(all, Client{ID: id, AuthMethod: oauth.AuthMethodBasic, SecretHash: hash, GrantTypes: alone, Resources: []string{testResource}})
	}
	return all
}

func newHashed(tb testing.TB) *machines {
	tb.Helper()
	return newMachines(tb, func(c *Config, _ *Deps) { c.Clients = append(c.Clients, hashedClients(tb)...) })
}

// tries presents a secret, from a network of its own.
func (p *machines) tries(id, secret string) *httptest.ResponseRecorder {
	req := url.Values{"grant_type": {oauth.GrantClientCredentials}}
	return p.basicFrom(fmt.Sprintf("2001:db8:1:%x::1", addresses.Add(1)), id, secret, req)
}

func TestSecretHashes(t *testing.T) {
	p := newHashed(t)
	for _, id := range []string{"bcrypt", "argon2", "sha256", batchID} {
		for range 2 { // computed, and remembered
			if w := p.tries(id, theSecret); w.Code != http.StatusOK {
				t.Errorf("%s: %d %s", id, w.Code, w.Body)
			}
		}
		for _, wrong := range []string{
			"", "x", theSecret + "x", theSecret[1:], strings.ToUpper(theSecret), strings.Repeat("x", maxSecret+1), p.clients[id].SecretHash,
		} {
			fails(t, p.tries(id, wrong), http.StatusUnauthorized, oauth.CodeInvalidClient)
		}
	}
}

// What is remembered of a client that was right was looked up with the secret of
// the request: an empty one would have found the client itself. The two are kept
// apart by now.
func TestEmptySecretIsNeverRemembered(t *testing.T) {
	p := newHashed(t)
	for _, id := range []string{"bcrypt", "argon2", "sha256"} {
		if w := p.tries(id, theSecret); w.Code != http.StatusOK {
			t.Fatal(w.Code)
		}
		fails(t, p.tries(id, ""), http.StatusUnauthorized, oauth.CodeInvalidClient)
	}
	for _, id := range []string{"bcrypt", "argon2"} {
		if ok, err := p.secrets.matches(t.Context(), id, ""); ok || err != nil {
			t.Errorf("%s: an empty secret matches: %v", id, err)
		}
	}
}

// TestSlowHashesAreBounded: a right secret is not hashed again, and when no more
// may be hashed, that is an outage and no verdict.
func TestSlowHashesAreBounded(t *testing.T) {
	p := newHashed(t)
	if w := p.tries("bcrypt", theSecret); w.Code != http.StatusOK {
		t.Fatal(w.Code)
	}
	p.secrets.gate = passhash.NewGate(0)
	for id, want := range map[string]int{"bcrypt": 200, "sha256": 200, batchID: 200, "argon2": 503} {
		if w := p.tries(id, theSecret); w.Code != want {
			t.Errorf("%s: %d, want %d", id, w.Code, want)
		}
	}
}

// TestEqualWork (SPEC O44, O53): whatever is wrong with a secret, one slow hash is
// computed, so that no answer comes sooner than another. Nothing can be computed
// here, so that each that wants to is an outage.
func TestEqualWork(t *testing.T) {
	p := newHashed(t)
	dynamic := p.register(t, `{"redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"client_secret_basic"}`).ClientID
	p.secrets.gate = passhash.NewGate(0)
	for _, id := range []string{"bcrypt", "argon2", "sha256", batchID, clerkID /* post */, robotID, anyoneID, "nobody", dynamic, dynamic + "x"} {
		fails(t, p.tries(id, "wrong"), http.StatusServiceUnavailable, oauth.CodeTemporarilyUnavailable)
	}
	// Without a slow hash there is nothing to pretend.
	plain := newMachines(t, nil)
	plain.secrets.gate = passhash.NewGate(0)
	for _, id := range []string{batchID, "nobody"} {
		fails(t, plain.tries(id, "wrong"), http.StatusUnauthorized, oauth.CodeInvalidClient)
	}
}

// TestAlike (SPEC O44): an unknown client, a wrong secret, a wrong method and a
// wrong assertion get the same answer, byte for byte.
func TestAlike(t *testing.T) {
	p := newHashed(t)
	want := p.tries("nobody", "x").Body.String()
	for name, w := range map[string]*httptest.ResponseRecorder{
		"wrong secret":    p.tries("bcrypt", "x"),
		"wrong method":    p.tries(clerkID, theSecret),
		"public":          p.tries(anyoneID, "x"),
		"wrong assertion": p.from("2001:db8:2::1", tokenPath, asserted(p.assertion(t, map[string]any{"aud": "x"}))),
		"no credentials":  p.from("2001:db8:2::2", tokenPath, url.Values{"grant_type": {oauth.GrantClientCredentials}, "client_id": {batchID}}),
		"nobody":          p.from("2001:db8:2::3", tokenPath, url.Values{"grant_type": {oauth.GrantClientCredentials}, "client_id": {"nobody"}}),
	} {
		if w.Code != http.StatusUnauthorized || w.Body.String() != want {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// TestAnySecretMethod (SPEC G10): where the operator named no method, a client
// may send its secret in either way, and has to send it; where one is named it is
// the one.
func TestAnySecretMethod(t *testing.T) {
	for _, c := range []struct {
		name              string
		any               bool
		basic, post, none int
	}{
		{"no method named", true, 200, 200, 401},
		{"Basic named", false, 200, 401, 401},
	} {
		p := newMachines(t, func(cfg *Config, _ *Deps) { cfg.Clients[1].AnySecretMethod = c.any })
		form := func(secret string) url.Values {
			f := url.Values{"grant_type": {oauth.GrantClientCredentials}, "client_id": {batchID}}
			if secret != "" {
				f.Set("client_secret", secret)
			}
			return f
		}
		got := [3]int{
			p.basicFrom("192.0.2.1", batchID, theSecret, form("")).Code,
			p.from("192.0.2.2", tokenPath, form(theSecret)).Code,
			p.from("192.0.2.3", tokenPath, form("")).Code,
		}
		if want := [3]int{c.basic, c.post, c.none}; got != want {
			t.Errorf("%s: Basic, post and none are answered with %v, want %v", c.name, got, want)
		}
		if wrong := p.from("192.0.2.4", tokenPath, form("wrong")).Code; wrong != http.StatusUnauthorized {
			t.Errorf("%s: a wrong secret: %d", c.name, wrong)
		}
	}
}

// guessing are ways to guess at a client.
func (p *machines) guessing(tb testing.TB) map[string]func(ip, id string, right bool) int {
	tb.Helper()
	secret := func(right bool) string {
		if right {
			return theSecret
		}
		return "wrong"
	}
	return map[string]func(string, string, bool) int{
		"a secret": func(ip, id string, right bool) int {
			return p.basicFrom(ip, id, secret(right), url.Values{"grant_type": {oauth.GrantClientCredentials}}).Code
		},
		"an assertion": func(ip, id string, right bool) int {
			aud := testIssuer
			if !right {
				aud = "x"
			}
			return p.from(ip, tokenPath, asserted(p.assertion(tb, map[string]any{"aud": aud, "iss": id, "sub": id}))).Code
		},
		"introspection": func(ip, id string, right bool) int {
			form := url.Values{"token": {"x"}, "client_id": {id}, "client_secret": {secret(right)}}
			return p.from(ip, introspectPath, form).Code
		},
		"revocation": func(ip, id string, right bool) int {
			form := url.Values{"token": {"x"}, "client_id": {id}, "client_secret": {secret(right)}}
			return p.from(ip, revokePath, form).Code
		},
	}
}

// TestGuessing (SPEC G7, O44): guessing at a client is throttled wherever it is
// tried, for this address and this client only, and for one that does not exist
// in the same way.
func TestGuessing(t *testing.T) {
	victims := map[string]string{"a secret": batchID, "an assertion": robotID, "introspection": serverID, "revocation": serverID}
	for name, victim := range victims {
		t.Run(name, func(t *testing.T) {
			p := newHashed(t)
			try := p.guessing(t)[name]
			for _, id := range []string{victim, "nobody"} {
				for i := range 10 {
					if got := try("192.0.2.1", id, false); got != http.StatusUnauthorized {
						t.Fatalf("guess %d at %s: %d", i, id, got)
					}
				}
				for _, right := range []bool{false, true} {
					if got := try("192.0.2.1", id, right); got != http.StatusTooManyRequests {
						t.Errorf("guess 11 at %s, right %v: %d", id, right, got)
					}
				}
			}
			if got := try("192.0.2.2", victim, true); got != http.StatusOK {
				t.Errorf("from elsewhere: %d", got)
			}
			if got := p.basicFrom("192.0.2.1", "sha256", theSecret, url.Values{"grant_type": {oauth.GrantClientCredentials}}).Code; got != http.StatusOK {
				t.Errorf("another client at the same address: %d", got)
			}
		})
	}
}

// TestManyGuessesAtOnce: a right guess among many that run at the same time is
// not told, because the others failed meanwhile.
func TestManyGuessesAtOnce(t *testing.T) {
	p := newHashed(t)
	p.secrets.gate = passhash.NewGate(1)
	leave, err := p.secrets.gate.Enter(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan int)
	go func() {
		told <- p.basicFrom("192.0.2.1", "bcrypt", theSecret, url.Values{"grant_type": {oauth.GrantClientCredentials}}).Code
	}()
	for p.secrets.gate.Waiting() == 0 {
		runtime.Gosched()
	}
	for range 10 {
		form := url.Values{"grant_type": {oauth.GrantClientCredentials}, "client_id": {"bcrypt"}, "client_assertion_type": {assertionType}}
		form.Set("client_assertion", p.assertion(t, map[string]any{"iss": "bcrypt", "sub": "bcrypt"}))
		fails(t, p.from("192.0.2.1", tokenPath, form), http.StatusUnauthorized, oauth.CodeInvalidClient)
	}
	leave()
	if got := <-told; got != http.StatusTooManyRequests {
		t.Errorf("the right guess is answered with %d", got)
	}
}

// TestClientCheck: a client of the configuration that could not work, or not as it
// looks, is refused when the configuration is loaded; no message repeats a secret.
func TestClientCheck(t *testing.T) {
	p := newMachines(t, nil)
	keys := p.robot.jwks(t)
	private := strings.Replace(string(keys), `"kty"`, `"d":"AAAA","kty"`, 1)
	alone := []string{oauth.GrantClientCredentials}
	for name, tt := range map[string]struct {
		c    Client
		want string // in the error; empty if it is good
	}{
		"a public client":            {Client{AuthMethod: "none"}, ""},
		"none with a secret":         {Client{AuthMethod: "none", Secret: "SECRET"}, "neither a secret nor keys"},
		"none with keys":             {Client{AuthMethod: "none", JWKS: keys}, "neither a secret nor keys"},
		"basic without a secret":     {Client{AuthMethod: "client_secret_basic"}, "a secret or its hash"},
		"post without a secret":      {Client{AuthMethod: "client_secret_post"}, "a secret or its hash"},
		"secret and hash":            {Client{AuthMethod: "client_secret_post", Secret: "SECRET", SecretHash: argon2OfTheSecret}, "one of the two"},
		"secret and keys":            {Client{AuthMethod: "client_secret_post", Secret: "SECRET", JWKS: keys}, "no keys"},
		"a hash":                     {Client{AuthMethod: "client_secret_post", SecretHash: argon2OfTheSecret}, ""},
		"a secret for a hash":        {Client{AuthMethod: "client_secret_post", SecretHash: "SECRET"}, "no bcrypt or argon2id hash"},
		"a short sha256":             {Client{AuthMethod: "client_secret_post", SecretHash: "sha256:SECRET"}, "64 hexadecimal digits"},
		"a sha256":                   {Client{AuthMethod: "client_secret_post", SecretHash: "sha256:" + strings.Repeat("0aF9", 16)}, ""},
		"keys":                       {Client{AuthMethod: "private_key_jwt", JWKS: keys}, ""},
		"an address":                 {Client{AuthMethod: "private_key_jwt", JWKSURI: "https://a.example/jwks"}, ""},
		"an address at home":         {Client{AuthMethod: "private_key_jwt", JWKSURI: "http://localhost:9000/jwks"}, ""},
		"an address in the clear":    {Client{AuthMethod: "private_key_jwt", JWKSURI: "http://a.example/jwks"}, "jwks_uri"},
		"keys and an address":        {Client{AuthMethod: "private_key_jwt", JWKS: keys, JWKSURI: "https://a.example/jwks"}, "one of the two"},
		"no keys":                    {Client{AuthMethod: "private_key_jwt"}, "jwks or jwks_uri"},
		"private_key_jwt and secret": {Client{AuthMethod: "private_key_jwt", JWKS: keys, Secret: "SECRET"}, "no secret"},
		"a private key":              {Client{AuthMethod: "private_key_jwt", JWKS: []byte(private)}, "shows a secret key"},
		"no key set":                 {Client{AuthMethod: "private_key_jwt", JWKS: []byte(`{}`)}, "not a JWK set"},
		"an empty key set":           {Client{AuthMethod: "private_key_jwt", JWKS: []byte(`{"keys":[]}`)}, "no public key for signatures"},
		"a shared secret as a key":   {Client{AuthMethod: "private_key_jwt", JWKS: []byte(`{"keys":[{"kty":"oct","k":"U0VDUkVU"}]}`)}, "shows a secret key"},
		"another method":             {Client{AuthMethod: "client_secret_jwt", Secret: "SECRET"}, "does not exist here"},
		"no method":                  {Client{Secret: "SECRET"}, "does not exist here"},
		"another grant":              {Client{AuthMethod: "none", GrantTypes: []string{"password"}, RedirectURIs: nil}, "grant type password"},
		"G29 public, alone":          {Client{AuthMethod: "none", GrantTypes: alone}, "authenticates"},
		"G29 confidential, alone":    {Client{AuthMethod: "client_secret_post", Secret: "SECRET", GrantTypes: alone}, ""},
		"G29 public too, alone":      {Client{AuthMethod: "private_key_jwt", AlsoPublic: true, JWKS: keys, GrantTypes: alone}, "authenticates"},
		"I1 public, asks":            {Client{AuthMethod: "none", Introspects: true}, "authenticates"},
		"an id that is no user":      {Client{ID: "a b", AuthMethod: "client_secret_post", Secret: "SECRET", GrantTypes: alone}, "printable ASCII"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.c.ID == "" {
				tt.c.ID = "c"
			}
			if tt.c.GrantTypes == nil && !tt.c.Introspects {
				tt.c.GrantTypes, tt.c.RedirectURIs = []string{oauth.GrantAuthorizationCode}, []string{"http://127.0.0.1/cb"}
			}
			cfg := Config{Issuer: testIssuer, Clients: []Client{tt.c}}
			err := cfg.Check()
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "client ")):
				t.Errorf("%v, want one with %q", err, tt.want)
			case err != nil && strings.Contains(err.Error(), "SECRET"):
				t.Errorf("the error repeats the secret: %v", err)
			}
		})
	}
}
