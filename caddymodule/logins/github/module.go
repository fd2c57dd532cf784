package github

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/oauth2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

func init() {
	caddy.RegisterModule(new(Login))
}

// Login signs people in with GitHub. It needs an OAuth app there, whose
// callback URL is the issuer followed by `/oauth/callback/` and the id.
type Login struct {
	// The name of this login in URLs, logs and grants: up to 32 lower-case
	// letters, digits and hyphens. Default: `github`
	ID string `json:"id,omitempty"`

	// What the button says after "Continue with". Default: `GitHub`
	Label string `json:"label,omitempty"`

	// The client ID of the OAuth app. Placeholders such as `{env.GITHUB_ID}`
	// are replaced when the configuration is loaded. Required.
	ClientID string `json:"client_id,omitempty"`

	// A client secret of the OAuth app. Placeholders are replaced. Required.
	ClientSecret string `json:"client_secret,omitempty"`

	// Organizations by login, without regard to case. A person must be an
	// active member of one of them, or of one of the teams. Default: none, and
	// everyone with an account can sign in; the rules say who may come in.
	// Example: `["acme"]`
	Organizations []string `json:"organizations,omitempty"`

	// Teams as organization and slug, without regard to case. A person must be
	// a member of one of them, or of one of the organizations. Default: none.
	// Example: `["acme/leads"]`
	Teams []string `json:"teams,omitempty"`

	// Fetches the person's organizations and teams for rules, even if the two
	// options above are not set. It makes the app ask for the scope
	// `read:org`. Default: false
	Groups bool `json:"groups,omitempty"`

	// Where GitHub is: only scheme and host, and https except on localhost.
	// Placeholders are replaced. It is part of everyone's identity. Default:
	// `https://github.com`
	BaseURL string `json:"base_url,omitempty"`

	// Where its API is. Placeholders are replaced. Default:
	// `https://api.github.com` for github.com, the subdomain `api` for GHE.com,
	// and `/api/v3` below the base URL for GitHub Enterprise Server.
	APIURL string `json:"api_url,omitempty"`

	config oauth2.Config // without the redirect URI
	client *http.Client
	now    func() time.Time
}

// CaddyModule returns the Caddy module information.
func (*Login) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "mcp_auth.logins.github",
		New: func() caddy.Module { return new(Login) },
	}
}

// Provision checks the options. It asks GitHub nothing.
func (l *Login) Provision(caddy.Context) error {
	if err := l.replace(caddy.NewReplacer()); err != nil {
		return err
	}
	switch {
	case l.ClientID == "":
		return errors.New("login github needs client_id: the client ID of an OAuth app in GitHub's developer settings")
	case l.ClientSecret == "":
		return errors.New("login github needs client_secret: a client secret of the OAuth app")
	}
	if err := l.setURLs(); err != nil {
		return err
	}
	if err := l.setMembership(); err != nil {
		return err
	}
	if l.ID == "" {
		l.ID = "github"
	}
	if l.Label == "" {
		l.Label = "GitHub"
	}
	l.config = oauth2.Config{
		ClientID:     l.ClientID,
		ClientSecret: l.ClientSecret,
		Scopes:       l.scopes(),
		Endpoint: oauth2.Endpoint{
			AuthURL:   l.BaseURL + "/login/oauth/authorize",
			TokenURL:  l.BaseURL + "/login/oauth/access_token",
			AuthStyle: oauth2.AuthStyleInParams,
		},
	}
	l.client, l.now = newClient(), time.Now
	return nil
}

// Cleanup closes the connections to GitHub that are kept open.
func (l *Login) Cleanup() error {
	if l.client != nil {
		l.client.CloseIdleConnections()
	}
	return nil
}

// replace fills placeholders in. One that has no value is an error, or a
// missing environment variable would become an empty secret.
func (l *Login) replace(repl *caddy.Replacer) error {
	for name, field := range map[string]*string{
		"client_id": &l.ClientID, "client_secret": &l.ClientSecret, "base_url": &l.BaseURL, "api_url": &l.APIURL,
	} {
		value, err := repl.ReplaceOrErr(*field, true, true)
		if err != nil {
			return placeholderError(name, *field)
		}
		*field = value
	}
	return nil
}

// lookups are the placeholders that a configuration may have in a credential.
var lookups = regexp.MustCompile(`\{(env|file|vars|system)\.[^{}]*\}`)

// placeholderError names the placeholder if it is one, and nothing else of the
// value: what looks like a placeholder may be a part of the secret.
func placeholderError(name, value string) error {
	if found := lookups.FindString(value); found != "" {
		return fmt.Errorf("login github: %s: the placeholder %s has no value", name, found)
	}
	return fmt.Errorf(`login github: %s has a placeholder that does not exist; write \{ for a brace that is none`, name)
}

// setURLs checks where GitHub and its API are.
func (l *Login) setURLs() error {
	if l.BaseURL == "" {
		l.BaseURL = "https://github.com"
	}
	base, err := checkURL("base_url", l.BaseURL)
	if err != nil {
		return err
	}
	if base.Path != "" {
		return fmt.Errorf("login github: base_url %q has a path: it is only scheme and host, such as https://github.example.com; api_url says where the API is", l.BaseURL)
	}
	l.BaseURL = base.String()
	switch host := base.Hostname(); {
	case l.APIURL != "":
		api, err := checkURL("api_url", l.APIURL)
		if err != nil {
			return err
		}
		l.APIURL = api.String()
	case host == "github.com", strings.HasSuffix(host, ".ghe.com"):
		l.APIURL = base.Scheme + "://api." + base.Host
	default:
		l.APIURL = l.BaseURL + "/api/v3"
	}
	return nil
}

// checkURL reads a URL that credentials are sent to. The result has a host in
// lower case and no slash at its end.
func checkURL(option, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		// The URL is not repeated: what does not parse may have a password in it.
		return nil, fmt.Errorf("login github: %s is not a URL such as https://github.example.com", option)
	}
	u.Host = strings.ToLower(u.Host)
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	if u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return nil, fmt.Errorf("login github: %s %q must use https, because secrets are sent there", option, u)
	}
	return u, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// Names as GitHub hands them out, in lower case.
var (
	organizationName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,99}$`)
	teamSlug         = regexp.MustCompile(`^[a-z0-9_-][a-z0-9._-]{0,254}$`)
)

// setMembership brings organizations and teams to lower case: GitHub takes no
// two that differ in case only.
func (l *Login) setMembership() error {
	for i, name := range l.Organizations {
		l.Organizations[i] = strings.ToLower(name)
		if !organizationName.MatchString(l.Organizations[i]) {
			return fmt.Errorf("login github: organizations: %q is not the login of an organization, such as acme", name)
		}
	}
	for i, name := range l.Teams {
		l.Teams[i] = strings.ToLower(name)
		org, slug, _ := strings.Cut(l.Teams[i], "/")
		if !organizationName.MatchString(org) || !teamSlug.MatchString(slug) {
			return fmt.Errorf("login github: teams: %q is not an organization and a team's slug, such as acme/leads", name)
		}
	}
	return nil
}

// members reports whether only members of something may sign in.
func (l *Login) members() bool { return len(l.Organizations)+len(l.Teams) > 0 }

// scopes are what the app asks for.
func (l *Login) scopes() []string {
	if l.Groups || l.members() {
		return []string{"user:email", "read:org"}
	}
	return []string{"user:email"}
}

// Interface guards
var (
	_ login.Method       = (*Login)(nil)
	_ caddy.Provisioner  = (*Login)(nil)
	_ caddy.CleanerUpper = (*Login)(nil)
)
