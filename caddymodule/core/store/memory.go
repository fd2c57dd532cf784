package store

import (
	"bytes"
	"cmp"
	"container/list"
	"context"
	"crypto/rand"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Memory is a [Store] that keeps everything in this process and nothing across
// a restart: for tests and for servers whose sessions may be lost.
type Memory struct {
	mu      sync.Mutex
	grants  map[string]*heldGrant
	persons map[string]map[string]*heldGrant // by subject, then by id
	used    map[string]*heldUse              // by UseHash
	clients map[string]ClientRecord
	feed    *list.List    // of *heldRevocation, oldest first
	feedID  string        // tells this feed's cursors from those of another life
	feedSeq uint64        // sequence number of the newest entry, ever
	grown   chan struct{} // closed when the feed gets an entry
	ring    []byte
	version uint64
	queue   dueQueue // every grant, used key and feed entry, the next to expire first
}

// heldGrant is a grant with what Memory knows about it.
type heldGrant struct {
	Grant
	due *due
}

// heldUse is a used key with what Memory knows about it.
type heldUse struct {
	first time.Time
	due   *due
}

// heldRevocation is an entry of the feed.
type heldRevocation struct {
	Revocation
	seq uint64
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{
		grants:  make(map[string]*heldGrant),
		persons: make(map[string]map[string]*heldGrant),
		used:    make(map[string]*heldUse),
		clients: make(map[string]ClientRecord),
		feed:    list.New(),
		feedID:  rand.Text(),
		grown:   make(chan struct{}),
	}
}

// CreateGrant implements [Store].
func (m *Memory) CreateGrant(ctx context.Context, now time.Time, g Grant) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if h, ok := m.grants[g.ID]; ok && h.due.at.After(now) {
		return ErrExists
	}
	m.putGrant(GrantRecord{Grant: g})
	return nil
}

