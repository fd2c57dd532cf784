package gatewaytest

import (
	"crypto/tls"
	"io"
	"net/http"
)

// fresh makes a connection for every request and closes it afterwards: a
// gateway that reloads or refuses a request may close a kept one just as the
// next request goes out on it. It does not say so beforehand (Connection:
// close), because a server then cuts a client off that is still sending what it
// refuses.
type fresh struct{ tls *tls.Config }

// RoundTrip implements http.RoundTripper.
func (f fresh) RoundTrip(r *http.Request) (*http.Response, error) {
	t := &http.Transport{TLSClientConfig: f.tls}
	resp, err := t.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = closing{resp.Body, t.CloseIdleConnections}
	return resp, nil
}

// closing does something after the body was closed.
type closing struct {
	io.ReadCloser
	then func()
}

// Close implements io.Closer.
func (c closing) Close() error {
	defer c.then()
	return c.ReadCloser.Close()
}
