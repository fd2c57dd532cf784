package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of what GitHub is asked and may answer.
const (
	requestTimeout = 10 * time.Second
	maxBody        = 1 << 20
	maxRedirects   = 3
	perPage        = 100 // the most that GitHub gives
	maxPages       = 10
	maxText        = 200 // of a name that people see, in characters
)

// api asks GitHub's REST API in the name of one person.
type api struct {
	client *http.Client
	base   string
	token  string
}

// user is who the token belongs to.
type user struct {
	ID    int64  `json:"id"`
	Login string `json:"login"`
	Name  string `json:"name"`
}

func (a *api) user(ctx context.Context) (user, error) {
	var u user
	if _, err := a.get(ctx, "/user", &u); err != nil {
		return user{}, err
	}
	if u.ID <= 0 {
		return user{}, errors.New("github: /user answered without the person's id")
	}
	return u, nil
}

// address is one of a person's e-mail addresses.
type address struct {
	Email    string `json:"email"`
	Primary  bool   `json:"primary"`
	Verified bool   `json:"verified"`
}

// plainAddress has one @ and nothing that two readers could take differently.
var plainAddress = regexp.MustCompile(`^[^\s@"<>(),;:\\]{1,64}@[^\s@"<>(),;:\\]{1,189}$`)

// email returns the primary address, or nothing if it is not verified: no other
// address says where mail reaches this person.
func (a *api) email(ctx context.Context) (string, error) {
	all, err := list[address](ctx, a, "/user/emails?")
	if err != nil {
		return "", err
	}
	for _, e := range all {
		if e.Primary && e.Verified && plainAddress.MatchString(e.Email) && plainText(e.Email) != "" {
			return e.Email, nil
		}
	}
	return "", nil
}

// organization is an account that people are members of.
type organization struct {
	Login string `json:"login"`
}

// membership is a person's place in an organization.
type membership struct {
	State        string       `json:"state"`
	Organization organization `json:"organization"`
}

// team is a group of people in an organization.
type team struct {
	Slug         string       `json:"slug"`
	Organization organization `json:"organization"`
}

// groups returns the organizations and teams of the person, in lower case. An
// invitation that was not accepted does not count, and neither does a team of
// an organization whose member the person is not.
func (a *api) groups(ctx context.Context) ([]string, error) {
	memberships, err := list[membership](ctx, a, "/user/memberships/orgs?state=active&")
	if err != nil {
		return nil, err
	}
	var groups []string
	for _, m := range memberships {
		name := strings.ToLower(m.Organization.Login)
		if !organizationName.MatchString(name) {
			return nil, errors.New("github: /user/memberships/orgs answered with an organization that has no name")
		}
		if m.State == "active" {
			groups = append(groups, name)
		}
	}
	teams, err := list[team](ctx, a, "/user/teams?")
	if err != nil {
		return nil, err
	}
	organizations := slices.Clone(groups)
	for _, t := range teams {
		name, slug := strings.ToLower(t.Organization.Login), strings.ToLower(t.Slug)
		if !organizationName.MatchString(name) || !teamSlug.MatchString(slug) {
			return nil, errors.New("github: /user/teams answered with a team that has no name")
		}
		if slices.Contains(organizations, name) {
			groups = append(groups, name+"/"+slug)
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups), nil
}

// list reads a list page by page. Its end must come: half a list could hide the
// membership that a rule denies.
func list[T any](ctx context.Context, a *api, path string) ([]T, error) {
	var all []T
	for page := 1; page <= maxPages; page++ {
		var some []T
		more, err := a.get(ctx, fmt.Sprintf("%sper_page=%d&page=%d", path, perPage, page), &some)
		if err != nil {
			return nil, err
		}
		if some == nil { // null is no list
			return nil, errAnswer(path)
		}
		if all = append(all, some...); !more {
			return all, nil
		}
	}
	return nil, fmt.Errorf("github: %s has more than %d pages", endpoint(path), maxPages)
}

// endpoint is a path without its query.
func endpoint(path string) string {
	name, _, _ := strings.Cut(path, "?")
	return name
}

// get reads one answer, and reports whether the list goes on.
func (a *api) get(ctx context.Context, path string, into any) (more bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, http.NoBody)
	if err != nil {
		return false, fmt.Errorf("github: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+a.token)
	r.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	resp, err := a.client.Do(r)
	if err != nil {
		return false, fmt.Errorf("github: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	if resp.StatusCode != http.StatusOK {
		return false, statusError(endpoint(path), resp)
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, resp.Body, maxBody))
	if err != nil {
		return false, fmt.Errorf("github: reading the answer of %s: %w", endpoint(path), err)
	}
	// The error of the parser repeats parts of the answer, so it stays here.
	if json.Unmarshal(body, into) != nil {
		return false, errAnswer(path)
	}
	return strings.Contains(resp.Header.Get("Link"), `rel="next"`), nil
}

func errAnswer(path string) error {
	return fmt.Errorf("github: %s answered with something else than was asked for", endpoint(path))
}

// statusError says what a status means. None of them is about the person: who
// is not let in by GitHub has no token.
func statusError(name string, resp *http.Response) error {
	limited := resp.Header.Get("Retry-After") != "" || resp.Header.Get("X-Ratelimit-Remaining") == "0"
	switch status := resp.StatusCode; {
	case status == http.StatusTooManyRequests, status == http.StatusForbidden && limited:
		return fmt.Errorf("github: %s: the rate limit is reached (status %d)", name, status)
	case status == http.StatusForbidden, status == http.StatusNotFound:
		return fmt.Errorf("github: %s is refused (status %d): the app may lack a permission", name, status)
	default:
		return fmt.Errorf("github: %s answered with status %d", name, status)
	}
}

// plainText returns text that people see, or nothing if it is not plain.
func plainText(s string) string {
	s = strings.TrimSpace(s)
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxText || strings.ContainsFunc(s, unprintable) {
		return ""
	}
	return s
}

// unprintable reports control characters and those that reorder what stands
// around them.
func unprintable(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == utf8.RuneError
}

// jsonTransport asks for JSON; GitHub's token endpoint answers with a form
// otherwise.
type jsonTransport struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (t jsonTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "caddy-mcp-auth")
	return t.Transport.RoundTrip(r)
}
