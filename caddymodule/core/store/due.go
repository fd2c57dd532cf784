package store

import (
	"container/heap"
	"container/list"
	"context"
	"time"
)

// sweepLimit is how many records one call of [Memory.Sweep] removes at most.
const sweepLimit = 1000

// Sweep implements [Store].
func (m *Memory) Sweep(ctx context.Context, now time.Time) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for n < sweepLimit && len(m.queue) > 0 && !m.queue[0].at.After(now) {
		m.remove(heap.Pop(&m.queue).(*due))
		n++
	}
	return n, nil
}

// remove forgets the record behind d.
func (m *Memory) remove(d *due) {
	switch d.kind {
	case dueGrant:
		m.dropPerson(m.grants[d.id])
		delete(m.grants, d.id)
	case dueUse:
		delete(m.used, d.id)
	case dueEntry:
		m.feed.Remove(d.entry)
	}
}

// postpone gives a record another end.
func (m *Memory) postpone(d *due, at time.Time) {
	d.at = at
	heap.Fix(&m.queue, d.index)
}

// dueKind says what a due is about.
type dueKind int

const (
	dueEntry dueKind = iota
	dueGrant
	dueUse
)

// due says when a grant, a used key or a feed entry is no longer of use.
type due struct {
	at    time.Time
	kind  dueKind
	id    string        // of the grant, or the used key
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

// Interface guard.
var _ heap.Interface = (*dueQueue)(nil)
