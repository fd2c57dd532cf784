// Package fetchtest is an internet for tests of what package fetch fetches: one
// https server on loopback that answers for any number of names, with an
// authority and a resolver of its own. Tests import it, and nothing else.
package fetchtest
