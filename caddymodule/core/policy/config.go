package policy

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// The words for Config.Default and Rule.Action.
const (
	ActionAllow = "allow"
	ActionDeny  = "deny"
)

// Config is the policy of one resource.
type Config struct {
	// The rules in their order: the first one whose target and `when` fit a call
	// decides. Default: none, and then everything is allowed.
	Rules []Rule `json:"rules,omitempty"`

	// What happens to calls that no rule decides: `allow` or `deny`. What MCP
	// itself cannot do without is allowed whatever stands here. Default: `deny` if
	// there are rules, and `allow` if there are none.
	Default string `json:"default,omitempty"`

	// Scopes that contain others, from the widest to the narrowest: who has a scope
	// has those after it in its list. Example:
	// `[["tickets:admin", "tickets:refund", "tickets:read"]]`
	Hierarchy [][]string `json:"hierarchy,omitempty"`

	// Only logs what the rules would refuse, and lets it pass. Default: no.
	DryRun bool `json:"dry_run,omitempty"`

	// Keeps in lists of tools, prompts and resources what the caller cannot use yet
	// but could after asking for more scopes. Default: no, lists show what the token
	// may use.
	ListStepUp bool `json:"list_step_up,omitempty"`
}

// Rule is what must hold for some calls. It has at least one target, and an
// action or requirements. Targets are globs in which `*` stands for any text,
// slashes included, and everything else for itself, in its case.
type Rule struct {
	// The tools that it is about: their calls.
	Tools []string `json:"tools,omitempty"`

	// The prompts that it is about: getting them and completing their arguments.
	Prompts []string `json:"prompts,omitempty"`

	// The URIs of the resources that it is about: reading them, subscribing to them
	// and completing the arguments of their templates.
	ResourceURIs []string `json:"resource_uris,omitempty"`

	// The methods of the protocol that it is about, whatever they are called with.
	Methods []string `json:"methods,omitempty"`

	// Conditions that must all hold for the rule to decide; if one does not, the next
	// rule is looked at. Of several values of one condition, one is enough.
	When []Condition `json:"when,omitempty"`

	// Conditions that must all hold for the call to pass. Of several scopes all are
	// needed, and of several values of another condition, one.
	Require []Condition `json:"require,omitempty"`

	// `allow` or `deny`, for a rule without `require`.
	Action string `json:"action,omitempty"`

	// The names of the arguments whose values go into the audit log. Default: none.
	Audit []string `json:"audit,omitempty"`

	// Where the rule was written, for errors and explanations. The Caddyfile sets
	// it. Example: `Caddyfile:12`
	Source string `json:"source,omitempty"`
}

// Condition is one thing about a caller or a call. Exactly one of its fields is
// set.
type Condition struct {
	// Scopes of the token, with those that the hierarchy adds.
	Scopes []string `json:"scopes,omitempty"`

	// Groups of the user as the login names them.
	Groups []string `json:"groups,omitempty"`

	// Users by the `sub` of their tokens.
	Users []string `json:"users,omitempty"`

	// E-mail addresses as globs, without regard to case. Only addresses that the
	// login vouches for count.
	Emails []string `json:"emails,omitempty"`

	// Clients by globs for their id; one whose id is a URL, by globs for its host.
	// Example: `["claude.ai", "my-script"]`
	Clients []string `json:"clients,omitempty"`

	// Logins by their id: how the user signed in.
	Logins []string `json:"logins,omitempty"`

	// The longest time since the user signed in. Example: `"15m"`
	MaxAge Duration `json:"max_age,omitempty"`

	// Addresses of the client, or ranges of them. Example: `["10.0.0.0/8"]`
	RemoteIPs []string `json:"remote_ips,omitempty"`

	// An expression in Caddy's CEL that must be true. Example:
	// `"{http.mcp.arguments.amount} <= 100"`
	Expression string `json:"expression,omitempty"`
}

// Duration is a time span. In JSON it is text such as "15m" or "7d", or a number
// of nanoseconds.
type Duration time.Duration

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return json.Unmarshal(text, (*int64)(d))
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		*d = Duration(time.Duration(n) * 24 * time.Hour)
		return err
	}
	span, err := time.ParseDuration(s)
	*d = Duration(span)
	return err
}

// String writes the span without parts that are zero.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// String names the rule by its target as a Caddyfile has it, such as "tool
// refund".
func (r Rule) String() string {
	var parts []string
	for _, t := range r.targets() {
		if len(t.globs) > 0 {
			parts = append(parts, t.kind+" "+strings.Join(t.globs, " "))
		}
	}
	return strings.Join(parts, ", ")
}

// target is a list of globs and what they are for.
type target struct {
	kind  string
	globs []string
}

func (r Rule) targets() [4]target {
	return [4]target{{"tool", r.Tools}, {"prompt", r.Prompts}, {"resource_uri", r.ResourceURIs}, {"method", r.Methods}}
}

// String says the condition as a Caddyfile has it.
func (c Condition) String() string {
	kind, values, err := c.field()
	if err != nil {
		return err.Error()
	}
	return kind + " " + strings.Join(values, " ")
}

var errOneField = errors.New("a condition has exactly one of scopes, groups, users, emails, clients, logins, max_age, remote_ips and expression")

// field returns the one condition that is set: its name in a Caddyfile, and its
// values.
func (c Condition) field() (kind string, values []string, err error) {
	fields := []target{
		{"scope", c.Scopes},
		{"group", c.Groups},
		{"user", c.Users},
		{"email", c.Emails},
		{"client", c.Clients},
		{"login", c.Logins},
		{"remote_ip", c.RemoteIPs},
	}
	if c.MaxAge != 0 {
		fields = append(fields, target{"max_age", []string{c.MaxAge.String()}})
	}
	if c.Expression != "" {
		fields = append(fields, target{"expression", []string{c.Expression}})
	}
	fields = slices.DeleteFunc(fields, func(t target) bool { return t.globs == nil })
	if len(fields) != 1 {
		return "", nil, errOneField
	}
	return fields[0].kind, fields[0].globs, nil
}

// Groups returns the groups that rules name, in the order of the rules.
func (c Config) Groups() []string {
	var all oauth.Scope // a set in order, whatever its elements mean
	for _, r := range c.Rules {
		for _, condition := range slices.Concat(r.When, r.Require) {
			all = all.Union(condition.Groups)
		}
	}
	return all
}

// fallback returns what happens to calls that no rule decides.
func (c Config) fallback() string {
	if len(c.Rules) == 0 {
		return cmp.Or(c.Default, ActionAllow)
	}
	return cmp.Or(c.Default, ActionDeny)
}

// RuleError is what is wrong with one rule.
type RuleError struct {
	// Index is the rule's place in Config.Rules, from 0.
	Index int
	// Rule is its target.
	Rule string
	// Source is where it was written, if that is known.
	Source string
	Err    error
}

func (r Rule) wrong(index int, err error) error {
	return &RuleError{Index: index, Rule: r.String(), Source: r.Source, Err: err}
}

// Error implements error.
func (e *RuleError) Error() string {
	at := ""
	if e.Source != "" {
		at = ", at " + e.Source
	}
	return fmt.Sprintf("rule %d (%s): %v%s", e.Index+1, cmp.Or(e.Rule, "no target"), e.Err, at)
}

// Unwrap returns what is wrong.
func (e *RuleError) Unwrap() error { return e.Err }
