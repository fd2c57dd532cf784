package policy

import (
	"fmt"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// ten is a policy of ten rules, of which the last one is about the calls.
func ten(tb testing.TB) *Policy {
	cfg := tickets
	cfg.Rules = nil
	for i := range 8 {
		cfg.Rules = append(cfg.Rules, Rule{Tools: []string{fmt.Sprintf("team%d_*", i), fmt.Sprintf("*_of_%d", i)}, Require: []Condition{scopes("tickets:read")}})
	}
	cfg.Rules = append(cfg.Rules, tickets.Rules[3], tickets.Rules[1])
	return build(tb, cfg)
}

// TestJudgeAllocations: what a decision costs, whatever the machine.
func TestJudgeAllocations(t *testing.T) {
	p, caller := ten(t), Caller{Scopes: oauth.Scope{"tickets:admin"}, Groups: []string{"leads", "hr"}}
	for name, m := range map[string]func(){
		"tool":     func() { m := callTool("refund"); p.Judge(t.Context(), &caller, &m) },
		"default":  func() { m := callTool("nothing"); p.Judge(t.Context(), &caller, &m) },
		"protocol": func() { m := method("ping"); p.Judge(t.Context(), &caller, &m) },
	} {
		if n := testing.AllocsPerRun(100, m); n > 2 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	p, caller := ten(b), Caller{Scopes: oauth.Scope{"tickets:admin"}, Groups: []string{"leads", "hr"}}
	tool, uri := callTool("refund"), read("file:///hr/people/alice.txt")
	odd := read("file:///public/%2e%2e/hr/people/alice.txt?x=y")
	ctx := b.Context()
	b.Run("tool", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.Judge(ctx, &caller, &tool)
		}
	})
	b.Run("resource", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.Judge(ctx, &caller, &uri)
		}
	})
	b.Run("encoded", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.Judge(ctx, &caller, &odd)
		}
	})
}
