package enforce_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// markers is a gateway whose every field is filled with something that can be
// recognised, and what must show up nowhere.
type markers struct {
	*testing.T
	g       *gatewaytest.Gateway
	u       *gatewaytest.Upstream
	config  string
	secrets map[string]string // real credentials and states, by what they are
	named   map[string]string // what may be logged and stored but not counted
	refused []gatewaytest.Reply
	serial  int
}

// secret makes up a credential that is at least as long as real ones.
func (m *markers) secret(what string) string {
	m.serial++
	s := fmt.Sprintf("zq%dMarker%sOfTheTestThatNobodyMaySee%dxy", m.serial, strings.ReplaceAll(what, " ", ""), m.serial*7919)
	return m.keep(what, s)
}

// keep notes a credential that the gateway made.
func (m *markers) keep(what, s string) string {
	m.Helper()
	if len(s) < 32 {
		m.Fatalf("%s is no credential: %q", what, s)
	}
	m.serial++
	m.secrets[fmt.Sprintf("%s %d", what, m.serial)] = s
	return s
}

// send sends a request and keeps the answer if it is a refusal.
func (m *markers) send(method, target, body string, header ...string) gatewaytest.Reply {
	m.Helper()
	r := gatewaytest.Send(m, method, target, body, header...)
	if r.Status >= 400 {
		m.refused = append(m.refused, r)
	}
	return r
}

func (m *markers) form(target string, form url.Values, header ...string) gatewaytest.Reply {
	m.Helper()
	return m.send(http.MethodPost, m.g.URL+target, form.Encode(), append(header, "Content-Type", "application/x-www-form-urlencoded")...)
}

// spelled lists the forms in which a credential could show up: as it is,
// escaped, in hexadecimal, in both alphabets of Base64 at each of the three
// alignments, and its last characters alone.
func spelled(s string) []string {
	forms := []string{s, url.QueryEscape(s), hex.EncodeToString([]byte(s)), s[len(s)-16:]}
	for shift := range 3 {
		whole := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + s))
		inner := whole[4 : len(whole)-4]
		forms = append(forms, inner, strings.NewReplacer("+", "-", "/", "_").Replace(inner))
	}
	if parts := strings.Split(s, "."); len(parts) == 3 {
		claims, _ := base64.RawURLEncoding.DecodeString(parts[1])
		forms = append(forms, parts[1], parts[2], string(claims))
	}
	return forms
}

// absent checks that no marker is in a text.
func (m *markers) absent(t *testing.T, where, text string, sets ...map[string]string) {
	t.Helper()
	for _, set := range sets {
		for what, s := range set {
			for _, form := range spelled(s) {
				if i := strings.Index(text, form); i >= 0 {
					start, end := strings.LastIndex(text[:i], "\n")+1, min(i+len(form)+20, len(text))
					t.Errorf("%s shows the %s: …%.300s", where, what, text[max(start, i-250):end])
					break
				}
			}
		}
	}
}

func startMarkers(t *testing.T) *markers {
	m := &markers{T: t, secrets: map[string]string{}, named: map[string]string{}, u: gatewaytest.NewUpstream(t, nil)}
	env := []string{
		"MARK_RING=" + m.secret("ring secret"), "MARK_CLIENT=" + m.secret("configured client secret"), "MARK_REG=" + m.secret("registration token"),
	}
	port := gatewaytest.FreePort(t)
	m.config = forPort(caddyfile(`secret {env.MARK_RING}
registration {
	access_token {env.MARK_REG}
}
client confidential {
	secret {env.MARK_CLIENT}
	redirect_uri http://127.0.0.1/cb
}`, "public /health\npersonal_access_tokens"), port)
	m.g = gatewaytest.Start(t, gatewaytest.Options{Caddyfile: m.config, Upstream: m.u.Addr(), Port: port, Env: env})
	return m
}

// find returns the first credential of a kind.
func (m *markers) find(what string) string {
	for name, s := range m.secrets {
		if strings.HasPrefix(name, what) {
			return s
		}
	}
	m.Fatalf("no %s", what)
	return ""
}

