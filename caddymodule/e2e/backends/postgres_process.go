package backends

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// signal sends a signal to all processes of the server if it runs, the one that
// would start others first.
func (p *Postgres) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(s) // it may have ended by itself
	for _, pid := range postgresChildren(p.cmd.Process.Pid) {
		_ = syscall.Kill(pid, s)
	}
}

// end ends the server and waits until all of it is gone. A signal other than
// SIGKILL goes to the first process only, which ends the others in order.
func (p *Postgres) end(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.guard.Process.Kill()
	_ = p.guard.Wait() // it was killed
	children := postgresChildren(p.cmd.Process.Pid)
	_ = p.cmd.Process.Signal(s)
	if s == syscall.SIGKILL {
		for _, pid := range children {
			_ = syscall.Kill(pid, s)
		}
	}
	select {
	case <-p.ended:
	case <-time.After(postgresPatience):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	for _, pid := range children { // nobody may hold the shared memory
		for deadline := time.Now().Add(postgresPatience); runs(pid) && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
	}
	p.cmd = nil
}

// remove ends the server and removes its data.
func (p *Postgres) remove() {
	p.end(syscall.SIGKILL)
	if p.dir != "" {
		_ = os.RemoveAll(p.dir) // the system's own folder for what is left over
	}
}

// postgresChildren returns the processes that a server's first process started.
// They have sessions of their own, so that a process group does not reach them.
func postgresChildren(parent int) []int {
	var out []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	for _, path := range stats {
		pid, state, ppid, err := readStat(path)
		if err == nil && ppid == parent && state != "Z" {
			out = append(out, pid)
		}
	}
	return out
}

// runs reports whether a process is there and not just waiting to be buried.
func runs(pid int) bool {
	_, state, _, err := readStat(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && state != "Z"
}

// readStat reads a process's id, state and parent.
func readStat(path string) (pid int, state string, ppid int, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, "", 0, err
	}
	// 123 (name, with anything in it) S 1 …
	end := strings.LastIndexByte(string(text), ')')
	fields := strings.Fields(string(text[end+1:]))
	if len(fields) < 2 {
		return 0, "", 0, errors.New("not a stat file")
	}
	if pid, err = strconv.Atoi(filepath.Base(filepath.Dir(path))); err != nil {
		return 0, "", 0, err
	}
	ppid, err = strconv.Atoi(fields[1])
	return pid, fields[0], ppid, err
}

// log returns the end of what the server said.
func (p *Postgres) log() string {
	const most = 4 << 10
	text, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	return string(text[max(0, len(text)-most):])
}

// fatalf fails the test, or, for the shared server, whoever uses it.
func (p *Postgres) fatalf(format string, args ...any) {
	if p.tb == nil {
		panic(fmt.Sprintf(format, args...))
	}
	p.tb.Helper()
	p.tb.Fatalf(format, args...)
}
