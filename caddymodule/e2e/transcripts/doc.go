// Package transcripts replays against a real gateway what real MCP clients
// send: every request in order, with the headers, bodies and parameters that
// each client chooses, and with what it must get back to go on.
//
// It owns testdata/<client>.json, one transcript for each row of core/clients.
// A transcript says whether it was recorded from the client itself or put
// together from what others saw of it. Clients that run themselves in tests
// are in e2e/clients.
//
// In a transcript, {{name}} stands for a value of the moment: base and resource
// are the gateway's, port, state, verifier and challenge the client's, and all
// else was saved from an answer. The mode of a step is "dynamic" where it
// belongs to a dynamic registration, and "document" where the client_id is the
// URL of the client's metadata document; steps without one belong to both.
package transcripts
