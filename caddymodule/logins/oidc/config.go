package oidc

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
)

// Values of the option client_auth (RFC 6749 §2.3.1).
const (
	authBasic = "basic"
	authPost  = "post"
)

// Values of the option email_verified.
const (
	verifiedClaim   = "claim"
	verifiedRequire = "require"
	verifiedTrust   = "trust"
)

const (
	defaultID     = "oidc"
	defaultLeeway = 30 * time.Second
	maxLeeway     = 5 * time.Minute
	maxLabel      = 40 // characters
)

// Names of claims.
const (
	claimSubject = "sub"
	claimName    = "name"
	claimEmail   = "email"
	claimGroups  = "groups"
)

// What the options look like.
var (
	idFormat     = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	tenantFormat = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	domainFormat = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+$`)
	scopeFormat  = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]+$`) // RFC 6749 §3.3
	paramFormat  = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
)

// protocolParams are the parameters that the protocol needs for itself, or that
// would change what comes back and how (OpenID Connect Core §3.1.2.1, §6).
var protocolParams = []string{
	"response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "nonce",
	"code_challenge", "code_challenge_method", "request", "request_uri", "registration",
	"client_secret", "client_assertion", "client_assertion_type", "code", "code_verifier", "grant_type",
	"dpop_jkt", "id_token_hint", "max_age",
}

// changingClaims can be chosen or changed by the people themselves, or pass
// from one person to the next. Who keys accounts on them gives accounts away.
var changingClaims = []string{
	"email", "upn", "preferred_username", "unique_name", "verified_primary_email", "name", "nickname",
	"given_name", "family_name", "phone_number", "login", "username", "groups", "iss", "aud", "azp", "nonce", "sid",
}

// configure fills in placeholders and defaults, and reports what can't work.
func (l *Login) configure() error {
	if err := l.replace(caddy.NewReplacer()); err != nil {
		return err
	}
	l.setDefaults()
	for _, check := range []func() error{
		l.checkIssuer, l.checkClient, l.checkScopes, l.checkNames, l.checkPins, l.checkClaims, l.checkParams,
	} {
		if err := check(); err != nil {
			return fmt.Errorf("login oidc: %w", err)
		}
	}
	l.version = l.pinsVersion()
	return nil
}

// replace fills placeholders in. An error names the option and never the value:
// what looks like a placeholder may be a part of the secret.
func (l *Login) replace(repl *caddy.Replacer) error {
	for name, field := range map[string]*string{
		"issuer": &l.Issuer, "client_id": &l.ClientID, "client_secret": &l.ClientSecret,
	} {
		value, err := repl.ReplaceOrErr(*field, true, true)
		if err != nil {
			return fmt.Errorf("login oidc: %s has a placeholder that is unknown or empty: set the variable that it names", name)
		}
		*field = value
	}
	return nil
}

func (l *Login) setDefaults() {
	fallback := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	fallback(&l.ID, defaultID)
	fallback(&l.EmailVerified, verifiedClaim)
	fallback(&l.Claims.Subject, claimSubject)
	fallback(&l.Claims.Name, claimName)
	fallback(&l.Claims.Email, claimEmail)
	fallback(&l.Claims.Groups, claimGroups)
	if len(l.Scopes) == 0 {
		l.Scopes = []string{"openid", "email", "profile"}
	}
	if l.ClockLeeway == 0 {
		l.ClockLeeway = caddy.Duration(defaultLeeway)
	}
}

func (l *Login) checkIssuer() error {
	var err error
	l.issuer, err = parseIssuer(l.Issuer)
	return err
}

func (l *Login) checkClient() error {
	leeway := time.Duration(l.ClockLeeway)
	switch {
	case l.ClientID == "":
		return errors.New("client_id is missing: register this server with the provider and write the id that it gave here")
	case hasControl(l.ClientID), hasControl(l.ClientSecret):
		return errors.New("client_id or client_secret has a control character, such as the newline at the end of a file")
	case l.ClientAuth != "" && l.ClientAuth != authBasic && l.ClientAuth != authPost:
		return fmt.Errorf("client_auth is %q: write basic or post, or leave it out", l.ClientAuth)
	case l.ClientAuth != "" && l.ClientSecret == "":
		return errors.New("client_auth says how the client_secret is sent, and there is none: add it, or leave client_auth out")
	case leeway < time.Second || leeway > maxLeeway:
		return fmt.Errorf("clock_leeway is %s: write a time between 1s and %s", leeway, maxLeeway)
	}
	return nil
}

