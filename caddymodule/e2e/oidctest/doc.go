// Package oidctest runs a real OpenID provider for tests: oidc-provider of npm,
// on a free port of this machine, with accounts and clients that the test names.
//
// It owns the provider's process and what a person does on its pages. The script
// it runs is ../node/oidc-provider.mjs; run npm ci in ../node first. Without it
// the tests are skipped, or fail if REQUIRE_BACKENDS=1.
package oidctest
