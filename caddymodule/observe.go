package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// Bounds of texts in a log line, in bytes.
const (
	maxLogText  = 64  // hostile text
	maxLogCause = 512 // our own text, which may quote hostile text
)

// observer turns the core's events into log lines, metrics and Caddy events.
// It is the only place that does.
type observer struct {
	ctx    caddy.Context // what events.Emit asks for
	logger *zap.Logger
	total  *prometheus.CounterVec
	store  *prometheus.CounterVec
	calls  map[string]prometheus.Counter // of total, for calls with the codes that come often
	events *caddyevents.App
}

func newObserver(ctx caddy.Context, logger *zap.Logger) *observer {
	o := &observer{ctx: ctx, logger: logger, total: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "mcp_auth", Name: "events_total",
		Help: "Counter of protocol steps by kind and OAuth error code; empty for success, no_token for a call without one, leaving for a health check of a node that is about to end, the source for client_metadata.",
	}, []string{"kind", "code"})}
	o.total = registered(ctx, o.total)
	o.store = registered(ctx, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "mcp_auth", Name: "store_errors_total",
		Help: "Counter of calls that the store could not do, by what was asked of it.",
	}, []string{"op"}))
	o.calls = map[string]prometheus.Counter{}
	for _, code := range []string{"", codeNoToken, oauth.CodeInvalidToken} {
		o.calls[code] = o.total.WithLabelValues(string(oauth.EventCall), code)
	}
	if app, err := ctx.App("events"); err == nil {
		o.events, _ = app.(*caddyevents.App)
	}
	return o
}

// registered returns a counter of Caddy's own metrics. Handlers without an app have
// an observer each, and one counter.
func registered(ctx caddy.Context, counter *prometheus.CounterVec) *prometheus.CounterVec {
	registry := ctx.GetMetricsRegistry()
	if registry == nil {
		return counter
	}
	var have prometheus.AlreadyRegisteredError
	if err := registry.Register(counter); errors.As(err, &have) {
		counter, _ = have.ExistingCollector.(*prometheus.CounterVec)
	}
	return counter
}

// storeFailed counts a call that the store could not do. Whoever made the call
// logs it.
func (o *observer) storeFailed(op string, _ error) { o.store.WithLabelValues(op).Inc() }

// Observe implements oauth.Observer.
func (o *observer) Observe(ctx context.Context, e oauth.Event) {
	if c := o.note(ctx, e); c != nil {
		c.Write(fields(e)...)
	}
	if o.events != nil && e.Kind != oauth.EventCall && e.Kind != oauth.EventIntrospect && e.Kind != oauth.EventRequest {
		o.events.Emit(o.ctx, "mcp_auth."+string(e.Kind), map[string]any{
			"code": e.Code, "client_id": short(e.ClientID), "subject": e.Subject, "resource": e.Resource,
			"scope": e.Scope, "family": e.GrantID, "login": e.Login, "reason": e.Reason, "request_id": e.RequestID,
		})
	}
}

// note counts an event, and returns the line that it is worth, or nil if that
// would not be written: nothing needs to be found out for it then.
func (o *observer) note(ctx context.Context, e oauth.Event) *zapcore.CheckedEntry {
	code := metricCode(e)
	if often, ok := o.calls[code]; ok && e.Kind == oauth.EventCall {
		often.Inc()
	} else {
		o.total.WithLabelValues(string(e.Kind), code).Inc()
	}
	return o.logger.Check(level(ctx, e), string(e.Kind))
}

// codeNoToken stands for the code of a call without a token, which has none.
const codeNoToken = "no_token"

// metricCode is the OAuth error code, no_token for a call without a token, which
// has no code, or where a client's metadata come from.
func metricCode(e oauth.Event) string {
	if e.Kind == oauth.EventClientMetadata {
		return e.Reason
	}
	if e.Kind == oauth.EventCall && e.Code == "" && e.Err != nil {
		return codeNoToken
	}
	return e.Code
}

// harmless are the reasons for a revocation that are no sign of misuse.
var harmless = []string{"user", "operator", "limit", "client"}

// level: outages are errors, which a node that leaves is not; theft is a warning. What the access log has too is
// debug, unless something was refused for its credentials or the request is
// kept out of the access log: nobody can make a call without a line.
func level(ctx context.Context, e oauth.Event) zapcore.Level {
	skipped, _ := caddyhttp.GetVar(ctx, caddyhttp.LogSkipVar).(bool)
	switch {
	case e.Code == oauth.CodeLeaving:
		return zapcore.InfoLevel
	case e.Status >= http.StatusInternalServerError:
		return zapcore.ErrorLevel
	case e.Kind == oauth.EventRevoke && !slices.Contains(harmless, e.Reason):
		return zapcore.WarnLevel
	case skipped:
		return zapcore.InfoLevel
	case e.Kind == oauth.EventRequest, e.Kind == oauth.EventCall && e.Code == "", e.Kind == oauth.EventIntrospect && e.Code == "":
		return zapcore.DebugLevel
	}
	return zapcore.InfoLevel
}

// fields lists what is set. Hostile text is cut; zap escapes it.
func fields(e oauth.Event) []zap.Field {
	out := make([]zap.Field, 0, 12)
	for _, f := range []struct{ key, value string }{
		{"request_id", e.RequestID},
		{"remote_ip", e.RemoteIP},
		{"error", e.Code},
		{"client_id", short(e.ClientID)},
		{"client_name", short(e.ClientName)},
		{"grant_type", e.GrantType},
		{"resource", e.Resource},
		{"scope", short(e.Scope)},
		{"subject", short(e.Subject)},
		{"login", e.Login},
		{"family", e.GrantID},
		{"reason", e.Reason},
	} {
		if f.value != "" {
			out = append(out, zap.String(f.key, f.value))
		}
	}
	if e.Status != 0 {
		out = append(out, zap.Int("status", e.Status))
	}
	if e.Err != nil {
		out = append(out, zap.String("cause", cut(e.Err.Error(), maxLogCause)))
	}
	return out
}

// short cuts text. The beginning of a sealed client_id holds its nonce, which
// is enough to tell clients apart.
func short(s string) string { return cut(s, maxLogText) }

func cut(s string, limit int) string {
	if len(s) > limit {
		return s[:limit] + "…"
	}
	return s
}

var _ oauth.Observer = (*observer)(nil)