func (m *markers) register() *gatewaytest.Client {
	m.Helper()
	m.named["client name"] = "zqMarkerClientNameThatMayBeLoggedButNotCounted"
	good := `{"client_name":"` + m.named["client name"] + `","redirect_uris":["http://127.0.0.1/cb?planted=1"],"token_endpoint_auth_method":"client_secret_post"}`
	auth := []string{"Content-Type", "application/json", "Authorization", "Bearer " + m.find("registration token")}
	r := m.send(http.MethodPost, m.g.URL+"/oauth/register", good, auth...)
	wantStatus(m, r, http.StatusCreated)
	for _, wrong := range []string{"Bearer " + m.secret("wrong registration token"), "Basic " + m.secret("wrong registration token"), m.secret("scheme")} {
		m.send(http.MethodPost, m.g.URL+"/oauth/register", good, "Content-Type", "application/json", "Authorization", wrong)
	}
	for _, bad := range []string{
		`{"client_secret":"` + m.secret("secret in metadata") + `","redirect_uris":7}`,
		`{"` + m.secret("member name") + `":1,"redirect_uris":["javascript:alert(1)"]}`,
		`{"redirect_uris":["http://127.0.0.1/cb"],"software_statement":"` + m.secret("software statement") + `"}`,
		`{"redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"` + m.secret("auth method") + `"}`,
		`{"redirect_uris":["http://127.0.0.1/cb"],"scope":"\"` + m.secret("scope") + `"}`,
		`{"redirect_uris":["https://u:` + m.secret("password in a URI") + `@a.example/"]}`,
		`not JSON ` + m.secret("broken body"),
	} {
		m.send(http.MethodPost, m.g.URL+"/oauth/register", bad, auth...)
	}
	return &gatewaytest.Client{
		Base: m.g.URL, ID: r.Text(m, "client_id"), Secret: m.keep("derived client secret", r.Text(m, "client_secret")),
		RedirectURI: "http://127.0.0.1/cb?planted=1", Verifier: m.secret("verifier"),
	}
}

// authorize returns a code, after requests that fail in every way.
func (m *markers) authorize(c *gatewaytest.Client) string {
	m.Helper()
	extra := []string{
		"state", m.secret("state"), "resource", m.g.URL + "/mcp?key=" + m.secret("resource query"), "nonce", m.secret("nonce"),
		"login_hint", m.secret("login hint"), "code_verifier", c.Verifier, "client_secret", c.Secret, "access_token", m.secret("query token"),
	}
	for _, bad := range [][]string{
		{"client_id", m.secret("unknown client")},
		{"redirect_uri", "https://evil.example/?k=" + m.secret("foreign redirect")},
		{"code_challenge", m.secret("wrong challenge")},
		{"code_challenge_method", "plain"},
		{"scope", "\"" + m.secret("wrong scope")},
		{"resource", "https://evil.example/" + m.secret("foreign resource")},
		{"response_type", "token"},
		{"request", m.secret("request object")},
		{"prompt", "none " + m.secret("prompt")},
		{"state", strings.Repeat(m.secret("long state"), 200)},
	} {
		target := c.AuthorizeURL(append(extra, bad...)...)
		m.send(http.MethodGet, target, "")
		m.send(http.MethodGet, strings.Replace(target, "/oauth/authorize", "/authorize", 1), "")
		m.send(http.MethodHead, target, "")
		_, query, _ := strings.Cut(target, "?")
		m.send(http.MethodPost, m.g.URL+"/oauth/authorize", query, "Content-Type", "application/x-www-form-urlencoded")
		m.send(http.MethodPut, target, "")
		m.send(http.MethodGet, strings.Replace(target, "/oauth/authorize", "/oauth/authorise", 1), "")
	}
	return m.keep("code", c.Code(m, extra...))
}

