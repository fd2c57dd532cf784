package pages

import (
	"html/template"
	"strings"
)

// What [Error] can be about besides the codes of OAuth: what goes wrong between
// a person, a browser and this server.
const (
	// ProblemExpired says that the sign-in, or the form, is too old.
	ProblemExpired = "expired"
	// ProblemBrowser says that the browser has no cookie of this sign-in: it
	// keeps none, or the sign-in was begun in another one.
	ProblemBrowser = "browser"
	// ProblemUsed says that the step was done before: a second click, the back
	// button, or a replay.
	ProblemUsed = "used"
	// ProblemForeignForm says that the form was not one of this server's.
	ProblemForeignForm = "foreign_form"
	// ProblemProvider says that the service where the person signs in does not
	// work.
	ProblemProvider = "provider"
	// ProblemDenied says that the person or that service refused.
	ProblemDenied = "denied"
	// ProblemProxy says that the request did not come through the proxy that
	// knows who the person is.
	ProblemProxy = "proxy"
	// ProblemDocument says that the program's client metadata document can't be
	// had, is no good, or is not let in from where it is.
	ProblemDocument = "document"
	// ProblemTooLong says that the program's request does not fit into a
	// sign-in.
	ProblemTooLong = "too_long"
)

// Error is a page for a person whose sign-in cannot go on.
type Error struct {
	// Problem is one of the Problem constants, for what OAuth has no code for.
	// The page explains it; without one it explains Code.
	Problem string
	// Code and Description are those of the OAuth error, shown to developers.
	// Both may be empty.
	Code, Description string
	// UnknownClient says that the program's client_id is not known here: the
	// page then tells how to get rid of it.
	UnknownClient bool
	// Fixes say how known programs get rid of it. Guessed says that the program
	// could be one of them, for which there is no proof.
	Fixes   []Fix
	Guessed bool
	// RegisterURL is where a program registers, empty if it can't.
	RegisterURL string
	// ClientName is what the program calls itself: hostile text.
	ClientName string
	// ReturnURL leads back to the program with the error, empty if nothing
	// does. Only an http or https URL, or one of a private-use scheme as for
	// [Leave], becomes a link.
	ReturnURL string
	// RestartURL is the path on this server where the person can start again,
	// empty if there is none. Anything but an own path is left out.
	RestartURL string
	// RequestID finds the request in the server's log.
	RequestID string
}

// Fix is how programs forget their registration. Nothing in it comes from a
// client.
type Fix struct {
	// Programs are their names.
	Programs []string
	// Text is the key of the words; one that has none is left out.
	Text string
	// Code is what to type, or empty.
	Code string
}

type errorView struct {
	Error
	Says explanation
	// Calls says how the program is named, Back where the link leads.
	Calls, Back string
	// Link is the link's attribute.
	Link template.HTMLAttr
}

func (e Error) draw(_ *Site, t *words) (drawing, error) {
	view := errorView{Says: t.explain(e), Calls: clean(e.ClientName, maxName), Back: backTo(e.ReturnURL)}
	view.Link = attribute("href", e.ReturnURL)
	e.Code, e.Description = clean(e.Code, maxName), clean(e.Description, maxDescription)
	e.RequestID = clean(e.RequestID, maxRequestID)
	if !ownPath(e.RestartURL) {
		e.RestartURL = ""
	}
	view.Error = e
	return drawing{template: errorTemplate, title: view.Says.Title, page: view}, nil
}

// backTo says where a link to the program leads: to a host, or to a program on
// this machine by its scheme. It is empty for what must not become a link.
func backTo(raw string) string {
	if host := hostOf(raw); host != "" {
		if !plainURI(raw) {
			return ""
		}
		return host
	}
	scheme, _, _ := strings.Cut(raw, ":")
	if (Leave{Scheme: scheme, URL: raw}).check() != nil {
		return ""
	}
	return scheme + ":"
}
