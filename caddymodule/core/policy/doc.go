// Package policy decides which caller may make which call: rules about tools,
// prompts, resources and methods, with conditions about the token behind the
// call. It is handed a message that package mcp has read and a [Caller], and
// answers with a [Verdict] that names the rule.
//
// It knows neither tokens nor HTTP: the handler makes a Caller of the token, and
// turns the verdict into an answer.
package policy
