package password

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// TestModule wants the host to find the module and to load it from JSON.
func TestModule(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.json")
	write(t, path, users("ann"))
	t.Setenv("PASSWORD_TEST_DIR", filepath.Dir(path))
	t.Setenv("PASSWORD_TEST_HASH", cheapBcrypt(t, "sesame"))
	write(t, path+".hash", cheapArgon2("sesame")+"\r\n")
	raw, err := json.Marshal(map[string]any{
		"id":         "staff-2",
		"users_file": "{env.PASSWORD_TEST_DIR}/./users.json",
		"users": []map[string]any{
			{"user": "bob", "hash": "{env.PASSWORD_TEST_HASH}", "email": "b@example.com", "name": "Bob", "groups": []string{"a b"}},
			{"user": "cid", "hash": "{file." + path + ".hash}", "disabled": true},
		},
	})
	must(t, err)
	m, err := newContext(t).LoadModuleByID("mcp_auth.logins.password", raw)
	must(t, err)
	if m.(login.Method).Info().ID != "staff-2" {
		t.Error("the id is another")
	}
	r := &rig{t: t, Login: m.(*Login)}
	for _, user := range []string{"ann", "bob"} {
		r.in(user, "sesame", home)
	}
	if a := r.people.Load().accounts["cid"]; !a.Disabled || a.hash.Text() != cheapArgon2("sesame") {
		t.Errorf("%+v", a)
	}
	// What was configured can still be asked for, as it was written.
	if config, err := json.Marshal(m); err != nil || !strings.Contains(string(config), "{env.PASSWORD_TEST_HASH}") {
		t.Errorf("%s, %v", config, err)
	}
}

// TestUnknownJSON wants a typing error in JSON to be refused.
func TestUnknownJSON(t *testing.T) {
	for _, raw := range []string{`{"user":[]}`, `{"users":[{"username":"alice"}]}`, `{"people":{}}`} {
		if _, err := newContext(t).LoadModuleByID("mcp_auth.logins.password", json.RawMessage(raw)); err == nil {
			t.Errorf("%s is accepted", raw)
		}
	}
}

