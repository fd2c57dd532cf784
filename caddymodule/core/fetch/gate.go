package fetch

import (
	"context"
	"sync"
	"time"
)

const (
	// queue is how many wait for each that fetches; more are refused at once.
	queue = 4
	// maxWait is how long one waits.
	maxWait = time.Second
)

// gate bounds how many fetches are under way, in all and for each site. Who
// finds it full waits a moment, and only so many do.
type gate struct {
	all     chan struct{}
	perSite int

	mu    sync.Mutex
	users int
	sites map[string]*site
}

// site is one that somebody fetches from, or waits to.
type site struct {
	slots chan struct{}
	users int
}

func newGate(all, perSite int) *gate {
	return &gate{all: make(chan struct{}, all), perSite: perSite, sites: map[string]*site{}}
}

// enter returns a function that gives the place back, or ErrBusy.
func (g *gate) enter(ctx context.Context, name string) (leave func(), err error) {
	s := g.join(name)
	if s == nil {
		return nil, ErrBusy
	}
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		g.part(name, s)
		return nil, ErrBusy
	}
	select {
	case g.all <- struct{}{}:
	case <-ctx.Done():
		<-s.slots
		g.part(name, s)
		return nil, ErrBusy
	}
	return func() {
		<-g.all
		<-s.slots
		g.part(name, s)
	}, nil
}

// join counts the caller in, unless there are too many.
func (g *gate) join(name string) *site {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sites[name]
	if s == nil {
		s = &site{slots: make(chan struct{}, g.perSite)}
	}
	if g.users >= cap(g.all)*(1+queue) || s.users >= g.perSite*(1+queue) {
		return nil
	}
	g.users++
	s.users++
	g.sites[name] = s
	return s
}

func (g *gate) part(name string, s *site) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.users--
	if s.users--; s.users == 0 {
		delete(g.sites, name)
	}
}
