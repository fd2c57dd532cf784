package mockmcp

import (
	"net"
	"net/http"
	"strings"
)

// guard protects direct use from pages in the user's own browser, and leaves requests of a gateway alone.
//
// A page from elsewhere can make the browser call 127.0.0.1, by a form, a fetch, or a name that it points there later
// (DNS rebinding). Behind a gateway neither Host nor Origin can be judged here: they are those of the public site, and
// the gateway has checked them. The Via header tells the two apart: every proxy adds it (RFC 9110 section 7.6.3, Caddy
// does), and scripts in a browser are not allowed to set it (Fetch standard, forbidden request-headers).
func guard(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Via") == "" {
			if rebound(r) {
				http.Error(w, "refused: the Host header names another machine, and the request didn't come through a proxy (no Via header)", http.StatusForbidden)
				return
			}
			if err := cross.Check(r); err != nil {
				http.Error(w, "refused: a page of another site sent this request, and it didn't come through a proxy (no Via header)", http.StatusForbidden)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// rebound says whether a request that came in over a loopback address names a host that isn't.
func rebound(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && isLoopback(addr.String()) && !isLoopback(r.Host)
}

// isLoopback reads a host with or without a port.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	host = strings.ToLower(host)
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}
