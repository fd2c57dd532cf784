package main

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
)

// bench is one run.
type bench struct {
	size
	options
	dir      string // of everything that is made on the way
	upstream *upstream
	gateway  *process
	plain    *process
	second   [2]string // the second sites of the gateway and of plain Caddy
	out      *results
	say      func(format string, args ...any)
}

// side is a process and the load that is put on it.
type side struct {
	p *process
	load
}

// compare takes turns between the gateway and another side, in pairs. sides
// returns them anew for each pair.
func (b *bench) compare(id string, conns int, sides func() (gateway, other side, err error)) error {
	if !b.wants(id) {
		return nil
	}
	b.say("%s, %d connections", id, conns)
	var gateways, others []sample
	var ratios []float64
	for round := range b.rounds {
		gateway, other, err := sides()
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		both := []*side{&gateway, &other}
		var got [2]sample
		for i := range both {
			i = (i + round) % len(both) // who goes first has the cooler processor
			both[i].id, both[i].conns, both[i].time = id, conns, b.time
			if got[i], err = b.measure(both[i].p, both[i].load); err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
		}
		gateways, others = append(gateways, got[0]), append(others, got[1])
		ratios = append(ratios, got[0].CPU/got[1].CPU)
	}
	b.out.Pairs = append(b.out.Pairs, pair{
		ID: id, Conns: conns, Gateway: medians(gateways), Other: medians(others),
		Ratio: median(ratios, func(f float64) float64 { return f }),
	})
	return nil
}

// constant is compare for two requests that are sent again and again.
func (b *bench) constant(id string, conns int, gateway, other side) error {
	return b.compare(id, conns, func() (side, side, error) { return gateway, other, nil })
}

// to returns a side that repeats a call to a site of a process, each connection
// with a token of its own: one grant may not have too many calls at once.
func to(p *process, site string, status int, tokens ...string) side {
	return side{p, load{addr: site, warm: true, worker: func(i int) step {
		request := call(site, tokens[i%len(tokens)])
		return func(c *conn) error {
			_, err := c.expect(status, request)
			return err
		}
	}}}
}

// calls measures calls with and without tokens.
func (b *bench) calls() error {
	most := b.conns[len(b.conns)-1]
	tokens, err := b.mint(most, b.gateway.site)
	if err != nil {
		return err
	}
	others, err := b.mint(most, b.second[0])
	if err != nil {
		return err
	}
	remembered := to(b.gateway, b.gateway.site, http.StatusOK, tokens...)
	plain := to(b.plain, b.plain.site, http.StatusOK, tokens...)
	for _, conns := range b.conns {
		if err := b.constant("remembered", conns, remembered, plain); err != nil {
			return err
		}
	}
	few := to(b.gateway, b.second[0], http.StatusOK, others...)
	if err := b.constant("keepalive", most, remembered, few); err != nil {
		return err
	}
	if err := b.compare("first", firstConns, b.firstSight); err != nil {
		return err
	}
	refused := to(b.plain, b.second[1], http.StatusUnauthorized, "")
	unknown := to(b.gateway, b.gateway.site, http.StatusUnauthorized, "")
	if err := b.constant("none", firstConns, unknown, refused); err != nil {
		return err
	}
	return b.garbage(tokens[0])
}

// firstConns is the number of connections of loads that need a request of
// their own each time.
const firstConns = 32

// firstSight has a new token for every call.
func (b *bench) firstSight() (gateway, other side, err error) {
	tokens, err := b.mint(b.tokens, b.gateway.site)
	if err != nil {
		return side{}, side{}, err
	}
	worker := func(host string) func(int) step { return each(http.StatusOK, host, tokens) }
	return side{b.gateway, load{worker: worker(b.gateway.site)}}, side{b.plain, load{worker: worker(b.plain.site)}}, nil
}

// each returns workers that share out tokens, and use each of them once.
func each(status int, host string, tokens []string) func(int) step {
	return func(i int) step {
		next := i
		return func(c *conn) error {
			if next >= len(tokens) {
				return errDone
			}
			_, err := c.expect(status, call(host, tokens[next]))
			next += firstConns
			return err
		}
	}
}

// garbage has tokens that are none: another word each time, and a genuine token
// with another signature each time.
func (b *bench) garbage(genuine string) error {
	body := genuine[:strings.LastIndexByte(genuine, '.')+1]
	for _, kind := range []struct {
		id   string
		word func() string
	}{
		{"garbage", func() string { return rand.Text() + rand.Text() }},
		{"forged", func() string { return body + strings.Repeat(rand.Text(), 4)[:es256Size-1] + "A" }},
	} {
		err := b.compare(kind.id, firstConns, func() (side, side, error) {
			tokens := make([]string, b.tokens)
			for i := range tokens {
				tokens[i] = kind.word()
			}
			return side{b.gateway, load{worker: each(http.StatusUnauthorized, b.gateway.site, tokens)}},
				side{b.plain, load{addr: b.second[1], worker: each(http.StatusUnauthorized, b.second[1], tokens)}}, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// es256Size is the length of an ES256 signature in characters.
const es256Size = 86

// mint returns access tokens for a resource.
func (b *bench) mint(n int, resource string) ([]string, error) {
	return many(b.gateway.site, n, func(c *conn) (string, error) { return devToken(c, b.gateway.site, resource) })
}
