package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule"
)

// environment is what the environment variables say, in the terms of the root
// Caddyfile. The names are those of the two demo servers that this project
// descends from; the table in the README explains them.
type environment struct {
	// address is where the demo listens, host:port.
	address string
	// origin is the URL that it serves there.
	origin string
	// vars are variables for the Caddyfile.
	vars map[string]string
	// signingSecret and clientSecret go into the configuration directly.
	signingSecret, clientSecret string
}

// maxMinutes is a year.
const maxMinutes = 365 * 24 * 60

// demoClient is the client that CLIENT_SECRET belongs to.
const demoClient = "demo-client"

func demoEnvironment(lookup func(string) (string, bool)) (*environment, error) {
	get := func(names ...string) string {
		for _, name := range names {
			if v, ok := lookup(name); ok && v != "" {
				return v
			}
		}
		return ""
	}
	e := &environment{vars: map[string]string{}, signingSecret: get("JWT_SECRET_KEY"), clientSecret: get("CLIENT_SECRET")}
	if err := e.addresses(get("SERVER_URL", "BASE_URL"), get("ISSUER"), get("AUDIENCE")); err != nil {
		return nil, err
	}
	if minutes := get("JWT_ACCESS_TOKEN_EXPIRE_MINUTES"); minutes != "" {
		if n, err := strconv.Atoi(minutes); err != nil || n < 1 || n > maxMinutes {
			return nil, fmt.Errorf("JWT_ACCESS_TOKEN_EXPIRE_MINUTES=%s is not a whole number of minutes from 1 to %d", minutes, maxMinutes)
		}
		e.vars["JWT_ACCESS_TOKEN_EXPIRE_MINUTES"] = minutes
	}
	if alg := get("JWT_ALGORITHM"); alg != "" {
		e.vars["JWT_ALGORITHM"] = alg
	} else if e.signingSecret != "" {
		e.vars["JWT_ALGORITHM"] = "HS256" // what a secret key signs with
	}
	level, err := logLevel(get("LOG_LEVEL"), get("DEBUG"))
	if err != nil {
		return nil, err
	}
	e.vars["LOG_LEVEL"] = level
	return e, nil
}

// addresses works out where the demo listens, what its issuer is and what it
// protects. The server's own URL stands for whatever is not given.
func (e *environment) addresses(server, issuer, audience string) error {
	if server == "" {
		server = "http://localhost:8080"
		if issuer != "" {
			server = issuer
		}
	}
	server = strings.TrimRight(server, "/")
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" || !isLoopback(u.Hostname()) {
		return fmt.Errorf("SERVER_URL=%s must be an http URL on localhost: the demo approves everyone, so nobody else may reach it", server)
	}
	origin := u.Scheme + "://" + u.Host
	if issuer == "" {
		issuer = origin
	}
	if audience == "" {
		audience = origin + "/mcp " + origin + "/sse"
	}
	e.origin = origin
	if err := onOrigin("ISSUER", issuer, origin); err != nil {
		return err
	}
	for uri := range strings.FieldsSeq(audience) {
		if err := onOrigin("AUDIENCE", uri, origin); err != nil {
			return err
		}
	}
	e.address = net.JoinHostPort(loopbackIP(u.Hostname()), portOf(u))
	site := origin
	if u.Hostname() == "localhost" {
		site += ", http://127.0.0.1:" + portOf(u)
	}
	e.vars["BIND"] = loopbackIP(u.Hostname())
	e.vars["ISSUER"], e.vars["AUDIENCE"], e.vars["SERVER_URL"] = strings.TrimRight(issuer, "/"), audience, site
	return nil
}

// onOrigin refuses what the demo could not answer for.
func onOrigin(name, value, origin string) error {
	if u, err := url.Parse(value); err != nil || u.Scheme+"://"+u.Host != origin {
		return fmt.Errorf("%s=%s must begin with %s, where the demo listens", name, value, origin)
	}
	return nil
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return "80"
}

// logLevel translates the names of other systems' levels to Caddy's.
func logLevel(level, debug string) (string, error) {
	on, err := strconv.ParseBool(debug)
	if debug != "" && err != nil {
		return "", fmt.Errorf("DEBUG=%s is not true or false", debug)
	}
	if on && level == "" {
		level = "debug"
	}
	switch strings.ToUpper(level) {
	case "":
		return "ERROR", nil // the welcome text has the warnings
	case "DEBUG", "INFO", "WARN", "ERROR":
		return strings.ToUpper(level), nil
	case "WARNING":
		return "WARN", nil
	case "CRITICAL", "FATAL":
		return "ERROR", nil
	}
	return "", fmt.Errorf("LOG_LEVEL=%s is not debug, info, warning or error", level)
}

// apply puts secrets into the configuration. They never pass through the text
// of a Caddyfile, where a special character would change its meaning.
func (e *environment) apply(app *caddymodule.App) {
	if e.signingSecret != "" {
		app.Keys.Secret, app.Keys.Derive = longSecret(e.signingSecret), true
	}
	if e.clientSecret != "" {
		app.Clients = append(app.Clients, caddymodule.ClientConfig{
			ID: demoClient, Secret: strings.ReplaceAll(e.clientSecret, "{", `\{`), Name: "Demo client",
			RedirectURIs: []string{"http://localhost/callback", "http://127.0.0.1/callback"},
			AuthMethod:   "client_secret_post",
		})
	}
}

// longSecret stretches a secret to the length that the key ring wants. That
// makes it no harder to guess, which is good enough for a demo.
func longSecret(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// loopbackIP is the address that the root Caddyfile binds to.
func loopbackIP(host string) string {
	if host == "localhost" {
		return "127.0.0.1"
	}
	return host
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// welcome tells what to try next.
func (e *environment) welcome() string {
	mcp, _, _ := strings.Cut(e.vars["AUDIENCE"], " ")
	return fmt.Sprintf(`
The gateway runs at %[1]s, mockmcp behind it. State is in %[3]s.
Everyone is approved without asking: this is a demo.

Without a token the MCP server is closed:
  curl -i -X POST %[2]s

Get a token and call a tool:
  TOKEN=$(curl -s %[1]s/dev/token | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  curl -s %[2]s/tools/call -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
    -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hello","arguments":{"name":"world"}}}'

Look at it with MCP Inspector:
  npx @modelcontextprotocol/inspector --cli %[2]s --method tools/list

Add it to Claude Code:
  claude mcp add --transport http demo %[2]s

Pages: %[1]s/oauth/ and %[4]s/docs
Stop with Ctrl+C.
`, e.vars["ISSUER"], mcp, caddy.AppDataDir(), e.origin)
}