func TestProvisionErrors(t *testing.T) {
	change := func(f func(u *User)) *Login {
		u := alice(t)
		f(&u)
		return &Login{Users: []User{u}}
	}
	t.Setenv("PASSWORD_TEST_EMPTY", "")
	for name, tt := range map[string]struct {
		login *Login
		want  string
	}{
		"nobody":            {&Login{}, "there are no users: name them with user, or a file of them with users_file"},
		"id":                {&Login{ID: "Staff", Users: []User{alice(t)}}, `id "Staff" is not`},
		"long id":           {&Login{ID: strings.Repeat("a", 33), Users: []User{alice(t)}}, "is not 1 to 32"},
		"twice":             {&Login{Users: []User{alice(t), alice(t)}}, "user alice is twice: give each person one entry"},
		"twice but case":    {&Login{Users: []User{alice(t), {Username: "aLice", Hash: alice(t).Hash}}}, "user aLice is twice, as alice"},
		"no name":           {change(func(u *User) { u.Username = "" }), "name is missing"},
		"blank in name":     {change(func(u *User) { u.Username = "a b" }), "name is missing or not one"},
		"bar in name":       {change(func(u *User) { u.Username = "a|b" }), "name is missing or not one"},
		"control in name":   {change(func(u *User) { u.Username = "a\nb" }), "name is missing or not one"},
		"line after name":   {change(func(u *User) { u.Username = "alice\n" }), "name is missing or not one"},
		"letter in name":    {change(func(u *User) { u.Username = "älice" }), "name is missing or not one"},
		"dash before name":  {change(func(u *User) { u.Username = "-a" }), "name is missing or not one"},
		"long name":         {change(func(u *User) { u.Username = strings.Repeat("a", 65) }), "name is missing or not one"},
		"swapped":           {change(func(u *User) { u.Username, u.Hash = u.Hash, u.Username }), "name is missing or not one"},
		"plain password":    {change(func(u *User) { u.Hash = "SECRET" }), "user alice: this is no bcrypt or argon2id hash"},
		"placeholder":       {change(func(u *User) { u.Hash = "{env.PASSWORD_TEST_NOT_SET}" }), `user "alice": hash: evaluated placeholder`},
		"empty placeholder": {change(func(u *User) { u.Hash = "{env.PASSWORD_TEST_EMPTY}" }), `user "alice": hash: `},
		"wrong placeholder": {change(func(u *User) { u.Hash = "{enw.X}" }), `user "alice": hash: unrecognized placeholder {enw.X}`},
		"no address":        {change(func(u *User) { u.Email = "alice" }), "user alice: the email is not an address"},
		"two addresses":     {change(func(u *User) { u.Email = "a@b,c@d" }), "user alice: the email is not an address"},
		"two @":             {change(func(u *User) { u.Email = "a@b@c" }), "user alice: the email is not an address"},
		"line in address":   {change(func(u *User) { u.Email = "a@b\r\nc" }), "user alice: the email is not an address"},
		"line in name":      {change(func(u *User) { u.Name = "a\nb" }), "user alice: the name has control characters"},
		"long full name":    {change(func(u *User) { u.Name = strings.Repeat("a", 201) }), "more than 200 characters"},
		"no UTF-8":          {change(func(u *User) { u.Name = "\xff" }), "user alice: the name has control characters"},
		"empty group":       {change(func(u *User) { u.Groups = []string{"a", ""} }), "user alice: a group is empty"},
		"comma in group":    {change(func(u *User) { u.Groups = []string{"a,b"} }), "user alice: a group is empty"},
		"many groups":       {change(func(u *User) { u.Groups = make([]string, 101) }), "user alice: there are 101 groups"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.login.log = zap.NewNop()
			err := tt.login.Provision(newContext(t))
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "password: ") {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			secretFree(t, err.Error())
			must(t, tt.login.Cleanup()) // as the host does
			if n, there := pool.References(poolKey); there {
				t.Errorf("%d references are left", n)
			}
		})
	}
}

// TestWarnings wants what is dangerous but works to be pointed out.
func TestWarnings(t *testing.T) {
	core, logs := observer.New(zapcore.WarnLevel)
	l := &Login{log: zap.New(core), Users: []User{
		{Username: "cheap", Hash: cheapArgon2("x")},
		{Username: "fine", Hash: "$2a$14$X3ulqf/iGxnf1k6oMZ.RZeJUoqI9PX2PM4rS5lkIKJXduLGXGPrt6"},
	}}
	must(t, l.Provision(newContext(t)))
	must(t, l.Cleanup())
	got := logs.TakeAll()
	if len(got) != 1 || !strings.Contains(got[0].Message, "low cost") || len(got[0].ContextMap()["users"].([]any)) != 1 {
		t.Errorf("%+v", got)
	}
	path := filepath.Join(t.TempDir(), "users.json")
	write(t, path, `{"users": []}`)
	l = &Login{log: zap.New(core), UsersFile: path}
	must(t, l.Provision(newContext(t)))
	must(t, l.Cleanup())
	if got := logs.TakeAll(); len(got) != 1 || !strings.Contains(got[0].Message, "nobody can sign in") {
		t.Errorf("%+v", got)
	}
}

