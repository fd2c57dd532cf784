package redis

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

const (
	// shards is how many parts the state has, each in one hash slot. It is part of
	// the layout: with another number nothing would be found again.
	shards = 16
	// maxName is the longest id or key, in bytes. The contract promises 300.
	maxName = 1 << 10
	// epoch is the year 1, where time.Time begins, in seconds before 1970.
	epoch = 62135596800
	// stampLen is the length of a time as text, personLen how many bytes of a member
	// of persons stand before the grant's id.
	stampLen  = 21
	personLen = 43 + stampLen
)

// errText says that a string is none that stores keep.
var errText = errors.New("a string is not valid UTF-8 without NUL")

// shardOf returns the shard that a name belongs to.
func shardOf(name string) int {
	return int(crc32.ChecksumIEEE([]byte(name)) % shards)
}

// key returns the key of one kind in a shard. The hash tag, one digit, spreads
// the shards evenly over the nodes of a Cluster of three, four or five.
func (s *Store) key(shard int, kind string) string {
	return s.prefix + ":{" + strconv.FormatInt(int64(shard), 16) + "}:" + kind
}

// keys returns the keys of several kinds in a shard.
func (s *Store) keys(shard int, kinds ...string) []string {
	for i, kind := range kinds {
		kinds[i] = s.key(shard, kind)
	}
	return kinds
}

// grantKey returns the key of a grant.
func (s *Store) grantKey(id string) string {
	return s.key(shardOf(id), kindGrant+":"+id)
}

// Kinds of keys in a shard.
const (
	kindGrant   = "grant"   // :id, a hash
	kindPersons = "persons" // sorted set: SHA-256 of a subject, time of creation, id
	kindEnds    = "ends"    // sorted set by time: what ends then
	kindNames   = "names"   // sorted set: what there is
	kindUsed    = "used"    // hash: used keys
	kindClients = "clients" // hash: what became of clients
	kindFeed    = "feed"    // sorted set by number: entries of the feed
	kindMeta    = "meta"    // hash: the feed's newest number and time, Ping's mark
	kindRing    = "ring"    // hash: the key ring, in shard 0
	kindLayout  = "layout"  // hash: the number of the layout, in shard 0
)

// channel is where new entries of the feed are told.
func (s *Store) channel() string { return s.prefix + ":feed" }

// stamp writes a time as text of 21 digits: seconds since the year 1 and
// nanoseconds. The texts compare as the times do.
func stamp(t time.Time) (string, error) {
	sec := t.Unix() + epoch
	if sec < 0 || sec > 999_999_999_999 {
		return "", fmt.Errorf("redis: the time %v can't be stored", t)
	}
	return fmt.Sprintf("%012d%09d", sec, t.Nanosecond()), nil
}

// parseStamp reads what stamp wrote.
func parseStamp(text string) (time.Time, error) {
	if len(text) != stampLen {
		return time.Time{}, fmt.Errorf("%w: a time of %d digits", errDamaged, len(text))
	}
	sec, err := strconv.ParseInt(text[:12], 10, 64)
	nano, err2 := strconv.ParseInt(text[12:], 10, 64)
	if err = errors.Join(err, err2); err != nil {
		return time.Time{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return time.Unix(sec-epoch, nano).UTC(), nil
}

// optional is stamp for a time that may be missing: the empty text.
func optional(t time.Time) (string, error) {
	if t.IsZero() {
		return "", nil
	}
	return stamp(t)
}

// parseOptional reads what optional wrote.
func parseOptional(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return parseStamp(text)
}

// score is when something ends, in milliseconds since 1970. It is rounded up, so
// that nothing is swept early.
func score(t time.Time) string {
	return strconv.FormatInt(t.Add(time.Millisecond-1).UnixMilli(), 10)
}

// personHash is what stands for a person in the index: all have one length, so
// that none is the beginning of another.
func personHash(subject string) string {
	sum := sha256.Sum256([]byte(subject))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// personMember is a grant's member in the index of persons: those of one person
// stand together, the newest first.
func personMember(g store.Grant) (string, error) {
	created, err := stamp(g.Created)
	if err != nil {
		return "", err
	}
	turned := []byte(created)
	for i := range turned {
		turned[i] = '0' + '9' - turned[i]
	}
	return personHash(g.User.Subject) + string(turned) + g.ID, nil
}

// checkName refuses an id or key that can't be stored.
func checkName(kind, name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("redis: %s of %d bytes can't be stored", kind, len(name))
	}
	return checkText(name)
}

// checkText refuses strings that would not come back byte for byte.
func checkText(texts ...string) error {
	for _, text := range texts {
		if strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text) {
			return fmt.Errorf("redis: %w", errText)
		}
	}
	return nil
}
