// Command mockmcp runs the example MCP server alone.
//
// It owns its flags, its exit codes and the listener: 0 after --help or a signal to stop, 1 when it can't run (a busy
// port), 2 for a wrong flag. Everything that the server does is in package mockmcp.
package main
