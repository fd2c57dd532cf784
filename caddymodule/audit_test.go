package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	zapobserver "go.uber.org/zap/zaptest/observer"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// auditPage is where the schema is documented.
const auditPage = "../docs/audit.md"

var backquoted = regexp.MustCompile("^`([^`]+)`$")

// documented returns the first cells of the tables below a heading of the page that
// are one name.
func documented(t *testing.T, heading string) (names []string) {
	t.Helper()
	text, err := os.ReadFile(auditPage)
	if err != nil {
		t.Fatal(err)
	}
	_, below, _ := strings.Cut(string(text), "\n## "+heading+"\n")
	below, _, _ = strings.Cut(below, "\n## ")
	for line := range strings.Lines(below) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		if m := backquoted.FindStringSubmatch(strings.TrimSpace(cells[1])); m != nil {
			names = append(names, m[1])
		}
	}
	slices.Sort(names)
	return names
}

// everything is an event with all fields.
func everything() oauth.Event {
	return oauth.Event{
		Kind: oauth.EventCall, Err: errors.New("refused"), Code: "insufficient_scope", Status: http.StatusForbidden,
		Meta:     oauth.Meta{RequestID: "r", RemoteIP: "192.0.2.1"},
		ClientID: "c", ClientName: "C", GrantType: oauth.GrantAuthorizationCode, Resource: "https://a.example/mcp", Scope: "a", Subject: "alice",
		Login: "password", GrantID: "g", Reason: "x", Method: "tools/call", Name: "refund", URI: "file:///x", Arguments: map[string]string{"amount": "7"},
		Rule: "tool refund", RequiredScope: "a b", TokenID: "j", Outcome: oauth.OutcomeStepUp, Duration: time.Second, Bytes: 3, TraceID: "t",
	}
}

// TestAuditSchema: docs/audit.md has every field, event and outcome that there is,
// and no other.
func TestAuditSchema(t *testing.T) {
	prompt := everything()
	prompt.Method = "prompts/get"
	emitted := map[string]bool{}
	for _, e := range []oauth.Event{everything(), prompt} {
		for _, f := range fields(e) {
			emitted[f.Key] = true
		}
	}
	events, outcomes := map[string]bool{}, map[string]bool{}
	for _, outcome := range []string{
		oauth.OutcomeAllowed, oauth.OutcomeDenied, oauth.OutcomeStepUp, oauth.OutcomeWouldDeny, oauth.OutcomeLimited, oauth.OutcomeMalformed,
		oauth.OutcomeUnauthorized, oauth.OutcomeFailed,
	} {
		outcomes[outcome], events[callEvent(outcome)] = true, true
	}
	for _, kind := range []oauth.EventKind{
		oauth.EventRegister, oauth.EventAuthorize, oauth.EventToken, oauth.EventRevoke, oauth.EventIntrospect, oauth.EventSignIn, oauth.EventSignOut,
		oauth.EventDevToken, oauth.EventKeys, oauth.EventPersonalToken, oauth.EventClientMetadata, oauth.EventRequest,
	} {
		for _, grant := range []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken} {
			events[auditEvent(oauth.Event{Kind: kind, GrantType: grant})] = true
		}
	}
	delete(events, "")
	for heading, have := range map[string]map[string]bool{"Fields": emitted, "What is written": events, "Outcomes": outcomes} {
		if names := slices.Sorted(maps.Keys(have)); !slices.Equal(names, documented(t, heading)) {
			t.Errorf("%s: documented are %q, there are %q", heading, documented(t, heading), names)
		}
	}
}

// TestMetricsAreDocumented, and named as Prometheus wants it.
func TestMetricsAreDocumented(t *testing.T) {
	a := newAuditRig(t, zapcore.InfoLevel)
	a.auditCall(auditRequest(t), everything(), nil)
	a.back.observer.storeFailed("ping", nil)
	families, err := a.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	if slices.Sort(names); !slices.Equal(names, documented(t, "Metrics")) {
		t.Errorf("documented are %q, there are %q", documented(t, "Metrics"), names)
	}
	if problems, err := promlint.NewWithMetricFamilies(families).Lint(); err != nil || len(problems) > 0 {
		t.Error(err, problems)
	}
}

