package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"math/big"
)

// errSignature says nothing of why: the token is not what its key signed.
var errSignature = errors.New("the signature is wrong")

// saltAsLongAsHash: RFC 7518 §3.5 leaves no other length of the salt.
var saltAsLongAsHash = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}

// Verify checks the token's signature and returns its payload. The algorithm is
// the one that belongs to the key: a token that names another is refused
// (RFC 8725 §3.1).
//
// The signature is handed to the standard library as it stands, and not to a
// JOSE library: that would take apart once more what ReadCompact has read, by
// laxer rules, and makes some 300 allocations of it, which is what a token costs
// whoever sees it for the first time.
func (t Token) Verify(alg string, key any) ([]byte, error) {
	if alg == "" || canonical(t.Header.Algorithm) != canonical(alg) {
		return nil, errSignature
	}
	if !signedBy(canonical(alg), key, []byte(t.signed), t.signature) {
		return nil, errSignature
	}
	return t.Unverified, nil
}

// signedBy reports whether the key signed the text with the algorithm (RFC 7518
// §3.2 to §3.5, RFC 8037 §3.1). A key of another kind signs nothing.
func signedBy(alg string, key any, text, signature []byte) bool {
	switch alg {
	case "ES256", "ES384", "ES512":
		public, ok := key.(*ecdsa.PublicKey)
		return ok && signedByCurve(alg, public, text, signature)
	case "RS256":
		public, ok := key.(*rsa.PublicKey)
		digest := sha256.Sum256(text)
		return ok && rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature) == nil
	case "PS256":
		public, ok := key.(*rsa.PublicKey)
		digest := sha256.Sum256(text)
		return ok && rsa.VerifyPSS(public, crypto.SHA256, digest[:], signature, saltAsLongAsHash) == nil
	case "EdDSA":
		public, ok := key.(ed25519.PublicKey)
		return ok && len(public) == ed25519.PublicKeySize && ed25519.Verify(public, text, signature)
	case "HS256": // of our own ring; no key of a Set is for it
		secret, ok := key.([]byte)
		if !ok || len(secret) == 0 {
			return false
		}
		mac := hmac.New(sha256.New, secret)
		mac.Write(text)
		return hmac.Equal(mac.Sum(nil), signature)
	}
	return false
}

// signedByCurve takes a signature as r and s, each exactly as long as the curve's
// order (RFC 7518 §3.4).
func signedByCurve(alg string, public *ecdsa.PublicKey, text, signature []byte) bool {
	if public.Curve == nil || algorithms[alg] != public.Curve.Params().Name {
		return false
	}
	size := (public.Curve.Params().BitSize + 7) / 8
	if len(signature) != 2*size {
		return false
	}
	r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
	return ecdsa.Verify(public, digestOf(alg, text), r, s)
}

func digestOf(alg string, text []byte) []byte {
	switch alg {
	case "ES384":
		sum := sha512.Sum384(text)
		return sum[:]
	case "ES512":
		sum := sha512.Sum512(text)
		return sum[:]
	}
	sum := sha256.Sum256(text)
	return sum[:]
}
