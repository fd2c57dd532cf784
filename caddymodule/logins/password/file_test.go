package password

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/passhash"
)

// fileRig is a login with a users file at which it looks when the test says so.
type fileRig struct {
	*Login
	t    *testing.T
	path string
	file *usersFile
	logs *observer.ObservedLogs
}

// newFileRig writes the file and loads it, beside users of the configuration.
func newFileRig(t *testing.T, content string, configured ...User) *fileRig {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users.json")
	write(t, path, content)
	return loadFile(t, path, configured...)
}

func loadFile(t *testing.T, path string, configured ...User) *fileRig {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	l := &Login{UsersFile: path, Users: configured, log: zap.New(core), now: time.Now}
	file, err := l.load()
	must(t, err)
	return &fileRig{Login: l, t: t, path: path, file: file, logs: logs}
}

// users writes a file of users whose password is sesame.
func users(names ...string) string {
	var list []string
	for _, name := range names {
		list = append(list, fmt.Sprintf(`  {"user": %q, "hash": %q}`, name, cheapArgon2("sesame")))
	}
	return "{\"users\": [\n" + strings.Join(list, ",\n") + "\n]}\n"
}

// look looks until there is nothing more to say, and wants these users to be
// the ones in use.
func (r *fileRig) look(want ...string) {
	r.t.Helper()
	for range 4 {
		r.file.look()
	}
	people := r.people.Load().accounts
	if len(people) != len(want) {
		r.t.Errorf("%d users, want %q", len(people), want)
	}
	for _, name := range want {
		if people[name] == nil {
			r.t.Errorf("%s is not in use", name)
		}
	}
}

// said returns what was logged since the last time, and wants no hash in it.
func (r *fileRig) said() []string {
	r.t.Helper()
	var lines []string
	for _, e := range r.logs.TakeAll() {
		fields, err := json.Marshal(e.ContextMap())
		must(r.t, err)
		secretFree(r.t, e.Message+string(fields))
		if e.Message != "password hashes of low cost, make new ones with caddy hash-password" {
			lines = append(lines, strings.ReplaceAll(fmt.Sprintf("%s: %s %s", e.Level, e.Message, fields), r.path, "FILE"))
		}
	}
	return lines
}

// says wants exactly these things to have been logged.
func (r *fileRig) says(want ...string) {
	r.t.Helper()
	got := r.said()
	if len(got) != len(want) {
		r.t.Fatalf("logged %q, want %q", got, want)
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			r.t.Fatalf("logged %q, want %q", got, want)
		}
	}
}

const (
	inUse  = "info: users file is in use"
	unused = "error: users file can't be used"
)

// replace puts a new file in the place of another, as most editors do.
func replace(t *testing.T, path, content string) {
	t.Helper()
	write(t, path+".new", content)
	must(t, os.Rename(path+".new", path))
}

// TestFileChanges wants every way of changing a file to be noticed.
func TestFileChanges(t *testing.T) {
	r := newFileRig(t, users("ann"), alice(t))
	r.look("alice", "ann")
	r.says()

	write(t, r.path, users("ann", "bob"))
	r.look("alice", "ann", "bob")
	r.says(inUse + ` {"file":"FILE","users":2}`)

	replace(t, r.path, users("cid"))
	r.look("alice", "cid")
	r.says(inUse)

	must(t, os.Remove(r.path))
	write(t, r.path, users())
	r.look("alice")
	r.says(inUse)
}

// TestFileSwappedBelow: Kubernetes mounts a volume as links to links, and swaps
// the one in the middle.
func TestFileSwappedBelow(t *testing.T) {
	dir, hourAgo := t.TempDir(), time.Now().Add(-time.Hour)
	for i, name := range []string{"ann", "bob"} {
		must(t, os.Mkdir(filepath.Join(dir, fmt.Sprint("v", i)), 0o700))
		write(t, filepath.Join(dir, fmt.Sprint("v", i), "users.json"), users(name))
		// Nothing but the file itself may tell them apart.
		must(t, os.Chtimes(filepath.Join(dir, fmt.Sprint("v", i), "users.json"), hourAgo, hourAgo))
	}
	link := func(to, from string) {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
	}
	link("v0", "..data")
	link(filepath.Join("..data", "users.json"), "users.json")
	r := loadFile(t, filepath.Join(dir, "users.json"))
	r.look("ann")
	r.says()
	link("v1", "..data_tmp")
	must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	r.look("bob")
	r.says(inUse)
}

