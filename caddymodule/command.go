package caddymodule

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func init() {
	caddycmd.RegisterCommand(gatewayCommand())
}

// gatewayCommand is caddy mcp-gateway, the quick start: a gateway with one user
// in front of one MCP server, without a file.
//
// It writes a Caddyfile and serves that, so what it does and what --print shows
// can't differ. Its parts: command_flags.go checks what was typed,
// command_caddyfile.go has the Caddyfile, command_password.go asks for the
// password, command_checks.go finds out beforehand what would fail.
func gatewayCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "mcp-gateway",
		Usage: "--to <host:port> [--from <host>] [--path <path>] [--user <name>] [--password-hash <hash>] [--print]",
		Short: "Puts a sign-in in front of an MCP server",
		Long: `
Protects an MCP server with OAuth, for one user: asks for a password, serves,
and prints the URL to add to MCP clients. When a client connects, a page in the
browser asks for that password, and whether the client may come in.

Without --from it serves http://localhost:8080, for clients on this machine.
With --from and a public name it serves https://, and Caddy gets the certificate
by itself: the name must point at this machine, and ports 80 and 443 be open.

The password is typed twice and not shown; where there is no terminal, it is the
first line of standard input. --password-hash takes a hash from
'caddy hash-password' instead, and then nothing is asked.

With --print nothing is served: it writes the Caddyfile that the command stands
for, which is where to go on from when there is more than one user or server.

State is kept in Caddy's data directory: clients stay signed in when the command
is started again with the same password, and with another one they don't.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Example = `  $ caddy mcp-gateway --to localhost:9000
  $ caddy mcp-gateway --to localhost:9000 --from mcp.example.com --user alice
  $ caddy mcp-gateway --to localhost:9000 --from mcp.example.com --print > Caddyfile`
			var f gatewayFlags
			f.define(cmd)
			cmd.Args = func(_ *cobra.Command, args []string) error {
				if len(args) > 0 {
					// What stands there may be a password.
					return errors.New("mcp-gateway takes flags only: the MCP server goes behind --to, as in --to localhost:9000")
				}
				return nil
			}
			cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
				return fmt.Errorf("%w: caddy mcp-gateway --help lists the flags", err)
			})
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return runGateway(cmd, &f) }
		},
	}
}

// runGateway prints, or serves until a signal ends the process. Its errors are
// one line each; cobra prints them, and the process exits with 1.
func runGateway(cmd *cobra.Command, f *gatewayFlags) error {
	g, err := f.gateway()
	if err != nil {
		return err
	}
	if !f.print {
		// Before the password: nobody types it twice to learn of a busy port.
		if err := g.check(cmd.Context()); err != nil {
			return err
		}
	}
	if g.Hash == "" {
		salt, err := gatewaySalt(caddy.AppDataDir(), !f.print)
		if err != nil {
			return err
		}
		if g.Hash, err = askHash(cmd.InOrStdin(), cmd.ErrOrStderr(), g.User, salt); err != nil {
			return err
		}
	}
	text, err := g.caddyfile()
	if err != nil {
		return err
	}
	if f.print {
		_, err = cmd.OutOrStdout().Write(text)
		return err
	}
	config, err := adaptText(text)
	if err != nil {
		return startError(err)
	}
	caddy.TrapSignals()
	if err := caddy.Load(config, true); err != nil {
		return startError(err)
	}
	fmt.Fprint(cmd.OutOrStdout(), g.welcome())
	select {} // signals end the process
}
