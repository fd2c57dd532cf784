package pages

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"time"
)

// What [SignIn] can have gone wrong.
const (
	// SignInRejected says that what the person typed is wrong.
	SignInRejected = "rejected"
	// SignInThrottled says that there were too many attempts.
	SignInThrottled = "throttled"
)

// errForeignForm says that a form would send what a person types elsewhere.
var errForeignForm = errors.New("pages: a form's action must be a path on this server")

// SignIn is the page that names who asks for what, and offers the ways to sign
// in. Its forms post flow and login, and field_<name> for every field.
type SignIn struct {
	// Program is who asks. Nil: the person signs in to the account page.
	Program *Program
	// Resource and Scopes are what the program asks for.
	Resource Resource
	Scopes   []Scope
	// Unasked says that no page of consent follows.
	Unasked bool
	// Methods are the ways to sign in, in this order. At least one.
	Methods []Method
	// Action is the path that the forms post to, and Token what they post as
	// flow.
	Action, Token string
	// Problem says why the page is shown again: empty, SignInRejected or
	// SignInThrottled.
	Problem string
	// RetryAfter is how long to wait. For SignInThrottled.
	RetryAfter time.Duration
	// Method is the id of the method that the problem is about.
	Method string
	// Username is what was typed before: it is kept.
	Username string
}

// Method is one way to sign in: a button, or a small form if it has fields.
type Method struct {
	// ID is posted as login.
	ID string
	// Label is what people call it, such as "Google".
	Label  string
	Fields []Field
}

// Field is something to type in. It is posted as field_<Name>.
type Field struct {
	// Name is the field's name. "username" and "password" have words of their
	// own.
	Name string
	// Label is shown for every other name.
	Label string
	// Secret hides what is typed. A secret is never kept.
	Secret bool
	// Autocomplete is the HTML autocomplete token.
	Autocomplete string
}

type signInView struct {
	// Request is what a program asks for, nil if none does.
	Request       *requestView
	Unasked       bool
	Action, Token string
	Problem       string
	Ways          []way
}

// way is one form: the fields of one method, or the buttons of methods that
// follow each other without fields.
type way struct {
	Method
	Fields  []fieldView
	Buttons []Method
}

type fieldView struct {
	// ID ties the label to the field, Input is its type.
	ID, Name, Label, Input, Autocomplete, Value string
	// Focus puts the cursor here. Wrong says that the problem is about it.
	Focus, Wrong bool
}

func (p SignIn) draw(_ *Site, t *words) (drawing, error) {
	if !ownPath(p.Action) {
		return drawing{}, errForeignForm
	}
	view := signInView{Action: p.Action, Token: p.Token, Problem: p.problem(t), Ways: p.ways(t)}
	if p.Program != nil {
		request := newRequestView(t, *p.Program, p.Resource, p.Scopes)
		view.Request, view.Unasked = &request, p.Unasked
	}
	return drawing{template: signInTemplate, title: t.SignIn.Title, page: view, asks: true}, nil
}

func (p SignIn) problem(t *words) string {
	switch p.Problem {
	case SignInRejected:
		return t.SignIn.Rejected
	case SignInThrottled:
		return fill(t.SignIn.Throttled, "wait", t.duration(p.RetryAfter))
	}
	return ""
}

// ways sorts the methods into forms, in their order.
func (p SignIn) ways(t *words) []way {
	var ways []way
	for i, m := range p.Methods {
		m.Label = clean(m.Label, maxName)
		if len(m.Fields) > 0 {
			ways = append(ways, way{Method: m, Fields: p.fields(t, i)})
			continue
		}
		m.Label = cmp.Or(m.Label, clean(m.ID, maxName))
		if len(ways) == 0 || len(ways[len(ways)-1].Buttons) == 0 {
			ways = append(ways, way{})
		}
		last := &ways[len(ways)-1]
		last.Buttons = append(last.Buttons, m)
	}
	return ways
}

// fields are those of the method with this index.
func (p SignIn) fields(t *words, index int) []fieldView {
	m := p.Methods[index]
	about := p.Method == m.ID || p.Method == ""
	focus := p.focus(index)
	views := make([]fieldView, len(m.Fields))
	for i, f := range m.Fields {
		v := fieldView{
			ID: "way" + strconv.Itoa(index) + "-" + strconv.Itoa(i), Name: f.Name, Label: t.label(f), Input: "text",
			Autocomplete: f.Autocomplete, Focus: i == focus, Wrong: about && p.Problem == SignInRejected,
		}
		switch {
		case f.Secret:
			v.Input = "password"
		case f.Name == "username" && about:
			v.Value = clean(p.Username, maxEmail)
		}
		views[i] = v
	}
	return views
}

// focus returns the index of the method's field that has the cursor at once,
// or -1. Nothing takes it past what has to be read first; once that was read,
// it goes to what has to be typed again.
func (p SignIn) focus(index int) int {
	first := slices.IndexFunc(p.Methods, func(m Method) bool { return len(m.Fields) > 0 && (p.Method == "" || p.Method == m.ID) })
	if index != first {
		return -1
	}
	switch {
	case p.Problem == SignInRejected && p.Username != "":
		return slices.IndexFunc(p.Methods[index].Fields, func(f Field) bool { return f.Secret })
	case p.Problem == SignInRejected, p.Problem == "" && p.Program == nil:
		return 0
	}
	return -1
}

// label returns what a field is called.
func (t *words) label(f Field) string {
	switch f.Name {
	case "username":
		return t.SignIn.Username
	case "password":
		return t.SignIn.Password
	}
	return cmp.Or(clean(f.Label, maxName), clean(f.Name, maxName))
}
