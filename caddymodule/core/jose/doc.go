// Package jose reads signed tokens and public keys the strict way, for all who
// check signatures: our own access tokens, those of trusted issuers, and
// clients' assertions. [ReadCompact] takes a token apart, [ParseSet] reads a
// JWK set, [Verify] checks a signature with an algorithm that the verifier
// chose, and [Remote] finds keys at an address.
//
// Cryptography is jwx's. What claims mean is the business of whoever reads
// them, and keys of our own are made in package keys.
package jose
