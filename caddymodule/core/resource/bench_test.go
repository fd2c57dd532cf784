package resource

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// presented is a request with a token, or without one if it is empty.
func presented(token string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, mcp, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// garbage is what strangers send instead of a token.
func garbage(b *bench, t testing.TB) map[string]string {
	good := b.token(t, nil)
	return map[string]string{
		"text":         "garbage",
		"long":         strings.Repeat("garbage.", 1000),
		"three parts":  "e30.e30.e30",
		"other key":    b.token(t, map[string]any{"kid": "k9"}),
		"damaged":      strings.Replace(good, ".", "!.", 1),
		"no signature": good[:strings.LastIndexByte(good, '.')+1],
	}
}

// TestAllocsOfACheck: what is remembered costs nothing, what is new costs its
// signature, and what is garbage leaves nothing behind.
func TestAllocsOfACheck(t *testing.T) {
	b := newBench(t, nil)
	count := func(name string, most float64, r *http.Request, good bool) {
		t.Helper()
		n := testing.AllocsPerRun(200, func() {
			if d := b.guard.Check(r); (d.Deny == nil) != good {
				t.Fatalf("%s: %+v", name, d.Deny)
			}
		})
		t.Logf("%s: %v allocations", name, n)
		if n > most {
			t.Errorf("%s: %v allocations, want up to %v", name, n, most)
		}
	}
	r := presented(b.token(t, nil))
	b.guard.Check(r)
	count("a remembered token", 0, r, true)
	count("no token", 0, presented(""), false)
	for name, raw := range garbage(b, t) {
		count("garbage: "+name, 10, presented(raw), false)
	}
	b.verifier.Cache.tokens.CleanUp()
	if n := b.verifier.Cache.tokens.EstimatedSize(); n != 1 {
		t.Errorf("%d tokens are remembered", n)
	}
	fresh, next := make([]*http.Request, 300), 0
	for i := range fresh {
		fresh[i] = presented(b.token(t, nil, "jti", fmt.Sprint(i)))
	}
	n := testing.AllocsPerRun(len(fresh)-1, func() {
		if d := b.guard.Check(fresh[next]); d.Deny != nil {
			t.Fatal(d.Deny.Cause)
		}
		next++
	})
	t.Logf("a new token: %v allocations", n)
	if n > 50 {
		t.Errorf("a new token: %v allocations, want up to 50", n)
	}
}

func BenchmarkCheckRemembered(bb *testing.B) {
	b := newBench(bb, nil)
	b.verifier.Keys = func(string) (string, any, bool) { return "ES256", b.key.Public(), true }
	raw := b.token(bb, nil)
	bb.ReportAllocs()
	bb.SetParallelism(32)
	bb.RunParallel(func(pb *testing.PB) {
		r := presented(raw)
		for pb.Next() {
			if d := b.guard.Check(r); d.Deny != nil {
				bb.Fatal(d.Deny.Cause)
			}
		}
	})
}

// BenchmarkCheckNew is to be compared with BenchmarkSignature.
func BenchmarkCheckNew(bb *testing.B) {
	b := newBench(bb, nil)
	requests := make([]*http.Request, 2000)
	for i := range requests {
		requests[i] = presented(b.token(bb, nil, "jti", fmt.Sprint(i)))
	}
	bb.ReportAllocs()
	for i := 0; bb.Loop(); i++ {
		if i%len(requests) == 0 {
			b.verifier.Cache = NewCache()
		}
		if d := b.guard.Check(requests[i%len(requests)]); d.Deny != nil {
			bb.Fatal(d.Deny.Cause)
		}
	}
}

// BenchmarkSignature is what the check of a new token can't do without.
func BenchmarkSignature(bb *testing.B) {
	b := newBench(bb, nil)
	raw := b.token(bb, nil)
	sum := sha256.Sum256([]byte(raw))
	signature, err := ecdsa.SignASN1(nil, b.key, sum[:])
	if err != nil {
		bb.Fatal(err)
	}
	bb.ReportAllocs()
	for bb.Loop() {
		sum := sha256.Sum256([]byte(raw))
		if !ecdsa.VerifyASN1(&b.key.PublicKey, sum[:], signature) {
			bb.Fatal("not verified")
		}
	}
}

func BenchmarkCheckGarbage(bb *testing.B) {
	b := newBench(bb, nil)
	for name, raw := range garbage(b, bb) {
		bb.Run(name, func(bb *testing.B) {
			r := presented(raw)
			bb.ReportAllocs()
			for bb.Loop() {
				b.guard.Check(r)
			}
		})
	}
}
