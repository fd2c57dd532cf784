package transcripts_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/clients"
)

// transcript is what one client sends, in order.
type transcript struct {
	// Client is the key of its row in core/clients.
	Client string `json:"client"`
	// Recorded is the version that it was recorded from, empty if it was put
	// together from the evidence of the row.
	Recorded string `json:"recorded"`
	// About says where it comes from.
	About string `json:"about"`
	// Document is the client_id of the mode "document", if the client has it
	// and its copy is bundled.
	Document string `json:"document"`
	Steps    []step `json:"steps"`
}

// step is one request, or one visit of a person's browser.
type step struct {
	Does string `json:"does"`
	// Shows lists the flags of the row that this step is about.
	Shows []clients.Flag `json:"shows"`
	Mode  string         `json:"mode"`

	// Request is what the client sends.
	Request *request `json:"request"`
	// Person is the query with which the client opens the authorization
	// endpoint in a browser, where somebody signs in and agrees.
	Person map[string]string `json:"person"`

	Expect expectation `json:"expect"`
	// Save names members of the JSON answer, or headers, to remember.
	Save map[string]string `json:"save"`
}

// request is an HTTP request. It has one of the bodies, or none.
type request struct {
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers"`
	JSON    any               `json:"json"`
	Form    map[string]string `json:"form"`
	// Stream says that the answer does not end, so that only its head is read.
	Stream bool `json:"stream"`
}

// expectation is what the client needs to go on.
type expectation struct {
	// As names expectations of testdata/common that hold as well.
	As     []string `json:"as"`
	Status int      `json:"status"`
	// Headers are regular expressions for whole values.
	Headers map[string]string `json:"headers"`
	// JSON is a part of the answer: objects may have more members and lists
	// more elements, and "*" is any text that is not empty.
	JSON any `json:"json"`
	// Absent are members that must not be there.
	Absent []string `json:"absent"`
	// Body is a part of an answer of any type.
	Body string `json:"body"`
	// Redirect is where the browser ends: the redirect URI, and a part of its
	// query, "*" as above.
	Redirect string            `json:"redirect"`
	Query    map[string]string `json:"query"`
}

const (
	modeDynamic  = "dynamic"
	modeDocument = "document"
)

// in returns the steps of a mode.
func (tr transcript) in(mode string) []step {
	return slices.DeleteFunc(slices.Clone(tr.Steps), func(s step) bool { return s.Mode != "" && s.Mode != mode })
}

// modes are the ways in which the transcript can be replayed.
func (tr transcript) modes() []string {
	if tr.Document == "" {
		return []string{modeDynamic}
	}
	return []string{modeDynamic, modeDocument}
}

// read decodes a file strictly.
func read(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// transcripts returns all of them.
func transcripts(t *testing.T) []transcript {
	t.Helper()
	names, err := filepath.Glob("testdata/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	var all []transcript
	for _, name := range names {
		var tr transcript
		read(t, name, &tr)
		if name != filepath.Join("testdata", tr.Client+".json") {
			t.Errorf("%s is of %s", name, tr.Client)
		}
		all = append(all, tr)
	}
	return all
}

// common returns the expectations that steps share.
func common(t *testing.T) map[string]expectation {
	t.Helper()
	shared := map[string]expectation{}
	read(t, "testdata/common/expectations.json", &shared)
	return shared
}

// TestRowsHaveTranscripts: each client that this project says it knows has a
// transcript, which shows everything that the row says the client needs.
func TestRowsHaveTranscripts(t *testing.T) {
	all, shared := transcripts(t), common(t)
	for _, c := range clients.All() {
		t.Run(c.Key, func(t *testing.T) {
			i := slices.IndexFunc(all, func(tr transcript) bool { return tr.Client == c.Key })
			if i < 0 {
				t.Fatal("no transcript")
			}
			tr := all[i]
			if tr.Recorded != c.Recorded || tr.About == "" {
				t.Errorf("the transcript says it was recorded from %q, the row says %q; about: %q", tr.Recorded, c.Recorded, tr.About)
			}
			checkDocumentMode(t, c, tr)
			checkSteps(t, c, tr, shared)
			for _, mode := range tr.modes() {
				checkValues(t, tr, mode)
			}
		})
	}
	if len(all) != len(clients.All()) {
		t.Errorf("%d transcripts for %d clients", len(all), len(clients.All()))
	}
}

func checkDocumentMode(t *testing.T, c clients.Client, tr transcript) {
	t.Helper()
	bundled := slices.DeleteFunc(slices.Clone(c.ClientIDs), func(id string) bool {
		_, _, ok := clients.Document(id)
		return !ok
	})
	if (len(bundled) > 0) != (tr.Document != "") || tr.Document != "" && !slices.Contains(bundled, tr.Document) {
		t.Errorf("the transcript's document is %q, bundled are %q", tr.Document, bundled)
	}
}

func checkSteps(t *testing.T, c clients.Client, tr transcript, shared map[string]expectation) {
	t.Helper()
	var shown []clients.Flag
	for _, s := range tr.Steps {
		if s.Does == "" || (s.Request == nil) == (s.Person == nil) || !slices.Contains([]string{"", modeDynamic, modeDocument}, s.Mode) {
			t.Errorf("step %q has no name, no single request or a strange mode", s.Does)
		}
		if s.Expect.Status == 0 && s.Expect.Redirect == "" && len(s.Expect.As) == 0 {
			t.Errorf("step %q expects nothing", s.Does)
		}
		for _, name := range s.Expect.As {
			if _, ok := shared[name]; !ok {
				t.Errorf("step %q expects %q, which is nowhere", s.Does, name)
			}
		}
		shown = append(shown, s.Shows...)
	}
	for _, f := range c.Flags {
		if !slices.Contains(shown, f) {
			t.Errorf("no step shows %s", f)
		}
	}
	for _, f := range shown {
		if !c.Has(f) {
			t.Errorf("a step shows %s, which the row does not have", f)
		}
	}
}

// checkValues: a mode has everything that it sends, also where the server does
// not offer that mode yet.
func checkValues(t *testing.T, tr transcript, mode string) {
	t.Helper()
	known := []string{"base", "resource", "origin", "port", "state", "verifier", "challenge"}
	if mode == modeDocument {
		known = append(known, "client_id")
	}
	codes := 0
	for _, s := range tr.in(mode) {
		sent, err := json.Marshal([]any{s.Request, s.Person, s.Expect})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range placeholder.FindAllStringSubmatch(string(sent), -1) {
			if !slices.Contains(known, name[1]) {
				t.Errorf("in the mode %s, step %q takes %s, which nothing saved", mode, s.Does, name[0])
			}
		}
		for name := range s.Save {
			known = append(known, name)
		}
		if s.Person != nil {
			codes++
		}
	}
	if codes == 0 {
		t.Errorf("in the mode %s nobody signs in", mode)
	}
}
