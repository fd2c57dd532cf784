package password

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"go.uber.org/zap"
)

const (
	// lookEvery is how often the users file is looked at.
	lookEvery = 2 * time.Second

	// settledAfter is how old a change must be for the time of the change to
	// tell it from the next: some file systems count in steps of two seconds.
	settledAfter = 3 * time.Second

	// maxFile bounds what is read: about 20,000 users.
	maxFile = 8 << 20 // bytes
)

// usersFile follows the file of users. Only one goroutine uses it at a time.
type usersFile struct {
	path string
	log  *zap.Logger
	now  func() time.Time
	// use takes the users over, all of them or none.
	use func([]*account) error

	seen    os.FileInfo // at the last reading; nil if there was none
	settled bool        // so that a later change shows in the file's data
	warned  bool        // that others can get at the file

	// What was read is told apart by marks: a digest of the content, or the
	// text of the error where there is none.
	inUse, pending, reported string
}

// reading is what is in the file at one time.
type reading struct {
	mark  string
	users []*account
	err   error
}

// load reads the file for the first time.
func (f *usersFile) load() error {
	r := f.read()
	if r.err == nil {
		r.err = f.use(r.users)
	}
	if r.err != nil {
		return fmt.Errorf("users_file %s: %w", f.path, r.err)
	}
	f.inUse = r.mark
	f.inspect(r.users)
	return nil
}

// watch looks at the file until the context ends. Looking, unlike waiting to be
// told, sees every kind of replacement on every kind of file system.
func (f *usersFile) watch(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.look()
		}
	}
}

// look takes the users over if the file has changed. What can't be used is
// reported when it is still so at the next look: an editor that is just writing
// is no news.
func (f *usersFile) look() {
	if f.pending == "" && f.unchanged() {
		return
	}
	r := f.read()
	if r.err == nil && r.mark != f.inUse {
		r.err = f.use(r.users)
	}
	switch {
	case r.err == nil:
		if r.mark != f.inUse || f.reported != "" {
			f.log.Info("users file is in use", zap.String("file", f.path), zap.Int("users", len(r.users)))
			f.inspect(r.users)
		}
		f.inUse, f.pending, f.reported = r.mark, "", ""
	case r.mark == f.reported:
		f.pending = ""
	case r.mark == f.pending:
		f.report(r.err)
		f.reported, f.pending = r.mark, ""
	default:
		f.pending = r.mark
	}
}

// unchanged reports whether the file is certainly the one that was read.
func (f *usersFile) unchanged() bool {
	info, err := os.Stat(f.path)
	return err == nil && f.seen != nil && f.settled && os.SameFile(info, f.seen) &&
		info.Size() == f.seen.Size() && info.ModTime().Equal(f.seen.ModTime())
}

// read reads the file.
func (f *usersFile) read() reading {
	f.seen = nil
	data, err := f.content()
	if err != nil {
		return reading{mark: err.Error(), err: err}
	}
	sum := sha256.Sum256(data)
	users, err := parseUsers(data)
	return reading{string(sum[:]), users, err}
}

// content returns what is in the file.
func (f *usersFile) content() ([]byte, error) {
	// Before it is opened, which might wait for ever for a pipe's other end.
	if info, err := os.Stat(f.path); err != nil {
		return nil, unreadable(err)
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	file, err := os.Open(f.path)
	if err != nil {
		return nil, unreadable(err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, unreadable(err)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, unreadable(err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("it is larger than %d MiB", maxFile>>20)
	}
	f.seen, f.settled = info, f.now().Sub(info.ModTime()) > settledAfter
	return data, nil
}

// unreadable leaves out the path, which every message names already.
func unreadable(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		err = pe.Err
	}
	return fmt.Errorf("it can't be read: %w", err)
}

// report logs why the file can't be used.
func (f *usersFile) report(err error) {
	fields := []zap.Field{zap.String("file", f.path)}
	if e, ok := errors.AsType[*lineError](err); ok {
		fields, err = append(fields, zap.Int("line", e.line)), e.err
	}
	f.log.Error("users file can't be used, the users before stay until it changes", append(fields, zap.Error(err))...)
}

// inspect warns about what works and should not stay so.
func (f *usersFile) inspect(users []*account) {
	warnWeak(f.log, users)
	// Windows has other means, which the mode does not show.
	others := runtime.GOOS != "windows" && f.seen != nil && f.seen.Mode().Perm()&0o006 != 0
	if others && !f.warned {
		f.log.Warn("others on this machine can read or change the users file, take that away with chmod o-rw",
			zap.String("file", f.path), zap.Stringer("mode", f.seen.Mode().Perm()))
	}
	f.warned = others
}

// warnWeak names the users whose hashes are cheap to guess.
func warnWeak(log *zap.Logger, users []*account) {
	if names := weak(users); len(names) > 0 {
		log.Warn("password hashes of low cost, make new ones with caddy hash-password",
			zap.Int("count", len(names)), zap.Strings("users", names[:min(len(names), 20)]))
	}
}
