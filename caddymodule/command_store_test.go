package caddymodule_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/stores/embedded"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/stores/memory"
)

// storeCopy runs mcp-store copy.
func storeCopy(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	return runCommand(t, "mcp-store", "", append([]string{"copy"}, args...)...)
}

// inStore opens an embedded store for as long as do takes.
func inStore(t *testing.T, path string, do func(s store.Store)) {
	t.Helper()
	s, err := embedded.Open(path)
	must(t, err)
	do(s)
	must(t, s.Close())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// moved is what fillStore makes of each kind that is still of use.
const moved = `
  clients       2
  grants        251
  revocations   2
  used keys     1
  key ring      1
`

// fillStore stores some of every kind, more than a page of one, and returns all
// that is still of use but the key ring.
func fillStore(t *testing.T, s store.Store) []store.Record {
	t.Helper()
	ctx, now := t.Context(), time.Now().UTC()
	for i := range 252 {
		g := store.Grant{ID: fmt.Sprint("grant-", i), User: store.User{Subject: "alice"}, Created: now, UsedAt: now, Expires: now.Add(time.Hour)}
		if i == 7 {
			g.Sealed, g.User.Subject = strings.Repeat("x", 64<<10), "a hash"
		}
		if i == 251 {
			g.Expires = now.Add(-time.Hour)
		}
		must(t, s.CreateGrant(ctx, now.Add(-2*time.Hour), g))
	}
	_, err := s.RotateGrant(ctx, now, store.Rotation{ID: "grant-1", Expires: now.Add(2 * time.Hour)})
	must(t, err)
	_, err = s.RevokeGrant(ctx, now, store.Revocation{GrantID: "grant-2", Reason: "user", Until: now.Add(3 * time.Hour)})
	must(t, err)
	for _, r := range []store.Revocation{{Token: "jti", Until: now.Add(time.Hour)}, {Session: "over", Until: now.Add(-time.Hour)}} {
		must(t, s.Announce(ctx, now, r))
	}
	for key, until := range map[string]time.Time{"k": now.Add(time.Hour), "over": now.Add(-time.Hour)} {
		_, err := s.Use(ctx, now, key, until)
		must(t, err)
	}
	for version := range uint64(3) {
		must(t, s.PutClient(ctx, now, store.ClientRecord{Key: "changed", Version: version + 1, Metadata: "{}"}))
	}
	must(t, s.PutClient(ctx, now, store.ClientRecord{Key: "ended", Version: 1, Deleted: true}))
	for version, ring := range []string{"first", "second", "the ring"} {
		_, err := s.SwapKeyRing(ctx, uint64(version), []byte(ring))
		must(t, err)
	}
	return slices.DeleteFunc(records(t, s), func(r store.Record) bool {
		return r.Grant != nil && r.Grant.ID == "grant-251" || r.Use != nil && !r.Use.Until.After(now) || r.Revocation != nil && r.Revocation.Session == "over"
	})
}

// records returns all that a store keeps but its key ring, by kind.
func records(t *testing.T, s store.Store) []store.Record {
	t.Helper()
	all, next, err := s.Records(t.Context(), "", 10_000)
	if err != nil || next != "" {
		t.Fatalf("%d records, %q, %v", len(all), next, err)
	}
	text, err := json.Marshal(all) // as they are written, without pointers and monotonic clocks
	must(t, err)
	var out []store.Record
	must(t, json.Unmarshal(text, &out))
	slices.SortStableFunc(out, func(a, b store.Record) int { return cmp.Compare(kindOf(a), kindOf(b)) })
	return out
}

// withoutEntries leaves out those of the feed.
func withoutEntries(all []store.Record) []store.Record {
	return slices.DeleteFunc(slices.Clone(all), func(r store.Record) bool { return r.Revocation != nil })
}

func kindOf(r store.Record) string {
	return fmt.Sprint(r.Grant != nil, r.Client != nil, r.Revocation != nil)
}

// isCopied fails the test unless an embedded store has these records and the
// key ring of fillStore.
func isCopied(t *testing.T, path string, want []store.Record) {
	t.Helper()
	inStore(t, path, func(s store.Store) {
		if got := records(t, s); !reflect.DeepEqual(got, want) {
			t.Errorf("%d records, want %d, or others", len(got), len(want))
		}
		if ring, version, err := s.KeyRing(t.Context()); err != nil || string(ring) != "the ring" || version != 1 {
			t.Errorf("key ring: %q, %d, %v", ring, version, err)
		}
	})
}

// hasNoRing fails the test if a store can be taken for complete.
func hasNoRing(t *testing.T, path string) {
	t.Helper()
	inStore(t, path, func(s store.Store) {
		if _, _, err := s.KeyRing(t.Context()); err == nil {
			t.Error("it has a key ring")
		}
	})
}

func TestStoreCopy(t *testing.T) {
	dir := t.TempDir()
	old, fresh := filepath.Join(dir, "old.db"), filepath.Join(dir, "folder", "new.db")
	var want []store.Record
	inStore(t, old, func(s store.Store) { want = fillStore(t, s) })
	out, complaints, err := storeCopy(t, "--from", "embedded "+old, "--to", "embedded {\n path "+fresh+"\n}")
	if err != nil || complaints != "" || !strings.Contains(out, "Copied from embedded to embedded, and compared:"+moved+"Start every Caddy") {
		t.Fatalf("%v %q %q", err, out, complaints)
	}
	isCopied(t, fresh, want)
	t.Run("again", func(t *testing.T) {
		_, _, err := storeCopy(t, "--from", "embedded "+old, "--to", "embedded "+fresh)
		wantError(t, err, "the embedded store (--to) has a key ring already", "nothing was changed")
		isCopied(t, fresh, want)
	})
	t.Run("onto itself", func(t *testing.T) {
		_, _, err := storeCopy(t, "--from", "embedded "+old, "--to", "embedded "+old)
		wantError(t, err, "has a key ring already")
	})
}

func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil || strings.Contains(err.Error(), "\n") {
		t.Fatalf("want one line of an error, got %v", err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%v\nlacks %q", err, text)
		}
	}
}