// tokens redeems and refreshes, rightly and wrongly.
func (m *markers) tokens(c *gatewaytest.Client) (access, refresh string) {
	m.Helper()
	code := m.authorize(c)
	for name, value := range map[string]string{
		"code_verifier": m.secret("wrong verifier"), "client_secret": m.secret("wrong client secret"), "code": m.secret("wrong code"),
		"redirect_uri": "https://evil.example/" + m.secret("wrong redirect"), "client_id": m.secret("wrong client"),
		"grant_type": m.secret("grant type"), "resource": "https://evil.example/" + m.secret("wrong resource"),
		"client_assertion": m.secret("client assertion"), "%zz": m.secret("broken form"), "password": m.secret("password"),
	} {
		form := c.TokenForm(code)
		form.Set(name, value)
		if name == "password" {
			form.Set("grant_type", "password")
		}
		m.form("/oauth/token", form)
		m.form("/token", form)
		if name == "%zz" {
			m.send(http.MethodPost, m.g.URL+"/oauth/token", "%zz="+value, "Content-Type", "application/x-www-form-urlencoded")
		}
	}
	query := "?" + c.TokenForm(code).Encode()
	for _, path := range []string{"/oauth/token", "/token"} {
		m.form(path+query, c.TokenForm(code))
		m.send(http.MethodGet, m.g.URL+path+query, "")
		m.form(path, c.TokenForm(code), "Authorization", "Bearer "+m.secret("bearer at the token endpoint"))
		m.send(http.MethodPost, m.g.URL+path, `{"code":"`+code+`"}`, "Content-Type", "application/json")
	}
	code = m.authorize(c) // three failures used up the first one's patience
	r := m.form("/oauth/token", c.TokenForm(code))
	wantStatus(m, r, http.StatusOK)
	access, refresh = m.keep("access token", r.Text(m, "access_token")), m.keep("refresh token", r.Text(m, "refresh_token"))
	m.keep("wrong refresh token", refresh+m.secret("tail"))
	c.Refresh(m, refresh+"x")
	m.form("/oauth/token?refresh_token="+refresh, url.Values{"grant_type": {"refresh_token"}, "client_id": {c.ID}})
	r = c.Refresh(m, refresh)
	wantStatus(m, r, http.StatusOK)
	m.keep("access token", r.Text(m, "access_token"))
	return access, m.keep("refresh token", r.Text(m, "refresh_token"))
}

// basic is a confidential client of the configuration.
func (m *markers) basic() {
	m.Helper()
	c := &gatewaytest.Client{Base: m.g.URL, ID: "confidential", RedirectURI: "http://127.0.0.1/cb", Verifier: m.secret("verifier")}
	code := m.keep("code", c.Code(m, "state", m.secret("state")))
	form := c.TokenForm(code)
	form.Del("client_id")
	encode := func(secret string) string { return base64.StdEncoding.EncodeToString([]byte("confidential:" + secret)) }
	for _, scheme := range []string{"Basic ", "Bearer ", "Digest ", ""} {
		m.form("/oauth/token", form, "Authorization", scheme+encode(m.secret("wrong client secret")))
	}
	r := m.form("/oauth/token", form, "Authorization", "Basic "+encode(m.find("configured client secret")))
	wantStatus(m, r, http.StatusOK)
	m.keep("access token", r.Text(m, "access_token"))
}

