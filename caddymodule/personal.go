package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// personalTokens lets a handler accept the personal access tokens of the app's
// authorization server.
type personalTokens struct{ app *App }

// Recognizes implements resource.Kind.
func (personalTokens) Recognizes(raw string) bool { return authserver.LooksPersonal(raw) }

// Verify implements resource.Kind.
func (p personalTokens) Verify(ctx context.Context, raw string) (*resource.Token, error) {
	server, err := p.app.server()
	if err != nil {
		return nil, errors.Join(resource.ErrUnavailable, err)
	}
	claims, err := server.VerifyPersonal(ctx, raw)
	switch {
	case errors.Is(err, authserver.ErrPersonalDenied):
		return nil, err
	case errors.Is(err, authserver.ErrPersonalThrottled):
		return nil, errors.Join(resource.ErrThrottled, err)
	case err != nil:
		return nil, errors.Join(resource.ErrUnavailable, err)
	}
	// No other clock has signed this: its streams end when it does.
	claims.Expires -= int64(resource.Leeway.Seconds())
	return resource.NewToken(claims)
}

// personalTokensPath is where the admin endpoint has them.
const personalTokensPath = "/mcp_auth/personal_tokens"

// maxOrder bounds an order for a token, in bytes.
const maxOrder = 64 << 10

func listPersonalTokens(a *App, r *http.Request) (any, error) {
	server, err := a.server()
	if err != nil {
		return nil, err
	}
	user := r.URL.Query().Get("user")
	if user == "" {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "say whose tokens: ?user= is the user as servers know them, X-Mcp-User")
	}
	return server.PersonalTokens(r.Context(), user)
}

func mintPersonalToken(a *App, r *http.Request) (any, error) {
	server, err := a.server()
	if err != nil {
		return nil, err
	}
	var order authserver.PersonalOrder
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxOrder))
	if err == nil {
		err = json.Unmarshal(body, &order)
	}
	if err != nil {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the order is not JSON").WithCause(fmt.Errorf("reading the order: %w", err))
	}
	return server.OrderPersonal(r.Context(), order)
}

func revokePersonalToken(a *App, r *http.Request) (any, error) {
	server, err := a.server()
	if err != nil {
		return nil, err
	}
	return server.RevokePersonal(r.Context(), r.URL.Query().Get("id"))
}

// Interface guard
var _ resource.Kind = personalTokens{}
