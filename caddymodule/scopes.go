package caddymodule

import (
	"fmt"
	"slices"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// stepUpScopes are the scopes that are granted to clients that ask for them, and
// to no others: the one place where they come together.
func (h *Handler) stepUpScopes() oauth.Scope {
	all := oauth.Scope(h.StepUpScopes).Union(nil)
	for _, line := range h.Policy.Hierarchy {
		all = all.Union(line)
	}
	return slices.DeleteFunc(slices.Clone(all), oauth.Scope(h.Scopes).Contains)
}

// allScopes are all that exist for the resource, those for basic use first.
func (h *Handler) allScopes() oauth.Scope {
	return authserver.Resource{Scopes: h.Scopes, StepUpScopes: h.stepUpScopes()}.AllScopes()
}

// checkScopes reports scopes that can't be granted, and words for ones that do not
// exist.
func (h *Handler) checkScopes() error {
	for i, scope := range h.StepUpScopes {
		switch {
		case slices.Contains(h.Scopes, scope):
			return fmt.Errorf("step_up_scopes: the scope %s is among the scopes of %s already, which every client gets", scope, h.Resource[0])
		case slices.Contains(h.StepUpScopes[:i], scope):
			return fmt.Errorf("step_up_scopes: the scope %s occurs twice", scope)
		}
	}
	for _, scope := range h.stepUpScopes() {
		if !oauth.ValidScopeToken(scope) {
			return fmt.Errorf("scope %q has a character that RFC 6749 section 3.3 does not allow", scope)
		}
	}
	all := h.allScopes()
	for scope := range h.ScopeDescriptions {
		if !all.Contains(scope) {
			return fmt.Errorf("describe: the scope %s is not among the scopes of %s", scope, h.Resource[0])
		}
	}
	return nil
}

// described is the resource as the authorization server knows it.
func (h *Handler) described() authserver.Resource {
	return authserver.Resource{
		URIs: h.Resource, Scopes: h.Scopes, StepUpScopes: h.stepUpScopes(), Name: h.Name, ScopeTexts: h.ScopeDescriptions,
		Rules: h.Rules, PersonalTokens: h.PersonalTokens, Issuers: h.issuers(),
		PolicyGroups: h.Policy.Groups(), AllGroups: h.tellsGroups(), Assertions: h.asserts != nil,
	}
}
