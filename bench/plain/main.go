package main

import (
	_ "time/tzdata" // as in Caddy's own command, and in ours

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

func main() { caddycmd.Main() }
