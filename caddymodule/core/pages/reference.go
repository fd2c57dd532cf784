package pages

import "io"

// Reference is the API reference, readable without a script.
type Reference struct {
	// Issuer is the issuer identifier, and Home the path of the overview page.
	Issuer, Home string
	// Title, Version and Description are those of the API; they and all that
	// follows come from the OpenAPI document, so they are not in english.go.
	Title, Version, Description string
	Groups                      []Group
	Schemas                     []Schema
}

// Group is a set of operations with one subject.
type Group struct {
	Name, Description string
	Operations        []Operation
}

// Operation is a method of an endpoint.
type Operation struct {
	Method, Path         string
	Summary, Description string
	Deprecated           bool
	// Auth says how a program authenticates; empty where it doesn't.
	Auth string
	// Parameters are those of the URL.
	Parameters []Field
	// Body is the type of the request's body, empty if there is none.
	Body      Content
	Responses []Response
	// Aliases are other paths that answer the same.
	Aliases []string
}

// Content is the type of a body, and its schema where it has one.
type Content struct{ Type, Schema, Example string }

// Response is one status that an operation answers with.
type Response struct {
	Status, Description string
	Headers             []Field
	Content             Content
}

// Schema is a kind of object.
type Schema struct {
	Name, Description string
	Fields            []Field
}

// Field is a parameter or a member of an object.
type Field struct {
	Name, Type, Description string
	Required                bool
}

type referenceView struct {
	layout
	Page Reference
}

// Write writes the page.
func (r Reference) Write(w io.Writer) error {
	return write(w, referenceTemplate, referenceView{
		layout: layout{T: english, Title: r.Title, Home: r.Home, Server: r.Issuer, Version: r.Version},
		Page:   r,
	})
}
