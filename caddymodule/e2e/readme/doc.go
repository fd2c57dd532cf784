// Package readme tests that the README and the examples are true: it runs the
// README's shell blocks in bash, starts its Caddyfiles and those of the
// examples, and compares its tables with what the parser, the configuration
// structs and a running gateway know.
//
// It owns no behaviour of its own. In the README a block marked sh is run; one
// marked console is only shown, because it installs, builds or starts
// something. That the Caddyfiles and compose files of the examples are well
// formed is tested in examples.
package readme
