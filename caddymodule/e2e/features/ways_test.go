package features_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// way is a way to the server.
type way struct {
	name string
	// rules are options of the directive; the way named direct is the one past the
	// gateway.
	rules string
	// private says that lists are only for the caller, so that nobody else may be
	// given them out of a cache.
	private bool
	// hides says that the rules deny what the client does not use.
	hides bool
}

// ways are all ways, the one past the gateway first.
func ways() []way {
	return []way{
		{name: "direct"},
		{name: "none"},
		{name: "allow", private: true, rules: `
			tool * allow
			prompt * allow
			resource_uri * allow
			method * allow
			default allow`},
		{name: "deny", private: true, hides: true, rules: `
			tool hidden_* deny
			prompt hidden_prompt deny
			resource_uri file:///hidden/* deny
			default allow`},
	}
}

// lists are the members that hold lists, with the member that an entry is known
// by and the entry that the rules deny.
var lists = map[string][2]string{
	"tools":             {"name", "hidden_tool"},
	"prompts":           {"name", "hidden_prompt"},
	"resources":         {"uri", secret},
	"resourceTemplates": {"uriTemplate", "file:///hidden/{name}"},
}

// expected is how a message past the gateway is to come through it.
func (w way) expected(message string) string {
	return rewritten(message, func(result map[string]any) {
		for list, entry := range lists {
			entries, is := result[list].([]any)
			if is && w.hides {
				result[list] = slices.DeleteFunc(entries, func(e any) bool { return e.(map[string]any)[entry[0]] == entry[1] })
			}
			if _, has := result["cacheScope"]; is && has && w.private {
				result["cacheScope"] = "private"
			}
		}
	})
}

// arrived is a message as it came, written as expected writes it.
func (w way) arrived(message string) string { return rewritten(message, func(map[string]any) {}) }

// rewritten changes a result that has a list, on the wire or by itself. All else
// stays as it is, byte for byte.
func rewritten(message string, change func(result map[string]any)) string {
	var m map[string]any
	d := json.NewDecoder(strings.NewReader(message))
	d.UseNumber()
	if d.Decode(&m) != nil {
		return message
	}
	result, ok := m["result"].(map[string]any)
	if !ok {
		result = m
	}
	if !slices.ContainsFunc([]string{"tools", "prompts", "resources", "resourceTemplates"}, func(l string) bool { _, is := result[l].([]any); return is }) {
		return message
	}
	change(result)
	var b bytes.Buffer
	if json.NewEncoder(&b).Encode(m) != nil {
		return message
	}
	return strings.TrimSpace(b.String())
}
