package browser_test

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// hub stands in for GitHub, for the browser and for the gateway.
type hub struct {
	*httptest.Server
	// down makes it fail when the gateway asks.
	down atomic.Bool
}

// newHub starts a GitHub where Carol has an account.
func newHub(tb testing.TB) *hub {
	tb.Helper()
	h := &hub{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login/oauth/authorize", authorizeApp)
	mux.HandleFunc("POST /login/oauth/access_token", h.api(`{"access_token":"gho_x","token_type":"bearer","scope":""}`))
	mux.HandleFunc("GET /api/v3/user", h.api(`{"id":7,"login":"carol","name":"Carol Example"}`))
	mux.HandleFunc("GET /api/v3/user/emails", h.api(`[{"email":"carol@example.com","primary":true,"verified":true}]`))
	h.Server = httptest.NewServer(mux)
	tb.Cleanup(h.Close)
	return h
}

// authorizeApp is the page that asks whether the gateway may know who Carol is.
func authorizeApp(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	back := withQuery(q.Get("redirect_uri"), "code", "c0de", "state", q.Get("state"))
	no := withQuery(q.Get("redirect_uri"), "error", "access_denied", "state", q.Get("state"))
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprintf(w, `<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>GitHub</title><h1>GitHub</h1>
<a id="yes" href="%s">Authorize</a> <a id="no" href="%s">Cancel</a></html>`, html.EscapeString(back), html.EscapeString(no))
}

func (h *hub) api(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if h.down.Load() {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, answer)
	}
}

// login is the option that signs people in there.
func (h *hub) login() string {
	return `login github {
			client_id     gateway
			client_secret s3cret
			base_url      ` + h.URL + `
		}
		allow email *@example.com
		allow user bob`
}