func TestCaddyfile(t *testing.T) {
	const hash = "$2a$14$X3ulqf/iGxnf1k6oMZ.RZeJUoqI9PX2PM4rS5lkIKJXduLGXGPrt6"
	for in, want := range map[string]string{
		"password":                               `{}`,
		"password {\n}":                          `{}`,
		"password {\n users_file /etc/u.json\n}": `{"users_file":"/etc/u.json"}`,
		"password {\n id staff\n users_file {env.DIR}/u.json\n}": `{"id":"staff","users_file":"{env.DIR}/u.json"}`,
		"password {\n user alice " + hash + "\n}":                `{"users":[{"user":"alice","hash":"` + hash + `"}]}`,
		"password {\n user alice {env.ALICE}\n}":                 `{"users":[{"user":"alice","hash":"{env.ALICE}"}]}`,
		"password {\n user a {env.A} {\n }\n user b {env.B}\n}":  `{"users":[{"user":"a","hash":"{env.A}"},{"user":"b","hash":"{env.B}"}]}`,
		`password {
			user alice ` + hash + ` {
				email  alice@example.com
				name   "Alice Example"
				groups leads support
				groups "on call"
				disabled
			}
			user bob {file./run/secrets/bob} {
				name Bob
			}
			users_file users.json
		}`: `{"users":[{"user":"alice","hash":"` + hash + `","email":"alice@example.com","name":"Alice Example","groups":["leads","support","on call"],"disabled":true},` +
			`{"user":"bob","hash":"{file./run/secrets/bob}","name":"Bob"}],"users_file":"users.json"}`,
	} {
		var l Login
		if err := l.UnmarshalCaddyfile(caddyfile.NewTestDispenser(in)); err != nil {
			t.Errorf("%q: %v", in, err)
		} else if got, _ := json.Marshal(&l); string(got) != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// TestCaddyfileErrors wants file and line, what to write instead, and never what
// was written: it may be a hash or a password in the wrong place.
func TestCaddyfileErrors(t *testing.T) {
	for in, want := range map[string]string{
		"password SECRET":                                        "takes no argument",
		"password {\n SECRET\n}":                                 "unknown option of login password (known: id, users_file, user), at Testfile:2",
		"password {\n user\n}":                                   "user takes a name and a hash from caddy hash-password, and then perhaps a block, at Testfile:2",
		"password {\n user alice\n}":                             "user takes a name and a hash",
		"password {\n user alice\n $2a$14$SECRET\n}":             "user takes a name and a hash",
		"password {\n user alice SECRET SECRET\n}":               "user takes a name and a hash",
		"password {\n user {\n }\n}":                             "user takes a name and a hash",
		"password {\n user a b {\n SECRET\n }\n}":                "unknown option of a user (known: email, name, groups, disabled), at Testfile:3",
		"password {\n user a b {\n hash SECRET\n }\n}":           "unknown option of a user",
		"password {\n user a b {\n email\n }\n}":                 "email takes one argument",
		"password {\n user a b {\n email a b\n }\n}":             "email takes one argument",
		"password {\n user a b {\n email \"\"\n }\n}":            "email takes one argument",
		"password {\n user a b {\n email a@b\n email a@c\n }\n}": "email is given twice, at Testfile:4",
		"password {\n user a b {\n name Alice Example\n }\n}":    "name takes one argument; one with blanks stands in quotes",
		"password {\n user a b {\n groups\n }\n}":                "groups takes one name or more",
		"password {\n user a b {\n disabled off\n }\n}":          "disabled takes no argument",
		"password {\n id\n}":                                     "id takes one argument",
		"password {\n id a\n id b\n}":                            "id is given twice",
		"password {\n users_file\n}":                             "users_file takes one argument",
		"password {\n users_file a\n users_file b\n}":            "users_file is given twice",
		"password {\n users_file a b\n}":                         "users_file takes one argument",
	} {
		err := new(Login).UnmarshalCaddyfile(caddyfile.NewTestDispenser(in))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Testfile:") {
			t.Errorf("%q: %v, want %q with file and line", in, err, want)
			continue
		}
		secretFree(t, err.Error())
	}
}

// TestDocumentedFile wants the example of the package's documentation to work.
func TestDocumentedFile(t *testing.T) {
	source, err := os.ReadFile("doc.go")
	must(t, err)
	var example strings.Builder
	for line := range strings.Lines(string(source)) {
		if code, ok := strings.CutPrefix(line, "//\t"); ok {
			example.WriteString(code)
		}
	}
	list, err := parseUsers([]byte(example.String()))
	must(t, err)
	if len(list) != 2 || list[0].Username != "alice" || len(list[0].Groups) != 2 || !list[1].Disabled || len(weak(list)) > 0 {
		t.Errorf("%+v", list)
	}
}
