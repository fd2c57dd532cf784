package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

func init() {
	caddy.RegisterModule(Admin{})
}

// Admin adds the management of keys and personal access tokens to Caddy's admin endpoint:
//
//	GET  /mcp_auth/keys          lists the signing keys
//	POST /mcp_auth/keys/rotate   adds new keys; they take over after ten minutes,
//	                             or at once with ?immediately
//	POST /mcp_auth/keys/retire   makes new keys and drops all others: every token,
//	                             session and client registration ends
//
//	GET    /mcp_auth/personal_tokens?user=…  lists somebody's personal access tokens
//	POST   /mcp_auth/personal_tokens         makes one, see authserver.PersonalOrder
//	DELETE /mcp_auth/personal_tokens?id=…    revokes one
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
		{Pattern: "/mcp_auth/keys", Handler: adminHandler(methods{http.MethodGet: listKeys})},
		{Pattern: "/mcp_auth/keys/rotate", Handler: adminHandler(methods{http.MethodPost: rotateKeys})},
		{Pattern: "/mcp_auth/keys/retire", Handler: adminHandler(methods{http.MethodPost: retireKeys})},
		{Pattern: personalTokensPath, Handler: adminHandler(methods{
			http.MethodGet: listPersonalTokens, http.MethodPost: mintPersonalToken, http.MethodDelete: revokePersonalToken,
		})},
	}
}

// methods are what an admin endpoint does, by HTTP method.
type methods map[string]func(*App, *http.Request) (any, error)

// adminHandler finds the running app and writes what the method's function
// returns.
func adminHandler(all methods) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		f, ok := all[r.Method]
		if !ok {
			return caddy.APIError{
				HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("use %s", strings.Join(slices.Sorted(maps.Keys(all)), ", ")),
			}
		}
		guest, err := caddy.ActiveContext().AppIfConfigured("mcp_auth")
		if err != nil {
			return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errors.New("no mcp_auth app is running")}
		}
		answer, err := f(guest.(*App), r.WithContext(store.WithBudget(r.Context(), stepTimeout)))
		if err != nil {
			return adminError(err)
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Type", "application/json")
		return json.NewEncoder(w).Encode(answer)
	}
}

// adminError is an error with its status. Operators see the cause too.
func adminError(err error) caddy.APIError {
	var e *oauth.Error
	if !errors.As(err, &e) {
		return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err}
	}
	text := e.Description
	if cause := errors.Unwrap(e); cause != nil {
		text += ": " + cause.Error()
	}
	return caddy.APIError{HTTPStatus: e.Status, Err: errors.New(text), Message: text}
}

func listKeys(a *App, _ *http.Request) (any, error) {
	return a.keys.Ring().Describe(), nil
}

func rotateKeys(a *App, r *http.Request) (any, error) {
	if err := a.keys.Rotate(r.Context(), a.clock.Now(), r.URL.Query().Has("immediately")); err != nil {
		return nil, err
	}
	a.observer.Observe(r.Context(), oauth.Event{Kind: oauth.EventKeys, Reason: "manual_rotation"})
	return listKeys(a, r)
}

func retireKeys(a *App, r *http.Request) (any, error) {
	dropped, err := a.keys.Retire(r.Context(), a.clock.Now())
	if err != nil {
		return nil, err
	}
	a.observer.Observe(r.Context(), oauth.Event{Kind: oauth.EventKeys, Reason: "retirement"})
	return map[string]any{"sealing_keys_dropped": dropped, "signing_keys": a.keys.Ring().Describe()}, nil
}

// Interface guards
var _ caddy.AdminRouter = (*Admin)(nil)
