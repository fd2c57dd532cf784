package authserver

import (
	"net/http"
	"testing"
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
