// Package postgres keeps the authorization server's state in a PostgreSQL
// database, for several nodes on one state: the Caddy guest module
// mcp_auth.stores.postgres.
//
// It owns the schema, its layouts and the statements. What the records mean and
// what each method promises is written in package core/store; that this store
// keeps those promises is checked by core/store/storetest, against a real server.
//
// # Schema
//
// The tables are in a schema of their own, mcp_auth unless the options name
// another (migrations/ has the statements):
//
//	layout       one row: the number of the layout, and the oldest that it serves
//	grants       id → subject, times, generation, end, last use, revocation; body is
//	             the rest, which never changes, as JSON
//	used         hash of a used key → when it was used, and until when that counts
//	clients      a client's key → what became of it; never swept
//	feed         one row: the feed's id, and number and mark of its newest entry
//	revocations  number → mark, end and body (JSON) of a feed's entry
//	key_ring     one row, once there are keys: the ring, encrypted if a secret is set,
//	             and its version
//	probe        one row, which Ping writes to
//
// Text has the collation "C": what is equal is equal byte for byte, and the order
// is that of the bytes. JSON is kept as text, because jsonb would rewrite it.
// Numbers that count to 64 bits without a sign are kept in bigint, with a sign.
// Times are timestamptz, which goes to the microsecond; what is compared is cut to
// it before.
//
// # Steps
//
// Each protocol step is one statement, or one transaction. A step is repeated if
// the server says that it clashed with another (40001, 40P01), or if the
// connection turned out to be dead before anything was sent; reads are repeated
// also if it died after that. Where a connection dies at a commit nobody knows
// whether it happened: that is an error and no verdict, and never repeated.
//
// # The feed
//
// A reader that has seen number 7 asks for what came after 7. So an entry must
// not become visible before one of a lower number: with a sequence it would, as
// transactions that took their numbers in one order commit in another, and the
// reader would never see the late one. Here the number comes from the one row of
// the table feed. Whoever appends locks it by counting it up, until the commit;
// the next one waits, and reads what was committed. Numbers therefore appear in
// their order and without gaps. It costs that appends come one after another, a
// commit each; revocations are rare.
//
// A cursor has the feed's id, the number and the entry's random mark. A cursor
// that does not fit, because the database is another one or was taken back to an
// older state, begins at the beginning: entries repeat, none is missed.
//
// Each append sends a NOTIFY, which comes with the commit. One connection
// listens, for all who wait; when it had to connect again all are woken, for what
// they missed. Through a connection pooler LISTEN does not work, which is known by
// the process id that the pooler makes up; callers then find out by polling.
//
// # Layouts
//
// The first node that opens the store brings the schema to its layout, in one
// transaction under an advisory lock; the others wait. The node of the previous
// version that still runs beside it must not notice. So a new layout
//
//   - only adds: tables, indexes, columns with a default or NULL. What an older
//     program writes must be complete without it, and what it leaves alone must
//     stay right;
//   - says in serves the oldest layout whose programs may go on. A layout that
//     can't be additive says its own number: older programs then refuse it when
//     they start, and those that run must be stopped before;
//   - is a new entry in layouts; released ones are never edited.
//
// A program that finds a newer layout goes on if that serves its own, and
// otherwise refuses it with the way out.
package postgres
