package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"
)

const (
	// listenCheck is after how much silence the listener looks whether its
	// connection lives, and listenPatience how long that may take.
	listenCheck    = 15 * time.Second
	listenPatience = 5 * time.Second
	// firstListen and lastListen bound the waits between attempts to connect.
	firstListen = 100 * time.Millisecond
	lastListen  = 2 * time.Second
)

// listener hears of new entries of the feed, over one connection for all who
// wait. It connects when somebody waits for the first time.
type listener struct {
	ended chan struct{} // closed when the store is

	store  *Store
	config *pgx.ConnConfig // nil: there is nothing to hear
	start  sync.Once
	end    sync.Once
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu   sync.Mutex
	next chan struct{}      // closed at the next news
	look context.CancelFunc // ends the silence: the connection is looked at now; nil if there is none
}

func newListener(s *Store, config *pgx.ConnConfig, hears bool) *listener {
	l := &listener{ended: make(chan struct{}), store: s, next: make(chan struct{})}
	if hears {
		l.config = config.Copy()
	}
	return l
}

// grown returns what is closed when there may be something new.
func (l *listener) grown() <-chan struct{} {
	l.start.Do(func() {
		ctx, cancel := context.WithCancel(context.Background())
		l.cancel = cancel
		if l.config != nil {
			l.done.Go(func() { l.run(ctx) })
		}
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// wake lets all go on who wait.
func (l *listener) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.next)
	l.next = make(chan struct{})
}

// doubt makes the listener look at its connection now.
func (l *listener) doubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.look != nil {
		l.look()
	}
}

// silence returns a context that ends when the connection is to be looked at.
func (l *listener) silence(ctx context.Context) (context.Context, context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx, l.look = context.WithTimeout(ctx, listenCheck)
	return ctx, l.look
}

// close ends the listener and all waiting.
func (l *listener) close() {
	l.start.Do(func() { l.cancel = func() {} }) // it won't begin any more
	l.cancel()
	l.done.Wait()
	l.end.Do(func() { close(l.ended) })
}

// run listens until the context ends, and again after every failure.
func (l *listener) run(ctx context.Context) {
	logger, failing, wait := l.store.logger, false, firstListen
	for {
		err := l.listen(ctx, func() {
			if failing {
				logger.Info("listening for revocations again")
			}
			failing, wait = false, firstListen
			l.wake() // for what was missed meanwhile
		})
		if ctx.Err() != nil {
			return
		}
		if !failing {
			logger.Warn("listening for revocations fails; they are polled for, and it is tried again", zap.Error(l.store.scrub(err)))
		}
		failing = true
		pause(ctx, wait)
		wait = min(2*wait, lastListen)
	}
}

// listen holds one connection until it fails. It calls begun when nothing can
// go unnoticed any more.
func (l *listener) listen(ctx context.Context, begun func()) error {
	conn, err := pgx.ConnectConfig(ctx, l.config)
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(end) // it goes away in any case
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+l.store.channel); err != nil {
		return err
	}
	begun()
	for {
		wait, cancel := l.silence(ctx)
		_, err := conn.WaitForNotification(wait)
		silent := wait.Err() != nil
		cancel()
		switch {
		case err == nil:
			l.wake()
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case !silent:
			return err
		}
		if err := l.check(ctx, conn); err != nil {
			return err
		}
	}
}

// errReadOnly ends listening to a server that nothing happens on any more.
var errReadOnly = errors.New("the server can't be written to: it was demoted, or the address leads to the wrong one")

// check looks whether a connection lives, and to a server that can be written to.
func (l *listener) check(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, listenPatience)
	defer cancel()
	var no bool
	if err := conn.QueryRow(ctx, "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool").Scan(&no); err != nil {
		return err
	}
	if no {
		return errReadOnly
	}
	return nil
}
