// Command go is a server behind the gateway that believes its signed assertion,
// and nothing else. It is an example to copy from: verify is what matters.
package main
