// Command plain is Caddy with its standard modules and nothing of ours: what
// the gateway's binary, its start and its idle memory are compared with.
//
// It owns no code of its own. The measuring is in package bench.
package main
