// Package jose reads signed tokens and public keys the strict way, for all who
// check signatures: our own access tokens, those of trusted issuers, and
// clients' assertions. [ReadCompact] takes a token apart, [ParseSet] reads a
// JWK set, [Token.Verify] checks a signature with the algorithm that belongs to
// the verifier's key, and [Remote] finds keys at an address.
//
// Signatures are checked by the standard library; jwx takes apart the keys of a
// set. What claims mean is the business of whoever reads them, and keys of our own
// are made, and sign, in package keys.
package jose
