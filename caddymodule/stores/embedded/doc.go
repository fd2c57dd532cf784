// Package embedded keeps the authorization server's state in one file beside
// Caddy, with nothing else to run: the store for a single node, and the
// default. It is the Caddy guest module mcp_auth.stores.embedded.
//
// It owns the file: its layout, its lock, its permissions and its single
// writer. What the records mean and what each method promises is written in
// package core/store; that this store keeps those promises is checked by
// core/store/storetest. Several nodes on one state need another store.
//
// # The file
//
// The file is a bbolt database (a copy-on-write B+tree in one file; a commit
// is two fsyncs, and a crash leaves the last commit). Its buckets:
//
//	meta          schema version, feed id, newest feed number, key ring, how often
//	              a client was put, probe
//	grants        grant id → record
//	grants_due    end of a grant + its id → nothing; what Sweep walks
//	persons       SHA-256 of a subject + time of creation, bits flipped + grant
//	              id → nothing; has the grants that are not revoked
//	used          SHA-256 of a used key → when it was used, and until when that counts
//	used_due      end of a used key + its hash → nothing
//	clients       a client's key → what became of it; never swept
//	revoked       feed number → entry
//	revoked_due   end of an entry + its feed number → nothing
//
// A person's grants stand together, the newest first, so that listing some
// reads no more than those. Hashes have one length: no subject is the beginning
// of another, and none is too long for a key.
//
// bbolt guards its header with a checksum and its pages with nothing. So every
// value begins with a CRC-32C over bucket, key and value, which every read
// checks: a flipped bit is an outage, never another user's name.
//
// # Opening
//
// A file is proven before it is used: page by page, with plain reads and
// before anything is mapped or written (check.go). Whatever fails is refused
// with the path and the way out, and not one byte of it changes. An empty
// file, and a database without any bucket, are taken for new.
//
// A file of an older layout is proven in the same way and then brought to this
// one, 4, in one transaction (migrate.go). Layout 1 had no persons and no used
// keys, layout 2 no clients, layout 3 no sealed records. There is no way back,
// whether anything is sealed or not: older versions of this program refuse the
// file and leave it alone.
//
// # Writing
//
// One goroutine writes (writer.go). It takes all that is waiting, up to a
// limit, into one transaction and answers after the commit: a lone write waits
// for nobody, a crowd shares the fsync. Before each commit it makes sure that
// the file is still the one at its path, because a write into a deleted file
// would be acknowledged and lost.
package embedded
