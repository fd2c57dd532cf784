package caddymodule

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/jose"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// kinds lists the kinds of tokens that the handler knows, in the order in which
// they are asked. A provider that is asked about its tokens takes everything for
// its own that does not say otherwise, so that what can be seen to be ours comes
// first: it is never sent to others, not even where it opens nothing.
func (h *Handler) kinds(trusted []resource.Kind) ([]resource.Kind, error) {
	if h.back.own == nil {
		if h.PersonalTokens {
			return nil, errors.New("personal_access_tokens needs the global option mcp_auth: without it nobody makes any")
		}
		return trusted, nil
	}
	kinds := []resource.Kind{h.back.personal}
	if !h.PersonalTokens {
		kinds[0] = noPersonalTokens{}
	}
	if len(trusted) > 0 {
		kinds = append(kinds, ownTokens{h.back.own, h.back.issuer})
		kinds = append(kinds, trusted...)
	}
	return append(kinds, h.back.own), nil
}

// noPersonalTokens refuses personal access tokens.
type noPersonalTokens struct{}

// Recognizes implements resource.Kind.
func (noPersonalTokens) Recognizes(raw string) bool { return authserver.LooksPersonal(raw) }

// Verify implements resource.Kind.
func (noPersonalTokens) Verify(context.Context, string) (*resource.Token, error) {
	return nil, errors.New("it is a personal access token, which the option personal_access_tokens accepts")
}

// ownTokens are those that say that they are ours.
type ownTokens struct {
	resource.Kind
	issuer string
}

// Recognizes implements resource.Kind. It reads laxer than those who verify: a
// token of ours that was damaged on its way is still nobody else's.
func (o ownTokens) Recognizes(raw string) bool {
	if len(raw) > jose.MaxLength {
		return false
	}
	parts := strings.SplitN(raw, ".", 3)
	if len(parts) < 2 {
		return false
	}
	var says struct {
		Issuer string `json:"iss"`
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	return err == nil && json.Unmarshal(text, &says) == nil && says.Issuer == o.issuer
}

// Interface guards
var (
	_ resource.Kind = noPersonalTokens{}
	_ resource.Kind = ownTokens{}
)
