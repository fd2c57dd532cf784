package authserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

func TestPersonalOrders(t *testing.T) {
	r := personalRig(t, nil)
	for name, c := range map[string]struct {
		edit func(*PersonalOrder)
		code string
	}{
		"as it is":          {func(*PersonalOrder) {}, ""},
		"no name":           {func(o *PersonalOrder) { o.Name = " \u202e\n" }, oauth.CodeInvalidRequest},
		"no user":           {func(o *PersonalOrder) { o.User = "" }, oauth.CodeInvalidRequest},
		"no such login":     {func(o *PersonalOrder) { o.Login = "ldap" }, oauth.CodeInvalidRequest},
		"another's user":    {func(o *PersonalOrder) { o.User = "https://idp.example|7" }, oauth.CodeInvalidRequest},
		"unprintable user":  {func(o *PersonalOrder) { o.User = "al\nice" }, oauth.CodeAccessDenied},
		"no resource":       {func(o *PersonalOrder) { o.Resource = "" }, oauth.CodeInvalidTarget},
		"unknown resource":  {func(o *PersonalOrder) { o.Resource = "https://x.example/mcp" }, oauth.CodeInvalidTarget},
		"resource without":  {func(o *PersonalOrder) { o.Resource = "https://closed.example/mcp" }, oauth.CodeInvalidTarget},
		"part of the scope": {func(o *PersonalOrder) { o.Scope = "mcp:tools:read" }, ""},
		"foreign scope":     {func(o *PersonalOrder) { o.Scope = "pay:read" }, oauth.CodeInvalidScope},
		"broken scope":      {func(o *PersonalOrder) { o.Scope = `a"b` }, oauth.CodeInvalidScope},
		"no life":           {func(o *PersonalOrder) { o.Seconds = 0 }, oauth.CodeInvalidRequest},
		"negative life":     {func(o *PersonalOrder) { o.Seconds = -1 }, oauth.CodeInvalidRequest},
		"the longest life":  {func(o *PersonalOrder) { o.Seconds = int64(DefaultPersonalToken / time.Second) }, ""},
		"too long a life":   {func(o *PersonalOrder) { o.Seconds = int64(DefaultPersonalToken/time.Second) + 1 }, oauth.CodeInvalidRequest},
		"an absurd life":    {func(o *PersonalOrder) { o.Seconds = 1 << 62 }, oauth.CodeInvalidRequest},
		"against the rules": {func(o *PersonalOrder) { o.User, o.Resource = "bob", secondServer }, oauth.CodeAccessDenied},
	} {
		o := PersonalOrder{User: "alice", Name: "Nightly report", Resource: testResource, Seconds: 3600}
		c.edit(&o)
		made, err := r.OrderPersonal(t.Context(), o)
		switch {
		case c.code == "" && (err != nil || !validPersonalText(made.Token)):
			t.Errorf("%s: %v", name, err)
		case c.code != "" && (err == nil || asOAuthError(err).Code != c.code || made.Token != ""):
			t.Errorf("%s: %v", name, err)
		}
	}
}

// listing is a login that keeps its people itself.
type listing struct{ typed }

func (listing) Lookup(_ context.Context, subject string) (login.Identity, error) {
	switch subject {
	case "alice":
		return login.Identity{Subject: "alice", Name: "Alice Example", Groups: []string{"staff"}}, nil
	case "down":
		return login.Identity{}, errors.New("the file is gone")
	}
	return login.Identity{}, login.ErrDenied
}

