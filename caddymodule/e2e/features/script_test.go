package features_test

import (
	"context"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// script does everything that a client can do.
func (c *client) script() {
	c.note("connected", c.InitializeResult(), nil)
	c.lists()
	c.tools()
	c.prompts()
	c.resources()
	c.completions()
	c.logs()
	c.cancels()
	c.asked()
	c.changes()
	c.watches()
	c.roots()
	c.others()
	if err := c.Close(); err != nil {
		c.t.Errorf("closing: %v", err)
	}
}

// lists reads every page of every list.
func (c *client) lists() {
	var cursor string
	for page := 1; page == 1 || cursor != ""; page++ {
		cursor = does(c, fmt.Sprint("tools, page ", page), c.ListTools, &mcp.ListToolsParams{Cursor: cursor}).NextCursor
	}
	for page := 1; page == 1 || cursor != ""; page++ {
		cursor = does(c, fmt.Sprint("prompts, page ", page), c.ListPrompts, &mcp.ListPromptsParams{Cursor: cursor}).NextCursor
	}
	for page := 1; page == 1 || cursor != ""; page++ {
		cursor = does(c, fmt.Sprint("resources, page ", page), c.ListResources, &mcp.ListResourcesParams{Cursor: cursor}).NextCursor
	}
	for page := 1; page == 1 || cursor != ""; page++ {
		cursor = does(c, fmt.Sprint("templates, page ", page), c.ListResourceTemplates, &mcp.ListResourceTemplatesParams{Cursor: cursor}).NextCursor
	}
	fails(c, "tools, no such page", c.ListTools, &mcp.ListToolsParams{Cursor: "nowhere"})
	// Since 2026-07-28 the SDK has it in its cache.
	does(c, "tools again", c.ListTools, &mcp.ListToolsParams{})
}

// call are the parameters of a call of a tool.
func call(tool, what string) *mcp.CallToolParams {
	return &mcp.CallToolParams{Name: tool, Arguments: whatArgs{What: what}}
}

// withProgress asks for progress under a token.
func withProgress(p *mcp.CallToolParams, token any) *mcp.CallToolParams {
	p.Meta = mcp.Meta{"example.com/own": map[string]any{"x": 1}}
	p.SetProgressToken(token)
	return p
}

func (c *client) tools() {
	does(c, "add", c.CallTool, &mcp.CallToolParams{Name: "add", Arguments: map[string]any{"a": 1, "b": 2.5}})
	does(c, "add nonsense", c.CallTool, &mcp.CallToolParams{Name: "add", Arguments: map[string]any{"a": "one", "c": nil}})
	does(c, "media", c.CallTool, call("media", ""))
	does(c, "region", c.CallTool, &mcp.CallToolParams{Name: "region", Arguments: map[string]any{"region": "süd <1>", "n": 7}})
	does(c, "fail", c.CallTool, call("fail", ""))
	does(c, "fail with a result", c.CallTool, call("fail", "result"))
	fails(c, "fail with an error", c.CallTool, call("fail", "rpc"))
	fails(c, "fail for want of a visit", c.CallTool, call("fail", "url"))
	does(c, "mixed case", c.CallTool, call("Mixed.Case-1_x", ""))
	fails(c, "no such tool", c.CallTool, call("nowhere", ""))
	for i, token := range []any{"token", 7} {
		does(c, fmt.Sprint("count ", i), c.CallTool,
			withProgress(&mcp.CallToolParams{Name: "count", Arguments: whatArgs{N: 5}}, token))
		if c.notices {
			c.await("progress", 5)
		}
	}
	if c.resumes && c.revision == r202511 { // older ones reconnect too, after a second or two
		does(c, "resume", c.CallTool, withProgress(call("resume", ""), "resumed"))
		c.await("progress", 2)
	}
}

func (c *client) prompts() {
	does(c, "greet", c.GetPrompt, &mcp.GetPromptParams{Name: "greet", Arguments: map[string]string{"name": "Ada", "style": "\"formal\""}})
	fails(c, "greet nobody", c.GetPrompt, &mcp.GetPromptParams{Name: "greet"})
	does(c, "a name that is no token", c.GetPrompt, &mcp.GetPromptParams{Name: "grüße an alle"})
	does(c, "with resource", c.GetPrompt, &mcp.GetPromptParams{Name: "with_resource"})
	fails(c, "no such prompt", c.GetPrompt, &mcp.GetPromptParams{Name: "nowhere"})
	if c.hears() {
		does(c, "interview", c.GetPrompt, &mcp.GetPromptParams{Name: "interview"})
	} else {
		fails(c, "interview", c.GetPrompt, &mcp.GetPromptParams{Name: "interview"})
	}
}

func (c *client) resources() {
	for _, uri := range []string{readme, picture, watched, "note:///1", "user://ada/a/b"} {
		does(c, "read "+uri, c.ReadResource, &mcp.ReadResourceParams{URI: uri})
	}
	fails(c, "read nothing", c.ReadResource, &mcp.ReadResourceParams{URI: "file:///nowhere"})
	fails(c, "read a missing note", c.ReadResource, &mcp.ReadResourceParams{URI: "note:///missing"})
	if c.modern() { // for older ones the SDK makes requests of input only for tools and prompts
		does(c, "read questions", c.ReadResource, &mcp.ReadResourceParams{URI: "file:///questions"})
	} else {
		fails(c, "read questions", c.ReadResource, &mcp.ReadResourceParams{URI: "file:///questions"})
	}
}

func (c *client) completions() {
	ask := func(ref *mcp.CompleteReference, name, value string, known map[string]string) *mcp.CompleteParams {
		p := &mcp.CompleteParams{Ref: ref, Argument: mcp.CompleteParamsArgument{Name: name, Value: value}}
		if known != nil {
			p.Context = &mcp.CompleteContext{Arguments: known}
		}
		return p
	}
	prompt := &mcp.CompleteReference{Type: "ref/prompt", Name: "greet"}
	does(c, "complete a prompt", c.Complete, ask(prompt, "name", "al", nil))
	does(c, "complete with context", c.Complete, ask(prompt, "name", "", map[string]string{"style": "formal"}))
	does(c, "complete a template", c.Complete, ask(&mcp.CompleteReference{Type: "ref/resource", URI: "note:///{id}"}, "id", "a", nil))
	fails(c, "complete nothing", c.Complete, ask(prompt, "nothing", "", nil))
}

// logs has the server log, at the level that the client has asked for.
//
//nolint:staticcheck // logging is old, but in use
func (c *client) logs() {
	p := call("log", "")
	lines := 2
	if c.modern() {
		p.Meta = mcp.Meta{mcp.MetaKeyLogLevel: "warning"}
	} else {
		does(c, "set level", quiet(c.SetLoggingLevel), &mcp.SetLoggingLevelParams{Level: "warning"})
		if !c.sessions {
			lines = 3 // it has forgotten, and logs from info on
		}
	}
	does(c, "log", c.CallTool, p)
	if c.notices {
		c.await("log", lines)
	}
}

// cancels stops a call.
func (c *client) cancels() {
	if !c.hears() {
		return // no request knows of another
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	returned := make(chan error, 1)
	go func() {
		_, err := c.CallTool(ctx, withProgress(call("wait", ""), "waits"))
		returned <- err
	}()
	arrives(c, "waits", c.server.waiting)
	if c.notices {
		c.await("progress", 1)
	}
	if c.sse {
		c.wire.answered(c.t, `"name":"wait"`) // what it told came on another stream
	}
	cancel()
	arrives(c, "was cancelled", c.server.ended)
	c.note("cancelled", nil, <-returned)
}

// asked has the server ask the client, by requests and by results that need
// input.
func (c *client) asked() {
	for _, what := range []string{"ping", "roots", "sampling", "form", "url"} {
		does(c, "ask "+what, c.CallTool, call("ask", what))
		if c.sessions && what == "url" {
			c.await("elicited", 1)
		}
	}
	for _, what := range []string{"roots", "sampling", "form"} {
		if c.hears() {
			does(c, "input "+what, c.CallTool, call("input", what))
		} else {
			fails(c, "input "+what, c.CallTool, call("input", what))
		}
	}
}

// changes has the lists change.
func (c *client) changes() {
	for _, what := range []string{"tool", "prompt", "resource"} {
		for _, sign := range "+-" {
			does(c, "change", c.CallTool, call("change", string(sign)+what))
			if c.hears() {
				c.await(what+"s changed", 1)
			}
			switch what {
			case "tool":
				does(c, "changed tools", c.ListTools, &mcp.ListToolsParams{})
			case "prompt":
				does(c, "changed prompts", c.ListPrompts, &mcp.ListPromptsParams{})
			default:
				does(c, "changed resources", c.ListResources, &mcp.ListResourcesParams{})
			}
		}
	}
}

// watches hears of a resource until it no longer wants to.
func (c *client) watches() {
	does(c, "subscribe", quiet(c.Subscribe), &mcp.SubscribeParams{URI: watched})
	arrives(c, "subscribed", c.server.subscribed)
	if !c.hears() {
		return // the subscription ended with the request
	}
	for range 2 {
		does(c, "touch", c.CallTool, call("touch", ""))
	}
	c.await("updated", 2)
	does(c, "read what was updated", c.ReadResource, &mcp.ReadResourceParams{URI: watched})
	does(c, "unsubscribe", quiet(c.Unsubscribe), &mcp.UnsubscribeParams{URI: watched})
	arrives(c, "unsubscribed", c.server.unsubscribed)
	does(c, "touch unheard", c.CallTool, call("touch", ""))
}

// roots tells the server of another root, and of progress.
//
//nolint:staticcheck // roots are old, but in use
func (c *client) roots() {
	if c.modern() {
		return // it has no notifications of clients
	}
	c.sdk.AddRoots(&mcp.Root{Name: "work", URI: "file:///work"})
	does(c, "tell progress", quiet(c.NotifyProgress), &mcp.ProgressNotificationParams{ProgressToken: "p", Progress: 0.5, Message: "half"})
	if !c.sessions {
		return // the SDK's server may end the request before it reads the notification
	}
	arrives(c, "roots changed", c.server.roots)
	arrives(c, "progress", c.server.progress)
	does(c, "ask roots again", c.CallTool, call("ask", "roots"))
}

// others are the methods that are left.
func (c *client) others() {
	if c.modern() {
		fails(c, "ping", quiet(c.Ping), nil)
	} else {
		does(c, "ping", quiet(c.Ping), nil)
	}
	custom := func(ctx context.Context, p *searchParams) (*searchResult, error) {
		return mcp.CallCustomMethod[*searchParams, *searchResult](ctx, c.ClientSession, "acme/search", p)
	}
	if c.sse { // the SDK refuses it there
		fails(c, "search", custom, &searchParams{Query: "q"})
		return
	}
	does(c, "search", custom, &searchParams{Query: "q <&> ü"})
	fails(c, "search nothing", custom, &searchParams{})
}
