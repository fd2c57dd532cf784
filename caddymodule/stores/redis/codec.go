package redis

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// errDamaged says that what the server returned is not what this store writes.
var errDamaged = errors.New("damaged record")

// Fields of a grant's hash. What scripts change and compare has one of its own;
// the rest is in the document.
const (
	fieldDocument   = "document"
	fieldGeneration = "generation"
	fieldRotated    = "rotated"
	fieldExpires    = "expires"
	fieldKeep       = "keep"
	fieldUsed       = "used"
	fieldFrom       = "from"
	fieldRevoked    = "revoked"
	fieldCall       = "call" // which call changed it last, so that it is recognised when it comes again
)

// grantFields returns what put.lua takes: the grant's members in the indexes,
// the score of its end, whether it is listed, and its fields.
func grantFields(g store.GrantRecord, call string) ([]any, error) {
	if err := checkName("a grant's id", g.ID); err != nil {
		return nil, err
	}
	if err := checkText(append([]string{
		g.ClientID, g.ClientName, g.RedirectURI, g.Resource, g.Scope, g.UsedFrom, g.ClientHash, g.ClientMetadata,
		g.Sealed, g.User.Subject, g.User.Name, g.User.Email, g.User.GroupsOf, g.User.Login, g.User.Version,
	}, g.User.Groups...)...); err != nil {
		return nil, err
	}
	person, err := personMember(g.Grant)
	if err != nil {
		return nil, err
	}
	rotated, err1 := stamp(g.RotatedAt)
	expires, err2 := stamp(g.Expires)
	used, err3 := stamp(g.UsedAt)
	keep, err4 := optional(g.Keep)
	revoked, err5 := optional(g.Revoked)
	document, err6 := grantDocument(g.Grant)
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return nil, err
	}
	listed := "listed"
	if revoked != "" {
		listed = "revoked"
	}
	return []any{
		person, "g" + g.ID, score(g.Due()), listed,
		fieldDocument, document, fieldGeneration, strconv.FormatUint(g.Generation, 10), fieldRotated, rotated,
		fieldExpires, expires, fieldKeep, keep, fieldUsed, used, fieldFrom, g.UsedFrom, fieldRevoked, revoked,
		fieldCall, call,
	}, nil
}

// grantDocument returns what never changes by itself.
func grantDocument(g store.Grant) (string, error) {
	g.Generation, g.RotatedAt, g.Expires = 0, time.Time{}, time.Time{}
	g.UsedAt, g.UsedFrom, g.Revoked = time.Time{}, "", time.Time{}
	// JSON drops the seconds of an odd time zone.
	g.AuthTime, g.Created, g.NotAfter = g.AuthTime.UTC(), g.Created.UTC(), g.NotAfter.UTC()
	text, err := json.Marshal(g)
	if err != nil {
		return "", fmt.Errorf("redis: writing a grant: %w", err)
	}
	return string(text), nil
}

// parseGrant reads a grant's hash; nil if there is none.
func parseGrant(fields map[string]string) (*store.GrantRecord, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	var g store.GrantRecord
	if err := json.Unmarshal([]byte(fields[fieldDocument]), &g.Grant); err != nil {
		return nil, fmt.Errorf("redis: %w: %w", errDamaged, err)
	}
	var errs [6]error
	g.Generation, errs[0] = strconv.ParseUint(fields[fieldGeneration], 10, 64)
	g.RotatedAt, errs[1] = parseStamp(fields[fieldRotated])
	g.Expires, errs[2] = parseStamp(fields[fieldExpires])
	g.Keep, errs[3] = parseOptional(fields[fieldKeep])
	g.UsedAt, errs[4] = parseStamp(fields[fieldUsed])
	g.Revoked, errs[5] = parseOptional(fields[fieldRevoked])
	g.UsedFrom = fields[fieldFrom]
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("redis: grant: %w", err)
	}
	return &g, nil
}

// pairs makes a map of what a script returns for a hash.
func pairs(list []any) map[string]string {
	out := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		key, _ := list[i].(string)
		out[key], _ = list[i+1].(string)
	}
	return out
}

// mark is a used key as it is kept: two times and the id of the call.
func mark(first, until time.Time, call string) (string, error) {
	from, err1 := stamp(first)
	to, err2 := stamp(until)
	return from + to + call, errors.Join(err1, err2)
}

// parseMark reads what mark wrote.
func parseMark(text string) (first, until time.Time, err error) {
	if len(text) < 2*stampLen {
		return first, until, fmt.Errorf("redis: %w: a mark of %d bytes", errDamaged, len(text))
	}
	first, err1 := parseStamp(text[:stampLen])
	until, err2 := parseStamp(text[stampLen : 2*stampLen])
	return first, until, errors.Join(err1, err2)
}

// clientText is a client's record as it is kept: version, 1 if deleted, the id of
// the call, JSON.
func clientText(rec store.ClientRecord, call string) (string, error) {
	if err := checkText(rec.Metadata); err != nil {
		return "", err
	}
	rec.Changed = rec.Changed.UTC()
	text, err := json.Marshal(rec)
	if err != nil {
		return "", fmt.Errorf("redis: writing a client: %w", err)
	}
	deleted := 0
	if rec.Deleted {
		deleted = 1
	}
	return fmt.Sprintf("%d %d %s %s", rec.Version, deleted, call, text), nil
}

// parseClient reads what clientText wrote.
func parseClient(text string) (store.ClientRecord, error) {
	var rec store.ClientRecord
	parts := strings.SplitN(text, " ", 4)
	if err := json.Unmarshal([]byte(parts[len(parts)-1]), &rec); err != nil {
		return rec, fmt.Errorf("redis: client: %w: %w", errDamaged, err)
	}
	return rec, nil
}
