package embedded

import (
	"fmt"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

func init() {
	caddy.RegisterModule(new(Module))
}

// pool holds the open files by absolute path, so that a configuration reload
// shares what the running configuration has open.
var pool = caddy.NewUsagePool()

// Module keeps grants, revocations, what was used up and the key ring in one
// file on this machine. It is the default store; for several nodes use another
// one.
//
// The file holds the server's keys: it is readable by its owner only. Copy it
// for a backup while Caddy is stopped. It must be on a local disk, as locks on
// network file systems can't be relied on. A newer version of this program
// brings the file up to date when it starts; older ones refuse it then, so keep
// a copy if you may want to go back.
type Module struct {
	// Path is the database file. It is created, with its folder, if it is not
	// there. Global placeholders such as `{env.STATE_DIR}` are replaced.
	// Default: `mcp_auth/mcp_auth.db` in Caddy's data directory.
	Path string `json:"path,omitempty"`

	*Store `json:"-"`
	key    string // in the pool; empty unless this module holds a reference
}

// shared is an open store in the pool.
type shared struct{ *Store }

// Destruct implements [caddy.Destructor].
func (s shared) Destruct() error { return s.Close() }

// CaddyModule returns the Caddy module information.
func (*Module) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "mcp_auth.stores.embedded",
		New: func() caddy.Module { return new(Module) },
	}
}

// Provision opens the file, or shares it with the configuration before.
func (m *Module) Provision(ctx caddy.Context) error {
	path, err := m.resolve()
	if err != nil {
		return err
	}
	value, loaded, err := pool.LoadOrNew(path, func() (caddy.Destructor, error) {
		s, err := Open(path)
		if err != nil {
			return nil, err
		}
		return shared{s}, nil
	})
	if err != nil {
		return err // nothing was acquired: Cleanup has nothing to release
	}
	m.Store, m.key = value.(shared).Store, path
	ctx.Logger().Info("store is open", zap.String("path", path), zap.Bool("shared", loaded))
	return nil
}

// resolve returns the absolute path of the file.
func (m *Module) resolve() (string, error) {
	path, err := caddy.NewReplacer().ReplaceOrErr(m.Path, true, true)
	if err != nil {
		return "", fmt.Errorf("embedded: path %q: %w", m.Path, err)
	}
	if path == "" {
		path = filepath.Join(caddy.AppDataDir(), "mcp_auth", "mcp_auth.db")
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", fmt.Errorf("embedded: path %q: %w", m.Path, err)
	}
	return path, nil
}

// Cleanup releases what Provision acquired; Caddy calls it also when Provision
// failed. The last one to release the file closes it.
func (m *Module) Cleanup() error {
	if m.key == "" {
		return nil
	}
	key := m.key
	m.key = ""
	_, err := pool.Delete(key)
	return err
}

// UnmarshalCaddyfile reads the module's name and options. Syntax:
//
//	embedded [<path>] {
//		path <path>
//	}
//
// The path may be given in one of the two places.
func (m *Module) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	if d.NextArg() {
		if err := m.parsePath(d); err != nil {
			return err
		}
	}
	for d.NextBlock(0) {
		switch option := d.Val(); option {
		case "path":
			if !d.NextArg() {
				return d.ArgErr()
			}
			if err := m.parsePath(d); err != nil {
				return err
			}
		default:
			return d.Errf("unrecognized option %q of the embedded store; it knows path", option)
		}
	}
	return nil
}

// parsePath reads the argument under the cursor, the last one of its line.
func (m *Module) parsePath(d *caddyfile.Dispenser) error {
	switch {
	case m.Path != "":
		return d.Err("path is given twice")
	case d.Val() == "":
		return d.Err("path is empty")
	}
	m.Path = d.Val()
	if d.NextArg() {
		return d.ArgErr()
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
