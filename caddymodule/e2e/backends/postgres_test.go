package backends

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestPostgres(t *testing.T) {
	p := StartPostgres(t)
	dsn := p.DSN(t)
	conn := func(ctx context.Context) error {
		c, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return err
		}
		defer c.Close(context.Background())
		_, err = c.Exec(ctx, "CREATE TABLE IF NOT EXISTS kept (n int)")
		return err
	}
	for name, end := range map[string]func(){"stopped": p.Stop, "killed": p.Kill} {
		if err := conn(t.Context()); err != nil {
			t.Fatal(err)
		}
		end()
		if err := conn(t.Context()); err == nil {
			t.Fatalf("a %s server answers", name)
		}
		p.Start()
	}
	p.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := conn(ctx); err == nil {
		t.Fatal("a paused server answers")
	}
	p.Resume()
	if err := conn(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestSharedPostgres wants databases that know nothing of each other.
func TestSharedPostgres(t *testing.T) {
	for range 2 {
		c, err := pgx.Connect(t.Context(), SharedPostgres(t).DSN(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Exec(t.Context(), "CREATE TABLE mine (n int)"); err != nil {
			t.Fatal(err)
		}
		_ = c.Close(t.Context())
	}
}
