package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

func TestConnect(t *testing.T) {
	down, denied := errors.New("connection refused"), fmt.Errorf("wrong password: %w", store.ErrRefused)
	always := func(err error) func(int) error { return func(int) error { return err } }
	for name, tt := range map[string]struct {
		try     func(n int) error
		want    error
		tries   int
		reports int
	}{
		"at once": {always(nil), nil, 1, 0},
		"up again": {func(n int) error {
			if n < 4 {
				return down
			}
			return nil
		}, nil, 4, 3},
		"refused": {always(denied), store.ErrRefused, 1, 0},
		"never":   {always(down), down, 6, 6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
				defer cancel()
				tries, reports := 0, 0
				err := store.Connect(ctx, func(context.Context) error {
					tries++
					return tt.try(tries)
				}, func(err error, wait time.Duration) {
					reports++
					if !errors.Is(err, down) || wait <= 0 {
						t.Errorf("report of %v, wait %s", err, wait)
					}
				})
				if !errors.Is(err, tt.want) || tries != tt.tries || reports != tt.reports {
					t.Errorf("%v after %d tries and %d reports, want %v, %d, %d", err, tries, reports, tt.want, tt.tries, tt.reports)
				}
				if errors.Is(tt.want, down) && !strings.Contains(err.Error(), "gave up after 4s") {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}
