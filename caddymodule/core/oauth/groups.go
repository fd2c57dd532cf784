package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
)

// GroupsOfAll is the value of AccessTokenClaims.GroupsOf in a token that names
// all groups of its user.
const GroupsOfAll = "*"

// GroupsOf is short and tells sets of names of groups apart, in any order. It is
// never empty.
func GroupsOf(names []string) string {
	sorted := slices.Compact(slices.Sorted(slices.Values(names)))
	sum := sha256.Sum256([]byte(strings.Join(sorted, "\x00")))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}
