// Package pages is what people see of the server: its HTML, its styles, its
// words, and the headers that keep a page harmless.
//
// A [Site] is made once per configuration and writes every page. A page is a
// struct: [SignIn], [Consent], [NotInvited] and [Leave] on the way through a
// sign-in, [Account] and [SignedOut] around the account page, [Error] where a
// sign-in cannot go on, [Overview] and [Reference] for whoever opens the server
// in a browser.
//
// No page has a script or anything from another host, and none needs one. Every
// text in a page is taken to be hostile: it is cut to a length, rid of what is
// invisible, and escaped by html/template. The one value that html/template
// does not get to judge is the URL of Leave, which leave.go does.
//
// The words are in one catalogue per language: english.go and chinese.go, each
// with a file for the errors. A translation is one more value of the same type,
// and a line in language.go; the tests find what it lacks. The look is in
// styles: base.css for all pages, flow.css and docs.css for the two kinds.
//
// When a page is shown, with which status, and what its forms do, is decided in
// authserver. The interactive documentation is not made here;
// authserver/docs.go mounts it.
package pages
