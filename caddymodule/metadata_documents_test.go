package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
)

// A proxy that is none fails when the configuration is loaded, and the error does
// not repeat it: it may hold a password.
func TestClientMetadataProxy(t *testing.T) {
	for _, bad := range []string{"proxy.internal:3128", "socks5://u:secret@proxy.internal", "http://", "http://u:secret@pro xy", "/secret"} {
		if _, err := (&ClientMetadataConfig{Proxy: bad}).provision(); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, good := range []string{"", "http://proxy.internal:3128", "https://u:secret@proxy.internal"} {
		f, err := (&ClientMetadataConfig{Proxy: good}).provision()
		if err != nil {
			t.Errorf("%q: %v", good, err)
			continue
		}
		f.close()
	}
}

// Keys that strangers name are fetched beside the documents and not before them:
// while the hosts of many keys take their time, a document is asked for at once.
func TestClientKeysKeepNoDocumentAway(t *testing.T) {
	release, waiting := make(chan struct{}), make(chan struct{}, 16)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Host, "keys.") {
			waiting <- struct{}{}
			<-release
		}
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer proxy.Close()
	f, err := (&ClientMetadataConfig{Proxy: proxy.URL}).provision()
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	var group sync.WaitGroup
	defer group.Wait()
	defer close(release)
	for i := range cap(waiting) { // two for each site
		group.Go(func() {
			_, _ = f.clientKeys.Keys(context.Background(), fmt.Sprintf("https://keys.site%d.example/%d", i/2, i), "1", "ES256")
		})
	}
	for range cap(waiting) {
		<-waiting
	}
	if _, err := f.client.Get(t.Context(), "https://client.example/document.json", fetch.Request{}); err == nil || errors.Is(err, fetch.ErrBusy) {
		t.Errorf("a document while all places for keys are taken: %v", err)
	}
}
