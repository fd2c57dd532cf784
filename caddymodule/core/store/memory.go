package store

import (
	"bytes"
	"container/heap"
	"container/list"
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"sync"
	"time"
)

// sweepLimit is how many records one call of [Memory.Sweep] removes at most.
const sweepLimit = 1000

// Memory is a [Store] that keeps everything in this process and nothing across
// a restart: for tests and for servers whose sessions may be lost.
type Memory struct {
	mu      sync.Mutex
	grants  map[string]*heldGrant
	feed    *list.List // of *heldRevocation, oldest first
	feedID  string     // tells this feed's cursors from those of another life
	feedSeq uint64     // sequence number of the newest entry, ever
	ring    []byte
	version uint64
	queue   dueQueue // every grant and feed entry, the next to expire first
}

// heldGrant is a grant with what Memory knows about it.
type heldGrant struct {
	Grant
	due *due
}

// heldRevocation is an entry of the feed.
type heldRevocation struct {
	Revocation
	seq uint64
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{
		grants: make(map[string]*heldGrant),
		feed:   list.New(),
		feedID: rand.Text(),
	}
}

// CreateGrant implements [Store].
func (m *Memory) CreateGrant(ctx context.Context, now time.Time, g Grant) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.grants[g.ID]
	if ok && h.due.at.After(now) {
		return ErrExists
	}
	if !ok {
		h = &heldGrant{due: &due{id: g.ID}}
		m.grants[g.ID] = h
		heap.Push(&m.queue, h.due)
	}
	h.Grant = g
	m.postpone(h.due, g.Expires)
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
		return h.Grant, ErrRevoked
	}
	return h.Grant, nil
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
		return h.Grant, ErrRevoked
	case h.Generation != r.From:
		return h.Grant, ErrConflict
	}
	h.Generation++
	h.RotatedAt = now
	h.Expires = r.Expires
	m.postpone(h.due, r.Expires)
	return h.Grant, nil
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
	m.feedSeq++
	e := m.feed.PushBack(&heldRevocation{Revocation: r, seq: m.feedSeq})
	heap.Push(&m.queue, &due{at: r.Until, entry: e})
	return true, nil
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

// Sweep implements [Store].
func (m *Memory) Sweep(ctx context.Context, now time.Time) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for n < sweepLimit && len(m.queue) > 0 && !m.queue[0].at.After(now) {
		d := heap.Pop(&m.queue).(*due)
		if d.entry != nil {
			m.feed.Remove(d.entry)
		} else {
			delete(m.grants, d.id)
		}
		n++
	}
	return n, nil
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

// postpone gives a record another end.
func (m *Memory) postpone(d *due, at time.Time) {
	d.at = at
	heap.Fix(&m.queue, d.index)
}

// due says when a grant or a feed entry is no longer of use.
type due struct {
	at    time.Time
	id    string        // of the grant, if entry is nil
	entry *list.Element // of the feed
	index int           // place in the queue
}

// dueQueue is a [heap.Interface] ordered by time.
type dueQueue []*due

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }

func (q dueQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements [heap.Interface].
func (q *dueQueue) Push(x any) {
	d := x.(*due)
	d.index = len(*q)
	*q = append(*q, d)
}

// Pop implements [heap.Interface].
func (q *dueQueue) Pop() any {
	old := *q
	last := len(old) - 1
	d := old[last]
	old[last] = nil
	*q = old[:last]
	return d
}

// Interface guards.
var (
	_ Store          = (*Memory)(nil)
	_ heap.Interface = (*dueQueue)(nil)
)