func (l *Login) checkScopes() error {
	for _, scope := range l.Scopes {
		if !scopeFormat.MatchString(scope) {
			return fmt.Errorf("scope %q is not one: separate scopes with spaces", scope)
		}
	}
	if !slices.Contains(l.Scopes, "openid") {
		return errors.New("scopes lack openid, without which there is no ID token: add it")
	}
	if slices.Contains(l.Scopes, "offline_access") {
		return errors.New("scope offline_access asks for a refresh token, which this server has no use for and Google refuses: leave it out")
	}
	return nil
}

func (l *Login) checkNames() error {
	if !idFormat.MatchString(l.ID) {
		return fmt.Errorf("id %q is not one: use up to 32 lower-case letters, digits and hyphens", l.ID)
	}
	if l.Label == "" {
		l.Label = l.issuer.label()
	}
	if !utf8.ValidString(l.Label) || utf8.RuneCountInString(l.Label) > maxLabel || hasControl(l.Label) {
		return fmt.Errorf("label is not at most %d ordinary characters", maxLabel)
	}
	return nil
}

func (l *Login) checkPins() error {
	for i, domain := range l.HostedDomains {
		l.HostedDomains[i] = strings.ToLower(domain)
		if !domainFormat.MatchString(l.HostedDomains[i]) {
			return fmt.Errorf("hosted_domain %q is not a domain such as example.com", domain)
		}
	}
	for i, tenant := range l.Tenants {
		l.Tenants[i] = strings.ToLower(tenant)
		if !tenantFormat.MatchString(l.Tenants[i]) {
			return fmt.Errorf("tenant %q is not the directory (tenant) id that Entra shows, such as 11111111-2222-3333-4444-555555555555", tenant)
		}
	}
	if l.issuer.forAllTenants() && len(l.Tenants) == 0 {
		return fmt.Errorf("the issuer %s lets people of every company in: name yours with tenant, or use the issuer of your tenant, https://login.microsoftonline.com/<tenant id>/v2.0", l.Issuer)
	}
	return nil
}

func (l *Login) checkClaims() error {
	for _, claim := range []string{l.Claims.Subject, l.Claims.Name, l.Claims.Email, l.Claims.Groups} {
		if len(claim) > 200 || hasControl(claim) || strings.ContainsRune(claim, ' ') {
			return fmt.Errorf("claim %q is not the name of one", claim)
		}
	}
	if slices.Contains(changingClaims, strings.ToLower(l.Claims.Subject)) {
		return fmt.Errorf("claim subject %s: that can change or pass to another person, who would then get this one's access; leave it out to use sub", l.Claims.Subject)
	}
	switch l.EmailVerified {
	case verifiedClaim, verifiedTrust:
	case verifiedRequire:
		if l.Claims.Email != claimEmail {
			return fmt.Errorf("email_verified require: the provider's email_verified speaks of the claim email and not of %s", l.Claims.Email)
		}
	default:
		return fmt.Errorf("email_verified is %q: write claim, require or trust", l.EmailVerified)
	}
	return nil
}

func (l *Login) checkParams() error {
	for name, value := range l.AuthorizeParams {
		switch {
		case slices.Contains(protocolParams, strings.ToLower(name)):
			return fmt.Errorf("authorize_param %s belongs to the protocol and can't be set", name)
		case !paramFormat.MatchString(name) || hasControl(value):
			return fmt.Errorf("authorize_param %q is not a parameter", name)
		case name == "prompt" && slices.Contains(strings.Fields(value), "none"):
			return errors.New("authorize_param prompt none: then nobody could sign in who has not done so elsewhere")
		case name == "hd" && len(l.HostedDomains) > 0:
			return errors.New("authorize_param hd: hosted_domain sends it already")
		case name == "resource" && l.issuer.brand() == brandMicrosoft:
			return errors.New("authorize_param resource: Entra refuses it together with scopes; leave it out")
		}
	}
	return nil
}

// pinsVersion changes when the configuration admits other accounts. It ends the
// sessions of before, as nobody remembers which account they came from.
func (l *Login) pinsVersion() string {
	domains, tenants := slices.Sorted(slices.Values(l.HostedDomains)), slices.Sorted(slices.Values(l.Tenants))
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", l.Issuer, domains, tenants, l.EmailVerified))
	return hex.EncodeToString(sum[:8])
}

// hasControl reports whether a text has characters that are not printed.
func hasControl(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) })
}
