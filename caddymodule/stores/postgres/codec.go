package postgres

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// grantColumns are what scanGrant reads.
const grantColumns = "id, subject, created, generation, rotated_at, expires, used_at, used_from, revoked, keep, body"

// grantArgs returns the values of grantColumns. What has a column of its own is
// not in the body.
func grantArgs(g store.GrantRecord) ([]any, error) {
	body := g.Grant
	u := &body.User
	texts := append([]string{
		body.ID, body.ClientID, body.ClientName, body.RedirectURI, u.Subject, u.Name, u.Email, u.GroupsOf, u.Login, u.Version,
		body.Resource, body.Scope, body.UsedFrom, body.ClientHash, body.ClientMetadata, body.Sealed,
	}, u.Groups...)
	if err := checkText(texts...); err != nil {
		return nil, err
	}
	body.ID, u.Subject, body.UsedFrom, body.Generation = "", "", "", 0
	body.Created, body.RotatedAt, body.Expires, body.UsedAt, body.Revoked = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	// JSON would drop the seconds of an odd time zone.
	body.AuthTime, body.NotAfter = body.AuthTime.UTC(), body.NotAfter.UTC()
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("postgres: encoding a grant: %w", err)
	}
	return []any{
		g.ID, g.User.Subject, moment(g.Created), int64(g.Generation), moment(g.RotatedAt), moment(g.Expires),
		moment(g.UsedAt), g.UsedFrom, orNull(g.Revoked), orNull(g.Keep), string(text),
	}, nil
}

// scanGrant reads grantColumns.
func scanGrant(row pgx.Row) (store.GrantRecord, error) {
	var at struct{ created, rotated, expires, used time.Time }
	var revoked, keep *time.Time
	var generation int64
	var id, subject, usedFrom, body string
	err := row.Scan(&id, &subject, &at.created, &generation, &at.rotated, &at.expires, &at.used, &usedFrom, &revoked, &keep, &body)
	if err != nil {
		return store.GrantRecord{}, err
	}
	var g store.GrantRecord
	if err := json.Unmarshal([]byte(body), &g.Grant); err != nil {
		return store.GrantRecord{}, fmt.Errorf("postgres: a grant's body is damaged: %w", err)
	}
	g.ID, g.User.Subject, g.UsedFrom, g.Generation = id, subject, usedFrom, uint64(generation)
	g.Created, g.RotatedAt, g.Expires, g.UsedAt = at.created.UTC(), at.rotated.UTC(), at.expires.UTC(), at.used.UTC()
	g.Revoked, g.Keep = orZero(revoked), orZero(keep)
	return g, nil
}

// moment is a time as the database keeps it: to the microsecond, so that what
// is compared there and what is compared here is one thing.
func moment(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// orNull is moment, with NULL for no time.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = moment(t)
	return &t
}

// orZero is the way back from orNull.
func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
