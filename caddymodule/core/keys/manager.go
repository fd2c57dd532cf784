package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// Options say how the ring is made and kept.
type Options struct {
	// Algorithm signs new tokens: one of Algorithms. Default ES256.
	Algorithm string
	// Secret wraps the stored ring, or derives it. At least MinSecret bytes;
	// empty stores the ring unwrapped.
	Secret []byte
	// Previous are secrets that the stored ring may still be wrapped under, or
	// that another node may wrap it under. At least MinSecret bytes each; only
	// beside a Secret, and not with Derive.
	Previous [][]byte
	// Derive makes the ring from Secret instead of storing it. Such a ring
	// does not rotate: change the secret to change the keys.
	Derive bool
	// RotateEvery is how long a key signs before the next one takes over. Zero
	// turns scheduled rotation off.
	RotateEvery time.Duration
	// TokenLifetime is the longest life of a token that a key may have signed;
	// a replaced key verifies for that much longer.
	TokenLifetime time.Duration
}

// publishLead is how long a new signing key is published before it signs: more
// than the time other nodes and caches of the JWK set take to see it.
const publishLead = 10 * time.Minute

// swapAttempts bounds how often a change is tried again because another node
// changed the ring first.
const swapAttempts = 5

// Manager owns the current ring.
type Manager struct {
	opts  Options
	store store.Store
	// changing is held from reading the stored ring until it is installed, so
	// that no reader puts an older ring back.
	changing  sync.Mutex
	installed atomic.Pointer[installed]
	restored  atomic.Bool
}

// installed is a ring, and how it is stored. A derived one is not.
type installed struct {
	ring *Ring
	kept kept
}

// kept is a ring as the store keeps it.
type kept struct {
	raw     []byte
	version uint64
}

// Open loads the ring, or makes it where there is none yet. It returns
// ErrSecret if the ring does not open with the secret. It changes nothing about
// a ring that is there: Apply does, once the configuration is in force.
func Open(ctx context.Context, now time.Time, s store.Store, opts Options) (*Manager, error) {
	if opts.Algorithm == "" {
		opts.Algorithm = Algorithms[0]
	}
	if !slices.Contains(Algorithms, opts.Algorithm) {
		return nil, fmt.Errorf("keys: unknown algorithm %q, use one of %v", opts.Algorithm, Algorithms)
	}
	if err := opts.checkSecrets(); err != nil {
		return nil, err
	}
	m := &Manager{opts: opts, store: s}
	if opts.Derive {
		d, err := deriveRingData(opts.Secret, opts.Algorithm)
		if err != nil {
			return nil, err
		}
		return m, m.use(d, kept{}, now)
	}
	return m, m.update(ctx, now, func(d *ringData, is kind) (bool, error) {
		if is == absent {
			fresh, err := newRingData(opts.Algorithm, now)
			*d = fresh
			return true, err
		}
		return false, nil
	})
}

// checkSecrets says what is wrong with the secrets, without repeating them.
func (o *Options) checkSecrets() error {
	if n := len(o.Secret); n < MinSecret && (n > 0 || o.Derive) {
		return fmt.Errorf("keys: the secret has %d bytes, it needs at least %d", n, MinSecret)
	}
	switch {
	case len(o.Previous) == 0:
	case len(o.Secret) == 0:
		return errors.New("keys: there is a previous secret, but no secret")
	case o.Derive:
		return errors.New("keys: keys that are derived from the secret know no previous one")
	}
	for i, previous := range o.Previous {
		if len(previous) < MinSecret {
			return fmt.Errorf("keys: previous secret %d has %d bytes, it needs at least %d", i+1, len(previous), MinSecret)
		}
	}
	return nil
}

// Apply brings the stored ring in line with the options: one that is stored
// unwrapped or wrapped under a previous secret is wrapped under the secret, and
// a configured algorithm that the newest key does not have gets a key, which
// signs at once.
func (m *Manager) Apply(ctx context.Context, now time.Time) error {
	if m.opts.Derive {
		return nil
	}
	return m.update(ctx, now, func(d *ringData, is kind) (bool, error) {
		rewrap := is == wrappedBefore || is == plain && len(m.opts.Secret) > 0
		switched, err := m.switchAlgorithm(d, now)
		return rewrap || switched, err
	})
}

// Ring returns the current snapshot.
func (m *Manager) Ring() *Ring { return m.installed.Load().ring }

// Refresh looks whether another node changed the ring, and takes it over. It
// also lets a new sealing key take effect when its time has come, and puts the
// ring back where the store has lost it, see Restored.
func (m *Manager) Refresh(ctx context.Context, now time.Time) error {
	if m.opts.Derive {
		return nil
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	have := m.installed.Load()
	if sealingKey(have.ring.data, now) != have.ring.sealing {
		if err := m.use(have.ring.data, have.kept, now); err != nil {
			return err
		}
	}
	there, err := m.read(ctx)
	if err != nil {
		return err
	}
	// The version alone does not tell: a store that lost its ring counts anew.
	if there.version == have.kept.version && bytes.Equal(there.raw, have.kept.raw) {
		return nil
	}
	d, _, err := m.opts.decode(there.raw)
	if err != nil {
		return err
	}
	return m.use(d, there, now)
}

// Restored reports whether this manager has put its ring back into a store that
// had lost it, since it was last asked. Such a store lost more than the ring, so
// the operator should know.
func (m *Manager) Restored() bool { return m.restored.Swap(false) }

// Maintain rotates the ring when it is due and drops signing keys whose tokens
// have all expired. It reports whether anything changed.
func (m *Manager) Maintain(ctx context.Context, now time.Time) (bool, error) {
	if m.opts.Derive {
		return false, nil
	}
	if !m.rotationDue(now) && !slices.ContainsFunc(m.Ring().data.Signing, droppable(now)) {
		return false, nil
	}
	changed := false
	err := m.update(ctx, now, func(d *ringData, _ kind) (bool, error) {
		before := len(d.Signing)
		d.Signing = slices.DeleteFunc(d.Signing, droppable(now))
		changed = len(d.Signing) != before
		if !due(*d, now, m.opts.RotateEvery) {
			return changed, nil
		}
		changed = true
		return true, m.addKeys(d, now, now.Add(publishLead))
	})
	return changed, err
}

// Rotate adds a new signing key and a new sealing key now. The signing key is
// published at once and signs after ten minutes, or at once if immediately is
// set. Older keys keep opening and verifying.
func (m *Manager) Rotate(ctx context.Context, now time.Time, immediately bool) error {
	if m.opts.Derive {
		return errors.New("keys: a ring that is derived from the secret does not rotate; change the secret")
	}
	active := now.Add(publishLead)
	if immediately {
		active = now
	}
	return m.update(ctx, now, func(d *ringData, _ kind) (bool, error) {
		return true, m.addKeys(d, now, active)
	})
}

// Retire makes new keys, which are used at once, and drops all others. It
// returns how many sealing keys went. Every token and session ends and every
// client has to register again: it is meant for keys that leaked. Where the store
// is sealed, they still open what is kept there until that is sealed anew.
func (m *Manager) Retire(ctx context.Context, now time.Time) (int, error) {
	if m.opts.Derive {
		return 0, errors.New("keys: a ring that is derived from the secret has no older keys; change the secret")
	}
	dropped := 0
	err := m.update(ctx, now, func(d *ringData, _ kind) (bool, error) {
		dropped = len(d.Seal)
		m.retireData(d)
		err := m.addKeys(d, now, now)
		d.Seal, d.Signing = d.Seal[:1], d.Signing[:1]
		return true, err
	})
	return dropped, err
}
