package people_test

import (
	"bytes"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// posted is a form with everything that it needs.
type posted struct {
	browser *gatewaytest.Browser
	path    string
	fields  url.Values
}

// everyForm returns every form that there is, each as good as can be: sent as
// it is, it would be acted on.
func everyForm(t *testing.T, g *gatewaytest.Gateway) map[string]posted {
	t.Helper()
	c := client(t, g, web)
	b, consent := signedIn(t, c, "alice")
	account := b.Open(g.URL + accountPath)
	out := browser(t)
	signIn := out.Open(c.AuthorizeURL())
	return map[string]posted{
		"sign-in": {out, signInPath, paramsOf("flow", flowOf(signIn), "login", "password", "field_username", "alice", "field_password", "alice"+passwordOf)},
		"consent": {b, consentPath, paramsOf("flow", flowOf(consent), "decision", "allow")},
		"account": {b, accountPath, paramsOf("flow", flowOf(account), "do", "revoke_all")},
	}
}

// post sends a form, with fields replaced, or removed where the value is "-".
func (f posted) post(g *gatewaytest.Gateway, pairs ...string) *gatewaytest.Page {
	fields := maps.Clone(f.fields)
	for i := 0; i+1 < len(pairs); i += 2 {
		if fields.Set(pairs[i], pairs[i+1]); pairs[i+1] == "-" {
			fields.Del(pairs[i])
		}
	}
	return f.browser.Post(g.URL+f.path, fields)
}

// wantUntouched checks that after all of it the forms are still as good as they
// were: nothing bad used them up.
func wantUntouched(t *testing.T, g *gatewaytest.Gateway, forms map[string]posted) {
	t.Helper()
	wantStatus(t, forms["sign-in"].post(g).Reply, http.StatusSeeOther)
	wantCode(t, forms["consent"].post(g))
	wantStatus(t, forms["account"].post(g).Reply, http.StatusOK)
}

// testForms sends forms that are not what a page sends.
func testForms(t *testing.T, g *gatewaytest.Gateway) {
	forms := everyForm(t, g)
	for name, f := range forms {
		t.Run("fields missing, "+name, func(t *testing.T) {
			for field := range f.fields {
				p := f.post(g, field, "-")
				if p.Status < 400 || p.Location != nil {
					t.Errorf("without %s: %d %v", field, p.Status, p.Location)
				}
			}
			wantRefused(t, f.browser.Post(g.URL+f.path, url.Values{}), http.StatusForbidden)
		})
		t.Run("fields twice, "+name, func(t *testing.T) {
			for field, values := range f.fields {
				for _, other := range []string{values[0], "other", ""} {
					fields := f.fields.Encode() + "&" + url.Values{field: {other}}.Encode()
					wantRefused(t, postBody(f, g, fields, "application/x-www-form-urlencoded"), http.StatusBadRequest)
				}
			}
		})
		t.Run("fields of 64 KiB, "+name, func(t *testing.T) {
			for field := range f.fields {
				wantRefused(t, f.post(g, field, strings.Repeat("x", 64<<10)), http.StatusRequestEntityTooLarge)
				if p := f.post(g, field, strings.Repeat("x", 60<<10)); p.Status < 400 || p.Location != nil {
					t.Errorf("%s of 60 KiB: %d %v", field, p.Status, p.Location)
				}
			}
			many := f.fields.Encode()
			for i := range 100 {
				many += "&x" + itoa(i) + "=1"
			}
			wantRefused(t, postBody(f, g, many, "application/x-www-form-urlencoded"), http.StatusBadRequest)
		})
		t.Run("other types of body, "+name, func(t *testing.T) { testBodies(t, g, f) })
		t.Run("broken escapes, "+name, func(t *testing.T) {
			for _, tail := range []string{"&x=%zz", "&%", ";x=1", "&x=%"} {
				wantRefused(t, postBody(f, g, f.fields.Encode()+tail, "application/x-www-form-urlencoded"), http.StatusBadRequest)
			}
			for _, value := range []string{"\x00", "\xff\xfe", "\r\n"} {
				if p := f.post(g, "flow", f.fields.Get("flow")+value); p.Status < 400 || p.Location != nil {
					t.Errorf("%q: %d %v", value, p.Status, p.Location)
				}
			}
		})
		t.Run("F32 a changed flow value, "+name, func(t *testing.T) { testFlipped(t, g, f) })
	}
	t.Run("nothing of it used the forms up", func(t *testing.T) { wantUntouched(t, g, forms) })
}

func postBody(f posted, g *gatewaytest.Gateway, body, contentType string) *gatewaytest.Page {
	return f.browser.SendBody(http.MethodPost, g.URL+f.path, body, append(gatewaytest.OwnPage(), "Content-Type", contentType)...)
}

// testBodies sends the fields in every way but the right one.
func testBodies(t *testing.T, g *gatewaytest.Gateway, f posted) {
	var parts bytes.Buffer
	w := multipart.NewWriter(&parts)
	object := map[string]string{}
	for field := range f.fields {
		if err := w.WriteField(field, f.fields.Get(field)); err != nil {
			t.Fatal(err)
		}
		object[field] = f.fields.Get(field)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, postBody(f, g, parts.String(), w.FormDataContentType()), http.StatusBadRequest)
	for _, contentType := range []string{"application/json", "text/plain", "application/x-www-form-urlencoded, text/plain", "", "-"} {
		wantRefused(t, postBody(f, g, f.fields.Encode(), contentType), http.StatusBadRequest)
		wantRefused(t, postBody(f, g, jsonOf(t, object), contentType), http.StatusBadRequest)
	}
	// A form in the address, alone or beside the body, is none.
	wantRefused(t, f.browser.Post(g.URL+f.path+"?"+f.fields.Encode(), url.Values{}), http.StatusBadRequest)
	wantRefused(t, f.browser.Post(g.URL+f.path+"?x=1", f.fields), http.StatusBadRequest)
}

// testFlipped changes single characters of the flow value: in every bit that
// one can have, at places spread over the whole.
func testFlipped(t *testing.T, g *gatewaytest.Gateway, f posted) {
	const places = 12
	flow := f.fields.Get("flow")
	for n := range places {
		i := n * (len(flow) - 1) / (places - 1)
		for bit := range 7 {
			changed := []byte(flow)
			changed[i] ^= 1 << bit
			if p := f.post(g, "flow", string(changed)); p.Status != http.StatusForbidden || p.Location != nil {
				t.Errorf("bit %d of character %d of %d: %d %v", bit, i, len(flow), p.Status, p.Location)
			}
		}
	}
	for _, changed := range []string{flow[:len(flow)-1], flow[1:], flow + "A", flow + "=", flow + ".", flow + flow, " " + flow, strings.ToLower(flow)} {
		wantRefused(t, f.post(g, "flow", changed), http.StatusForbidden)
	}
}

// testMethods sends what is posted with GET, what is read with POST, and looks
// with HEAD.
func testMethods(t *testing.T, g *gatewaytest.Gateway) {
	forms := everyForm(t, g)
	for name, allow := range map[string]string{"sign-in": "POST", "consent": "POST", "account": "GET, HEAD, POST"} {
		f := forms[name]
		t.Run("405 with Allow, "+name, func(t *testing.T) {
			methods := []string{http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, "PROPFIND", "post"}
			if name != "account" {
				methods = append(methods, http.MethodGet, http.MethodHead)
			}
			for _, method := range methods {
				p := f.browser.Once(method, g.URL+f.path, f.fields, gatewaytest.OwnPage()...)
				if p.Status != http.StatusMethodNotAllowed || p.Header.Get("Allow") != allow || p.Location != nil {
					t.Errorf("%s: %d, Allow %q, %v", method, p.Status, p.Header.Get("Allow"), p.Location)
				}
			}
			p := f.browser.Once(http.MethodGet, g.URL+f.path+"?"+f.fields.Encode(), nil, gatewaytest.OwnPage()...)
			if p.Location != nil || name != "account" && p.Status != http.StatusMethodNotAllowed {
				t.Errorf("GET: %d %v", p.Status, p.Location)
			}
			p = f.browser.Once(http.MethodPost, g.URL+f.path, url.Values{}, append(gatewaytest.OwnPage(), "X-HTTP-Method-Override", "GET")...)
			wantRefused(t, p, http.StatusForbidden)
		})
	}
	t.Run("405 with Allow, pages", func(t *testing.T) {
		c := client(t, g, web)
		p := browser(t).Once(http.MethodDelete, c.AuthorizeURL(), nil)
		if p.Status != http.StatusMethodNotAllowed || p.Header.Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("%d, Allow %q", p.Status, p.Header.Get("Allow"))
		}
		p = browser(t).Once(http.MethodPost, g.URL+"/oauth/", url.Values{"x": {"1"}}, gatewaytest.OwnPage()...)
		if p.Status != http.StatusMethodNotAllowed || p.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%d, Allow %q", p.Status, p.Header.Get("Allow"))
		}
	})
	t.Run("HEAD changes nothing", func(t *testing.T) {
		c := client(t, g, web)
		b, page := signedIn(t, c, "alice")
		grants := strings.Count(b.Open(g.URL+accountPath).Outline(), "<article")
		for _, target := range []string{
			c.AuthorizeURL(), g.URL + accountPath, g.URL + accountPath + "?do=sign_out&flow=" + flowOf(page), g.URL + "/oauth/",
			g.URL + consentPath + "?decision=allow&flow=" + flowOf(page),
		} {
			p := b.Once(http.MethodHead, target, nil)
			if p.Body != "" || p.Location != nil {
				t.Errorf("%s: %d %v %s", target, p.Status, p.Location, p.Body)
			}
		}
		wantConsent(t, b.Open(c.AuthorizeURL()))
		wantCode(t, page.Allow()) // it was not answered yet
		if now := strings.Count(b.Open(g.URL+accountPath).Outline(), "<article"); now != grants {
			t.Errorf("%d programs, before %d", now, grants)
		}
	})
	t.Run("nothing of it used the forms up", func(t *testing.T) { wantUntouched(t, g, forms) })
}
