package policy

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Result is whether something holds.
type Result uint8

// The results.
const (
	// No it does not.
	No Result = iota
	// Yes it does.
	Yes
	// Unknown is what nobody can tell, because the token does not say it or an
	// expression failed. A call passes only if it may both ways.
	Unknown
	// open is what depends on the arguments of a call that nobody has made yet.
	open
)

// String returns "no", "yes" or "unknown".
func (r Result) String() string {
	if int(r) < len(resultNames) {
		return resultNames[r]
	}
	return resultNames[Unknown]
}

var resultNames = [...]string{"no", "yes", "unknown"}

// condition is one that was compiled.
type condition struct {
	text   string // as in a Caddyfile
	reason string // what to tell a caller who fails it
	test   func(q *query) Result
	// needs are the scopes of a scope requirement, which has no test.
	needs []string
}

// What callers are told who fail a requirement.
const (
	reasonDenied = "the policy of this server does not allow this call, and other scopes would not help: ask whoever runs the server"
	reasonScope  = "the call needs more scopes than the token has: ask for those of the WWW-Authenticate header"
	reasonGroup  = "only members of certain groups may make this call: ask whoever runs the server for membership, then sign in again"
	reasonUser   = "the account that signed in may not make this call: ask whoever runs the server"
	reasonClient = "this call is not open to the program that makes it: use another one, or ask whoever runs the server"
	reasonLogin  = "the call needs another way of signing in: sign in again, the other way"
	reasonAge    = "the last sign-in is too long ago, or its time is unknown: sign in again"
	reasonRemote = "the call is not allowed from this network: use another one, or ask whoever runs the server"
	reasonExpr   = "the policy of this server does not allow a call like this one: its arguments or the account do not fit; ask whoever runs the server"
)

// newCondition compiles a condition that Check has seen.
func newCondition(c Condition, env Env, scopes hierarchy) (condition, error) {
	out := condition{text: c.String()}
	switch kind, values, err := c.field(); kind {
	case "scope":
		out.reason, out.test = reasonScope, scopes.any(values)
	case "group":
		out.reason, out.test = reasonGroup, inGroup(values)
	case "user":
		out.reason, out.test = reasonUser, func(q *query) Result { return oneOf(q.caller.Subject, values) }
	case "email":
		out.reason, out.test = reasonUser, hasEmail(values)
	case "client":
		out.reason, out.test = reasonClient, isClient(values)
	case "login":
		for _, id := range values {
			if env.Logins != nil && !slices.Contains(env.Logins, id) {
				return out, fmt.Errorf("nobody can sign in with the login %s: it does not exist (known: %s)", id, strings.Join(env.Logins, ", "))
			}
		}
		out.reason, out.test = reasonLogin, func(q *query) Result { return oneOf(q.caller.Login, values) }
	case "max_age":
		out.reason, out.test = reasonAge, signedInWithin(time.Duration(c.MaxAge), env.Now)
	case "remote_ip":
		var prefixes []netip.Prefix
		if prefixes, err = parsePrefixes(values); err != nil {
			return out, err
		}
		out.reason, out.test = reasonRemote, comesFrom(prefixes)
	case "expression":
		if env.Compile == nil {
			return out, errNoExpressions
		}
		var e Expression
		if e, err = env.Compile(c.Expression); err != nil {
			return out, err
		}
		out.reason, out.test = reasonExpr, isTrue(e)
	default:
		return out, err
	}
	return out, nil
}

func known(holds bool) Result {
	if holds {
		return Yes
	}
	return No
}

func oneOf(name string, values []string) Result {
	if name == "" {
		return Unknown
	}
	return known(slices.Contains(values, name))
}

// inGroup is unknown for a group in another case, which some providers don't
// tell apart.
func inGroup(groups []string) func(*query) Result {
	return func(q *query) Result {
		result := No
		if q.caller.GroupsUnknown {
			result = Unknown
		}
		for _, theirs := range q.caller.Groups {
			for _, group := range groups {
				if theirs == group {
					return Yes
				}
				if strings.EqualFold(theirs, group) {
					result = Unknown
				}
			}
		}
		return result
	}
}

// hasEmail is unknown without an address, and for one that fits but that nobody
// vouches for.
func hasEmail(globs []string) func(*query) Result {
	var patterns []*regexp.Regexp
	for _, glob := range globs {
		expr := strings.ReplaceAll(regexp.QuoteMeta(glob), `\*`, `.*`)
		patterns = append(patterns, regexp.MustCompile(`(?is)\A`+expr+`\z`))
	}
	return func(q *query) Result {
		email := q.caller.Email
		if email == "" {
			return Unknown
		}
		if !slices.ContainsFunc(patterns, func(re *regexp.Regexp) bool { return re.MatchString(email) }) {
			return No
		}
		// Beyond ASCII, case is no clear matter, and with two @ there is no domain
		// that two readers would agree on.
		ascii := strings.IndexFunc(email, func(r rune) bool { return r > '~' }) < 0
		if !q.caller.EmailVerified || !ascii || strings.Count(email, "@") != 1 {
			return Unknown
		}
		return Yes
	}
}

// isClient matches a client whose id is a URL by its host, unless the pattern is
// a URL too: anybody can have any path on a host of their own.
func isClient(values []string) func(*query) Result {
	globs := newGlobs(values)
	return func(q *query) Result {
		id := q.caller.ClientID
		if id == "" {
			return Unknown
		}
		host, isURL := hostOf(id)
		for i := range globs {
			text := id
			if isURL && !strings.Contains(globs[i].raw, "://") {
				text = host
			}
			if globs[i].match(text) {
				return Yes
			}
		}
		return No
	}
}

// hostOf returns the host of an https URL in lower case; empty if there is doubt
// about it.
func hostOf(id string) (host string, isURL bool) {
	const scheme = "https://"
	if len(id) < len(scheme) || !strings.EqualFold(id[:len(scheme)], scheme) {
		return "", false
	}
	host = id[len(scheme):]
	if i := strings.IndexAny(host, `/?#\`); i >= 0 {
		host = host[:i]
	}
	if strings.ContainsAny(host, "@%*") {
		return "", true
	}
	return strings.TrimSuffix(strings.ToLower(host), ":443"), true
}

// leeway is how far into the future a sign-in may lie: clocks differ.
const leeway = time.Minute

func signedInWithin(span time.Duration, now func() time.Time) func(*query) Result {
	return func(q *query) Result {
		if q.caller.AuthTime.IsZero() {
			return Unknown
		}
		age := now().Sub(q.caller.AuthTime)
		if age < -leeway {
			return Unknown
		}
		return known(age <= span)
	}
}

func comesFrom(prefixes []netip.Prefix) func(*query) Result {
	return func(q *query) Result {
		addr := q.caller.Remote
		if !addr.IsValid() {
			return Unknown
		}
		addr = addr.Unmap().WithZone("")
		return known(slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) }))
	}
}

// isTrue asks an expression. Where the call is not made yet, it is open if it
// reads what the call would say.
func isTrue(e Expression) func(*query) Result {
	return func(q *query) Result {
		if q.ahead && (e.NeedsArguments() || q.uri.template) {
			return open
		}
		holds, err := e.Eval(q.ctx, q.caller, q.message)
		if err != nil {
			q.err = err
			return Unknown
		}
		return known(holds)
	}
}
