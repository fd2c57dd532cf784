package enforce_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// wantIdentity checks that each header, in whatever spelling, reached the
// upstream with exactly one value; "" is not at all.
func wantIdentity(tb testing.TB, s gatewaytest.Seen, want map[string]string) {
	tb.Helper()
	for name, value := range want {
		got := s.Folded(name)
		if value == "" && len(got) > 0 || value != "" && !slices.Equal(got, []string{value}) {
			tb.Errorf("%s reached the upstream as %q, want %q", name, got, value)
		}
	}
	if s.Contains("root") {
		tb.Errorf("what the client made up reached the upstream: %v", s)
	}
}

// smuggled are header lines in which a client claims to be root.
var smuggled = map[string]string{
	"plain":                  "X-Mcp-User: root\nX-Mcp-Email: root\nX-Mcp-Name: root\nX-Mcp-Client: root\nX-Mcp-Scope: root\n",
	"lower case":             "x-mcp-user: root\nx-mcp-scope: root\n",
	"upper case":             "X-MCP-USER: root\nX-MCP-SCOPE: root\n",
	"underscores":            "X_Mcp_User: root\nX_MCP_SCOPE: root\nx_mcp-user: root\nX-Mcp_Email: root\n",
	"twice":                  "X-Mcp-User: root\nX-Mcp-User: root2\nx_mcp_user: root3\n",
	"empty and filled":       "X-Mcp-User:\nX-Mcp-User: root\n",
	"a name of the family":   "X-Mcp-Groups: root\nX-MCP-Subject: root\nX_Mcp_Role: root\nX-Auth-User: root\nX_Auth_Token: root\n",
	"names of others":        "Remote-User: root\nRemote_User: root\nX-Remote-User: root\nRemote-Groups: root\nX-Forwarded-User: root\nX_Forwarded_User: root\nX-Forwarded-Email: root\nX-Forwarded-Groups: root\nX-Forwarded-Preferred-Username: root\nX-Forwarded-Access-Token: root\n",
	"Connection":             "Connection: X-Mcp-User, X-Mcp-Scope\nX-Mcp-User: root\n",
	"Connection in pieces":   "Connection: close\nConnection: x-mcp-user ,\tX-MCP-SCOPE\nConnection: X-Mcp-Email, X-Mcp-Name, X-Mcp-Client, Content-Type\n",
	"Proxy-Connection":       "Proxy-Connection: X-Mcp-User\nKeep-Alive: X-Mcp-User\n",
	"other credentials":      "Proxy-Authorization: Bearer root\nDPoP: root\n",
	"proxy headers":          "X-Forwarded-For: root\nX-Forwarded-Host: root\nX-Forwarded-Proto: root\n",
	"proxy headers, folded":  "X_Forwarded_For: root\nX_Forwarded_Host: root\nX_Forwarded_Proto: root\n",
	"further proxy headers":  "X-Forwarded-Port: root\nX-Forwarded-Prefix: /root\nX-Forwarded-Server: root\nX-Forwarded-Uri: /root\n",
	"where it came from":     "X-Original-URL: /root\nX-Rewrite-URL: /root\nX-Real-IP: root\nX_Original_URL: /root\n",
	"Forwarded":              "Forwarded: for=root;host=root;proto=https\n",
	"Forwarded, folded":      "X_Forwarded_Server: root\nX-Forwarded-Ssl: root\nX_Forwarded_Prefix: root\n",
	"trailers not announced": "Transfer-Encoding: chunked\n\n2\n{}\n0\nX-Mcp-User: root\nX_Mcp_Scope: root\nAuthorization: Bearer root\n",
	"trailers announced":     "Transfer-Encoding: chunked\nTrailer: X-Mcp-User, X_Mcp_Scope, Authorization\nTE: trailers\n\n2\n{}\n0\nX-Mcp-User: root\nX_Mcp_Scope: root\nAuthorization: Bearer root\n",
}

func TestIdentity(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	g := start(t, u, "", "public /health")
	c := gatewaytest.Register(t, g.URL)
	access, _ := c.Tokens(t)
	alice := map[string]string{
		"X-Mcp-User": "alice", "X-Mcp-Email": "alice@example.com", "X-Mcp-Name": "Alice Example",
		"X-Mcp-Client": c.ID, "X-Mcp-Scope": "mcp:tools:read mcp:tools:execute",
		"Authorization": "", "Proxy-Authorization": "", "DPoP": "", "Remote-User": "", "X-Forwarded-User": "",
	}
	nobody := map[string]string{"X-Mcp-User": "", "X-Mcp-Email": "", "X-Mcp-Scope": "", "Authorization": "", "Remote-User": ""}
	for name, lines := range smuggled {
		t.Run("L1 L2 L3 L4 O46 "+name, func(t *testing.T) {
			wantStatus(t, raw(t, g.URL, smuggle("/mcp", "Authorization: Bearer "+access+"\n"+lines)), http.StatusOK)
			s := u.One(t)
			wantIdentity(t, s, alice)
			if s.Header.Get("Content-Type") != "application/json" {
				t.Errorf("Content-Type is gone: %v", s.Header)
			}
			if s.Contains(access) {
				t.Error("the token reached the upstream")
			}
		})
		t.Run("P2 public path, "+name, func(t *testing.T) {
			wantStatus(t, raw(t, g.URL, smuggle("/health", "Authorization: Bearer "+access+"\n"+lines)), http.StatusOK)
			s := u.One(t)
			wantIdentity(t, s, nobody)
			if s.Contains(access) {
				t.Error("the token reached the upstream")
			}
		})
	}
	t.Run("P2 a claim that the token lacks leaves its header absent", func(t *testing.T) {
		call(t, g.URL+"/mcp", append(bearer(devToken(t, g.URL)), "X-Mcp-Email", "root", "X-Mcp-Name", "root")...)
		wantIdentity(t, u.One(t), map[string]string{"X-Mcp-User": "dev", "X-Mcp-Email": "", "X-Mcp-Name": ""})
	})
	t.Run("O41 P9 values stay on their line and are not expanded", func(t *testing.T) {
		token := devToken(t, g.URL, "sub", "{env.HOME}{http.request.host}", "name", "A\r\nX-Evil: 1\x00", "email", "ä@example.com")
		wantStatus(t, call(t, g.URL+"/mcp", bearer(token)...), http.StatusOK)
		s := u.One(t)
		wantIdentity(t, s, map[string]string{
			"X-Mcp-User": "{env.HOME}{http.request.host}", "X-Mcp-Name": "A%0D%0AX-Evil: 1%00", "X-Mcp-Email": "%C3%A4@example.com", "X-Evil": "",
		})
	})
}

