package features_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// whatArgs say which of its deeds a tool shall do.
type whatArgs struct {
	What string `json:"what,omitempty"`
	N    int    `json:"n,omitempty"`
}

type sumArgs struct {
	A int     `json:"a" jsonschema:"the first"`
	B float64 `json:"b"`
}

type sum struct {
	Sum   float64           `json:"sum"`
	Parts []float64         `json:"parts"`
	Notes map[string]string `json:"notes"`
}

type result = mcp.CallToolResult

// addTools adds the tools; the SDK lists them by name.
func (f *full) addTools() {
	yes := true
	mcp.AddTool(f.Server, &mcp.Tool{
		Name: "add", Title: "Add", Description: "Adds <two> numbers & tells \"how\".",
		Annotations: &mcp.ToolAnnotations{Title: "Adder", ReadOnlyHint: true, OpenWorldHint: &yes},
		Icons:       []mcp.Icon{{Source: "https://example.com/i.svg", MIMEType: "image/svg+xml", Sizes: []string{"any"}}},
		Meta:        mcp.Meta{"example.com/cost": 1.5},
	}, func(_ context.Context, _ *mcp.CallToolRequest, in sumArgs) (*result, sum, error) {
		return nil, sum{float64(in.A) + in.B, []float64{float64(in.A), in.B}, map[string]string{"how": "<+> & ü \u2028"}}, nil
	})
	for name, h := range map[string]func(context.Context, *mcp.CallToolRequest, whatArgs) (*result, error){
		"ask": f.ask, "change": f.change, "count": f.count, "fail": fail, "input": input, "media": media,
		"hidden_tool": fail, "log": writeLog, "resume": resume, "touch": f.touch, "wait": f.wait, "Mixed.Case-1_x": fail,
	} {
		mcp.AddTool(f.Server, &mcp.Tool{Name: name}, func(ctx context.Context, r *mcp.CallToolRequest, in whatArgs) (*result, any, error) {
			res, err := h(ctx, r, in)
			return res, nil, err
		})
	}
	// Since 2026-07-28 a client repeats such an argument in a header.
	f.AddTool(&mcp.Tool{Name: "region", InputSchema: json.RawMessage(
		`{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"n":{"type":"integer","x-mcp-header":"N"}}}`)},
		func(_ context.Context, r *mcp.CallToolRequest) (*result, error) {
			var in map[string]any
			if err := json.Unmarshal(r.Params.Arguments, &in); err != nil {
				return nil, err
			}
			var header any
			if r.Extra != nil && r.Extra.Header != nil {
				header = []string{r.Extra.Header.Get("Mcp-Param-Region"), r.Extra.Header.Get("Mcp-Param-N")}
			}
			return &result{Content: text(fmt.Sprint(in, header)), StructuredContent: in}, nil
		})
}

func text(s string) []mcp.Content { return []mcp.Content{&mcp.TextContent{Text: s}} }

// fail fails in all ways that there are.
func fail(_ context.Context, _ *mcp.CallToolRequest, in whatArgs) (*result, error) {
	switch in.What {
	case "rpc":
		return nil, &jsonrpc.Error{Code: -32050, Message: "out of <stock>", Data: json.RawMessage(`{"left":0,"why":["a",null]}`)}
	case "url":
		return nil, mcp.URLElicitationRequiredError([]*mcp.ElicitParams{page("e-2")})
	case "result":
		return &result{Content: text("no"), IsError: true, StructuredContent: map[string]any{"no": true}}, nil
	default:
		return nil, errors.New("failed as asked")
	}
}

// media answers with every kind of content.
func media(context.Context, *mcp.CallToolRequest, whatArgs) (*result, error) {
	size := int64(4)
	return &result{Meta: mcp.Meta{"example.com/m": []any{1.0, "x"}}, Content: []mcp.Content{
		&mcp.TextContent{Text: "", Annotations: &mcp.Annotations{Audience: []mcp.Role{"assistant"}, LastModified: "2026-01-02T03:04:05Z"}},
		&mcp.ImageContent{Data: []byte{0x89, 'P', 'N', 'G'}, MIMEType: "image/png"},
		&mcp.AudioContent{Data: []byte("RIFF"), MIMEType: "audio/wav"},
		&mcp.ResourceLink{URI: readme, Name: "readme", MIMEType: "text/markdown", Size: &size},
		&mcp.EmbeddedResource{Resource: &mcp.ResourceContents{URI: readme, Text: "# Hi\r\ndata: x\n\nid: 7\n"}},
		&mcp.EmbeddedResource{Resource: &mcp.ResourceContents{URI: picture, Blob: []byte{0, 1, 2}, MIMEType: "image/png"}},
		&mcp.TextContent{Text: strings.Repeat("long ", 20_000)},
	}}, nil
}

