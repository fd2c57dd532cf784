package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"
)

const (
	// maxFresh is the longest that a document counts without asking again,
	// whatever its host says (SPEC E13).
	maxFresh = 24 * time.Hour
	// retryStale is how long a stale document serves without another try.
	retryStale = 30 * time.Second
	// background is how many documents are revalidated at once.
	background = 4
)

// CacheOptions say what a Cache keeps and for how long.
type CacheOptions[T any] struct {
	// Decode turns an answer into what is kept, or refuses it. What it refuses
	// never enters the cache. It keeps no part of the body that it does not
	// need, and quotes none in an error.
	Decode func(rawURL string, r *Response) (T, error)
	// Accept and MaxBody are those of Request.
	Accept  string
	MaxBody int64
	// MinFresh and MaxFresh bound what hosts say of freshness; a document that
	// must not be stored is kept for MinFresh. The defaults are 1 min and 24 h,
	// and more than that is 24 h.
	MinFresh, MaxFresh time.Duration
	// DefaultFresh is for hosts that say nothing. The default is 15 min.
	DefaultFresh time.Duration
	// StaleFor is how long after that a document serves while its host fails.
	// The default is not at all. A host that says that the document is gone
	// ends it at once.
	StaleFor time.Duration
	// HoldOff is how long a host that failed is not asked again for a document
	// that is not in memory; the failure is the answer meanwhile. The default is
	// not at all.
	HoldOff time.Duration
	// Size bounds the number of documents, and of failures that are remembered.
	// The default is 1000.
	Size int
	// Now is the clock. The default is time.Now.
	Now func() time.Time
}

// Source says where a document comes from.
type Source int

// The sources of a document.
const (
	// Memory is a document that was fetched before and is fresh.
	Memory Source = iota
	// Network is a document that its host just sent or confirmed.
	Network
	// Stale is a document that is no longer fresh: its host fails, or nobody
	// has asked it.
	Stale
)

// Status tells about a document of a Cache.
type Status struct {
	Source Source
	// Tried is when its host was last asked.
	Tried time.Time
	// Cause is why that failed, nil if it did not. It comes with Stale, and with
	// Memory where somebody asked for more than a fresh document.
	Cause error
}

// Cache keeps documents by the addresses they came from, which are compared as
// strings: two spellings are two documents. Every document is fetched by one
// caller at a time, for all who want it. It is safe for concurrent use.
type Cache[T any] struct {
	client   *Client
	opts     CacheOptions[T]
	entries  *otter.Cache[string, *entry[T]]
	failures *otter.Cache[string, Failure] // of documents without a usable entry
	flights  singleflight.Group
	slots    chan struct{}

	mu     sync.Mutex
	done   chan struct{} // closed by Close, which waits for running
	closed bool
	active sync.WaitGroup
}

// entry is a document. It never changes: a new one takes its place.
type entry[T any] struct {
	value              T
	etag, lastModified string
	fetched, tried     time.Time
	fresh              time.Duration
	cause              error // of the last try, if it failed
}

// NewCache returns an empty cache. Close ends what it does in the background.
func NewCache[T any](c *Client, o CacheOptions[T]) *Cache[T] {
	o.MinFresh = cmp.Or(o.MinFresh, time.Minute)
	o.MaxFresh = max(min(cmp.Or(o.MaxFresh, maxFresh), maxFresh), o.MinFresh)
	o.DefaultFresh = cmp.Or(o.DefaultFresh, 15*time.Minute)
	o.Size = cmp.Or(o.Size, 1000)
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Cache[T]{
		client: c, opts: o, slots: make(chan struct{}, background), done: make(chan struct{}),
		entries:  otter.Must(&otter.Options[string, *entry[T]]{MaximumSize: o.Size}),
		failures: otter.Must(&otter.Options[string, Failure]{MaximumSize: o.Size}),
	}
}

// Get returns a document: the one in memory if it is fresh, or else what its
// host has now, or else, for StaleFor, the one in memory. A caller that gives
// up does not end the fetch for the others.
func (c *Cache[T]) Get(ctx context.Context, rawURL string) (T, Status, error) {
	if v, s, ok := c.Peek(rawURL); ok && (s.Source == Memory || s.Cause != nil && c.since(s.Tried) < retryStale) {
		return v, s, nil
	}
	return c.fly(ctx, rawURL, 0)
}

// Renew is Get that asks the host even if the document is fresh, unless it was
// asked less than a while ago, with or without success.
func (c *Cache[T]) Renew(ctx context.Context, rawURL string, while time.Duration) (T, Status, error) {
	if v, s, ok := c.Peek(rawURL); ok && c.since(s.Tried) < while {
		return v, s, nil
	}
	return c.fly(ctx, rawURL, while)
}

