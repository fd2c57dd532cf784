package authserver

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

var addresses atomic.Int64

// asserts posts a token request with an assertion, from an address of its own, so
// that no test is throttled by another's failures.
func (p *machines) asserts(assertion string) int {
	return p.from(fmt.Sprintf("2001:db8:0:%x::1", addresses.Add(1)), tokenPath, asserted(assertion)).Code
}

// TestAssertionClauses has one line for each clause of G11 and each row of O33.
func TestAssertionClauses(t *testing.T) {
	p := newMachines(t, nil)
	in := func(d time.Duration) int64 { return p.clock.Add(d).Unix() }
	const good, bad = http.StatusOK, http.StatusUnauthorized
	for name, tt := range map[string]struct {
		change map[string]any
		want   int
	}{
		"the issuer as audience":                {nil, good},
		"G11 audience as an array of one":       {map[string]any{"aud": []string{testIssuer}}, good},
		"G11 one trailing slash":                {map[string]any{"aud": testIssuer + "/"}, good},
		"G11 two trailing slashes":              {map[string]any{"aud": testIssuer + "//"}, bad},
		"O33 audience token endpoint":           {map[string]any{"aud": testIssuer + "/oauth/token"}, bad},
		"O33 audience another server":           {map[string]any{"aud": "https://as.example"}, bad},
		"G11 audience with another path":        {map[string]any{"aud": testIssuer + "/x"}, bad},
		"G11 audience in capitals":              {map[string]any{"aud": strings.ToUpper(testIssuer)}, bad},
		"G11 an array of two":                   {map[string]any{"aud": []string{testIssuer, "https://as.example"}}, bad},
		"G11 an array of the same twice":        {map[string]any{"aud": []string{testIssuer, testIssuer}}, bad},
		"G11 an empty array":                    {map[string]any{"aud": []string{}}, bad},
		"G11 no audience":                       {map[string]any{"aud": nil}, bad},
		"G11 audience null":                     {map[string]any{"aud": json.RawMessage("null")}, bad},
		"G11 audience a number":                 {map[string]any{"aud": 1}, bad},
		"G11 audience an object":                {map[string]any{"aud": map[string]any{"a": testIssuer}}, bad},
		"G11 audience the resource":             {map[string]any{"aud": testResource}, bad},
		"O33 issuer is not the subject":         {map[string]any{"iss": batchID}, bad},
		"O33 subject is not the issuer":         {map[string]any{"sub": batchID}, bad},
		"G11 both another client":               {map[string]any{"iss": batchID, "sub": batchID}, bad},
		"G11 both nobody":                       {map[string]any{"iss": "nobody", "sub": "nobody"}, bad},
		"G11 no issuer":                         {map[string]any{"iss": nil}, bad},
		"G11 no subject":                        {map[string]any{"sub": nil}, bad},
		"G11 no exp":                            {map[string]any{"exp": nil}, bad},
		"G11 exp null":                          {map[string]any{"exp": json.RawMessage("null")}, bad},
		"O28 exp a string":                      {map[string]any{"exp": fmt.Sprint(in(time.Minute))}, bad},
		"O28 exp huge":                          {map[string]any{"exp": json.RawMessage("1e300")}, bad},
		"O28 exp negative":                      {map[string]any{"exp": -1}, bad},
		"exp with a fraction":                   {map[string]any{"exp": float64(in(time.Minute)) + 0.5}, good},
		"expired within the leeway":             {map[string]any{"exp": in(-assertionLeeway + time.Second), "iat": in(-2 * time.Minute)}, good},
		"expired":                               {map[string]any{"exp": in(-assertionLeeway), "iat": in(-2 * time.Minute)}, bad},
		"PROD lives for ten minutes":            {map[string]any{"exp": in(10 * time.Minute)}, good},
		"PROD lives for longer":                 {map[string]any{"exp": in(10*time.Minute + time.Second)}, bad},
		"PROD lives for longer, without iat":    {map[string]any{"exp": in(12 * time.Minute), "iat": nil}, bad},
		"PROD was made long ago":                {map[string]any{"iat": in(-time.Hour)}, bad},
		"iat in the future":                     {map[string]any{"iat": in(2 * time.Minute), "exp": in(3 * time.Minute)}, bad},
		"iat a moment in the future":            {map[string]any{"iat": in(30 * time.Second)}, good},
		"iat a string":                          {map[string]any{"iat": "now"}, bad},
		"no iat":                                {map[string]any{"iat": nil}, good},
		"nbf in the future":                     {map[string]any{"nbf": in(2 * time.Minute)}, bad},
		"nbf in the past":                       {map[string]any{"nbf": in(-time.Minute)}, good},
		"nbf huge":                              {map[string]any{"nbf": json.RawMessage("1e99")}, bad},
		"PROD no jti":                           {map[string]any{"jti": nil}, bad},
		"PROD empty jti":                        {map[string]any{"jti": ""}, bad},
		"PROD jti a number":                     {map[string]any{"jti": 5}, bad},
		"PROD jti of 256 bytes":                 {map[string]any{"jti": strings.Repeat("j", maxJWTID)}, good},
		"PROD jti too long":                     {map[string]any{"jti": strings.Repeat("j", maxJWTID+1)}, bad},
		"the issuer in another case":            {map[string]any{"iss": nil, "ISS": robotID}, bad},
		"claims that nobody knows":              {map[string]any{"azp": "x", "events": []int{1}}, good},
		"an assertion of more than eight KiB":   {map[string]any{"x": strings.Repeat("x", maxAssertion)}, bad},
		"a subject of every character there is": {map[string]any{"iss": "\x00\u2028\"<", "sub": "\x00\u2028\"<"}, bad},
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.asserts(p.assertion(t, tt.change)); got != tt.want {
				t.Errorf("status %d, want %d", got, tt.want)
			}
		})
	}
}

