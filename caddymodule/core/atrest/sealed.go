package atrest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/seal"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// prefix tells sealed text from text in the clear. Text that begins with it is
// always sealed, also without a secret, so that there is no doubt.
const prefix = "sealed:"

// errKeyGone says that a value was sealed with a key that was retired.
var errKeyGone = errors.New("atrest: sealed with a key that is gone")

// errDamaged says that a value does not open although its key is there.
var errDamaged = errors.New("atrest: a sealed value does not open: it was damaged, or taken from another record")

// errUnfit says that a record can't be sealed as it is.
var errUnfit = errors.New("atrest: a record can't be sealed")

// private is what of a grant is in Grant.Sealed.
type private struct {
	User           store.User `json:"user"`
	ClientName     string     `json:"client_name,omitempty"`
	RedirectURI    string     `json:"redirect_uri,omitempty"`
	ClientHash     string     `json:"client_hash,omitempty"`
	ClientMetadata string     `json:"client_metadata,omitempty"`
	// Sealed is the caller's, who has no use for it; it comes back even so.
	Sealed string `json:"sealed,omitempty"`
}

// check refuses text that JSON would silently change.
func (p *private) check() error {
	u := &p.User
	texts := append([]string{
		u.Subject, u.Name, u.Email, u.GroupsOf, u.Login, u.Version, p.ClientName, p.RedirectURI, p.ClientHash, p.ClientMetadata, p.Sealed,
	}, u.Groups...)
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return fmt.Errorf("%w: text of a grant is not valid UTF-8", errUnfit)
		}
	}
	return nil
}

// sealGrant returns the grant as it goes to the inner store.
func (s *Store) sealGrant(g store.Grant) (store.Grant, error) {
	from, err := s.sealText(keys.PurposeUsedFrom, g.ID, g.UsedFrom)
	if err != nil {
		return g, err
	}
	g.UsedFrom = from
	// What looks sealed is sealed, so that there is no doubt.
	if !s.keys.SealsData() && g.Sealed == "" {
		return g, nil
	}
	p := private{g.User, g.ClientName, g.RedirectURI, g.ClientHash, g.ClientMetadata, g.Sealed}
	if err := p.check(); err != nil {
		return g, err
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false) // it would only make it longer
	if err := enc.Encode(p); err != nil {
		return g, fmt.Errorf("atrest: %w", err)
	}
	ring := s.keys.Ring()
	if g.Sealed, err = ring.Data.SealFor(keys.PurposeGrant, g.ID, text.Bytes()); err != nil {
		return g, fmt.Errorf("atrest: %w", err)
	}
	if len(g.Sealed) > keys.MaxSealed {
		return g, fmt.Errorf("%w: the grant would have %d bytes", errUnfit, len(g.Sealed))
	}
	g.User = store.User{Subject: ring.PersonName(g.User.Subject)}
	g.ClientName, g.RedirectURI, g.ClientHash, g.ClientMetadata = "", "", "", ""
	return g, nil
}

// openGrant returns the grant that came from the inner store as it was before.
func (s *Store) openGrant(ctx context.Context, now time.Time, g store.Grant) (store.Grant, error) {
	from, err := s.openText(ctx, now, keys.PurposeUsedFrom, g.ID, g.UsedFrom)
	if err != nil && !errors.Is(err, errKeyGone) { // the address alone may be missing
		return store.Grant{}, fmt.Errorf("grant %q: %w", g.ID, err)
	}
	g.UsedFrom = from
	if g.Sealed == "" {
		return g, nil
	}
	text, err := s.open(ctx, now, keys.PurposeGrant, g.ID, g.Sealed)
	if err != nil {
		return store.Grant{}, fmt.Errorf("grant %q: %w", g.ID, err)
	}
	var p private
	if err := json.Unmarshal(text, &p); err != nil {
		return store.Grant{}, fmt.Errorf("grant %q: %w: %w", g.ID, errDamaged, err)
	}
	g.User, g.ClientName, g.RedirectURI = p.User, p.ClientName, p.RedirectURI
	g.ClientHash, g.ClientMetadata, g.Sealed = p.ClientHash, p.ClientMetadata, p.Sealed
	return g, nil
}

// sealRevocation returns the entry as it goes to the inner store.
func (s *Store) sealRevocation(r store.Revocation) (store.Revocation, error) {
	subject, err := s.sealText(keys.PurposePerson, "", r.Subject)
	r.Subject = subject
	return r, err
}

// sealText returns text as it goes to the inner store: sealed for its owner
// where there is a secret. Empty text stays empty.
func (s *Store) sealText(p seal.Purpose, owner, text string) (string, error) {
	if text == "" || !s.keys.SealsData() && !strings.HasPrefix(text, prefix) {
		return text, nil
	}
	sealed, err := s.keys.Ring().Data.SealFor(p, owner, []byte(text))
	if err != nil {
		return "", fmt.Errorf("atrest: %w", err)
	}
	return prefix + sealed, nil
}

// openText returns text that came from the inner store as it was before.
func (s *Store) openText(ctx context.Context, now time.Time, p seal.Purpose, owner, text string) (string, error) {
	sealed, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return text, nil
	}
	opened, err := s.open(ctx, now, p, owner, sealed)
	return string(opened), err
}

// open returns what was sealed for an owner. If the key is not there it reads the
// ring again, once: another node may have made the key just now.
func (s *Store) open(ctx context.Context, now time.Time, p seal.Purpose, owner, value string) ([]byte, error) {
	data := s.keys.Ring().Data
	text, err := data.OpenFor(p, owner, value)
	if err == nil {
		return text, nil
	}
	id, known := data.KeyOf(value)
	if !known && id != "" {
		if err := s.keys.Refresh(ctx, now); err != nil {
			return nil, fmt.Errorf("atrest: sealed with a key that is not here: %w", err)
		}
		data = s.keys.Ring().Data
		if _, known = data.KeyOf(value); !known {
			return nil, errKeyGone
		}
		text, err = data.OpenFor(p, owner, value)
	}
	if err != nil {
		return nil, errDamaged
	}
	return text, nil
}
