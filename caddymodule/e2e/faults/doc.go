// Package faults breaks what the gateway stands on, or floods it, and looks at
// what clients see: real processes, real servers, real disks.
//
// Every promise of docs/reliability.md has its test, here or where that page says.
// The sizes are small by default, `-full` takes large ones, and `-figures FILE`
// writes down what was measured, which `-run TestPage -update` puts into the page:
//
//	go test -timeout 30m ./caddymodule/e2e/faults -skip TestPage -full -figures ../../../docs/reliability.json
package faults
