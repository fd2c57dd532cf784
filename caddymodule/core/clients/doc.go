// Package clients is what is known of the MCP clients that people use, as data:
// how each is recognised, how it registers, what it needs from a server, how
// its users get rid of a lost registration, and who saw all that. It also
// holds dated copies of the metadata documents that some clients publish.
//
// Whatever a client says of itself is hostile, and so is every match here: a
// row may choose words on a page or make a rule stricter, and is never a reason
// to trust. The rows are in clients.json and the copies in documents.json; each
// row has a transcript in e2e/transcripts that replays what the client sends.
package clients
