package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// binaries are the programs that are compared: ours, which also serves as plain
// Caddy under load, and Caddy without us.
type binaries struct{ gateway, plain string }

// build makes what is not given, both as xcaddy does.
func (b *binaries) build(dir string) error {
	for _, p := range []struct {
		path *string
		of   string
	}{{&b.gateway, "./caddymodule/cmd/caddy"}, {&b.plain, "./bench/plain"}} {
		if *p.path != "" {
			continue
		}
		*p.path = filepath.Join(dir, filepath.Base(p.of))
		cmd := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", *p.path, p.of) //nolint:gosec // our own packages
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", p.of, err, out)
		}
	}
	return nil
}

// idle measures what each program costs without any load: its size, and its
// time to the first answer and its memory a moment later, with the state of an
// earlier run in place.
func (b *bench) idle() error {
	b.say("starts")
	var took, resident [2][]float64
	sizes := [2]float64{}
	for i, binary := range []string{b.binaries.gateway, b.binaries.plain} {
		info, err := os.Stat(binary)
		if err != nil {
			return fmt.Errorf("looking at a binary: %w", err)
		}
		sizes[i] = float64(info.Size())
	}
	for round := range b.starts + 1 {
		for i, binary := range []string{b.binaries.gateway, b.binaries.plain} {
			t, r, err := b.startOnce(binary, i == 0)
			if err != nil {
				return err
			}
			if round > 0 { // the first one made the state
				took[i], resident[i] = append(took[i], t), append(resident[i], r)
			}
		}
	}
	same := func(f float64) float64 { return f }
	b.out.Beside = append(b.out.Beside,
		beside{"start", median(took[0], same), median(took[1], same)},
		beside{"idle", median(resident[0], same), median(resident[1], same)},
		beside{"binary", sizes[0], sizes[1]})
	return nil
}

// startOnce returns how long a start took, in milliseconds, and the resident
// memory after it, in bytes.
func (b *bench) startOnce(binary string, gateway bool) (took, resident float64, err error) {
	c, err := newConfig(gateway, b.upstream.addr)
	if err != nil {
		return 0, 0, err
	}
	p, err := launch(binary, filepath.Join(b.dir, fmt.Sprintf("idle-%t", gateway)), c)
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(b.settle)
	resident, err = p.resident()
	if stopped := p.stop(); err == nil {
		err = stopped
	}
	return micros(p.took) / 1e3, resident, err
}
