package features_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// pageSize cuts every list of the server into several pages.
const pageSize = 3

// The URIs of the server's resources.
const (
	readme  = "file:///readme.md"
	picture = "file:///picture.png"
	// watched is the resource that tells of its changes.
	watched = "mem://board?of=today&x=%C3%BC"
	secret  = "file:///hidden/secret.txt"
)

// full is an MCP server with every feature, for one client.
type full struct {
	*mcp.Server
	// waiting gets a value when the tool wait has begun, and ended when its
	// client has cancelled it.
	waiting, ended chan struct{}
	// subscribed and unsubscribed get the URI of a resource that is watched.
	subscribed, unsubscribed chan string
	// progress gets what a client tells of its own progress.
	progress chan float64
	// roots counts how often the client said that its roots have changed.
	roots chan struct{}
	calls atomic.Int64
}

// newFull returns a server that speaks these revisions, or all if there are none.
func newFull(revisions ...string) *full {
	f := &full{
		waiting: make(chan struct{}, 1), ended: make(chan struct{}, 1),
		subscribed: make(chan string, 8), unsubscribed: make(chan string, 8),
		progress: make(chan float64, 8), roots: make(chan struct{}, 8),
	}
	f.Server = mcp.NewServer(&mcp.Implementation{Name: "full", Title: "Every feature", Version: "1.2.3"}, &mcp.ServerOptions{
		Instructions: "Use everything.",
		PageSize:     pageSize,
		// Logging is old, but what clients of old have must go on working.
		Capabilities:              &mcp.ServerCapabilities{Logging: &mcp.LoggingCapabilities{}}, //nolint:staticcheck // see above
		SupportedProtocolVersions: revisions,
		CompletionHandler:         complete,
		SubscribeHandler: func(_ context.Context, r *mcp.SubscribeRequest) error {
			f.subscribed <- r.Params.URI
			return nil
		},
		UnsubscribeHandler: func(_ context.Context, r *mcp.UnsubscribeRequest) error {
			f.unsubscribed <- r.Params.URI
			return nil
		},
		RootsListChangedHandler: func(context.Context, *mcp.RootsListChangedRequest) { f.roots <- struct{}{} }, //nolint:staticcheck // as logging
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationServerRequest) {
			f.progress <- r.Params.Progress
		},
		SetCacheable: func(_ context.Context, _ mcp.Request, c *mcp.Cacheable) {
			c.TTLMs, c.CacheScope = 60_000, "public"
		},
	})
	f.addTools()
	f.addPrompts()
	f.addResources()
	if err := mcp.AddReceivingCustomMethod(f.Server, "acme/search", search); err != nil {
		panic(err)
	}
	return f
}

func (f *full) addPrompts() {
	f.AddPrompt(&mcp.Prompt{
		Name: "greet", Title: "Greet somebody", Description: "Writes a greeting.",
		Arguments: []*mcp.PromptArgument{
			{Name: "name", Title: "Who", Required: true}, {Name: "style", Description: "formal or casual"},
		},
		Meta: mcp.Meta{"example.com/kind": "greeting"},
	}, func(_ context.Context, r *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		if r.Params.Arguments["name"] == "" {
			return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "name is required", Data: json.RawMessage(`{"argument":"name"}`)}
		}
		return said("Greet "+r.Params.Arguments["name"]+" "+r.Params.Arguments["style"], nil), nil
	})
	f.AddPrompt(&mcp.Prompt{Name: "grüße an alle"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return said("Look", &mcp.ImageContent{Data: []byte{1, 2, 3}, MIMEType: "image/png"}), nil
	})
	f.AddPrompt(&mcp.Prompt{Name: "hidden_prompt"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return said("secret", nil), nil
	})
	f.AddPrompt(&mcp.Prompt{Name: "interview"}, func(_ context.Context, r *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		if len(r.Params.InputResponses) == 0 {
			return &mcp.GetPromptResult{InputRequests: questions("form"), RequestState: "interview-1"}, nil
		}
		return said(answers(r.Params.InputResponses)+r.Params.RequestState, nil), nil
	})
	f.AddPrompt(&mcp.Prompt{Name: "with_resource"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return said("Read", &mcp.EmbeddedResource{Resource: &mcp.ResourceContents{URI: readme, MIMEType: "text/markdown", Text: "# Hi"}}), nil
	})
}

// said is a prompt of a text and, unless nil, of something else.
func said(text string, more mcp.Content) *mcp.GetPromptResult {
	res := &mcp.GetPromptResult{Description: "said", Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: text}}}}
	if more != nil {
		res.Messages = append(res.Messages, &mcp.PromptMessage{Role: "assistant", Content: more})
	}
	return res
}

