// Package mcp reads the JSON-RPC messages of the Model Context Protocol, strictly
// and no further than policy needs: which method is called, on what, and with
// which id the answer has to come. It also takes entries out of the lists that a
// server answers with.
//
// What [Read] returns is what every other reader of the same bytes would find in
// them, or it is an error: two servers that read one message differently are how
// a policy is dodged. Nothing here decides who may do what (package policy), and
// nothing here writes to the network.
package mcp
