package oidc

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/oauth2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// maxText bounds what an error repeats of the provider's words, in bytes.
const maxText = 200

// denied returns a login.ErrDenied with the reason for the log.
func denied(format string, args ...any) error {
	return fmt.Errorf("%w: %w", login.ErrDenied, bounded(fmt.Errorf(format, args...)))
}

// bounded shortens and cleans an error's text, because the provider may have
// had a say in it. It still is the same error to errors.Is.
func bounded(err error) error { return boundedError{err} }

type boundedError struct{ err error }

// Error implements error.
func (e boundedError) Error() string { return clean(e.err.Error(), 2*maxText) }

// Unwrap returns the error behind.
func (e boundedError) Unwrap() error { return e.err }

// clean returns what can be shown of a text, at most so many bytes of it.
func clean(text string, limit int) string {
	shown := strings.Map(func(r rune) rune {
		if r == utf8.RuneError || hasControl(string(r)) {
			return -1
		}
		return r
	}, text[:min(len(text), limit)])
	if len(text) > limit {
		shown += "…"
	}
	return shown
}

// Error codes with which a provider says that this person does not get in now:
// RFC 6749 §4.1.2.1 and OpenID Connect Core §3.1.2.6.
var denials = []string{
	"access_denied", "login_required", "consent_required", "interaction_required", "account_selection_required",
	"unmet_authentication_requirements",
}

// Error codes with which it says that something is wrong with the provider or
// with this server's registration.
var faults = []string{
	"server_error", "temporarily_unavailable",
	"invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope", "invalid_client",
	"invalid_target", "request_not_supported", "request_uri_not_supported", "registration_not_supported",
}

// callbackError turns an error response of the authorization endpoint into one
// of ours. A code that nobody knows is a denial: nothing is known to be down.
func callbackError(code, description string) error {
	code, description = clean(code, 60), clean(description, maxText)
	switch {
	case slices.Contains(denials, code):
		return denied("the provider answered %s (%q)", code, description)
	case slices.Contains(faults, code):
		return fmt.Errorf("the provider answered %s (%q)", code, description)
	}
	return denied("the provider answered with the unknown error %q (%q)", code, description)
}

// exchangeError turns an error of the token endpoint into one of ours (RFC 6749
// §5.2). The answer's body is never repeated, and no secret that was sent.
func exchangeError(err error, secrets ...string) error {
	answer, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return fmt.Errorf("redeeming the code: %w", bounded(err))
	}
	status := 0
	if answer.Response != nil {
		status = answer.Response.StatusCode
	}
	description := answer.ErrorDescription
	for _, secret := range secrets {
		if secret != "" {
			description = strings.ReplaceAll(description, secret, "…")
		}
	}
	code, description := clean(answer.ErrorCode, 60), clean(description, maxText)
	switch {
	case code == "invalid_grant":
		return denied("the provider refused the code (%q)", description)
	case code == "invalid_client", code == "unauthorized_client", code == "" && (status == 401 || status == 403):
		return fmt.Errorf("the provider refused our client credentials: check client_id, client_secret and client_auth (status %d, %s, %q)",
			status, code, description)
	}
	return fmt.Errorf("redeeming the code: the provider answered with status %d, %q (%q)", status, code, description)
}