// calls shows the gateway credentials in every place of a call.
func (m *markers) calls(access string) {
	m.Helper()
	dev := gatewaytest.Send(m, http.MethodGet, m.g.URL+"/dev/token?sub=x&client_secret="+m.secret("query of dev token"), "").Text(m, "access_token")
	for _, token := range []string{access, m.keep("dev token", dev)} {
		r := m.send(http.MethodPost, m.g.URL+"/mcp", `{"q":"`+m.secret("body")+`"}`, "Authorization", "Bearer "+token)
		wantStatus(m, r, http.StatusOK)
	}
	if s := m.u.Take(); len(s) == 0 || s[0].Contains(access) {
		m.Errorf("reached the upstream: %v", s)
	}
	for _, value := range []string{
		"Bearer " + m.secret("wrong token"), "Bearer " + access + "x", "Bearer " + access + ", Bearer " + dev, "Basic " + m.secret("scheme"),
		"Token " + m.secret("scheme"), m.secret("scheme"), "DPoP " + access, "Bearer  " + access, "Bearer \"" + access + "\"",
	} {
		m.send(http.MethodPost, m.g.URL+"/mcp", m.secret("body"), "Authorization", value, "Proxy-Authorization", "Bearer "+m.secret("proxy token"),
			"Cookie", "session="+m.secret("cookie"))
	}
	for _, path := range []string{"/mcp", "/health", "/oauth/health", "/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server", "/nowhere"} {
		for _, query := range []string{"?access_token=", "?a=1&Access_Token=", "?access%5Ftoken=", "?a=1;access_token="} {
			m.send(http.MethodGet, m.g.URL+path+query+m.secret("query token"), "")
			m.send(http.MethodPost, m.g.URL+path+query+access, "", "Authorization", "Bearer "+dev)
		}
	}
}

// personal shows the gateway personal access tokens, good, revoked and wrong
// ones, everywhere that a credential could go.
func (m *markers) personal(c *gatewaytest.Client) {
	m.Helper()
	admin := "http://" + m.g.Admin + "/mcp_auth/personal_tokens"
	mint := func() (token, id string) {
		r := gatewaytest.PostJSON(m, admin, `{"user":"alice","name":"zqMarkerTokenName","expires_in":3600}`)
		wantStatus(m, r, http.StatusOK)
		return m.keep("personal access token", r.Text(m, "token")), r.Text(m, "id")
	}
	good, _ := mint()
	ended, id := mint()
	wantStatus(m, m.send(http.MethodDelete, admin+"?id="+id, ""), http.StatusOK)
	for _, order := range []string{`{"user":"` + m.secret("user of an order") + `"`, `{"token":"` + m.secret("token of an order") + `","user":"nobody"}`} {
		m.send(http.MethodPost, admin, order, "Content-Type", "application/json")
	}
	unknown := m.keep("unknown personal access token", "mcp_pat_5ZLsz9SkSIbXOuxF0NNpLcIYIuodDpClpDWEuMDiv5a0Ub8yt")
	for token, status := range map[string]int{good: http.StatusOK, ended: http.StatusUnauthorized, unknown: http.StatusUnauthorized, good + "x": http.StatusUnauthorized} {
		wantStatus(m, m.send(http.MethodPost, m.g.URL+"/mcp", "{}", "Authorization", "Bearer "+token), status)
		m.send(http.MethodPost, m.g.URL+"/mcp", "{}", "Authorization", "Token "+token, "Cookie", "t="+token)
		m.send(http.MethodPost, m.g.URL+"/mcp?access_token="+token, "{}")
		m.send(http.MethodPost, m.g.URL+"/oauth/register", "{}", "Content-Type", "application/json", "Authorization", "Bearer "+token)
		c.Refresh(m, token)
		m.form("/oauth/token", c.TokenForm(token))
		m.form("/oauth/token", url.Values{"grant_type": {token}, "client_id": {token}, "client_secret": {token}})
		m.send(http.MethodGet, m.g.URL+"/oauth/account", "", "Authorization", "Bearer "+token)
	}
	for _, s := range m.u.Take() {
		if s.Contains(good) {
			m.Errorf("reached the upstream: %v", s)
		}
	}
}

