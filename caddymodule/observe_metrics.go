package caddymodule

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// metrics are what is counted, in Caddy's own registry. No label has a value that
// somebody outside can make up.
type metrics struct {
	total, store, calls, decisions *counters
}

// newMetrics registers the counters, or finds them: handlers without an app have an
// observer each, and one set of counters. A nil registry keeps them to itself.
func newMetrics(registry *prometheus.Registry) *metrics {
	counter := func(name, help string, labels ...string) *counters {
		return newCounters(registry, prometheus.CounterOpts{Namespace: "caddy", Subsystem: "mcp_auth", Name: name, Help: help}, labels)
	}
	return &metrics{
		total: counter("events_total",
			"Counter of protocol steps by kind and OAuth error code; empty for success, no_token for a call without one, leaving for a health check of a node that is about to end, the source for client_metadata.",
			"kind", "code"),
		store: counter("store_errors_total", "Counter of calls that the store could not do, by what was asked of it.", "op"),
		calls: counter("calls_total",
			"Counter of calls by MCP method and outcome; the method is empty if nobody had to read the call, and other if MCP does not have it.",
			"method", "outcome"),
		decisions: counter("decisions_total", "Counter of decisions about calls, by resource, rule and outcome.", "resource", "rule", "outcome"),
	}
}

// count counts an event.
func (m *metrics) count(e oauth.Event) {
	m.total.inc(series{string(e.Kind), metricCode(e)})
	if e.Kind != oauth.EventCall {
		return
	}
	outcome := outcomeOf(e)
	m.calls.inc(series{metricMethod(e.Method), outcome})
	if e.Rule != "" {
		m.decisions.inc(series{e.Resource, e.Rule, outcome})
	}
}

// codeNoToken stands for the code of a call without a token, which has none.
const codeNoToken = "no_token"

// metricCode is the OAuth error code, no_token for a call without a token, which
// has no code, or where a client's metadata come from.
func metricCode(e oauth.Event) string {
	if e.Kind == oauth.EventClientMetadata {
		return e.Reason
	}
	if e.Kind == oauth.EventCall && e.Code == "" && e.Err != nil && outcomeOf(e) == oauth.OutcomeUnauthorized {
		return codeNoToken
	}
	return e.Code
}

// methodOther stands for a method that MCP does not have.
const methodOther = "other"

// mcpMethods are those of MCP that clients call, in all revisions.
var mcpMethods = []string{
	"initialize", "ping", "server/discover", "logging/setLevel",
	mcp.MethodCallTool, mcp.MethodListTools,
	mcp.MethodGetPrompt, mcp.MethodListPrompts,
	mcp.MethodReadResource, mcp.MethodListResources, mcp.MethodListResourceTemplates, mcp.MethodSubscribe, mcp.MethodUnsubscribe,
	mcp.MethodComplete, mcp.MethodSubscriptionsListen,
	"tasks/get", "tasks/list", "tasks/result", "tasks/cancel", "tasks/update",
	"notifications/initialized", "notifications/cancelled", "notifications/progress", "notifications/roots/list_changed",
	"notifications/tasks/status",
}

func metricMethod(method string) string {
	if method == "" || slices.Contains(mcpMethods, method) {
		return method
	}
	return methodOther
}

// series are the values of a counter's labels, those that it has.
type series [3]string

// counters are the counters of a vector. To find one again takes no allocation,
// which WithLabelValues does.
type counters struct {
	vec    *prometheus.CounterVec
	labels int
	mu     sync.Mutex // held to add one to known
	known  atomic.Pointer[map[series]prometheus.Counter]
}

func newCounters(registry *prometheus.Registry, opts prometheus.CounterOpts, labels []string) *counters {
	c := &counters{vec: prometheus.NewCounterVec(opts, labels), labels: len(labels)}
	c.known.Store(&map[series]prometheus.Counter{})
	if registry == nil {
		return c
	}
	var have prometheus.AlreadyRegisteredError
	if err := registry.Register(c.vec); errors.As(err, &have) {
		c.vec, _ = have.ExistingCollector.(*prometheus.CounterVec)
	}
	return c
}

func (c *counters) inc(s series) {
	if counter, ok := (*c.known.Load())[s]; ok {
		counter.Inc()
		return
	}
	c.add(s).Inc()
}

// add makes the counter of a series known.
func (c *counters) add(s series) prometheus.Counter {
	c.mu.Lock()
	defer c.mu.Unlock()
	counter := c.vec.WithLabelValues(s[:c.labels]...)
	known := maps.Clone(*c.known.Load())
	known[s] = counter
	c.known.Store(&known)
	return counter
}
