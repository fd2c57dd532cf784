package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// maxGlob bounds globs, names and other values of rules, in bytes: they stand in
// logs and metrics.
const maxGlob = 512

// Check reports the first mistake: what is malformed, a scope that nobody can get,
// a rule that can never decide anything. The scopes are those that clients can
// get, besides those of the hierarchy. Mistakes in rules are a *RuleError.
// Expressions are left to New.
func (c Config) Check(scopes oauth.Scope) error {
	if c.Default != "" && c.Default != ActionAllow && c.Default != ActionDeny {
		return fmt.Errorf("default is %q: it must be allow or deny", c.Default)
	}
	if err := CheckHierarchy(c.Hierarchy); err != nil {
		return err
	}
	all := scopes.Union(slices.Concat(c.Hierarchy...))
	for i, r := range c.Rules {
		err := r.check(all)
		if err == nil {
			err = c.reachable(i)
		}
		if err != nil {
			return r.wrong(i, err)
		}
	}
	return nil
}

// CheckHierarchy reports lines that say nothing, or contradict each other.
func CheckHierarchy(lines [][]string) error {
	for _, line := range lines {
		if len(line) < 2 {
			return errors.New("hierarchy takes at least two scopes, from the widest to the narrowest")
		}
		for i, scope := range line {
			if !oauth.ValidScopeToken(scope) {
				return fmt.Errorf("hierarchy: %q is not a scope", scope)
			}
			if slices.Contains(line[:i], scope) {
				return fmt.Errorf("hierarchy: %s stands twice in one line", scope)
			}
		}
	}
	h := newHierarchy(lines)
	for _, line := range lines {
		for i, scope := range line[:len(line)-1] {
			if narrower := line[i+1]; slices.Contains(h[scope], narrower) {
				return fmt.Errorf("hierarchy: %s is wider than %s in one place and narrower in another", scope, narrower)
			}
		}
	}
	return nil
}

func (r Rule) check(scopes oauth.Scope) error {
	switch {
	case r.String() == "":
		return errors.New("a rule needs a target: tools, prompts, resource_uris or methods")
	case r.Action != "" && r.Action != ActionAllow && r.Action != ActionDeny:
		return fmt.Errorf("the action is %q: it must be allow or deny", r.Action)
	case r.Action != "" && len(r.Require) > 0:
		return fmt.Errorf("%s and require exclude each other: require lets pass what meets it, and refuses the rest", r.Action)
	case r.Action == "" && len(r.Require) == 0:
		return errors.New("a rule must say what happens: allow, deny or require")
	}
	for _, t := range r.targets() {
		for _, pattern := range t.globs {
			if err := checkName(pattern); err != nil {
				return fmt.Errorf("%s: %w", t.kind, err)
			}
		}
	}
	for _, pattern := range r.ResourceURIs {
		if segments := strings.Split(pattern, "/"); slices.Contains(segments, ".") || slices.Contains(segments, "..") {
			return fmt.Errorf("resource_uri %s: the segments . and .. are not allowed in it", pattern)
		}
	}
	for _, name := range r.Audit {
		if err := checkName(name); err != nil {
			return fmt.Errorf("audit: %w", err)
		}
	}
	for _, c := range slices.Concat(r.When, r.Require) {
		if err := c.check(scopes); err != nil {
			return err
		}
	}
	return nil
}

func checkName(s string) error {
	switch {
	case s == "":
		return errors.New("a name is empty")
	case len(s) > maxGlob:
		return fmt.Errorf("%.40s… is too long: it has %d bytes of at most %d", s, len(s), maxGlob)
	case !utf8.ValidString(s) || strings.IndexFunc(s, control) >= 0:
		return fmt.Errorf("%q has a character that no name has", s)
	}
	return nil
}