// TestAssertionHeader: typ is that of an assertion, JWT or nothing; everything
// else that this server or others sign is refused (SPEC O27).
func TestAssertionHeader(t *testing.T) {
	p := newMachines(t, nil)
	payload := func() string { text, _ := json.Marshal(p.claims()); return string(text) }
	for typ, want := range map[string]int{
		assertionTyp: 200, "CLIENT-AUTHENTICATION+JWT": 200, "application/" + assertionTyp: 200, "JWT": 200, "jwt": 200, "": 200,
		"at+jwt": 401, "dpop+jwt": 401, "oauth-id-jag+jwt": 401, "secevent+jwt": 401, "logout+jwt": 401, "xJWT": 401,
	} {
		if got := p.asserts(p.robot.sign(t, map[string]any{"typ": typ}, payload())); got != want {
			t.Errorf("typ %q: %d, want %d", typ, got, want)
		}
	}
	for kid, want := range map[string]int{"k1": 200, "": 200, "k2": 401, "../../k1": 401, "k1\x00": 401, strings.Repeat("k", 4000): 401} {
		s := p.robot
		s.kid = kid
		if got := p.asserts(s.sign(t, nil, payload())); got != want {
			t.Errorf("kid %.20q: %d, want %d", kid, got, want)
		}
	}
}

// TestAssertionForms: what has to come together, and what must not.
func TestAssertionForms(t *testing.T) {
	p := newMachines(t, nil)
	for name, tt := range map[string]struct {
		change func(url.Values)
		header []string
		status int
		code   string
	}{
		"without a type":           {func(f url.Values) { f.Del("client_assertion_type") }, nil, 401, oauth.CodeInvalidClient},
		"without an assertion":     {func(f url.Values) { f.Del("client_assertion") }, nil, 401, oauth.CodeInvalidClient},
		"another type":             {func(f url.Values) { f.Set("client_assertion_type", assertionType+"s") }, nil, 401, oauth.CodeInvalidClient},
		"the type in capitals":     {func(f url.Values) { f.Set("client_assertion_type", strings.ToUpper(assertionType)) }, nil, 401, oauth.CodeInvalidClient},
		"a SAML assertion":         {func(f url.Values) { f.Set("client_assertion_type", strings.Replace(assertionType, "jwt", "saml2", 1)) }, nil, 401, oauth.CodeInvalidClient},
		"with a secret":            {func(f url.Values) { f.Set("client_secret", theSecret) }, nil, 400, oauth.CodeInvalidRequest},
		"with an Authorization":    {nil, []string{"Basic cm9ib3Q6eA=="}, 400, oauth.CodeInvalidRequest},
		"with a bearer token":      {nil, []string{"Bearer x"}, 400, oauth.CodeInvalidRequest},
		"twice":                    {func(f url.Values) { f.Add("client_assertion", "x") }, nil, 400, oauth.CodeInvalidRequest},
		"G11 client_id of another": {func(f url.Values) { f.Set("client_id", batchID) }, nil, 401, oauth.CodeInvalidClient},
		"not a JWT":                {func(f url.Values) { f.Set("client_assertion", "x") }, nil, 401, oauth.CodeInvalidClient},
		"G10 the client with a secret": {func(f url.Values) {
			f.Del("client_assertion")
			f.Del("client_assertion_type")
			f.Set("client_id", robotID)
			f.Set("client_secret", theSecret)
		}, nil, 401, oauth.CodeInvalidClient},
		"G10 the client with nothing": {func(f url.Values) {
			f.Del("client_assertion")
			f.Del("client_assertion_type")
			f.Set("client_id", robotID)
		}, nil, 401, oauth.CodeInvalidClient},
	} {
		t.Run(name, func(t *testing.T) {
			form := asserted(p.assertion(t, nil))
			if tt.change != nil {
				tt.change(form)
			}
			fails(t, p.from(name, tokenPath, form, tt.header...), tt.status, tt.code)
		})
	}
	t.Run("with its own client_id", func(t *testing.T) {
		form := asserted(p.assertion(t, nil))
		form.Set("client_id", robotID)
		decode[oauth.TokenResponse](t, p.from("x", tokenPath, form), http.StatusOK)
	})
}

