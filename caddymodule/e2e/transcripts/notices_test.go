package transcripts_test

import (
	"slices"
	"strings"
	"testing"
)

// TestReplayNotices: a transcript that expects what the gateway does not do
// fails, and says at which step.
func TestReplayNotices(t *testing.T) {
	t.Parallel()
	g := start(t)
	const (
		challenged = "calls without a token"
		described  = "reads the metadata of the authorization server"
		registered = "registers"
		signedIn   = "sends the person to sign in; they paste the code"
		redeemed   = "redeems the code"
		listed     = "calls tools/list"
	)
	for _, tt := range []struct {
		name, does string
		spoil      func(*step)
		want       string
	}{
		{"status", registered, func(s *step) { s.Expect.Status = 200 }, "status 201, want 200"},
		{"status of all such steps", challenged, func(s *step) { s.Expect.As = []string{"tokens"} }, "as tokens: status 401, want 200"},
		{"header", challenged, func(s *step) { s.Expect.Headers = map[string]string{"WWW-Authenticate": "Bearer"} }, "header WWW-Authenticate"},
		{"header that is not there", challenged, func(s *step) { s.Expect.Headers = map[string]string{"X-Other": ".*"} }, "header X-Other"},
		{"member", described, func(s *step) { s.Expect.JSON = map[string]any{"issuer": "{{base}}/"} }, "issuer: http://localhost"},
		{"member that is not there", described, func(s *step) { s.Expect.JSON = map[string]any{"other": "*"} }, "other: <nil>"},
		{"number", redeemed, func(s *step) { s.Expect.JSON = map[string]any{"expires_in": 1.0} }, "expires_in: 3600, want 1"},
		{"element", described, func(s *step) { s.Expect.JSON = map[string]any{"grant_types_supported": []any{"password"}} }, "no element password"},
		{"member that must not be there", registered, func(s *step) { s.Expect.Absent = []string{"client_id"} }, "has the member client_id"},
		{"no JSON", challenged, func(s *step) { s.Expect.JSON = []any{} }, "no list"},
		{"text", listed, func(s *step) { s.Expect.Body = "no such tool" }, `has no "no such tool"`},
		{"another redirect", signedIn, func(s *step) { s.Expect.Redirect = "https://antigravity.google/other" }, "was sent to https://antigravity.google/oauth-callback, want"},
		{"another issuer", signedIn, func(s *step) { s.Expect.Query = map[string]string{"iss": "{{base}}/"} }, "the redirect has iss="},
		{"no redirect", challenged, func(s *step) { s.Expect.Redirect = "{{base}}" }, "was not sent back"},
		{"refused at the page", signedIn, func(s *step) { s.Person["redirect_uri"] = "https://evil.example/" }, "was not sent back: 400"},
		{"wrong verifier", redeemed, func(s *step) { s.Request.Form["code_verifier"] = "{{verifier}}x" }, "status 400, want 200"},
		{"nothing to save", redeemed, func(s *step) { s.Save = map[string]string{"x": "id_token"} }, "has no id_token"},
		{"nothing was saved", redeemed, func(s *step) { s.Request.Form["code"] = "{{other}}" }, "nothing was saved as {{other}}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var tr transcript
			read(t, "testdata/antigravity.json", &tr)
			steps := tr.in(modeDynamic)
			i := slices.IndexFunc(steps, func(s step) bool { return s.Does == tt.does })
			if i < 0 {
				t.Fatal("the transcript has no such step")
			}
			tt.spoil(&steps[i])
			err := newReplay(t, g.URL, tr, modeDynamic).run(t.Context(), steps)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.does) {
				t.Errorf("error %v, want %q at %q", err, tt.want, tt.does)
			}
		})
	}
}
