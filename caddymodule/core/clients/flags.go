package clients

import (
	"slices"
	"strings"
)

// Flag names something that a client needs from a server. Most of it every
// client gets; the transcripts show that it is there for those that need it.
type Flag string

// The flags.
const (
	// SecretForRedirect is for clients that register without a way to
	// authenticate and then insist on a secret: they get one, by their redirect
	// URI. This is the only flag that the server acts upon.
	SecretForRedirect Flag = "secret_for_redirect"
	// AnyPort is for clients that listen on a port of the moment, whatever they
	// registered (RFC 8252 §7.3).
	AnyPort Flag = "any_port"
	// MixedRedirects is for clients that register the redirect URIs of all
	// their editions at once: web, loopback and private-use scheme.
	MixedRedirects Flag = "mixed_redirects"
	// OddRedirects is for clients whose redirect URIs are unusual and yet good:
	// a URI of its own for every connection or server.
	OddRedirects Flag = "odd_redirects"
	// ResourceVariants is for clients that leave resource out, or write it with
	// a query or a slash that the metadata has not.
	ResourceVariants Flag = "resource_variants"
	// OfflineAccess is for clients that ask for every scope of the metadata and
	// offline_access with them.
	OfflineAccess Flag = "offline_access"
	// OtherGrants is for clients that list grant types that this server lacks.
	OtherGrants Flag = "other_grants"
	// MoreWellKnown is for clients that look for metadata in places that no
	// challenge named.
	MoreWellKnown Flag = "more_well_known"
	// Browser is for clients that live in a browser and need CORS everywhere.
	Browser Flag = "browser"
	// RegistersAgain is for clients that register for every connection.
	RegistersAgain Flag = "registers_again"
	// RefreshTwice is for clients that present one refresh token twice, because
	// two of their machines refresh at once.
	RefreshTwice Flag = "refresh_twice"
	// IssuerCompared is for clients that refuse an answer without iss, or with
	// one that differs from the metadata by a byte (RFC 9207).
	IssuerCompared Flag = "issuer_compared"
	// Prompt is for clients that send prompt=consent as OpenID providers want it
	// with offline_access.
	Prompt Flag = "prompt"
	// EarlyProbes is for clients that send requests to the MCP endpoint without
	// a token first, several times and by several methods.
	EarlyProbes Flag = "early_probes"
)

// Notes say in a few words what each flag is about, for documentation.
var Notes = map[Flag]string{
	SecretForRedirect: "gets a secret although it declares none",
	AnyPort:           "a port of the moment",
	MixedRedirects:    "web, loopback and app redirect URIs in one registration",
	OddRedirects:      "a redirect URI of its own for each connection",
	ResourceVariants:  "`resource` missing, or spelled with a slash or a query",
	OfflineAccess:     "asks for `offline_access`",
	OtherGrants:       "lists grant types that do not exist here",
	MoreWellKnown:     "searches further metadata addresses",
	Browser:           "CORS",
	RegistersAgain:    "registers for every connection",
	RefreshTwice:      "presents one refresh token twice",
	IssuerCompared:    "compares the issuer byte by byte",
	Prompt:            "sends `prompt=consent`",
	EarlyProbes:       "calls several times before it signs in",
}

// Has reports whether the client needs this.
func (c Client) Has(f Flag) bool { return slices.Contains(c.Flags, f) }

// NeedSecret reports whether clients with these redirect URIs, all of them,
// insist on a secret whatever they declare. Only https URIs that are listed
// byte for byte count: who else registers them gets a secret for a client whose
// codes go to that client's owner.
func NeedSecret(redirectURIs []string) bool {
	return len(redirectURIs) > 0 && !slices.ContainsFunc(redirectURIs, func(uri string) bool {
		return !slices.ContainsFunc(all(), func(c Client) bool {
			return c.Has(SecretForRedirect) && strings.HasPrefix(uri, "https://") && slices.Contains(c.RedirectURIs, uri)
		})
	})
}
