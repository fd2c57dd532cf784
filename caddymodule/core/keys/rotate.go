package keys

import (
	"slices"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/seal"
)

// dropMargin is added to a token's life before its key is dropped: clock skew
// between nodes, and tokens of a configuration that allowed longer lives.
const dropMargin = 24 * time.Hour

// addKeys puts a new signing key and a new sealing key in front. Both are
// known to every node before they are used: nodes refresh far more often than
// publishLead.
func (m *Manager) addKeys(d *ringData, now, active time.Time) error {
	if err := m.addSigningKey(d, now, active); err != nil {
		return err
	}
	d.Seal = append([]sealData{{Secret: random(seal.KeySize), Created: now, Active: active}}, d.Seal...)
	return nil
}

func (m *Manager) addSigningKey(d *ringData, now, active time.Time) error {
	k, err := newSigningKey(m.opts.Algorithm, now, active)
	if err != nil {
		return err
	}
	// A key that waits for its turn has signed nothing, and this one takes it.
	// The oldest stays even so: it signs where the clock was set back.
	oldest := len(d.Signing) - 1
	waiting := func(s signingData) bool { return s.Active.After(now) }
	d.Signing = append(slices.DeleteFunc(slices.Clone(d.Signing[:oldest]), waiting), d.Signing[oldest])
	for i := range d.Signing {
		// The first is the one that signs; it may have made way for a waiting
		// key before, and goes on until this one takes over.
		if i == 0 || d.Signing[i].Drop.IsZero() {
			d.Signing[i].Drop = active.Add(m.opts.TokenLifetime + dropMargin)
		}
	}
	d.Signing = append([]signingData{k}, d.Signing...)
	return nil
}

// switchAlgorithm adds a key that signs at once if the newest one is of
// another algorithm than the configured one.
func (m *Manager) switchAlgorithm(d *ringData, now time.Time) (bool, error) {
	k, err := parseSigningKey(d.Signing[0], oauth.AccessTokenType)
	if err != nil {
		return false, err
	}
	if string(k.alg) == m.opts.Algorithm {
		return false, nil
	}
	return true, m.addSigningKey(d, now, now)
}

func (m *Manager) rotationDue(now time.Time) bool {
	return due(m.Ring().data, now, m.opts.RotateEvery)
}

// due reports whether the newest key has signed for its time. A key that does
// not sign yet is never due.
func due(d ringData, now time.Time, every time.Duration) bool {
	return every > 0 && len(d.Signing) > 0 && !now.Before(d.Signing[0].Active.Add(every-publishLead))
}

func droppable(now time.Time) func(signingData) bool {
	return func(d signingData) bool { return !d.Drop.IsZero() && !now.Before(d.Drop) }
}
