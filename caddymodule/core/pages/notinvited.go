package pages

import "html/template"

// NotInvited is the page for a person who is signed in and whom the rules
// don't let in. Its form posts flow, and decision: switch or deny.
type NotInvited struct {
	// Person is who is signed in.
	Person Person
	// Program is who asked. Nil: the person wanted the account page.
	Program *Program
	// Resource is what the program asked for. The zero value: the rules are
	// those of the whole server.
	Resource Resource
	// Action is the path that the form posts to, and Token what it posts as
	// flow. Without them there is no form.
	Action, Token string
	// CanSwitch says that the person can sign in as somebody else.
	CanSwitch bool
	// ReturnURL leads back to the program with the error, for a program that
	// nobody vouches for: a link that names where it leads takes the place of
	// the button, for URLs as in [Error].
	ReturnURL string
	// RequestID finds the request in the server's log.
	RequestID string
}

type notInvitedView struct {
	Person personView
	// What says what the account may not use.
	What  []piece
	Calls string
	// Form says that there is something to post, Deny that a program waits.
	Form, CanSwitch, Deny bool
	Action, Token         string
	// Link is an attribute, for a link if Back, where it leads to, is not empty.
	Link      template.HTMLAttr
	Back      string
	RequestID string
}

func (p NotInvited) draw(_ *Site, t *words) (drawing, error) {
	view := notInvitedView{
		Person:    newPersonView(p.Person),
		What:      say(t.NotInvited.WhatServer),
		Action:    p.Action,
		Token:     p.Token,
		Link:      attribute("href", p.ReturnURL),
		Back:      backTo(p.ReturnURL),
		RequestID: clean(p.RequestID, maxRequestID),
	}
	if where := newResourceView(p.Resource).Title(); where != "" {
		view.What = say(t.NotInvited.What, "resource", where)
	}
	if p.Program != nil {
		view.Calls = clean(p.Program.Name, maxName)
	}
	if p.Action != "" {
		if !ownPath(p.Action) {
			return drawing{}, errForeignForm
		}
		view.CanSwitch, view.Deny = p.CanSwitch, p.Program != nil && view.Back == ""
		view.Form = view.CanSwitch || view.Deny
	}
	return drawing{template: notInvitedTemplate, title: t.NotInvited.Title, page: view, asks: view.Form}, nil
}
