package gatewaytest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Client is an OAuth client that does what ordinary clients do.
type Client struct {
	// Base is the gateway's origin.
	Base string
	// ID and Secret are set by Register.
	ID, Secret string
	// RedirectURI is the first registered one.
	RedirectURI string
	// Verifier is the PKCE verifier of the flow.
	Verifier string
}

// Reply is an HTTP answer, read whole.
type Reply struct {
	Status int
	Header http.Header
	Body   string
}

// JSON decodes the body into a map, and fails the test if it is not JSON.
func (r Reply) JSON(tb testing.TB) map[string]any {
	tb.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(r.Body), &m); err != nil {
		tb.Fatalf("status %d, body is not a JSON object: %v\n%s", r.Status, err, r.Body)
	}
	return m
}

// Text returns a string member of the JSON body, or "".
func (r Reply) Text(tb testing.TB, name string) string {
	tb.Helper()
	s, _ := r.JSON(tb)[name].(string)
	return s
}

var noRedirect = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport:     fresh{},
}

// Send makes a request, follows no redirect and reads the answer whole. The
// header lists names and values in turn.
func Send(tb testing.TB, method, target, body string, header ...string) Reply {
	tb.Helper()
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := noRedirect.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return Reply{resp.StatusCode, resp.Header, string(text)}
}

// PostJSON posts a JSON text.
func PostJSON(tb testing.TB, target, body string, header ...string) Reply {
	tb.Helper()
	return Send(tb, http.MethodPost, target, body, append([]string{"Content-Type", "application/json"}, header...)...)
}

// PostForm posts a form.
func PostForm(tb testing.TB, target string, form url.Values, header ...string) Reply {
	tb.Helper()
	return Send(tb, http.MethodPost, target, form.Encode(),
		append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
}

// Register registers a public client with one loopback redirect URI.
func Register(tb testing.TB, base string) *Client {
	tb.Helper()
	return RegisterAs(tb, base, `{"client_name":"Test","redirect_uris":["http://127.0.0.1/callback"]}`)
}

// RegisterAs registers a client with the metadata given.
func RegisterAs(tb testing.TB, base, metadata string) *Client {
	tb.Helper()
	reply := PostJSON(tb, base+"/oauth/register", metadata)
	if reply.Status != http.StatusCreated {
		tb.Fatalf("registering: %d %s", reply.Status, reply.Body)
	}
	m := reply.JSON(tb)
	uris, _ := m["redirect_uris"].([]any)
	c := &Client{
		Base: base, ID: reply.Text(tb, "client_id"), Secret: reply.Text(tb, "client_secret"),
		Verifier: strings.Repeat("verifier-0123456789.", 3),
	}
	if len(uris) > 0 {
		c.RedirectURI, _ = uris[0].(string)
	}
	return c
}

// Challenge returns the S256 challenge of a verifier.
func Challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// AuthorizeURL returns the URL of an ordinary authorization request, with the
// parameters given added or replaced, or removed where the value is "-".
func (c *Client) AuthorizeURL(params ...string) string {
	q := url.Values{
		"response_type": {"code"}, "client_id": {c.ID}, "redirect_uri": {c.RedirectURI}, "state": {"st-1"},
		"code_challenge": {Challenge(c.Verifier)}, "code_challenge_method": {"S256"}, "resource": {c.Base + "/mcp"},
	}
	for i := 0; i+1 < len(params); i += 2 {
		if params[i+1] == "-" {
			q.Del(params[i])
		} else {
			q.Set(params[i], params[i+1])
		}
	}
	return c.Base + "/oauth/authorize?" + q.Encode()
}

// Authorize sends an authorization request and returns the answer and the
// query of the redirect, nil if there was none.
func (c *Client) Authorize(tb testing.TB, params ...string) (Reply, url.Values) {
	tb.Helper()
	reply := Send(tb, http.MethodGet, c.AuthorizeURL(params...), "")
	location := reply.Header.Get("Location")
	if location == "" {
		return reply, nil
	}
	u, err := url.Parse(location)
	if err != nil {
		tb.Fatal(err)
	}
	return reply, u.Query()
}

// Code returns a fresh authorization code.
func (c *Client) Code(tb testing.TB, params ...string) string {
	tb.Helper()
	reply, q := c.Authorize(tb, params...)
	if q.Get("code") == "" {
		tb.Fatalf("no code: %d %s %s", reply.Status, reply.Header.Get("Location"), reply.Body)
	}
	return q.Get("code")
}

// TokenForm returns the form that redeems a code.
func (c *Client) TokenForm(code string) url.Values {
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {c.RedirectURI},
		"client_id": {c.ID}, "code_verifier": {c.Verifier},
	}
	if c.Secret != "" {
		form.Set("client_secret", c.Secret)
	}
	return form
}

// Redeem redeems a code.
func (c *Client) Redeem(tb testing.TB, code string) Reply {
	tb.Helper()
	return PostForm(tb, c.Base+"/oauth/token", c.TokenForm(code))
}

// Refresh redeems a refresh token, with further parameters as in AuthorizeURL.
func (c *Client) Refresh(tb testing.TB, token string, params ...string) Reply {
	tb.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {c.ID}}
	if c.Secret != "" {
		form.Set("client_secret", c.Secret)
	}
	for i := 0; i+1 < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	return PostForm(tb, c.Base+"/oauth/token", form)
}

// Tokens goes through the whole flow and returns an access and a refresh token.
func (c *Client) Tokens(tb testing.TB, params ...string) (access, refresh string) {
	tb.Helper()
	reply := c.Redeem(tb, c.Code(tb, params...))
	if reply.Status != http.StatusOK {
		tb.Fatalf("no token: %d %s", reply.Status, reply.Body)
	}
	return reply.Text(tb, "access_token"), reply.Text(tb, "refresh_token")
}

// Call calls the tool hello through the gateway with a token ("" for none).
func Call(tb testing.TB, base, token string, header ...string) Reply {
	tb.Helper()
	if token != "" {
		header = append(header, "Authorization", "Bearer "+token)
	}
	return PostJSON(tb, base+"/mcp/tools/call",
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hello","arguments":{"name":"world"}}}`, header...)
}
