package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// This file is an OAuth client and an MCP client, as requests ready to be sent.

const (
	callBody = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hello","arguments":{"name":"world"}}}`
	metadata = `{"client_name":"bench","redirect_uris":["http://127.0.0.1/callback"]}`
	redirect = "http://127.0.0.1/callback"
	verifier = "verifier-0123456789.verifier-0123456789.verifier"
)

// post returns a POST request.
func post(host, path, mediaType, header, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s",
		path, host, mediaType, header, len(body), body)
}

// call returns a tool call with a token, or without one.
func call(host, token string) []byte {
	header := "Accept: application/json, text/event-stream\r\nMcp-Protocol-Version: 2025-06-18\r\n"
	if token != "" {
		header += "Authorization: Bearer " + token + "\r\n"
	}
	return post(host, "/mcp", "application/json", header, callBody)
}

// devToken asks for an access token of the development mode.
func devToken(c *conn, issuer, resource string) (string, error) {
	q := url.Values{"resource": {"http://" + resource + "/mcp"}}
	var got struct {
		Token string `json:"access_token"`
	}
	err := c.json(http.StatusOK, fmt.Appendf(nil, "GET /dev/token?%s HTTP/1.1\r\nHost: %s\r\n\r\n", q.Encode(), issuer), &got)
	return got.Token, err
}

// json sends a request whose answer must have a status, and decodes the answer.
func (c *conn) json(status int, request []byte, into any) error {
	r, err := c.expect(status, request)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(r.body, into); err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	return nil
}

// session is a registered client with a refresh token.
type session struct {
	client string
	Access string `json:"access_token"`
	Token  string `json:"refresh_token"`
}

func register(c *conn, host string) (string, error) {
	var got struct {
		ID string `json:"client_id"`
	}
	err := c.json(http.StatusCreated, post(host, "/oauth/register", "application/json", "", metadata), &got)
	return got.ID, err
}

// signIn is the whole way of a new client: registration, authorization, code.
func signIn(c *conn, host string) (*session, error) {
	id, err := register(c, host)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"response_type": {"code"}, "client_id": {id}, "redirect_uri": {redirect}, "state": {"s"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}, "resource": {"http://" + host + "/mcp"},
	}
	r, err := c.do(fmt.Appendf(nil, "GET /oauth/authorize?%s HTTP/1.1\r\nHost: %s\r\n\r\n", q.Encode(), host))
	if err != nil {
		return nil, err
	}
	at, err := url.Parse(r.header.Get("Location"))
	if err != nil || at.Query().Get("code") == "" {
		return nil, errors.Join(err, fmt.Errorf("authorization gave no code: %d %.300s", r.code, r.body))
	}
	s := &session{client: id}
	return s, s.ask(c, host, url.Values{
		"grant_type": {"authorization_code"}, "code": {at.Query().Get("code")}, "redirect_uri": {redirect}, "code_verifier": {verifier},
	})
}

// refresh redeems the session's refresh token for the next one.
func (s *session) refresh(c *conn, host string) error {
	return s.ask(c, host, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.Token}})
}

func (s *session) ask(c *conn, host string, form url.Values) error {
	form.Set("client_id", s.client)
	return c.json(http.StatusOK, post(host, "/oauth/token", "application/x-www-form-urlencoded", "", form.Encode()), s)
}

// many does something n times over a few connections, and returns what came out.
func many[T any](addr string, n int, do func(c *conn) (T, error)) ([]T, error) {
	return shared(addr, make([]struct{}, n), func(c *conn, _ struct{}) (T, error) { return do(c) })
}

// shared does something for each of a list over a few connections, and returns
// what came out, in the same order.
func shared[In, Out any](addr string, list []In, do func(c *conn, in In) (Out, error)) ([]Out, error) {
	const conns = 16
	out := make([]Out, len(list))
	errs := make(chan error, conns)
	for w := range conns {
		go func() {
			c, err := dial(addr)
			if err != nil {
				errs <- err
				return
			}
			defer c.close()
			for i := w; i < len(list) && err == nil; i += conns {
				out[i], err = do(c, list[i])
			}
			errs <- err
		}()
	}
	var err error
	for range conns {
		err = errors.Join(err, <-errs)
	}
	return out, err
}
