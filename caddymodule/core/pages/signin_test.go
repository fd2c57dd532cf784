package pages

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

var (
	passwordMethod = Method{ID: "password", Fields: []Field{
		{Name: "username", Autocomplete: "username"}, {Name: "password", Secret: true, Autocomplete: "current-password"},
	}}
	pinMethod    = Method{ID: "pin", Label: "Badge", Fields: []Field{{Name: "badge", Label: "Badge number"}, {Name: "pin", Label: "PIN", Secret: true}}}
	googleMethod = Method{ID: "google", Label: "Google"}
	githubMethod = Method{ID: "github", Label: "GitHub"}
	bareMethod   = Method{ID: "okta"}
	teamTools    = Resource{Name: "Team tools", URLs: []string{"https://mcp.example.com/mcp"}}
	alice        = Person{Name: "Alice Example", Email: "alice@example.com", ID: "alice"}
)

// posts returns what a form posts: its hidden values and fields, and for every
// button what it adds.
func posts(form *html.Node) (fields map[string]string, buttons []string) {
	fields = map[string]string{}
	for n := range form.Descendants() {
		name, _ := attr(n, "name")
		value, _ := attr(n, "value")
		switch n.Data {
		case "input":
			fields[name] = value
		case "button":
			buttons = append(buttons, strings.Trim(name+"="+value, "="))
		}
	}
	return fields, buttons
}

// TestSignInForms holds what the forms post: one for the fields of a method,
// one for all buttons in a row, in the order of the configuration.
func TestSignInForms(t *testing.T) {
	a := read(t, SignIn{
		Methods: []Method{passwordMethod, googleMethod, githubMethod, pinMethod, bareMethod}, Action: testAction, Token: testToken,
	})
	forms := a.all("form")
	if len(forms) != 4 {
		t.Fatalf("%d forms", len(forms))
	}
	for i, want := range []struct {
		fields  []string
		buttons []string
		login   string
		says    string
	}{
		{[]string{"field_password", "field_username", "flow", "login"}, []string{""}, "password", "User name Password Sign in"},
		{[]string{"flow"}, []string{"login=google", "login=github"}, "", "Continue with Google Continue with GitHub"},
		{[]string{"field_badge", "field_pin", "flow", "login"}, []string{""}, "pin", "Badge Badge number PIN Sign in"},
		{[]string{"flow"}, []string{"login=okta"}, "", "Continue with okta"},
	} {
		fields, buttons := posts(forms[i])
		names := []string{}
		for name := range fields {
			names = append(names, name)
		}
		slices.Sort(names)
		if !slices.Equal(names, want.fields) || !slices.Equal(buttons, want.buttons) || fields["login"] != want.login || fields["flow"] != testToken {
			t.Errorf("form %d posts %v and %v", i, fields, buttons)
		}
		if got := textOf(forms[i]); got != want.says {
			t.Errorf("form %d says %q", i, got)
		}
	}
}

// TestSignInFields holds what browsers and password managers go by, and that a
// secret is never sent back.
func TestSignInFields(t *testing.T) {
	a := read(t, SignIn{
		Methods: []Method{passwordMethod, pinMethod}, Action: testAction, Token: testToken,
		Problem: SignInRejected, Method: "password", Username: `al"ice`,
	})
	inputs := slices.DeleteFunc(a.all("input"), func(n *html.Node) bool { kind, _ := attr(n, "type"); return kind == "hidden" })
	for i, want := range []map[string]string{
		{"name": "field_username", "type": "text", "autocomplete": "username", "value": `al"ice`, "aria-invalid": "true"},
		{"name": "field_password", "type": "password", "autocomplete": "current-password", "value": "", "aria-invalid": "true"},
		{"name": "field_badge", "type": "text", "autocomplete": "", "value": "", "aria-invalid": ""},
		{"name": "field_pin", "type": "password", "autocomplete": "", "value": "", "aria-invalid": ""},
	} {
		for key, value := range want {
			if got, _ := attr(inputs[i], key); got != value {
				t.Errorf("field %d: %s is %q, want %q", i, key, got, value)
			}
		}
	}
	if alerts := a.attributes("role"); !slices.Equal(alerts, []string{"alert"}) {
		t.Errorf("roles: %v", alerts)
	}
}

