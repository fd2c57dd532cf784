// Package upstream tests the whole gateway with sign-ins at others: two real
// OpenID providers, a server that speaks as GitHub does, and a proxy that vouches
// for people with headers.
//
// What a login makes of a hostile answer is tested beside each login. Here it is
// what the flow around it does: browsers, states, mix-ups and outages.
package upstream