// TestStoreCopyConfigured takes each end from a configuration.
func TestStoreCopyConfigured(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("OLD_STORE", filepath.Join(dir, "old.db"))
	t.Setenv("XDG_DATA_HOME", dir)
	var want []store.Record
	inStore(t, os.Getenv("OLD_STORE"), func(s store.Store) { want = fillStore(t, s) })
	config := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	third := filepath.Join(dir, "third.db")
	for _, tt := range []struct {
		name, lands string
		args        []string
	}{
		{"from a Caddyfile", third, []string{"--to", "embedded " + third, "--config", config("Caddyfile", "{\n mcp_auth {\n  issuer https://mcp.example.com\n  store embedded {env.OLD_STORE}\n }\n}\n")}},
		{"to the default of JSON", caddy.AppDataDir() + "/mcp_auth/mcp_auth.db", []string{"--from", "embedded {env.OLD_STORE}", "-c", config("a.json", `{"apps":{"mcp_auth":{"issuer":"https://mcp.example.com"}}}`)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, complaints, err := storeCopy(t, tt.args...)
			if err != nil || !strings.Contains(out, moved) {
				t.Fatalf("%v %q %q", err, out, complaints)
			}
			isCopied(t, tt.lands, want)
		})
	}
	empty := config("b.json", `{"apps":{}}`)
	for name, tt := range map[string]struct {
		args []string
		want []string
	}{
		"no mcp_auth":      {[]string{"--to", "memory", "--config", empty}, []string{"--from is left out, and there is no configuration with mcp_auth"}},
		"no configuration": {[]string{"--from", "memory"}, []string{"--to is left out, and there is no configuration"}},
		"not there":        {[]string{"--to", "memory", "--config", dir + "/none"}, []string{"--from is left out, and the configuration can't be read"}},
		"of no use":        {[]string{"--from", "memory", "--to", "memory", "--config", empty}, []string{"--config is of no use"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := storeCopy(t, tt.args...)
			wantError(t, err, tt.want...)
		})
	}
}

// TestStoreCopyFromMemory copies what another kind of store has.
func TestStoreCopyFromMemory(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	var m memory.Module
	must(t, m.Provision(ctx))
	defer func() { must(t, m.Cleanup()) }()
	path := filepath.Join(t.TempDir(), "db")
	_, _, err := storeCopy(t, "--from", "memory", "--to", "embedded "+path)
	wantError(t, err, "the memory store (--from) has no key ring and no records", "nothing to copy")
	want := fillStore(t, &m)
	if out, _, err := storeCopy(t, "--from", "memory", "--to", "embedded "+path); err != nil || !strings.Contains(out, moved) {
		t.Fatalf("%v %q", err, out)
	}
	isCopied(t, path, want)
}

// TestStoreCopyToMemory: what is not there any more when the store is opened
// again was not copied.
func TestStoreCopyToMemory(t *testing.T) {
	old := filepath.Join(t.TempDir(), "old.db")
	inStore(t, old, func(s store.Store) { fillStore(t, s) })
	_, _, err := storeCopy(t, "--from", "embedded "+old, "--to", "memory")
	wantError(t, err, "the stores differ: 2 clients in the embedded store (--from), 0 in the memory store (--to)")
}

