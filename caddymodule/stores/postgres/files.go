package postgres

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// poolKey is what stores are shared by. Who changes a file that the DSN names and
// reloads the configuration gets connections that go by the new one.
type poolKey struct {
	Options
	files [sha256.Size]byte
}

// inURL and inPairs find what names a file: in a URL, and in key=value pairs or a
// file of services. There the value is in quotes or ends at a space, and escaped is
// a character that stands for itself.
var (
	inURL   = regexp.MustCompile(`[?&](?:` + fileSettings + `)=([^&]*)`)
	inPairs = regexp.MustCompile(`(?m)(?:^|[\s'])(?:` + fileSettings + `)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s\\]|\\.)*)`)
	escaped = regexp.MustCompile(`\\(.)`)
)

// fileSettings are the parameters that name a file.
const fileSettings = "sslcert|sslkey|sslrootcert|passfile|servicefile"

// key returns what stores of these options can be shared by.
func (o Options) key() poolKey { return poolKey{o, hashFiles(filesOf(o.DSN))} }

// filesOf returns the files that the driver may read for a DSN: those that it
// names, the environment, the services, and those at their usual places. Some may
// not count, as others have precedence: to connect again for them does no harm.
func filesOf(dsn string) []string {
	found := map[string]bool{}
	note := func(path string) { found[path] = true }
	for _, name := range []string{"PGSSLCERT", "PGSSLKEY", "PGSSLROOTCERT", "PGPASSFILE", "PGSERVICEFILE"} {
		note(os.Getenv(name))
	}
	if home, err := os.UserHomeDir(); err == nil {
		for _, name := range []string{".postgresql/postgresql.crt", ".postgresql/postgresql.key", ".postgresql/root.crt", ".pgpass", ".pg_service.conf"} {
			note(filepath.Join(home, filepath.FromSlash(name)))
		}
	}
	for _, path := range namedFiles(dsn) {
		note(path)
	}
	for _, path := range slices.Collect(maps.Keys(found)) {
		for _, named := range namedFiles(string(contents(path))) { // of a service
			note(named)
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// namedFiles returns what a DSN or a file of services names.
func namedFiles(text string) (paths []string) {
	if strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://") {
		for _, match := range inURL.FindAllStringSubmatch(text, -1) {
			if path, err := url.PathUnescape(match[1]); err == nil {
				paths = append(paths, path)
			}
		}
		return paths
	}
	for _, match := range inPairs.FindAllStringSubmatch(text, -1) {
		path := match[1]
		if inside, ok := strings.CutPrefix(path, "'"); ok {
			path = strings.TrimSuffix(inside, "'")
		}
		paths = append(paths, escaped.ReplaceAllString(path, "$1"))
	}
	return paths
}

// hashFiles returns a hash of files, of those that can't be read too.
func hashFiles(paths []string) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, path := range paths {
		_, _ = fmt.Fprintf(h, "%q %x\n", path, sha256.Sum256(contents(path))) // never fails
	}
	h.Sum(sum[:0])
	return sum
}

// contents reads a file, or nothing: to say what is wrong with one is up to the
// driver. What is no regular file may be read only once.
func contents(path string) []byte {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	text, _ := os.ReadFile(path)
	return text
}
