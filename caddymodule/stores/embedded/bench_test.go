package embedded

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// reportCommits says how many commits an operation took; a commit is two
// fsyncs.
func reportCommits(b *testing.B, s *Store) func() {
	before := s.w.commits.Load()
	b.ReportAllocs()
	b.ResetTimer()
	return func() {
		b.StopTimer()
		b.ReportMetric(float64(s.w.commits.Load()-before)/float64(b.N), "commits/op")
	}
}

func BenchmarkCreateGrant(b *testing.B) {
	s := openTest(b, newPath(b))
	defer reportCommits(b, s)()
	for i := range b.N {
		must(b, s.CreateGrant(b.Context(), testNow, testGrant(fmt.Sprint(i))))
	}
}

// BenchmarkCreateGrantCrowd has 64 goroutines that redeem codes at once.
func BenchmarkCreateGrantCrowd(b *testing.B) {
	const crowd = 64
	s := openTest(b, newPath(b))
	var serial atomic.Int64
	defer reportCommits(b, s)()
	parallel(b, crowd, func(int) error {
		for {
			i := serial.Add(1)
			if i > int64(b.N) {
				return nil
			}
			if err := s.CreateGrant(b.Context(), testNow, testGrant(fmt.Sprint(i))); err != nil {
				return err
			}
		}
	})
}

func BenchmarkRotateGrant(b *testing.B) {
	s := openTest(b, newPath(b))
	must(b, s.CreateGrant(b.Context(), testNow, testGrant("a")))
	defer reportCommits(b, s)()
	for i := range b.N {
		r := store.Rotation{ID: "a", From: uint64(i), Expires: testNow.Add(time.Hour + time.Duration(i))}
		_, err := s.RotateGrant(b.Context(), testNow, r)
		must(b, err)
	}
}

// filled returns a store with many grants.
func filled(b *testing.B, n int) *Store {
	s := openTest(b, newPath(b))
	var serial atomic.Int64
	parallel(b, 256, func(int) error {
		for {
			i := serial.Add(1) - 1
			if i >= int64(n) {
				return nil
			}
			if err := s.CreateGrant(b.Context(), testNow, testGrant(fmt.Sprint(i))); err != nil {
				return err
			}
		}
	})
	return s
}

func BenchmarkGrant(b *testing.B) {
	const grants = 10_000
	s := filled(b, grants)
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			_, err := s.Grant(b.Context(), testNow, fmt.Sprint(i%grants))
			must(b, err)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if _, err := s.Grant(b.Context(), testNow, fmt.Sprint(i%grants)); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkGrants is the account page of somebody with a few programs, where
// many have some.
func BenchmarkGrants(b *testing.B) {
	const persons, each = 1000, 10
	s := openTest(b, newPath(b))
	parallel(b, persons*each, func(i int) error {
		g := testGrant(fmt.Sprint(i))
		g.User.Subject = fmt.Sprint("user-", i%persons)
		return s.CreateGrant(b.Context(), testNow, g)
	})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		grants, err := s.Grants(b.Context(), testNow, fmt.Sprint("user-", i%persons), 100)
		if err != nil || len(grants) != each {
			b.Fatal(len(grants), err)
		}
	}
}

// BenchmarkTouchGrants is a report of 100 uses.
func BenchmarkTouchGrants(b *testing.B) {
	const each = 100
	s := filled(b, 10_000)
	uses := make([]store.GrantUse, each)
	defer reportCommits(b, s)()
	for i := range b.N {
		for j := range uses {
			at := testNow.Add(time.Duration(i+1) * time.Second)
			uses[j] = store.GrantUse{GrantID: fmt.Sprint((i*each + j) % 10_000), At: at, From: "192.0.2.9"}
		}
		must(b, s.TouchGrants(b.Context(), testNow, uses))
	}
}

func BenchmarkUse(b *testing.B) {
	s := openTest(b, newPath(b))
	defer reportCommits(b, s)()
	for i := range b.N {
		_, err := s.Use(b.Context(), testNow, fmt.Sprint(i), testNow.Add(time.Hour))
		must(b, err)
	}
}

// BenchmarkUseAgain is a replay, which writes nothing.
func BenchmarkUseAgain(b *testing.B) {
	s := openTest(b, newPath(b))
	_, err := s.Use(b.Context(), testNow, "k", testNow.Add(time.Hour))
	must(b, err)
	defer reportCommits(b, s)()
	for range b.N {
		_, _ = s.Use(b.Context(), testNow, "k", testNow.Add(time.Hour))
	}
}

// BenchmarkClient is what each request of a client that was registered here
// costs more: most have no record.
func BenchmarkClient(b *testing.B) {
	s := openTest(b, newPath(b))
	parallel(b, 1000, func(i int) error { return s.PutClient(b.Context(), testNow, testClient(fmt.Sprint(i), 1)) })
	for name, want := range map[string]error{"7": nil, "unknown": store.ErrNotFound} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Client(b.Context(), name); !errors.Is(err, want) {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMigrate is the first start after the update.
func BenchmarkMigrate(b *testing.B) {
	s := filled(b, 10_000)
	path := s.file.path
	must(b, s.Close())
	for range b.N {
		b.StopTimer()
		asLayout(b, path, 1)
		b.StartTimer()
		s, err := Open(path)
		must(b, err)
		must(b, s.Close())
	}
}

// BenchmarkRevocations is the poll that finds nothing new, once a second on
// every node.
func BenchmarkRevocations(b *testing.B) {
	s := openTest(b, newPath(b))
	parallel(b, 1000, func(i int) error {
		id := fmt.Sprint(i)
		if err := s.CreateGrant(b.Context(), testNow, testGrant(id)); err != nil {
			return err
		}
		_, err := s.RevokeGrant(b.Context(), testNow, store.Revocation{GrantID: id, Until: testNow.Add(time.Hour)})
		return err
	})
	_, cursor, err := s.Revocations(b.Context(), testNow, "")
	must(b, err)
	b.ReportAllocs()
	for b.Loop() {
		entries, _, err := s.Revocations(b.Context(), testNow, cursor)
		if err != nil || len(entries) > 0 {
			b.Fatal(len(entries), err)
		}
	}
}

// BenchmarkOpen is what a start costs, with its proof of the whole file.
func BenchmarkOpen(b *testing.B) {
	s := filled(b, 10_000)
	path := s.file.path
	must(b, s.Close())
	for b.Loop() {
		s, err := Open(path)
		must(b, err)
		must(b, s.Close())
	}
}
