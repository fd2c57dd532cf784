package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// Headers of cross-origin calls, as browser clients of every MCP revision need
// them.
const (
	allowedHeaders = "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id, Last-Event-ID, DPoP"
	exposedHeaders = "WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version, Retry-After"
	allowedMethods = "GET, POST, DELETE, OPTIONS"
)

// withMeta gives the core the request id and address that Caddy determined.
func withMeta(r *http.Request) *http.Request {
	return r.WithContext(oauth.WithMeta(r.Context(), metaOf(r.Context())))
}

// metaOf finds them. The id is made when it is asked for first, and is in the
// access log from then on.
func metaOf(ctx context.Context) oauth.Meta {
	m := oauth.Meta{RemoteIP: remoteIP(ctx)}
	if repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		m.RequestID, _ = repl.GetString("http.request.uuid")
	}
	return m
}

// lateMetaOf is metaOf for a call that the next handlers have, or had: the proxy's
// goroutines may read the request's variables then, so that none may be set. An id
// that nobody has made so far is in the access log all the same.
func lateMetaOf(ctx context.Context) oauth.Meta {
	m := oauth.Meta{RemoteIP: remoteIP(ctx)}
	if id, ok := caddyhttp.GetVar(ctx, "uuid").(fmt.Stringer); ok {
		m.RequestID = id.String()
		return m
	}
	m.RequestID = uuid.NewString()
	if extra, ok := ctx.Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Set(zap.String("uuid", m.RequestID))
	}
	return m
}

func remoteIP(ctx context.Context) string {
	ip, _ := caddyhttp.GetVar(ctx, caddyhttp.ClientIPVarKey).(string)
	return ip
}

// earlyData reports whether a request with effects came in TLS early data,
// which can be replayed (RFC 8470 §5.2).
func earlyData(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return r.Header.Get("Early-Data") == "1" || r.TLS != nil && !r.TLS.HandshakeComplete
}

// sameHost reports whether a Host header means the host of an origin. The three
// names of this machine are one, on the same port.
func sameHost(origin, host string) bool {
	scheme, want, _ := strings.Cut(origin, "://")
	canonical, err := oauth.CanonicalResource(scheme + "://" + host)
	if err != nil {
		return false
	}
	got := strings.TrimPrefix(canonical, scheme+"://")
	return got == want || oauth.IsLoopbackHost(got) && oauth.IsLoopbackHost(want) && portOf(got) == portOf(want)
}

func portOf(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		return host[i:]
	}
	return ""
}

// serveAuth answers an endpoint of the authorization server. Its requests and
// redirects carry codes and credentials in URLs, which the access log would
// show; the observer writes a line for each step instead.
func serveAuth(s *authserver.Server, w http.ResponseWriter, r *http.Request) {
	if r.URL.RawQuery != "" || s.Redirects(r.URL.Path) {
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	}
	s.ServeHTTP(w, r)
}

func (h *Handler) serveMetadata(w http.ResponseWriter, r *http.Request, path string) {
	hdr := w.Header()
	hdr.Set("Access-Control-Allow-Origin", "*")
	hdr.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
	hdr.Set("Access-Control-Allow-Headers", allowedHeaders)
	hdr.Set("Access-Control-Max-Age", "3600")
	hdr.Set("X-Content-Type-Options", "nosniff")
	doc, ok := h.back.resources.metadata(h.origin, path)
	switch {
	case !ok:
		writeJSONError(w, http.StatusNotFound, "not_found", "no protected resource has its metadata here")
	case r.Method == http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		hdr.Set("Allow", "GET, HEAD, OPTIONS")
		writeJSONError(w, http.StatusMethodNotAllowed, oauth.CodeInvalidRequest, "this document can only be read")
	default:
		body, err := json.Marshal(doc)
		if err != nil {
			writeJSONError(w, http.StatusInternalServerError, oauth.CodeServerError, "")
			return
		}
		hdr.Set("Content-Type", "application/json")
		hdr.Set("Cache-Control", "public, max-age=300")
		_, _ = w.Write(body) // the client is gone if this fails
	}
}

func preflight(w http.ResponseWriter, r *http.Request, origin string) {
	allowOrigin(w.Header(), origin)
	w.Header().Set("Access-Control-Allow-Methods", allowedMethods)
	w.Header().Set("Access-Control-Allow-Headers", allowedHeaders+requestedParams(r))
	w.Header().Set("Access-Control-Max-Age", "3600")
	w.WriteHeader(http.StatusNoContent)
}

// requestedParams lists the Mcp-Param-* headers that a preflight asks for: MCP
// servers make their names up (2026-07-28), so there is no list of them.
func requestedParams(r *http.Request) string {
	var b strings.Builder
	for name := range strings.SplitSeq(r.Header.Get("Access-Control-Request-Headers"), ",") {
		name = strings.TrimSpace(name)
		if len(name) < 64 && strings.HasPrefix(strings.ToLower(name), "mcp-param-") && plainHeaderName(name) {
			b.WriteString(", " + name)
		}
	}
	return b.String()
}

// allowOrigin lets scripts of one origin read the answer. No credentials: the
// token is in a header that the script sets itself.
func allowOrigin(h http.Header, origin string) {
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", exposedHeaders)
	h.Add("Vary", "Origin")
}

func writeJSONError(w http.ResponseWriter, status int, code, description string) {
	writeError(w, status, jsonError(code, description), new(resource.Values))
}

// writeError writes the body of an error. The values of its headers need room.
func writeError(w http.ResponseWriter, status int, body []byte, room *resource.Values) {
	h := w.Header()
	room[0], room[1], room[2] = "application/json", "no-store", "nosniff"
	h["Content-Type"], h["Cache-Control"], h["X-Content-Type-Options"] = room[0:1:1], room[1:2:2], room[2:3:3]
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // JSON that no browser takes for a page; the client is gone if this fails
}

func jsonError(code, description string) []byte {
	body, err := json.Marshal(struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{code, description})
	if err != nil {
		return []byte(`{"error":"server_error"}`)
	}
	return body
}

// setPlaceholders sets the same placeholders as Caddy's own authentication, so
// that access logs and other directives know the user. What a handler before us
// has set goes: it would be found first, and be another user's.
func setPlaceholders(ctx context.Context, t *resource.Token) {
	if repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.DeleteByPrefix(userPlaceholder)
		repl.Map(seenOf(t).placeholder)
	}
}

// limitedBody turns a body that is too long into the status for it.
type limitedBody struct{ io.ReadCloser }

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if _, tooLong := errors.AsType[*http.MaxBytesError](err); tooLong {
		err = caddyhttp.Error(http.StatusRequestEntityTooLarge, err)
	}
	return n, err
}

var misdirected = &resource.Denial{
	Status: http.StatusMisdirectedRequest, Code: oauth.CodeInvalidTarget,
	Description: "this site has no resource of its own: its operator has to name it with the resource option of mcp_auth",
	Cause:       errors.New("mcp_auth without the resource option on another host than the issuer's"),
}

// tooEarly refuses what can be replayed (RFC 8470 §5.2).
var tooEarly = &resource.Denial{
	Status: http.StatusTooEarly, Code: oauth.CodeInvalidRequest,
	Description: "this request can be replayed, send it again after the handshake", Cause: errors.New("TLS early data"),
}
