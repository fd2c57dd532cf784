// Package redis keeps the authorization server's state on Redis or Valkey
// servers, for several nodes on one state: the Caddy guest module
// mcp_auth.stores.redis.
//
// It owns the layout of the keys, the scripts, and what it asks of the servers'
// options. What the records mean and what each method promises is written in
// package core/store; that this store keeps those promises is checked by
// core/store/storetest, against real servers: one alone, and a Cluster.
//
// # Layout
//
// The state has sixteen shards, of which each is in one hash slot of a Cluster;
// on a single server they are there as well. A key is prefix, shard and kind, such
// as mcp_auth:{7}:ends. A grant's shard follows from its id, that of a used key
// from its hash, of a client from its key, of an announced revocation from what it
// names:
//
//	grant:ID  hash: what scripts change or compare in fields, the rest as JSON
//	used      hash: SHA-256 of a used key → when it was used, until when that counts
//	clients   hash: a client's key → version, 1 if deleted, JSON; never swept
//	feed      sorted set by number: number, time, JSON of an entry
//	meta      hash: number and time of the feed's newest entry, ever; Ping's mark
//	persons   sorted set by text: SHA-256 of a subject + time of creation, digits
//	          turned round + grant id; has the grants that are not revoked
//	ends      sorted set by milliseconds: what ends then; what Sweep walks
//	names     sorted set by text: grants, used keys, clients; what Records walks
//	ring      hash, in shard 0 only: the key ring and its version
//	layout    hash, in shard 0 only: layout, the number of this layout, and serves,
//	          the oldest that it serves
//
// and prefix:feed is the channel of new entries. Times are texts of 21 digits,
// seconds since the year 1 and nanoseconds, which compare as the times do. Numbers
// of 64 bits are texts too: the numbers of Lua have 53 bits.
//
// No key has a time to live. Scripts compare with the now that they are given, and
// Sweep removes what is over. So a server's clock that jumps takes nothing away,
// and the eviction policies that remove only keys with a time to live, which
// managed servers come with, do no harm. Those that remove any key are refused.
//
// # Layouts
//
// This is layout 1. Whoever opens the store writes its number where there is none,
// or an older one; Ping does it again where a server was flushed. The node of the
// previous version that still runs beside a new one must not notice. So a new
// layout
//
//   - only adds: fields and keys. What an older program writes must be complete
//     without it, and what it leaves alone must stay right;
//   - says in serves the oldest layout whose programs may go on. A layout that
//     can't be additive says its own number: older programs then refuse it when
//     they start, and those that run must be stopped before.
//
// A program that finds a newer layout goes on if that serves its own, and
// otherwise refuses it with the way out.
//
// # Steps
//
// Each protocol step is one script (scripts/), which names all its keys, of one
// shard. The client repeats a step whose answer got lost. For this every call that
// writes has a random id, which the script keeps with what it changed: a call that
// comes again gets the first answer again. Without it, the second attempt of
// CreateGrant would find the grant of the first and take it for a replayed code.
// Only Announce may write twice; the feed may repeat entries.
//
// Three methods go to several shards: TouchGrants, Restore and Sweep are one step
// in each shard, and not in all together. Grants and Revocations read all shards
// in one round trip; what changes meanwhile may or may not be seen, as if the call
// had come a moment earlier or later.
//
// # The feed
//
// Each shard numbers its own entries, so that none becomes visible before one of
// a lower number. A cursor has number and time of the last entry read in every
// shard. If that entry is not there, or is another one, because the server was
// flushed, restored, or lost its last writes in a failover, the shard is read from
// the beginning: entries repeat, none is missed. Entries of several shards are put
// in the order of the servers' times. A shard of a Cluster that does not answer keeps
// its place in the cursor, and is logged; the others' entries come all the same.
// Only the first read, from the empty cursor, is all or an error.
//
// Appending publishes to the channel. One subscription serves all who wait; when
// it had to be renewed all are woken, for what they missed.
package redis
