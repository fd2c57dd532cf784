package mcp

import (
	"unicode"
	"unicode/utf8"
)

// names are the members that somebody looks for in one kind of object, by the
// form that [fold] gives them.
type names map[string]struct{}

// The members that this package, an SDK or a proxy on the way reads. A member
// that is not one of them is nobody's business here.
var (
	envelopeNames = known("jsonrpc", "id", "method", "params", "result", "error")
	paramsNames   = known("name", "uri", "ref", "arguments", "argument", "notifications", "_meta",
		"requestState", "inputResponses", "taskId", "task", "cursor", "level", "context",
		"protocolVersion", "capabilities", "clientInfo", "requestId", "progressToken")
	refNames           = known("type", "name", "uri")
	notificationsNames = known("resourceSubscriptions", "toolsListChanged", "promptsListChanged", "resourcesListChanged")
	metaNames          = known(metaVersion)
	resultNames        = known("tools", "prompts", "resources", "resourceTemplates", "cacheScope")
	entryNames         = known("name", "uri", "uriTemplate")
)

// metaVersion is the member of _meta that says which revision a request is of
// (since 2026-07-28).
const metaVersion = "io.modelcontextprotocol/protocolVersion"

func known(list ...string) names {
	n := make(names, len(list))
	for _, name := range list {
		n[string(fold(nil, []byte(name)))] = struct{}{}
	}
	return n
}

// twin reports whether a name, which is not one of these as it stands, is one of
// them to a reader that is less exact. Such a member is how two readers come to
// see different calls in one message.
func (n names) twin(name []byte) bool {
	var space [64]byte
	_, found := n[string(fold(space[:0], name))]
	return found
}

// fold appends a name in the form that makes all its spellings one. encoding/json
// ignores case by Unicode's simple folding, which takes the long s for an s and
// the Kelvin sign for a k; others also take the i's of Turkish for an i, or read
// snake_case where camelCase is written.
func fold(dst, name []byte) []byte {
	for i := 0; i < len(name); {
		c := name[i]
		if c < utf8.RuneSelf {
			i++
			if c != '_' && c != '-' {
				if 'A' <= c && c <= 'Z' {
					c += 'a' - 'A'
				}
				dst = append(dst, c)
			}
			continue
		}
		r, size := utf8.DecodeRune(name[i:])
		i += size
		switch r {
		case '\u017F':
			dst = append(dst, 's')
		case '\u212A':
			dst = append(dst, 'k')
		case '\u0130', '\u0131':
			dst = append(dst, 'i')
		default:
			least := r
			for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
				least = min(least, next)
			}
			dst = utf8.AppendRune(dst, least)
		}
	}
	return dst
}
