package embedded

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// lockWait is how long to wait for a file that another process has locked: long
// enough for a predecessor that is just stopping, too short to look like a hang.
const lockWait = time.Second

// file is the open database. It outlives a failure of the mapping: then the
// writer opens it anew.
type file struct {
	path  string
	clock func() time.Time
	doubt atomic.Bool // the open database must not be used for writing any more

	mu   sync.RWMutex // readers hold it for their transaction
	db   *bbolt.DB    // nil if opening it anew failed, and after close
	gone error        // why db is nil
	info os.FileInfo  // of the open file
}

// openFile opens the database at path, which is absolute, and creates it if
// there is none.
func openFile(path string) (*file, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("embedded: %s: no place for it: %w", path, err)
	}
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		if err := createFile(path); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, openError(path, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("embedded: %s is not a regular file: name the database file itself", path)
	case info.Size() == 0:
		// Made by hand, for a container to mount: it can't be replaced.
		if err := initialise(path, path); err != nil {
			return nil, err
		}
	}
	if err := checkFile(path); err != nil {
		return nil, err
	}
	f := &file{path: path, clock: time.Now}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

// createFile makes a new database. It gets its name only when it is complete,
// so that no crash leaves half of one there.
func createFile(path string) error {
	tmp := path + ".new-" + rand.Text()[:8]
	defer func() { _ = os.Remove(tmp) }() // gone already unless something failed
	if err := initialise(tmp, path); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return openError(path, err)
	}
	for _, dir := range []string{filepath.Dir(path), filepath.Dir(filepath.Dir(path))} {
		if err := syncDir(dir); err != nil {
			return fmt.Errorf("embedded: %s: the new file's name is not on disk: %w", path, err)
		}
	}
	return nil
}

// syncDir makes a new name in a directory durable, where the system can.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil || runtime.GOOS == "windows" {
		return nil // a parent that we may pass but not read
	}
	defer func() { _ = d.Close() }()
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// initialise makes an empty or missing file a database; path is what it is
// called, or will be.
func initialise(at, path string) error {
	db, _, err := openDB(at, path, os.O_CREATE)
	if err != nil {
		return err
	}
	if err = layOut(db); err != nil {
		err = fmt.Errorf("embedded: %s: can't write the new database: %w", path, err)
	}
	return errors.Join(err, db.Close())
}

// layOut writes the buckets into a database that has none.
func layOut(db *bbolt.DB) error {
	empty := false
	err := db.View(func(tx *bbolt.Tx) error {
		name, _ := tx.Cursor().First()
		empty = name == nil
		return nil
	})
	if err != nil || !empty {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return errors.Join(
			put(tx, bucketMeta, keySchema, number(schema)),
			put(tx, bucketMeta, keyFeedID, []byte(rand.Text())),
			put(tx, bucketMeta, keyFeedSeq, number(0)),
			put(tx, bucketMeta, keyRing, number(0)),
			put(tx, bucketMeta, keyClientPuts, number(0)),
		)
	})
}

// openDB opens the database for writing; flags are added to those that open
// the file. path is what errors call it.
func openDB(at, path string, flags int) (db *bbolt.DB, info os.FileInfo, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			db, info, err = nil, nil, damaged(path, fmt.Errorf("panic: %v", r))
		}
	}()
	db, err = bbolt.Open(at, 0o600, &bbolt.Options{
		Timeout:      lockWait,
		NoStatistics: true,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			// bbolt always creates; here a file that is missing stays missing.
			f, err := os.OpenFile(name, flag&^os.O_CREATE|flags, mode)
			if err != nil {
				return nil, err
			}
			if info, err = f.Stat(); err == nil {
				err = tighten(f, path, info)
			}
			if err != nil {
				return nil, errors.Join(err, f.Close())
			}
			return f, nil
		},
	})
	if err != nil {
		return nil, nil, openError(path, err)
	}
	return db, info, nil
}