// trouble makes things fail behind the scenes.
func (m *markers) trouble(c *gatewaytest.Client, access string) {
	m.Helper()
	wantStatus(m, c.Refresh(m, m.find("refresh token")), http.StatusOK) // the grace window
	file := filepath.Join(m.g.Dir, "state.db")
	code := m.keep("code", c.Code(m))
	_, unused := m.tokens(c) // one that was used would be answered without a write
	if err := os.Rename(file, file+".away"); err != nil {
		m.Fatal(err)
	}
	wantStatus(m, m.form("/oauth/token", c.TokenForm(code)), http.StatusServiceUnavailable)
	wantStatus(m, c.Refresh(m, unused), http.StatusServiceUnavailable)
	if err := os.Rename(file+".away", file); err != nil {
		m.Fatal(err)
	}
	eventually(m, 10*time.Second, "the store heals", func() bool { return m.form("/oauth/token", c.TokenForm(code)).Status == http.StatusOK })
	wantStatus(m, m.form("/oauth/token", c.TokenForm(code)), http.StatusBadRequest) // replay
	for _, bad := range []string{
		`secret "` + m.secret("secret of a rejected reload") + `"`, "secret " + m.secret("unquoted secret") + " " + m.secret("unquoted secret"),
		"client x {\n\tsecret " + m.secret("unquoted secret") + " " + m.secret("unquoted secret") + "\n}",
	} {
		err := m.g.Reload(strings.Replace(m.config, "secret {env.MARK_RING}", bad, 1), m.u.Addr())
		if err == nil {
			m.Error("a bad configuration was accepted")
			continue
		}
		m.refused = append(m.refused, gatewaytest.Reply{Body: err.Error()})
	}
	if err := m.g.Reload(strings.Replace(m.config, "development", "development\n\t\taccess_token_lifetime 30m", 1), m.u.Addr()); err != nil {
		m.Error(err)
	}
	m.u.Close()
	wantStatus(m, m.send(http.MethodPost, m.g.URL+"/mcp", m.secret("body"), "Authorization", "Bearer "+access), http.StatusBadGateway)
}

// Issue 2, section 6: no credential in a log line, a metric, a refusal or the
// store.
func TestMarkers(t *testing.T) {
	m := startMarkers(t)
	c := m.register()
	access, _ := m.tokens(c)
	m.basic()
	m.calls(access)
	m.personal(c)
	scrape := func() string { return gatewaytest.Send(t, http.MethodGet, "http://"+m.g.Admin+"/metrics", "").Body }
	metrics := scrape() // once more below: a reload begins anew
	m.trouble(c, access)
	metrics += scrape()
	running := gatewaytest.Send(t, http.MethodGet, "http://"+m.g.Admin+"/config/", "").Body
	live := readFile(t, filepath.Join(m.g.Dir, "state.db"))
	m.g.Stop()
	logs := m.g.Logs()
	t.Run("the flows were logged and counted", func(t *testing.T) {
		for _, want := range []string{`"level":"debug"`, "http.log.access", `"msg":"token"`, "invalid_grant", `"msg":"call"`, "upstream roundtrip"} {
			if !strings.Contains(logs, want) {
				t.Errorf("the log has no %s, so this test shows nothing", want)
			}
		}
		if !strings.Contains(metrics, "caddy_mcp_auth_events_total") || len(m.secrets) < 80 || len(m.refused) < 80 {
			t.Errorf("%d credentials, %d refusals, metrics %.200s", len(m.secrets), len(m.refused), metrics)
		}
	})
	t.Run("L19 log", func(t *testing.T) { m.absent(t, "the log", logs, m.secrets) })
	t.Run("L19 metrics", func(t *testing.T) { m.absent(t, "a metric", metrics, m.secrets, m.named) })
	t.Run("L19 store", func(t *testing.T) {
		m.absent(t, "the store", live, m.secrets)
		m.absent(t, "the store after its end", readFile(t, filepath.Join(m.g.Dir, "state.db")), m.secrets)
	})
	t.Run("L19 running configuration", func(t *testing.T) { m.absent(t, "the admin endpoint", running, m.secrets) })
	t.Run("L19 refusals", func(t *testing.T) {
		for _, r := range m.refused {
			m.absent(t, fmt.Sprint("a refusal with ", r.Status), fmt.Sprint(r.Header, r.Body), m.secrets)
		}
	})
}

func readFile(tb testing.TB, path string) string {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}
