package authserver

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// healthTimeout bounds how long a probe waits for the store.
const healthTimeout = 2 * time.Second

type health struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// serveHealth answers 200 while the server can issue tokens, and 503 with the
// reason while its store does not work. Calls with tokens that exist already
// are still served then.
func (s *Server) serveHealth(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	noStore(w)
	if err := s.deps.Store.Ping(ctx); err != nil {
		s.observe(r, oauth.Event{Kind: oauth.EventRequest, Reason: "health", Err: err, Code: oauth.CodeTemporarilyUnavailable, Status: http.StatusServiceUnavailable})
		w.Header().Set("Retry-After", "5")
		writeJSON(w, http.StatusServiceUnavailable, health{"unavailable", "the store does not work: sign-in and refresh are down, the log has the cause"})
		return
	}
	s.observe(r, oauth.Event{Kind: oauth.EventRequest, Reason: "health"})
	writeJSON(w, http.StatusOK, health{Status: "ok"})
}
