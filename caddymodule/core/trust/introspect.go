package trust

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// This file asks a provider about its tokens (RFC 7662). Left out: signed
// answers (RFC 9701), and client authentication by anything but a secret.

const (
	// DefaultRemember is how long an answer counts: how long a token works after
	// the provider revoked it.
	DefaultRemember = 30 * time.Second
	// maxRemember bounds that.
	maxRemember = 10 * time.Minute
	// maxAnswer bounds an answer, in bytes.
	maxAnswer = 64 << 10
)

// Introspection says how the provider is asked about tokens.
type Introspection struct {
	// URL is the endpoint. The default is what the metadata says.
	URL string
	// ClientID and Secret are ours at the provider.
	ClientID, Secret string
	// Remember is how long an answer counts, and never longer than the token
	// lives. The default is 30 s. That a token is bad counts for 5 s.
	Remember time.Duration
}

func (n *Introspection) check(c Config) error {
	switch {
	case n == nil:
		return nil
	case n.ClientID == "" || n.Secret == "":
		return fmt.Errorf("trust %s: introspection needs a client_id and a client_secret", c.Issuer)
	case n.URL != "" && c.Client.Check(n.URL) != nil:
		return fmt.Errorf("trust %s: the introspection URL must use https: tokens and the secret are sent there", c.Issuer)
	case n.Remember > maxRemember:
		return fmt.Errorf("trust %s: introspection answers may be remembered for up to %s", c.Issuer, maxRemember)
	}
	return nil
}

// asker asks, and remembers what it heard.
type asker struct {
	client  *fetch.Client
	where   *discovery
	opts    Introspection
	flights singleflight.Group
	memory  *memory
	ctx     func() (context.Context, context.CancelFunc)
	close   context.CancelFunc
}

func newAsker(c Config, where *discovery) *asker {
	life, end := context.WithCancel(context.Background())
	opts := *c.Introspection
	opts.Remember = cmp.Or(opts.Remember, DefaultRemember)
	return &asker{
		client: c.Client, where: where, opts: opts, memory: newMemory(c.Now), close: end,
		ctx: func() (context.Context, context.CancelFunc) { return context.WithCancel(life) },
	}
}

// introspect returns what the provider says about a token, or said a moment
// ago. Many callers with one token ask once, and none that gives up spoils it
// for the others. Those of other networks have no part in what becomes of an
// unknown token of one that is throttled.
func (i *Issuer) introspect(ctx context.Context, raw string) (*resource.Token, error) {
	m := i.asker.memory
	q := m.about(ctx, raw)
	if a := m.recall(q); a != nil {
		return i.repeat(a)
	}
	if err := m.throttled(q); err != nil {
		return nil, err
	}
	ch := i.asker.flights.DoChan(string(q.sum[:])+q.network, func() (any, error) { return i.settle(q) })
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", resource.ErrUnavailable, context.Cause(ctx))
	case r := <-ch:
		access, _ := r.Val.(*resource.Token) // the function returns nothing else
		return access, r.Err
	}
}

// settle asks the provider, when it is the token's turn.
func (i *Issuer) settle(q question) (*resource.Token, error) {
	ctx, cancel := i.asker.ctx()
	defer cancel()
	m := i.asker.memory
	leave, err := m.enter(ctx, q)
	if err != nil {
		return nil, err
	}
	defer leave()
	if a := m.recall(q); a != nil {
		return i.repeat(a) // another flight has just landed
	}
	access, err := i.ask(ctx, q.raw)
	m.learn(q, access, err, i.asker.opts.Remember)
	return access, err
}

// repeat returns an answer that is remembered.
func (i *Issuer) repeat(a *answer) (*resource.Token, error) {
	if a.err != nil {
		return nil, a.err
	}
	return a.access, i.checkTime(a.access)
}

// ask sends a token to the provider. Whatever goes wrong with that is no
// verdict about the token, not even that the provider refuses us.
func (i *Issuer) ask(ctx context.Context, raw string) (*resource.Token, error) {
	at := i.asker.opts.URL
	if at == "" {
		m, err := i.where.find(ctx)
		if err != nil {
			return nil, err
		}
		if at = m.IntrospectionEndpoint; at == "" {
			return nil, fmt.Errorf("%w: the metadata names no introspection_endpoint", resource.ErrUnavailable)
		}
	}
	resp, err := i.asker.client.Get(ctx, at, fetch.Request{
		MaxBody: maxAnswer,
		Form:    url.Values{"token": {raw}, "token_type_hint": {"access_token"}},
		// RFC 6749 §2.3.1: both are form-encoded first.
		User: url.QueryEscape(i.asker.opts.ClientID), Password: url.QueryEscape(i.asker.opts.Secret),
	})
	if err != nil {
		return nil, fmt.Errorf("%w: introspection: %w", resource.ErrUnavailable, err)
	}
	c, err := parseClaims(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: introspection: %w", resource.ErrUnavailable, err)
	}
	active, ok := c["active"].(bool)
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: introspection: the answer does not say whether the token is active", resource.ErrUnavailable)
	case !active:
		return nil, errors.New("it is not active")
	case c["iss"] != nil && c.text("iss") != i.cfg.Issuer:
		return nil, errors.New("it is of another issuer")
	}
	return i.access(c)
}
