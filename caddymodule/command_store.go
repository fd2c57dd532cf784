package caddymodule

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

func init() {
	caddycmd.RegisterCommand(storeCommand())
}

// storeCommand is caddy mcp-store: work on the store while no Caddy runs. How
// records are copied is in command_store_copy.go.
func storeCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "mcp-store",
		Usage: "copy [flags]",
		Short: "Copies the store of the authorization server into another one",
		Long: `
Copies all that the authorization server keeps into another store, so that
moving to it signs nobody out. See 'caddy mcp-store copy --help'.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.AddCommand(copyStoreCommand())
			cmd.RunE = func(*cobra.Command, []string) error {
				return errors.New("mcp-store needs copy: caddy mcp-store copy --help explains it")
			}
		},
	}
}

// storeFlags say which stores are meant.
type storeFlags struct{ from, to, config, adapter string }

func copyStoreCommand() *cobra.Command {
	var f storeFlags
	cmd := &cobra.Command{
		Use:   "copy [--from <store>] [--to <store>] [--config <file>] [--adapter <name>]",
		Short: "Copies one store into another, so that moving to it signs nobody out",
		Long: `
Copies clients, grants, revocations, used keys and the key ring from one store
into another. Afterwards every sign-in, token and registered client goes on to
work with the new store.

A store is written as it stands in a Caddyfile behind 'store'. One of --from and
--to may be left out: then it is the store of the configuration, which is that
of --config, or the Caddyfile in this folder.

Stop every Caddy that uses one of the two stores before, and start them with the
new store afterwards; the old one must not be used again. The new store must not
have a key ring, which is what it gets last, after both were compared: until then
the command can be interrupted and repeated.

Servers with 'secret … derive' keep no key ring. If the old store has none, the
new one gets none, and it must be empty or have nothing but what an interrupted
copy of the old one has left.`,
		Example: `  $ caddy mcp-store copy --to 'postgres {env.DATABASE_URL}'
  $ caddy mcp-store copy --from embedded --config /etc/caddy/Caddyfile
  $ caddy mcp-store copy --from 'embedded /var/lib/mcp.db' --to 'redis localhost:6379'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				// What stands there may be an address with a password.
				return errors.New("copy takes flags only: quote the store, as in --to 'postgres {env.DATABASE_URL}'")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return copyStore(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "The store to copy, as it stands behind 'store' in a Caddyfile; default: that of the configuration")
	flags.StringVar(&f.to, "to", "", "The store to fill, in the same form; default: that of the configuration")
	flags.StringVarP(&f.config, "config", "c", "", "The configuration file, for the store that is left out")
	flags.StringVarP(&f.adapter, "adapter", "a", "", "The name of its configuration adapter")
	return cmd
}

// copyStore runs mcp-store copy.
func copyStore(cmd *cobra.Command, f storeFlags) error {
	ctx, err := quietly(cmd.Context())
	if err != nil {
		return err
	}
	from, to, err := f.ends()
	if err != nil {
		return err
	}
	source, closeSource, err := from.open(ctx)
	if err != nil {
		return err
	}
	defer closeSource()
	c := storeCopy{source: source, from: from, to: to, progress: cmd.ErrOrStderr()}
	done, err := c.run(ctx)
	if err != nil {
		return oneLine(err.Error())
	}
	rings := min(len(c.ring), 1)
	fmt.Fprintf(cmd.OutOrStdout(), "Copied from %s to %s, and compared:\n%s  key ring      %d\n"+
		"Start every Caddy with the new store now, and the old one never again.\n", from.name, to.name, done.String(), rings)
	return nil
}

// storeEnd is one of the two stores.
type storeEnd struct {
	// StoreRaw is as in the configuration of the app.
	StoreRaw json.RawMessage `caddy:"namespace=mcp_auth.stores inline_key=module"`
	// flag is where it was to be given, name the module.
	flag, name string
}

// ends returns the two stores.
func (f storeFlags) ends() (from, to *storeEnd, err error) {
	if f.from == "" && f.to == "" {
		return nil, nil, errors.New("--from and --to are missing: one of them may be left out, for the store of the configuration, " +
			"as in caddy mcp-store copy --to 'postgres {env.DATABASE_URL}'")
	}
	if f.from != "" && f.to != "" && f.config+f.adapter != "" {
		return nil, nil, errors.New("--config is of no use with both --from and --to: leave one of the three out")
	}
	if from, err = f.end("--from", f.from); err != nil {
		return nil, nil, err
	}
	to, err = f.end("--to", f.to)
	return from, to, err
}

