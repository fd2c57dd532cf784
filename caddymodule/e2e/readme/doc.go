// Package readme tests that the README, the pages in docs and the examples are
// true: it runs shell blocks in bash, starts every Caddyfile, those of the
// examples too, compares tables of options with what the parsers, the
// configuration structs and a running gateway know, and holds what the gateway
// says of configurations that can't work.
//
// It owns no behaviour of its own. A block marked sh is run; one marked console
// is only shown, because it installs, builds or starts something. A Caddyfile
// that does not begin with a brace is options of the global option mcp_auth.
// That the Caddyfiles and compose files of the examples are well formed is
// tested in examples.
package readme
