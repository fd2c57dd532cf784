package fetch

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"code.dny.dev/ssrf"
	"golang.org/x/net/publicsuffix"
)

const (
	defaultTimeout     = 5 * time.Second
	defaultConcurrency = 16
	defaultPerSite     = 2
	// DefaultMaxBody is the recommended limit of a client metadata document
	// (draft-ietf-oauth-client-id-metadata-document section 6.6).
	DefaultMaxBody = 5 << 10
	// maxHeader bounds the header of an answer, in bytes.
	maxHeader = 16 << 10
)

// Options say how a Client fetches. The zero value is the strict one.
type Options struct {
	// Timeout bounds a fetch from the name's resolution to the last byte. The
	// default is 5 s.
	Timeout time.Duration
	// Concurrency is how many fetches are under way at once. The default is 16.
	Concurrency int
	// PerHost is the same for one site, which is all hosts below one registered
	// domain: whoever has a domain has as many host names as he likes. The
	// default is 2.
	PerHost int
	// Ports are those that may be connected to. The default is 443 alone.
	Ports []uint16
	// Proxy is the proxy to fetch through; those of the environment are ignored.
	// It then resolves the names, so that it has to refuse private addresses
	// itself.
	Proxy *url.URL
	// UserAgent names us to the hosts. The default is caddy-mcp-auth.
	UserAgent string
	// AllowPrivate is for addresses of the configuration only, never for those
	// that a request names: addresses of every kind and every port may be
	// connected to, an IP address may stand for the host, http is good on
	// loopback, and the proxy of the environment is used where Proxy is nil.
	AllowPrivate bool

	// Permit allows an address that would be refused. RootCAs replaces the
	// system's, and Lookup the resolver. Only tests set them: a test over the
	// source holds that.
	Permit  func(netip.AddrPort) bool
	RootCAs *x509.CertPool
	Lookup  func(ctx context.Context, host string, port uint16) ([]netip.AddrPort, error)
}

// Client fetches documents. It is safe for concurrent use.
type Client struct {
	opts      Options
	transport *http.Transport
	gate      *gate
}

// New returns a client. It keeps no connections and needs no closing.
func New(o Options) *Client {
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	o.Concurrency = cmp.Or(o.Concurrency, defaultConcurrency)
	o.PerHost = cmp.Or(o.PerHost, defaultPerSite)
	o.UserAgent = cmp.Or(o.UserAgent, "caddy-mcp-auth")
	if len(o.Ports) == 0 {
		o.Ports = []uint16{443}
	}
	d := &dialer{Dialer: net.Dialer{Timeout: o.Timeout, KeepAlive: -1}, lookup: o.Lookup}
	if o.Proxy == nil && !o.AllowPrivate {
		g := guard{public: ssrf.New(ssrf.WithPorts(o.Ports...)), permit: o.Permit}
		d.Control = g.control
	}
	c := &Client{opts: o, gate: newGate(o.Concurrency, o.PerHost), transport: &http.Transport{
		DialContext:            d.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		TLSHandshakeTimeout:    o.Timeout,
		MaxResponseHeaderBytes: maxHeader,
		// One connection, one answer: nothing is left open at a stranger's, and
		// every fetch passes the address check again.
		DisableKeepAlives:  true,
		DisableCompression: true,
		Protocols:          new(http.Protocols),
	}}
	// HTTP/2 gains nothing for one document and is much more to get wrong.
	c.transport.Protocols.SetHTTP1(true)
	switch {
	case o.Proxy != nil:
		c.transport.Proxy = http.ProxyURL(o.Proxy)
	case o.AllowPrivate:
		c.transport.Proxy = http.ProxyFromEnvironment
	}
	return c
}

// Request says what to fetch of an address.
type Request struct {
	// Accept is the header of that name. The default is application/json.
	Accept string
	// MaxBody bounds the body, in bytes. The default is DefaultMaxBody.
	MaxBody int64
	// ETag and LastModified, as an earlier answer had them, ask for the document
	// only if it changed.
	ETag, LastModified string

	// Form, if it is set, is posted. User and Password are sent as HTTP Basic
	// authentication. Both are for clients with AllowPrivate only: nothing of
	// ours is sent to an address that a request names.
	Form           url.Values
	User, Password string
}

