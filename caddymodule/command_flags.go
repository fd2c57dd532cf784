package caddymodule

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os/user"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/certmagic"
	"github.com/spf13/cobra"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// gatewayFlags are the flags of mcp-gateway as they were typed.
type gatewayFlags struct {
	to, from, path, user, hash string
	print                      bool
}

// Defaults of the flags.
const (
	defaultFrom = "http://localhost:8080"
	defaultPath = "/mcp"
	defaultName = "me" // of the user, where the system's name for them is no user name
)

func (f *gatewayFlags) define(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.to, "to", "", "The MCP server: host:port, or an http or https URL without a path (required)")
	flags.StringVar(&f.from, "from", defaultFrom, "The name under which clients reach it: a public one, or http://localhost:<port>")
	flags.StringVar(&f.path, "path", defaultPath, "The path of the server's MCP endpoint")
	flags.StringVar(&f.user, "user", systemUser(user.Current), "The name to sign in with")
	flags.StringVar(&f.hash, "password-hash", "", "What 'caddy hash-password' prints, in single quotes; nothing is asked then")
	flags.BoolVar(&f.print, "print", false, "Write the Caddyfile that this stands for, and serve nothing")
}

// gateway is what mcp-gateway serves. Every value has been checked for what a
// Caddyfile or a shell could take for something else.
type gateway struct {
	// Issuer is the origin that clients see.
	Issuer string
	// Path is that of the MCP endpoint.
	Path string
	// Upstream is the MCP server as reverse_proxy takes it, and Dial its
	// host:port.
	Upstream, Dial string
	// User and Hash are the one person who may sign in. Hash may be empty until
	// a password was asked for.
	User, Hash string
}

// gateway checks the flags. No error repeats what was typed, in which a
// password may stand in the wrong place.
func (f *gatewayFlags) gateway() (gateway, error) {
	g := gateway{Path: f.path, User: f.user, Hash: f.hash}
	var errTo, errFrom error
	g.Upstream, g.Dial, errTo = parseTo(f.to)
	g.Issuer, errFrom = parseFrom(f.from)
	for _, err := range []error{errTo, errFrom, checkEndpoint(f.path), checkUser(f.user), checkHash(f.hash)} {
		if err != nil {
			return gateway{}, err // one line: the first one
		}
	}
	return g, nil
}

// parseTo reads the address of the MCP server.
func parseTo(to string) (upstream, dial string, err error) {
	if to == "" {
		return "", "", errors.New("--to is missing: it says where your MCP server is, as in --to localhost:9000")
	}
	if strings.HasPrefix(to, ":") {
		to = "localhost" + to
	}
	hasScheme := strings.Contains(to, "://")
	if !hasScheme {
		to = "http://" + to
	}
	canonical, err := oauth.CanonicalResource(to)
	if err != nil {
		return "", "", fmt.Errorf("--to %w: write host:port, as in --to localhost:9000", err)
	}
	u, err := url.Parse(to)
	if err != nil {
		return "", "", errors.New("--to is not an address such as localhost:9000") // the canonical form was parsed before
	}
	secure, port := strings.HasPrefix(canonical, "https://"), u.Port()
	switch {
	case oauth.OriginOf(canonical) != canonical:
		return "", "", errors.New("--to takes no path: --path says where the server's MCP endpoint is, if not at " + defaultPath)
	case port == "" && !hasScheme:
		return "", "", errors.New("--to needs a port, as in --to localhost:9000")
	case port == "443" && !secure, port == "80" && secure:
		return "", "", errors.New("--to has a port that does not fit: 443 is for https://, 80 for http://")
	case secure:
		if port == "" {
			port = "443"
		}
		return canonical, net.JoinHostPort(strings.ToLower(u.Hostname()), port), nil
	case port == "":
		port = "80"
	}
	dial = net.JoinHostPort(strings.ToLower(u.Hostname()), port)
	return dial, dial, nil
}