// Peek returns a document that is in memory, fresh or stale. It never fetches.
func (c *Cache[T]) Peek(rawURL string) (T, Status, bool) {
	e, ok := c.entries.GetIfPresent(rawURL)
	if !ok {
		var none T
		return none, Status{}, false
	}
	s := Status{Source: Memory, Tried: e.tried, Cause: e.cause}
	age := c.since(e.fetched)
	switch {
	case age < e.fresh:
	case age < e.fresh+c.opts.StaleFor:
		s.Source = Stale
	default:
		var none T
		return none, Status{}, false
	}
	return e.value, s, true
}

// Revalidate asks the host of a document in the background. It does nothing
// if that is under way already, or if too many others are.
func (c *Cache[T]) Revalidate(rawURL string) {
	select {
	case c.slots <- struct{}{}:
	default:
		return
	}
	if !c.begin() {
		<-c.slots
		return
	}
	go func() {
		defer c.active.Done()
		defer func() { <-c.slots }()
		_, _, _ = c.Renew(context.Background(), rawURL, retryStale) // a failure is in the entry
	}()
}

// Close ends all fetches and waits for them. The cache then answers from
// memory only.
func (c *Cache[T]) Close() {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.done)
	}
	c.mu.Unlock()
	c.active.Wait()
}

// begin counts a goroutine in that Close has to wait for.
func (c *Cache[T]) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.active.Add(1)
	}
	return !c.closed
}

// since is how long ago that was; a clock that was set back makes it long.
func (c *Cache[T]) since(t time.Time) time.Duration {
	if d := c.opts.Now().Sub(t); d >= 0 {
		return d
	}
	return 1<<63 - 1
}

type result[T any] struct {
	value  T
	status Status
}

// fly fetches a document, or waits for whoever does already.
func (c *Cache[T]) fly(ctx context.Context, rawURL string, while time.Duration) (T, Status, error) {
	var none T
	if err := c.client.Check(rawURL); err != nil {
		return none, Status{}, err
	}
	ch := c.flights.DoChan(rawURL, func() (any, error) { return c.fetch(rawURL, while) })
	select {
	case <-ctx.Done():
		return none, Status{}, context.Cause(ctx)
	case r := <-ch:
		if r.Err != nil {
			return none, Status{}, r.Err
		}
		got, _ := r.Val.(result[T]) // fetch returns nothing else
		return got.value, got.status, nil
	}
}

// fetch asks the host and keeps what it says. It belongs to no caller.
func (c *Cache[T]) fetch(rawURL string, while time.Duration) (any, error) {
	if !c.begin() {
		return nil, ErrClosed
	}
	defer c.active.Done()
	if v, s, ok := c.Peek(rawURL); ok && (c.since(s.Tried) < while || while == 0 && s.Source == Memory) {
		return result[T]{v, s}, nil // another flight has just landed
	}
	if err := c.heldOff(rawURL); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-c.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	old, known := c.entries.GetIfPresent(rawURL)
	e, err := c.ask(ctx, rawURL, old)
	if err == nil {
		c.entries.Set(rawURL, e)
		c.failures.Invalidate(rawURL)
		return result[T]{e.value, Status{Source: Network, Tried: e.tried}}, nil
	}
	if errors.Is(err, ErrGone) {
		c.entries.Invalidate(rawURL)
	}
	if _, _, usable := c.Peek(rawURL); !known || !usable {
		c.fail(rawURL, err)
		return nil, err
	}
	failed := *old
	failed.tried, failed.cause = c.opts.Now(), err
	c.entries.Set(rawURL, &failed)
	return result[T]{old.value, Status{Source: Stale, Tried: failed.tried, Cause: err}}, nil
}

// ask fetches a document and makes an entry of it. old may be nil.
func (c *Cache[T]) ask(ctx context.Context, rawURL string, old *entry[T]) (e *entry[T], err error) {
	defer func() {
		// Documents are hostile, and this goroutine is not net/http's.
		if p := recover(); p != nil {
			e, err = nil, fmt.Errorf("%w: decoding it panics", ErrInvalid)
		}
	}()
	req := Request{Accept: c.opts.Accept, MaxBody: c.opts.MaxBody}
	if old != nil {
		req.ETag, req.LastModified = old.etag, old.lastModified
	}
	resp, err := c.client.Get(ctx, rawURL, req)
	if err != nil {
		return nil, err
	}
	now := c.opts.Now()
	e = &entry[T]{fetched: now, tried: now, fresh: c.freshness(resp, now)}
	if resp.NotModified {
		e.value, e.etag, e.lastModified = old.value, old.etag, old.lastModified
		return e, nil
	}
	if e.value, err = c.opts.Decode(rawURL, resp); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	e.etag, e.lastModified = resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
	return e, nil
}

func (c *Cache[T]) freshness(resp *Response, now time.Time) time.Duration {
	fresh, ok := lifetime(resp.Header, now)
	if !ok {
		fresh = c.opts.DefaultFresh
	}
	return min(max(fresh, c.opts.MinFresh), c.opts.MaxFresh)
}
