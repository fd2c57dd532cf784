package caddymodule

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

const (
	// bodyTimeout bounds how long a client may take to send a message.
	bodyTimeout = time.Minute
	// bodyFirst is how much must have come before room is made for all that was
	// announced: who announces much and sends nothing shall not have it.
	bodyFirst = 16 << 10
	// bodyAtOnce bounds the room that is made so. Where larger ones are allowed, it
	// grows with what comes.
	bodyAtOnce = 64 << 20
)

// readBody reads a body of up to limit bytes into memory, once: beyond the first
// bytes nothing is copied if its length was announced. A negative limit is none.
func readBody(w http.ResponseWriter, r *http.Request, limit int64, within time.Duration) ([]byte, *refusal) {
	if limit >= 0 && r.ContentLength > limit {
		return nil, tooLarge()
	}
	control := http.NewResponseController(w)
	// Without deadlines (HTTP/3) the server's own timeouts remain.
	limited := control.SetReadDeadline(time.Now().Add(within)) == nil
	text, err := readAll(r.Body, r.ContentLength, limit)
	if limited {
		_ = control.SetReadDeadline(time.Time{})
	}
	if err == nil {
		return text, nil
	}
	no := malformed(http.StatusBadRequest, nil, mcp.CodeParseError, "the body ended early, or came too slowly", err)
	if _, over := errors.AsType[*http.MaxBytesError](err); over || errors.Is(err, errTooLarge) {
		no = tooLarge()
	}
	no.spent = true
	return nil, no
}

var errTooLarge = errors.New("max_message exceeded")

func readAll(body io.Reader, length, limit int64) ([]byte, error) {
	if length > bodyAtOnce {
		text, err := io.ReadAll(io.LimitReader(body, length))
		if err == nil && int64(len(text)) < length {
			err = io.ErrUnexpectedEOF
		}
		return text, err
	}
	if length < 0 {
		if limit >= 0 {
			body = io.LimitReader(body, limit+1)
		}
		text, err := io.ReadAll(body)
		if err == nil && limit >= 0 && int64(len(text)) > limit {
			err = errTooLarge
		}
		return text, err
	}
	text := make([]byte, min(length, bodyFirst))
	n, err := io.ReadFull(body, text)
	if err != nil {
		return nil, err
	}
	if length > bodyFirst {
		all := make([]byte, length)
		copy(all, text)
		if _, err = io.ReadFull(body, all[n:]); err != nil {
			return nil, err
		}
		text = all
	}
	return text, nil
}

func tooLarge() *refusal {
	return &refusal{
		status: http.StatusRequestEntityTooLarge, code: oauth.CodeInvalidRequest, outcome: oauth.OutcomeMalformed,
		body: mcp.ErrorResponse(nil, mcp.CodeInvalidRequest, "the message is longer than the server's operator allows", nil), cause: errTooLarge,
	}
}

// textBody is a body that was read, for whoever reads it next.
type textBody struct{ bytes.Reader }

// Close implements io.Closer.
func (*textBody) Close() error { return nil }
