// Package passhash compares passwords and client secrets with their bcrypt and
// argon2id hashes, as `caddy hash-password` prints them.
//
// It owns what hashing costs: which hashes are too expensive to be accepted, how
// many are computed at a time, and the fakes that make an unknown name cost what
// a known one does. Whom a hash belongs to is the business of its callers.
package passhash
