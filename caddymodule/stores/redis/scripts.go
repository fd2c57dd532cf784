package redis

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/*.lua
var scriptFiles embed.FS

// The scripts: each is one atomic step. They name all keys that they touch, all
// of one shard.
var (
	announceScript  = loadScript("announce", true)
	clientScript    = loadScript("client", false)
	createScript    = loadScript("create", true)
	feedScript      = loadScript("feed", false)
	layoutScript    = loadScript("layout", false)
	resealScript    = loadScript("reseal", true)
	restoreScript   = loadScript("restore", true)
	revokeScript    = loadScript("revoke", true)
	ringScript      = loadScript("ring", false)
	rotateScript    = loadScript("rotate", true)
	setClientScript = loadScript("setclient", false)
	sweepScript     = loadScript("sweep", false)
	timeScript      = loadScript("time", false)
	touchScript     = loadScript("touch", true)
	useScript       = loadScript("use", false)
)

// loadScript returns an embedded script, behind the common part if it needs it.
func loadScript(name string, common bool) *redis.Script {
	text := ""
	if common {
		text = readScript("common")
	}
	return redis.NewScript(text + readScript(name))
}

func readScript(name string) string {
	text, err := scriptFiles.ReadFile("scripts/" + name + ".lua")
	if err != nil {
		panic(err) // it is part of this program
	}
	return string(text)
}

// step is one call of a script.
type step struct {
	script *redis.Script
	keys   []string
	args   []any
}

// newCall returns an id for a call that writes. The client repeats a call whose
// answer got lost; by its id the script knows that it was there before, and
// gives the first answer again instead of a verdict about the caller's own work.
func newCall() string {
	return rand.Text()
}

// bounded returns a context that ends when a step has taken too long, or an error
// if it is over already: then nothing may be sent.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	return ctx, cancel, nil
}

// run runs a script. Any error is an outage, and no verdict.
func (s *Store) run(ctx context.Context, script *redis.Script, keys []string, args ...any) (any, error) {
	ctx, cancel, err := s.bounded(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	answer, err := script.Run(ctx, s.client, keys, args...).Result()
	return answer, fault(err)
}

// verdict runs a script that answers with a word.
func (s *Store) verdict(ctx context.Context, st step) (string, error) {
	answer, err := s.run(ctx, st.script, st.keys, st.args...)
	if err != nil {
		return "", err
	}
	word, ok := answer.(string)
	if !ok {
		return "", fmt.Errorf("redis: a script answered %T", answer)
	}
	return word, nil
}

// runAll runs several scripts in one round trip to each server, in no order and
// not as one step, and returns their answers.
func (s *Store) runAll(ctx context.Context, steps []step) ([]any, error) {
	answers, errs, err := s.runEach(ctx, steps)
	if err != nil {
		return nil, err
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// runEach is runAll for who can use the answers of some: each step has an answer
// or an error.
func (s *Store) runEach(ctx context.Context, steps []step) ([]any, []error, error) {
	ctx, cancel, err := s.bounded(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer cancel()
	cmds := make([]*redis.Cmd, len(steps))
	if err := s.send(ctx, steps, cmds, func(pipe redis.Pipeliner, st step) *redis.Cmd {
		return st.script.EvalSha(ctx, pipe, st.keys, st.args...)
	}); err != nil {
		return nil, nil, err
	}
	// A server that has not seen a script yet gets it whole.
	if err := s.send(ctx, steps, cmds, func(pipe redis.Pipeliner, st step) *redis.Cmd {
		return st.script.Eval(ctx, pipe, st.keys, st.args...)
	}); err != nil {
		return nil, nil, err
	}
	answers, errs := make([]any, len(steps)), make([]error, len(steps))
	for i, cmd := range cmds {
		// The client, out of time with one node of a Cluster, puts an error on the
		// commands of all, also on those that have their answer.
		if answers[i] = cmd.Val(); answers[i] == nil {
			errs[i] = fault(cmd.Err())
		}
	}
	return answers, errs, nil
}

// send sends the steps that have no answer yet, or whose script the server did
// not know, in one round trip.
func (s *Store) send(ctx context.Context, steps []step, cmds []*redis.Cmd, queue func(pipe redis.Pipeliner, st step) *redis.Cmd) error {
	open := func(cmd *redis.Cmd) bool { return cmd == nil || redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") }
	if !slices.ContainsFunc(cmds, open) {
		return nil
	}
	_, err := s.exec(ctx, func(pipe redis.Pipeliner) {
		for i, st := range steps {
			if open(cmds[i]) {
				cmds[i] = queue(pipe, st)
			}
		}
	})
	return err
}

// pipe sends commands in one round trip to each server. A value that is not
// there is no error.
func (s *Store) pipe(ctx context.Context, commands func(pipe redis.Pipeliner)) error {
	ctx, cancel, err := s.bounded(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	cmds, err := s.exec(ctx, commands)
	if err != nil {
		return err
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return fault(err)
		}
	}
	return nil
}

// exec sends commands and returns them with an error of each. It returns an error
// if they were not sent: a server that refuses the connection leaves the commands
// without one, and they would look like ones that found nothing.
func (s *Store) exec(ctx context.Context, commands func(pipe redis.Pipeliner)) ([]redis.Cmder, error) {
	cmds, err := s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		commands(pipe)
		return nil
	})
	failed := func(cmd redis.Cmder) bool { return cmd.Err() != nil }
	if err != nil && !slices.ContainsFunc(cmds, failed) {
		return nil, fault(err)
	}
	return cmds, nil
}

// fault wraps an error of the client.
func fault(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("redis: %w", err)
}
