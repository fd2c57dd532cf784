package oauth

import "encoding/json"

// WellKnown suffixes (RFC 8615) that this server answers.
const (
	WellKnownServer   = "/.well-known/oauth-authorization-server"
	WellKnownOpenID   = "/.well-known/openid-configuration"
	WellKnownResource = "/.well-known/oauth-protected-resource"
)

// ServerMetadata is the authorization server metadata document of RFC 8414 §2,
// with the members that OpenID Connect Discovery §3 demands, so that one
// document serves both well-known names. Empty members are left out.
//
// Not included: signed_metadata, and the members of endpoints that this server
// does not have.
type ServerMetadata struct {
	Issuer                        string   `json:"issuer"`
	AuthorizationEndpoint         string   `json:"authorization_endpoint"`
	TokenEndpoint                 string   `json:"token_endpoint"`
	JWKSURI                       string   `json:"jwks_uri"`
	RegistrationEndpoint          string   `json:"registration_endpoint,omitempty"`
	ScopesSupported               []string `json:"scopes_supported,omitempty"`
	ResponseTypesSupported        []string `json:"response_types_supported"`
	ResponseModesSupported        []string `json:"response_modes_supported"`
	GrantTypesSupported           []string `json:"grant_types_supported"`
	CodeChallengeMethodsSupported []string `json:"code_challenge_methods_supported"`
	ServiceDocumentation          string   `json:"service_documentation,omitempty"`
	ProtectedResources            []string `json:"protected_resources,omitempty"`

	// How clients authenticate at each endpoint. The algorithms are those of
	// private_key_jwt, and left out where it is.
	TokenEndpointAuthMethodsSupported []string `json:"token_endpoint_auth_methods_supported"`
	TokenEndpointAuthAlgorithms       []string `json:"token_endpoint_auth_signing_alg_values_supported,omitempty"`
	RevocationEndpoint                string   `json:"revocation_endpoint"`
	RevocationAuthMethods             []string `json:"revocation_endpoint_auth_methods_supported"`
	RevocationAuthAlgorithms          []string `json:"revocation_endpoint_auth_signing_alg_values_supported,omitempty"`
	IntrospectionEndpoint             string   `json:"introspection_endpoint,omitempty"`
	IntrospectionAuthMethods          []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
	IntrospectionAuthAlgorithms       []string `json:"introspection_endpoint_auth_signing_alg_values_supported,omitempty"`

	// IssParameterSupported is authorization_response_iss_parameter_supported
	// of RFC 9207 §3.
	IssParameterSupported bool `json:"authorization_response_iss_parameter_supported"`

	// SubjectTypesSupported and the members below are demanded by OpenID
	// Connect Discovery §3; clients refuse the document without them, although
	// no ID tokens are issued. The two booleans would default to surprising
	// values if they were left out.
	SubjectTypesSupported             []string `json:"subject_types_supported"`
	IDTokenSigningAlgValuesSupported  []string `json:"id_token_signing_alg_values_supported"`
	RequestParameterSupported         bool     `json:"request_parameter_supported"`
	RequestURIParameterSupported      bool     `json:"request_uri_parameter_supported"`
	ClientIDMetadataDocumentSupported bool     `json:"client_id_metadata_document_supported,omitempty"`
}

// ResourceMetadata is the protected resource metadata document of RFC 9728 §2.
// Empty members are left out.
//
// Not included: signed_metadata, jwks_uri (a resource of this server signs
// nothing), and the members of mutual TLS and DPoP.
type ResourceMetadata struct {
	Resource               string   `json:"resource"`
	AuthorizationServers   []string `json:"authorization_servers"`
	ScopesSupported        []string `json:"scopes_supported,omitempty"`
	BearerMethodsSupported []string `json:"bearer_methods_supported"`
	ResourceName           string   `json:"resource_name,omitempty"`
	ResourceDocumentation  string   `json:"resource_documentation,omitempty"`
}

