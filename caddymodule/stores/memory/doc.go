// Package memory keeps the authorization server's state in this process only:
// the Caddy guest module mcp_auth.stores.memory, for tests and for servers that
// are thrown away.
//
// It owns nothing but the Caddy glue; the store is [store.Memory] of package
// core/store. The state survives a configuration reload and is lost when Caddy
// exits: everybody signs in again, and what clients hold from before (client
// ids, tokens) is void, as the keys are gone too. To keep it, use the embedded
// store.
package memory
