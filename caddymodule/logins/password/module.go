package password

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/passhash"
)

func init() {
	caddy.RegisterModule(new(Login))
}

// pool holds what outlives a reload of the configuration: or else a reload would
// let everyone guess anew.
var pool = caddy.NewUsagePool()

// poolKey is its only key: a processor and an address belong to all methods of
// this process.
const poolKey = "password"

// Login lets people sign in with a user name and a password. The users stand in
// the configuration, or in a file that is read again when it changes, or in both.
//
// Guesses are slowed down by account and by address, but not for people in a
// browser in which they signed in before: what others do holds nobody up there.
// Where Caddy is behind another proxy, name that one in the global option
// `trusted_proxies`: otherwise all people share its address, and its limits.
type Login struct {
	// ID names this way to sign in, in URLs and in the `logins` lists of rules:
	// 1 to 32 lower-case letters, digits and hyphens. Default: `password`.
	ID string `json:"id,omitempty"`

	// Users are those who may sign in. Default: only those of the users file.
	Users []User `json:"users,omitempty"`

	// UsersFile is the path of a JSON file with more users:
	// `{"users": [{"user": "alice", "hash": "$2a$14$...", "email": "alice@example.com"}]}`,
	// each with the members of a user of the configuration. It is read again
	// when it changes; one that can't be used is logged, and the users before
	// stay. It must not repeat a user of the configuration, may have up to 8
	// MiB, and should be readable by Caddy only. Global placeholders are
	// replaced in the path. Default: none.
	UsersFile string `json:"users_file,omitempty"`

	configured []*account
	people     atomic.Pointer[directory]
	state      *state
	acquired   bool   // a reference to state, in the pool
	stop       func() // ends the watching of the file; nil if there is none

	log     *zap.Logger
	now     func() time.Time
	compare func(h passhash.Hash, password string) (bool, error)
}

// state is what all configurations of one process share.
type state struct {
	throttle *throttle
	gate     *passhash.Gate
}

// Destruct implements [caddy.Destructor]: there is nothing to close.
func (*state) Destruct() error { return nil }

// newState leaves half of the processors to everything that is not a sign-in.
func newState(now func() time.Time) *state {
	return &state{newThrottle(now, throttleSize), passhash.NewGate(passhash.Slots())}
}

// CaddyModule returns the Caddy module information.
func (*Login) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "mcp_auth.logins.password",
		New: func() caddy.Module { return new(Login) },
	}
}

var idForm = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// Provision checks the users and starts to watch the users file.
func (l *Login) Provision(ctx caddy.Context) error {
	if l.ID == "" {
		l.ID = "password"
	}
	if l.log == nil {
		l.log = ctx.Logger()
	}
	if l.now == nil {
		l.now = time.Now
	}
	if l.compare == nil {
		l.compare = passhash.Hash.Matches
	}
	switch {
	case !idForm.MatchString(l.ID):
		return fmt.Errorf("password: id %q is not 1 to 32 lower-case letters, digits and hyphens", l.ID)
	case len(l.Users) == 0 && l.UsersFile == "":
		return errors.New("password: there are no users: name them with user, or a file of them with users_file")
	}
	file, err := l.load()
	if err != nil {
		return fmt.Errorf("password: %w", err)
	}
	shared, _, err := pool.LoadOrNew(poolKey, func() (caddy.Destructor, error) { return newState(l.now), nil })
	if err != nil {
		return err
	}
	l.state, l.acquired = shared.(*state), true
	if file != nil {
		l.watch(ctx, file)
	}
	return nil
}

// load reads all users. It returns the file to watch, if there is one.
func (l *Login) load() (*usersFile, error) {
	for _, u := range l.Users {
		given, err := caddy.NewReplacer().ReplaceOrErr(u.Hash, true, true)
		if err != nil {
			return nil, fmt.Errorf("user %q: hash: %w", u.Username, err)
		}
		u.Hash = strings.TrimSpace(given) // a file ends with a line break
		a, err := newAccount(u)
		if err != nil {
			return nil, err
		}
		l.configured = append(l.configured, a)
	}
	warnWeak(l.log, l.configured)
	if l.UsersFile == "" {
		return nil, l.use(nil)
	}
	path, err := caddy.NewReplacer().ReplaceOrErr(l.UsersFile, true, true)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, fmt.Errorf("users_file %q: %w", l.UsersFile, err)
	}
	file := &usersFile{path: path, log: l.log, now: l.now, use: l.use}
	if err := file.load(); err != nil {
		return nil, err
	}
	if len(l.people.Load().accounts) == 0 {
		l.log.Warn("nobody can sign in: the users file has no users", zap.String("file", path))
	}
	return file, nil
}

// use takes over the users of the file, beside those of the configuration.
func (l *Login) use(fromFile []*account) error {
	people, err := newDirectory(l.configured, fromFile)
	if err != nil {
		return err
	}
	l.people.Store(people)
	return nil
}

// watch follows the file until Cleanup.
func (l *Login) watch(parent context.Context, file *usersFile) {
	ctx, cancel := context.WithCancel(parent)
	var done sync.WaitGroup
	done.Go(func() { file.watch(ctx) })
	l.stop = func() {
		cancel()
		done.Wait()
	}
}

// Cleanup releases what Provision acquired; Caddy calls it also when Provision
// failed. Requests that are still under way find the users as they were last.
func (l *Login) Cleanup() error {
	if l.stop != nil {
		l.stop()
		l.stop = nil
	}
	if !l.acquired {
		return nil
	}
	l.acquired = false
	_, err := pool.Delete(poolKey)
	return err
}

// Interface guards.
var (
	_ login.Method       = (*Login)(nil)
	_ login.Directory    = (*Login)(nil)
	_ caddy.Module       = (*Login)(nil)
	_ caddy.Provisioner  = (*Login)(nil)
	_ caddy.CleanerUpper = (*Login)(nil)
	_ caddy.Destructor   = (*state)(nil)
)