func (c Condition) check(scopes oauth.Scope) error {
	kind, values, err := c.field()
	switch {
	case err != nil:
		return err
	case len(values) == 0:
		return fmt.Errorf("%s needs a value", kind)
	case kind == "expression":
		return nil
	}
	for _, value := range values {
		if err := checkName(value); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	switch kind {
	case "scope":
		return checkScopes(values, scopes)
	case "email":
		return checkEmails(values)
	case "client":
		return checkClients(values)
	case "remote_ip":
		_, err = parsePrefixes(values)
	case "max_age":
		if c.MaxAge < 0 {
			return errors.New("max_age must be longer than nothing")
		}
	}
	return err
}

func checkScopes(values []string, scopes oauth.Scope) error {
	for _, scope := range values {
		if !oauth.ValidScopeToken(scope) {
			return fmt.Errorf("%q is not a scope", scope)
		}
		if !scopes.Contains(scope) {
			return fmt.Errorf("nobody can get the scope %s: add it to scopes, step_up_scopes or hierarchy", scope)
		}
	}
	return nil
}

func checkEmails(values []string) error {
	for _, email := range values {
		if strings.Count(email, "@") != 1 || strings.ContainsAny(email, " \t") {
			return fmt.Errorf("email %q is not an address such as *@example.com", email)
		}
	}
	return nil
}

// checkClients refuses a * in the host of a URL, which would also stand for a
// slash, and so for everybody's hosts.
func checkClients(values []string) error {
	for _, client := range values {
		_, rest, isURL := strings.Cut(client, "://")
		host, _, hasPath := strings.Cut(rest, "/")
		if isURL && strings.Contains(host, "*") || isURL && !hasPath && strings.Contains(client, "*") {
			return fmt.Errorf("client %s would fit other hosts too: write the host alone, such as *.example.com", client)
		}
	}
	return nil
}

func parsePrefixes(values []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, value := range values {
		prefix, err := netip.ParsePrefix(value)
		if err != nil {
			addr, notAddr := netip.ParseAddr(value)
			if notAddr != nil || addr.Zone() != "" {
				return nil, fmt.Errorf("remote_ip %q is neither an address nor a range such as 10.0.0.0/8", value)
			}
			prefix = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		}
		if prefix.Addr().Is4In6() {
			return nil, fmt.Errorf("remote_ip %s: write the range as IPv4", value)
		}
		out = append(out, prefix.Masked())
	}
	return out, nil
}

// uses are the methods behind the targets that are not methods themselves.
var uses = map[string][]string{
	"tool":         {mcp.MethodCallTool},
	"prompt":       {mcp.MethodGetPrompt, mcp.MethodComplete},
	"resource_uri": {mcp.MethodReadResource, mcp.MethodSubscribe, mcp.MethodSubscriptionsListen, mcp.MethodComplete},
}

// reachable reports whether a rule decides anything: not if each of its globs is
// covered by an earlier rule that always applies.
func (c Config) reachable(index int) error {
	by := map[string]bool{}
	var names []string
	for _, t := range c.Rules[index].targets() {
		for _, pattern := range t.globs {
			i := slices.IndexFunc(c.Rules[:index], func(earlier Rule) bool { return earlier.always(t.kind, pattern) })
			if i < 0 {
				return nil
			}
			if name := c.Rules[i].String(); !by[name] {
				by[name] = true
				names = append(names, fmt.Sprintf("rule %d (%s)", i+1, name))
			}
		}
	}
	return fmt.Errorf("it never decides anything: %s, further up, covers all of it; put it before that", strings.Join(names, " and "))
}

// always reports whether a rule decides every call that a glob fits.
func (r Rule) always(kind, pattern string) bool {
	if len(r.When) > 0 {
		return false
	}
	covers := func(globs []string, pattern string) bool {
		return slices.ContainsFunc(globs, func(g string) bool {
			wide := newGlob(g)
			return wide.covers(pattern)
		})
	}
	methods := uses[kind]
	for _, t := range r.targets() {
		if t.kind == kind && covers(t.globs, pattern) {
			return true
		}
	}
	for _, method := range methods {
		if !covers(r.Methods, method) {
			return false
		}
	}
	// A rule about all tools is one about their method.
	return len(methods) > 0 || pattern == mcp.MethodCallTool && slices.Contains(r.Tools, "*")
}
