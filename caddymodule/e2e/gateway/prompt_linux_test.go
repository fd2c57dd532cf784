package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// terminal is a pseudo-terminal with a person in front of it.
type terminal struct {
	person, program *os.File
	screen          *output
}

// openTerminal skips the test on a system without terminals, or fails it where
// everything has to be.
func openTerminal(t *testing.T) *terminal {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if errors.Is(err, fs.ErrNotExist) && os.Getenv("REQUIRE_BACKENDS") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	tty := &terminal{person, program, new(output)}
	go func() {
		buf := make([]byte, 1024)
		for {
			n, err := person.Read(buf)
			_, _ = tty.screen.Write(buf[:n]) // never fails
			if err != nil {
				return
			}
		}
	}()
	return tty
}

// run runs the command at the terminal.
func (y *terminal) run(t *testing.T, o options) *command {
	t.Helper()
	c := prepare(t, o)
	c.cmd.Stdin, c.cmd.Stderr, c.cmd.Stdout = y.program, y.program, c.stdout
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	c.run(t)
	return c
}

// echoes reports whether the terminal shows what is typed.
func (y *terminal) echoes(t *testing.T) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(y.program.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// answer waits for a prompt and until nothing shows any more, and types.
func (y *terminal) answer(t *testing.T, c *command, prompt, text string) {
	t.Helper()
	deadline, tick := time.After(timeout), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !strings.HasSuffix(y.screen.String(), prompt) || y.echoes(t) {
		select {
		case <-c.done:
			t.Fatalf("it ended instead of asking %q:\n%s", prompt, y.screen)
		case <-deadline:
			t.Fatalf("it does not ask %q:\n%s", prompt, y.screen)
		case <-tick.C:
		}
	}
	if _, err := y.person.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

const (
	choose = "Choose a password for alice: "
	repeat = "The same once more: "
)

// TestPrompt: at a terminal the password is typed twice, and shown never.
func TestPrompt(t *testing.T) {
	t.Parallel()
	_, upstream := gatewaytest.Mock(t)
	tty := openTerminal(t)
	origin := fmt.Sprintf("http://localhost:%d", gatewaytest.FreePort(t))
	c := tty.run(t, options{args: []string{"--to", upstream, "--from", origin, "--user", "alice"}})
	tty.answer(t, c, choose, password+"\r")
	tty.answer(t, c, repeat, password+"\r")
	c.ready(t)
	if strings.Contains(tty.screen.String(), password) || strings.Contains(c.stdout.String(), password) {
		t.Errorf("the password is on the screen:\n%s", tty.screen)
	}
	if !tty.echoes(t) {
		t.Error("the terminal does not show again what is typed")
	}
	b := newBrowser(t, origin, nil)
	if r := b.signIn(t, b.get(t, "/oauth/account"), "alice", password); r.Status != 303 {
		t.Errorf("signing in: %d %s", r.Status, r.Body)
	}
	// Ctrl+C stops, as the welcome says.
	if _, err := tty.person.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	if code := c.wait(t); code != 0 {
		t.Errorf("exit code %d after Ctrl+C:\n%s", code, tty.screen)
	}
}

// TestPromptFails: what is typed wrong ends the command with one line, and so
// does Ctrl+C. The terminal shows afterwards what is typed.
func TestPromptFails(t *testing.T) {
	t.Parallel()
	type typed struct{ prompt, text string }
	for _, tt := range []struct {
		name  string
		typed []typed
		want  string
	}{
		{"another one", []typed{{choose, password + "\r"}, {repeat, "something else\r"}}, "the two passwords differ"},
		{"too short", []typed{{choose, "horse\r"}}, "the password is too short"},
		{"nothing", []typed{{choose, "\r"}}, "there is no password"},
		{"Ctrl+C", []typed{{choose, "Tr0ub\x03"}}, "interrupted"},
		{"Ctrl+C the second time", []typed{{choose, password + "\r"}, {repeat, "\x03"}}, "interrupted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tty := openTerminal(t)
			c := tty.run(t, options{args: []string{"--to", "localhost:9000", "--user", "alice", "--print"}})
			for _, line := range tt.typed {
				tty.answer(t, c, line.prompt, line.text)
			}
			if code := c.wait(t); code != 1 || c.stdout.String() != "" {
				t.Errorf("exit code %d\n%s", code, c.stdout)
			}
			if !tty.echoes(t) {
				t.Error("the terminal does not show again what is typed")
			}
			// The last line may still be on its way.
			for deadline := time.Now().Add(timeout); !strings.Contains(tty.screen.String(), "Error: "+tt.want); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("want %q, got:\n%s", tt.want, tty.screen)
				}
			}
			if strings.Contains(tty.screen.String(), "Tr0ub") {
				t.Errorf("the password is on the screen:\n%s", tty.screen)
			}
		})
	}
}
