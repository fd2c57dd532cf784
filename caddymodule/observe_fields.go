package caddymodule

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// Bounds of texts in a log line, in bytes.
const (
	maxLogText     = 64  // hostile text
	maxLogName     = 128 // tools and prompts: no longer, says MCP
	maxLogArgument = 256 // each of those that a rule names
	maxLogWho      = 256 // users and scopes, which a provider or a configuration made
	maxLogURI      = 512
	maxLogCause    = 512 // our own text, which may quote hostile text

	// maxLogArguments is how many arguments a line has.
	maxLogArguments = 16
)

// fieldCause is the field that is for the log alone.
const fieldCause = "cause"

// fields lists what is set.
func fields(e oauth.Event) []zap.Field {
	out := make([]zap.Field, 0, 24)
	event := auditEvent(e)
	if event != "" {
		out = append(out, zap.String("event", event), zap.String("outcome", outcomeOf(e)))
	}
	tool, prompt := "", e.Name
	if e.Method == mcp.MethodCallTool {
		tool, prompt = e.Name, ""
	}
	for _, f := range []struct {
		key, value string
		limit      int
	}{
		{"request_id", e.RequestID, maxLogText},
		{"trace_id", e.TraceID, maxLogText},
		{"remote_ip", e.RemoteIP, maxLogText},
		{"error", e.Code, maxLogText},
		{"client_id", e.ClientID, clientIDLimit(e.ClientID)},
		{"client_name", e.ClientName, maxLogText},
		{"grant_type", e.GrantType, maxLogText},
		{"resource", e.Resource, maxLogURI},
		{"scope", e.Scope, maxLogWho},
		{"required_scope", e.RequiredScope, maxLogWho},
		{"subject", e.Subject, maxLogWho},
		{"login", e.Login, maxLogText},
		{"family", e.GrantID, maxLogText},
		{"jti", e.TokenID, maxLogText},
		{"method", e.Method, maxLogText},
		{"tool", tool, maxLogName},
		{"prompt", prompt, maxLogName},
		{"uri", e.URI, maxLogURI},
		{"rule", e.Rule, maxLogWho},
		{"reason", e.Reason, maxLogText},
	} {
		if f.value != "" {
			out = append(out, zap.String(f.key, harmlessText(f.value, f.limit)))
		}
	}
	if len(e.Arguments) > 0 {
		out = append(out, argumentsField(e.Arguments))
	}
	if e.Status != 0 {
		out = append(out, zap.Int("status", e.Status))
	}
	if event != "" && e.Duration > 0 {
		out = append(out, zap.Duration("duration", e.Duration))
	}
	if e.Bytes > 0 {
		out = append(out, zap.Int64("size", e.Bytes))
	}
	if e.Err != nil {
		out = append(out, zap.String(fieldCause, harmlessText(e.Err.Error(), maxLogCause)))
	}
	return out
}

// clientIDLimit is how much a line has of a client_id. The beginning of a sealed
// one holds its nonce, which is enough to tell clients apart; the address of a
// metadata document says more as a whole.
func clientIDLimit(id string) int {
	if strings.HasPrefix(id, "https://") {
		return maxLogWho
	}
	return maxLogText
}

// argumentsField lists the arguments that a rule names, by name.
func argumentsField(arguments map[string]string) zap.Field {
	names := slices.Sorted(maps.Keys(arguments))
	all := make([]zap.Field, 0, len(names))
	for _, name := range names[:min(len(names), maxLogArguments)] {
		all = append(all, zap.String(harmlessText(name, maxLogText), harmlessText(arguments[name], maxLogArgument)))
	}
	return zap.Dict("arguments", all...)
}

// harmlessText cuts text to a number of bytes, between characters, and escapes it
// as Go does if something in it can't be seen: line breaks, escape sequences of
// terminals, what turns the direction of writing, and bytes that are no UTF-8. A
// log's encoder does not do it for all of them, and every encoder is a module.
func harmlessText(s string, limit int) string {
	more := len(s) > limit
	if more {
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit]
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		quoted := strconv.Quote(s)
		s = quoted[1 : len(quoted)-1]
	}
	if more {
		s += "…"
	}
	return s
}
