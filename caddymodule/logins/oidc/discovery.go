package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// provider is what the discovery document says, checked.
type provider struct {
	endpoint oauth2.Endpoint
	keysURL  string
	userInfo string
	// template is the issuer of the tokens of a provider for many tenants, with
	// the placeholder for the tenant; empty for all others.
	template string
	// algorithms are those that an ID token may be signed with.
	algorithms []string
	// sendsIssuer says that every authorization response names its issuer
	// (RFC 9207 §3).
	sendsIssuer bool
	// sendsAuthTime says that ID tokens say when the person proved who they are.
	sendsAuthTime bool
}

// metadata is the discovery document (OpenID Connect Discovery §3). What is not
// here is read by go-oidc.
type metadata struct {
	Issuer      string   `json:"issuer"`
	KeysURL     string   `json:"jwks_uri"`
	Algorithms  []string `json:"id_token_signing_alg_values_supported"`
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	Claims      []string `json:"claims_supported"`
	SendsIssuer bool     `json:"authorization_response_iss_parameter_supported"`
}

// algorithms are the signatures that are accepted: none with a shared secret
// (RFC 8725 §3.1).
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512,
	oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

// discover fetches and checks the discovery document.
func (l *Login) discover(ctx context.Context) (*provider, error) {
	ctx = oidc.ClientContext(ctx, l.client)
	// The library would compare the issuers too, but knows no template.
	document, err := oidc.NewProvider(oidc.InsecureIssuerURLContext(ctx, l.issuer.text), l.issuer.text)
	if err != nil {
		return nil, fmt.Errorf("discovery at %s: %w", l.issuer.text, bounded(err))
	}
	var m metadata
	if err := document.Claims(&m); err != nil {
		return nil, fmt.Errorf("discovery at %s: %w", l.issuer.text, bounded(err))
	}
	p := &provider{
		endpoint: document.Endpoint(), keysURL: m.KeysURL, userInfo: document.UserInfoEndpoint(),
		sendsIssuer: m.SendsIssuer, sendsAuthTime: slices.Contains(m.Claims, "auth_time"),
	}
	for _, step := range []func(*provider, metadata) error{l.setTemplate, l.checkEndpoints, l.setAlgorithms, l.setAuthStyle} {
		if err := step(p, m); err != nil {
			return nil, fmt.Errorf("discovery at %s: %w", l.issuer.text, bounded(err))
		}
	}
	return p, nil
}

// setTemplate compares the issuers byte for byte (OpenID Connect Discovery
// §4.3). The one exception is Entra's document for all tenants, whose issuer has
// a placeholder: then each token must have a pinned tenant in its place.
func (l *Login) setTemplate(p *provider, m metadata) error {
	switch {
	case m.Issuer == l.issuer.text:
		return nil
	case !l.issuer.templateOf(m.Issuer):
		return fmt.Errorf("the document belongs to the issuer %q: if that is right, write it so, byte for byte", clean(m.Issuer, maxText))
	case len(l.Tenants) == 0:
		return errors.New("the issuer serves every tenant: name yours with tenant")
	}
	p.template = m.Issuer
	return nil
}

// checkEndpoints wants https for every URL that a person, a code or a secret is
// sent to, and for the keys (SPEC F38).
func (l *Login) checkEndpoints(p *provider, _ metadata) error {
	for name, text := range map[string]string{
		"authorization_endpoint": p.endpoint.AuthURL, "token_endpoint": p.endpoint.TokenURL, "jwks_uri": p.keysURL,
		"userinfo_endpoint": p.userInfo,
	} {
		if name == "userinfo_endpoint" && !l.UserInfo {
			continue
		}
		u, err := url.Parse(text)
		if err != nil || text == "" {
			return fmt.Errorf("%s is missing or not a URL", name)
		}
		if err := checkURL(u, l.issuer.loopback()); err != nil {
			return fmt.Errorf("%s %w", name, err)
		}
	}
	return nil
}

// setAlgorithms takes those of the document that are accepted here. A document
// without a list means RS256, which every provider has to know.
func (l *Login) setAlgorithms(p *provider, m metadata) error {
	for _, alg := range algorithms {
		if slices.Contains(m.Algorithms, alg) {
			p.algorithms = append(p.algorithms, alg)
		}
	}
	if len(m.Algorithms) == 0 {
		p.algorithms = []string{oidc.RS256}
	}
	if len(p.algorithms) == 0 {
		return fmt.Errorf("the provider signs ID tokens with %s only, and none of that is safe to accept", strings.Join(m.Algorithms, ", "))
	}
	return nil
}

// setAuthStyle says how the client secret is sent. The library would find out
// by trying, and burn the code with the first try.
func (l *Login) setAuthStyle(p *provider, m metadata) error {
	basic := len(m.AuthMethods) == 0 || slices.Contains(m.AuthMethods, "client_secret_basic")
	switch {
	case l.ClientSecret == "", l.ClientAuth == authPost:
		p.endpoint.AuthStyle = oauth2.AuthStyleInParams
	case l.ClientAuth == authBasic, basic:
		p.endpoint.AuthStyle = oauth2.AuthStyleInHeader
	case slices.Contains(m.AuthMethods, "client_secret_post"):
		p.endpoint.AuthStyle = oauth2.AuthStyleInParams
	default:
		return fmt.Errorf("the provider takes client secrets in none of the ways basic and post, but with %s",
			strings.Join(m.AuthMethods, ", "))
	}
	return nil
}

// namesUs reports whether a text is the provider's issuer: the configured one,
// or what the template makes of a pinned tenant.
func (l *Login) namesUs(p *provider, iss string) bool {
	if p.template == "" {
		return iss == l.issuer.text
	}
	return slices.ContainsFunc(l.Tenants, func(tenant string) bool { return iss == p.issuerOf(tenant) })
}

// issuerOf is the issuer of one tenant's tokens.
func (p *provider) issuerOf(tenant string) string {
	return strings.Replace(p.template, tenantPlaceholder, tenant, 1)
}
