package oauth

import (
	"fmt"
	"net/http"
	"strings"
)

// Error codes of the RFCs that this server implements.
const (
	CodeInvalidRequest          = "invalid_request"           // RFC 6749 §4.1.2.1, §5.2
	CodeInvalidClient           = "invalid_client"            // RFC 6749 §5.2
	CodeInvalidGrant            = "invalid_grant"             // RFC 6749 §5.2
	CodeUnauthorizedClient      = "unauthorized_client"       // RFC 6749 §5.2
	CodeUnsupportedGrantType    = "unsupported_grant_type"    // RFC 6749 §5.2
	CodeUnsupportedTokenType    = "unsupported_token_type"    // RFC 7009 §2.2.1
	CodeUnsupportedResponseType = "unsupported_response_type" // RFC 6749 §4.1.2.1
	CodeInvalidScope            = "invalid_scope"             // RFC 6749 §5.2
	CodeAccessDenied            = "access_denied"             // RFC 6749 §4.1.2.1
	CodeLoginRequired           = "login_required"            // OpenID Core §3.1.2.6
	CodeConsentRequired         = "consent_required"          // OpenID Core §3.1.2.6
	CodeServerError             = "server_error"              // RFC 6749 §4.1.2.1
	CodeTemporarilyUnavailable  = "temporarily_unavailable"   // RFC 6749 §4.1.2.1
	CodeInvalidToken            = "invalid_token"             // RFC 6750 §3.1
	CodeInsufficientScope       = "insufficient_scope"        // RFC 6750 §3.1
	CodeInvalidTarget           = "invalid_target"            // RFC 8707 §2
	CodeInvalidRedirectURI      = "invalid_redirect_uri"      // RFC 7591 §3.2.2
	CodeInvalidClientMetadata   = "invalid_client_metadata"   // RFC 7591 §3.2.2
	CodeInvalidSoftwareStmt     = "invalid_software_statement"
	CodeRequestNotSupported     = "request_not_supported"     // OpenID Core §3.1.2.6
	CodeRequestURINotSupported  = "request_uri_not_supported" // OpenID Core §3.1.2.6
)

// Error is an OAuth error as a client sees it, with the cause that only the
// operator sees. Treat it as a value: the With methods return copies.
type Error struct {
	// Code is one of the Code constants.
	Code string
	// Description says what went wrong and what to do, for the developer of
	// the client. It is safe to send: ASCII without quotes and backslashes.
	Description string
	// Status is the HTTP status where the error is answered directly.
	Status int

	cause error
}

// Errorf makes an error with the status that RFC 6749 §5.2 gives the code: 401
// for invalid_client, 503 for temporarily_unavailable, 500 for server_error,
// otherwise 400. The text is cut down to the characters that §5.2 allows.
func Errorf(code, format string, args ...any) *Error {
	e := &Error{Code: code, Description: Printable(fmt.Sprintf(format, args...)), Status: http.StatusBadRequest}
	switch code {
	case CodeInvalidClient, CodeInvalidToken:
		e.Status = http.StatusUnauthorized
	case CodeTemporarilyUnavailable:
		e.Status = http.StatusServiceUnavailable
	case CodeServerError:
		e.Status = http.StatusInternalServerError
	}
	return e
}

// Unavailable is the answer to an outage of ours, such as a store that does
// not respond. It is never a verdict about the client, because those make
// clients throw their credentials away.
func Unavailable(cause error) *Error {
	return Errorf(CodeTemporarilyUnavailable, "the server cannot do this right now, try again shortly").WithCause(cause)
}

// WithCause returns a copy that remembers why, for the log. The cause is never
// sent to a client.
func (e *Error) WithCause(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// WithStatus returns a copy with another HTTP status.
func (e *Error) WithStatus(status int) *Error {
	c := *e
	c.Status = status
	return &c
}

// Error returns code, description and cause, for logs.
func (e *Error) Error() string {
	s := e.Code
	if e.Description != "" {
		s += ": " + e.Description
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Printable replaces every character that RFC 6749 §5.2 does not allow in an
// error_description (%x20-21 / %x23-5B / %x5D-7E): quotes become apostrophes,
// the rest question marks. The result is also safe in a quoted header value.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"' || r == '\\':
			return '\''
		case r < 0x20 || r > 0x7e:
			return '?'
		}
		return r
	}, s)
}
