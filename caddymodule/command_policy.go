package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/spf13/cobra"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/policy"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

func init() {
	caddycmd.RegisterCommand(policyCommand())
}

// policyCommand is caddy mcp-policy: what the rules of a configuration say.
func policyCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "mcp-policy",
		Usage: "explain [flags]",
		Short: "Explains what the rules for MCP calls decide",
		CobraFunc: func(cmd *cobra.Command) {
			cmd.AddCommand(explainCommand())
			cmd.RunE = func(*cobra.Command, []string) error {
				return errors.New("mcp-policy needs explain: caddy mcp-policy explain --help explains it")
			}
		},
	}
}

// explainFlags say which configuration, who calls, and what.
type explainFlags struct {
	config, adapter, resource        string
	user, email, login, client       string
	groups, scopes                   []string
	groupsKnown                      bool
	remote                           string
	age                              time.Duration
	tool, prompt, uri, method, input string
}

func explainCommand() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain [--config <file>] --tool|--prompt|--uri|--method <name> [flags]",
		Short: "Tells which rule decides about a call, and why",
		Long: `
Reads a configuration, without starting it, and tells which rule decides about a
call, what came of each condition, and what the client would be answered.

What is not given of the caller is unknown, as it would be of a token that does
not say it. Scopes are the resource's own for basic use, unless --scope is given.
The address is taken to be verified. Expressions can read the method, the name,
the arguments and what these flags say; where they ask for anything else of a
request, they are unknown.

It exits with 0 if the call is allowed and with 1 if not.`,
		Example: `  $ caddy mcp-policy explain --user alice --group leads --tool refund
  $ caddy mcp-policy explain --config Caddyfile --scope tickets:read --uri file:///hr/pay.txt`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.groupsKnown = cmd.Flags().Changed("group")
			return f.explain(cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.config, "config", "c", "", "The configuration file; default: the Caddyfile in this folder")
	flags.StringVarP(&f.adapter, "adapter", "a", "", "The name of its configuration adapter")
	flags.StringVar(&f.resource, "resource", "", "The URL of the MCP server, if there are several")
	flags.StringVar(&f.user, "user", "", "The user: sub in tokens")
	flags.StringVar(&f.email, "email", "", "The user's e-mail address")
	flags.StringArrayVar(&f.groups, "group", nil, "A group of the user; may be repeated; empty for a user without any")
	flags.StringVar(&f.login, "login", "", "The id of the login")
	flags.StringVar(&f.client, "client", "", "The id of the client")
	flags.StringArrayVar(&f.scopes, "scope", nil, "Scopes of the token; may be repeated")
	flags.StringVar(&f.remote, "remote-ip", "", "The address of the client")
	flags.DurationVar(&f.age, "auth-age", 0, "How long ago the user signed in, such as 10m")
	flags.StringVar(&f.tool, "tool", "", "Calling this tool")
	flags.StringVar(&f.prompt, "prompt", "", "Getting this prompt")
	flags.StringVar(&f.uri, "uri", "", "Reading this resource")
	flags.StringVar(&f.method, "method", "", "This method; with --uri or --prompt, what it is called with")
	flags.StringVar(&f.input, "arguments", "", "The arguments of the call, a JSON object")
	return cmd
}

// errRefused makes the command exit with 1.
var errRefused = errors.New("the call would be refused")

