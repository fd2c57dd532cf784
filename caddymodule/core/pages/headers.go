package pages

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
)

// closed is the policy that allows nothing.
const closed = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// SetHeaders sets the headers of everything that a browser may show or follow,
// also of what only redirects: no framing (OAuth 2.1 §7.10), no referrer that
// would carry a code or state away (RFC 9700 §4.2.4), no caching, no guessing
// of types, no content of any kind. [Site.Write] allows a page what it has.
//
// Cross-Origin-Opener-Policy is left out on purpose. Web clients open the
// sign-in as a popup; any value but the default, even
// same-origin-allow-popups, would cut the popup off from the page that opened
// it, which would then take the sign-in for cancelled.
func SetHeaders(h http.Header) {
	h.Set("Content-Security-Policy", closed)
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
}

// pagePolicy allows a page its own style sheet, pictures of this host and the
// icon that stands in the page, and nothing else: no script, by default-src.
//
// A page that asks something has no form-action at all. Chromium applies it to
// every redirect that follows the POST, also to those that the client's own
// site makes after it got its code, so that no list of origins could be
// complete, and the sign-in would end at a white page. All markup is ours and
// escaped, so there is no form but ours for it to stop.
func pagePolicy(nonce string, asks bool) string {
	policy := "default-src 'none'; style-src 'nonce-" + nonce + "'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"
	if asks {
		return policy
	}
	return policy + "; form-action 'none'"
}

// SourceHash returns the source expression that lets a Content-Security-Policy
// allow one inline script or style sheet (CSP Level 3 §2.3.1), without quotes.
func SourceHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
