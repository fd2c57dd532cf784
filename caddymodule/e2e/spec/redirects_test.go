package spec_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// redirectRegistration are the requirements on redirect URIs at registration.
var redirectRegistration = []requirement{
	{"C11", func(t *testing.T) {
		for _, body := range []string{
			`{}`, `{"redirect_uris":[]}`, `{"redirect_uris":null}`, `{"redirect_uris":"http://127.0.0.1/cb"}`,
			`{"redirect_uris":[1]}`, `{"redirect_uris":[null]}`, `{"redirect_uris":[""]}`, `{"redirect_uris":[["http://127.0.0.1/cb"]]}`,
			`{"redirect_uris":{"0":"http://127.0.0.1/cb"}}`, `{"redirect_uris":["http://127.0.0.1/cb",7]}`,
		} {
			wantError(t, register(t, body), http.StatusBadRequest, "invalid_redirect_uri")
		}
	}},
	{"C12", func(t *testing.T) {
		wantUnregistrable(t, "http://evil.example/cb", "https://a.example/cb#x", "https://a.example/cb#", "/cb", "cb", "//a.example/cb",
			"https://*.a.example/cb", "https://*/cb", "http://127.0.0.2/cb", "http://0.0.0.0/cb", "http://[::]/cb", "http://10.0.0.1/cb", "*")
		wantRegistrable(t, "https://a.example/cb", "https://a.example", "https://a.example:8443/cb?x=1", "https://[2001:db8::1]/cb",
			"http://127.0.0.1/cb", "http://127.0.0.1:9/", "http://[::1]/cb", "http://[::1]:9/cb", "http://localhost:65535/cb", "http://localhost")
	}},
	{"C13", func(t *testing.T) {
		wantUnregistrable(t, "https://u@a.example/cb", "https://u:p@a.example/cb", "https://a.example/c\tb", "https://a.example/c\nb", "https://a.example/c b",
			" https://a.example/cb", "https://a.example/cb ", "https://a.example\\cb", "https://ä.example/cb", "https:///cb", "https://", "https://:443/cb",
			"https://a%2eexample/cb", "https://a.example/cb\x00", "https://a.example/\u202e", "http://127.0.0.1:0/cb", "http://127.0.0.1:65536/cb",
			"http://127.0.0.1:536820/cb", "http://127.0.0.1:/cb", "http://127.0.0.1:-1/cb", "http://127.0.0.1:+80/cb", "http://127.0.0.1:8o/cb")
		wantUnregistrable(t, "javascript:alert(1)", "JavaScript:alert(1)", "javascript://a.example/%0aalert(1)", "java\nscript:alert(1)", "\x01javascript:alert(1)",
			"data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:https://a.example/1", "about:blank", "ws://a.example/", "wss://a.example/",
			"ftp://a.example/", "view-source:https://a.example/", "filesystem:https://a.example/", "intent://a#Intent;end", "mailto:a@a.example", "urn:ietf:wg:oauth:2.0:oob")
		wantRegistrable(t, "https://xn--e1afmkfd.example/cb")
	}},
	{"C14", testPrivateSchemes},
	{"C15", testApplicationTypes},
}