func (f *explainFlags) explain(w io.Writer) error {
	m, err := f.message()
	if err != nil {
		return err
	}
	h, err := f.handler()
	if err != nil {
		return err
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	p, err := h.newPolicy(ctx, time.Now, nil)
	if err != nil {
		return err
	}
	caller, token, err := f.caller(h)
	if err != nil {
		return err
	}
	repl := caddy.NewReplacer()
	of := context.WithValue(ctx, caddy.ReplacerCtxKey, repl)
	of = context.WithValue(of, caddyhttp.VarsCtxKey, map[string]any{})
	r := (&http.Request{Method: http.MethodPost, Header: http.Header{}}).WithContext(of)
	says := &said{message: m}
	repl.Map(f.unknown(says)) // asked first
	says.tell(r, token)
	setPlaceholders(of, token)
	e := p.Explain(of, caller, m)
	writeExplanation(w, h, e)
	if e.Verdict.Outcome != policy.Allowed && !p.DryRun() {
		return errRefused
	}
	return nil
}

// message is the call that the flags describe.
func (f *explainFlags) message() (*mcp.Message, error) {
	m := &mcp.Message{Kind: mcp.Request, Method: f.method, Arguments: []byte(f.input)}
	given := 0
	for _, about := range []struct{ name, method string }{
		{f.tool, mcp.MethodCallTool}, {f.prompt, mcp.MethodGetPrompt}, {f.uri, mcp.MethodReadResource},
	} {
		if about.name == "" {
			continue
		}
		given++
		if m.Method == "" {
			m.Method = about.method
		}
		if about.method == mcp.MethodReadResource {
			m.URIs = []string{about.name}
		} else {
			m.Name = about.name
		}
	}
	switch {
	case given > 1, given == 0 && f.method == "":
		return nil, errors.New("say what is called, with one of --tool, --prompt, --uri and --method")
	case f.input != "" && (!json.Valid(m.Arguments) || !strings.HasPrefix(strings.TrimSpace(f.input), "{")):
		return nil, errors.New(`--arguments is not a JSON object such as '{"amount": 5}'`)
	}
	return m, nil
}

// caller is who the flags describe, and a token that says so.
func (f *explainFlags) caller(h *Handler) (*policy.Caller, *resource.Token, error) {
	c := &policy.Caller{
		Subject: f.user, Email: f.email, EmailVerified: f.email != "", Login: f.login, ClientID: f.client, Scopes: h.Scopes,
	}
	c.Groups = slices.DeleteFunc(slices.Clone(f.groups), func(group string) bool { return group == "" })
	c.GroupsUnknown = !f.groupsKnown
	if len(f.scopes) > 0 {
		var ok bool
		if c.Scopes, ok = oauth.ParseScope(strings.Join(f.scopes, " ")); !ok {
			return nil, nil, errors.New("--scope is not a scope such as tickets:read")
		}
	}
	if f.remote != "" {
		var err error
		if c.Remote, err = netip.ParseAddr(f.remote); err != nil {
			return nil, nil, errors.New("--remote-ip is not an address")
		}
	}
	t := &resource.Token{Scopes: c.Scopes}
	t.Subject, t.Email, t.EmailVerified, t.Groups = c.Subject, c.Email, c.EmailVerified, c.Groups
	t.GroupsUnknown = c.GroupsUnknown
	t.ClientID, t.Login, t.Scope = c.ClientID, c.Login, c.Scopes.String()
	if f.age > 0 {
		c.AuthTime = time.Now().Add(-f.age)
		t.AuthTime = c.AuthTime.Unix()
	}
	return c, t, nil
}

// unknown answers for placeholders of a request of which the flags say nothing, so
// that no expression takes them for empty.
func (f *explainFlags) unknown(says *said) caddy.ReplacerFunc {
	user, email, groups, client := f.user != "", f.email != "", f.groupsKnown, f.client != ""
	known := map[string]bool{
		userPlaceholder + "id": user, userPlaceholder + "email": email, userPlaceholder + "groups": groups,
		userPlaceholder + "client_id": client, userPlaceholder + "scope": true,
	}
	for claim, given := range map[string]bool{
		"sub": user, "email": email, "email_verified": email, "groups": groups, "groups_unknown": groups,
		"client_id": client, "scope": true, "login": f.login != "", "auth_time": f.age > 0,
	} {
		known[claimPlaceholder+claim] = given
	}
	return func(key string) (any, bool) {
		ofCall := strings.HasPrefix(key, mcpPlaceholder) && !strings.HasPrefix(key, claimPlaceholder)
		if !strings.HasPrefix(key, "http.") || ofCall || known[key] {
			return nil, false
		}
		says.doubt = fmt.Errorf("the flags don't say what {%s} is", key)
		return nil, true
	}
}

// handler finds the directive that is meant.
func (f *explainFlags) handler() (*Handler, error) {
	text, _, _, err := caddycmd.LoadConfig(f.config, f.adapter)
	if err != nil {
		return nil, err
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil || tree == nil {
		return nil, errors.New("there is no configuration: --config says where it is")
	}
	var found []*Handler
	var names []string
	for _, raw := range handlersIn(tree) {
		h := new(Handler)
		if err := json.Unmarshal(raw, h); err != nil {
			return nil, fmt.Errorf("reading the directive mcp_auth: %w", err)
		}
		// As setDefaults has it where there is an authorization server.
		if len(h.Scopes) == 0 && len(h.Trust) == 0 {
			h.Scopes = authserver.DefaultScopes
		}
		if f.resource == "" || slices.Contains(h.Resource, f.resource) {
			found = append(found, h)
		}
		names = append(names, h.Resource...)
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(names) == 0 && len(found) == 0:
		return nil, errors.New("the configuration has no mcp_auth directive")
	}
	return nil, fmt.Errorf("--resource must name one of: %s", strings.Join(names, ", "))
}

// handlersIn finds the handlers of a configuration, wherever they are nested.
func handlersIn(tree any) [][]byte {
	var out [][]byte
	switch v := tree.(type) {
	case map[string]any:
		if v["handler"] == "mcp_auth" {
			delete(v, "handler")
			if raw, err := json.Marshal(v); err == nil {
				out = append(out, raw)
			}
			return out
		}
		for _, member := range v {
			out = append(out, handlersIn(member)...)
		}
	case []any:
		for _, element := range v {
			out = append(out, handlersIn(element)...)
		}
	}
	return out
}

// writeExplanation writes for people. Rules that are not about the call are left
// out.
func writeExplanation(w io.Writer, h *Handler, e policy.Explanation) {
	for _, s := range e.Steps {
		if s.Target == policy.No {
			continue
		}
		at := ""
		if s.Index >= 0 {
			at = fmt.Sprintf("rule %d: ", s.Index+1)
			if source := h.Policy.Rules[s.Index].Source; source != "" {
				at = source + ": "
			}
		}
		fmt.Fprintf(w, "%s%s: %s\n", at, s.Rule, does(s))
		for _, list := range []struct {
			word  string
			found []policy.Finding
		}{{"when", s.When}, {"require", s.Require}} {
			for _, finding := range list.found {
				fmt.Fprintf(w, "  %-7s %s: %s%s\n", list.word, finding.Condition, finding.Result, because(finding.Err))
			}
		}
	}
	switch v := e.Verdict; v.Outcome {
	case policy.Allowed:
		fmt.Fprintln(w, "Allowed.")
	case policy.StepUp:
		fmt.Fprintf(w, "Refused until the token has more scopes: 403, insufficient_scope, scope=%q.\nThe client is told: %s\n", v.Scopes.String(), v.Reason)
		fmt.Fprintln(w, "Not looked at: whether the client can get them (scopes of client, unvetted_scopes). One that can't is denied without a challenge.")
	default:
		fmt.Fprintf(w, "Refused, whatever the scopes.\nThe client is told: %s\n", v.Reason)
	}
	if h.Policy.DryRun && e.Verdict.Outcome != policy.Allowed {
		fmt.Fprintln(w, "With dry_run, this is only logged.")
	}
}

// does says what a step comes to.
func does(s policy.Step) string {
	switch {
	case s.Decides:
		return "decides"
	case s.Applies == policy.No:
		return "does not apply"
	case s.Target == policy.Unknown:
		return "may be about it, which is a matter of how the server reads the URI; the call must pass with and without it"
	case s.Applies == policy.Unknown:
		return "may apply; the call must pass with and without it"
	}
	return "applies; a stricter one decides"
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return " (" + err.Error() + ")"
}
