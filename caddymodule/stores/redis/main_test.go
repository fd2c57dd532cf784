package redis

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// patience is how long tests wait for what must happen soon.
const patience = 20 * time.Second

// must fails the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tryOpen opens a store within a time, and returns what it logged.
func tryOpen(t *testing.T, wait time.Duration, o Options) (*Store, *observer.ObservedLogs, error) {
	t.Helper()
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if o.Timeout == 0 {
		o.Timeout = patience // these machines are busy
	}
	core, logs := observer.New(zap.InfoLevel)
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	s, err := Open(ctx, o, zap.New(core))
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
	}
	return s, logs, err
}

// open opens a store that is closed when the test ends.
func open(t *testing.T, o Options) *Store {
	t.Helper()
	s, _, err := tryOpen(t, patience, o)
	must(t, err)
	return s
}

// at returns options for a server.
func at(addrs ...string) Options { return Options{Addresses: addrs} }

// testNow is the now of tests that don't care.
var testNow = time.Now().UTC().Truncate(time.Second)

// testGrant returns a grant that is good for an hour from testNow.
func testGrant(id string) store.Grant {
	return store.Grant{ID: id, User: store.User{Subject: "ada"}, Created: testNow, Expires: testNow.Add(time.Hour), NotAfter: testNow.Add(time.Hour)}
}

// eventually waits until f returns nil.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// outage fails the test unless err is an error without a verdict.
func outage(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, verdict := range []error{store.ErrNotFound, store.ErrExists, store.ErrConflict, store.ErrRevoked} {
		if errors.Is(err, verdict) {
			t.Fatalf("an outage has the verdict %v", err)
		}
	}
}

// messages joins what was logged.
func messages(logs *observer.ObservedLogs) string {
	var b strings.Builder
	for _, e := range logs.All() {
		b.WriteString(e.Level.String() + " " + e.Message + "\n")
	}
	return b.String()
}
