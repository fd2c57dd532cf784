package authserver

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"math/big"
	"strings"
)

// This file has what a personal access token looks like: a prefix by which
// secret scanners find it, 32 random bytes, and a checksum, so that a word that
// only looks like one is told from it without asking anybody. It has letters
// and digits only: a double click marks the whole of it.
//
//	mcp_pat_[0-9A-Za-z]{49}

const (
	// PersonalPrefix begins every personal access token.
	PersonalPrefix = "mcp_pat_"

	personalRandom = 43 // digits of base 62 that 32 bytes need
	personalCheck  = 6  // those of a CRC-32
	base62Digits   = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// newPersonalText returns a token that is like no other.
func newPersonalText() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	text := PersonalPrefix + base62(new(big.Int).SetBytes(b), personalRandom)
	return text + personalChecksum(text)
}

// personalChecksum is that of a token without it. It proves nothing: anybody can
// work it out.
func personalChecksum(text string) string {
	return base62(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(text)))), personalCheck)
}

// base62 writes a number with a fixed count of digits.
func base62(n *big.Int, digits int) string {
	text := n.Text(62)
	return strings.Repeat("0", digits-len(text)) + text
}

// validPersonalText reports whether a text can be a token of any server.
func validPersonalText(text string) bool {
	body, ok := strings.CutPrefix(text, PersonalPrefix)
	if !ok || len(body) != personalRandom+personalCheck || strings.Trim(body, base62Digits) != "" {
		return false
	}
	end := len(text) - personalCheck
	return text[end:] == personalChecksum(text[:end])
}

// personalID is the id of a token's grant, and all of the token that is stored:
// its hash. It has another length than the ids of programs' grants, so that no
// refresh token and no code is ever for it, and one that can be typed.
func personalID(text string) string {
	sum := sha256.Sum256([]byte("mcp_auth personal token\x00" + text))
	return hex.EncodeToString(sum[:])
}
