package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// issuance measures the authorization server: what it does once per session,
// refresh and client. Its store is the embedded one, on disk before each answer.
func (b *bench) issuance() error {
	host := b.gateway.site
	const crowd = 64
	sessions, err := many(host, crowd, func(c *conn) (*session, error) { return signIn(c, host) })
	if err != nil {
		return fmt.Errorf("signing in: %w", err)
	}
	refresh := func(i int) step {
		return func(c *conn) error { return sessions[i].refresh(c, host) }
	}
	flow := func(int) step {
		return func(c *conn) error {
			_, err := signIn(c, host)
			return err
		}
	}
	newcomer := func(int) step {
		return func(c *conn) error {
			_, err := register(c, host)
			return err
		}
	}
	for _, l := range []struct {
		id     string
		conns  int
		worker func(int) step
	}{
		{"refresh", crowd, refresh},
		{"refresh", 1, refresh},
		{"flow", firstConns, flow},
		{"register", firstConns, newcomer},
	} {
		if !b.wants(l.id) {
			continue
		}
		b.say("%s, %d connections", l.id, l.conns)
		var got []sample
		for range b.rounds {
			s, err := b.measure(b.gateway, load{id: l.id, conns: l.conns, time: b.time, worker: l.worker})
			if err != nil {
				return fmt.Errorf("%s: %w", l.id, err)
			}
			got = append(got, s)
		}
		b.out.Alone = append(b.out.Alone, alone{l.id, l.conns, medians(got)})
	}
	return nil
}

// yardsticks measures what the machine takes for what can't be left out: one
// verification, and one write that reaches the disk where the state is.
func (b *bench) yardsticks() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	sum := sha256.Sum256([]byte(callBody))
	signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	if b.out.VerifyUS, err = timed(1000, func() error {
		if !ecdsa.VerifyASN1(&key.PublicKey, sum[:], signature) {
			return errors.New("a signature does not verify")
		}
		return nil
	}); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(b.dir, "fsync"))
	if err != nil {
		return fmt.Errorf("making a file: %w", err)
	}
	defer func() { _ = f.Close() }() // it is thrown away
	page := make([]byte, 4096)
	b.out.FsyncUS, err = timed(200, func() error {
		_, err := f.WriteAt(page, 0)
		return errors.Join(err, f.Sync())
	})
	return err
}

// timed returns the median time of a function in microseconds.
func timed(n int, do func() error) (float64, error) {
	times := make([]time.Duration, n)
	for i := range times {
		began := time.Now()
		if err := do(); err != nil {
			return 0, err
		}
		times[i] = time.Since(began)
	}
	return median(times, micros), nil
}