// tighten takes the file, which holds the keys, away from group and others.
func tighten(f *os.File, path string, info os.FileInfo) error {
	if runtime.GOOS == "windows" || info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	if err := f.Chmod(0o600); err != nil {
		err = fmt.Errorf("others can read the keys in it and its mode can't be changed to 0600: %w", err)
		return &pathError{path, "make the user that runs Caddy its owner", err}
	}
	return nil
}

// openError says what to do about an error of opening.
func openError(path string, err error) error {
	var said *pathError
	switch {
	case errors.As(err, &said):
		return err
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("embedded: %s is in use by another process: stop that one, or choose another path", path)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("embedded: %s: give the user that runs Caddy read and write access: %w", path, err)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrVersionMismatch), errors.Is(err, berrors.ErrChecksum):
		return damaged(path, err)
	default:
		return fmt.Errorf("embedded: %s can't be opened: %w", path, err)
	}
}

// pathError is an error that names the path and the way out.
type pathError struct {
	path, advice string
	cause        error
}

// Error implements error.
func (e *pathError) Error() string {
	return fmt.Sprintf("embedded: %s: %v; nothing was changed; %s", e.path, e.cause, e.advice)
}

// Unwrap returns the cause.
func (e *pathError) Unwrap() error { return e.cause }

// damaged is the error for a file that can't be used.
func damaged(path string, cause error) error {
	return &pathError{path, "restore the file from a backup, or move it away to start with an empty one", cause}
}

// open opens a file that was checked, or that this process used before.
func (f *file) open() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.openLocked()
}

// openLocked is open for those who hold mu.
func (f *file) openLocked() error {
	db, info, err := openDB(f.path, f.path, 0)
	if err != nil {
		f.gone = err
		return err
	}
	err = layOut(db)
	if err == nil {
		err = migrate(db)
	}
	if err != nil {
		err = errors.Join(openError(f.path, err), db.Close())
		f.gone = err
		return err
	}
	f.db, f.info, f.gone = db, info, nil
	f.doubt.Store(false)
	return nil
}

// distrust makes the next write open the file anew.
func (f *file) distrust() { f.doubt.Store(true) }

// beginWrite starts a write transaction. Only the writer calls it.
func (f *file) beginWrite() (*bbolt.Tx, error) {
	f.mu.RLock()
	db, gone := f.db, f.gone
	f.mu.RUnlock()
	if db != nil && !f.doubt.Load() {
		tx, err := db.Begin(true)
		if !errors.Is(err, berrors.ErrInvalidMapping) {
			return tx, closedError(err)
		}
	} else if errors.Is(gone, ErrClosed) {
		return nil, ErrClosed
	}
	if err := f.reopen(); err != nil {
		return nil, err
	}
	return f.db.Begin(true) // only the writer changes f.db while it runs
}

// reopen closes the database, whatever state it is in, and opens it again.
func (f *file) reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.db != nil {
		_ = f.db.Close() // its state is what we want to be rid of
		f.db = nil
	}
	return f.openLocked()
}

// view runs fn in a read transaction.
func (f *file) view(fn func(tx *bbolt.Tx) error) (err error) {
	// A page of the file that can't be read must not end the whole server.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("embedded: panic in a read of %s: %v", f.path, r)
		}
	}()
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.db == nil {
		return f.gone
	}
	return f.db.View(fn)
}

// present makes sure that what we write to is what the next start will find.
func (f *file) present() error {
	info, err := os.Stat(f.path)
	if err != nil {
		return fmt.Errorf("the file in use is no longer at its path, put it back or restart: %w", err)
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	if !os.SameFile(info, f.info) {
		return errors.New("another file has taken its place, put it back or restart")
	}
	return nil
}

// close closes the database after the last reader.
func (f *file) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.db == nil {
		f.gone = ErrClosed
		return nil
	}
	err := f.db.Close()
	f.db, f.gone = nil, ErrClosed
	if err != nil {
		return fmt.Errorf("embedded: close %s: %w", f.path, err)
	}
	return nil
}
