// Package store says what the authorization server asks of a place to keep
// state: the [Store] interface, its records, and the contract in prose.
//
// It owns the vocabulary and one implementation, [Memory], which keeps nothing
// across a restart. Package storetest is the suite that every implementation
// must pass. Implementations that write to disk or to a server live in
// caddymodule/stores, one folder each, and are Caddy guest modules.
//
// It also has what stands between a store and those who use it: [Clock] tells the
// time that all nodes go by, [Bounded] keeps an outage from taking callers with it,
// [Connect] waits for a server that starts, and [Intercept] lets tests and the
// bounds see every call.
//
// What is kept is small on purpose. Registered clients, pending sign-ins,
// browser sessions and authorization codes are sealed values that clients and
// browsers carry themselves; only grants (what a person approved), keys that
// are used up, revocations and the key ring are stored.
package store
