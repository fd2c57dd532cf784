package caddymodule

import (
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("mcp_auth", parseApp)
	httpcaddyfile.RegisterDirective("mcp_auth", parseHandler)
	httpcaddyfile.RegisterDirective("mcp_auth_server", parseServerHandler)
	// Ahead of everything that rewrites or answers: the path that is judged is
	// the one that the client sent.
	httpcaddyfile.RegisterDirectiveOrder("mcp_auth", httpcaddyfile.Before, "request_body")
	httpcaddyfile.RegisterDirectiveOrder("mcp_auth_server", httpcaddyfile.Before, "request_body")
}

// option parses one option of a block; the dispenser stands on its name.
type option func(d *caddyfile.Dispenser) error

// parseBlock reads the options of a block. An unknown one is an error that
// lists the known ones.
func parseBlock(d *caddyfile.Dispenser, what string, options map[string]option) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		parse, ok := options[name]
		if !ok {
			return d.Errf("unknown option of %s: %s (known: %s)", what, name, known(options))
		}
		if err := parse(d); err != nil {
			return err
		}
	}
	return nil
}

// parseApp reads the global option:
//
//	mcp_auth {
//		issuer                <url>
//		store                 <module> ...
//		login                 <module> ...
//		allow                 email|domain|group|user|login <value...> | anyone
//		deny                  email|domain|group|user|login <value...> | anyone
//		session_idle          <duration>
//		session_lifetime      <duration>
//		trusted_redirect_hosts <host...>
//		brand                 { ... }
//		registration          [off] { ... }
//		client_metadata       off | { ... }
//		client                <client_id> { ... }
//		algorithm             ES256|RS256|EdDSA|HS256
//		secret                <secret> [derive]
//		previous_secret       <secret...>
//		key_rotation          <duration>|off
//		access_token_lifetime <duration>
//		code_lifetime         <duration>
//		refresh_grace         <duration>|off
//		refresh_idle          <duration>
//		refresh_lifetime      <duration>
//		personal_token_lifetime <duration>
//		root_paths            on|off
//		lenient_assertion_audience
//		development
//		insecure_auto_approve
//	}
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	d.Next() // mcp_auth
	if existing != nil {
		return nil, d.Err("the global option mcp_auth occurs twice: one server has one issuer")
	}
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	app := new(App)
	if err := parseBlock(d, "mcp_auth", app.options()); err != nil {
		return nil, err
	}
	if app.Issuer == "" {
		return nil, d.Err("mcp_auth needs an issuer: the public URL of this server, such as https://mcp.example.com")
	}
	return httpcaddyfile.App{Name: "mcp_auth", Value: caddyconfig.JSON(app, nil)}, nil
}

func (a *App) options() map[string]option {
	rootPaths := true
	return map[string]option{
		"issuer":                 text(&a.Issuer),
		"store":                  guest("mcp_auth.stores.", &a.StoreRaw),
		"login":                  guests("mcp_auth.logins.", &a.LoginsRaw),
		"allow":                  people(&a.Rules.Allow),
		"deny":                   people(&a.Rules.Deny),
		"session_idle":           duration(&a.Sessions.Idle),
		"session_lifetime":       duration(&a.Sessions.Lifetime),
		"trusted_redirect_hosts": list(&a.TrustedRedirectHosts),
		"brand":                  a.Brand.parse,
		"registration":           a.Registration.parse,
		"client_metadata":        a.ClientMetadata.parse,
		"client":                 a.parseClient,
		"algorithm":              text(&a.Keys.Algorithm),
		"secret":                 a.Keys.parseSecret,
		"previous_secret":        list(&a.Keys.PreviousSecrets),
		"key_rotation":           duration(&a.Keys.RotateEvery),
		"access_token_lifetime":  duration(&a.Lifetimes.AccessToken),
		"code_lifetime":          duration(&a.Lifetimes.Code),
		"refresh_grace":          duration(&a.Lifetimes.RefreshGrace),
		"refresh_idle":           duration(&a.Lifetimes.RefreshIdle),
		"refresh_lifetime":       duration(&a.Lifetimes.RefreshAbsolute),

		"personal_token_lifetime": duration(&a.Lifetimes.PersonalToken),

		"lenient_assertion_audience": flag(&a.LenientAssertionAudience),

		"development":           flag(&a.Development),
		"insecure_auto_approve": flag(&a.InsecureAutoApprove),
		"root_paths": func(d *caddyfile.Dispenser) error {
			err := onOff(&rootPaths)(d)
			a.DisableRootPaths = !rootPaths
			return err
		},
	}
}

// parseSecret reads: secret <secret> [derive].
func (k *KeysConfig) parseSecret(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case len(args) == 1:
	case len(args) == 2 && args[1] == "derive":
		k.Derive = true
	default:
		// No error repeats an argument: it may be part of the secret.
		return d.Err("secret takes one argument, and derive after it: put the secret in quotes if it has spaces")
	}
	k.Secret = args[0]
	return nil
}

// parse reads:
//
//	brand {
//		name  <text>
//		logo  <file>
//		color <light> [<dark>]
//	}
func (c *BrandConfig) parse(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	return parseBlock(d, "brand", map[string]option{
		"name": text(&c.Name),
		"logo": text(&c.Logo),
		"color": func(d *caddyfile.Dispenser) error {
			args := d.RemainingArgs()
			if len(args) == 0 || len(args) > 2 {
				return d.Err(`color takes one or two colours in quotes, such as "#0b5394": without quotes, what follows a # is a comment`)
			}
			c.Color = args[0]
			if len(args) == 2 {
				c.DarkColor = args[1]
			}
			return nil
		},
	})
}

