package caddymodule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/policy"
)

// parseHierarchy reads: hierarchy <widest> ... <narrowest>.
func (h *Handler) parseHierarchy(d *caddyfile.Dispenser) error {
	h.Policy.Hierarchy = append(h.Policy.Hierarchy, d.RemainingArgs())
	if err := policy.CheckHierarchy(h.Policy.Hierarchy); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// parseDefault reads: default allow|deny.
func (h *Handler) parseDefault(d *caddyfile.Dispenser) error {
	if h.Policy.Default != "" {
		return d.Err("default occurs twice")
	}
	if !d.AllArgs(&h.Policy.Default) || h.Policy.Default != policy.ActionAllow && h.Policy.Default != policy.ActionDeny {
		return d.Err("default takes allow or deny")
	}
	return nil
}

// parseRule reads one rule, in a line or a block. What it needs of the rest of the
// directive is checked when all of that is known.
//
//	tool|prompt|resource_uri|method <glob...> allow|deny
//	tool|prompt|resource_uri|method <glob...> require <condition>
//	tool|prompt|resource_uri|method <glob...> {
//		when    <condition>
//		require <condition>
//		allow
//		deny
//		audit   <argument...>
//	}
func (h *Handler) parseRule(d *caddyfile.Dispenser) error {
	kind := d.Val()
	rule := policy.Rule{Source: fmt.Sprintf("%s:%d", d.File(), d.Line())}
	globs := map[string]*[]string{
		"tool": &rule.Tools, "prompt": &rule.Prompts, "resource_uri": &rule.ResourceURIs, "method": &rule.Methods,
	}[kind]
	options := ruleOptions(&rule)
	decided := false
	for !decided && d.NextArg() {
		word := d.Val()
		if decided = !d.Token().Quoted() && slices.Contains([]string{"allow", "deny", "require"}, word); decided {
			if err := options[word](d); err != nil {
				return err
			}
			continue
		}
		if err := notReserved(d); err != nil {
			return err
		}
		*globs = append(*globs, word)
	}
	if len(*globs) == 0 {
		return d.Errf("%s needs a name, or several, in which * stands for any text", kind)
	}
	if !decided {
		if err := parseBlock(d, kind, options); err != nil {
			return err
		}
	}
	h.Policy.Rules = append(h.Policy.Rules, rule)
	return nil
}

// reserved are the words of rules. Among names they would be a part of the rule that
// is not read as one, and the rule laxer than it looks.
var reserved = []string{
	"allow", "deny", "require", "when", "audit",
	"scope", "group", "user", "email", "client", "login", "max_age", "remote_ip", "expression",
}

// notReserved refuses words of rules as names, unless they stand in quotes.
func notReserved(d *caddyfile.Dispenser) error {
	if word := d.Val(); slices.Contains(reserved, word) && !d.Token().Quoted() {
		return d.Errf("%[1]s is a word of rules and stands among names: several conditions need a block, one on each line; a name that is really %[1]s needs quotes: \"%[1]s\"", word)
	}
	return nil
}

func ruleOptions(rule *policy.Rule) map[string]option {
	action := func(d *caddyfile.Dispenser) error {
		if rule.Action != "" {
			return d.Errf("a rule has one of allow and deny, once")
		}
		rule.Action = d.Val()
		if d.NextArg() {
			return d.Errf("%s is the end of a rule, and %q follows: what else it needs goes into a block", rule.Action, d.Val())
		}
		return nil
	}
	return map[string]option{
		"when":    conditions(&rule.When),
		"require": conditions(&rule.Require),
		"allow":   action,
		"deny":    action,
		"audit":   list(&rule.Audit),
	}
}

// conditions takes a condition and its values, and may be repeated:
//
//	scope|group|user|email|client|login <value...>
//	max_age    <duration>
//	remote_ip  <cidr...>
//	expression <cel>
func conditions(list *[]policy.Condition) option {
	return func(d *caddyfile.Dispenser) error {
		where := d.Val()
		var c policy.Condition
		fields := map[string]*[]string{
			"scope": &c.Scopes, "group": &c.Groups, "user": &c.Users, "email": &c.Emails,
			"client": &c.Clients, "login": &c.Logins, "remote_ip": &c.RemoteIPs,
		}
		if !d.NextArg() {
			return d.Errf("%s needs a condition, such as: %s scope tickets:read", where, where)
		}
		kind := d.Val()
		switch field := fields[kind]; {
		case kind == "expression":
			c.Expression = expressionArgs(d)
		case kind == "max_age":
			values := d.RemainingArgs()
			age, err := caddy.ParseDuration(strings.Join(values, " "))
			if err != nil || age <= 0 {
				return d.Errf("max_age takes a duration such as 15m, 8h or 7d")
			}
			c.MaxAge = policy.Duration(age)
		case field != nil:
			for d.NextArg() {
				if err := notReserved(d); err != nil {
					return err
				}
				*field = append(*field, d.Val())
			}
			if len(*field) == 0 {
				return d.Errf("%s %s needs a value", where, kind)
			}
		default:
			return d.Errf("unknown condition: %s (known: client, email, expression, group, login, max_age, remote_ip, scope, user)", kind)
		}
		if kind == "expression" && c.Expression == "" {
			return d.Errf("%s expression needs an expression", where)
		}
		*list = append(*list, c)
		return nil
	}
}

// expressionArgs reads an expression as Caddy's expression matcher does: quotes
// belong to it, unless they are around all of it.
func expressionArgs(d *caddyfile.Dispenser) string {
	if d.CountRemainingArgs() > 1 {
		return strings.Join(d.RemainingArgsRaw(), " ")
	}
	return strings.Join(d.RemainingArgs(), "")
}
