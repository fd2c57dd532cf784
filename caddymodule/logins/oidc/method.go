package oidc

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

const (
	// maxCode bounds an authorization code, in bytes.
	maxCode = 8 << 10
	// finishTimeout bounds all requests of one Finish together: a person waits.
	finishTimeout = 20 * time.Second
)

// Info implements login.Method. The namespace is the issuer, as a subject is
// unique at its issuer only (OpenID Connect Core §5.7).
func (l *Login) Info() login.Info {
	return login.Info{
		ID: l.ID, Label: l.Label, Namespace: l.issuer.text,
		Open: len(l.HostedDomains)+len(l.Tenants) == 0,
	}
}

// saved is what Finish needs of Begin.
type saved struct {
	Verifier string `json:"v"`
	Nonce    string `json:"n"`
	Started  int64  `json:"t"` // seconds since 1970
	Force    bool   `json:"f,omitempty"`
}

// Begin sends the browser to the provider.
func (l *Login) Begin(ctx context.Context, r login.Request) (login.Step, error) {
	if r.State == "" || r.CallbackURL == "" {
		return login.Step{}, errors.New("a sign-in needs a state and a callback")
	}
	p, err := l.provider.get(ctx)
	if err != nil {
		return login.Step{}, err
	}
	s := saved{Verifier: oauth2.GenerateVerifier(), Nonce: rand.Text(), Started: l.now().Unix(), Force: r.Force}
	save, err := json.Marshal(s)
	if err != nil {
		return login.Step{}, fmt.Errorf("encoding a sign-in: %w", err)
	}
	target := l.oauth(p.doc, r.CallbackURL).AuthCodeURL(r.State, l.options(s)...)
	return login.Step{Redirect: target, Save: save}, nil
}

// oauth is this server as the provider's client.
func (l *Login) oauth(p *provider, callback string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: l.ClientID, ClientSecret: l.ClientSecret, Endpoint: p.endpoint, RedirectURL: callback, Scopes: l.Scopes,
	}
}

// options are the parameters of an authorization request that x/oauth2 doesn't
// set itself. Those of the protocol come last, so that nothing replaces them.
func (l *Login) options(s saved) []oauth2.AuthCodeOption {
	var options []oauth2.AuthCodeOption
	set := func(name, value string) { options = append(options, oauth2.SetAuthURLParam(name, value)) }
	for name, value := range l.AuthorizeParams {
		set(name, value)
	}
	switch len(l.HostedDomains) {
	case 0:
	case 1:
		set("hd", l.HostedDomains[0])
	default:
		set("hd", "*")
	}
	if s.Force {
		prompt := "login"
		if l.issuer.brand() == brandGoogle {
			prompt = "select_account" // the strongest that Google knows
		}
		set("prompt", prompt)
		set("max_age", "0")
	}
	return append(options, oidc.Nonce(s.Nonce), oauth2.S256ChallengeOption(s.Verifier))
}

// Finish redeems the code that the browser came back with.
func (l *Login) Finish(ctx context.Context, r login.Request) (login.Step, error) {
	var s saved
	if json.Unmarshal(r.Saved, &s) != nil || s.Verifier == "" || s.Nonce == "" {
		return login.Step{}, denied("the sign-in was not begun here")
	}
	ctx, cancel := context.WithTimeout(ctx, finishTimeout)
	defer cancel()
	p, err := l.provider.get(ctx)
	if err != nil {
		return login.Step{}, err
	}
	code, err := l.answer(p.doc, r.Query)
	if err != nil {
		return login.Step{}, err
	}
	id, err := l.redeem(ctx, p.doc, redemption{code: code, callback: r.CallbackURL, saved: s})
	if err != nil {
		return login.Step{}, err
	}
	return login.Step{Identity: id}, nil
}

// answer takes the code out of an authorization response. The issuer comes
// first, in errors too: what another provider says is no answer (RFC 9207 §2.4,
// SPEC O23).
func (l *Login) answer(p *provider, q url.Values) (string, error) {
	for _, name := range []string{"iss", "error", "error_description", "code"} {
		if len(q[name]) > 1 {
			return "", denied("the answer has several parameters %s", name)
		}
	}
	switch iss := q.Get("iss"); {
	case q.Has("iss") && !l.namesUs(p, iss):
		return "", denied("the answer comes from the issuer %q", clean(iss, maxText))
	case !q.Has("iss") && p.sendsIssuer:
		return "", denied("the answer names no issuer, and those of this provider do")
	}
	code := q.Get("code")
	switch {
	case q.Has("error") && code != "":
		return "", denied("the answer has a code and an error")
	case q.Has("error"):
		return "", callbackError(q.Get("error"), q.Get("error_description"))
	case code == "" || len(code) > maxCode:
		return "", denied("the answer has no code")
	}
	return code, nil
}

// Recheck returns the identity as it is: only the provider knows more, and it
// is asked at the next sign-in. It denies accounts that the configuration has
// stopped admitting since.
func (l *Login) Recheck(_ context.Context, id login.Identity) (login.Identity, error) {
	if id.Version != "" && id.Version != l.version {
		return login.Identity{}, denied("the accounts that the login %s admits have changed since", l.ID)
	}
	if l.issuer.forAllTenants() {
		tenant, _, _ := strings.Cut(id.Subject, tenantSeparator)
		if !slices.Contains(l.Tenants, tenant) {
			return login.Identity{}, denied("the tenant is not admitted any more")
		}
	}
	return id, nil
}