// Response is an answer: a document, or that it did not change.
type Response struct {
	Body   []byte
	Header http.Header
	// NotModified says that the document is the one whose validator was sent.
	NotModified bool
}

// Check reports an error, which wraps ErrURL, unless the client fetches from
// such an address. It resolves nothing.
func (c *Client) Check(rawURL string) error {
	_, err := c.parse(rawURL)
	return err
}

func (c *Client) parse(rawURL string) (*url.URL, error) {
	if c.opts.AllowPrivate {
		return parseConfigured(rawURL)
	}
	u, err := parsePublic(rawURL)
	if err != nil {
		return nil, err
	}
	port, _ := strconv.ParseUint(cmp.Or(u.Port(), "443"), 10, 16) // parsePublic looked at it
	if !slices.Contains(c.opts.Ports, uint16(port)) {
		return nil, refuse("its port is not one that is fetched from")
	}
	return u, nil
}

// parseConfigured reads an address that the configuration names.
func parseConfigured(rawURL string) (*url.URL, error) {
	u, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	ip, notIP := netip.ParseAddr(u.Hostname())
	loopback := u.Hostname() == "localhost" || notIP == nil && ip.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return nil, refuse("it must use https, or http on this machine")
	}
	return u, nil
}

// Get fetches a document: one request, without redirects or cookies.
// Only 200 is success, and 304 where a validator was sent (SPEC E4).
func (c *Client) Get(ctx context.Context, rawURL string, r Request) (*Response, error) {
	req, err := c.request(ctx, rawURL, r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	leave, err := c.gate.enter(ctx, siteOf(req.URL.Hostname()))
	if err != nil {
		return nil, fmt.Errorf("fetching from %s: %w", req.URL.Host, err)
	}
	defer leave()
	resp, err := c.do(ctx, req.WithContext(ctx), cmp.Or(r.MaxBody, DefaultMaxBody))
	if err != nil {
		return nil, fmt.Errorf("fetching from %s: %w", req.URL.Host, err)
	}
	return resp, nil
}

func (c *Client) request(ctx context.Context, rawURL string, r Request) (*http.Request, error) {
	u, err := c.parse(rawURL)
	if err != nil {
		return nil, err
	}
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if r.Form != nil {
		method, body = http.MethodPost, strings.NewReader(r.Form.Encode())
	}
	if (r.Form != nil || r.User != "") && !c.opts.AllowPrivate {
		return nil, refuse("a form or credentials go to configured addresses only")
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, ErrURL
	}
	req.Header.Set("Accept", cmp.Or(r.Accept, "application/json"))
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", c.opts.UserAgent)
	if r.Form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if r.User != "" {
		req.SetBasicAuth(r.User, r.Password)
	}
	for name, value := range map[string]string{"If-None-Match": r.ETag, "If-Modified-Since": r.LastModified} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	return req, nil
}

// siteOf returns the registered domain of a host, or the host.
func siteOf(host string) string {
	host = strings.ToLower(host)
	if domain, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return domain
	}
	return host
}

// do sends the request past everything in http.Client: redirects, cookies and
// the Referer are its doing.
func (c *Client) do(ctx context.Context, req *http.Request, limit int64) (*Response, error) {
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, classify(ctx, err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	conditional := req.Header.Get("If-None-Match")+req.Header.Get("If-Modified-Since") != ""
	switch code := resp.StatusCode; {
	case code == http.StatusNotModified && conditional:
		return &Response{Header: resp.Header, NotModified: true}, nil
	case code == http.StatusNotFound || code == http.StatusGone:
		return nil, ErrGone
	case code >= 300 && code < 400 && code != http.StatusNotModified:
		return nil, fmt.Errorf("%w: status %d", ErrRedirect, code)
	case code != http.StatusOK:
		return nil, fmt.Errorf("%w: status %d", ErrStatus, code)
	}
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, ErrEncoding
	}
	if resp.ContentLength > limit {
		return nil, ErrTooLarge
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, classify(ctx, err)
	case int64(len(body)) > limit:
		return nil, ErrTooLarge
	}
	return &Response{Body: body, Header: resp.Header}, nil
}