// count tells its progress up to n.
func (f *full) count(ctx context.Context, r *mcp.CallToolRequest, in whatArgs) (*result, error) {
	for i := range in.N {
		err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
			ProgressToken: r.Params.GetProgressToken(), Progress: float64(i + 1), Total: float64(in.N), Message: fmt.Sprint("step ", i+1),
		})
		if err != nil {
			return nil, err
		}
	}
	return &result{Content: text(fmt.Sprint("call ", f.calls.Add(1)))}, nil
}

// wait tells once that it goes on, and then waits until it is cancelled.
func (f *full) wait(ctx context.Context, r *mcp.CallToolRequest, _ whatArgs) (*result, error) {
	// Where there is no stream, nobody hears it.
	_ = r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: 1})
	f.waiting <- struct{}{}
	<-ctx.Done()
	f.ended <- struct{}{}
	return nil, ctx.Err()
}

// writeLog writes a line of every level.
//
//nolint:staticcheck // logging is old, but in use
func writeLog(ctx context.Context, r *mcp.CallToolRequest, _ whatArgs) (*result, error) {
	for _, level := range []mcp.LoggingLevel{"debug", "info", "warning", "error"} {
		err := r.Session.Log(ctx, &mcp.LoggingMessageParams{Level: level, Logger: "tool", Data: map[string]any{"line": level, "n": 1}})
		if err != nil {
			return nil, err
		}
	}
	return &result{Content: text("logged")}, nil
}

// ask asks the client for something by a request of its own.
//
//nolint:staticcheck // roots and sampling are old, but in use
func (f *full) ask(ctx context.Context, r *mcp.CallToolRequest, in whatArgs) (*result, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var (
		got any
		err error
	)
	switch in.What {
	case "ping":
		err = r.Session.Ping(ctx, nil)
	case "roots":
		got, err = r.Session.ListRoots(ctx, nil)
	case "sampling":
		got, err = r.Session.CreateMessage(ctx, sampling())
	case "form":
		got, err = r.Session.Elicit(ctx, form())
	case "url":
		got, err = r.Session.Elicit(ctx, page("e-1"))
		if err == nil {
			err = r.Session.NotifyElicitationComplete(ctx, &mcp.ElicitationCompleteParams{ElicitationID: "e-1"})
		}
	}
	said, _ := json.Marshal(got)
	return &result{Content: text(fmt.Sprintf("%s %v", said, err))}, nil
}

func page(id string) *mcp.ElicitParams {
	return &mcp.ElicitParams{Mode: "url", Message: "Sign in there", URL: "https://example.com/in?id=" + id, ElicitationID: id}
}

// input needs the client's input: as a result since 2026-07-28, before that the
// SDK makes a request of it.
func input(_ context.Context, r *mcp.CallToolRequest, in whatArgs) (*result, error) {
	if len(r.Params.InputResponses) == 0 {
		return &result{InputRequests: questions(in.What), RequestState: "state <" + in.What + ">"}, nil
	}
	return &result{Content: text(answers(r.Params.InputResponses) + r.Params.RequestState)}, nil
}

// change adds something to a list, or removes it.
func (f *full) change(_ context.Context, _ *mcp.CallToolRequest, in whatArgs) (*result, error) {
	switch in.What {
	case "+tool":
		f.AddTool(&mcp.Tool{Name: "zoo", InputSchema: json.RawMessage(`{"type":"object"}`)}, nil)
	case "-tool":
		f.RemoveTools("zoo")
	case "+prompt":
		f.AddPrompt(&mcp.Prompt{Name: "zoo"}, nil)
	case "-prompt":
		f.RemovePrompts("zoo")
	case "+resource":
		f.AddResource(&mcp.Resource{URI: "file:///zoo", Name: "zoo"}, read)
	case "-resource":
		f.RemoveResources("file:///zoo")
	}
	return &result{Content: text(in.What)}, nil
}

// touch says that the watched resource has changed.
func (f *full) touch(ctx context.Context, _ *mcp.CallToolRequest, _ whatArgs) (*result, error) {
	return &result{Content: text("touched")}, f.ResourceUpdated(ctx, &mcp.ResourceUpdatedNotificationParams{URI: watched})
}

// resume breaks its own stream off and answers on the next.
func resume(ctx context.Context, r *mcp.CallToolRequest, _ whatArgs) (*result, error) {
	progress := func(n float64) error {
		return r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: n})
	}
	if err := progress(1); err != nil {
		return nil, err
	}
	r.Extra.CloseSSEStream(mcp.CloseSSEStreamArgs{RetryAfter: 20 * time.Millisecond})
	if err := progress(2); err != nil {
		return nil, err
	}
	return &result{Content: text("after the break")}, nil
}
