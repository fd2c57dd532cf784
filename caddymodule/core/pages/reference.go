package pages

// Reference is the API reference, readable without a script.
type Reference struct {
	// Title and Description are those of the API; they and all that follows
	// come from the OpenAPI document, so they are in English everywhere.
	Title, Description string
	Groups             []Group
	Schemas            []Schema
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
	Parameters []Param
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
	Headers             []Param
	Content             Content
}

// Schema is a kind of object.
type Schema struct {
	Name, Description string
	Fields            []Param
}

// Param is a parameter or a member of an object.
type Param struct {
	Name, Type, Description string
	Required                bool
}

func (r Reference) draw(*Site, *words) (drawing, error) {
	return drawing{template: referenceTemplate, title: r.Title, page: r, wide: true}, nil
}
