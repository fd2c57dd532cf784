package header

import (
	"context"
	"slices"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// Info implements login.Method. The method is ambient: the request itself shows
// who the person is.
func (l *Login) Info() login.Info {
	return login.Info{ID: l.ID, Label: l.Label, Namespace: l.Namespace, Ambient: true, Headers: l.headers()}
}

// headers are the request headers by which the proxy speaks.
func (l *Login) headers() []string {
	names := []string{l.fields.user, l.fields.email, l.fields.name, l.fields.groups, l.SecretHeader}
	if l.verifier != nil {
		names = append(names, l.verifier.header)
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

// Begin finds the person in the request, or returns login.ErrDenied. Only if
// the proxy's keys can't be had, it returns another error. Force changes
// nothing: when people sign in is the proxy's business.
func (l *Login) Begin(ctx context.Context, r login.Request) (login.Step, error) {
	if r.HTTP == nil {
		return login.Step{}, denied("there is no request to look at")
	}
	if err := l.checkProofs(r.HTTP); err != nil {
		return login.Step{}, err
	}
	var id login.Identity
	var err error
	if l.verifier != nil {
		id, err = l.verifier.identify(ctx, r.HTTP.Header)
	} else {
		id, err = l.identify(r.HTTP.Header)
	}
	if err != nil {
		return login.Step{}, err
	}
	return login.Step{Identity: &id}, nil
}

// Finish is never reached, because Begin does not redirect.
func (l *Login) Finish(context.Context, login.Request) (login.Step, error) {
	return login.Step{}, login.ErrDenied
}

// Recheck returns the identity as it is. Whom the proxy still lets in, only a
// request through it shows, and a refresh does not come through it.
func (l *Login) Recheck(_ context.Context, id login.Identity) (login.Identity, error) { return id, nil }
