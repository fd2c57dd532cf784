package pages

import "io"

// Error is a page for a person whose sign-in cannot go on.
type Error struct {
	// Issuer is the issuer identifier, and Home the path of the overview page.
	Issuer, Home string
	// Code and Description are those of the OAuth error. The page explains
	// the code in plain words and shows both to developers.
	Code, Description string
	// UnknownClient says that the program's client_id is not known here: the
	// page then tells how to get rid of it.
	UnknownClient bool
	// RegisterURL is where a program registers, empty if it can't.
	RegisterURL string
	// ClientName is what the program calls itself: hostile text.
	ClientName string
	// ReturnURL leads back to the program with the error, empty if nothing
	// does. Only an http or https URL becomes a link.
	ReturnURL string
	// RequestID finds the request in the server's log.
	RequestID string
}

type errorView struct {
	layout
	Page Error
	Says explanation
	// Calls says how the program is named, Back where the link leads.
	Calls, Back string
}

// Write writes the page.
func (e Error) Write(w io.Writer) error {
	says := english.explain(e)
	e.Code, e.Description = clean(e.Code, maxName), clean(e.Description, maxDescription)
	e.RequestID = clean(e.RequestID, maxRequestID)
	return write(w, errorTemplate, errorView{
		layout: layout{T: english, Title: says.Title, Home: e.Home, Server: e.Issuer},
		Page:   e,
		Says:   says,
		Calls:  clean(e.ClientName, maxName),
		Back:   hostOf(e.ReturnURL),
	})
}
