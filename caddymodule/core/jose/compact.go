package jose

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
)

// This file reads JWS in compact serialisation (RFC 7515 §7.1) by the advice
// of RFC 8725. Left out: the JSON serialisations, encryption, critical header
// extensions (§4.1.11), unencoded payloads (RFC 7797), and keys that a token
// names itself (jku, x5u, jwk, x5c: §4.1.2 to §4.1.6).

// MaxLength bounds a token that is looked at, in bytes.
const MaxLength = 16 << 10

// Header is the JOSE header, as far as it may matter. Members are read with
// their exact names, and once.
type Header struct {
	Algorithm string   `json:"alg"`
	KeyID     string   `json:"kid"`
	Type      string   `json:"typ"`
	Critical  []string `json:"crit"`
	Encoded   *bool    `json:"b64"`
}

// HasType reports whether the header's typ is one of these media types, which
// are given in lower case and without "application/" (RFC 7515 §4.1.9). An
// empty one stands for a header without typ.
func (h Header) HasType(types ...string) bool {
	return slices.Contains(types, strings.TrimPrefix(strings.ToLower(h.Type), "application/"))
}

// Token is a compact JWS whose signature nobody has checked.
type Token struct {
	Header Header
	// Unverified is the payload as the sender of the token likes it. It may say
	// who ought to verify the token, and nothing else.
	Unverified []byte

	signed    string // what the signature is for, as it was sent
	signature []byte
}

var (
	errNotCompact = errors.New("the token is not a compact JWS")
	errEncoding   = errors.New("the token is not strict base64url")
)

// decode reads a part of a token. It has one spelling only (RFC 7515 §2).
func decode(part string) ([]byte, error) {
	text, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil || strings.ContainsAny(part, "\r\n") {
		return nil, errEncoding
	}
	return text, nil
}

// ReadCompact takes a token apart, and refuses what has to be refused before
// any key is looked up.
func ReadCompact(raw string) (Token, error) {
	if len(raw) > MaxLength {
		return Token{}, errors.New("the token is too long")
	}
	if strings.Count(raw, ".") != 2 {
		return Token{}, errNotCompact
	}
	header, rest, _ := strings.Cut(raw, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	text, err := decode(header)
	if err != nil {
		return Token{}, err
	}
	t := Token{signed: raw[:len(raw)-len(signature)-1]}
	if t.Unverified, err = decode(payload); err != nil {
		return Token{}, err
	}
	if t.signature, err = decode(signature); err != nil {
		return Token{}, err
	}
	if err := json.Unmarshal(text, &t.Header); err != nil {
		return Token{}, fmt.Errorf("the header is malformed: %w", err)
	}
	if t.Header.Critical != nil || t.Header.Encoded != nil {
		return Token{}, errors.New("the header demands an extension")
	}
	return t, nil
}

// VerifyAny reads a token, and checks that one of the keys signed it with the
// algorithm that it names, which has to fit the key and to be in Algorithms.
func VerifyAny(raw string, keys []Key) ([]byte, error) {
	payload, _, err := VerifyBy(raw, keys)
	return payload, err
}

// VerifyBy is VerifyAny that also returns the key.
func VerifyBy(raw string, keys []Key) ([]byte, Key, error) {
	t, err := ReadCompact(raw)
	if err != nil {
		return nil, Key{}, err
	}
	for _, k := range keys {
		if !k.Fits(t.Header.Algorithm) {
			continue
		}
		if payload, err := t.Verify(t.Header.Algorithm, k.public); err == nil {
			return payload, k, nil
		}
	}
	return nil, Key{}, errSignature
}
