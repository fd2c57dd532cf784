package oauth

import (
	"crypto/sha256"
	"encoding/base64"
)

// ClientKey is what a client is called where its client_id would be too long, as
// those are that hold a registration: in the store, and in the feed of
// revocations. It says nothing of the client to who does not know the id.
func ClientKey(clientID string) string {
	sum := sha256.Sum256([]byte(clientID))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