// TestStoreCopyRepeated begins anew after interruptions at several places.
func TestStoreCopyRepeated(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old.db")
	var want []store.Record
	inStore(t, old, func(s store.Store) { want = fillStore(t, s) })
	for _, done := range []int{1, 100, len(want)} {
		path := filepath.Join(dir, fmt.Sprint(done))
		inStore(t, path, func(s store.Store) { must(t, s.Restore(t.Context(), want[:done])) })
		out, complaints, err := storeCopy(t, "--from", "embedded "+old, "--to", "embedded "+path)
		if err != nil || !strings.Contains(out, moved) || !strings.Contains(complaints, "taken for a copy that was interrupted") {
			t.Fatalf("%d: %v %q %q", done, err, out, complaints)
		}
		inStore(t, path, func(s store.Store) {
			got, without := withoutEntries(records(t, s)), withoutEntries(want)
			if !reflect.DeepEqual(got, without) {
				t.Errorf("%d: %d records, want %d, or others", done, len(got), len(without))
			}
			entries, _, err := s.Revocations(t.Context(), time.Now(), "")
			if err != nil || len(entries) < 2 || len(entries) > 4 {
				t.Errorf("%d: feed: %v, %v", done, entries, err)
			}
		})
	}
}

// TestStoreCopyDiffers wants a store that was not empty to get no key ring.
func TestStoreCopyDiffers(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old.db")
	inStore(t, old, func(s store.Store) { fillStore(t, s) })
	now := time.Now()
	for kind, other := range map[string]store.Record{
		"252 in":  {Grant: &store.GrantRecord{Grant: store.Grant{ID: "other", Expires: now.Add(time.Hour)}}},
		"3 in":    {Client: &store.ClientRecord{Key: "other", Version: 1}},
		"2 in":    {Use: &store.UseRecord{Hash: store.UseHash("other"), Until: now.Add(time.Hour)}},
		"clients": {Client: &store.ClientRecord{Key: "other", Version: 1}},
	} {
		path := filepath.Join(dir, kind)
		inStore(t, path, func(s store.Store) { must(t, s.Restore(t.Context(), []store.Record{other})) })
		_, _, err := storeCopy(t, "--from", "embedded "+old, "--to", "embedded {\n path \""+path+"\"\n}")
		wantError(t, err, "the stores differ", kind, "repeat the command with an empty store")
		hasNoRing(t, path)
	}
}

// TestStoreCopyFlags has a line for everything that is refused. No error repeats
// what was typed behind the name of a store, which may be a password.
func TestStoreCopyFlags(t *testing.T) {
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged.db")
	must(t, os.WriteFile(damaged, []byte("dear diary"), 0o600))
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"nothing", nil, "--from and --to are missing"},
		{"an unknown store", []string{"--from=s3cretpw://x", "--to=memory"}, "--from begins with a store that this Caddy does not have; it has embedded, memory"},
		{"an empty store", []string{"--from= ", "--to=memory"}, "--from is not a store as it stands in a Caddyfile"},
		{"two stores", []string{"--from=memory", "--to=embedded\nembedded s3cretpw"}, "--to is not a store as it stands in a Caddyfile: there is more behind it"},
		{"too much", []string{"--from=memory s3cretpw", "--to=memory"}, "--from is not a store as it stands in a Caddyfile: "},
		{"an unknown option", []string{"--from=memory", "--to=embedded {\n s3cretpw\n}"}, "--to is not a store as it stands in a Caddyfile: "},
		{"an open block", []string{"--from=memory", "--to=embedded {\n path s3cretpw"}, "--to is not a store"},
		{"a missing variable", []string{"--from=embedded {env.NOT_SET_AT_ALL}", "--to=memory"}, "opening the embedded store (--from): "},
		{"a damaged file", []string{"--from=embedded " + damaged, "--to=memory"}, "opening the embedded store (--from): "},
		{"an argument", []string{"s3cretpw"}, "copy takes flags only: quote the store"},
		{"an unknown flag", []string{"--s3cretpw"}, "unknown flag"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, _, err := storeCopy(t, tt.args...)
			wantError(t, err, tt.want)
			if out != "" || err != nil && strings.Contains(err.Error(), "s3cretpw") && !strings.HasPrefix(tt.want, "unknown") {
				t.Errorf("%q %v", out, err)
			}
		})
	}
	_, _, err := runCommand(t, "mcp-store", "")
	wantError(t, err, "mcp-store needs copy")
}