// TestBrokenFile wants the users before to stay, and one line in the log each
// time the file becomes another broken one.
func TestBrokenFile(t *testing.T) {
	r := newFileRig(t, users("ann"), alice(t))
	broken := strings.Replace(users("ann", "bob"), `{"user": "bob"`, `{"user": "bob", "admin": true`, 1)
	for _, tt := range []struct{ content, says string }{
		{broken, `{"error":"there is an unknown member (known in an entry: user, hash, email, name, groups, disabled)","file":"FILE","line":3}`},
		{"\n" + broken, `"line":4}`},
		{"", `{"error":"the file ends too early: it may be half written","file":"FILE","line":1}`},
		{users("ann", "bob")[:100], `half written","file":"FILE","line":2}`},
		{users("ann", "b b"), `a user's name is missing or not one`},
		{users("ann", "Ann"), `{"error":"user Ann is on line 2 too, as ann: names that differ in upper and lower case only are one name","file":"FILE","line":3}`},
		{users("ann", "ann"), `{"error":"user ann is on line 2 too: give each person one entry","file":"FILE","line":3}`},
		{users("ann", "ALICE"), `{"error":"user ALICE is in the configuration too, as alice: names`},
		{strings.Replace(users("ann"), "$v=19", "$v=18", 1), `{"error":"user ann: the argon2id hash is damaged`},
		{strings.Repeat(" ", maxFile+1), `{"error":"it is larger than 8 MiB","file":"FILE"}`},
	} {
		write(t, r.path, tt.content)
		r.look("alice", "ann")
		r.says(unused)
		write(t, r.path, tt.content) // the same once more is no news
		r.look("alice", "ann")
		r.says()
		write(t, r.path, broken+" ") // and back again is
		r.look("alice", "ann")
		r.says(`"line":3`)
		write(t, r.path, tt.content)
		r.look("alice", "ann")
		r.says(tt.says)
	}
	write(t, r.path, users("bob"))
	r.look("alice", "bob")
	r.says(inUse)
	write(t, r.path, broken)
	r.look("alice", "bob")
	r.says(unused)
	write(t, r.path, users("bob")) // what was in use before is a change, too
	r.look("alice", "bob")
	r.says(inUse)
}

// TestFileGone wants a file that is gone to change nothing, and to be reported
// once.
func TestFileGone(t *testing.T) {
	r := newFileRig(t, users("ann"))
	must(t, os.Remove(r.path))
	r.look("ann")
	r.says(unused)
	r.look("ann")
	r.says()
	must(t, os.Mkdir(r.path, 0o700))
	r.look("ann")
	r.says("it is not a regular file")
	must(t, os.Remove(r.path))
	r.look("ann")
	r.says("it can't be read: no such file")
	write(t, r.path, users("ann"))
	r.look("ann")
	r.says(inUse)
}

// TestHalfWritten: an editor that is just writing is no error.
func TestHalfWritten(t *testing.T) {
	r := newFileRig(t, users("ann"))
	for _, half := range []string{"", users("ann", "bob")[:60], users("ann", "bob")[:len(users("ann", "bob"))-3]} {
		write(t, r.path, half)
		r.file.look()
		if r.people.Load().accounts["ann"] == nil {
			t.Fatal("ann is gone while the file is written")
		}
	}
	write(t, r.path, users("ann", "bob"))
	r.look("ann", "bob")
	r.says(inUse)
}

// TestSameTimeSameSize: two changes within one step of the file system's clock
// look the same from outside. While that may be, the content decides.
func TestSameTimeSameSize(t *testing.T) {
	r := newFileRig(t, users("ann"))
	recently := time.Now().Add(-time.Second)
	must(t, os.Chtimes(r.path, recently, recently))
	r.look("ann")
	write(t, r.path, users("bob"))
	must(t, os.Chtimes(r.path, recently, recently))
	r.look("bob")

	long := time.Now().Add(-time.Minute)
	must(t, os.Chtimes(r.path, long, long))
	r.look("bob")
	if !r.file.unchanged() {
		t.Error("a file that is not touched is read at every look")
	}
}