// parseFrom reads the name under which the gateway is reached and returns the
// issuer. Plain http is for this machine, and https for names that anyone can
// check a certificate of.
func parseFrom(from string) (string, error) {
	from = strings.ToLower(strings.TrimSuffix(from, "/"))
	if !strings.Contains(from, "://") {
		scheme := "https://"
		if oauth.IsLoopbackHost(from) {
			scheme = "http://"
		}
		from = scheme + from
	}
	issuer, err := oauth.CanonicalResource(from)
	if err != nil {
		return "", fmt.Errorf("--from %w: write a name, as in --from mcp.example.com or --from http://localhost:8081", err)
	}
	u, err := url.Parse(issuer)
	if err != nil {
		return "", errors.New("--from is not a name such as mcp.example.com") // it was parsed before
	}
	secure, local := u.Scheme == "https", oauth.IsLoopbackHost(u.Host)
	_, notIP := netip.ParseAddr(u.Hostname())
	switch {
	case oauth.OriginOf(issuer) != issuer:
		return "", errors.New("--from takes no path: --path says where the server's MCP endpoint is, if not at " + defaultPath)
	case !secure && !local:
		return "", errors.New("--from takes http:// for localhost only, because anyone on the way could read passwords and tokens: " +
			"leave http:// out, and Caddy serves https")
	case secure && local:
		return "", errors.New("--from takes https:// for public names only, because no client trusts a certificate for localhost: write http://localhost:8080")
	case secure && u.Port() == "80":
		return "", errors.New("--from has port 80, which is for http: leave the port out")
	case !local && (notIP == nil || !strings.Contains(u.Hostname(), ".") || !certmagic.SubjectQualifiesForPublicCert(u.Hostname())):
		return "", errors.New("--from must be a public name such as mcp.example.com: no certificate that clients trust can be had for this one; " +
			"for this machine only, write http://localhost:8080")
	}
	return issuer, nil
}

var endpointForm = regexp.MustCompile(`^(/[A-Za-z0-9_~.-]+)*/?$`)

// checkEndpoint checks the path of the MCP endpoint.
func checkEndpoint(path string) error {
	segments := strings.Split(path, "/")
	switch {
	case !strings.HasPrefix(path, "/") || !endpointForm.MatchString(path) || slices.Contains(segments, ".") || slices.Contains(segments, ".."):
		return errors.New("--path must be a plain path such as /mcp: segments of letters, digits and _ ~ . - with slashes between")
	case slices.Contains([]string{"oauth", ".well-known", "authorize", "token", "register"}, segments[1]):
		return fmt.Errorf("--path can't be below /%s, where the gateway itself answers", segments[1])
	}
	return nil
}

// userForm is what login password takes for a name.
var userForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+@-]{0,63}$`)

func checkUser(name string) error {
	if !userForm.MatchString(name) {
		return errors.New("--user must be 1 to 64 letters, digits and . _ - + @, beginning with a letter or digit")
	}
	return nil
}

// systemUser returns the name that the system has for who runs the command,
// without what does not belong in a user name.
func systemUser(current func() (*user.User, error)) string {
	u, err := current()
	if err != nil {
		return defaultName // a container often has no name for its user
	}
	name := u.Username[strings.LastIndexByte(u.Username, '\\')+1:] // Windows: DOMAIN\name
	name = strings.Map(func(r rune) rune {
		if !userForm.MatchString("a" + string(r)) {
			return -1
		}
		return r
	}, name)
	name = strings.TrimLeft(name, "._+@-")
	if name = name[:min(len(name), 64)]; name == "" {
		return defaultName
	}
	return name
}

var bcryptForm = regexp.MustCompile(`^\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$`)

// checkHash checks the form of a hash; login password checks the rest. Empty is
// fine: then a password is asked for.
func checkHash(hash string) error {
	if hash == "" || bcryptForm.MatchString(hash) {
		return nil
	}
	if _, key, err := caddyauth.DecodeHash([]byte(hash)); err != nil || len(key) == 0 || strings.ContainsAny(hash, " \t\r\n{}\"`") {
		return errors.New("--password-hash is not a hash from caddy hash-password: copy all of it, in single quotes, or leave the flag out to be asked for a password")
	}
	return nil
}
