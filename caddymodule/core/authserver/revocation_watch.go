package authserver

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// Watch waits for the moment when a token is no longer good. Open streams end
// that way. It is made to be a part of what ends: most streams are one short
// answer, so that to begin and to stop a watch must cost next to nothing. It is
// used once.
type Watch struct {
	// Of is the token.
	Of *Watched
	// End is called once, unless Stop was called before. It must not wait.
	End func()

	set  *RevocationSet
	over atomic.Bool // ended or stopped
}

// watchTable holds the watches by all that their tokens end with. Each is in the
// part of its grant, of its token and of its client, and there are many parts, so
// that streams don't wait for each other. Calls are not delayed by it at all.
type watchTable struct {
	seed  maphash.Seed
	parts [256]watchPart
}

type watchPart struct {
	mu      sync.Mutex
	watches map[*Watch]struct{}
}

// part returns where the watches of something are.
func (t *watchTable) part(of revocable) *watchPart {
	return &t.parts[(maphash.String(t.seed, of.name)+uint64(of.kind))%uint64(len(t.parts))]
}

// Watch begins a watch. If the token is no longer good already, End is called
// before Watch returns.
func (s *RevocationSet) Watch(w *Watch) {
	w.set = s
	for _, r := range w.Of.revocables() {
		if r.name != "" {
			s.watches.part(r).put(w)
		}
	}
	// Whoever revokes takes note first and looks for watches then: one of the two
	// sees the other.
	if s.Ended(*w.Of) {
		w.end()
	}
	if w.over.Load() { // perhaps by another, before it was everywhere
		w.forget()
	}
}

// Stop ends a watch that is not needed any more. It may be called at any time,
// and again. An End that is under way goes on.
func (w *Watch) Stop() {
	if w.set != nil {
		w.over.Store(true)
		w.forget()
	}
}

// end calls End, once.
func (w *Watch) end() {
	if w.over.CompareAndSwap(false, true) {
		w.forget()
		w.End()
	}
}

// forget takes a watch out of the table.
func (w *Watch) forget() {
	for _, r := range w.Of.revocables() {
		if r.name != "" {
			w.set.watches.part(r).remove(w)
		}
	}
}

func (p *watchPart) put(w *Watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watches == nil {
		p.watches = map[*Watch]struct{}{}
	}
	p.watches[w] = struct{}{}
}

func (p *watchPart) remove(w *Watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.watches, w)
}

// endAll ends the watches of which it is true that they are over.
func (p *watchPart) endAll(over func(w *Watch) bool) {
	var found []*Watch
	p.mu.Lock()
	for w := range p.watches {
		if over(w) {
			found = append(found, w)
		}
	}
	p.mu.Unlock()
	for _, w := range found {
		w.end()
	}
}

// endWatches ends the watches that a revocation is about.
func (s *RevocationSet) endWatches(about revocable) {
	if about.name == "" {
		return
	}
	s.watches.part(about).endAll(func(w *Watch) bool {
		return w.Of.revocables()[about.kind] == about && s.Ended(*w.Of)
	})
}

// EndRetired ends the watches of tokens whose key is not good any more: a key
// that has leaked is retired, and what was opened with it must not stay open. It
// looks at every watch, so call it every few seconds and not at every change: a
// stream may begin while the keys change.
func (s *RevocationSet) EndRetired(good func(keyID string) bool) {
	for i := range s.watches.parts {
		s.watches.parts[i].endAll(func(w *Watch) bool { return w.Of.KeyID != "" && !good(w.Of.KeyID) })
	}
}
