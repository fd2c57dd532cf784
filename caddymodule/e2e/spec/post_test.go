package spec_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// post sends a request from any goroutine: it reports failures instead of
// ending the test.
func post(target, contentType, body string) (status int, text string, err error) {
	resp, err := http.Post(target, contentType, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(read), err
}

// inParallel sends the same form n times at once and returns the answers.
func inParallel(t *testing.T, target string, form url.Values, n int) []gatewaytest.Reply {
	t.Helper()
	replies := make([]gatewaytest.Reply, n)
	errs := make([]error, n)
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			<-start
			replies[i].Status, replies[i].Body, errs[i] = post(target, "application/x-www-form-urlencoded", form.Encode())
		})
	}
	close(start)
	group.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return replies
}
