package memory

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

func init() {
	caddy.RegisterModule(new(Module))
}

// pool holds the one store of this process, so that a configuration reload
// keeps its state.
var pool = caddy.NewUsagePool()

// poolKey is its only key.
const poolKey = "memory"

// Module keeps grants, revocations, what was used up and the key ring in memory.
// Everything is lost when Caddy exits: use it for tests and throw-away servers. All
// configurations of one process share one state.
type Module struct {
	*store.Memory `json:"-"`
	acquired      bool
}

// shared is the store in the pool.
type shared struct{ *store.Memory }

// Destruct implements [caddy.Destructor]: there is nothing to close.
func (shared) Destruct() error { return nil }

// CaddyModule returns the Caddy module information.
func (*Module) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "mcp_auth.stores.memory",
		New: func() caddy.Module { return new(Module) },
	}
}

// Provision makes the store, or shares it with the configuration before.
func (m *Module) Provision(ctx caddy.Context) error {
	value, loaded, err := pool.LoadOrNew(poolKey, func() (caddy.Destructor, error) {
		return shared{store.NewMemory()}, nil
	})
	if err != nil {
		return err
	}
	m.Memory, m.acquired = value.(shared).Memory, true
	if !loaded {
		ctx.Logger().Warn("state is kept in memory only and lost when Caddy exits")
	}
	return nil
}

// Cleanup releases what Provision acquired; Caddy calls it also when Provision
// failed. With the last one the state is gone.
func (m *Module) Cleanup() error {
	if !m.acquired {
		return nil
	}
	m.acquired = false
	_, err := pool.Delete(poolKey)
	return err
}

// UnmarshalCaddyfile reads the module's name. Syntax:
//
//	memory
func (m *Module) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	if d.NextArg() {
		return d.ArgErr()
	}
	if d.NextBlock(0) {
		return d.Errf("unrecognized option %q; the memory store has none", d.Val())
	}
	return nil
}

// Interface guards.
var (
	_ caddy.Module          = (*Module)(nil)
	_ caddy.Provisioner     = (*Module)(nil)
	_ caddy.CleanerUpper    = (*Module)(nil)
	_ caddy.Destructor      = shared{}
	_ caddyfile.Unmarshaler = (*Module)(nil)
	_ store.Store           = (*Module)(nil)
)
