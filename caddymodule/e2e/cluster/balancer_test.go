package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// healthEvery is how often the balancer asks the nodes for their health.
const healthEvery = 50 * time.Millisecond

// balancer is a load balancer as people run it: it hands requests to the nodes
// in turn, asks for their health, keeps connections, lets streams flow, and tries
// another node only where no connection came about, so that nothing was sent.
type balancer struct {
	// URL is where clients reach it: the issuer of all nodes.
	URL string

	mu     sync.Mutex
	nodes  []*url.URL
	out    map[*url.URL]bool // found ill
	turn   int
	served []int // which node got each request
	pooled *http.Transport
}

// newBalancer starts a balancer without nodes.
func newBalancer(tb testing.TB) *balancer {
	tb.Helper()
	port := gatewaytest.FreePort(tb)
	b := &balancer{
		URL: fmt.Sprintf("http://localhost:%d", port), out: map[*url.URL]bool{},
		pooled: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	}
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		tb.Fatal(err)
	}
	server := &http.Server{Handler: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Host, r.Out.URL.Scheme, r.Out.URL.Host = r.In.Host, "http", "node"
			r.SetXForwarded()
		},
		Transport:     b,
		FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, "the balancer got no answer: "+err.Error(), http.StatusBadGateway)
		},
	}}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(ln) })
	done.Go(func() { b.watch(ctx) })
	tb.Cleanup(func() {
		cancel()
		_ = server.Close()
		done.Wait()
		b.pooled.CloseIdleConnections()
	})
	return b
}

// add takes a node in.
func (b *balancer) add(tb testing.TB, node string) {
	tb.Helper()
	u, err := url.Parse(node)
	if err != nil {
		tb.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nodes = append(b.nodes, u)
}

// isOut reports whether a node was found ill.
func (b *balancer) isOut(i int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out[b.nodes[i]]
}

// next returns the nodes in the order in which a request is to try them.
func (b *balancer) next() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn++
	var order []int
	for i := range b.nodes {
		if n := (b.turn + i) % len(b.nodes); !b.out[b.nodes[n]] {
			order = append(order, n)
		}
	}
	return order
}

// RoundTrip implements http.RoundTripper. It reads the request first, as most
// balancers do, so that each try has a body of its own.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	err := errors.New("no node is well")
	for _, i := range b.next() {
		b.mu.Lock()
		node := b.nodes[i]
		b.mu.Unlock()
		try := r.Clone(r.Context())
		try.URL.Host = node.Host
		if r.Body != nil {
			try.Body = io.NopCloser(bytes.NewReader(body))
		}
		var resp *http.Response
		if resp, err = b.pooled.RoundTrip(try); err == nil {
			b.mu.Lock()
			b.served = append(b.served, i)
			b.mu.Unlock()
			return resp, nil
		}
		if dial := new(net.OpError); !errors.As(err, &dial) || dial.Op != "dial" {
			break
		}
	}
	return nil, err
}

// hops forgets which nodes were asked, makes the next request go to the node
// given, and returns a function that lists the nodes that were asked since.
func (b *balancer) hops(first int) func() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.served, b.turn = nil, first-1+len(b.nodes)
	return func() []int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return append([]int(nil), b.served...)
	}
}

// watch asks the nodes for their health until the context ends.
func (b *balancer) watch(ctx context.Context) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for tick := time.NewTicker(healthEvery); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		b.mu.Lock()
		nodes := append([]*url.URL(nil), b.nodes...)
		b.mu.Unlock()
		for _, node := range nodes {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, node.String()+"/oauth/health?node", nil)
			if err != nil {
				return
			}
			resp, err := client.Do(req)
			ill := err != nil || resp.StatusCode != http.StatusOK
			if err == nil {
				_ = resp.Body.Close()
			}
			b.mu.Lock()
			b.out[node] = ill
			b.mu.Unlock()
		}
	}
}
