package pages

import "time"

// What [Account] can have been done before it is shown again.
const (
	// DoneRevoked says that a program was removed.
	DoneRevoked = "revoked"
	// DoneRevokedAll says that all programs were removed.
	DoneRevokedAll = "revoked_all"
	// DoneGone says that the program was not there any more.
	DoneGone = "gone"
	// DoneTokenRevoked says that a personal access token was removed.
	DoneTokenRevoked = "token_revoked"
	// DoneTokenMade says that the form was used before, and its token shown then.
	DoneTokenMade = "token_made"
	// DoneTokenNoName and the following say why none was made.
	DoneTokenNoName  = "token_no_name"
	DoneTokenNoScope = "token_no_scope"
	DoneTokenTooMany = "token_too_many"
	// DoneTokenTooOften is for too many within an hour.
	DoneTokenTooOften = "token_too_often"
)

// Account is the page on which people see the programs that they let in, and
// take that back. Its forms post flow and do: revoke (with grant), revoke_all,
// sign_out or sign_out_everywhere.
type Account struct {
	// Person is who is signed in.
	Person Person
	// Grants are the programs, in this order.
	Grants []Grant
	// More says that there are more than these.
	More bool
	// Action is the path that the forms post to, and Token what they post as
	// flow.
	Action, Token string
	// CanSignOut says that there is a session to end. A method that knows the
	// person from the request itself has none.
	CanSignOut bool
	// Done says what was just done: one of the Done constants, or empty.
	Done string
	// Tokens is the part about personal access tokens; nil: there is none.
	Tokens *Tokens
}

// Grant is a program that a person let in.
type Grant struct {
	// ID is posted as grant.
	ID       string
	Program  Program
	Resource Resource
	Scopes   []Scope
	// Since is when the person allowed it, LastUsed when the program last did
	// something, zero if that is not known, and From the address it came from.
	Since, LastUsed time.Time
	From            string
}

type accountView struct {
	Person        personView
	Grants        []grantView
	More          bool
	Action, Token string
	CanSignOut    bool
	Done          string
	Tokens        *tokensView
	// RevokeAll is what removing all is called, and RevokeAllHint what it says it
	// does; both are empty if there is nothing.
	RevokeAll, RevokeAllHint string
}

type grantView struct {
	Request requestView
	ID      string
	// Key ties the parts of the entry together.
	Key int
	// Destination says it for somebody who may sit at another computer.
	Destination     []piece
	Since, LastUsed moment
	From            []piece
}

func (p Account) draw(_ *Site, t *words) (drawing, error) {
	if !ownPath(p.Action) {
		return drawing{}, errForeignForm
	}
	view := accountView{
		Person: newPersonView(p.Person), More: p.More, Action: p.Action, Token: p.Token,
		CanSignOut: p.CanSignOut, Done: t.Account.Done[p.Done], Tokens: newTokensView(t, p.Tokens),
	}
	if len(p.Grants) > 0 {
		view.RevokeAll, view.RevokeAllHint = t.Account.RevokeAll, t.Account.RevokeAllHint
	}
	if p.Tokens != nil && len(p.Tokens.Tokens) > 0 {
		view.RevokeAll, view.RevokeAllHint = t.Token.RevokeAll, t.Token.RevokeAllHint
	}
	if p.Tokens != nil && p.Done == DoneRevokedAll {
		view.Done = t.Token.RevokedAll
	}
	for i, g := range p.Grants {
		v := grantView{
			Request: newRequestView(t, g.Program, g.Resource, g.Scopes),
			ID:      g.ID, Key: i, Since: t.moment(g.Since), LastUsed: t.moment(g.LastUsed),
		}
		v.Destination = v.Request.destination(t, t.Account.Computer, t.Account.App)
		if from := clean(g.From, maxAddress); from != "" {
			v.From = say(t.Account.From, "address", from)
		}
		view.Grants = append(view.Grants, v)
	}
	return drawing{template: accountTemplate, title: t.Account.Title, page: view, asks: view.Tokens.asks() || len(p.Grants) > 0 || p.CanSignOut}, nil
}
