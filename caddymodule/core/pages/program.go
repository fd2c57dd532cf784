package pages

import (
	"strings"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// Program is the client that asks. All of it but Verified is the client's own
// word, and hostile text.
type Program struct {
	// Name is what the program calls itself. May be empty.
	Name string
	// Host is the host, with its port if it has one, of the http or https
	// redirect URI that the answer goes to. It is what a person can go by
	// (SPEC E16, D6).
	Host string
	// RedirectURI is the redirect URI itself, shown small as text: hosts that
	// many share tell their programs apart by it (SPEC F28).
	RedirectURI string
	// Scheme is the scheme of a private-use redirect URI, such as "cursor";
	// Host is empty then.
	Scheme string
	// Loopback says that the redirect URI is on the person's own computer.
	Loopback bool
	// IDHost is the host of the client's metadata document. Empty: the client
	// has none.
	IDHost string
	// LogoURL is the path on this server of the picture that the program shows
	// of itself. Anything but an own path is left out.
	LogoURL string
	// OnlyLoopback says that the client's metadata document lists redirect URIs
	// on the person's own computer only, so that every program there can pass
	// itself off as it.
	OnlyLoopback bool
	// Unfamiliar says that the operator wants people to be warned of the host of
	// the client's metadata document.
	Unfamiliar bool
	// Website is the page that the program names as its own; it is shown as
	// text and never becomes a link (RFC 9700 §4.2.4).
	Website string
	// Verified says that the operator vouches for the program and its name.
	Verified bool
}

// Scope is something that a program may do.
type Scope struct {
	// Name is the scope token.
	Name string
	// Text says in the operator's words what it allows. Default: words of this
	// package for the scopes that it knows, otherwise the name.
	Text string
}

// Person is who is signed in.
type Person struct {
	// Name and Email may be empty.
	Name, Email string
	// ID is the stable id, shown where there is nothing better.
	ID string
}

// requestView is what a program wants, as the template "request" shows it.
type requestView struct {
	T *words
	programView
	// DocumentHost is IDHost, also where that says nothing new.
	DocumentHost string
	Resource     resourceView
	Scopes       []Scope
}

// programView is a program with its texts made harmless.
type programView struct {
	Program
	// Destination says where access goes.
	Destination []piece
}

type resourceView struct{ Name, URL string }

// Title is what a sentence calls the resource.
func (r resourceView) Title() string {
	if r.Name != "" {
		return r.Name
	}
	_, rest, _ := strings.Cut(r.URL, "://")
	return rest
}

func newRequestView(t *words, p Program, res Resource, scopes []Scope) requestView {
	return requestView{
		T: t, programView: newProgramView(t, p), DocumentHost: clean(p.IDHost, maxHost), Resource: newResourceView(res), Scopes: t.scopes(scopes),
	}
}

func newProgramView(t *words, p Program) programView {
	p.Name = clean(p.Name, maxName)
	p.Host, p.IDHost = clean(p.Host, maxHost), clean(p.IDHost, maxHost)
	p.Scheme, p.Website = clean(p.Scheme, maxName), clean(p.Website, maxName)
	p.RedirectURI = clean(p.RedirectURI, maxURL)
	if !ownPath(p.LogoURL) {
		p.LogoURL = ""
	}
	if p.IDHost == p.Host {
		p.IDHost = "" // it says nothing new
	}
	// Whoever forgot to say so still gets the warning.
	p.Loopback = p.Loopback || oauth.IsLoopbackHost(p.Host)
	return programView{Program: p, Destination: p.destination(t, t.Program.ThisComputer, t.Program.App)}
}

// destination says where access goes, with sentences for programs on a computer
// and for apps.
func (p Program) destination(t *words, computer, app string) []piece {
	switch {
	case p.Loopback:
		return say(computer, "host", p.Host)
	case p.Host != "":
		return []piece{{Text: p.Host, Put: true}}
	case p.Scheme != "":
		return say(app, "scheme", p.Scheme+":")
	}
	return []piece{{Text: t.Program.Nowhere}}
}

func newResourceView(r Resource) resourceView {
	v := resourceView{Name: clean(r.Name, maxName)}
	if len(r.URLs) > 0 {
		v.URL = clean(r.URLs[0], maxURL)
	}
	return v
}

// Lead says in one sentence who wants what.
func (v requestView) Lead() []piece {
	switch {
	case v.Name == "":
		return say(v.T.Program.Nameless, "resource", v.Resource.Title())
	case v.Verified:
		return say(v.T.Program.Wants, "program", v.Name, "resource", v.Resource.Title())
	}
	return say(v.T.Program.Claims, "program", v.Name, "resource", v.Resource.Title())
}

// Warning says what a person should know about where access goes: who answers
// on a port or to a scheme of a computer is not certain, whatever the operator
// knows about the program (OAuth 2.1 §7.3.1, SPEC E16). Empty for a program
// that the operator knows.
func (v requestView) Warning() []piece {
	switch t := v.T.Program; {
	case v.Loopback:
		return say(t.WarnLoopback)
	case v.Host == "":
		return say(t.WarnApp)
	case !v.Verified:
		return say(t.WarnWeb, "host", v.Host)
	}
	return nil
}

// Caution says what else a person should know about a program that a document
// describes (SPEC E16, E18).
func (v requestView) Caution() [][]piece {
	var all [][]piece
	if v.DocumentHost != "" && v.Unfamiliar {
		all = append(all, say(v.T.Program.WarnUnfamiliar, "host", v.DocumentHost))
	}
	if v.DocumentHost != "" && v.OnlyLoopback {
		all = append(all, say(v.T.Program.WarnImpostor, "host", v.DocumentHost))
	}
	return all
}

// scopes cleans scopes and gives words to those that have none.
func (t *words) scopes(scopes []Scope) []Scope {
	all := make([]Scope, len(scopes))
	for i, s := range scopes {
		text := clean(s.Text, maxDescription)
		if text == "" {
			text = t.Program.ScopeTexts[s.Name]
		}
		all[i] = Scope{Name: clean(s.Name, maxName), Text: text}
	}
	return all
}

// personView is an account: the best name there is, and what else tells it
// from others.
type personView struct{ Main, More string }

func newPersonView(p Person) personView {
	var known []string
	for _, text := range []string{clean(p.Name, maxName), clean(p.Email, maxEmail), clean(p.ID, maxID)} {
		if text != "" {
			known = append(known, text)
		}
	}
	switch {
	case len(known) == 0:
		return personView{}
	case len(known) == 1 || clean(p.Name, maxName) == "":
		return personView{Main: known[0]}
	}
	return personView{Main: known[0], More: known[1]}
}
