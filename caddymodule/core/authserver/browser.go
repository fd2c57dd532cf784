package authserver

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/seal"
)

// This file ties pages to browsers: cookies, and sealed forms that only the
// browser that got them can send back.

// The cookies, without their prefix.
const (
	cookieSession  = "mcp_auth_session"
	cookieBrowser  = "mcp_auth_browser"   // names the browser; it authorizes nothing
	cookieDevice   = "mcp_auth_device"    // somebody has signed in with the browser; it signs nobody in
	cookieUpstream = "mcp_auth_upstream_" // and the id of a sign-in at a provider
)

const (
	maxCookie      = 3500 // bytes of one cookie's value; browsers stop at 4096 with name and attributes
	maxCookieParts = 4
	maxSealed      = 32 << 10 // characters of a sealed value that a browser sends
)

// pendingLifetime is how long a person may take for one page.
const pendingLifetime = 10 * time.Minute

// cookieName adds the prefix by which browsers keep a cookie from being set by
// another host or without TLS (RFC 6265bis §4.1.3.2). Plain http, which is for
// loopback only, can't have it.
func (s *Server) cookieName(name string) string {
	if s.local && strings.HasPrefix(s.cfg.Issuer, "http:") {
		return name
	}
	return "__Host-" + name
}

// setCookie sets a cookie for age, or until the browser ends if that is 0. A
// long value is spread over several.
func (s *Server) setCookie(w http.ResponseWriter, name, value string, age time.Duration) error {
	if len(value) > maxCookie*maxCookieParts {
		return fmt.Errorf("the cookie %s has %d bytes", name, len(value))
	}
	for part := 0; part == 0 || value != ""; part++ {
		n := min(len(value), maxCookie)
		http.SetCookie(w, s.newCookie(name, part, value[:n], int(age/time.Second)))
		value = value[n:]
	}
	return nil
}

