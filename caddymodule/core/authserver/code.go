package authserver

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/seal"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// codeData is what an authorization code is bound to (OAuth 2.1 §4.1.2). It is
// sealed: the client carries it and can't read it, the challenge included. It
// becomes a grant, and with it single use, when the code is redeemed.
type codeData struct {
	Nonce       []byte     `json:"n"`
	Client      []byte     `json:"c"`           // SHA-256 of the client_id
	Metadata    string     `json:"m,omitempty"` // hash of the client's metadata, if they can change
	Snapshot    *snapshot  `json:"d,omitempty"` // what its document said
	RedirectURI string     `json:"r"`
	Challenge   string     `json:"p"`
	Resource    string     `json:"a"` // audience
	Scope       string     `json:"s"`
	User        store.User `json:"u"`
	AuthTime    int64      `json:"t"`
	Issued      int64      `json:"i"` // in milliseconds since 1970
}

// nonceSize is the size of a code's nonce in bytes.
const nonceSize = 16

// newNonce returns the nonce of a code that is like no other.
func newNonce() []byte {
	b := make([]byte, nonceSize)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return b
}

// newCode returns the code for an approved request. Codes with one nonce become
// one grant, so only one of them is good.
func (s *Server) newCode(req authorizationRequest, who login.Person, nonce []byte) (string, error) {
	d := codeData{
		Nonce:       nonce,
		Client:      clientHash(req.client.ID),
		Metadata:    req.client.hash(),
		Snapshot:    req.client.snapshot(),
		RedirectURI: req.redirectURI,
		Challenge:   req.challenge,
		Resource:    req.resource.Audience(),
		Scope:       req.scope.String(),
		User:        userOf(who),
		AuthTime:    who.AuthTime.Unix(),
		Issued:      s.after(who.Subject).UnixMilli(),
	}
	text, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("encoding a code: %w", err)
	}
	return s.deps.Keys.Ring().Sealer.Seal(keys.PurposeCode, text, s.now().Add(s.cfg.Lifetimes.Code))
}

var (
	errCodeInvalid = errors.New("the code is not one of this server")
	errCodeExpired = errors.New("the code has expired")
)

// openCode reads a code. An expired one is returned with errCodeExpired, so
// that its replay can still be noticed.
func (s *Server) openCode(code string, now time.Time) (codeData, error) {
	var d codeData
	text, err := s.deps.Keys.Ring().Sealer.Open(keys.PurposeCode, code, now)
	expired := errors.Is(err, seal.ErrExpired)
	if err != nil && !expired {
		return d, errCodeInvalid
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return d, errCodeInvalid
	}
	if expired {
		return d, errCodeExpired
	}
	return d, nil
}

// grantID derives the id of the grant that a code becomes. The code can't be
// found from it.
func (d codeData) grantID() string {
	sum := sha256.Sum256(append([]byte("mcp_auth grant\x00"), d.Nonce...))
	return base64.RawURLEncoding.EncodeToString(sum[:grantIDSize])
}

func clientHash(id string) []byte {
	sum := sha256.Sum256([]byte(id))
	return sum[:]
}
