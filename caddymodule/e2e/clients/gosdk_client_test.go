package clients_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"
)

// callTimeout bounds every step of a client.
const callTimeout = 30 * time.Second

// goClient is an MCP client program on the Go SDK: the SDK's OAuth handler, a
// loopback listener for the callback, and a browser that is one request.
type goClient struct {
	endpoint string
	rec      *recorder
	handler  auth.OAuthHandler
	callback *httptest.Server
	results  chan url.Values
	// person, unless nil, does at the browser what the pages of a sign-in ask
	// for, and returns what the program is called back with.
	person func(authorize string) url.Values
	// retries are those of a stream that broke; -1 for none.
	retries int
}

// goKnown says how the gateway knows the program.
type goKnown func(c *auth.AuthorizationCodeHandlerConfig)

// byDocument knows it by the document at a URL.
func byDocument(at string) goKnown {
	return func(c *auth.AuthorizationCodeHandlerConfig) {
		c.DynamicClientRegistrationConfig = nil
		c.ClientIDMetadataDocumentConfig = &auth.ClientIDMetadataDocumentConfig{URL: at}
	}
}

// byOperator knows it by the configuration; secret "" for a public client.
func byOperator(id, secret string) goKnown {
	return func(c *auth.AuthorizationCodeHandlerConfig) {
		c.DynamicClientRegistrationConfig = nil
		c.PreregisteredClient = &oauthex.ClientCredentials{ClientID: id}
		if secret != "" {
			c.PreregisteredClient.ClientSecretAuth = &oauthex.ClientSecretAuth{ClientSecret: secret}
		}
	}
}

// newGoClient returns a client that is registered nowhere, unless known says
// otherwise.
func newGoClient(t *testing.T, endpoint string, known ...goKnown) *goClient {
	t.Helper()
	c := &goClient{endpoint: endpoint, rec: newRecorder(), results: make(chan url.Values, 1), retries: -1}
	c.callback = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c.results <- r.URL.Query()
	}))
	t.Cleanup(c.callback.Close)
	config := &auth.AuthorizationCodeHandlerConfig{
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{
			Metadata: &oauthex.ClientRegistrationMetadata{
				ClientName:              "Go SDK test",
				RedirectURIs:            []string{c.callback.URL + "/callback"},
				GrantTypes:              []string{"authorization_code", "refresh_token"},
				TokenEndpointAuthMethod: "none",
			},
		},
		AuthorizationCodeFetcher: c.browse,
		RedirectURL:              c.callback.URL + "/callback",
		RequestRefreshToken:      true,
		Client:                   c.http(),
	}
	for _, k := range known {
		k(config)
	}
	handler, err := auth.NewAuthorizationCodeHandler(config)
	if err != nil {
		t.Fatal(err)
	}
	c.handler = handler
	return c
}

func (c *goClient) http() *http.Client { return &http.Client{Transport: c.rec} }

// browse opens the authorization URL, follows the redirect to the loopback
// listener and returns what arrived there.
func (c *goClient) browse(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
	if c.person != nil {
		q := c.person(args.URL)
		return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, args.URL, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http().Do(req)
	if err != nil {
		return nil, err
	}
	page, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	select {
	case q := <-c.results:
		if q.Get("error") != "" {
			return nil, fmt.Errorf("%s: %s", q.Get("error"), q.Get("error_description"))
		}
		return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
	default:
		return nil, fmt.Errorf("the browser stayed on a page: %s %s", resp.Status, page)
	}
}

// connect opens a session of a protocol revision ("" for the newest) that ends
// with the test. Where the path is /sse it speaks HTTP+SSE.
func (c *goClient) connect(t *testing.T, revision string) *mcp.ClientSession {
	t.Helper()
	// Not a shorter context: the SDK's SSE stream lives as long as it.
	ctx := t.Context()
	var transport mcp.Transport = &mcp.StreamableClientTransport{
		Endpoint: c.endpoint, HTTPClient: c.http(), OAuthHandler: c.handler, MaxRetries: c.retries,
	}
	if strings.HasSuffix(c.endpoint, "/sse") {
		// The SDK's SSE transport knows no OAuth; its HTTP client can.
		transport = &mcp.SSEClientTransport{Endpoint: c.endpoint, HTTPClient: &http.Client{
			Transport: &authorizing{base: c.rec, handler: c.handler, endpoint: c.endpoint},
		}}
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "caddy-mcp-auth-e2e", Version: "1.0.0"}, nil)
	session, err := client.Connect(ctx, transport, &mcp.ClientSessionOptions{ProtocolVersion: revision})
	if err != nil {
		c.rec.take().log(t)
		t.Fatalf("connecting to %s: %v", c.endpoint, err)
	}
	t.Cleanup(func() { _ = session.Close() }) // the gateway may be gone
	return session
}

// call calls a tool and returns its text.
func call(t *testing.T, s *mcp.ClientSession, tool string, args map[string]any) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		return "", err
	}
	if len(res.Content) != 1 || res.IsError {
		return "", fmt.Errorf("%s answered %+v", tool, res)
	}
	text, ok := res.Content[0].(*mcp.TextContent)
	if !ok {
		return "", fmt.Errorf("%s answered a %T", tool, res.Content[0])
	}
	return text.Text, nil
}

// hello calls the tool hello and expects its greeting.
func hello(t *testing.T, s *mcp.ClientSession, name string) {
	t.Helper()
	text, err := call(t, s, "hello", map[string]any{"name": name})
	if want := "Hello, " + name + "!"; err != nil || text != want {
		t.Fatalf("hello: %q, %v; want %q", text, err, want)
	}
}

// authorizing is an HTTP transport that does with an OAuthHandler what the
// interface's documentation asks of a transport.
type authorizing struct {
	base     http.RoundTripper
	handler  auth.OAuthHandler
	endpoint string
}

// RoundTrip implements http.RoundTripper.
func (a *authorizing) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := a.send(req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
		return resp, err
	}
	// The session's messages go to a URL of their own; what is protected is
	// the endpoint.
	called := req.Clone(req.Context())
	if called.URL, err = url.Parse(a.endpoint); err != nil {
		return nil, err
	}
	if err := a.handler.Authorize(req.Context(), called, resp); err != nil {
		return nil, err
	}
	return a.send(req)
}

func (a *authorizing) send(req *http.Request) (*http.Response, error) {
	out := req.Clone(req.Context())
	if req.GetBody != nil {
		var err error
		if out.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	source, err := a.handler.TokenSource(req.Context())
	if err != nil {
		return nil, err
	}
	if source != nil {
		token, err := source.Token()
		var refused *oauth2.RetrieveError
		switch {
		case err == nil:
			token.SetAuthHeader(out)
		case !errors.As(err, &refused) || refused.ErrorCode != "invalid_grant":
			return nil, err
		}
	}
	return a.base.RoundTrip(out)
}
