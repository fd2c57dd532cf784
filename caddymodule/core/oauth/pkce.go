package oauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
)

// MethodS256 is the only code challenge method of this server (RFC 7636 §4.3).
// "plain" is not supported.
const MethodS256 = "S256"

// ValidCodeChallenge reports whether s has the shape of an S256 challenge: the
// unpadded base64url form of 32 bytes.
func ValidCodeChallenge(s string) bool {
	if len(s) != 43 || strings.ContainsAny(s, "\r\n") { // the decoder skips line breaks
		return false
	}
	_, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil
}

// ValidCodeVerifier reports whether s has 43 to 128 unreserved characters
// (RFC 7636 §4.1).
func ValidCodeVerifier(s string) bool {
	if len(s) < 43 || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-', c == '.', c == '_', c == '~':
		default:
			return false
		}
	}
	return true
}

// VerifyS256 reports whether the verifier belongs to the challenge
// (RFC 7636 §4.6). Malformed values never match, also when both are empty.
func VerifyS256(challenge, verifier string) bool {
	if !ValidCodeChallenge(challenge) || !ValidCodeVerifier(verifier) {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	want := base64.RawURLEncoding.EncodeToString(sum[:])
	return subtle.ConstantTimeCompare([]byte(want), []byte(challenge)) == 1
}
