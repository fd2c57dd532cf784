package authserver

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// This file checks the clients of the configuration, and what else there is that
// names scopes and resources. Errors name the client and repeat no secret.

// Check reports what is wrong with a client of the configuration, as far as it
// shows before the resources are known.
func (c Client) Check() error {
	code := c.redirects()
	switch {
	case c.ID == "":
		return errors.New("it needs an id")
	case c.ID == PersonalClientID:
		return errors.New("this id stands for personal access tokens: choose another")
	case len(c.ID) > maxClientID:
		return fmt.Errorf("its id has more than %d bytes", maxClientID)
	case len(c.GrantTypes) == 0 && !c.Introspects:
		return errors.New("it has no grant and does not introspect: it could do nothing")
	case slices.Contains(c.GrantTypes, oauth.GrantRefreshToken) && !code:
		return fmt.Errorf("the grant %s is of no use without %s", oauth.GrantRefreshToken, oauth.GrantAuthorizationCode)
	case code && len(c.RedirectURIs) == 0:
		return fmt.Errorf("it needs at least one redirect_uri for the grant %s", oauth.GrantAuthorizationCode)
	case !code && len(c.RedirectURIs) > 0:
		return fmt.Errorf("it has a redirect_uri, which only the grant %s uses", oauth.GrantAuthorizationCode)
	case !code && c.Trusted:
		return fmt.Errorf("trusted skips consent, which only the grant %s asks for", oauth.GrantAuthorizationCode)
	}
	for _, uri := range c.RedirectURIs {
		if err := vouched(c.RedirectURIs).Check(uri); err != nil {
			return fmt.Errorf("the redirect_uri %q %w", uri, err)
		}
	}
	for _, scope := range c.Scopes {
		if !oauth.ValidScopeToken(scope) {
			return fmt.Errorf("%q is not a scope (RFC 6749 section 3.3)", scope)
		}
	}
	return c.check()
}

// checkClients checks the clients, the resources excepted.
func (c *Config) checkClients() error {
	seen := map[string]bool{}
	for _, cl := range c.Clients {
		if seen[cl.ID] {
			return fmt.Errorf("client %q: another client has this id too", cl.ID)
		}
		seen[cl.ID] = true
		if err := cl.Check(); err != nil {
			return fmt.Errorf("client %q: %w", cl.ID, err)
		}
	}
	return nil
}

// place looks up the scopes and the resources that clients are limited to: each
// must exist. Resources become audiences.
func (c *Config) place() error {
	all := c.allScopes()
	for _, scope := range c.Registration.UnvettedScopes {
		if !all.Contains(scope) {
			return fmt.Errorf("unvetted_scopes: no resource has the scope %q", scope)
		}
	}
	c.Clients = slices.Clone(c.Clients)
	for i := range c.Clients {
		if err := c.placeClient(&c.Clients[i]); err != nil {
			return fmt.Errorf("client %q: %w", c.Clients[i].ID, err)
		}
	}
	return nil
}

func (c *Config) placeClient(cl *Client) error {
	var audiences []string
	var offered oauth.Scope
	for _, res := range c.Resources {
		if cl.Resources == nil || slices.ContainsFunc(cl.Resources, func(uri string) bool { return slices.Contains(res.URIs, uri) }) {
			audiences = append(audiences, res.Audience())
			offered = append(offered, res.AllScopes()...)
		}
	}
	for _, uri := range cl.Resources {
		if !slices.ContainsFunc(c.Resources, func(res Resource) bool { return slices.Contains(res.URIs, uri) }) {
			return fmt.Errorf("no site protects the resource %q, there are: %s", uri, strings.Join(c.audiences(), ", "))
		}
	}
	for _, scope := range cl.Scopes {
		if !offered.Contains(scope) {
			return fmt.Errorf("none of its resources has the scope %q", scope)
		}
	}
	if cl.Resources != nil {
		cl.Resources = audiences
	}
	return nil
}

func (c *Config) audiences() []string {
	all := make([]string, len(c.Resources))
	for i, res := range c.Resources {
		all[i] = res.Audience()
	}
	return all
}

// Warnings are what the operator should know about a configuration that is not
// wrong.
func (c *Config) Warnings() []string {
	var all []string
	for _, cl := range c.Clients {
		local := slices.ContainsFunc(cl.RedirectURIs, func(uri string) bool { return !webHost(uri) })
		if cl.Trusted && cl.AuthMethod == oauth.AuthMethodNone && local {
			all = append(all, fmt.Sprintf("client %q is trusted and public, and its redirect URI is on people's own machines: "+
				"any program there can pass for it and gets in without a question", cl.ID))
		}
	}
	return all
}