func (f storeFlags) end(flag, text string) (*storeEnd, error) {
	e := &storeEnd{flag: flag}
	var err error
	if text == "" {
		e.StoreRaw, err = f.configured(flag)
	} else {
		e.StoreRaw, err = parseStore(flag, text)
	}
	if err != nil {
		return nil, err
	}
	var module struct {
		Module string `json:"module"`
	}
	if err := json.Unmarshal(e.StoreRaw, &module); err != nil {
		return nil, fmt.Errorf("the store of the configuration: %w", err)
	}
	e.name = module.Module
	return e, nil
}

// configured returns the store of the configuration.
func (f storeFlags) configured(flag string) (json.RawMessage, error) {
	text, _, _, err := caddycmd.LoadConfig(f.config, f.adapter)
	if err != nil {
		return nil, fmt.Errorf("%s is left out, and the configuration can't be read: %w", flag, oneLine(err.Error()))
	}
	var config struct {
		Apps struct {
			Auth *struct {
				Store json.RawMessage `json:"store"`
			} `json:"mcp_auth"`
		} `json:"apps"`
	}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &config); err != nil {
			return nil, fmt.Errorf("the configuration is no JSON: %w", err)
		}
	}
	switch app := config.Apps.Auth; {
	case app == nil:
		return nil, fmt.Errorf("%s is left out, and there is no configuration with mcp_auth: give the store, or the configuration with --config", flag)
	case app.Store == nil:
		return json.RawMessage(defaultStore), nil
	default:
		return app.Store, nil
	}
}

// parseStore reads a store as it stands in a Caddyfile. No error repeats what
// was typed, which may be an address with a password.
func parseStore(flag, text string) (json.RawMessage, error) {
	tokens, err := caddyfile.Tokenize([]byte("store "+text), flag)
	if err != nil || len(tokens) < 2 {
		return nil, fmt.Errorf("%s is not a store as it stands in a Caddyfile, as in %s 'postgres {env.DATABASE_URL}'", flag, flag)
	}
	name := tokens[1].Text
	if _, err := caddy.GetModule("mcp_auth.stores." + name); err != nil {
		return nil, fmt.Errorf("%s begins with a store that this Caddy does not have; it has %s", flag, knownStores())
	}
	var raw json.RawMessage
	d := caddyfile.NewDispenser(tokens)
	d.Next()
	if err = guest("mcp_auth.stores.", &raw)(d); err == nil && d.Next() {
		err = errors.New("there is more behind it than one store")
	}
	if err != nil {
		return nil, fmt.Errorf("%s is not a store as it stands in a Caddyfile: %s", flag, withoutTokens(err.Error(), tokens[2:]))
	}
	return raw, nil
}

// withoutTokens takes what was typed out of a text.
func withoutTokens(text string, tokens []caddyfile.Token) string {
	typed := map[string]bool{}
	for _, token := range tokens {
		typed[token.Text] = true
	}
	for _, token := range slices.SortedFunc(maps.Keys(typed), func(a, b string) int { return cmp.Compare(len(b), len(a)) }) {
		if token != "" && token != "{" && token != "}" {
			text = strings.ReplaceAll(text, token, "…")
		}
	}
	return strings.ReplaceAll(text, "\n", "; ")
}

// knownStores lists the stores that this Caddy was built with.
func knownStores() string {
	var names []string
	for _, module := range caddy.GetModules("mcp_auth.stores") {
		names = append(names, module.ID.Name())
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// quietly returns a context in which modules can be loaded, and what is logged
// below warnings is left out.
func quietly(ctx context.Context) (caddy.Context, error) {
	quiet, err := caddy.ProvisionContext(&caddy.Config{Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{Level: "WARN"}},
	}}})
	if err != nil {
		return quiet, fmt.Errorf("preparing the log: %w", err)
	}
	quiet.Context = ctx
	return quiet, nil
}

// open opens the store, until the function that it returns is called.
func (e *storeEnd) open(ctx caddy.Context) (store.Store, context.CancelFunc, error) {
	opening, cancel := caddy.NewContext(ctx)
	raw := slices.Clone(e.StoreRaw) // loading a module takes the text away
	guest, err := opening.LoadModule(e, "StoreRaw")
	e.StoreRaw = raw
	s, isStore := guest.(store.Store)
	if err == nil && isStore {
		return s, cancel, nil
	}
	cancel()
	if err == nil {
		err = fmt.Errorf("module %T is not a store", guest)
	}
	return nil, nil, e.openError(err)
}

// openError says which store can't be opened, and what to do.
func (e *storeEnd) openError(err error) error {
	text := err.Error()
	if strings.Contains(text, "in use by another process") {
		return fmt.Errorf("the %s store (%s) is in use: stop every Caddy that uses it, and start it with the new store when all is copied", e.name, e.flag)
	}
	if marks := wrapping.FindAllStringIndex(text, -1); len(marks) > 0 {
		text = text[marks[len(marks)-1][1]:]
	}
	return fmt.Errorf("opening the %s store (%s): %w", e.name, e.flag, oneLine(text))
}