// auditRig is a handler whose audit log, hooks and metrics belong to the test.
type auditRig struct {
	*Handler
	logs     *zapobserver.ObservedLogs
	hooks    []caddy.Event
	registry *prometheus.Registry
}

// Handle implements caddyevents.Handler.
func (a *auditRig) Handle(_ context.Context, e caddy.Event) error {
	a.hooks = append(a.hooks, e)
	return nil
}

func newAuditRig(t *testing.T, least zapcore.Level) *auditRig {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	core, logs := zapobserver.New(least)
	logger := zap.New(core)
	a := &auditRig{logs: logs, registry: prometheus.NewRegistry()}
	app := new(caddyevents.App)
	if err := app.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"denial", "step_up", "call", "token", "request"} {
		if err := app.On("mcp_auth."+name, a); err != nil {
			t.Fatal(err)
		}
	}
	a.Handler = &Handler{Resource: []string{"https://a.example/mcp"}, back: &backing{
		observer: &observer{ctx: ctx, logger: logger.Named("mcp_auth"), audit: logger.Named("audit"), metrics: newMetrics(a.registry), events: app},
	}}
	return a
}

// auditRequest is a request as Caddy makes it.
func auditRequest(t *testing.T, header ...string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "https://a.example/mcp", nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), new(caddyhttp.Server))
	return withMeta(r)
}

// aToken is whose calls are audited.
func aToken() *resource.Token {
	return &resource.Token{AccessTokenClaims: oauth.AccessTokenClaims{
		Subject: "alice", ClientID: "c", ClientName: "C", Scope: "a", JWTID: "j", GrantID: "g", Login: "password",
	}}
}

// TestAuditOfCalls: which calls have a line, at which level, and which a Caddy event.
func TestAuditOfCalls(t *testing.T) {
	refused := errors.New("refused")
	for _, tt := range []struct {
		name  string
		e     oauth.Event
		all   bool
		event string
		level zapcore.Level
		hook  string
	}{
		{"allowed", oauth.Event{Outcome: oauth.OutcomeAllowed}, false, "call", zapcore.DebugLevel, ""},
		{"allowed, all are audited", oauth.Event{Outcome: oauth.OutcomeAllowed}, true, "call", zapcore.InfoLevel, "call"},
		{"the server behind fails", oauth.Event{Outcome: oauth.OutcomeFailed, Status: 500, Code: oauth.CodeServerError}, false, "call", zapcore.ErrorLevel, ""},
		{"the server behind fails, all are audited", oauth.Event{Outcome: oauth.OutcomeFailed, Status: 500, Code: oauth.CodeServerError}, true, "call", zapcore.ErrorLevel, "call"},
		{"without an outcome", oauth.Event{}, false, "call", zapcore.DebugLevel, ""},
		{"a dry run", oauth.Event{Outcome: oauth.OutcomeWouldDeny}, false, "call", zapcore.InfoLevel, ""},
		{"denied", oauth.Event{Outcome: oauth.OutcomeDenied, Status: 200}, false, "denial", zapcore.InfoLevel, "denial"},
		{"step-up", oauth.Event{Outcome: oauth.OutcomeStepUp, Status: 403}, false, "step_up", zapcore.InfoLevel, "step_up"},
		{"limited", oauth.Event{Err: refused, Status: 429, Code: oauth.CodeTemporarilyUnavailable}, false, "denial", zapcore.InfoLevel, "denial"},
		{"too long", oauth.Event{Err: refused, Status: 413, Code: oauth.CodeInvalidRequest}, false, "denial", zapcore.InfoLevel, "denial"},
		{"another origin", oauth.Event{Err: refused, Status: 403, Code: oauth.CodeAccessDenied}, false, "denial", zapcore.InfoLevel, "denial"},
		{"no token", oauth.Event{Err: refused, Status: 401}, false, "call", zapcore.DebugLevel, ""},
		{"no token, all are audited", oauth.Event{Err: refused, Status: 401}, true, "call", zapcore.InfoLevel, "call"},
		{"a bad token", oauth.Event{Err: refused, Status: 401, Code: oauth.CodeInvalidToken}, false, "call", zapcore.InfoLevel, ""},
		{"an outage", oauth.Event{Err: refused, Status: 503, Code: oauth.CodeTemporarilyUnavailable}, false, "call", zapcore.ErrorLevel, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAuditRig(t, zapcore.DebugLevel)
			a.auditCalls = tt.all
			a.auditCall(auditRequest(t), tt.e, aToken())
			lines := a.logs.All()
			if len(lines) != 1 || lines[0].LoggerName != "audit" || lines[0].Message != "call" || lines[0].Level != tt.level {
				t.Fatalf("lines: %+v", lines)
			}
			line := lines[0].ContextMap()
			if line["event"] != tt.event || line["subject"] != "alice" || line["resource"] != "https://a.example/mcp" || line["request_id"] == nil || line["duration"] == nil {
				t.Errorf("the line says %v", line)
			}
			var hooks []string
			for _, e := range a.hooks {
				hooks = append(hooks, strings.TrimPrefix(e.Name(), "mcp_auth."))
				delete(line, "cause")
				if got := slices.Sorted(maps.Keys(e.Data)); !slices.Equal(got, slices.Sorted(maps.Keys(line))) {
					t.Errorf("the data are %q, the line has %q", got, line)
				}
			}
			if want := strings.Fields(tt.hook); !slices.Equal(hooks, want) {
				t.Errorf("events %q, want %q", hooks, want)
			}
		})
	}
}

