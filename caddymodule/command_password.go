package caddymodule

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"golang.org/x/term"
)

// Bounds of a password.
const (
	minPassword = 8    // characters (NIST SP 800-63B-4 §3.1.1.2 allows no fewer)
	maxPassword = 4096 // bytes, as login password takes
)

// askHash asks for the user's password and returns its hash.
func askHash(in io.Reader, out io.Writer, user string, salt []byte) (string, error) {
	var password []byte
	var err error
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		password, err = twice("Choose a password for "+user, func(prompt string) ([]byte, error) { return askHidden(f, out, prompt) })
	} else {
		password, err = firstLine(in)
	}
	if err != nil {
		return "", err
	}
	return hashPassword(password, salt)
}

// twice asks for a new password and once more for the same.
func twice(prompt string, ask func(prompt string) ([]byte, error)) ([]byte, error) {
	password, err := ask(prompt + ": ")
	if err == nil {
		err = checkPassword(password)
	}
	if err != nil {
		return nil, err
	}
	again, err := ask("The same once more: ")
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(password, again) != 1 {
		return nil, errors.New("the two passwords differ: try again")
	}
	return password, nil
}

// firstLine reads a password that another program hands over.
func firstLine(in io.Reader) ([]byte, error) {
	line, err := bufio.NewReader(io.LimitReader(in, maxPassword+2)).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the password from standard input: %w", err)
	}
	if bare, ok := bytes.CutSuffix(line, []byte("\n")); ok {
		line = bytes.TrimSuffix(bare, []byte("\r"))
	}
	return line, checkPassword(line)
}

// checkPassword refuses what is no password, or could never be typed into the
// sign-in page.
func checkPassword(password []byte) error {
	switch {
	case len(password) == 0:
		return errors.New("there is no password: type one in a terminal, send it as the first line of standard input, or give its hash with --password-hash")
	case !utf8.Valid(password) || bytes.ContainsFunc(password, unicode.IsControl):
		return errors.New("the password has characters that nobody can type into a page: use letters, digits and signs in UTF-8")
	case utf8.RuneCount(password) < minPassword:
		return fmt.Errorf("the password is too short: it needs at least %d characters", minPassword)
	case len(password) > maxPassword:
		return fmt.Errorf("the password is too long: it may have up to %d bytes", maxPassword)
	}
	return nil
}

// askHidden reads a line from a terminal without showing it. Whatever ends it,
// the terminal shows again afterwards what is typed.
func askHidden(terminal *os.File, out io.Writer, prompt string) ([]byte, error) {
	fd := int(terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("reading the password: %w", err)
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	type answer struct {
		line []byte
		err  error
	}
	answers := make(chan answer, 1)
	fmt.Fprint(out, prompt)
	go func() {
		line, err := term.ReadPassword(fd)
		answers <- answer{line, err}
	}()
	select {
	case a := <-answers:
		fmt.Fprintln(out)
		if a.err != nil && !errors.Is(a.err, io.EOF) {
			return nil, fmt.Errorf("reading the password: %w", a.err)
		}
		return a.line, nil
	case <-interrupts:
		fmt.Fprintln(out)
		return nil, errors.Join(errors.New("interrupted"), term.Restore(fd, before)) // the process ends, and the reader with it
	}
}

// saltSize is that of Caddy's own hashes, in bytes.
const saltSize = 16

// gatewaySalt returns the salt that is kept in the data directory. The password
// is not kept, and a hash with a new salt would look like that of a new
// password, which ends all sessions (login password): with the same salt, the
// same password has the same hash after a restart. Without a salt there it
// makes one, and stores it if keep is set.
func gatewaySalt(dir string, keep bool) ([]byte, error) {
	path := filepath.Join(dir, "mcp_auth", "mcp-gateway.salt")
	salt, err := os.ReadFile(path)
	switch {
	case err == nil && len(salt) == saltSize:
		return salt, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the data directory can't be read: %w", err)
	}
	salt = make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails
	if !keep {
		return salt, nil
	}
	if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
		err = os.WriteFile(path, salt, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("the data directory can't be written: %w", err)
	}
	return salt, nil
}

// hashPassword hashes with Caddy's argon2id. Its hasher takes costs and salt
// from a hash only, so it gets one: Caddy's decoy, which has the recommended
// costs, with our salt.
func hashPassword(password, salt []byte) (string, error) {
	parts := strings.Split(string(caddyauth.Argon2idHash{}.FakeHash()), "$")
	if len(parts) != 6 {
		return "", errors.New("hashing the password: Caddy's argon2id has another form than expected; give a hash with --password-hash")
	}
	parts[4] = base64.RawStdEncoding.EncodeToString(salt)
	hasher, _, err := caddyauth.DecodeHash([]byte(strings.Join(parts, "$")))
	if err != nil {
		return "", fmt.Errorf("hashing the password: %w", err)
	}
	hash, err := hasher.Hash(password)
	if err != nil {
		return "", fmt.Errorf("hashing the password: %w", err)
	}
	return string(hash), nil
}