// TestFileEndsSessions wants what the file says about a person to be in force
// at the next look, for sessions and for new sign-ins.
func TestFileEndsSessions(t *testing.T) {
	r := newFileRig(t, users("ann", "bob"))
	id := func() login.Identity { return r.people.Load().accounts["ann"].identity(time.Now()) }
	before := id()
	recheck := func(want bool) {
		t.Helper()
		r.look("ann")
		if _, err := r.Recheck(t.Context(), before); (err == nil) != want || (err != nil && !errors.Is(err, login.ErrDenied)) {
			t.Errorf("Recheck: %v", err)
		}
	}
	write(t, r.path, users("ann"))
	recheck(true)
	disabled := strings.Replace(users("ann"), `{"user"`, `{"disabled": true, "user"`, 1)
	write(t, r.path, disabled)
	recheck(false)
	write(t, r.path, users("ann"))
	recheck(true)
	write(t, r.path, strings.Replace(users("ann"), cheapArgon2("sesame"), cheapArgon2("other"), 1))
	recheck(false)
}

// TestOthersCanRead wants a warning about a file that others can get at, each
// time it becomes so.
func TestOthersCanRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the mode says nothing on Windows")
	}
	const warning = `warn: others on this machine can read or change the users file, take that away with chmod o-rw {"file":"FILE","mode":"`
	path := filepath.Join(t.TempDir(), "users.json")
	write(t, path, users("ann"))
	must(t, os.Chmod(path, 0o644))
	r := loadFile(t, path)
	r.says(warning + `-rw-r--r--"}`)
	write(t, path, users("bob"))
	r.look("bob")
	r.says(inUse)
	must(t, os.Chmod(path, 0o640))
	write(t, path, users("cid"))
	r.look("cid")
	r.says(inUse)
	must(t, os.Chmod(path, 0o602))
	write(t, path, users("dan"))
	r.look("dan")
	r.says(inUse, warning+`-rw-----w-"}`)
}

// TestWatching wants the module to look by itself while it is provisioned, and
// no longer.
func TestWatching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "users.json")
		write(t, path, users("ann"))
		l := &Login{UsersFile: path, log: zap.NewNop()}
		ctx := newContext(t)
		must(t, l.Provision(ctx))
		write(t, path, users("bob"))
		time.Sleep(lookEvery + time.Millisecond)
		synctest.Wait()
		if l.people.Load().accounts["bob"] == nil {
			t.Error("the change was not seen")
		}
		must(t, l.Cleanup())
		write(t, path, users("cid"))
		time.Sleep(10 * lookEvery) // the test would not end if the goroutine were still there
		if l.people.Load().accounts["bob"] == nil {
			t.Error("a change was seen after the end")
		}
	})
}