func (f *full) addResources() {
	for _, r := range []mcp.Resource{
		{URI: readme, Name: "readme", MIMEType: "text/markdown", Size: 4, Annotations: &mcp.Annotations{Audience: []mcp.Role{"user"}, Priority: 0.5}},
		{URI: picture, Name: "picture", MIMEType: "image/png", Icons: []mcp.Icon{{Source: "data:image/png;base64,AQID"}}},
		{URI: secret, Name: "secret"},
		{URI: watched, Name: "board"},
		{URI: "file:///questions", Name: "questions"},
	} {
		f.AddResource(&r, read)
	}
	for _, t := range []mcp.ResourceTemplate{
		{URITemplate: "note:///{id}", Name: "notes", MIMEType: "text/plain"},
		{URITemplate: "file:///hidden/{name}", Name: "hidden"},
		{URITemplate: "user://{name}/{+path}", Name: "users"},
		{URITemplate: "log:///{day}", Name: "logs"},
	} {
		f.AddResourceTemplate(&t, read)
	}
}

// read answers for all resources and templates.
func read(_ context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	uri := r.Params.URI
	switch {
	case uri == picture:
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{
			{URI: uri, MIMEType: "image/png", Blob: []byte{0x89, 'P', 'N', 'G', 0, 0xff}},
			{URI: uri + "#alt", Text: "a picture"},
		}}, nil
	case uri == "file:///questions" && len(r.Params.InputResponses) == 0:
		return &mcp.ReadResourceResult{InputRequests: questions("form"), RequestState: "questions-1"}, nil
	case uri == "note:///missing":
		return nil, mcp.ResourceNotFoundError(uri)
	}
	text := "content of " + uri + answers(r.Params.InputResponses)
	return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: uri, Text: text, Meta: mcp.Meta{"example.com/v": 1}}}}, nil
}

// complete knows words for prompts and numbers for templates.
func complete(_ context.Context, r *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
	words := []string{"alice", "albert", "bob"}
	if r.Params.Ref.Type == "ref/resource" {
		words = []string{"a1", "a2", "b1"}
	}
	if c := r.Params.Context; c != nil && c.Arguments["style"] == "formal" {
		words = []string{"a. Mr. Smith"}
	}
	if r.Params.Argument.Name == "nothing" {
		return nil, errors.New("there is no such argument")
	}
	words = slices.DeleteFunc(words, func(w string) bool { return !strings.HasPrefix(w, r.Params.Argument.Value) })
	return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: words, Total: len(words) + 1, HasMore: true}}, nil
}

// searchParams and searchResult are those of a method that no specification knows.
type (
	searchParams struct {
		mcp.ParamsBase
		Query string `json:"query"`
	}
	searchResult struct {
		mcp.ResultBase
		Hits []string `json:"hits"`
	}
)

func search(_ context.Context, _ *mcp.ServerSession, p *searchParams) (*searchResult, error) {
	if p.Query == "" {
		return nil, errors.New("query is empty")
	}
	return &searchResult{Hits: []string{p.Query, "<>&\u2028"}}, nil
}

// questions asks the client for one thing in the middle of something.
func questions(what string) mcp.InputRequestMap {
	switch what {
	case "sampling":
		return mcp.InputRequestMap{"sample": sampling()}
	case "roots":
		return mcp.InputRequestMap{"roots": &mcp.ListRootsParams{}} //nolint:staticcheck // old, but in use
	default:
		return mcp.InputRequestMap{"name": form()}
	}
}

// answers puts what a client answered into words.
func answers(all mcp.InputResponseMap) string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(all)) {
		text, err := json.Marshal(all[id])
		fmt.Fprintf(&b, "[%s %s %v]", id, text, err)
	}
	return b.String()
}

func form() *mcp.ElicitParams {
	return &mcp.ElicitParams{Mode: "form", Message: "Who are you?", RequestedSchema: json.RawMessage(
		`{"type":"object","properties":{"name":{"type":"string","minLength":1},"age":{"type":"integer"},"level":{"type":"string","enum":["a","b"]}},"required":["name"]}`)}
}

//nolint:staticcheck // sampling is old, but in use
func sampling() *mcp.CreateMessageParams {
	return &mcp.CreateMessageParams{
		Messages:     []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: "2+2?"}}},
		SystemPrompt: "be brief", MaxTokens: 10, Temperature: 0.5, StopSequences: []string{"\n\n"},
		ModelPreferences: &mcp.ModelPreferences{Hints: []*mcp.ModelHint{{Name: "small"}}, SpeedPriority: 1},
	}
}
