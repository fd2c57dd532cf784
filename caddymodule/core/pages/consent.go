package pages

// Consent is the page that asks a person who is signed in whether the program
// gets what it asks for. Its form posts flow, and decision: allow, deny or
// switch.
type Consent struct {
	Program  Program
	Resource Resource
	Scopes   []Scope
	// Person is who is signed in.
	Person Person
	// Action is the path that the form posts to, and Token what it posts as
	// flow.
	Action, Token string
	// CanSwitch says that the person can sign in as somebody else.
	CanSwitch bool
}

type consentView struct {
	Request       requestView
	Person        personView
	Action, Token string
	CanSwitch     bool
	// Account is the address of the account page.
	Account string
}

func (p Consent) draw(s *Site, t *words) (drawing, error) {
	if !ownPath(p.Action) {
		return drawing{}, errForeignForm
	}
	view := consentView{
		Request: newRequestView(t, p.Program, p.Resource, p.Scopes),
		Person:  newPersonView(p.Person),
		Action:  p.Action, Token: p.Token, CanSwitch: p.CanSwitch,
		Account: s.accountAddress(),
	}
	return drawing{template: consentTemplate, title: t.Consent.Title, page: view, asks: true}, nil
}

// accountAddress is the account page's address as people write it down, empty
// if there is none.
func (s *Site) accountAddress() string {
	if s.cfg.Account == "" {
		return ""
	}
	return hostOf(s.cfg.Issuer) + s.cfg.Account
}