// Client authentication methods at the token endpoint (RFC 7591 §2).
const (
	AuthMethodNone  = "none"
	AuthMethodPost  = "client_secret_post"
	AuthMethodBasic = "client_secret_basic"
	// AuthMethodPrivateKeyJWT is of RFC 7523 and OpenID Connect Core §9.
	AuthMethodPrivateKeyJWT = "private_key_jwt"
)

// Grant types (RFC 7591 §2).
const (
	GrantAuthorizationCode = "authorization_code"
	GrantRefreshToken      = "refresh_token"
	GrantClientCredentials = "client_credentials"
)

// Application types (OpenID Connect Dynamic Client Registration §2).
const (
	ApplicationWeb    = "web"
	ApplicationNative = "native"
)

// ClientInformation is the answer to a registration (RFC 7591 §3.2.1): every
// registered member, also those that the server filled in or changed. Empty
// members are left out and never null. It is also the answer of the client
// configuration endpoint (RFC 7592 §3), with the last two members.
type ClientInformation struct {
	ClientID                string   `json:"client_id"`
	ClientSecret            string   `json:"client_secret,omitempty"`
	ClientIDIssuedAt        int64    `json:"client_id_issued_at"`
	ClientSecretExpiresAt   *int64   `json:"client_secret_expires_at,omitempty"`
	ClientName              string   `json:"client_name,omitempty"`
	ClientURI               string   `json:"client_uri,omitempty"`
	RedirectURIs            []string `json:"redirect_uris"`
	GrantTypes              []string `json:"grant_types"`
	ResponseTypes           []string `json:"response_types"`
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method"`
	ApplicationType         string   `json:"application_type,omitempty"`
	Scope                   string   `json:"scope,omitempty"`
	// JWKS and JWKSURI are the keys of a private_key_jwt client, one of the two.
	JWKS                    json.RawMessage `json:"jwks,omitempty"`
	JWKSURI                 string          `json:"jwks_uri,omitempty"`
	RegistrationClientURI   string          `json:"registration_client_uri,omitempty"`
	RegistrationAccessToken string          `json:"registration_access_token,omitempty"`
}

// TokenResponse is the success answer of the token endpoint (RFC 6749 §5.1).
// scope is always present, because the grant may be smaller than the request.
type TokenResponse struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope"`
}

// AccessTokenType is the typ header of JWT access tokens (RFC 9068 §2.1).
const AccessTokenType = "at+jwt"

// AccessTokenClaims are the claims of an access token (RFC 9068 §2.2): what
// authserver signs and resource checks. Times are seconds since the epoch.
type AccessTokenClaims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	ClientID string `json:"client_id"`
	Scope    string `json:"scope,omitempty"`
	JWTID    string `json:"jti"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	// NotBefore is honoured and never set.
	NotBefore int64 `json:"nbf,omitempty"`
	AuthTime  int64 `json:"auth_time,omitempty"`
	// GrantID is a private claim: revoking the grant ends the token.
	GrantID string `json:"grant_id"`
	Name    string `json:"name,omitempty"`
	Email   string `json:"email,omitempty"`
	// EmailVerified says that the login vouches for the address.
	EmailVerified bool `json:"email_verified,omitempty"`
	// Groups are the user's groups (RFC 9068 §2.2.3.1); GroupsUnknown says that
	// there may be more that are not known here.
	Groups        []string `json:"groups,omitempty"`
	GroupsUnknown bool     `json:"groups_unknown,omitempty"`
	// GroupsOf is a private claim: which groups would be among Groups if the user
	// were in them. GroupsOfAll are all, GroupsOf of some names those, and empty
	// is none: the token says nothing of groups.
	GroupsOf string `json:"groups_of,omitempty"`
	// Login is the id of the way in which the user signed in.
	Login string `json:"login,omitempty"`
	// ClientName lets logs name the program behind a client identifier that
	// says nothing to people.
	ClientName string `json:"client_name,omitempty"`
}
