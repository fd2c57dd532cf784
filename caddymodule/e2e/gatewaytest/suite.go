package gatewaytest

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
)

// Suite is a testing.TB for what many tests share: it lasts until its Main has run
// them all. It has the methods that this package calls, and no others.
type Suite struct {
	testing.TB
	mu       sync.Mutex
	cleanups []func()
	failed   bool
}

// Main runs the tests, ends what they shared, and returns the exit status. It is for
// TestMain.
func (s *Suite) Main(m *testing.M) int {
	code := m.Run()
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
	if s.failed && code == 0 {
		code = 1
	}
	return code
}

// Helper implements testing.TB.
func (s *Suite) Helper() {}

// Fatal implements testing.TB: it panics, as it belongs to no test that could end.
func (s *Suite) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// Error implements testing.TB.
func (s *Suite) Error(args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = true
	fmt.Fprintln(os.Stderr, args...)
}

// Errorf implements testing.TB.
func (s *Suite) Errorf(format string, args ...any) { s.Error(fmt.Sprintf(format, args...)) }

// Cleanup implements testing.TB: f runs when all tests have ended.
func (s *Suite) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// TempDir implements testing.TB.
func (s *Suite) TempDir() string {
	dir, err := os.MkdirTemp("", "suite")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = os.RemoveAll(dir) }) // a leftover in the temporary folder harms nobody
	return dir
}
