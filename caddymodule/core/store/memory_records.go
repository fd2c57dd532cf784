package store

import (
	"container/heap"
	"context"
	"fmt"
	"slices"
	"time"
)

// Cursors of Records are the place of the last record: its kind and its name.
const (
	placeClient = "client "
	placeEntry  = "entry "
	placeGrant  = "grant "
	placeUse    = "use "
)

// Records implements [Store]. A page costs a look at all records.
func (m *Memory) Records(ctx context.Context, after string, limit int) ([]Record, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	records := make(map[string]Record)
	var places []string
	add := func(place string, r Record) {
		if place > after {
			places, records[place] = append(places, place), r
		}
	}
	for key, c := range m.clients {
		add(placeClient+key, Record{Client: &c})
	}
	for e := m.feed.Front(); e != nil; e = e.Next() {
		held := e.Value.(*heldRevocation)
		r := held.Revocation
		add(fmt.Sprintf("%s%020d", placeEntry, held.seq), Record{Revocation: &r})
	}
	for id, h := range m.grants {
		add(placeGrant+id, Record{Grant: h.record()})
	}
	for hash, h := range m.used {
		add(placeUse+hash, Record{Use: &UseRecord{Hash: hash, First: h.first, Until: h.due.at}})
	}
	slices.Sort(places)
	next := ""
	if limit = max(limit, 1); len(places) > limit {
		places, next = places[:limit], places[limit-1]
	}
	out := make([]Record, len(places))
	for i, place := range places {
		out[i] = records[place]
	}
	return out, next, nil
}

func (h *heldGrant) record() *GrantRecord {
	g := &GrantRecord{Grant: copied(h.Grant)}
	if h.due.at.After(h.Expires) {
		g.Keep = h.due.at
	}
	return g
}

// Restore implements [Store].
func (m *Memory) Restore(ctx context.Context, records []Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, r := range records { // all or none
		if err := r.Check(); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range records {
		switch {
		case r.Grant != nil:
			m.putGrant(*r.Grant)
		case r.Use != nil:
			m.putUse(*r.Use)
		case r.Client != nil:
			m.clients[r.Client.Key] = *r.Client
		case r.Revocation != nil:
			m.appendFeed(*r.Revocation)
		}
	}
	return nil
}

// Reseal implements [Store].
func (m *Memory) Reseal(ctx context.Context, old, next Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := CheckReseal(old, next); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if old.Client != nil {
		c, ok := m.clients[old.Client.Key]
		switch {
		case !ok:
			return ErrNotFound
		case !c.Same(*old.Client):
			return ErrConflict
		}
		m.clients[c.Key] = *next.Client
		return nil
	}
	h, ok := m.grants[old.Grant.ID]
	switch {
	case !ok:
		return ErrNotFound
	case !h.record().Same(*old.Grant):
		return ErrConflict
	}
	m.putGrant(*next.Grant)
	return nil
}

// putGrant keeps a grant in the place of what is there.
func (m *Memory) putGrant(g GrantRecord) {
	h, ok := m.grants[g.ID]
	if ok {
		m.dropPerson(h)
	} else {
		h = &heldGrant{due: &due{kind: dueGrant, id: g.ID}}
		m.grants[g.ID] = h
		heap.Push(&m.queue, h.due)
	}
	h.Grant = copied(g.Grant)
	m.addPerson(h)
	m.postpone(h.due, g.Due())
}

// putUse marks a key in the place of what is there.
func (m *Memory) putUse(u UseRecord) {
	h, ok := m.used[u.Hash]
	if !ok {
		h = &heldUse{due: &due{kind: dueUse, id: u.Hash}}
		m.used[u.Hash] = h
		heap.Push(&m.queue, h.due)
	}
	h.first = u.First
	m.postpone(h.due, u.Until)
}

// Await implements [Store].
func (m *Memory) Await(ctx context.Context, after string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	behind, grown := m.position(after) < m.feedSeq, m.grown
	m.mu.Unlock()
	if behind {
		return nil
	}
	select {
	case <-grown:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Now implements [Store].
func (*Memory) Now(ctx context.Context) (time.Time, error) {
	return time.Now(), ctx.Err()
}

// appendFeed gives an entry the feed's next number and keeps it.
func (m *Memory) appendFeed(r Revocation) {
	m.feedSeq++
	e := m.feed.PushBack(&heldRevocation{Revocation: r, seq: m.feedSeq})
	heap.Push(&m.queue, &due{at: r.Until, entry: e})
	close(m.grown)
	m.grown = make(chan struct{})
}
