package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// errBusy says that other nodes were faster, again and again.
var errBusy = errors.New("keys: the ring keeps changing, giving up for now")

// read returns the stored ring. Where there is none although this manager has one,
// the store has lost it, in a flush or a failover, and read puts it back: of all
// nodes that try, the store lets one, and nobody is signed out. It goes back as it
// was kept, because the configuration may be one that is only tried, whose secret
// no other node has. Before there is any ring it returns store.ErrNotFound.
func (m *Manager) read(ctx context.Context) (kept, error) {
	for range swapAttempts {
		raw, version, err := m.store.KeyRing(ctx)
		if err == nil {
			return kept{raw, version}, nil
		}
		have := m.installed.Load()
		if have == nil || !errors.Is(err, store.ErrNotFound) {
			return kept{}, fmt.Errorf("keys: reading the ring: %w", err)
		}
		version, err = m.store.SwapKeyRing(ctx, 0, have.kept.raw)
		switch {
		case err == nil:
			m.restored.Store(true)
			return kept{have.kept.raw, version}, nil
		case !errors.Is(err, store.ErrConflict):
			return kept{}, fmt.Errorf("keys: putting the ring back into a store that has lost it: %w", err)
		}
	}
	return kept{}, errBusy
}

// update changes the stored ring by compare-and-swap: change gets what is
// stored and how, and reports whether to write it back. What is stored is absent
// only for Open: whoever has a ring puts it back first.
func (m *Manager) update(ctx context.Context, now time.Time, change func(d *ringData, is kind) (bool, error)) error {
	m.changing.Lock()
	defer m.changing.Unlock()
	for range swapAttempts {
		var d ringData
		is := absent
		there, err := m.read(ctx)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return err
		default:
			if d, is, err = m.opts.decode(there.raw); err != nil {
				return err
			}
		}
		write, err := change(&d, is)
		if err != nil {
			return err
		}
		if write {
			there, err = m.swap(ctx, now, there.version, d)
		}
		switch {
		case errors.Is(err, store.ErrConflict):
			continue
		case err != nil:
			return err
		}
		return m.use(d, there, now)
	}
	return errBusy
}

// swap stores a changed ring in place of the version given.
func (m *Manager) swap(ctx context.Context, now time.Time, version uint64, d ringData) (kept, error) {
	raw, err := m.opts.encode(d)
	if err != nil {
		return kept{}, err
	}
	// Never store what can't be read again.
	again, _, err := m.opts.decode(raw)
	if err == nil {
		_, err = newRing(again, now)
	}
	if err != nil {
		return kept{}, fmt.Errorf("keys: the changed ring could not be read again: %w", err)
	}
	next, err := m.store.SwapKeyRing(ctx, version, raw)
	if err != nil {
		return kept{}, fmt.Errorf("keys: writing the ring: %w", err)
	}
	return kept{raw, next}, nil
}

// use installs a ring.
func (m *Manager) use(d ringData, there kept, now time.Time) error {
	r, err := newRing(d, now)
	if err != nil {
		return err
	}
	m.installed.Store(&installed{r, there})
	return nil
}
