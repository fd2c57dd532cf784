package caddymodule

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
)

// TestArgumentTwins: where a server written with encoding/json reads something else
// than stands under the name itself, neither rules nor the audit log say that they
// know what it reads.
func TestArgumentTwins(t *testing.T) {
	for text, twins := range map[string]bool{
		`{"amount":1}`:                                    false,
		`{}`:                                              false,
		`{"amount":1,"other":2,"mount":3}`:                false,
		`{"amount":1,"Amount":1000000}`:                   true,
		`{"Amount":1000000,"amount":1}`:                   true,
		`{"AMOUNT":1000000}`:                              true,
		`{"amount":1,"\u0041mount":1000000}`:              true,
		`{"amount":1,"nested":{"Amount":2}}`:              false,
		`{"amount":1,"nested":{"größe":1,"GRÖßE":2}}`:     false,
		`{"amount":1,"größe":1,"GRÖSSE":2,"gro\u0308":2}`: false,
	} {
		var exact map[string]json.RawMessage
		var oracle struct {
			Amount json.RawMessage `json:"amount"`
		}
		if err := errors.Join(json.Unmarshal([]byte(text), &exact), json.Unmarshal([]byte(text), &oracle)); err != nil {
			t.Fatal(err)
		}
		value, err := argumentAt([]byte(text), ".amount")
		if (err != nil) != twins {
			t.Errorf("%s: %v %v", text, value, err)
		}
		if string(oracle.Amount) != string(exact["amount"]) && err == nil {
			t.Errorf("%s: encoding/json reads %s, and the rule %v", text, oracle.Amount, value)
		}
		m := &mcp.Message{Arguments: []byte(text)}
		if got := argumentsOf(m, []string{"amount"})["amount"]; (got == "ambiguous") != twins || !twins && got != string(oracle.Amount) {
			t.Errorf("%s: the audit log has %s", text, got)
		}
	}
	// Beyond ASCII too, and in what is read as a whole.
	for _, path := range []string{".größe", "", ".in"} {
		text := `{"größe":1,"GRÖßE":2,"in":[{"größe":1,"GRÖßE":2}]}`
		var oracle struct {
			Size int `json:"größe"`
		}
		if err := json.Unmarshal([]byte(text), &oracle); err != nil || oracle.Size != 2 {
			t.Fatal(oracle, err)
		}
		if v, err := argumentAt([]byte(text), path); !errors.Is(err, errTwins) {
			t.Errorf("%q: %v %v", path, v, err)
		}
	}
}

// TestArgumentMemory: reading one field of large arguments does not decode the
// others, and nothing is kept when the rules have judged.
func TestArgumentMemory(t *testing.T) {
	text := []byte(`{"a":[` + strings.Repeat(`{"":0},`, 600_000) + `{}],"amount":5,"text":"` + strings.Repeat("x", 2*maxArgument) + `"}`)
	s := &said{message: &mcp.Message{Arguments: text}}
	s.argument(".amount") // warm the pool
	s.found = nil
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	amount, whole, list := s.argument(".amount"), s.argument(""), s.argument(".a")
	runtime.ReadMemStats(&after)
	if amount != int64(5) || whole != nil || list != nil || !errors.Is(s.doubt, errLongValue) {
		t.Errorf("%v %T %T %v", amount, whole, list, s.doubt)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > uint64(4*len(text)) {
		t.Errorf("%d bytes of arguments took %d", len(text), used)
	}
	if v, _ := s.argument(".text").(string); len(v) != 2*maxArgument {
		t.Errorf("a long text has %d bytes", len(v))
	}
	if s.forget(); s.found != nil || s.doubt != nil {
		t.Error("something is kept")
	}
	if s.argument(".amount") != int64(5) || s.found != nil {
		t.Error("a placeholder that is used later is kept")
	}
}
