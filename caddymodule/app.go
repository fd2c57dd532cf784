package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/atrest"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App is the authorization server: it owns the issuer, the store, the keys,
// the ways to sign in and the clients. The `mcp_auth` handlers of all sites
// share it.
type App struct {
	// The issuer identifier: the public URL of this server, without a trailing
	// slash. Every URL that is published begins with it, so a change logs
	// everybody out. It must use https, except on localhost. Placeholders such
	// as `{env.ISSUER}` are replaced when the configuration is loaded.
	// Required. Example: `https://mcp.example.com`
	Issuer string `json:"issuer,omitempty"`

	// Where state is kept. Default: the `embedded` store, one file in Caddy's
	// data directory.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=mcp_auth.stores inline_key=module"`

	// The ways in which people sign in, in the order in which they are offered.
	// At least one is required. `auto` approves at once, is for development and
	// stands alone.
	LoginsRaw []json.RawMessage `json:"logins,omitempty" caddy:"namespace=mcp_auth.logins inline_key=module"`

	// Who may come in of those who can sign in. They apply to every resource,
	// and again whenever a program refreshes its token. Nobody who is denied
	// comes in; of the others, those who are allowed, or all of them if `allow`
	// is empty. A login where anyone can have an account, such as Google, needs
	// an `allow`. Default: everyone who can sign in.
	Rules login.Rules `json:"rules,omitzero"`

	// How long people stay signed in.
	Sessions SessionsConfig `json:"sessions,omitzero"`

	// Hosts of https redirect URIs that are trusted so far that a program which
	// registers anew there is the one that was approved before, and people are
	// not asked again. Example: `["claude.ai"]`. Default: none, a fresh
	// registration asks.
	TrustedRedirectHosts []string `json:"trusted_redirect_hosts,omitempty"`

	// How the pages look.
	Brand BrandConfig `json:"brand,omitzero"`

	// Which clients there are and how they register.
	Registration RegistrationConfig `json:"registration,omitzero"`

	// Which clients that are described by a metadata document are taken.
	ClientMetadata ClientMetadataConfig `json:"client_metadata,omitzero"`

	// Clients that are registered in the configuration.
	Clients []ClientConfig `json:"clients,omitempty"`

	// Also takes client assertions (`private_key_jwt`) that are made out to the
	// token endpoint, or to issuer and token endpoint both, as older clients
	// make them. An assertion that such a client sends to another server by mistake
	// is more easily used here then. Default: only the issuer as the one audience.
	LenientAssertionAudience bool `json:"lenient_assertion_audience,omitempty"`

	// Keys that sign and seal.
	Keys KeysConfig `json:"keys,omitzero"`

	// How long codes, tokens and sessions last.
	Lifetimes LifetimesConfig `json:"lifetimes,omitzero"`

	// Turns off `/register`, `/authorize` and `/token` at the root of the
	// issuer, which clients of MCP revision 2025-03-26 expect there.
	DisableRootPaths bool `json:"disable_root_paths,omitempty"`

	// Adds `/dev/token`, which mints a token for whoever asks. For development;
	// refused on an issuer that is not on localhost.
	Development bool `json:"development,omitempty"`

	// Lets `login auto` and `development` run on an issuer that others can
	// reach, and lets other machines use them. Whoever can connect gets in.
	InsecureAutoApprove bool `json:"insecure_auto_approve,omitempty"`

	ctx      caddy.Context
	logger   *zap.Logger
	store    store.Store // seals and opens; the guest is behind it
	resealer *atrest.Resealer
	clock    *store.Clock
	skew     time.Duration // of the clock, that was told last
	logins   []login.Method
	keys     *keys.Manager
	newKeys  keyLook
	stateKey string
	state    *state
	logo     authserver.Logo
	fetched  fetched
	acquired bool // the state was taken from the pool
	observer *observer
	verifier *resource.Verifier

	resources *registry
	server    func() (*authserver.Server, error)
	served    bool // Start has built the server

	done   *sync.WaitGroup // the background work
	forced atomic.Bool     // it was the app of the running configuration
}

// defaultStore is where state is kept if nothing else is said.
const defaultStore = `{"module":"embedded"}`

// openTimeout bounds how long the first look at a store may take that is there. A
// store that is on a server has waited for it before, in its own Provision and for
// at most store.ConnectTimeout: both times add up, and they are all that a
// configuration waits.
const openTimeout = 15 * time.Second

// CaddyModule returns the Caddy module information. Its receiver is a pointer,
// because Caddy calls it on the running app for every event.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "mcp_auth",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision opens the store and the key ring.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.logger = ctx, ctx.Logger()
	a.observer = newObserver(ctx, a.logger)
	if err := watchExit(ctx); err != nil {
		return err
	}
	a.resources, a.done = new(registry), new(sync.WaitGroup)
	a.server = sync.OnceValues(a.newServer)
	if err := a.replace(caddy.NewReplacer()); err != nil {
		return err
	}
	if err := a.loadClientKeys(); err != nil {
		return err
	}
	cfg := a.config()
	if err := cfg.Check(); err != nil {
		return err
	}
	var err error
	if a.logo, err = a.Brand.load(); err != nil {
		return err
	}
	if a.fetched, err = a.ClientMetadata.provision(); err != nil {
		return err
	}
	if err := a.loadGuests(); err != nil {
		return err
	}
	opening, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := a.setClock(opening); err != nil {
		return err
	}
	if a.keys, err = keys.Open(opening, a.clock.Now(), a.store, a.keyOptions()); err != nil {
		return fmt.Errorf("opening the key ring: %w", err)
	}
	sealing := atrest.New(a.store, a.keys, atrest.OnDamage(func(err error) {
		a.logger.Error("what is stored is damaged; if a person signed out everywhere, they should do so again", zap.Error(err))
	}))
	a.store, a.resealer = sealing, atrest.NewResealer(sealing)
	a.stateKey = a.keys.Ring().ID + " " + a.Issuer
	shared, _, err := states.LoadOrNew(a.stateKey, newState)
	if err != nil {
		return err
	}
	a.state, a.acquired = shared.(*state), true
	a.verifier = &resource.Verifier{Issuer: a.Issuer, Keys: a.verifyKey, Cache: a.state.tokens, Now: a.clock.Now}
	// Without the revocations so far, ended sessions would come to life again.
	return a.state.revoked.Follow(opening, a.clock.Now(), a.store)
}