// TestAuditOfSteps: what is not a call goes to the audit log or to the other one,
// never to both.
func TestAuditOfSteps(t *testing.T) {
	for kind, want := range map[oauth.EventKind]string{
		oauth.EventToken: "audit token", oauth.EventRevoke: "audit revocation", oauth.EventAuthorize: "audit consent", oauth.EventSignIn: "audit sign_in",
		oauth.EventRegister: "mcp_auth", oauth.EventRequest: "mcp_auth", oauth.EventKeys: "mcp_auth",
	} {
		a := newAuditRig(t, zapcore.DebugLevel)
		a.back.observer.Observe(auditRequest(t).Context(), oauth.Event{Kind: kind})
		lines := a.logs.All()
		if len(lines) != 1 || lines[0].Message != string(kind) {
			t.Fatalf("%s: lines: %+v", kind, lines)
		}
		event, _ := lines[0].ContextMap()["event"].(string)
		if got := strings.TrimSpace(lines[0].LoggerName + " " + event); got != want {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
		if emitted := len(a.hooks) == 1; emitted != (kind == oauth.EventToken) {
			t.Errorf("%s: Caddy events %v", kind, a.hooks)
		}
	}
}

// TestAuditedTextIsHarmless (SPEC O41): one event is one line of text that can be
// seen, whoever chose the names, with every encoder of Caddy.
func TestAuditedTextIsHarmless(t *testing.T) {
	nasty := "a\r\n{\"event\":\"forged\"}\x1b[2J\x00\u2028\u202e\u200b\u0085\xff\"\\" + strings.Repeat("é", 1000)
	e := everything()
	for _, text := range []*string{
		&e.ClientID, &e.ClientName, &e.Scope, &e.Subject, &e.Method, &e.Name, &e.URI, &e.Rule, &e.RequiredScope, &e.TokenID, &e.Code, &e.Reason, &e.Login,
	} {
		*text = nasty
	}
	e.Err = errors.New(nasty)
	e.Arguments = map[string]string{}
	for i := range 100 {
		e.Arguments[strings.Repeat("x", i)+nasty] = nasty
	}
	config := zap.NewProductionEncoderConfig()
	for name, encoder := range map[string]zapcore.Encoder{"json": zapcore.NewJSONEncoder(config), "console": zapcore.NewConsoleEncoder(config)} {
		out, err := encoder.EncodeEntry(zapcore.Entry{Message: "call"}, fields(e))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.TrimSuffix(out.String(), "\n")
		for _, bad := range []string{"\n", "\r", "\x1b", "\x00", "\u2028", "\u202e", "\u200b", "\u0085", "\xff", "\ufffd"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s: the line has %q", name, bad)
			}
		}
		if len(text) > 32<<10 {
			t.Errorf("%s: the line has %d bytes", name, len(text))
		}
		if name != "json" {
			continue
		}
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil || line["event"] != "step_up" || len(line["arguments"].(map[string]any)) != maxLogArguments {
			t.Errorf("%v: %v", err, line)
		}
	}
	for in, want := range map[string]string{
		"plain": "plain", "日本 🙂 é": "日本 🙂 é", "a\nb": `a\nb`, "\u202e": `\u202e`, "\xff": `\xff`, "123456789": "12345678…", "1234567é": "1234567…",
	} {
		if limit := max(8, len(in)); len(in) == 9 {
			if got := harmlessText(in, 8); got != want {
				t.Errorf("%q: %q, want %q", in, got, want)
			}
		} else if got := harmlessText(in, limit); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestCallsThatNobodyAuditsAreFree: counting a call takes no allocation, and finds
// nothing out.
func TestCallsThatNobodyAuditsAreFree(t *testing.T) {
	a, r, token := newAuditRig(t, zapcore.InfoLevel), auditRequest(t), aToken()
	e := oauth.Event{Method: "tools/call", Name: "search", Rule: "tool search_*", Outcome: oauth.OutcomeAllowed, Status: 200}
	if n := testing.AllocsPerRun(200, func() { a.auditCall(r, e, token) }); n > 0 {
		t.Errorf("%.0f allocations", n)
	}
	if a.logs.Len() != 0 || len(a.hooks) != 0 {
		t.Errorf("lines %v, events %v", a.logs.All(), a.hooks)
	}
}

// TestHostileNamesAddNoSeries: what a client makes up is counted, under no name of
// its own.
func TestHostileNamesAddNoSeries(t *testing.T) {
	a, r := newAuditRig(t, zapcore.InfoLevel), auditRequest(t)
	a.back.observer.events = nil // who would write a line for each
	for i := range 1000 {
		name := strings.Repeat("x", i)
		a.auditCall(r, oauth.Event{Method: "zz/" + name, Name: name, URI: name, Rule: "default", Outcome: oauth.OutcomeDenied, ClientID: name}, nil)
		a.auditCall(r, oauth.Event{Method: "tools/call", Name: name, Rule: "tool search_*", Outcome: oauth.OutcomeAllowed}, nil)
	}
	for name, want := range map[string]map[string]float64{
		"caddy_mcp_auth_calls_total": {"other denied": 1000, "tools/call allowed": 1000},
		"caddy_mcp_auth_decisions_total": {
			"denied https://a.example/mcp default": 1000, "allowed https://a.example/mcp tool search_*": 1000,
		},
		"caddy_mcp_auth_events_total": {" call": 2000},
	} {
		if got := a.counted(t, name); !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// counted returns the series of a counter by the values of its labels, which
// Prometheus sorts by their names.
func (a *auditRig) counted(t *testing.T, name string) map[string]float64 {
	t.Helper()
	families, err := a.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if f.GetName() == name {
				found[strings.Join(values, " ")] = m.GetCounter().GetValue()
			}
		}
	}
	return found
}

// TestTraceID (SPEC N20): that of Caddy's tracing, or one that a client sent, if it
// is one.
func TestTraceID(t *testing.T) {
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	for sent, want := range map[string]string{
		"":                                  "",
		"00-" + id + "-00f067aa0ba902b7-01": id,
		"cc-" + id + "-00f067aa0ba902b7-01-later":                id,
		"ff-" + id + "-00f067aa0ba902b7-01":                      "",
		"00-" + strings.ToUpper(id) + "-00f067aa0ba902b7-01":     "",
		"00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01": "",
		"00-" + id + "-" + strings.Repeat("0", 16) + "-01":       "",
		"00-" + id: "", "\u202e\n": "", strings.Repeat("x", 5000): "",
	} {
		if got := traceID(auditRequest(t, "Traceparent", sent).Context()); got != want {
			t.Errorf("%q: %q, want %q", sent, got, want)
		}
	}
	if got := traceID(auditRequest(t, "Traceparent", "00-"+id+"-00f067aa0ba902b7-01", "Traceparent", "x").Context()); got != "" {
		t.Errorf("two headers: %q", got)
	}
	if got := traceID(t.Context()); got != "" {
		t.Errorf("no request: %q", got)
	}
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	ctx := trace.ContextWithSpanContext(auditRequest(t, "Traceparent", "00-"+id+"-00f067aa0ba902b7-01").Context(), span)
	if got := traceID(ctx); got != span.TraceID().String() {
		t.Errorf("Caddy's own: %q", got)
	}
}
