package oidc

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// issuer is the configured issuer identifier.
type issuer struct {
	// text is the identifier byte for byte: it is compared and never changed.
	text string
	url  *url.URL
}

// maxIssuer bounds an issuer identifier, in bytes.
const maxIssuer = 500

// parseIssuer checks an issuer identifier (OpenID Connect Discovery §3).
func parseIssuer(text string) (issuer, error) {
	if text == "" {
		return issuer{}, errors.New("the issuer is missing: write login oidc https://accounts.example.com")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil, len(text) > maxIssuer, strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '|' }):
		return issuer{}, errors.New("the issuer is not a URL such as https://accounts.example.com")
	case strings.HasSuffix(u.Path, "/.well-known/openid-configuration"):
		return issuer{}, fmt.Errorf("the issuer is the URL before /.well-known/openid-configuration: write %s",
			strings.TrimSuffix(text, "/.well-known/openid-configuration"))
	case u.RawQuery != "", u.ForceQuery, strings.Contains(text, "#"), u.User != nil:
		return issuer{}, errors.New("the issuer has a query, a fragment or a user name, which no issuer has")
	}
	if err := checkURL(u, isLoopback(u.Hostname())); err != nil {
		return issuer{}, fmt.Errorf("the issuer %s %w", text, err)
	}
	return issuer{text, u}, nil
}

// checkURL reports why no request should go to a URL. Plain http is for
// loopback addresses only, and only where insecure allows it.
func checkURL(u *url.URL, insecure bool) error {
	switch {
	case u.Hostname() == "":
		return errors.New("has no host")
	case u.User != nil:
		return errors.New("has a user name")
	case u.Fragment != "":
		return errors.New("has a fragment")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && insecure && isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("does not use https (plain http is for localhost only)")
}

// isLoopback reports whether a host is this machine.
func isLoopback(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

// loopback reports whether the provider runs on this machine.
func (i issuer) loopback() bool { return isLoopback(i.url.Hostname()) }

// Providers that need to be known by name.
const (
	brandGoogle    = "Google"
	brandMicrosoft = "Microsoft"
)

// brands are the names of well-known providers by host; a dot at the beginning
// stands for all hosts below.
var brands = []struct{ host, name string }{
	{"accounts.google.com", brandGoogle},
	{"login.microsoftonline.com", brandMicrosoft},
	{"login.microsoftonline.us", brandMicrosoft},
	{"login.partner.microsoftonline.cn", brandMicrosoft},
	{"sts.windows.net", brandMicrosoft},
	{"gitlab.com", "GitLab"},
	{"slack.com", "Slack"},
	{".okta.com", "Okta"},
	{".okta-emea.com", "Okta"},
	{".oktapreview.com", "Okta"},
	{".auth0.com", "Auth0"},
	{".onelogin.com", "OneLogin"},
}

// brand returns the name of a well-known provider, or nothing.
func (i issuer) brand() string {
	host := strings.ToLower(i.url.Hostname())
	for _, b := range brands {
		if host == b.host || strings.HasPrefix(b.host, ".") && strings.HasSuffix(host, b.host) {
			return b.name
		}
	}
	return ""
}

// label is what people call the provider.
func (i issuer) label() string {
	if name := i.brand(); name != "" {
		return name
	}
	host := []rune(i.url.Host)
	return string(host[:min(len(host), maxLabel)])
}

// tenantPlaceholder stands in the issuer of Entra's documents for all tenants
// where their tokens have the tenant's id.
const tenantPlaceholder = "{tenantid}"

// everyTenant are the words that stand in a URL of Entra for all tenants.
var everyTenant = []string{"common", "organizations"}

// forAllTenants reports whether Entra serves every tenant under this issuer.
func (i issuer) forAllTenants() bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(i.url.Path, "/"), "/")
	return i.brand() == brandMicrosoft && slices.Contains(everyTenant, first)
}

// templateOf reports whether what a document calls its issuer is the template
// for this one: the same but for the tenant.
func (i issuer) templateOf(document string) bool {
	if strings.Count(document, tenantPlaceholder) != 1 {
		return false
	}
	return slices.ContainsFunc(everyTenant, func(word string) bool {
		return strings.Replace(document, "/"+tenantPlaceholder+"/", "/"+word+"/", 1) == i.text
	})
}