// TestForgedAssertions (SPEC O24, O26): what no key of the client has signed.
func TestForgedAssertions(t *testing.T) {
	p := newMachines(t, nil)
	good := p.assertion(t, nil)
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	enc := base64.RawURLEncoding.EncodeToString
	with := func(header, signature string) string { return enc([]byte(header)) + "." + payload + "." + signature }
	hmacOf := func(secret []byte) string {
		raw, err := jws.Sign([]byte(mustDecode(t, payload)), jws.WithKey(jwa.HS256, secret))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	stranger := newSigner(t, "k1")
	embedded := stranger.jwks(t)[len(`{"keys":[`):]
	embedded = embedded[:len(embedded)-len(`]}`)]
	for name, raw := range map[string]string{
		"O33 another client's key":     stranger.sign(t, nil, mustDecode(t, payload)),
		"O33 the secret as a key":      hmacOf([]byte(theSecret)),
		"the key set as a secret":      hmacOf(p.robot.jwks(t)),
		"alg none":                     with(`{"alg":"none","kid":"k1"}`, ""),
		"alg None":                     with(`{"alg":"None","kid":"k1"}`, ""),
		"alg missing":                  with(`{"kid":"k1"}`, signature),
		"alg of another family":        with(`{"alg":"RS256","kid":"k1"}`, signature),
		"no signature":                 with(`{"alg":"ES256","kid":"k1"}`, ""),
		"a signature of zeros":         with(`{"alg":"ES256","kid":"k1"}`, enc(make([]byte, 64))),
		"a header that was not signed": with(`{"kid":"k1","alg":"ES256"}`, signature),
		"alg twice":                    with(`{"alg":"none","alg":"ES256","kid":"k1"}`, signature),
		"a critical extension":         p.robot.sign(t, map[string]any{"crit": []string{"exp"}, "exp": 1}, mustDecode(t, payload)),
		"a key of its own":             with(`{"alg":"ES256","jwk":`+string(embedded)+`}`, signature),
		"an address of its own":        stranger.sign(t, map[string]any{"jku": "https://evil.example/jwks"}, mustDecode(t, payload)),
		"claims twice":                 p.robot.sign(t, nil, strings.Replace(mustDecode(t, payload), `"iss"`, `"iss":"x","iss"`, 1)),
		"claims that are no object":    p.robot.sign(t, nil, `["iss"]`),
		"claims that are no JSON":      p.robot.sign(t, nil, `{`),
		"claims in another encoding":   p.robot.sign(t, nil, "\xff\xfe"+mustDecode(t, payload)),
		"four parts":                   good + ".x",
		"five parts":                   good + ".x.y",
		"a line break":                 good + "\n",
		"padding":                      good + "=",
		"the flattened form":           `{"protected":"` + head + `","payload":"` + payload + `","signature":"` + signature + `"}`,
		"a flipped bit":                good[:len(good)-10] + "AAAAAAAAAA",
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.asserts(raw); got != http.StatusUnauthorized {
				t.Errorf("status %d", got)
			}
		})
	}
	// None of it has used the assertion up.
	if got := p.asserts(good); got != http.StatusOK {
		t.Errorf("the good one: %d", got)
	}
}

func mustDecode(t *testing.T, part string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
