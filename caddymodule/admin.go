package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

func init() {
	caddy.RegisterModule(Admin{})
}

// Admin adds key management to Caddy's admin endpoint:
//
//	GET  /mcp_auth/keys          lists the signing keys
//	POST /mcp_auth/keys/rotate   adds new keys; they take over after ten minutes,
//	                             or at once with ?immediately
//	POST /mcp_auth/keys/retire   makes new keys and drops all others: every token,
//	                             session and client registration ends
type Admin struct{}

// CaddyModule returns the Caddy module information.
func (Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.mcp_auth",
		New: func() caddy.Module { return new(Admin) },
	}
}

// Routes implements caddy.AdminRouter.
func (a *Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/mcp_auth/keys", Handler: adminHandler(http.MethodGet, listKeys)},
		{Pattern: "/mcp_auth/keys/rotate", Handler: adminHandler(http.MethodPost, rotateKeys)},
		{Pattern: "/mcp_auth/keys/retire", Handler: adminHandler(http.MethodPost, retireKeys)},
	}
}

// adminHandler finds the running app and writes what f returns.
func adminHandler(method string, f func(*App, *http.Request) (any, error)) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != method {
			return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("use %s", method)}
		}
		guest, err := caddy.ActiveContext().AppIfConfigured("mcp_auth")
		if err != nil {
			return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errors.New("no mcp_auth app is running")}
		}
		answer, err := f(guest.(*App), r)
		if err != nil {
			return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err}
		}
		w.Header().Set("Content-Type", "application/json")
		return json.NewEncoder(w).Encode(answer)
	}
}

func listKeys(a *App, _ *http.Request) (any, error) {
	return a.keys.Ring().Describe(), nil
}

func rotateKeys(a *App, r *http.Request) (any, error) {
	if err := a.keys.Rotate(r.Context(), time.Now(), r.URL.Query().Has("immediately")); err != nil {
		return nil, err
	}
	a.observer.Observe(r.Context(), oauth.Event{Kind: oauth.EventKeys, Reason: "manual_rotation"})
	return listKeys(a, r)
}

func retireKeys(a *App, r *http.Request) (any, error) {
	dropped, err := a.keys.Retire(r.Context(), time.Now())
	if err != nil {
		return nil, err
	}
	a.observer.Observe(r.Context(), oauth.Event{Kind: oauth.EventKeys, Reason: "retirement"})
	return map[string]any{"sealing_keys_dropped": dropped, "signing_keys": a.keys.Ring().Describe()}, nil
}

// Interface guards
var _ caddy.AdminRouter = (*Admin)(nil)
