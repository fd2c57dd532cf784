package redis

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// layout says how the state is kept.
type layout struct {
	number int
	// serves is the oldest layout whose programs may go on beside this one.
	serves int
}

// current is the layout that doc.go describes.
var current = layout{number: 1, serves: 1}

// checkLayout writes the layout where there is none yet, or none any more, and
// refuses one that a newer program made and that this one would get wrong.
func (s *Store) checkLayout(ctx context.Context, starting bool) error {
	key := s.key(0, kindLayout)
	answer, err := s.run(ctx, layoutScript, []string{key}, s.known.number, s.known.serves)
	if err != nil {
		return err
	}
	found, err := parseLayout(answer)
	switch {
	case err != nil:
		return fmt.Errorf("redis: %w: the key %s has no layout: another program's, or damaged (%w); restore a backup, or name another prefix",
			store.ErrRefused, key, err)
	case s.known.number < found.serves:
		return fmt.Errorf("redis: %w: the keys of %s were written by a newer version of this program (layout %d, this one knows %d): "+
			"run the newer version, or restore a backup from before", store.ErrRefused, s.prefix, found.number, s.known.number)
	case found.number > s.known.number && starting:
		s.logger.Info("the Redis server has a layout of a newer version, which serves this one too",
			zap.String("prefix", s.prefix), zap.Int("layout", found.number), zap.Int("known", s.known.number))
	}
	return nil
}

// parseLayout reads what the script answered.
func parseLayout(answer any) (layout, error) {
	list, _ := answer.([]any)
	if len(list) != 2 {
		return layout{}, errDamaged
	}
	number, err1 := strconv.Atoi(fmt.Sprint(list[0]))
	serves, err2 := strconv.Atoi(fmt.Sprint(list[1]))
	return layout{number, serves}, cmp.Or(err1, err2)
}
