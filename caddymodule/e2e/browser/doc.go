// Package browser tests the pages in a real browser: Debian's Chromium, driven
// through the DevTools protocol, in front of the real gateway.
//
// It owns what only a browser can tell: that a sign-in gets through with the
// content security policy on, that it can be done with a keyboard alone or
// without JavaScript, what the back button and a double click do, how pages
// look, what they weigh, and whether axe-core finds fault with them. Whether
// the flow itself is safe is tested in the package people beside it.
//
// Pictures of all pages are left in the folder screenshots, which git ignores,
// or in the folder that the environment variable SCREENSHOTS names.
package browser
