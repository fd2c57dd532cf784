package resource

import (
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
)

// MaxIdentityHeader is the longest value of an identity header, in bytes. A
// server in front of which a proxy stands often takes 8 KiB for all headers.
const MaxIdentityHeader = 4 << 10

// Identity is what the identity headers say of one token. It is made once and
// never changes.
type Identity struct {
	of      *IdentityHeaders
	headers []identityHeader
	// TooLong are the headers that are left out because their value would be
	// longer than MaxIdentityHeader.
	TooLong []string
}

type identityHeader struct{ name, value string }

// Identity makes what the headers say of a token. A claim that the token lacks
// leaves its header absent.
func (n *IdentityHeaders) Identity(t *Token) *Identity {
	i := &Identity{of: n, headers: make([]identityHeader, 0, len(Values{})+len(n.Claims))}
	i.add(n.User, headerValue(t.Subject))
	i.add(n.Email, headerValue(t.Email))
	i.add(n.Name, headerValue(t.Name))
	i.add(n.Client, headerValue(t.ClientID))
	i.add(n.Scope, headerValue(t.Scope))
	i.add(n.Groups, listValue(t.Groups))
	for _, c := range n.Claims {
		i.add(c.Header, claimValue(t.Claim(c.Claim)))
	}
	return i
}

// Of reports whether it was made by these headers.
func (i *Identity) Of(n *IdentityHeaders) bool { return i.of == n }

func (i *Identity) add(name, value string) {
	switch {
	case name == "" || value == "":
	case len(value) > MaxIdentityHeader:
		i.TooLong = append(i.TooLong, name)
	default:
		i.headers = append(i.headers, identityHeader{name, value})
	}
}

// Values is room for the values of headers, so that they need none of their own.
// It belongs to one request, for who handles that next may change them. A user with
// everything that is told needs a sixth, and pays for it.
type Values [5]string

// Set adds the identity to a sanitized request.
func (i *Identity) Set(h http.Header, room *Values) {
	values := room[:]
	if len(i.headers) > len(values) {
		values = make([]string, len(i.headers))
	}
	for k, p := range i.headers {
		values[k] = p.value
		h[p.name] = values[k : k+1 : k+1]
	}
}

// claimValue writes a claim into a header: text as it is, numbers and booleans
// as JSON has them, lists of these joined by commas, and everything else as JSON.
func claimValue(claim any) string {
	switch v := claim.(type) {
	case nil:
		return ""
	case string:
		return headerValue(v)
	case []string:
		return listValue(v)
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			text, plain := plainText(item)
			if !plain {
				return headerValue(asJSON(claim))
			}
			items[i] = text
		}
		return listValue(items)
	}
	return headerValue(asJSON(claim))
}

// plainText returns an entry of a list that is neither a list nor an object.
func plainText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case float64, bool:
		return asJSON(v), true
	}
	return "", false
}

// asJSON is compact and the same every time.
func asJSON(v any) string {
	text, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return "" // it is no claim then
	}
	return string(text)
}

// listValue joins entries by commas. A comma in an entry is percent-encoded, so
// that nobody gets two groups by the name of one.
func listValue(items []string) string {
	var list strings.Builder
	for _, item := range items {
		if item == "" {
			continue
		}
		if list.Len() > 0 {
			list.WriteByte(',')
		}
		list.WriteString(escape(item, func(c byte) bool { return oddInHeader(c) || c == ',' }))
	}
	return list.String()
}

// headerValue keeps a value on one line. Text beyond ASCII is percent-encoded
// as UTF-8, because header values have no agreed encoding.
func headerValue(s string) string { return escape(s, oddInHeader) }

// escape percent-encodes the bytes that are odd, and spaces at either end, which
// HTTP does not count as part of a value.
func escape(s string, odd func(byte) bool) string {
	encoded := func(i int) bool { return odd(s[i]) || s[i] == ' ' && (i == 0 || i == len(s)-1) }
	n := 0
	for i := range len(s) {
		if encoded(i) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	const digits = "0123456789ABCDEF"
	out := make([]byte, 0, len(s)+2*n)
	for i := range len(s) {
		if encoded(i) {
			out = append(out, '%', digits[s[i]>>4], digits[s[i]&15])
		} else {
			out = append(out, s[i])
		}
	}
	return string(out)
}

func oddInHeader(c byte) bool { return c < 0x20 || c >= 0x7f || c == '%' }
