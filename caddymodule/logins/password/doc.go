// Package password is the sign-in method for servers that keep their own users:
// a name, a password hash, and what else is known about the person.
//
// It owns the guest module mcp_auth.logins.password: the users of the
// configuration and of a file that is read again when it changes, the
// comparison of hashes with its limits, and the throttling of guesses. The
// interface it implements is in core/login; cookies, sessions, pages and the
// rules about who may come in are in core/authserver.
//
// # The users file
//
// It is JSON, because a file that is only half written can't be mistaken for a
// shorter one: it does not parse, and the users before stay. An entry has the
// members of [User], and a hash is what `caddy hash-password` prints. (Nobody
// knows a password for these.)
//
//	{
//		"users": [
//			{
//				"user":   "alice",
//				"hash":   "$argon2id$v=19$m=47104,t=1,p=1$+89RCZx8fZRNK2atLKqzbA$Y/rqG9HSA3SD/biFmUw1waZi7uCGt86jDTFa+z4L52I",
//				"email":  "alice@example.com",
//				"name":   "Alice Example",
//				"groups": ["leads", "support"]
//			},
//			{ "user": "bob", "hash": "$2a$14$G9odO3/AaBjj6r5bs2hiipiZagqTBGeZRnxcQjBk9ygcp7XrIAENj", "disabled": true }
//		]
//	}
//
// A change is in force within a few seconds, however the file was changed:
// written in place, replaced by another, or reached through a symbolic link
// that now points elsewhere. A file that can't be used is reported once, with
// its line, and the users before stay until it changes again; a file that is
// gone is one that can't be used. To shut people out, write a list without them.
//
// # What guessing costs
//
// Every attempt computes one hash, whether or not there is such a user, and
// whether or not they are disabled. A name that nobody has gets the cost of a
// user chosen by the name, always the same one: with users of different costs,
// how long an answer takes says no more about a name than chance does.
//
// At most half of the processors compute hashes at a time, and few attempts wait
// for them: a flood of sign-ins ends in refusals, and the calls of those who are
// signed in go on.
//
// Failures are counted by account and device, by account and address together,
// by address, and by account. See [throttle] for how.
//
// The promise: what others do, from wherever, keeps nobody out of a browser in
// which they signed in to their account within the last year; core/authserver
// remembers that in a sealed cookie, so it holds after a restart and for people
// who share an address. Only failures with that very cookie count there: 5 are
// free, then the waits grow to 15 minutes. In a new browser, the first attempt
// is judged at once, once an hour, on a network (IPv4 /24, IPv6 /48) from which
// nobody attacks the account.
//
// The price: who attacks one account from one network has 135 guesses in the
// first hour and 121 in each that follows. A botnet has one more for each of its
// addresses in each hour, up to 5 for each network (and 50 for each IPv4 /16 or
// IPv6 /32) at first, and then one in an hour.
//
// What remains: a person in a new browser waits for as long as somebody in the
// same network, or with 50 attempts an hour at the same provider, goes on
// attacking their account; another network helps, or a browser where they were
// before. Where the host can't tell addresses, all new browsers wait alike.
package password
