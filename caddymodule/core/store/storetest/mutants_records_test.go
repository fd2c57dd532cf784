package storetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// miskept makes a store keep something else than it was told.
func miskept(change func(m *mutant, rec *store.ClientRecord)) func(m *mutant) {
	return func(m *mutant) {
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			change(m, &rec)
			return m.Store.PutClient(ctx, now, rec)
		}
	}
}

// misread makes a store answer something else than it has.
func misread(change func(rec *store.ClientRecord)) func(m *mutant) {
	return func(m *mutant) {
		m.client = func(ctx context.Context, key string) (store.ClientRecord, error) {
			rec, err := m.Store.Client(ctx, key)
			if err == nil {
				change(&rec)
			}
			return rec, err
		}
	}
}

// renamed makes a store use other keys, for writing and for reading.
func renamed(name func(m *mutant, key string) string) func(m *mutant) {
	return func(m *mutant) {
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			rec.Key = name(m, rec.Key)
			return m.Store.PutClient(ctx, now, rec)
		}
		m.client = func(ctx context.Context, key string) (store.ClientRecord, error) {
			rec, err := m.Store.Client(ctx, name(m, key))
			if err == nil {
				rec.Key = key
			}
			return rec, err
		}
	}
}

// clientValueMutants change what they keep.
var clientValueMutants = map[string]func(m *mutant){
	"clients lose their metadata":  misread(func(rec *store.ClientRecord) { rec.Metadata = "" }),
	"clients lose their version":   misread(func(rec *store.ClientRecord) { rec.Version = 1 }),
	"clients lose their end":       misread(func(rec *store.ClientRecord) { rec.Deleted = false }),
	"clients lose their key":       misread(func(rec *store.ClientRecord) { rec.Key = "" }),
	"clients lose their time":      misread(func(rec *store.ClientRecord) { rec.Changed = time.Time{} }),
	"clients' times are rounded":   misread(func(rec *store.ClientRecord) { rec.Changed = rec.Changed.Truncate(time.Second) }),
	"clients' times are of a zone": miskept(func(_ *mutant, rec *store.ClientRecord) { rec.Changed = viaText(rec.Changed) }),
	"clients' times end in 2262": misread(func(rec *store.ClientRecord) {
		rec.Changed = time.Unix(0, rec.Changed.UnixNano())
	}),
	"clients' times are the clock's": func(m *mutant) {
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			rec.Changed = now
			return m.Store.PutClient(ctx, now, rec)
		}
	},
	"metadata end after 4 KiB": misread(func(rec *store.ClientRecord) { rec.Metadata = rec.Metadata[:min(len(rec.Metadata), 4<<10)] }),
	"metadata end early":       misread(func(rec *store.ClientRecord) { rec.Metadata = rec.Metadata[:min(len(rec.Metadata), 8<<10-1)] }),
	"metadata are trimmed":     misread(func(rec *store.ClientRecord) { rec.Metadata = strings.TrimSpace(rec.Metadata) }),
	"metadata are compacted": misread(func(rec *store.ClientRecord) {
		var out bytes.Buffer
		if json.Compact(&out, []byte(rec.Metadata)) == nil {
			rec.Metadata = out.String()
		}
	}),
	"metadata are read as JSON": misread(func(rec *store.ClientRecord) {
		var v any
		if json.Unmarshal([]byte(rec.Metadata), &v) == nil {
			text, _ := json.Marshal(v)
			rec.Metadata = string(text)
		}
	}),
	"metadata must be JSON": func(m *mutant) {
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			if rec.Metadata != "" && !json.Valid([]byte(rec.Metadata)) {
				return errors.New("no JSON")
			}
			return m.Store.PutClient(ctx, now, rec)
		}
	},
	"metadata are escaped": misread(func(rec *store.ClientRecord) {
		var out bytes.Buffer
		json.HTMLEscape(&out, []byte(rec.Metadata))
		rec.Metadata = out.String()
	}),
	"empty metadata keep the old": merged(func(old store.ClientRecord, rec *store.ClientRecord) {
		if rec.Metadata == "" && !rec.Deleted {
			rec.Metadata = old.Metadata
		}
	}),
	"deleted clients keep their metadata": merged(func(old store.ClientRecord, rec *store.ClientRecord) {
		if rec.Deleted && rec.Metadata == "" {
			rec.Metadata = old.Metadata
		}
	}),
	"deleted clients are emptied": miskept(func(_ *mutant, rec *store.ClientRecord) {
		if rec.Deleted {
			rec.Metadata = ""
		}
	}),
	"times of clients go forward": merged(func(old store.ClientRecord, rec *store.ClientRecord) {
		if rec.Changed.Before(old.Changed) {
			rec.Changed = old.Changed
		}
	}),
	"clients fold case":         renamed(func(_ *mutant, key string) string { return strings.ToLower(key) }),
	"clients' keys are trimmed": renamed(func(_ *mutant, key string) string { return strings.TrimSpace(key) }),
	"clients' keys are cut":     renamed(func(_ *mutant, key string) string { return key[:min(len(key), 255)] }),
	"clients' keys are refused": func(m *mutant) {
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			if len(rec.Key) > 256 {
				return errors.New("too long")
			}
			return m.Store.PutClient(ctx, now, rec)
		}
	},
	"clients of this node": renamed(func(m *mutant, key string) string { return m.node + key }),
	"clients of this life": renamed(func(m *mutant, key string) string { return m.life + key }),
	"clients and used keys share names": func(m *mutant) {
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			if _, err := m.Store.Use(ctx, now, rec.Key, time.Time{}); errors.Is(err, store.ErrExists) {
				return store.ErrConflict
			}
			return m.Store.PutClient(ctx, now, rec)
		}
	},
	"clients use their keys": func(m *mutant) {
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			err := m.Store.PutClient(ctx, now, rec)
			if err == nil {
				_, _ = m.Store.Use(ctx, now, rec.Key, farAway)
			}
			return err
		}
	},
	"clients are announced": func(m *mutant) {
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			err := m.Store.PutClient(ctx, now, rec)
			if err == nil && rec.Deleted {
				err = m.Store.Announce(ctx, now, store.Revocation{Client: rec.Key, Before: now, Until: now.Add(time.Hour)})
			}
			return err
		}
	},
	"clients take the grant of that name": func(m *mutant) {
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			_, _ = m.Store.RevokeGrant(ctx, now, store.Revocation{GrantID: rec.Key, Until: now.Add(time.Hour)})
			return m.Store.PutClient(ctx, now, rec)
		}
	},
	"clients are grants": func(m *mutant) {
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			err := m.Store.PutClient(ctx, now, rec)
			if err == nil {
				_ = m.Store.CreateGrant(ctx, now, store.Grant{ID: rec.Key, Created: now, Expires: now.Add(time.Hour)})
			}
			return err
		}
	},
	"grants lose the client's metadata": forgetful(func(g *store.Grant) { g.ClientMetadata = "" }),
	"grants cut the client's metadata": forgetful(func(g *store.Grant) {
		g.ClientMetadata = g.ClientMetadata[:min(len(g.ClientMetadata), 4<<10)]
	}),
	"grants trim the client's metadata": forgetful(func(g *store.Grant) { g.ClientMetadata = strings.TrimSpace(g.ClientMetadata) }),
	"rotation loses the client's metadata": func(m *mutant) {
		m.look = func(g store.Grant) store.Grant {
			if g.Generation > 0 {
				g.ClientMetadata = ""
			}
			return g
		}
	},
	"a new grant has the old client's metadata": func(m *mutant) {
		var first sync.Map
		m.create = func(ctx context.Context, now time.Time, g store.Grant) error {
			old, _ := first.LoadOrStore(g.ID, g.ClientMetadata)
			g.ClientMetadata = old.(string)
			return m.Store.CreateGrant(ctx, now, g)
		}
	},
}

// merged makes a store mix a record with the one before.
func merged(mix func(old store.ClientRecord, rec *store.ClientRecord)) func(m *mutant) {
	return func(m *mutant) {
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			if old, err := m.Store.Client(ctx, rec.Key); err == nil {
				mix(old, &rec)
			}
			return m.Store.PutClient(ctx, now, rec)
		}
	}
}
