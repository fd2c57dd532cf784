package caddymodule

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(ServerHandler{})
}

// ServerHandler answers the endpoints of the authorization server, and nothing
// else, on a host of their own that many protected sites share. Sites whose
// resource is on the issuer's own host don't need it.
type ServerHandler struct {
	app *App
}

// CaddyModule returns the Caddy module information.
func (ServerHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.mcp_auth_server",
		New: func() caddy.Module { return new(ServerHandler) },
	}
}

// Provision finds the app.
func (h *ServerHandler) Provision(ctx caddy.Context) error {
	var err error
	h.app, err = configuredApp(ctx)
	return err
}

// ServeHTTP answers paths of the authorization server and passes others on.
func (h *ServerHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	server, err := h.app.server()
	if err != nil {
		return caddyhttp.Error(http.StatusServiceUnavailable, err)
	}
	if !server.Owns(r.URL.Path) {
		return next.ServeHTTP(w, r)
	}
	if earlyData(r) {
		writeJSONError(w, tooEarly.Status, tooEarly.Code, tooEarly.Description)
		return nil
	}
	serveAuth(server, w, withMeta(r))
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*ServerHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*ServerHandler)(nil)
)
