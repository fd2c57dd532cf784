package trust

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

const (
	// maxMetadata bounds a metadata document, in bytes.
	maxMetadata = 256 << 10
	// staleMetadata is how long the addresses in it are good while the provider
	// is down. How long its keys are good is another question.
	staleMetadata = 24 * time.Hour
	// holdOff is how long after a failure nobody tries again.
	holdOff = 5 * time.Second
)

// metadata is what is needed of a provider's metadata (RFC 8414 §2).
type metadata struct {
	Issuer                string `json:"issuer"`
	JWKSURI               string `json:"jwks_uri"`
	IntrospectionEndpoint string `json:"introspection_endpoint"`
}

// discovery finds a provider's metadata. Left out: signed_metadata.
type discovery struct {
	cache *fetch.Cache[metadata]
	now   func() time.Time
	urls  []string

	mu     sync.Mutex
	first  int       // the address that had it last
	failed time.Time // when none had it
	cause  error
}

func newDiscovery(c Config) *discovery {
	return &discovery{now: c.Now, urls: metadataURLs(c.Issuer), cache: fetch.NewCache(c.Client, fetch.CacheOptions[metadata]{
		Decode: func(_ string, r *fetch.Response) (metadata, error) {
			var m metadata
			if err := json.Unmarshal(r.Body, &m); err != nil {
				return m, errors.New("the metadata is not JSON as it should be")
			}
			// RFC 8414 §3.3: exactly, or one provider could speak for another.
			if m.Issuer != c.Issuer {
				return m, errors.New("the metadata names another issuer")
			}
			for _, at := range []string{m.JWKSURI, m.IntrospectionEndpoint} {
				if at != "" && c.Client.Check(at) != nil {
					return m, errors.New("the metadata names an address that does not use https")
				}
			}
			return m, nil
		},
		MaxBody: maxMetadata, DefaultFresh: time.Hour, StaleFor: staleMetadata, Size: 8, Now: c.Now,
	})}
}

// metadataURLs lists where metadata may lie: by RFC 8414 §3, and where OpenID
// Connect Discovery §4 has it, as MCP clients look for it too.
func metadataURLs(issuer string) []string {
	issuer = strings.TrimSuffix(issuer, "/")
	origin, path := issuer, ""
	if i := strings.IndexByte(issuer[strings.Index(issuer, "://")+3:], '/'); i >= 0 {
		at := strings.Index(issuer, "://") + 3 + i
		origin, path = issuer[:at], issuer[at:]
	}
	urls := []string{origin + oauth.WellKnownServer + path, issuer + oauth.WellKnownOpenID}
	if path != "" {
		urls = append(urls, origin+oauth.WellKnownOpenID+path)
	}
	return urls
}

// find returns the metadata. That there is none is an outage: nothing is known
// about any token then.
func (d *discovery) find(ctx context.Context) (metadata, error) {
	d.mu.Lock()
	first, cause := d.first, d.cause
	if ago := d.now().Sub(d.failed); ago < 0 || ago >= holdOff {
		cause = nil
	}
	d.mu.Unlock()
	if cause != nil {
		return metadata{}, fmt.Errorf("%w: %w", resource.ErrUnavailable, cause)
	}
	var errs []error
	for n := range d.urls {
		at := (first + n) % len(d.urls)
		m, _, err := d.cache.Get(ctx, d.urls[at])
		if err == nil {
			d.mu.Lock()
			d.first = at
			d.mu.Unlock()
			return m, nil
		}
		errs = append(errs, err)
	}
	err := errors.Join(errs...)
	if ctx.Err() == nil {
		d.mu.Lock()
		d.failed, d.cause = d.now(), err
		d.mu.Unlock()
	}
	return metadata{}, fmt.Errorf("%w: %w", resource.ErrUnavailable, err)
}

func (d *discovery) close() { d.cache.Close() }
