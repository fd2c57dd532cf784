package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// finishTimeout bounds all questions of one sign-in together.
const finishTimeout = 20 * time.Second

// Info implements login.Method. The login is open unless only members of an
// organization or a team can sign in.
func (l *Login) Info() login.Info {
	return login.Info{ID: l.ID, Label: l.Label, Namespace: l.BaseURL, Open: !l.members(), Groups: slices.Concat(l.Organizations, l.Teams)}
}

// Begin sends the browser to GitHub. GitHub can't be made to ask for the
// password again; if Force is set, it lets the person choose the account.
func (l *Login) Begin(_ context.Context, r login.Request) (login.Step, error) {
	verifier := oauth2.GenerateVerifier()
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier)}
	if r.Force {
		options = append(options, oauth2.SetAuthURLParam("prompt", "select_account"))
	}
	config := l.config
	config.RedirectURL = r.CallbackURL
	return login.Step{Redirect: config.AuthCodeURL(r.State, options...), Save: []byte(verifier)}, nil
}

// Finish exchanges the code and asks GitHub who came back.
func (l *Login) Finish(ctx context.Context, r login.Request) (login.Step, error) {
	code, err := codeOf(r.Query)
	if err != nil {
		return login.Step{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, finishTimeout)
	defer cancel()
	token, err := l.redeem(ctx, r, code)
	if err != nil {
		return login.Step{}, err
	}
	id, err := l.identify(ctx, &api{l.client, l.APIURL, token})
	if err != nil {
		return login.Step{}, err
	}
	if err := l.checkMember(id); err != nil {
		return login.Step{}, err
	}
	return login.Step{Identity: &id}, nil
}

// Recheck compares what is known of the person's memberships with the
// organizations and teams of today's configuration. It does not ask GitHub.
func (l *Login) Recheck(_ context.Context, id login.Identity) (login.Identity, error) {
	if err := l.checkMember(id); err != nil {
		return login.Identity{}, err
	}
	return id, nil
}

// maxCode is far above the 20 characters that a code of GitHub has.
const maxCode = 512

// codeOf takes the code out of the query that the browser came back with
// (RFC 6749 §4.1.2). Everything in it is what somebody put into a URL.
func codeOf(q url.Values) (string, error) {
	switch failure := q.Get("error"); {
	case failure == "access_denied":
		return "", fmt.Errorf("%w: GitHub says access_denied: the person or the organization refused the app", login.ErrDenied)
	case q.Has("error"):
		return "", fmt.Errorf("github: authorization failed: %s", errorCode(failure))
	}
	codes := q["code"]
	if len(codes) != 1 || codes[0] == "" || len(codes[0]) > maxCode {
		return "", fmt.Errorf("%w: the answer has not exactly one code", login.ErrDenied)
	}
	return codes[0], nil
}

// knownCode is what error codes look like (RFC 6749 §5.2).
var knownCode = regexp.MustCompile(`^[a-z_]{1,64}$`)

// errorCode returns an error code for the log, if it is one.
func errorCode(s string) string {
	if knownCode.MatchString(s) {
		return s
	}
	return "an unknown error"
}

// redeem exchanges the code for an access token.
func (l *Login) redeem(ctx context.Context, r login.Request, code string) (string, error) {
	config := l.config
	config.RedirectURL = r.CallbackURL
	ctx = context.WithValue(ctx, oauth2.HTTPClient, l.client)
	token, err := config.Exchange(ctx, code, oauth2.VerifierOption(string(r.Saved)))
	if err != nil {
		return "", tokenError(err)
	}
	// RFC 6749 §7.1: a token of a type that one does not know must not be used.
	if !strings.EqualFold(token.TokenType, "bearer") {
		return "", errors.New("github: the token endpoint answered without a bearer token")
	}
	if len(token.AccessToken) > maxToken || !bearerToken.MatchString(token.AccessToken) {
		return "", errors.New("github: the token endpoint answered with a token that is none")
	}
	return token.AccessToken, nil
}

// maxToken is far above the 40 to 255 characters that GitHub's tokens have.
const maxToken = 4096

// bearerToken is what can stand in an Authorization header (RFC 6750 §2.1).
var bearerToken = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// tokenError translates an error of the token endpoint. The library's own text
// repeats the answer, which may hold a token: only codes, status and failures
// of the connection are passed on.
func tokenError(err error) error {
	if answer, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return tokenRefusal(answer)
	}
	if failure, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("github: exchanging the code: %w", failure)
	}
	return errors.New("github: the token endpoint answered with something that is no token")
}

// tokenRefusal translates an error answer, which GitHub sends with status 200.
func tokenRefusal(answer *oauth2.RetrieveError) error {
	switch code := answer.ErrorCode; code {
	case "bad_verification_code", "invalid_grant":
		return fmt.Errorf("%w: GitHub does not accept the code (%s): it is used, expired, or of another sign-in", login.ErrDenied, code)
	case "unverified_user_email":
		return fmt.Errorf("%w: the person's primary e-mail address at GitHub is not verified", login.ErrDenied)
	case "incorrect_client_credentials":
		return errors.New("github: GitHub does not accept client_id and client_secret (incorrect_client_credentials): compare them with the OAuth app")
	case "redirect_uri_mismatch":
		return errors.New("github: the OAuth app has another callback URL (redirect_uri_mismatch): set it to <issuer>/oauth/callback/<id>")
	case "":
		status := 0
		if answer.Response != nil {
			status = answer.Response.StatusCode
		}
		return fmt.Errorf("github: the token endpoint answered with status %d", status)
	default:
		return fmt.Errorf("github: the token endpoint refused: %s", errorCode(code))
	}
}

// identify asks GitHub who the token belongs to.
func (l *Login) identify(ctx context.Context, a *api) (login.Identity, error) {
	u, err := a.user(ctx)
	if err != nil {
		return login.Identity{}, err
	}
	id := login.Identity{Subject: strconv.FormatInt(u.ID, 10), Name: plainText(u.Name), AuthTime: l.now(), AuthTimeUnknown: true}
	if id.Name == "" {
		id.Name = plainText(u.Login)
	}
	if id.Email, err = a.email(ctx); err != nil {
		return login.Identity{}, err
	}
	id.EmailVerified = id.Email != ""
	id.GroupsUnknown = !l.Groups && !l.members()
	if !id.GroupsUnknown {
		if id.Groups, err = a.groups(ctx); err != nil {
			return login.Identity{}, err
		}
	}
	return id, nil
}

// checkMember denies people who are in none of the organizations and teams, if
// there are any.
func (l *Login) checkMember(id login.Identity) error {
	in := func(name string) bool { return slices.Contains(id.Groups, name) }
	if !l.members() || slices.ContainsFunc(l.Organizations, in) || slices.ContainsFunc(l.Teams, in) {
		return nil
	}
	return fmt.Errorf("%w: user %s is no active member of %s, or the organization has not approved the app",
		login.ErrDenied, id.Subject, strings.Join(slices.Concat(l.Organizations, l.Teams), ", "))
}

// newClient is what GitHub is asked with. It never follows a redirect to
// another host, because a token or the client secret would go with it.
func newClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = requestTimeout
	return &http.Client{
		Timeout:   requestTimeout,
		Transport: jsonTransport{transport},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects || r.URL.Scheme != via[0].URL.Scheme || r.URL.Host != via[0].URL.Host {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
}
