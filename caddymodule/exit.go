package caddymodule

import (
	"context"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

// exiting is closed when the process is about to end: open event streams end
// with it, or Caddy would wait for their clients to go away. It belongs to the
// process and not to a configuration, because streams outlive reloads.
var (
	exiting    = make(chan struct{})
	endStreams = sync.OnceFunc(func() { close(exiting) })
)

// watchExit subscribes to the event that Caddy emits before it stops anything.
func watchExit(ctx caddy.Context) error {
	app, err := ctx.App("events")
	if err != nil {
		return err
	}
	return app.(*caddyevents.App).On("stopping", exitHandler{})
}

type exitHandler struct{}

// Handle implements caddyevents.Handler. A reload stops the old configuration
// too, and keeps its streams.
func (exitHandler) Handle(context.Context, caddy.Event) error {
	if caddy.Exiting() {
		endStreams()
	}
	return nil
}
