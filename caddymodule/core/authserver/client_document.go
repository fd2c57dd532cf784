package authserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/clients"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// This file resolves clients that are described by a document at their
// client_id, by draft-ietf-oauth-client-id-metadata-document-01. Nothing is
// fetched before the cheap checks (SPEC E22), and no failure is kept as a
// verdict for the next sign-in (E13).

// newDocumentsRate bounds the fetches of documents that are not in memory. Who
// signs in with a program that others use causes none. An address is a /48 of
// IPv6 here, so that no home can spend the total, which is everybody's.
var newDocumentsRate = Rate{PerAddress: 20, Total: 240}

// spareFailed is how long a host that failed is spared, for documents that have
// a bundled copy.
const spareFailed = time.Minute

// documentStale is how long a document serves while its host fails.
const documentStale = 7 * 24 * time.Hour

// documents are the metadata documents that the server knows.
type documents struct {
	cache *fetch.Cache[Client]
	logos *fetch.Cache[Logo]

	unknown  *throttle // of documents that are not in memory
	renewed  *limiter  // by client_id, of those that are looked at because a grant is refreshed
	pictures *limiter  // by URL, of logos
}

func newDocuments(s *Server) *documents {
	return &documents{
		cache: fetch.NewCache(s.deps.Fetch, fetch.CacheOptions[Client]{Decode: s.decodeDocument, StaleFor: documentStale, Now: s.deps.Now}),
		logos: fetch.NewCache(s.deps.Fetch, fetch.CacheOptions[Logo]{
			Decode: decodeLogo, Accept: logoTypes, MaxBody: maxClientLogo, Size: maxClientLogos, StaleFor: documentStale, Now: s.deps.Now,
		}),
		unknown: newWideThrottle(newDocumentsRate, siteBits),
		renewed: newLimiter(1, renewEvery), pictures: newLimiter(1, renewEvery),
	}
}

// Close ends what the server does in the background.
func (s *Server) Close() {
	if s.documents != nil {
		s.documents.cache.Close()
		s.documents.logos.Close()
	}
}

// isDocumentID reports whether a client_id is the URL of a metadata document.
// No sealed id looks like one.
func isDocumentID(id string) bool { return strings.HasPrefix(id, "https://") }

// admitDocument makes the checks that need no fetch.
func (s *Server) admitDocument(id string) error {
	if s.documents == nil {
		return fmt.Errorf("%w: metadata documents are off", errUnknownClient)
	}
	if err := errors.Join(fetch.CheckClientID(id), s.deps.Fetch.Check(id)); err != nil {
		return fmt.Errorf("%w: %w", errDocument, err)
	}
	if !s.cfg.Documents.trusts(id) {
		return fmt.Errorf("%w: the configuration does not allow documents of its host", errDocument)
	}
	return nil
}

// documentClient returns the client that the document at its id describes: from
// memory, from its host, or, for a known client whose host does not let us
// have it, from the copy that comes with this server.
func (s *Server) documentClient(ctx context.Context, id string) (Client, error) {
	if err := s.admitDocument(id); err != nil {
		return Client{}, err
	}
	c, status, known := s.documents.cache.Peek(id)
	if known && status.Source == fetch.Memory {
		return c, nil
	}
	if !known {
		failed := s.failedLately(id)
		if failed != nil && !isVerdict(failed) {
			if c, ok := s.bundledClient(ctx, id, failed); ok {
				return c, nil
			}
		}
		if err := s.admitFetch(ctx, id, failed); err != nil {
			return Client{}, err
		}
	}
	c, status, err := s.documents.cache.Get(ctx, id)
	if err != nil {
		return s.documentFailed(ctx, id, err)
	}
	switch status.Source {
	case fetch.Network:
		s.documentEvent(ctx, c, oauth.DocumentFetched, nil)
	case fetch.Stale:
		s.documentEvent(ctx, c, oauth.DocumentStale, status.Cause)
	case fetch.Memory:
	}
	return c, nil
}

// failedLately returns why the fetch of a document failed a moment ago, or nil.
func (s *Server) failedLately(id string) error {
	f, ok := s.documents.cache.Failed(id)
	if ago := s.now().Sub(f.Tried); !ok || ago < 0 || ago >= spareFailed {
		return nil
	}
	return f.Cause
}

// isVerdict reports whether a failed fetch is what the document's own host says
// of it: that there is none, or one that is no good. Anything else is an outage.
func isVerdict(cause error) bool {
	return errors.Is(cause, fetch.ErrGone) || errors.Is(cause, fetch.ErrInvalid) && !errors.Is(cause, errNotJSON)
}

// admitFetch takes one turn of the caller's, for a document that is not in
// memory. The few that have a bundled copy need none, so that a flood of new
// programs keeps nobody from those that most people use; unless their host
// failed a moment ago, so that nobody has it asked without end.
func (s *Server) admitFetch(ctx context.Context, id string, failed error) error {
	if _, _, bundled := clients.Document(id); bundled && failed == nil {
		return nil
	}
	switch unknown := s.documents.unknown; unknown.allow(s.now(), oauth.MetaFrom(ctx).RemoteIP) {
	case nil:
		return nil
	case unknown.total:
		return oauth.Errorf(oauth.CodeTemporarilyUnavailable, "too many new programs at this server: try again in a minute")
	}
	return oauth.Errorf(oauth.CodeTemporarilyUnavailable, "too many new programs from your network: try again in a minute").
		WithStatus(http.StatusTooManyRequests)
}

// documentFailed decides what a failed fetch means. A bundled copy stands in
// for a host that could not be asked or sent something else; what the
// document's own host says of it goes first. That this server is busy says
// nothing about the host: the person tries again, and gets the live document.
func (s *Server) documentFailed(ctx context.Context, id string, cause error) (Client, error) {
	if ctx.Err() != nil {
		return Client{}, fmt.Errorf("fetching a metadata document: %w", cause) // nobody waits any more
	}
	ours := errors.Is(cause, fetch.ErrBusy) || errors.Is(cause, fetch.ErrClosed) || errors.Is(cause, context.Canceled)
	if !ours && !isVerdict(cause) {
		if c, ok := s.bundledClient(ctx, id, cause); ok {
			return c, nil
		}
	}
	s.documentEvent(ctx, Client{ID: id}, oauth.DocumentFailed, cause)
	if ours {
		return Client{}, oauth.Unavailable(cause)
	}
	return Client{}, fmt.Errorf("%w: %w", errDocument, cause)
}

// bundledClient returns the client of the copy of its document that comes with
// this server.
func (s *Server) bundledClient(ctx context.Context, id string, cause error) (Client, bool) {
	if s.cfg.Documents.BundledOff {
		return Client{}, false
	}
	raw, seen, ok := clients.Document(id)
	if !ok {
		return Client{}, false
	}
	c, err := s.parseDocument(id, raw)
	if err != nil {
		return Client{}, false // the operator's redirect policy is against it
	}
	s.documentEvent(ctx, c, oauth.DocumentBundled, fmt.Errorf("the copy of %s serves: %w", seen.Format(time.DateOnly), cause))
	return c, true
}

func (s *Server) documentEvent(ctx context.Context, c Client, reason string, cause error) {
	s.deps.Observer.Observe(ctx, oauth.Event{
		Kind: oauth.EventClientMetadata, ClientID: c.ID, ClientName: c.Name, Reason: reason, Err: cause, Meta: oauth.MetaFrom(ctx),
	})
}
