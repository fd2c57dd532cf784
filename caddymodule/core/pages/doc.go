// Package pages is what people see of the server: its HTML, its one style
// sheet, its words, and the headers that keep a page harmless.
//
// Every page is a struct with a Write method: [Error] where a sign-in cannot
// go on, [Overview] for whoever opens the server in a browser, [Reference] for
// developers. Templates and styles are embedded; no page has a script, a form
// or anything from another host. The words are in english.go, so that a
// translation is one more file.
//
// When a page is shown, and with which status, is decided in authserver. The
// interactive documentation is not made here; authserver/docs.go mounts it.
package pages
