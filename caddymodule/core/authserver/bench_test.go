package authserver

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

func BenchmarkRegister(b *testing.B) {
	r := newRig(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		if w := r.do("POST", "/oauth/register", "application/json", testClient); w.Code != http.StatusCreated {
			b.Fatal(w.Body)
		}
		r.events = r.events[:0]
	}
}

// BenchmarkRegisterMany registers at a server that has given out a hundred
// thousand clients: it costs the same, because nothing is kept.
func BenchmarkRegisterMany(b *testing.B) {
	r := newRig(b, nil)
	for range 100_000 {
		if w := r.do("POST", "/oauth/register", "application/json", testClient); w.Code != http.StatusCreated {
			b.Fatal(w.Body)
		}
		r.events = r.events[:0]
	}
	b.ReportAllocs()
	for b.Loop() {
		r.do("POST", "/oauth/register", "application/json", testClient)
		r.events = r.events[:0]
	}
}

// BenchmarkRegisterBounded counts each registration against its address, of
// which there are many.
func BenchmarkRegisterBounded(b *testing.B) {
	th, now := newThrottle(Rate{PerAddress: DefaultRegistrationsPerAddress, Total: 1 << 30}), time.Unix(1_800_000_000, 0)
	addresses := make([]string, 1<<16)
	for i := range addresses {
		addresses[i] = fmt.Sprintf("10.0.%d.%d", i>>8, i&255)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		th.allow(now, addresses[i%len(addresses)])
	}
}

// BenchmarkOpenClient resolves a client_id as each authorization and each token
// does: it opens the registration and looks whether it was changed.
func BenchmarkOpenClient(b *testing.B) {
	r := newRig(b, nil)
	c := r.register(b, testClient).ClientID
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.client(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadClient is a whole request of a client that reads its
// registration.
func BenchmarkReadClient(b *testing.B) {
	r := newRig(b, nil)
	c := r.register(b, testClient)
	b.ReportAllocs()
	for b.Loop() {
		if w := r.manage("GET", c.RegistrationClientURI, c.RegistrationAccessToken, ""); w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
		r.events = r.events[:0]
	}
}

func BenchmarkAuthorize(b *testing.B) {
	r := newRig(b, nil)
	c := r.register(b, testClient).ClientID
	b.ReportAllocs()
	for b.Loop() {
		r.code(b, c)
		r.events = r.events[:0]
	}
}

// BenchmarkRedeem includes the authorization that each code needs: subtract
// BenchmarkAuthorize.
func BenchmarkRedeem(b *testing.B) {
	r := newRig(b, nil)
	c := r.register(b, testClient).ClientID
	b.ReportAllocs()
	for b.Loop() {
		r.tokens(b, c)
		r.events = r.events[:0]
	}
}

func BenchmarkRefresh(b *testing.B) {
	r := newRig(b, nil)
	c := r.register(b, testClient).ClientID
	token := r.tokens(b, c).RefreshToken
	b.ReportAllocs()
	for b.Loop() {
		token = r.refresh(b, c, token).RefreshToken
		r.events = r.events[:0]
	}
}

// BenchmarkPersonal checks a personal access token: one that was seen before, and
// one that is looked up.
func BenchmarkPersonal(b *testing.B) {
	r := personalRig(b, nil)
	made := r.order(b, "alice", nil)
	for name, forget := range map[string]bool{"warm": false, "cold": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if forget {
					r.personal.good.Invalidate(made.ID)
				}
				r.accepted(b, made.Token)
			}
		})
	}
}
