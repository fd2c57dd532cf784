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
	Client      []byte     `json:"c"` // SHA-256 of the client_id
	RedirectURI string     `json:"r"`
	Challenge   string     `json:"p"`
	Resource    string     `json:"a"` // audience
	Scope       string     `json:"s"`
	User        store.User `json:"u"`
	AuthTime    int64      `json:"t"`
}

// newCode returns the code for an approved request.
func (s *Server) newCode(req authorizationRequest, id login.Identity) (string, error) {
	d := codeData{
		Nonce:       make([]byte, 16),
		Client:      clientHash(req.client.ID),
		RedirectURI: req.redirectURI,
		Challenge:   req.challenge,
		Resource:    req.resource.Audience(),
		Scope:       req.scope.String(),
		User:        store.User{Subject: id.Subject, Name: id.Name, Email: id.Email},
		AuthTime:    id.AuthTime.Unix(),
	}
	_, _ = rand.Read(d.Nonce) // never fails: crypto/rand ends the program instead
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
