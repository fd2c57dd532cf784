package oidc

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// redemption is a code and what it was asked for with.
type redemption struct {
	code, callback string
	saved          saved
}

// redeem turns a code into an identity.
func (l *Login) redeem(ctx context.Context, p *provider, r redemption) (*login.Identity, error) {
	exchange := oidc.ClientContext(ctx, l.client)
	answer, err := l.oauth(p, r.callback).Exchange(exchange, r.code, oauth2.VerifierOption(r.saved.Verifier))
	if err != nil {
		return nil, exchangeError(err, l.ClientSecret, r.code, r.saved.Verifier)
	}
	raw, ok := answer.Extra("id_token").(string)
	switch {
	case !ok || raw == "":
		return nil, errors.New("the provider's answer has no ID token: is it an OpenID provider, and is this client allowed the scope openid?")
	case len(raw) > maxToken:
		return nil, denied("the ID token is larger than %d bytes", maxToken)
	}
	all, err := l.verify(ctx, p, raw, answer.AccessToken)
	if err != nil {
		return nil, err
	}
	if err := l.checkFresh(p, all, r.saved); err != nil {
		return nil, err
	}
	if err := l.checkAccount(all); err != nil {
		return nil, err
	}
	subject, err := l.subject(p, all)
	if err != nil {
		return nil, err
	}
	about := all
	if l.UserInfo {
		if about, err = l.userinfo(ctx, p, all, answer.AccessToken); err != nil {
			return nil, err
		}
	}
	return l.identity(subject, about)
}

// verify checks an ID token as a client has to (OpenID Connect Core §3.1.3.7;
// SPEC F38), and returns its claims.
func (l *Login) verify(ctx context.Context, p *provider, raw, accessToken string) (claims, error) {
	keys := &remoteKeys{login: l, algorithms: p.algorithms}
	verifier := oidc.NewVerifier(l.issuer.text, keys, &oidc.Config{
		ClientID: l.ClientID, SupportedSigningAlgs: p.algorithms,
		SkipIssuerCheck: p.template != "", // checkIssuedBy does it for all
		SkipExpiryCheck: true,             // checkTimes does it, with the leeway
	})
	token, err := verifier.Verify(ctx, raw)
	switch {
	case keys.outage != nil:
		return nil, keys.outage
	case err != nil:
		return nil, denied("the ID token: %w", err)
	}
	all, err := claimsOf(token)
	if err == nil && token.AccessTokenHash != "" {
		err = token.VerifyAccessToken(accessToken)
	}
	for _, check := range []func() error{
		func() error { return l.checkIssuedBy(p, all, token) },
		func() error { return l.checkAudience(all) },
		func() error { return l.checkTimes(all) },
	} {
		if err == nil {
			err = check()
		}
	}
	if err != nil {
		return nil, denied("the ID token: %w", err)
	}
	return all, nil
}

// checkIssuedBy wants the issuer, which for many tenants goes with the tenant.
// What the library read has to be what is read here.
func (l *Login) checkIssuedBy(p *provider, all claims, token *oidc.IDToken) error {
	iss := all.text("iss")
	if iss != token.Issuer || all.text(claimSubject) != token.Subject {
		return errors.New("it can be read in two ways")
	}
	if p.template == "" {
		return nil // the library compared it
	}
	tenant := all.text("tid")
	if !slices.Contains(l.Tenants, tenant) || iss != p.issuerOf(tenant) {
		return fmt.Errorf("its issuer is %q and its tenant %q, which is not one that may come in", clean(iss, maxText), clean(tenant, 60))
	}
	return nil
}

// checkAudience wants a token for several to say that this client asked for it
// (OpenID Connect Core §3.1.3.7, 4 and 5).
func (l *Login) checkAudience(all claims) error {
	audience := all.audience()
	azp, there := all["azp"]
	switch {
	case !slices.Contains(audience, l.ClientID):
		return errors.New("it is for another client (aud)")
	case len(audience) > 1 && !there:
		return errors.New("it is for several clients and does not say who asked for it (azp)")
	case there && azp != l.ClientID:
		return errors.New("another client asked for it (azp)")
	}
	return nil
}

// checkTimes wants exp and iat, and minds nbf.
func (l *Login) checkTimes(all claims) error {
	now, leeway := l.now(), time.Duration(l.ClockLeeway)
	exp, hasExp := all.number("exp")
	iat, hasIat := all.number("iat")
	nbf, hasNbf := all.number("nbf")
	_, wantsNbf := all["nbf"]
	latest := now.Add(leeway).Unix()
	switch {
	case !hasExp, !hasIat, wantsNbf && !hasNbf:
		return errors.New("it does not say when it begins and ends (exp, iat)")
	case exp <= now.Add(-leeway).Unix():
		return fmt.Errorf("it expired at %s; if it should not have, compare the clocks", time.Unix(exp, 0).UTC().Format(time.RFC3339))
	case iat > latest, hasNbf && nbf > latest:
		return errors.New("it begins in the future: compare the clocks")
	}
	return nil
}

// checkFresh wants the token to answer this sign-in and no other (SPEC O3, O4).
func (l *Login) checkFresh(p *provider, all claims, s saved) error {
	nonce := all.text("nonce")
	if subtle.ConstantTimeCompare([]byte(nonce), []byte(s.Nonce)) != 1 {
		return denied("the ID token: it belongs to another sign-in (nonce)")
	}
	if !s.Force {
		return nil
	}
	// The person was to prove again who they are (OpenID Connect Core
	// §3.1.2.1, max_age). Not every provider says whether they did.
	at, says := all.number("auth_time")
	earliest := s.Started - int64(time.Duration(l.ClockLeeway)/time.Second)
	switch {
	case !says && p.sendsAuthTime:
		return denied("the ID token: it does not say when the person signed in (auth_time)")
	case says && at < earliest:
		return denied("the ID token: the provider did not ask the person to sign in again (auth_time)")
	}
	return nil
}

// checkAccount admits the pinned domains and tenants only.
func (l *Login) checkAccount(all claims) error {
	if hd := strings.ToLower(all.text("hd")); len(l.HostedDomains) > 0 && !slices.Contains(l.HostedDomains, hd) {
		return denied("the account belongs to the domain %q (hd), which is not one that may come in", clean(hd, 60))
	}
	if tid := all.text("tid"); len(l.Tenants) > 0 && !slices.Contains(l.Tenants, tid) {
		return denied("the account belongs to the tenant %q (tid), which is not one that may come in", clean(tid, 60))
	}
	return nil
}
