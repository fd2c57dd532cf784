package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// size is how much is measured.
type size struct {
	rounds       int           // pairs of each load
	time         time.Duration // of each load
	conns        []int         // of calls with a remembered token
	tokens       int           // that are used once each, per load
	streams      int
	streamRounds int
	starts       int
	settle       time.Duration // from a start until its memory is looked at
}

var (
	full  = size{7, 1200 * time.Millisecond, []int{8, 32, 256}, 6000, 5000, 3, 9, time.Second}
	quick = size{1, 150 * time.Millisecond, []int{4, 16}, 100, 50, 1, 1, 50 * time.Millisecond}
)

// options are the flags.
type options struct {
	quick, render bool
	docs, readme  string
	only          string
	profile       string
	binaries      binaries
}

func main() {
	var o options
	flag.BoolVar(&o.quick, "quick", false, "measure a little of everything, print it, and record nothing unless -docs is given")
	flag.BoolVar(&o.render, "render", false, "measure nothing: write tables and chart anew from the recorded results")
	flag.StringVar(&o.docs, "docs", "", "the folder of performance.json, performance.svg and performance.md (default docs)")
	flag.StringVar(&o.readme, "readme", "README.md", "the file that gets the table and the chart as well")
	flag.StringVar(&o.only, "only", "", "measure these loads only, with commas between them, and record nothing: remembered, refresh, …")
	flag.StringVar(&o.profile, "profile", "", "a folder for a CPU profile of the gateway under each load; nothing is recorded")
	flag.StringVar(&o.binaries.gateway, "gateway", "", "the project's Caddy (default: built)")
	flag.StringVar(&o.binaries.plain, "plain", "", "plain Caddy with the same configuration format (default: built)")
	flag.Parse()
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}

// run does what the flags say.
func run(o options, w io.Writer) error {
	record := (o.docs != "" || !o.quick) && o.only == "" && o.profile == ""
	if o.docs == "" {
		o.docs = "docs"
	}
	recorded := filepath.Join(o.docs, "performance.json")
	if o.render {
		r, err := readResults(recorded)
		if err != nil {
			return err
		}
		return r.publish(o.docs, o.readme)
	}
	s := full
	if o.quick {
		s = quick
	}
	r, err := measureAll(o, s, w)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, r.table())
	if !record {
		return nil
	}
	return errors.Join(r.write(recorded), r.publish(o.docs, o.readme))
}

// measureAll starts both sides and measures everything.
func measureAll(o options, s size, w io.Writer) (r *results, err error) {
	files, err := raiseLimits()
	if err != nil {
		return nil, err
	}
	if files < 2*s.streams+1000 {
		return nil, fmt.Errorf("%d streams need %d open files, the system allows %d: raise the hard limit (ulimit -Hn)", s.streams, 2*s.streams+1000, files)
	}
	dir, err := os.MkdirTemp("", "bench-*")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	began := time.Now()
	b := &bench{size: s, dir: dir, options: o, out: newResults(s.rounds), say: func(format string, args ...any) {
		fmt.Fprintf(w, "%4.0f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}}
	b.say("building")
	if err := b.binaries.build(dir); err != nil {
		return nil, err
	}
	if b.upstream, err = startUpstream(); err != nil {
		return nil, err
	}
	defer b.upstream.close()
	if b.wants("idle") {
		if err := b.idle(); err != nil {
			return nil, err
		}
	}
	return b.out, b.underLoad()
}

// wants reports whether a load is to be measured.
func (b *bench) wants(id string) bool {
	return b.only == "" || slices.Contains(strings.Split(b.only, ","), id)
}

// underLoad measures what needs both sides running: two processes of one binary.
func (b *bench) underLoad() (err error) {
	defer func() {
		for _, p := range []*process{b.gateway, b.plain} {
			if p != nil {
				err = errors.Join(err, p.stop())
			}
		}
	}()
	for i, p := range []**process{&b.gateway, &b.plain} {
		c, err := newConfig(i == 0, b.upstream.addr)
		if err != nil {
			return err
		}
		if *p, err = launch(b.binaries.gateway, filepath.Join(b.dir, fmt.Sprintf("side-%d", i)), c); err != nil {
			return err
		}
		b.second[i] = c.other
	}
	for _, part := range []func() error{b.streams, b.yardsticks, b.calls, b.issuance} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}