// TestLoadErrors wants a file that can't be used to be refused at load, with
// file, line and reason.
func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "users.json")
	for content, want := range map[string]string{
		users("ann") + "x":           "line 4: this is not valid JSON",
		`{"users": []} {}`:           "line 1: this is not valid JSON",
		users("ann", ""):             "line 3: a user's name is missing or not one",
		`{"users": ["SECRET"]}`:      "line 1: the value has the wrong type: users",
		`{}`:                         `line 1: there is no list of users`,
		`{"users": null}`:            `line 1: there is no list of users`,
		`{"users": [null]}`:          "line 1: a user's name is missing",
		`[]`:                         "line 1: the value has the wrong type",
		`{"users": {"a": "SECRET"}}`: "line 1: the value has the wrong type: users",
		"{\n\"SECRET\": 1}":          "line 2: there is an unknown member",
		"{\"users\": [\n{\"user\": \"ann\",\n\"USER\": \"x\"}]}":           "line 3: there is an unknown member",
		"{\"users\": [\n{\"user\": \"ann\",\n\"disabled\": \"SECRET\"}]}":  "line 3: the value has the wrong type: disabled",
		"{\"users\": [\n{\"user\": \"ann\",\n\"groups\": [\"a\",\n5]}]}":   "line 4: the value has the wrong type: groups",
		"{\"users\": [\n{\"user\": \"ann\",\n\"user\": \"SECRET\"}]}":      "line 3: a member is given twice: user",
		"{\"users\": [\n{\"SECRET\": \"ann\",\n\"SECRET\": \"SECRET\"}]}":  "line 2: there is an unknown member",
		"{\"users\": [],\n\"users\": []}":                                  "line 2: a member is given twice: users",
		"{\"users\": [\n{\"user\": \"ann\",\n\"hash\": \"\xff\"}]}":        "line 3: this is not valid JSON",
		"{\"users\": [\n{\"user\": \"ann\", \"hash\": \"{env.SECRET}\"}]}": "line 2: user ann: this is no bcrypt",
		"{\"users\": [\n\n\n{\"user\": \"ann\"}]}":                         "line 4: user ann: the hash is missing",
		strings.Replace(users("ann"), `{`, `{"email": "no", `, 2):          "line 1: there is an unknown member",
		strings.Replace(users("ann"), `  {`, `  {"email": "no", `, 1):      "line 2: user ann: the email is not an address",
		strings.Replace(users("ann"), `  {`, `  {"groups": ["a,b"], `, 1):  "line 2: user ann: a group is",
		strings.Replace(users("ann"), `  {`, `  {"name": "a\u202eb", `, 1): "line 2: user ann: the name has control characters",
		strings.Replace(users("alice"), `  {`, "\n  {", 1):                 "line 3: user alice is in the configuration too",
		"\xef\xbb\xbf" + users("ann"):                                      "line 1: this is not valid JSON",
		"# comment\n" + users("ann"):                                       "line 1: this is not valid JSON",
		strings.Repeat("[", 100_000):                                       "line 1: ",
		`{"users": [` + strings.Repeat(`{"user": [`, 50_000):               "line 1: this is not valid JSON",
	} {
		write(t, path, content)
		l := &Login{Users: []User{alice(t)}, UsersFile: path, log: zap.NewNop()}
		err := l.Provision(newContext(t))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "password: users_file "+path+": line ") {
			t.Errorf("%.60q: %v; want %q", content, err, want)
			continue
		}
		secretFree(t, err.Error())
		must(t, l.Cleanup())
	}
	for name, want := range map[string]string{
		filepath.Join(dir, "missing"): "it can't be read: no such file",
		dir:                           "it is not a regular file",
		"{env.PASSWORD_TEST_NOT_SET}": "users_file \"{env.PASSWORD_TEST_NOT_SET}\": ",
	} {
		err := (&Login{UsersFile: name}).Provision(newContext(t))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// FuzzUsersFile wants the parser to take only lists in which every name is one,
// is there once and has a hash that can be compared, and to say on which line
// something is wrong without repeating a hash.
func FuzzUsersFile(f *testing.F) {
	f.Add([]byte(users("ann", "bob")))
	f.Add([]byte(users("ann", "Ann")))
	f.Add([]byte(`{"users":[{"user":"a","hash":"$2a$04$","groups":[],"email":"a@b","name":"A","disabled":true}]}`))
	f.Add([]byte("{\n\"users\": [\n{\"user\": 5}]}"))
	f.Add([]byte(`{"users":[{"user":"a","hash":"$argon2id$v=19$m=4294967295,t=1,p=1$c2l4dGVlbg$c2l4dGVlbg"}]}`))
	f.Add([]byte(`{"users":[{"user":"0","hash":"$argon2id$"}]}`))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parseUsers(data)
		if err == nil {
			_, err = newDirectory(nil, list)
		}
		if err != nil {
			e, ok := errors.AsType[*lineError](err)
			if !ok || e.line < 1 || e.line > 1+strings.Count(string(data), "\n") {
				t.Fatalf("%v is no error about a line", err)
			}
			for _, part := range strings.FieldsFunc(string(data), func(r rune) bool { return r == '"' }) {
				if len(part) > 8 && strings.HasPrefix(part, "$") && strings.Contains(err.Error(), part) {
					t.Fatalf("%v repeats a hash", err)
				}
			}
			return
		}
		seen := map[string]bool{}
		for _, a := range list {
			if !userName.MatchString(a.Username) || seen[strings.ToLower(a.Username)] || a.line < 1 {
				t.Fatalf("%+v is taken", a.User)
			}
			seen[strings.ToLower(a.Username)] = true
			if again, err := passhash.Parse(a.hash.Text()); err != nil || again.Tag() != a.hash.Tag() {
				t.Fatalf("a hash that is none: %v", err)
			}
		}
	})
}
