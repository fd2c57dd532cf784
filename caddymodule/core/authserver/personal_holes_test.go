package authserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// lateStore lets something happen just before it stores a grant.
type lateStore struct {
	store.Store
	before func()
}

func (l *lateStore) CreateGrant(ctx context.Context, now time.Time, g store.Grant) error {
	if before := l.before; before != nil {
		l.before = nil
		before()
	}
	return l.Store.CreateGrant(ctx, now, g)
}

// TestAccountTokenWhileAllIsTakenBack: a thief's token that was stored just after
// its owner had listed what to remove outlived "Remove all" by a year.
func TestAccountTokenWhileAllIsTakenBack(t *testing.T) {
	for _, do := range []string{"revoke_all", "sign_out_everywhere", "sign_out"} {
		for _, where := range []string{"here", "on another node"} {
			t.Run(do+" "+where, func(t *testing.T) {
				late := new(lateStore)
				r := personalRig(t, func(_ *Config, d *Deps) { late.Store, d.Store = d.Store, late })
				other := personalRig(t, func(_ *Config, d *Deps) { d.Store, d.Keys, d.Now = late.Store, r.deps.Keys, r.now })
				owner, flow := r.owner(t, "alice")
				thief, own := owner.twin(), flowOf(t, owner.get(accountPath))
				if where != "here" {
					owner.rig = other
				}
				late.before = func() {
					shows(t, owner.post(accountPath, url.Values{"flow": {own}, "do": {do}}), http.StatusOK, "")
				}
				w := thief.post(accountPath, tokenForm(flow))
				if shows(t, w, http.StatusConflict, "no token was made"); personalShown.MatchString(w.Body.String()) {
					t.Errorf("a token is shown: %s", w.Body)
				}
				if tokens, err := r.PersonalTokens(t.Context(), "alice"); err != nil || len(tokens) > 0 {
					t.Errorf("it lives: %+v, %v", tokens, err)
				}
				// Afterwards it is as ever, and at once.
				owner, flow = r.owner(t, "alice")
				shows(t, owner.post(accountPath, tokenForm(flow)), http.StatusOK, "only this once")
			})
		}
	}
}

// TestAccountTokenOften: each token that was removed is remembered until it would
// have expired, so nobody may fill that memory by making and removing them.
func TestAccountTokenOften(t *testing.T) {
	r := personalRig(t, nil)
	b, flow := r.owner(t, "alice")
	for range maxPersonalMade {
		w := b.post(accountPath, tokenForm(flow))
		token := personalShown.FindString(w.Body.String())
		page := b.post(accountPath, url.Values{"flow": {flowOf(t, b.get(accountPath))}, "do": {"revoke"}, "grant": {personalID(token)}})
		shows(t, page, http.StatusOK, "The token was removed")
		flow = flowOf(t, page)
	}
	w := b.post(accountPath, tokenForm(flow))
	if shows(t, w, http.StatusOK, "many within an hour"); personalShown.MatchString(w.Body.String()) {
		t.Errorf("one too many: %s", w.Body)
	}
	_, err := r.OrderPersonal(t.Context(), PersonalOrder{User: "alice", Name: "x", Resource: testResource, Seconds: 60})
	if e := asOAuthError(err); !errors.Is(err, errPersonalOften) || e.Status != http.StatusTooManyRequests || !strings.Contains(e.Description, "within an hour") {
		t.Errorf("by an operator: %v", err)
	}
	r.order(t, "bob", nil)
	r.rested()
	r.order(t, "alice", nil)
}

// TestPersonalBehindPrograms: programs that a person let in later hid their tokens
// from the count, and so there was no limit.
func TestPersonalBehindPrograms(t *testing.T) {
	r := personalRig(t, nil)
	for range maxPersonal {
		r.order(t, "alice", nil)
		r.rested()
	}
	r.pass(time.Second)
	for i := range maxOwned {
		g := store.Grant{
			ID: fmt.Sprint("program", i), ClientID: "c", User: store.User{Subject: "alice"}, Resource: testResource, Scope: "mcp:tools:read",
			Created: r.clock, RotatedAt: r.clock, Expires: r.clock.Add(day), NotAfter: r.clock.Add(day),
		}
		if err := r.store.CreateGrant(t.Context(), r.clock, g); err != nil {
			t.Fatal(err)
		}
	}
	_, err := r.OrderPersonal(t.Context(), PersonalOrder{User: "alice", Name: "x", Resource: testResource, Seconds: 60})
	if !errors.Is(err, errPersonalCount) {
		t.Errorf("one more than can be counted: %v", err)
	}
}
