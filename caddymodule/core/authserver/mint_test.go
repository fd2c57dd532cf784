package authserver

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// TestClaimsOfGroups: a token names the groups that somebody wants to know, and
// says what the list is complete for.
func TestClaimsOfGroups(t *testing.T) {
	of := oauth.GroupsOf([]string{"leads", "hr"})
	few := store.User{Subject: "alice", Groups: []string{"staff", "Leads", "hr"}}
	for _, c := range []struct {
		name    string
		named   []string
		all     bool
		user    store.User
		want    string
		of      string
		unknown bool
	}{
		{"nobody asks", nil, false, few, "", "", false},
		{"some are named", []string{"hr", "leads"}, false, few, "Leads hr", of, false},
		{"none of them is the user's", []string{"root"}, false, few, "", oauth.GroupsOf([]string{"root"}), false},
		{"all", []string{"hr"}, true, few, "staff Leads hr", oauth.GroupsOfAll, false},
		{"all, where only the named ones are kept", []string{"hr", "leads"}, true, store.User{Groups: []string{"hr"}, GroupsOf: "x"}, "hr", of, false},
		{"unknown", []string{"hr", "leads"}, false, store.User{Groups: []string{"hr"}, GroupsUnknown: true}, "hr", of, true},
		{"a program is in none", []string{"hr", "leads"}, false, store.User{Subject: "client|batch"}, "", of, false},
	} {
		r := newRig(t, func(cfg *Config, _ *Deps) {
			cfg.Resources[0].PolicyGroups, cfg.Resources[0].AllGroups = c.named, c.all
		})
		got := r.claims(store.Grant{Resource: testResource, User: c.user}, nil)
		if strings.Join(got.Groups, " ") != c.want || got.GroupsOf != c.of || got.GroupsUnknown != c.unknown {
			t.Errorf("%s: %q of %q, unknown %t", c.name, got.Groups, got.GroupsOf, got.GroupsUnknown)
		}
	}
}

// crowded is a login whose one person is in many groups.
type crowded struct{ alice }

func (crowded) Begin(context.Context, login.Request) (login.Step, error) {
	id := &login.Identity{Subject: "alice", Email: "alice@example.com", EmailVerified: true}
	for i := range 100 {
		id.Groups = append(id.Groups, fmt.Sprintf("a-group-with-a-long-name-%d", i))
	}
	return login.Step{Identity: id}, nil
}

// TestClaimsAfterAReload: of somebody with many groups those are kept that were
// named when they signed in. Once others are named, their groups are unknown.
func TestClaimsAfterAReload(t *testing.T) {
	const first, second = "a-group-with-a-long-name-1", "a-group-with-a-long-name-2"
	r := newRig(t, func(c *Config, d *Deps) {
		c.Resources[0].PolicyGroups, d.Logins = []string{first, "other"}, []login.Method{crowded{}}
	})
	id := r.register(t, testClient).ClientID
	tokens := r.tokens(t, id)
	c := claimsOf(t, tokens.AccessToken)
	if !slices.Equal(c.Groups, []string{first}) || c.GroupsUnknown || c.GroupsOf != oauth.GroupsOf([]string{first, "other"}) {
		t.Fatalf("%q of %q, unknown %t", c.Groups, c.GroupsOf, c.GroupsUnknown)
	}
	if c.Login != "alice" || !c.EmailVerified {
		t.Errorf("login %q, verified %t", c.Login, c.EmailVerified)
	}
	later := func(names ...string) oauth.AccessTokenClaims {
		t.Helper()
		cfg := r.cfg
		cfg.Resources = slices.Clone(cfg.Resources)
		cfg.Resources[0].PolicyGroups = names
		s, err := New(cfg, r.deps)
		if err != nil {
			t.Fatal(err)
		}
		r.Server = s
		next := decode[oauth.TokenResponse](t, r.form("/oauth/token", refreshForm(id, tokens.RefreshToken)), http.StatusOK)
		tokens = next
		return claimsOf(t, next.AccessToken)
	}
	if c := later(first, second); !c.GroupsUnknown || !slices.Equal(c.Groups, []string{first}) {
		t.Errorf("after the reload: %q, unknown %t", c.Groups, c.GroupsUnknown)
	}
	if c := later("other", first); c.GroupsUnknown || !slices.Equal(c.Groups, []string{first}) {
		t.Errorf("and back: %q, unknown %t", c.Groups, c.GroupsUnknown)
	}
}