// smuggle writes a request with these lines and a body, unless they bring one.
func smuggle(target, lines string) string {
	head := "POST " + target + " HTTP/1.1\nHost: HOST\nContent-Type: application/json\n"
	if strings.Contains(lines, "Transfer-Encoding") {
		return head + lines + "\n"
	}
	return head + fmt.Sprintf("Content-Length: %d\n", len(ping)) + lines + "\n" + ping
}

// ping is a message for those who read it.
const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`

func TestIdentityHeaderNames(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	t.Run("L3 configured names and off", func(t *testing.T) {
		g := start(t, u, "", "identity_header user Remote-User\nidentity_header email off\nidentity_header scope Tenant-Scope")
		access, _ := gatewaytest.Register(t, g.URL).Tokens(t)
		lines := "Remote_User: root\nremote-user: root\nTenant_Scope: root\nTENANT-SCOPE: root\nX-Mcp-User: root\nX-Mcp-Email: root\n" +
			"Connection: Remote-User, Tenant-Scope\n"
		wantStatus(t, raw(t, g.URL, smuggle("/mcp", "Authorization: Bearer "+access+"\n"+lines)), http.StatusOK)
		wantIdentity(t, u.One(t), map[string]string{
			"Remote-User": "alice", "X-Mcp-User": "", "X-Mcp-Email": "", "Tenant-Scope": "mcp:tools:read mcp:tools:execute",
		})
	})
	t.Run("L3 all off", func(t *testing.T) {
		g := start(t, u, "", "identity_header user off\nidentity_header email off\nidentity_header name off\nidentity_header client off\nidentity_header scope off")
		wantStatus(t, raw(t, g.URL, smuggle("/mcp", "Authorization: Bearer "+devToken(t, g.URL)+"\n"+smuggled["twice"]+smuggled["underscores"])), http.StatusOK)
		wantIdentity(t, u.One(t), map[string]string{"X-Mcp-User": "", "X-Mcp-Email": "", "X-Mcp-Scope": "", "X-Mcp-Client": "", "Authorization": ""})
	})
	for _, name := range []string{"Authorization", "Host", "Connection", "Mcp-Session-Id", "X_Mcp_User", "Content-Length"} {
		t.Run("L3 refused as a name: "+name, func(t *testing.T) {
			port := gatewaytest.FreePort(t)
			_, err := gatewaytest.TryStart(t, gatewaytest.Options{
				Caddyfile: forPort(caddyfile("", "identity_header user "+name), port), Upstream: u.Addr(), Port: port,
			})
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("started, or the reason does not name it: %v", err)
			}
		})
	}
}

// K3, L2: the parameter goes, the rest of the query stays byte for byte.
func TestAccessTokenQuery(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	g := start(t, u, "", "public /health")
	token := devToken(t, g.URL)
	for query, rest := range map[string]string{
		"access_token=" + token:                    "",
		"a=1&access_token=" + token + "&b=%20+x":   "a=1&b=%20+x",
		"Access_Token=" + token + "&a":             "a",
		"access%5Ftoken=" + token + "&a":           "a",
		"%61ccess_token=" + token + "&a":           "a",
		"access_token=" + token + "&access_token=": "",
		"access_token&a=1":                         "a=1",
		"a=1;access_token=" + token:                "a=1",
		"access_token=" + token + ";a=1":           "a=1",
		"a=%zz&access_token=" + token:              "a=%zz",
		"my_access_token=1&a=access_token":         "my_access_token=1&a=access_token",
		"a=1&&b=2&":                                "a=1&&b=2&",
	} {
		for path, header := range map[string][]string{"/mcp": bearer(devToken(t, g.URL, "sub", "x")), "/health": nil} {
			t.Run("K3 L2 "+path+"?"+strings.ReplaceAll(query, token, "TOKEN"), func(t *testing.T) {
				wantStatus(t, call(t, g.URL+path+"?"+query, header...), http.StatusOK)
				s := u.One(t)
				_, got, _ := strings.Cut(s.Target, "?")
				// With a semicolon there are two readings; that the token is gone is what counts.
				if s.Contains(token) || !strings.Contains(query, ";") && got != rest {
					t.Errorf("arrived as %s", s.Target)
				}
			})
		}
	}
	t.Run("K3 body and cookies are not read", func(t *testing.T) {
		r := gatewaytest.PostForm(t, g.URL+"/mcp", url.Values{"access_token": {token}})
		wantStatus(t, r, http.StatusUnauthorized)
		u.None(t)
	})
}
