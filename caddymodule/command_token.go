package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
)

func init() {
	caddycmd.RegisterCommand(tokenCommand())
}

// tokenCommand is caddy mcp-token: personal access tokens, by the admin endpoint
// of the Caddy that runs.
func tokenCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "mcp-token",
		Usage: "create|list|revoke [flags]",
		Short: "Makes, lists and revokes personal access tokens",
		Long: `
Makes, lists and revokes personal access tokens for MCP servers whose mcp_auth
directive has personal_access_tokens. It asks the running Caddy, at the address
of --address, or of the configuration file --config, or at the default one.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Example = `  $ caddy mcp-token create --user alice --name "nightly report" --expires 30d
  $ caddy mcp-token list --user alice
  $ caddy mcp-token revoke <id>`
			var admin adminFlags
			admin.define(cmd)
			cmd.AddCommand(createTokenCommand(&admin), listTokensCommand(&admin), revokeTokenCommand(&admin))
			cmd.RunE = func(*cobra.Command, []string) error {
				return errors.New("mcp-token needs one of create, list and revoke: caddy mcp-token --help explains them")
			}
		},
	}
}

// adminFlags say where the running Caddy is, as for caddy reload.
type adminFlags struct{ address, config, adapter string }

func (f *adminFlags) define(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&f.address, "address", "", "The address of the admin endpoint, if it is not that of the configuration")
	flags.StringVarP(&f.config, "config", "c", "", "The configuration file, for the address in it")
	flags.StringVarP(&f.adapter, "adapter", "a", "", "The name of its configuration adapter")
}

// ask sends a request to the running Caddy and reads its answer.
func (f *adminFlags) ask(method, query string, body, answer any) error {
	address, err := caddycmd.DetermineAdminAPIAddress(f.address, nil, f.config, f.adapter)
	if err != nil {
		return fmt.Errorf("finding the address of the running Caddy: %w", err)
	}
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("writing the request: %w", err)
		}
		sent = bytes.NewReader(text)
	}
	resp, err := caddycmd.AdminAPIRequest(address, method, personalTokensPath+query, http.Header{}, sent)
	if err != nil {
		return askError(address, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return fmt.Errorf("reading the answer of the running Caddy: %w", err)
	}
	return nil
}

// askError takes the message out of what Caddy makes of a refusal.
func askError(address string, err error) error {
	_, text, refused := strings.Cut(err.Error(), ": {")
	var refusal struct {
		Error string `json:"error"`
	}
	if refused && json.Unmarshal([]byte("{"+text), &refusal) == nil && refusal.Error != "" {
		return errors.New(refusal.Error)
	}
	return fmt.Errorf("no answer from a Caddy at %s (--address or --config say where it is): %w", address, err)
}

func createTokenCommand(admin *adminFlags) *cobra.Command {
	var order authserver.PersonalOrder
	var expires string
	cmd := &cobra.Command{
		Use:   "create --user <user> --name <name> --expires <duration> [--resource <url>] [--scope <scopes>] [--login <id>]",
		Short: "Makes a token, and writes it to standard output, this once",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			life, err := caddy.ParseDuration(expires)
			if err != nil || life < time.Second {
				return errors.New("--expires is not a duration such as 30d, 12h or 15m")
			}
			order.Seconds = int64(life / time.Second)
			var made authserver.MintedPersonal
			if err := admin.ask(http.MethodPost, "", order, &made); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "Token %q of %s for %s (%s), until %s.\nIt is shown only this once. To end it: caddy mcp-token revoke %s\n",
				made.Name, made.User, made.Resource, made.Scope, at(made.Expires), made.ID)
			fmt.Fprintln(cmd.OutOrStdout(), made.Token)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&order.User, "user", "", "Whose it is: the user as servers know them, X-Mcp-User (required)")
	flags.StringVar(&order.Name, "name", "", "What it is called on the account page and in the log (required)")
	flags.StringVar(&expires, "expires", "30d", "How long it lives, such as 12h, 30d or 365d")
	flags.StringVar(&order.Resource, "resource", "", "The server that it opens; default: the only one that accepts such tokens")
	flags.StringVar(&order.Scope, "scope", "", "What it may do there, scopes separated by spaces; default: the server's for basic use")
	flags.StringVar(&order.Login, "login", "", "The id of the login that knows the user; default: the only one")
	return cmd
}

func listTokensCommand(admin *adminFlags) *cobra.Command {
	var user string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list --user <user> [--json]",
		Short: "Lists the tokens of a user",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var tokens []authserver.PersonalToken
			if err := admin.ask(http.MethodGet, "?"+url.Values{"user": {user}}.Encode(), nil, &tokens); err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(tokens)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tSERVER\tSCOPE\tCREATED\tEXPIRES\tLAST USED\tFROM\tID")
			for _, t := range tokens {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.Name, t.Resource, t.Scope, at(t.Created), at(t.Expires), at(t.LastUsed), t.LastUsedFrom, t.ID)
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "Whose tokens: the user as servers know them, X-Mcp-User (required)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Write JSON")
	return cmd
}

func revokeTokenCommand(admin *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke <id>|<token>",
		Short: "Ends a token, by its id or by itself",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("revoke takes the id of one token, which list shows, or one token")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var ended authserver.PersonalToken
			// The token itself does not leave this process.
			if err := admin.ask(http.MethodDelete, "?"+url.Values{"id": {authserver.PersonalID(args[0])}}.Encode(), nil, &ended); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "Token %q of %s is revoked.\n", ended.Name, ended.User)
			return nil
		},
	}
}

// at writes a moment for people.
func at(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04 MST")
}
