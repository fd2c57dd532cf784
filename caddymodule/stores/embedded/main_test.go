package embedded

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// childEnv names the part that this test binary plays as another process.
const childEnv = "EMBEDDED_TEST_CHILD"

// children are the parts; each gets the path of the database and returns what
// went wrong.
var children = map[string]func(path string) error{
	"hold": childHolds,
	"open": childOpens,
}

// onPlatform adds the parts that not every system can play.
func onPlatform(more map[string]func(path string) error) struct{} {
	maps.Copy(children, more)
	return struct{}{}
}

func TestMain(m *testing.M) {
	name := os.Getenv(childEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := children[name](os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child is a process that plays a part.
func child(t *testing.T, name, path string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), exe, path)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	cmd.Stderr = os.Stderr
	return cmd
}

// childHolds opens the database and keeps it until its input ends.
func childHolds(path string) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return s.Close()
}

// childOpens tries to open the database and prints the error.
func childOpens(path string) error {
	s, err := Open(path)
	if err != nil {
		fmt.Println(err)
		return nil
	}
	fmt.Println("it opened")
	return s.Close()
}

// firstLine reads a line of a child's output.
func firstLine(t *testing.T, r io.Reader) string {
	t.Helper()
	line, err := bufio.NewReader(r).ReadString('\n')
	must(t, err)
	return line
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

// testNow is when the tests of this package happen.
var testNow = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// testGrant returns a grant of a realistic size.
func testGrant(id string) store.Grant {
	return store.Grant{
		ID:          id,
		ClientID:    "https://client.example.com/metadata.json",
		ClientName:  "Example",
		RedirectURI: "http://127.0.0.1:33418/callback",
		User:        store.User{Subject: "user-1", Name: "Ada", Email: "ada@example.com"},
		Resource:    "https://mcp.example.com/mcp",
		Scope:       "files:read files:write",
		AuthTime:    testNow, Created: testNow, RotatedAt: testNow,
		Expires:  testNow.Add(time.Hour),
		NotAfter: testNow.Add(24 * time.Hour),
	}
}

// testClient returns the version of a client's record; the fifth is its end.
func testClient(key string, version uint64) store.ClientRecord {
	rec := store.ClientRecord{Key: key, Version: version, Changed: testNow, Deleted: version == 5}
	if !rec.Deleted {
		rec.Metadata = fmt.Sprintf(`{"client_name":"Version %d of %s"}`, version, key)
	}
	return rec
}

// openTest opens a store that the test closes at its end.
func openTest(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// newPath names a database that isn't there yet.
func newPath(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "state", "mcp_auth.db")
}
