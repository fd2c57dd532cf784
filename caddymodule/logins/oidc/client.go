package oidc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Limits of each request to the provider.
const (
	requestTimeout = 10 * time.Second
	maxBody        = 1 << 20 // bytes, after decompression
	maxHeader      = 64 << 10
	maxRedirects   = 3
)

// newClient returns the client for all requests to the provider. It goes through
// the proxy that the environment names, if any.
func newClient() *http.Client {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // somebody in this program replaced it
		base = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	}
	base = base.Clone()
	base.MaxResponseHeaderBytes = maxHeader
	base.MaxIdleConnsPerHost = 4
	return &http.Client{
		Transport:     limited{base},
		CheckRedirect: checkRedirect,
		Timeout:       requestTimeout,
	}
}

// limited cuts off answers that are too long.
type limited struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (l limited) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.Transport.RoundTrip(req)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxBody)
	}
	return resp, err
}

// errRedirect says that the provider tried to send this server elsewhere.
var errRedirect = errors.New("the provider redirects this server to another place")

// checkRedirect lets documents move within their origin. A redirect elsewhere
// would let whoever controls one page of the provider choose its endpoints, and
// a redirected POST would carry a code or a secret there.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	sameOrigin := req.URL.Scheme == first.URL.Scheme && req.URL.Host == first.URL.Host
	if first.Method != http.MethodGet || !sameOrigin || len(via) > maxRedirects {
		return errRedirect
	}
	return nil
}

// get fetches a document of the provider, with an access token unless it is
// empty. The error has nothing of the answer's body.
func (l *Login) get(ctx context.Context, target, accessToken string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return nil, nil, bounded(err)
	}
	req.Header.Set("Accept", "application/json")
	if accessToken != "" {
		req.Header.Set("Authorization", "Bearer "+accessToken)
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return nil, nil, bounded(err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is lost by it
	if resp.StatusCode != http.StatusOK {
		return nil, nil, bounded(fmt.Errorf("%s answered with status %d", target, resp.StatusCode))
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, nil, bounded(fmt.Errorf("reading the answer of %s: %w", target, err))
	}
	return body, resp.Header, nil
}