func (s *Server) newCookie(name string, part int, value string, maxAge int) *http.Cookie {
	name = s.cookieName(name)
	if part > 0 {
		name += "." + strconv.Itoa(part)
	}
	return &http.Cookie{ //nolint:gosec // Secure wherever there is TLS
		Name: name, Value: value, MaxAge: maxAge, Path: "/",
		Secure: strings.HasPrefix(name, "__Host-"), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

// cookie returns a cookie's value, or "".
func (s *Server) cookie(r *http.Request, name string) string {
	var value strings.Builder
	for part := range maxCookieParts {
		c, err := r.Cookie(s.newCookie(name, part, "", 0).Name)
		if err != nil {
			break
		}
		value.WriteString(c.Value)
		if len(c.Value) < maxCookie {
			break
		}
	}
	return value.String()
}

// clearCookie removes a cookie, with all parts that the browser sent.
func (s *Server) clearCookie(w http.ResponseWriter, r *http.Request, name string) {
	for part := range maxCookieParts {
		c := s.newCookie(name, part, "", -1)
		if _, err := r.Cookie(c.Name); part == 0 || err == nil {
			http.SetCookie(w, c)
		}
	}
}

// maxUpstream bounds how many sign-ins at providers a browser has under way:
// all their cookies come with every request.
const maxUpstream = 6

// forgetOldSignIns makes room for one more sign-in at a provider. Browsers send
// their oldest cookies first (RFC 6265 §5.4).
func (s *Server) forgetOldSignIns(w http.ResponseWriter, r *http.Request) {
	prefix := s.cookieName(cookieUpstream)
	var begun []string
	for _, c := range r.Cookies() {
		if state, ok := strings.CutPrefix(c.Name, prefix); ok && !strings.Contains(state, ".") {
			begun = append(begun, cookieUpstream+state)
		}
	}
	for _, name := range begun[:max(0, len(begun)-maxUpstream+1)] {
		s.clearCookie(w, r, name)
	}
}

// browserID returns what names the browser, and gives it a name if it has none.
func (s *Server) browserID(w http.ResponseWriter, r *http.Request) (string, error) {
	if id := s.cookie(r, cookieBrowser); validBrowserID(id) {
		return id, nil
	}
	id := rand.Text()
	return id, s.setCookie(w, cookieBrowser, id, 0)
}

func validBrowserID(id string) bool {
	return len(id) == len("AAAAAAAAAAAAAAAAAAAAAAAAAA") && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// pending is what waits for a person: a page that was shown, or a sign-in that
// goes on at a provider. It is sealed for one purpose each, so that no page's
// form can be passed off as another's.
type pending struct {
	// ID makes the answer single use.
	ID string `json:"i"`
	// Browser is the name of the browser that got it.
	Browser string `json:"b"`
	// Query is the authorization request behind it, empty for the account page.
	Query string `json:"q,omitempty"`
	// Force asks for a sign-in even if a provider still knows the person.
	Force bool `json:"f,omitempty"`
	// Subject and Session are who was asked, for pages that ask somebody.
	Subject string `json:"u,omitempty"`
	Session string `json:"s,omitempty"`
	// Login and Save belong to a sign-in at a provider.
	Login string `json:"l,omitempty"`
	Save  []byte `json:"d,omitempty"`
	// Expires is in seconds since 1970.
	Expires int64 `json:"e"`
}

func (s *Server) sealer() *seal.Sealer { return s.deps.Keys.Ring().Sealer.WithLimit(maxSealed) }

// sealPending completes what waits for a person and seals it.
func (s *Server) sealPending(w http.ResponseWriter, r *http.Request, purpose seal.Purpose, p *pending) (string, error) {
	var err error
	if p.Browser, err = s.browserID(w, r); err != nil {
		return "", err
	}
	expires := s.now().Add(pendingLifetime)
	p.ID, p.Expires = rand.Text(), expires.Unix()
	text, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("encoding what waits for a person: %w", err)
	}
	return s.sealer().Seal(purpose, text, expires)
}

// openPending opens what comes back from a browser. The request behind it is
// returned with the error too if it is known, so that the page can offer to
// start again.
func (s *Server) openPending(r *http.Request, purpose seal.Purpose, sealed string) (pending, error) {
	var p pending
	text, err := s.sealer().Open(purpose, sealed, s.now())
	expired := errors.Is(err, seal.ErrExpired)
	if err != nil && !expired {
		return pending{}, problem(pages.ProblemForeignForm, http.StatusForbidden, "the form is not one of this server").because(err)
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return pending{}, problem(pages.ProblemForeignForm, http.StatusForbidden, "the form is not one of this server").because(err)
	}
	if subtle.ConstantTimeCompare([]byte(p.Browser), []byte(s.cookie(r, cookieBrowser))) != 1 {
		return pending{}, problem(pages.ProblemBrowser, http.StatusForbidden,
			"this step was begun in another browser, or the browser did not send its cookie back")
	}
	if expired {
		return p, problem(pages.ProblemExpired, http.StatusForbidden, "the page was shown more than %s ago", pendingLifetime)
	}
	return p, nil
}

// postedForm reads the form that a page of this server posts. A browser says
// where a form comes from; one that does not is too old to be safe here
// (SPEC O5).
func (s *Server) postedForm(w http.ResponseWriter, r *http.Request) (params, error) {
	if !s.fromOwnPage(r) {
		return nil, problem(pages.ProblemForeignForm, http.StatusForbidden, "the form was not sent from a page of this server")
	}
	return formParams(w, r)
}

// fromOwnPage reports whether the browser says that a page of this server sent
// the request: Sec-Fetch-Site (Fetch Metadata), or Origin where a browser has
// only that. Our pages have no referrer, so most browsers send Origin: null.
func (s *Server) fromOwnPage(r *http.Request) bool {
	origins, sites := r.Header.Values("Origin"), r.Header.Values("Sec-Fetch-Site")
	if len(origins) > 1 || len(sites) > 1 {
		return false
	}
	own := len(origins) == 1 && s.ownOrigin(origins[0])
	if len(sites) == 1 {
		return sites[0] == "same-origin" && (own || len(origins) == 0 || origins[0] == "null")
	}
	return own
}

// ownOrigin reports whether an origin is this server's; on this machine under
// any of its three names.
func (s *Server) ownOrigin(origin string) bool {
	issuer := oauth.OriginOf(s.cfg.Issuer)
	if origin == issuer {
		return true
	}
	scheme, host, _ := strings.Cut(origin, "://")
	ownScheme, own, _ := strings.Cut(issuer, "://")
	return s.local && scheme == ownScheme && oauth.IsLoopbackHost(host) && portOf(host) == portOf(own)
}

func portOf(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		return host[i:]
	}
	return ""
}

// newState returns a value that nobody can guess, for a sign-in at a provider.
func newState() string { return rand.Text() }