func uriList(t *testing.T, uris ...string) string {
	t.Helper()
	text, err := json.Marshal(uris)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func wantUnregistrable(t *testing.T, uris ...string) {
	t.Helper()
	for _, uri := range uris {
		for _, list := range [][]string{{uri}, {"https://good.example/cb", uri}} {
			r := register(t, `{"redirect_uris":`+uriList(t, list...)+`}`)
			if r.Status != http.StatusBadRequest || r.Text(t, "error") != "invalid_redirect_uri" {
				t.Errorf("%q: %d %s", list, r.Status, r.Body)
			}
		}
	}
}

func wantRegistrable(t *testing.T, uris ...string) {
	t.Helper()
	for _, uri := range uris {
		r := register(t, `{"redirect_uris":`+uriList(t, uri)+`}`)
		if r.Status != http.StatusCreated {
			t.Errorf("%q: %d %s", uri, r.Status, r.Body)
			continue
		}
		wantMember(t, r.JSON(t), "redirect_uris", uriList(t, uri))
	}
}

func testPrivateSchemes(t *testing.T) {
	for _, uri := range []string{"myapp:/cb", "myapp://cb", "com.example.app:/cb", "cursorx://cb"} {
		wantError(t, register(t, `{"redirect_uris":["`+uri+`"]}`), http.StatusBadRequest, "invalid_redirect_uri")
		// INTEROP 4: one exotic URI does not refuse the others, and is not kept.
		doc := registered(t, `{"redirect_uris":["`+uri+`","https://good.example/cb"]}`)
		wantMember(t, doc, "redirect_uris", `["https://good.example/cb"]`)
	}
	wantRegistrable(t, "cursor://anysphere.cursor-mcp/oauth/callback", "vscode://x/cb", "vscode-insiders://x/cb", "claude://x/cb")
	wantUnregistrable(t, "Cursor://x/cb", "cursor:x", "cursor:", "cursor://u@x/cb", "cursor://x/cb#f", "cursor://x/a b")
}

func testApplicationTypes(t *testing.T) {
	for _, uri := range []string{"http://localhost/cb", "http://127.0.0.1:9/cb", "http://[::1]/cb", "https://localhost/cb"} {
		wantError(t, register(t, `{"redirect_uris":["`+uri+`"],"application_type":"web"}`), http.StatusBadRequest, "invalid_redirect_uri")
		wantMember(t, registered(t, `{"redirect_uris":["`+uri+`"],"application_type":"native"}`), "application_type", `"native"`)
		wantMember(t, registered(t, `{"redirect_uris":["`+uri+`"]}`), "redirect_uris", `["`+uri+`"]`)
	}
	wantMember(t, registered(t, `{"redirect_uris":["https://a.example/cb"],"application_type":"web"}`), "application_type", `"web"`)
	// INTEROP 4: "web" beside a private scheme means native.
	doc := registered(t, `{"redirect_uris":["cursor://x/cb","http://localhost:8787/callback"],"application_type":"web"}`)
	wantMember(t, doc, "application_type", `"native"`)
	wantError(t, register(t, `{`+loopbackURI+`,"application_type":"Web"}`), http.StatusBadRequest, "invalid_client_metadata")
}

// confusing are URIs that two parsers may take for two hosts (O11, R1 to R7,
// R12). None may be registered, and none may be taken for a registered one.
var confusing = []string{
	"https://c.example@evil.example", "https://c.example@evil.example/cb", "https://c.example\\@evil.example", "https://c.example\\@evil.example/cb",
	"https://evil.example#@c.example/cb", "https://evil.example\\#@c.example/cb", "https://c.example%2eevil.example/cb", "https://c.example%40evil.example/cb",
	"https://c.example%25@evil.example/cb", "https://a@b@c.example/cb", "https://evil.example%2f@c.example/cb", "https://c.example:443@evil.example/cb",
	"//evil.example", "//evil.example/cb", "/\\evil.example", "https:evil.example", "https:/evil.example", "https:///evil.example/cb", "https:\\\\evil.example/cb",
	"https://c.example\t.evil.example/cb", "https://c.example\n.evil.example/cb", "ht\ttps://c.example/cb", "https://c.example/cb\r\nLocation: https://evil.example",
	"https://c.example/cb%0d%0aLocation:%20https://evil.example", "https://c.example/%00cb", "https://c.example/cb%5c..%5cevil",
	"http://127.0.0.1.evil.example/callback", "http://127.0.0.1@evil.example/callback", "http://127.0.0.1:80@evil.example/callback",
	"http://127.0.0.1:8000\\@evil.example/callback", "http://127.0.0.1#@evil.example/callback", "http://127.0.0.1?@evil.example/callback#",
	"http://[::ffff:127.0.0.1]/callback", "http://[::ffff:7f00:1]/callback", "http://[0:0:0:0:0:0:0:1]/callback", "http://[::1%25eth0]/callback", "http://[::1]evil.example/callback",
	"http://0x7f.1/callback", "http://127.1/callback", "http://2130706433/callback", "http://0177.0.0.1/callback", "http://0x7f000001/callback", "http://127.0.0.1./callback",
	"http://localhost.evil.example/callback", "http://localhost./callback", "http://LOCALHOST/callback", "http://localhost%00/callback", "http://localhost:80:90/callback",
	"https://c.example./cb", "https://с.example/cb", "https://c.example。evil/cb", "https://c。example/cb", "HTTPS://c.example/cb", "Https://c.example/cb",
	"https://c.example/../cb", "https://c.example/x/../cb", "https://c.example/./cb", "https://c.example/%2e%2e/cb", "https://c.example/x/%2E%2e/cb", "https://c.example/.%2e/cb",
	"https://c.example/cb?code=evil", "https://c.example/cb?state=evil", "https://c.example/cb?iss=evil", "https://c.example/cb?x=%zz",
}

// near are good URIs of their own that must not be taken for a registered one.
var near = []string{
	"https://c.example.evil.example/cb", "https://c.example/cb/", "https://c.example/cb?", "https://c.example/cb?x=1", "https://c.example/cb/x", "https://c.example/CB",
	"https://c.example/c%62", "https://c.example//cb", "https://c.example/;/cb", "https://c.example/..;/cb", "https://c.example:443/cb", "https://c.example:8443/cb",
	"https://C.example/cb", "https://d.example/cb", "http://c.example/cb", "https://c.example", "https://c.example/", "https://c.example/cb%2f",
	"http://127.0.0.1/callback/", "http://127.0.0.1/other", "http://127.0.0.1:8000/callback?x=1", "http://127.0.0.1:8000/callbacks", "http://127.0.0.1:8000",
	"https://127.0.0.1/callback", "https://127.0.0.1:8000/callback", "http://127.0.0.2/callback", "http://localhost/callback", "http://localhost:8000/callback",
	"http://[::1]/callback", "http://[::1]:8000/callback", "http://127.0.0.1:8000/%63allback", "http://127.0.0.1:/callback", "http://127.0.0.1:08000/callback",
	"http://127.0.0.1:99999/callback", "http://127.0.0.1:8000;/callback", "cursor://c.example/cb", "javascript:alert(1)",
}

// TestRedirectCorpus is O11 at both ends, and the comparison of F7.
func TestRedirectCorpus(t *testing.T) {
	t.Run("O11/register", func(t *testing.T) { wantUnregistrable(t, confusing...) })
	c := gatewaytest.RegisterAs(t, development().URL, `{"redirect_uris":["https://c.example/cb","http://127.0.0.1:8000/callback"]}`)
	refuse := func(uris []string) func(*testing.T) {
		return func(t *testing.T) {
			for _, uri := range uris {
				for _, more := range [][]string{nil, {"response_type", "token"}, {"prompt", "none"}, {"scope", "bogus"}} {
					r, _ := c.Authorize(t, append([]string{"redirect_uri", uri}, more...)...)
					if r.Status != http.StatusBadRequest || r.Header.Get("Location") != "" {
						t.Errorf("%q: %d to %q", uri, r.Status, r.Header.Get("Location"))
						continue
					}
					wantPage(t, r, http.StatusBadRequest)
					if strings.Contains(r.Body, "href=\"http") && strings.Contains(r.Body, "evil.example") {
						t.Errorf("%q: the page links to it:\n%s", uri, brief(r))
					}
				}
			}
		}
	}
	t.Run("O11/authorize", refuse(confusing))
	t.Run("F7/near", refuse(near))
	t.Run("F7/exact", testRedirectExact)
	t.Run("F7/loopback", testLoopbackPorts)
}

// testRedirectExact: the answer goes to the very URI that was asked for.
func testRedirectExact(t *testing.T) {
	for _, uri := range []string{"https://c.example/cb", "https://c.example", "https://c.example:8443/a%20b;c/?x=1&y=%C3%A9", "https://127.0.0.1:8443/cb"} {
		c := gatewaytest.RegisterAs(t, development().URL, `{"redirect_uris":`+uriList(t, uri)+`}`)
		r, _ := c.Authorize(t)
		redirected(t, r, c.Base)
		location := r.Header.Get("Location")
		want, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		got, err := url.Parse(location)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(location, uri) || got.Scheme != want.Scheme || got.Host != want.Host || got.EscapedPath() != want.EscapedPath() || got.User != nil {
			t.Errorf("%s was answered at %s", uri, location)
		}
	}
	https := gatewaytest.RegisterAs(t, development().URL, `{"redirect_uris":["https://127.0.0.1:8443/cb"]}`)
	r, _ := https.Authorize(t, "redirect_uri", "https://127.0.0.1:8444/cb")
	wantPage(t, r, http.StatusBadRequest)
}

// testLoopbackPorts: only the port of a loopback URI is free, in both
// directions, and the three names of this machine are three hosts (INTEROP 3).
func testLoopbackPorts(t *testing.T) {
	hosts := []string{"127.0.0.1", "[::1]", "localhost"}
	for _, host := range hosts {
		for _, registered := range []string{"http://" + host + "/callback", "http://" + host + ":3118/callback"} {
			c := gatewaytest.RegisterAs(t, development().URL, `{"redirect_uris":["`+registered+`"]}`)
			for _, asked := range []string{registered, "http://" + host + "/callback", "http://" + host + ":1/callback", "http://" + host + ":65535/callback"} {
				r, _ := c.Authorize(t, "redirect_uri", asked)
				q := redirected(t, r, c.Base)
				if !strings.HasPrefix(r.Header.Get("Location"), asked+"?") {
					t.Errorf("%s was answered at %s", asked, r.Header.Get("Location"))
				}
				form := c.TokenForm(q.Get("code"))
				form.Set("redirect_uri", asked)
				wantStatus(t, gatewaytest.PostForm(t, c.Base+"/oauth/token", form), http.StatusOK)
			}
			for _, other := range hosts {
				if other != host {
					r, _ := c.Authorize(t, "redirect_uri", strings.Replace(registered, host, other, 1))
					wantPage(t, r, http.StatusBadRequest)
				}
			}
		}
	}
}
