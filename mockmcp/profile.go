package mockmcp

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// The identity headers that the gateway sets. It removes the client's own copies, so there is one of each at most.
const (
	headerUser   = "X-Mcp-User"
	headerEmail  = "X-Mcp-Email"
	headerName   = "X-Mcp-Name"
	headerClient = "X-Mcp-Client"
	headerScope  = "X-Mcp-Scope"
)

var identityHeaders = []string{headerUser, headerEmail, headerName, headerClient, headerScope}

type noArgs struct{}

type profile struct {
	User   string   `json:"user"`
	Email  string   `json:"email,omitempty"`
	Name   string   `json:"name,omitempty"`
	Client string   `json:"client,omitempty"`
	Scopes []string `json:"scopes"`
}

func (p profile) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "You are %s", p.User)
	for _, f := range []struct{ label, value string }{
		{"name", p.Name}, {"email", p.Email}, {"client", p.Client}, {"scopes", strings.Join(p.Scopes, " ")},
	} {
		if f.value != "" {
			fmt.Fprintf(&b, "\n%s: %s", f.label, f.value)
		}
	}
	return b.String()
}

func getUserProfile(h http.Header, _ noArgs) (profile, error) {
	for _, name := range identityHeaders {
		if len(h.Values(name)) > 1 {
			return profile{}, fmt.Errorf("the header %s came more than once, so it can't be trusted: the gateway must remove the client's own", name)
		}
	}
	if h.Get(headerUser) == "" {
		return profile{}, errors.New("nobody is signed in: the request has no " + headerUser + " header, so it didn't come through the gateway")
	}
	return profile{
		User: h.Get(headerUser), Email: h.Get(headerEmail), Name: h.Get(headerName), Client: h.Get(headerClient),
		Scopes: append([]string{}, strings.Fields(h.Get(headerScope))...),
	}, nil
}