// setClock makes the app go by its store's clock.
func (a *App) setClock(ctx context.Context) error {
	var err error
	if a.clock, err = store.NewClock(ctx, a.store); err != nil {
		return err
	}
	a.tellSkew()
	return nil
}

// replace fills placeholders in. One that is unknown or empty is an error, or
// a missing environment variable would become an empty secret.
func (a *App) replace(repl *caddy.Replacer) error {
	fields := map[string]*string{
		"issuer": &a.Issuer, "keys.secret": &a.Keys.Secret, "registration.access_token": &a.Registration.AccessToken,
		"client_metadata.proxy": &a.ClientMetadata.Proxy,
	}
	for i := range a.Keys.PreviousSecrets {
		fields[fmt.Sprintf("keys.previous_secrets[%d]", i)] = &a.Keys.PreviousSecrets[i]
	}
	for i := range a.Clients {
		fields["client_secret of client "+a.Clients[i].ID] = &a.Clients[i].Secret
		fields["client_secret_hash of client "+a.Clients[i].ID] = &a.Clients[i].SecretHash
	}
	for name, field := range fields {
		value, err := repl.ReplaceOrErr(*field, true, true)
		if err != nil {
			return placeholderError(name, *field)
		}
		*field = value
	}
	return nil
}

// lookups are the placeholders that a configuration may have in a credential.
var lookups = regexp.MustCompile(`\{(env|file|vars|system)\.[^{}]*\}`)

// placeholderError names the placeholder if it is one, and nothing else of the
// value: what looks like a placeholder may be a part of the secret.
func placeholderError(name, value string) error {
	if found := lookups.FindString(value); found != "" {
		return fmt.Errorf("%s: the placeholder %s has no value", name, found)
	}
	return fmt.Errorf(`%s: it has a placeholder that does not exist; write \{ for a brace that is none`, name)
}

func (a *App) loadGuests() error {
	if a.StoreRaw == nil {
		a.StoreRaw = json.RawMessage(defaultStore)
	}
	guest, err := a.ctx.LoadModule(a, "StoreRaw")
	if err != nil {
		return fmt.Errorf("loading the store: %w", err)
	}
	var ok bool
	if a.store, ok = guest.(store.Store); !ok {
		return fmt.Errorf("module %T is not a store", guest)
	}
	a.store = store.NewBounded(a.store, a.observer.storeFailed)
	if guest, err = a.ctx.LoadModule(a, "LoginsRaw"); err != nil {
		return fmt.Errorf("loading a login: %w", err)
	}
	for _, guest := range guest.([]any) {
		method, ok := guest.(login.Method)
		if !ok {
			return fmt.Errorf("module %T is not a login", guest)
		}
		a.logins = append(a.logins, method)
	}
	return nil
}

// newServer builds the server, once every site has been provisioned.
func (a *App) newServer() (*authserver.Server, error) {
	cfg := a.config()
	cfg.Resources, cfg.Logo = a.resources.list(), a.logo
	return authserver.New(cfg, authserver.Deps{
		Store: a.store, Keys: a.keys, Revoked: a.state.revoked, Logins: a.logins, Observer: a.observer,
		Fetch: a.fetched.client, ClientKeys: a.fetched.clientKeys, ConfiguredKeys: a.fetched.configuredKeys,
		Now: a.clock.Now, Leaving: caddy.Exiting,
	})
}

// Start begins the background work. It fails on what only the whole
// configuration shows, such as two sites with one resource.
func (a *App) Start() error {
	if _, err := a.server(); err != nil {
		return err
	}
	a.served = true
	if a.logins[0].Info().Unattended {
		a.logger.Warn("LOGIN AUTO APPROVES EVERYONE WITHOUT ASKING: use it for development only",
			zap.String("issuer", a.Issuer), zap.Bool("insecure_auto_approve", a.InsecureAutoApprove))
	}
	if a.Development {
		a.logger.Warn("DEVELOPMENT MODE MINTS TOKENS FOR WHOEVER ASKS", zap.String("endpoint", a.Issuer+"/dev/token"))
	}
	cfg := a.config()
	for _, warning := range cfg.Warnings() {
		a.logger.Warn(warning)
	}
	a.done.Go(func() { a.maintain(a.ctx) })
	return nil
}

// Stop notes the uses since the last time, in two seconds at most if the store
// hangs. It does not end the background work, which the configuration's context
// does: Caddy stops apps in no order, and while the HTTP app still finishes
// requests (shutdown_delay, grace_period) a node has to hear of revocations.
func (a *App) Stop() error {
	if a.served {
		a.noteLastUses()
	}
	return nil
}

// Cleanup waits for the end of the background work, whose context is over, and
// lets go of the shared state, if Provision got that far.
func (a *App) Cleanup() error {
	if a.done != nil {
		a.done.Wait()
	}
	if a.served {
		if server, err := a.server(); err == nil {
			server.Close()
		}
	}
	a.fetched.close()
	if !a.acquired {
		return nil
	}
	a.acquired = false
	_, err := states.Delete(a.stateKey)
	return err
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
