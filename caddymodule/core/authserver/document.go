package authserver

import (
	"errors"
	"mime"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// This file judges client metadata documents by
// draft-ietf-oauth-client-id-metadata-document-01 §4.1, with the metadata of
// RFC 7591 §2. Left out: tos_uri, policy_uri and contacts, which nothing here
// shows; scope, because what may be asked for is the configuration's matter;
// and everything that is not known here, which is ignored.

// maxInlineKeys bounds the jwks member, in bytes: it travels in codes.
const maxInlineKeys = 2 << 10

// clientDocument is a client metadata document, as far as it is used.
type clientDocument struct {
	registrationRequest `json:",inline"`

	ClientID              string         `json:"client_id"`
	ClientSecret          jsontext.Value `json:"client_secret"`
	ClientSecretExpiresAt jsontext.Value `json:"client_secret_expires_at"`
	LogoURI               string         `json:"logo_uri"`
	// AuthMethods are all methods that the client can use, of which
	// token_endpoint_auth_method is the one that it prefers. No standard has
	// this member of a client; ChatGPT's and opencode's documents do.
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
}

// errNotJSON says that what the host sent is no document at all, such as a page
// for robots: not the word of the client's developers.
var errNotJSON = errors.New("it is not sent as application/json")

// decodeDocument reads the document that was fetched from a client_id.
func (s *Server) decodeDocument(id string, r *fetch.Response) (Client, error) {
	mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	structured := strings.HasPrefix(mt, "application/") && strings.HasSuffix(mt, "+json")
	if err != nil || mt != "application/json" && !structured {
		return Client{}, errNotJSON
	}
	return s.parseDocument(id, r.Body)
}

// parseDocument checks a document and returns the client that it describes.
// Errors quote nothing of it.
func (s *Server) parseDocument(id string, body []byte) (Client, error) {
	var doc clientDocument
	if err := json.Unmarshal(body, &doc); err != nil {
		return Client{}, errors.New("it is not a JSON object of client metadata with unique names and the types of RFC 7591 section 2")
	}
	c := Client{ID: id, Origin: ClientDocument, Name: cleanName(doc.ClientName), URI: cleanURI(doc.ClientURI), LogoURI: cleanLogoURI(doc.LogoURI)}
	switch {
	case doc.ClientID != id: // byte for byte (§4.1)
		return Client{}, errors.New("its client_id is not the URL that it was fetched from")
	case doc.ClientSecret != nil || doc.ClientSecretExpiresAt != nil:
		return Client{}, errors.New("it has a client_secret, which everybody can read")
	case c.Name == "":
		return Client{}, errors.New("it has no client_name")
	}
	var err error
	if c.RedirectURIs, err = s.registerRedirectURIs(doc.registrationRequest); err != nil {
		return Client{}, err
	}
	if c.ApplicationType, err = applicationType(doc.ApplicationType, c.RedirectURIs); err != nil {
		return Client{}, err
	}
	if len(doc.GrantTypes) == 0 {
		// RFC 7591 §2. Who wants refresh tokens says so (SPEC E20).
		doc.GrantTypes = []string{oauth.GrantAuthorizationCode}
	}
	if c.GrantTypes, err = grantTypes(doc.registrationRequest); err != nil {
		return Client{}, err
	}
	return c, doc.authentication(&c)
}

// authentication settles how the client authenticates. A document that names
// private_key_jwt makes a confidential client (§6.2), unless it says that it
// also allows none: such a client authenticates when it presents something.
func (d clientDocument) authentication(c *Client) error {
	preferred := d.TokenEndpointAuthMethod
	if preferred == "" {
		// RFC 7591 §2 would mean client_secret_basic, which no document can have.
		preferred = oauth.AuthMethodNone
		if len(d.AuthMethods) > 0 && !slices.Contains(d.AuthMethods, preferred) {
			preferred = oauth.AuthMethodPrivateKeyJWT
		}
	}
	offers := func(method string) bool { return preferred == method || slices.Contains(d.AuthMethods, method) }
	switch preferred {
	case oauth.AuthMethodNone, oauth.AuthMethodPrivateKeyJWT:
	default:
		return errors.New("its token_endpoint_auth_method needs a secret or is not supported: none and private_key_jwt are")
	}
	c.AuthMethod = oauth.AuthMethodNone
	if !offers(oauth.AuthMethodPrivateKeyJWT) {
		return nil
	}
	err := takeKeys(c, d.JWKS, d.JWKSURI)
	switch {
	case err == nil:
		c.AuthMethod, c.AlsoPublic = oauth.AuthMethodPrivateKeyJWT, offers(oauth.AuthMethodNone)
	case preferred == oauth.AuthMethodNone:
		c.JWKS, c.JWKSURI = nil, "" // it can't use what it does not prefer
	default:
		return err
	}
	return nil
}

// cleanLogoURI drops a logo_uri that is not fetched in any case (SPEC E23).
func cleanLogoURI(uri string) string {
	if fetch.CheckURL(uri) != nil {
		return ""
	}
	return uri
}