// Grant implements [Store].
func (m *Memory) Grant(ctx context.Context, now time.Time, id string) (Grant, error) {
	if err := ctx.Err(); err != nil {
		return Grant{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h, err := m.live(now, id)
	if err != nil {
		return Grant{}, err
	}
	if !h.Revoked.IsZero() {
		return copied(h.Grant), ErrRevoked
	}
	return copied(h.Grant), nil
}

// RotateGrant implements [Store].
func (m *Memory) RotateGrant(ctx context.Context, now time.Time, r Rotation) (Grant, error) {
	if err := ctx.Err(); err != nil {
		return Grant{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h, err := m.live(now, r.ID)
	switch {
	case err != nil:
		return Grant{}, err
	case !h.Revoked.IsZero():
		return copied(h.Grant), ErrRevoked
	case h.Generation != r.From:
		return copied(h.Grant), ErrConflict
	}
	h.Generation++
	h.RotatedAt = now
	h.UsedAt, h.UsedFrom = now, r.UsedFrom
	h.Expires = r.Expires
	m.postpone(h.due, r.Expires)
	return copied(h.Grant), nil
}

// RevokeGrant implements [Store].
func (m *Memory) RevokeGrant(ctx context.Context, now time.Time, r Revocation) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h, err := m.live(now, r.GrantID)
	if err != nil {
		return false, err
	}
	if !h.Revoked.IsZero() {
		return false, nil
	}
	h.Revoked = now
	if r.Until.After(h.due.at) {
		m.postpone(h.due, r.Until)
	}
	m.appendFeed(r)
	return true, nil
}

// Grants implements [Store].
func (m *Memory) Grants(ctx context.Context, now time.Time, subject string, limit int) ([]Grant, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Grant
	for _, h := range m.persons[subject] {
		if h.Revoked.IsZero() && h.Expires.After(now) {
			out = append(out, h.Grant)
		}
	}
	slices.SortFunc(out, func(a, b Grant) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	out = slices.Clone(out[:min(len(out), max(limit, 0))])
	for i := range out {
		out[i] = copied(out[i])
	}
	return out, nil
}

// TouchGrants implements [Store].
func (m *Memory) TouchGrants(ctx context.Context, now time.Time, uses []GrantUse) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range uses {
		h, err := m.live(now, u.GrantID)
		if err == nil && h.Revoked.IsZero() && u.At.After(h.UsedAt) {
			h.UsedAt, h.UsedFrom = u.At, u.From
		}
	}
	return nil
}

// Use implements [Store].
func (m *Memory) Use(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key = UseHash(key)
	if h, ok := m.used[key]; ok && h.due.at.After(now) {
		return h.first, ErrExists
	}
	if !until.After(now) {
		return now, nil
	}
	m.putUse(UseRecord{Hash: key, First: now, Until: until})
	return now, nil
}

// Announce implements [Store].
func (m *Memory) Announce(ctx context.Context, _ time.Time, r Revocation) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.CheckAnnounced(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.appendFeed(r)
	return nil
}

// Client implements [Store].
func (m *Memory) Client(ctx context.Context, key string) (ClientRecord, error) {
	if err := ctx.Err(); err != nil {
		return ClientRecord{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	rec, ok := m.clients[key]
	if !ok {
		return ClientRecord{}, ErrNotFound
	}
	return rec, nil
}

// PutClient implements [Store].
func (m *Memory) PutClient(ctx context.Context, _ time.Time, rec ClientRecord) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.clients[rec.Key]; old.Deleted || rec.Version != old.Version+1 {
		return ErrConflict
	}
	m.clients[rec.Key] = rec
	return nil
}

// Revocations implements [Store].
func (m *Memory) Revocations(ctx context.Context, now time.Time, after string) ([]Revocation, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	from := m.position(after)
	// From the end back to the cursor, so that a poll costs what is new.
	first := m.feed.Back()
	for first != nil && first.Value.(*heldRevocation).seq > from {
		first = first.Prev()
	}
	if first == nil {
		first = m.feed.Front()
	} else {
		first = first.Next()
	}
	var out []Revocation
	for e := first; e != nil; e = e.Next() {
		if r := e.Value.(*heldRevocation); r.Until.After(now) {
			out = append(out, r.Revocation)
		}
	}
	return out, m.feedID + "." + strconv.FormatUint(m.feedSeq, 10), nil
}

// position returns the sequence number that a cursor stands for: 0, the
// beginning, for one that this feed did not hand out.
func (m *Memory) position(cursor string) uint64 {
	id, num, ok := strings.Cut(cursor, ".")
	if !ok || id != m.feedID {
		return 0
	}
	seq, err := strconv.ParseUint(num, 10, 64)
	if err != nil || seq > m.feedSeq {
		return 0
	}
	return seq
}

// KeyRing implements [Store].
func (m *Memory) KeyRing(ctx context.Context) ([]byte, uint64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.version == 0 {
		return nil, 0, ErrNotFound
	}
	return bytes.Clone(m.ring), m.version, nil
}

// SwapKeyRing implements [Store].
func (m *Memory) SwapKeyRing(ctx context.Context, version uint64, ring []byte) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if version != m.version {
		return 0, ErrConflict
	}
	m.ring = bytes.Clone(ring)
	m.version++
	return m.version, nil
}

// Ping implements [Store].
func (m *Memory) Ping(ctx context.Context) error {
	return ctx.Err()
}

// live returns the grant with this id unless it has expired.
func (m *Memory) live(now time.Time, id string) (*heldGrant, error) {
	h, ok := m.grants[id]
	if !ok || !h.due.at.After(now) {
		return nil, ErrNotFound
	}
	return h, nil
}

// addPerson enters a grant under its person.
func (m *Memory) addPerson(h *heldGrant) {
	grants := m.persons[h.User.Subject]
	if grants == nil {
		grants = make(map[string]*heldGrant)
		m.persons[h.User.Subject] = grants
	}
	grants[h.ID] = h
}

// dropPerson takes a grant away from its person.
func (m *Memory) dropPerson(h *heldGrant) {
	grants := m.persons[h.User.Subject]
	delete(grants, h.ID)
	if len(grants) == 0 {
		delete(m.persons, h.User.Subject)
	}
}

// copied returns a grant that shares no memory with g.
func copied(g Grant) Grant {
	g.User.Groups = slices.Clone(g.User.Groups)
	return g
}

// Interface guard.
var _ Store = (*Memory)(nil)