// parseHandler reads the directive. It takes no matcher, which would hide the
// well-known paths:
//
//	mcp_auth {
//		resource         <uri...>
//		name             <text>
//		documentation    <url>
//		paths            <path...>
//		public           <path...>
//		scopes           <scope...>
//		step_up_scopes   <scope...>
//		describe         <scope> <text>
//		hierarchy        <scope...>
//		tool|prompt|resource_uri|method <glob...> allow|deny|require <condition> | { ... }
//		default          allow|deny
//		dry_run
//		list_step_up
//		allow            email|domain|group|user|login <value...> | anyone
//		deny             email|domain|group|user|login <value...> | anyone
//		trusted_origins  <origin...>
//		identity_header  user|email|name|client|scope|groups <header>|off
//		identity_claim   <claim> <header>
//		assertion        [<header>] { ... }
//		upstream_header  <header> <value>
//		max_body         <size>|off
//		max_calls        <number>
//		max_streams      <number>
//		max_message      <size>|off
//		rate_limit       user|client <events> <window>
//		personal_access_tokens
//		audit
//		trust            <issuer> { ... }
//	}
func parseHandler(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // mcp_auth
	if h.NextArg() {
		return nil, h.Errf("mcp_auth takes no matcher and no argument (%s): the options resource, paths and public say what it covers", h.Val())
	}
	handler := new(Handler)
	if err := parseBlock(h.Dispenser, "mcp_auth", handler.options()); err != nil {
		return nil, err
	}
	_, app := h.Option("mcp_auth").(httpcaddyfile.App)
	if err := handler.checkPolicy(app); err != nil {
		return nil, err
	}
	switch {
	case !app && len(handler.Trust) == 0:
		return nil, h.Err("mcp_auth needs the global option mcp_auth, which says at least the issuer and a login, or trust with the issuer of others")
	case !app && len(handler.Resource) == 0:
		return nil, h.Err("mcp_auth without the global option mcp_auth needs a resource: the URL that people type into their clients")
	}
	if len(handler.Resource) == 0 {
		if other, ok := h.State[bareSite].(string); ok {
			return nil, h.Errf("two sites use mcp_auth without a resource, here and at %s: they would share their tokens, give each its own", other)
		}
		h.State[bareSite] = fmt.Sprintf("%s:%d", h.File(), h.Line())
	}
	return h.NewRoute(nil, handler), nil
}

// bareSite is where the Caddyfile has an mcp_auth without a resource.
const bareSite = "mcp_auth.bare"

func (h *Handler) options() map[string]option {
	return map[string]option{
		"resource":               list(&h.Resource),
		"name":                   text(&h.Name),
		"documentation":          text(&h.Documentation),
		"paths":                  list(&h.Paths),
		"public":                 list(&h.Public),
		"scopes":                 list(&h.Scopes),
		"step_up_scopes":         list(&h.StepUpScopes),
		"describe":               h.parseDescribe,
		"hierarchy":              h.parseHierarchy,
		"tool":                   h.parseRule,
		"prompt":                 h.parseRule,
		"resource_uri":           h.parseRule,
		"method":                 h.parseRule,
		"default":                h.parseDefault,
		"dry_run":                flag(&h.Policy.DryRun),
		"list_step_up":           flag(&h.Policy.ListStepUp),
		"allow":                  people(&h.Rules.Allow),
		"deny":                   people(&h.Rules.Deny),
		"trusted_origins":        list(&h.TrustedOrigins),
		"identity_header":        h.IdentityHeaders.parse,
		"identity_claim":         h.IdentityHeaders.parseClaim,
		"assertion":              h.parseAssertion,
		"upstream_header":        h.parseUpstreamHeader,
		"max_body":               size(&h.MaxBody),
		"max_calls":              number(&h.MaxCalls),
		"max_streams":            number(&h.MaxStreams),
		"max_message":            size(&h.MaxMessage),
		"rate_limit":             h.RateLimits.parse,
		"trust":                  h.parseTrust,
		"personal_access_tokens": flag(&h.PersonalTokens),
		"audit":                  flag(&h.Audit),
	}
}

// parseDescribe reads: describe <scope> <text>.
func (h *Handler) parseDescribe(d *caddyfile.Dispenser) error {
	var scope, words string
	if !d.AllArgs(&scope, &words) {
		return d.Errf("describe takes a scope and a text: put the text in quotes")
	}
	if h.ScopeDescriptions == nil {
		h.ScopeDescriptions = map[string]string{}
	}
	if _, twice := h.ScopeDescriptions[scope]; twice {
		return d.Errf("the scope %s is described twice", scope)
	}
	h.ScopeDescriptions[scope] = words
	return nil
}

// parseServerHandler reads the directive, which has no options:
//
//	mcp_auth_server
func parseServerHandler(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // mcp_auth_server
	if h.NextArg() || h.NextBlock(0) {
		return nil, h.Err("mcp_auth_server takes no matcher, argument or block")
	}
	if _, ok := h.Option("mcp_auth").(httpcaddyfile.App); !ok {
		return nil, h.Err("mcp_auth_server needs the global option mcp_auth, which says at least the issuer and a login")
	}
	return h.NewRoute(nil, new(ServerHandler)), nil
}
