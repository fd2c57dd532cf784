package caddymodule

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// exiting are the streams that end when the process is about to end, or Caddy would wait for their clients to go away. It belongs to the
// process and not to a configuration, because streams outlive reloads.
var exiting openStreams

// openStreams are streams that end together. They are spread over parts, so that
// they don't wait for each other when they come and go.
type openStreams struct {
	over  atomic.Bool
	turn  atomic.Uint32 // counts streams, to spread them
	parts [32]struct {
		mu   sync.Mutex
		open map[*responseGuard]struct{}
		_    [48]byte // a cache line of its own
	}
}

// add adds a stream; if the others have ended already, it ends as they did.
func (s *openStreams) add(g *responseGuard) {
	g.part = s.turn.Add(1) % uint32(len(s.parts))
	p := &s.parts[g.part]
	p.mu.Lock()
	over := s.over.Load()
	if !over {
		if p.open == nil {
			p.open = map[*responseGuard]struct{}{}
		}
		p.open[g] = struct{}{}
	}
	p.mu.Unlock()
	if over {
		g.exit()
	}
}

// remove forgets a stream that is over.
func (s *openStreams) remove(g *responseGuard) {
	p := &s.parts[g.part]
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, g)
}

// end ends all streams, and those that come later.
func (s *openStreams) end() {
	s.over.Store(true)
	for i := range s.parts {
		p := &s.parts[i]
		p.mu.Lock()
		for g := range p.open {
			g.exit()
		}
		p.mu.Unlock()
	}
}

// watchExit subscribes to the event that Caddy emits before it stops anything.
func watchExit(ctx caddy.Context) error {
	app, err := ctx.App("events")
	if err != nil {
		return err
	}
	return app.(*caddyevents.App).On("stopping", exitHandler{delay: func() time.Duration {
		// Handlers are provisioned by this app, so it can't be asked for before.
		app, err := ctx.AppIfConfigured("http")
		if err != nil {
			return 0
		}
		return time.Duration(app.(*caddyhttp.App).ShutdownDelay)
	}})
}

// exitHandler ends streams when the process is about to end.
type exitHandler struct {
	// delay is how long the HTTP app serves on before it stops (shutdown_delay).
	delay func() time.Duration
}

// Handle implements caddyevents.Handler. A reload stops the old configuration
// too, and keeps its streams. With a shutdown_delay they go on until it is over:
// it is there for calls to end by themselves, while a load balancer sends new
// ones elsewhere.
func (e exitHandler) Handle(context.Context, caddy.Event) error {
	if caddy.Exiting() {
		time.AfterFunc(e.delay(), exiting.end)
	}
	return nil
}
