package authserver

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

const (
	// healthTimeout bounds how long a probe waits for the store.
	healthTimeout = 2 * time.Second
	// behindLimit is for how long revocations of other nodes may be unknown.
	behindLimit = 5 * time.Second
)

type health struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// serveHealth answers 200 while the server can issue tokens and hears of
// revocations, and 503 with the reason while its store does not work, or while the
// process is about to end, which serves everything until then. With the query
// `node` it does not look at the store: a load balancer that took out all nodes
// because the one store is out would end the calls with tokens that exist already,
// which are still served. That holds for revocations too: a node that can't read
// them can't know whether others can.
func (s *Server) serveHealth(w http.ResponseWriter, r *http.Request) {
	noStore(w)
	if s.deps.Leaving != nil && s.deps.Leaving() {
		s.unhealthy(w, r, health{"leaving", "this node is shutting down: send requests to another one"}, oauth.Event{Code: oauth.CodeLeaving})
		return
	}
	if !r.URL.Query().Has("node") {
		if h, err := s.storeHealth(r.Context()); err != nil {
			s.unhealthy(w, r, h, oauth.Event{Code: oauth.CodeTemporarilyUnavailable, Err: err})
			return
		}
	}
	s.observe(r, oauth.Event{Kind: oauth.EventRequest, Reason: "health"})
	writeJSON(w, http.StatusOK, health{Status: "ok"})
}

// storeHealth returns an error if the store does not work for this node, and what
// to say of it.
func (s *Server) storeHealth(ctx context.Context) (health, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	if err := s.deps.Store.Ping(ctx); err != nil {
		return health{"unavailable", "the store does not work: sign-in and refresh are down, the log has the cause"}, err
	}
	if behind := s.deps.Revoked.Behind(); behind > behindLimit {
		return health{"behind", "revocations can't be read: this node does not know what others revoked, the log has the cause"},
			fmt.Errorf("revocations could not be read for %s", behind.Round(time.Second))
	}
	return health{}, nil
}

// unhealthy answers 503. The event says why.
func (s *Server) unhealthy(w http.ResponseWriter, r *http.Request, h health, e oauth.Event) {
	e.Kind, e.Reason, e.Status = oauth.EventRequest, "health", http.StatusServiceUnavailable
	s.observe(r, e)
	w.Header().Set("Retry-After", "5")
	writeJSON(w, http.StatusServiceUnavailable, h)
}