// TestSignInFocus: the cursor never jumps past what has to be read first.
func TestSignInFocus(t *testing.T) {
	program := &Program{Name: "Claude", Host: "claude.ai"}
	methods := []Method{googleMethod, passwordMethod, pinMethod}
	for name, c := range map[string]struct {
		page SignIn
		want string
	}{
		"a program asks":             {SignIn{Program: program, Methods: methods}, ""},
		"the account page":           {SignIn{Methods: methods}, "field_username"},
		"rejected":                   {SignIn{Program: program, Methods: methods, Problem: SignInRejected, Method: "password", Username: "alice"}, "field_password"},
		"rejected, nothing was kept": {SignIn{Program: program, Methods: methods, Problem: SignInRejected, Method: "pin"}, "field_badge"},
		"throttled":                  {SignIn{Methods: methods, Problem: SignInThrottled, Method: "password"}, ""},
		"nothing to type":            {SignIn{Methods: []Method{googleMethod}}, ""},
		"rejected elsewhere":         {SignIn{Methods: methods, Problem: SignInRejected, Method: "google", Username: "alice"}, ""},
	} {
		c.page.Action, c.page.Token = testAction, testToken
		got := ""
		for _, n := range read(t, c.page).all("input") {
			if _, ok := attr(n, "autofocus"); ok {
				field, _ := attr(n, "name")
				got += field
			}
		}
		if got != c.want {
			t.Errorf("%s: the focus is at %q, want %q", name, got, c.want)
		}
	}
}

func TestSignInProblems(t *testing.T) {
	page := SignIn{Methods: []Method{googleMethod}, Action: testAction, Token: testToken}
	for problem, want := range map[string]string{SignInRejected: english.SignIn.Rejected, SignInThrottled: "Wait 3 minutes, then try again."} {
		page.Problem, page.RetryAfter = problem, 150*time.Second
		if text := read(t, page).text(); !strings.Contains(text, want) {
			t.Errorf("%s: %s", problem, text)
		}
	}
	page.Problem = "unheard_of"
	if roles := read(t, page).attributes("role"); len(roles) > 0 {
		t.Errorf("an unknown problem: %v", roles)
	}
}

// TestIdentification: SPEC F28, F29, E16, O8, THREATS D3, D6. Sign-in and
// consent both say who asks, where access goes, for what, and what is only
// claimed; they are the same for both pages.
func TestIdentification(t *testing.T) {
	scopes := []Scope{{Name: "mcp:tools:read"}, {Name: "files", Text: "Read your files"}, {Name: "bare"}}
	for name, c := range map[string]struct {
		program Program
		says    []string
		notSays []string
	}{
		"a stranger called Claude": {
			Program{Name: "Claude", Host: "evil.example:8443", IDHost: "id.example", Website: "https://claude.ai/"},
			[]string{
				"A program that calls itself Claude wants to use Team tools on your behalf.", "not verified",
				"Access goes to evil.example:8443", "id.example", "https://claude.ai/",
			},
			nil,
		},
		"known": {
			Program{Name: "Claude", Host: "claude.ai", Verified: true},
			[]string{"Claude wants to use Team tools on your behalf.", "known to this server", "Access goes to claude.ai"},
			[]string{"calls itself Claude", "not verified"},
		},
		"loopback": {
			Program{Name: "Claude Code", Host: "127.0.0.1:33418", Loopback: true},
			[]string{"Access goes to a program on this computer: 127.0.0.1:33418", "not verified"},
			nil,
		},
		"loopback that nobody marked": {
			Program{Host: "localhost:1", Verified: true},
			[]string{"A program that gives no name wants", "a program on this computer: localhost:1", "No name given"},
			nil,
		},
		"app": {
			Program{Name: "Cursor", Scheme: "cursor"},
			[]string{"Access goes to the app on this device that opens cursor: links"},
			nil,
		},
		"nowhere": {Program{Name: "X"}, []string{"nobody knows where"}, nil},
	} {
		signIn := read(t, SignIn{Program: &c.program, Resource: teamTools, Scopes: scopes, Methods: []Method{googleMethod}, Action: testAction, Token: testToken})
		consent := read(t, Consent{Program: c.program, Resource: teamTools, Scopes: scopes, Person: alice, Action: testAction, Token: testToken})
		for page, text := range map[string]string{"sign in": signIn.text(), "consent": consent.text()} {
			says := append([]string{"https://mcp.example.com/mcp", "See which tools there are", "mcp:tools:read", "Read your files", "bare"}, c.says...)
			for _, want := range says {
				if !strings.Contains(text, want) {
					t.Errorf("%s, %s: does not say %q", name, page, want)
				}
			}
			for _, never := range c.notSays {
				if strings.Contains(text, never) {
					t.Errorf("%s, %s: says %q", name, page, never)
				}
			}
		}
	}
}

// TestNothingBeforeTheIdentification: a person reads who asks before the first
// thing that can be clicked.
func TestNothingBeforeTheIdentification(t *testing.T) {
	for _, page := range []Page{
		SignIn{Program: &Program{Name: "X", Host: "evil.example"}, Resource: teamTools, Methods: []Method{googleMethod, passwordMethod}, Action: testAction, Token: testToken},
		Consent{Program: Program{Name: "X", Host: "evil.example"}, Resource: teamTools, Person: alice, CanSwitch: true, Action: testAction, Token: testToken},
	} {
		host := false
		for _, n := range read(t, page).elements() {
			host = host || n.Data == "dd" && strings.Contains(textOf(n), "evil.example")
			if !host && slices.Contains([]string{"a", "button", "input", "summary"}, n.Data) {
				t.Errorf("%T: a %s comes before the host", page, n.Data)
			}
		}
	}
}
