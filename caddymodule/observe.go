package caddymodule

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// observer turns the core's events into log lines, metrics and Caddy events.
// It is the only place that does: audit.go says which lines are of the audit log
// and what becomes of a call, observe_fields.go what a line says, and
// observe_metrics.go what is counted.
type observer struct {
	ctx     caddy.Context // what events.Emit asks for
	logger  *zap.Logger   // of what is not audited
	audit   *zap.Logger
	metrics *metrics
	events  *caddyevents.App
}

func newObserver(ctx caddy.Context, logger *zap.Logger) *observer {
	o := &observer{ctx: ctx, logger: logger, audit: ctx.Logger(Handler{}).Named(auditLogger), metrics: newMetrics(ctx.GetMetricsRegistry())}
	if app, err := ctx.App("events"); err == nil {
		o.events, _ = app.(*caddyevents.App)
	}
	return o
}

// storeFailed counts a call that the store could not do. Whoever made the call
// logs it.
func (o *observer) storeFailed(op string, _ error) { o.metrics.store.inc(series{op}) }

// Observe implements oauth.Observer.
func (o *observer) Observe(ctx context.Context, e oauth.Event) {
	o.tell(ctx, e, o.note(ctx, e), o.hook(hookOf(e.Kind)))
}

// note counts an event, and returns the line that it is worth, or nil if that
// would not be written: nothing needs to be found out for it then.
func (o *observer) note(ctx context.Context, e oauth.Event) *zapcore.CheckedEntry {
	o.metrics.count(e)
	return o.line(ctx, e, false)
}

// line returns the line that an event is worth, or nil. calls says whether every
// call is written.
func (o *observer) line(ctx context.Context, e oauth.Event, calls bool) *zapcore.CheckedEntry {
	logger := o.logger
	if auditEvent(e) != "" {
		logger = o.audit
	}
	return logger.Check(level(ctx, e, calls), string(e.Kind))
}

// hookOf is the Caddy event of a kind, or "" if there is none: documents, pages and
// answers about tokens are for the log alone, and calls have auditCall.
func hookOf(kind oauth.EventKind) string {
	switch kind {
	case oauth.EventCall, oauth.EventIntrospect, oauth.EventRequest:
		return ""
	default:
		return hookPrefix + string(kind)
	}
}

// hookPrefix begins the name of every Caddy event of ours.
const hookPrefix = "mcp_auth."

// hook returns a Caddy event's name if anybody listens to it, or "".
func (o *observer) hook(name string) string {
	if name == "" || o.events == nil || !o.events.ShouldEmit(name) {
		return ""
	}
	return name
}

// tell writes the line and emits the Caddy event, of those that are wanted. Both
// say the same, but that the cause is for the log alone.
func (o *observer) tell(ctx context.Context, e oauth.Event, line *zapcore.CheckedEntry, hook string) {
	if line == nil && hook == "" {
		return
	}
	e.TraceID = traceID(ctx)
	if began, ok := caddyhttp.GetVar(ctx, "start_time").(time.Time); ok && e.Duration == 0 {
		e.Duration = time.Since(began)
	}
	all := fields(e)
	if hook != "" {
		data := zapcore.NewMapObjectEncoder()
		for _, f := range all {
			f.AddTo(data)
		}
		delete(data.Fields, fieldCause)
		o.events.Emit(o.ctx, hook, data.Fields)
	}
	if line != nil {
		line.Write(all...)
	}
}

// traceID is the W3C trace id of a request: that of Caddy's tracing, or else the one
// that its client sent, if that is valid, or else "".
func traceID(ctx context.Context) string {
	span := trace.SpanContextFromContext(ctx)
	if repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok && !span.IsValid() {
		if sent, ok := repl.GetString("http.request.header.Traceparent"); ok {
			carrier := propagation.MapCarrier{"traceparent": sent}
			span = trace.SpanContextFromContext(propagation.TraceContext{}.Extract(ctx, carrier))
		}
	}
	if !span.IsValid() {
		return ""
	}
	return span.TraceID().String()
}

// harmless are the reasons for a revocation that are no sign of misuse.
var harmless = []string{"user", "operator", "limit", "client", "client_deleted"}

// level: outages are errors, which a node that leaves is not; theft is a warning. What the access log has too is
// debug, unless something was refused for its credentials or by a rule, or the
// request is kept out of the access log: nobody can make a call without a line.
func level(ctx context.Context, e oauth.Event, calls bool) zapcore.Level {
	skipped, _ := caddyhttp.GetVar(ctx, caddyhttp.LogSkipVar).(bool)
	switch {
	case e.Code == oauth.CodeLeaving:
		return zapcore.InfoLevel
	case e.Status >= http.StatusInternalServerError:
		return zapcore.ErrorLevel
	case e.Kind == oauth.EventRevoke && e.Err == nil && !slices.Contains(harmless, e.Reason):
		return zapcore.WarnLevel
	case skipped:
		return zapcore.InfoLevel
	case e.Kind == oauth.EventRequest, e.Kind == oauth.EventCall && !calls && usual(e), e.Kind == oauth.EventIntrospect && e.Code == "":
		return zapcore.DebugLevel
	}
	return zapcore.InfoLevel
}

// usual reports whether a call is one of those that fill the access log: it passed,
// or it had no token, as the first call of every client.
func usual(e oauth.Event) bool {
	switch outcomeOf(e) {
	case oauth.OutcomeAllowed:
		return true
	case oauth.OutcomeUnauthorized:
		return e.Code == ""
	}
	return false
}

// Interface guard
var _ oauth.Observer = (*observer)(nil)
