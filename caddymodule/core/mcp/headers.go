package mcp

import (
	"encoding/base64"
	"mime"
	"net/http"
	"strings"
)

// The request headers that repeat what the body says.
const (
	HeaderProtocolVersion = "Mcp-Protocol-Version"
	HeaderMethod          = "Mcp-Method"
	HeaderName            = "Mcp-Name"
)

// Protocol versions that change what a request may be. Versions are dates and
// compare as text.
const (
	// versionNoBatch is the first without batches.
	versionNoBatch = "2025-06-18"
	// versionMirrored is the first with Mcp-Method and Mcp-Name (SEP-2243), and
	// with cacheScope in results.
	versionMirrored = "2026-07-28"
)

// Mirrors reports whether requests of a protocol version repeat their method and
// name in headers, and results have a cacheScope: those since 2026-07-28.
func Mirrors(version string) bool {
	return validVersion(version) && version >= versionMirrored
}

// CheckHeaders compares the headers of a request with its body, and returns an
// [*Error] with the id of the request where they disagree.
//
// From revision 2026-07-28 on, Mcp-Method has to be there, and Mcp-Name for
// tools/call, prompts/get and resources/read. Older requests need neither; a
// header that they send all the same has to be true, as a server or a proxy behind
// this one could believe it. Mcp-Param-* are left to the server: which argument
// one of them repeats is in the schema of the tool.
func (b Body) CheckHeaders(h http.Header) error {
	if e := b.checkHeaders(h); e != nil {
		if len(b.Messages) == 1 && !b.Batch {
			e.ID = b.Messages[0].ID
		}
		return e
	}
	return nil
}

func (b Body) checkHeaders(h http.Header) *Error {
	version, ok := once(h, HeaderProtocolVersion)
	if !ok || version != "" && !validVersion(version) {
		return refuse(CodeInvalidRequest, "MCP-Protocol-Version has to come once, and to be a date such as "+versionMirrored)
	}
	if b.Batch && version >= versionNoBatch {
		return refuse(CodeInvalidRequest, "batches ended with protocol version "+versionNoBatch+": send one message in each request")
	}
	for _, m := range b.Messages {
		if m.version != "" && m.version != version {
			return refuse(CodeHeaderMismatch, "MCP-Protocol-Version and "+metaVersion+" in _meta have to be the same")
		}
		if e := m.checkMirrors(h, version >= versionMirrored); e != nil {
			return e
		}
	}
	return nil
}

// checkMirrors compares Mcp-Method and Mcp-Name with the message.
func (m Message) checkMirrors(h http.Header, required bool) *Error {
	required = required && m.Kind != Response
	method, ok := mirror(h, HeaderMethod)
	switch {
	case !ok:
		return refuse(CodeHeaderMismatch, "Mcp-Method has to come once, as text or as =?base64?…?=")
	case method == "" && (required || has(h, HeaderMethod)):
		return refuse(CodeHeaderMismatch, "Mcp-Method is missing: since "+versionMirrored+" it repeats the method of the body")
	case method != "" && method != m.Method:
		return refuse(CodeHeaderMismatch, "Mcp-Method is not the method of the body")
	}
	name, ok := mirror(h, HeaderName)
	what, known := methods[m.Method]
	switch {
	case !ok:
		return refuse(CodeHeaderMismatch, "Mcp-Name has to come once, as text or as =?base64?…?=")
	case name == "" && (required && named(m.Method) || has(h, HeaderName)):
		return refuse(CodeHeaderMismatch, "Mcp-Name is missing: since "+versionMirrored+" it repeats the name or the URI of the body")
	case name == "" || name == m.mirrored:
	case m.Kind != Response && !known && required:
		// A method of an extension, whose name may be anywhere in its params.
	case what == nothing || what == byNotifications:
		return refuse(CodeHeaderMismatch, "Mcp-Name names something, and the body does not")
	default:
		return refuse(CodeHeaderMismatch, "Mcp-Name is not the name or the URI of the body")
	}
	return nil
}

// named reports whether the specification wants Mcp-Name for a method.
func named(method string) bool {
	return method == MethodCallTool || method == MethodGetPrompt || method == MethodReadResource
}

func has(h http.Header, key string) bool {
	return len(h[key]) > 0
}

// once returns the value of a header that must not be repeated, without the white
// space around it.
func once(h http.Header, key string) (value string, ok bool) {
	switch values := h[key]; len(values) {
	case 0:
		return "", true
	case 1:
		return strings.Trim(values[0], " \t"), true
	}
	return "", false
}

// mirror is [once] for a header that repeats a value of the body: what does not
// fit into a header comes as =?base64?…?=.
func mirror(h http.Header, key string) (value string, ok bool) {
	value, ok = once(h, key)
	encoded, prefix := strings.CutPrefix(value, "=?base64?")
	encoded, suffix := strings.CutSuffix(encoded, "?=")
	if !ok || !prefix || !suffix {
		return value, ok
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(encoded)
	return string(decoded), err == nil
}

// validVersion reports whether a protocol version is a date.
func validVersion(v string) bool {
	if len(v) != len(versionMirrored) {
		return false
	}
	for i := range len(v) {
		if dash := i == 4 || i == 7; dash != (v[i] == '-') || !dash && (v[i] < '0' || v[i] > '9') {
			return false
		}
	}
	return true
}

// CheckEncoding returns an [*Error] where a body could be read otherwise than as
// JSON in UTF-8: 415 for a Content-Type, and 400 for a Content-Encoding, which the
// gateway would have to undo to see what the server sees.
func CheckEncoding(h http.Header) error {
	types := h["Content-Type"]
	if len(types) != 1 || !plainJSON(types[0]) {
		e := refuse(CodeInvalidRequest, "Content-Type has to be application/json, in UTF-8")
		e.Status = http.StatusUnsupportedMediaType
		return e
	}
	for _, coding := range h["Content-Encoding"] {
		if !strings.EqualFold(strings.Trim(coding, " \t"), "identity") {
			return refuse(CodeInvalidRequest, "Content-Encoding is not accepted: send the body as it is")
		}
	}
	return nil
}

func plainJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	media, parameters, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" {
		return false
	}
	charset, given := parameters["charset"]
	return !given || strings.EqualFold(charset, "utf-8")
}
