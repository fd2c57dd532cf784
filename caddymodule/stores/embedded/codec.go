package embedded

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// schema is the version of the file's layout that this code writes. It reads
// the older ones (migrate.go): layout 1 had no persons and no used keys, layout
// 2 no clients, layout 3 no sealed records.
const schema = 4

// Buckets of the file.
var (
	bucketMeta       = []byte("meta")
	bucketGrants     = []byte("grants")
	bucketGrantsDue  = []byte("grants_due")
	bucketPersons    = []byte("persons")
	bucketUsed       = []byte("used")
	bucketUsedDue    = []byte("used_due")
	bucketClients    = []byte("clients")
	bucketRevoked    = []byte("revoked")
	bucketRevokedDue = []byte("revoked_due")
)

// buckets lists all of them.
var buckets = [][]byte{
	bucketMeta, bucketGrants, bucketGrantsDue, bucketPersons, bucketUsed, bucketUsedDue, bucketClients,
	bucketRevoked, bucketRevokedDue,
}

// Keys of the meta bucket.
var (
	keyProbe      = []byte("probe") // written by Ping, read by nobody
	keySchema     = []byte("schema")
	keyFeedID     = []byte("feed_id")
	keyFeedSeq    = []byte("feed_seq")
	keyRing       = []byte("key_ring")
	keyClientPuts = []byte("client_puts") // since layout 3
)

// metaKeys returns those that are there in every file of a layout.
func metaKeys(layout uint64) [][]byte {
	keys := [][]byte{keySchema, keyFeedID, keyFeedSeq, keyRing}
	if layout > 2 {
		keys = append(keys, keyClientPuts)
	}
	return keys
}

// errDamaged says that bytes read from the file are not what was written.
var errDamaged = errors.New("damaged record")

// castagnoli is the polynomial that processors have an instruction for.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum covers where a value is kept as well as the value.
func checksum(bucket, key, value []byte) uint32 {
	sum := crc32.Update(0, castagnoli, bucket)
	sum = crc32.Update(sum, castagnoli, []byte{0})
	sum = crc32.Update(sum, castagnoli, key)
	sum = crc32.Update(sum, castagnoli, []byte{0})
	return crc32.Update(sum, castagnoli, value)
}

// seal puts the checksum before a value.
func seal(bucket, key, value []byte) []byte {
	out := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(value)), checksum(bucket, key, value))
	return append(out, value...)
}

// unseal checks and removes what seal put there. The result is the file's
// memory: it must not be used after the transaction.
func unseal(bucket, key, sealed []byte) ([]byte, error) {
	if len(sealed) < 4 || binary.BigEndian.Uint32(sealed) != checksum(bucket, key, sealed[4:]) {
		return nil, fmt.Errorf("%w in bucket %s", errDamaged, bucket)
	}
	return sealed[4:], nil
}

// record is a grant as it is stored.
type record struct {
	Grant store.Grant `json:"grant"`
	// Keep holds a revoked grant past its Expires.
	Keep time.Time `json:"keep,omitzero"`
}

// due is when the record is no longer of use.
func (r record) due() time.Time {
	if r.Keep.After(r.Grant.Expires) {
		return r.Keep
	}
	return r.Grant.Expires
}

// dueKey is the record's key in the index of ends; nil for no record.
func (r record) dueKey() []byte {
	if r.Grant.ID == "" {
		return nil
	}
	return dueKey(r.due(), []byte(r.Grant.ID))
}

// personKey is the record's key in the index of persons, which has the grants
// that are not revoked; nil for none.
func (r record) personKey() []byte {
	if r.Grant.ID == "" || !r.Grant.Revoked.IsZero() {
		return nil
	}
	created := dueKey(r.Grant.Created, nil)
	for i := range created {
		created[i] ^= 0xFF // the newest first
	}
	return append(append(personPrefix(r.Grant.User.Subject), created...), r.Grant.ID...)
}

// personLen is the length of what stands before the id in such a key.
const personLen = sha256.Size + timeLen

// personPrefix is how the keys of a person's grants begin: a hash, so that no
// subject is too long and none is the beginning of another.
func personPrefix(subject string) []byte {
	sum := sha256.Sum256([]byte(subject))
	return sum[:]
}

// encode turns a record or an entry into JSON. It refuses text that JSON would
// silently change.
func encode(v any, texts ...string) ([]byte, error) {
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return nil, errors.New("text is not valid UTF-8")
		}
	}
	return json.Marshal(v)
}

// encodeRecord is encode for grants.
func encodeRecord(r record) ([]byte, error) {
	g := &r.Grant
	for _, at := range []*time.Time{
		&g.AuthTime, &g.Created, &g.RotatedAt, &g.Expires, &g.NotAfter, &g.UsedAt, &g.Revoked, &r.Keep,
	} {
		*at = at.UTC() // JSON would drop the seconds of an odd time zone
	}
	texts := append([]string{
		g.ID, g.ClientID, g.ClientName, g.RedirectURI, g.Resource, g.Scope, g.UsedFrom, g.ClientHash,
		g.ClientMetadata, g.Sealed, g.User.Subject, g.User.Name, g.User.Email, g.User.GroupsOf, g.User.Login, g.User.Version,
	}, g.User.Groups...)
	return encode(r, texts...)
}

// decode reads what encode wrote.
func decode[T any](value []byte) (T, error) {
	var v T
	if err := jsonv2.Unmarshal(value, &v); err != nil {
		return v, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return v, nil
}

// timeLen is the length of a time in a key.
const timeLen = 12

// dueKey makes a key that sorts by time: biased seconds, nanoseconds, then the
// key of the record.
func dueKey(at time.Time, key []byte) []byte {
	out := make([]byte, 0, timeLen+len(key))
	out = binary.BigEndian.AppendUint64(out, uint64(at.Unix())^(1<<63))
	out = binary.BigEndian.AppendUint32(out, uint32(at.Nanosecond()))
	return append(out, key...)
}

// splitDueKey takes apart what dueKey made.
func splitDueKey(k []byte) (time.Time, []byte, error) {
	if len(k) < timeLen {
		return time.Time{}, nil, fmt.Errorf("%w: key of %d bytes", errDamaged, len(k))
	}
	seconds := int64(binary.BigEndian.Uint64(k) ^ (1 << 63))
	return time.Unix(seconds, int64(binary.BigEndian.Uint32(k[8:]))), k[timeLen:], nil
}

// number encodes feed numbers and versions so that they sort.
func number(n uint64) []byte {
	return binary.BigEndian.AppendUint64(nil, n)
}

// parseNumber reads what number wrote.
func parseNumber(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("%w: number of %d bytes", errDamaged, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}