// TestPersonalNominee: who a token is for is found out as well as can be.
func TestPersonalNominee(t *testing.T) {
	t.Run("of a login that keeps its people", func(t *testing.T) {
		r := personalRig(t, func(c *Config, d *Deps) {
			d.Logins = []login.Method{listing{}, away{"idp"}}
			c.Rules.Allow.Groups = []string{"staff"}
		})
		made := r.order(t, "alice", func(o *PersonalOrder) { o.Login = "password" })
		if c := r.accepted(t, made.Token); c.Name != "Alice Example" {
			t.Errorf("claims %+v", c)
		}
		for user, code := range map[string]string{"nonsense": oauth.CodeAccessDenied, "down": oauth.CodeTemporarilyUnavailable} {
			_, err := r.OrderPersonal(t.Context(), PersonalOrder{User: user, Login: "password", Name: "x", Resource: testResource, Seconds: 60})
			if err == nil || asOAuthError(err).Code != code {
				t.Errorf("%s: %v", user, err)
			}
		}
		_, err := r.OrderPersonal(t.Context(), PersonalOrder{User: "alice", Name: "x", Resource: testResource, Seconds: 60})
		if err == nil || !strings.Contains(err.Error(), "password, idp") {
			t.Errorf("which login? %v", err)
		}
	})
	t.Run("of a provider, known from before", func(t *testing.T) {
		r := personalRig(t, func(c *Config, d *Deps) {
			d.Logins = []login.Method{typed{}}
			c.Rules.Allow.Domains = []string{"example.com"}
		})
		o := PersonalOrder{User: "alice", Name: "x", Resource: testResource, Seconds: 60}
		if _, err := r.OrderPersonal(t.Context(), o); err == nil || asOAuthError(err).Code != oauth.CodeAccessDenied {
			t.Errorf("nobody has vouched for the address: %v", err)
		}
		client := r.register(t, testClient).ClientID
		r.browser(t).approve(request(client, "resource", testResource), client)
		made := r.order(t, "alice", nil)
		if c := r.accepted(t, made.Token); c.Email != "alice@example.com" || c.AuthTime != 5 {
			t.Errorf("claims %+v", c)
		}
	})
	t.Run("of a provider, never seen", func(t *testing.T) {
		r := personalRig(t, func(c *Config, d *Deps) { d.Logins = []login.Method{away{"idp"}} })
		made := r.order(t, "https://idp.example|7", nil)
		if c := r.accepted(t, made.Token); c.Subject != "https://idp.example|7" || c.AuthTime != 0 {
			t.Errorf("claims %+v", c)
		}
		r.cfg.Rules.Deny.Groups = []string{"fired"}
		r.pass(personalFresh)
		r.denied(t, made.Token) // nobody knows their groups
	})
}

// TestPersonalCrowd: however many are made at once, nobody gets more than allowed.
func TestPersonalCrowd(t *testing.T) {
	r := personalRig(t, nil)
	for range maxPersonal - 5 {
		r.order(t, "alice", nil)
		r.rested()
	}
	var made atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			_, err := r.OrderPersonal(t.Context(), PersonalOrder{User: "alice", Name: "x", Resource: testResource, Seconds: 60})
			if err == nil {
				made.Add(1)
			} else if !errors.Is(err, errPersonalMany) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	r.rested()
	tokens, err := r.PersonalTokens(t.Context(), "alice")
	if err != nil || made.Load() > 5 || len(tokens) != maxPersonal-5+int(made.Load()) {
		t.Errorf("%d were made, there are %d: %v", made.Load(), len(tokens), err)
	}
	for len(tokens) < maxPersonal {
		r.order(t, "alice", nil)
		tokens, _ = r.PersonalTokens(t.Context(), "alice")
	}
	if _, err := r.OrderPersonal(t.Context(), PersonalOrder{User: "alice", Name: "x", Resource: testResource, Seconds: 60}); !errors.Is(err, errPersonalMany) {
		t.Errorf("one too many: %v", err)
	}
	r.order(t, "bob", nil)
}

func TestPersonalConfig(t *testing.T) {
	cfg := Config{Issuer: testIssuer, Clients: []Client{{ID: PersonalClientID, AuthMethod: oauth.AuthMethodNone, RedirectURIs: []string{"http://127.0.0.1/cb"}}}}
	if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), PersonalClientID) {
		t.Errorf("a client of this name: %v", err)
	}
	cfg = Config{Issuer: testIssuer, Lifetimes: Lifetimes{PersonalToken: time.Hour}}
	if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), "personal_token_lifetime") {
		t.Errorf("a life of an hour: %v", err)
	}
	r := newRig(t, nil)
	if _, err := r.OrderPersonal(t.Context(), PersonalOrder{User: "alice", Name: "x", Seconds: 60}); !errors.Is(err, errPersonalOff) {
		t.Errorf("where none are accepted: %v", err)
	}
	if page := r.browser(t).get(accountPath); page.Code != http.StatusOK || strings.Contains(page.Body.String(), "token") {
		t.Errorf("the page speaks of tokens: %s", page.Body)
	}
	for most, want := range map[time.Duration]string{day: "[1]", 30 * day: "[7 30]", 180 * day: "[7 30 90 180]", 365 * day: "[7 30 90 365]", 730 * day: "[7 30 90 365 730]"} {
		r.cfg.Lifetimes.PersonalToken = most
		if got := r.personalChoices(); fmt.Sprint(got) != want {
			t.Errorf("up to %s: %v", most, got)
		}
	}
}
