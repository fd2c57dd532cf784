package mcp

import "github.com/go-json-experiment/json/jsontext"

// Kind is what a JSON-RPC 2.0 message is.
type Kind uint8

// The kinds of messages.
const (
	// Request asks for an answer.
	Request Kind = iota + 1
	// Notification has no id and gets no answer.
	Notification
	// Response answers a request that the server made.
	Response
)

// Message is what policy needs to know of one JSON-RPC message.
type Message struct {
	Kind Kind
	// ID is the id as it was sent, a JSON string or number, for the answer to
	// repeat. It is nil for a notification.
	ID jsontext.Value
	// Method is empty for a response.
	Method string
	// Name is the tool of tools/call, the prompt of prompts/get, or the prompt that
	// completion/complete refers to.
	Name string
	// URIs are the resources that the message is about: one for resources/read,
	// resources/subscribe, resources/unsubscribe and a completion for a resource
	// template, any number for subscriptions/listen.
	URIs []string
	// Arguments are those of tools/call and prompts/get as they were sent: a JSON
	// object, or nil.
	Arguments jsontext.Value

	// version is the protocol version that _meta claims, or empty.
	version string
	// mirrored is what the header Mcp-Name has to repeat, or empty.
	mirrored string
}

// Body is the body of an HTTP request: one message, or a batch of them, which
// only MCP revision 2025-03-26 knows.
type Body struct {
	Messages []Message
	Batch    bool
}

// The methods that have something policy looks at.
const (
	MethodCallTool              = "tools/call"
	MethodGetPrompt             = "prompts/get"
	MethodReadResource          = "resources/read"
	MethodSubscribe             = "resources/subscribe"
	MethodUnsubscribe           = "resources/unsubscribe"
	MethodComplete              = "completion/complete"
	MethodSubscriptionsListen   = "subscriptions/listen"
	MethodListTools             = "tools/list"
	MethodListPrompts           = "prompts/list"
	MethodListResources         = "resources/list"
	MethodListResourceTemplates = "resources/templates/list"
)
