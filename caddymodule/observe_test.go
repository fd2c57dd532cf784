package caddymodule

import (
	"errors"
	"net/http"
	"testing"

	"go.uber.org/zap/zapcore"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// TestLevelOfHealth: an outage that a health check finds is an error; that a
// process is about to end is none, and found all the same.
func TestLevelOfHealth(t *testing.T) {
	for _, tt := range []struct {
		name string
		e    oauth.Event
		want zapcore.Level
	}{
		{"well", oauth.Event{}, zapcore.DebugLevel},
		{"leaving", oauth.Event{Code: oauth.CodeLeaving, Status: http.StatusServiceUnavailable}, zapcore.InfoLevel},
		{"an outage", oauth.Event{Code: oauth.CodeTemporarilyUnavailable, Status: http.StatusServiceUnavailable, Err: errors.New("gone")}, zapcore.ErrorLevel},
	} {
		tt.e.Kind, tt.e.Reason = oauth.EventRequest, "health"
		if got := level(t.Context(), tt.e, false); got != tt.want || metricCode(tt.e) != tt.e.Code {
			t.Errorf("%s: %s, code %q", tt.name, got, metricCode(tt.e))
		}
	}
}
