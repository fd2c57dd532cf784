package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// verify returns the claims of an assertion that the gateway made for this
// server. go-oidc keeps the keys, and fetches them again for one that is new.
func verify(ctx context.Context, gateway *oidc.IDTokenVerifier, assertion string) (*oidc.IDToken, error) {
	// Access tokens are signed by the same issuer, for the same audience.
	var header struct {
		Type string `json:"typ"`
	}
	first, _, _ := strings.Cut(assertion, ".")
	text, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil || json.Unmarshal(text, &header) != nil || header.Type != "mcp-assertion+jwt" {
		return nil, errors.New("it is no assertion")
	}
	return gateway.Verify(ctx, assertion) // signature, alg, iss, aud, exp
}

func main() {
	issuer := os.Getenv("ISSUER")
	keys := oidc.NewRemoteKeySet(context.Background(), cmp.Or(os.Getenv("JWKS"), issuer+"/oauth/jwks.json"))
	gateway := oidc.NewVerifier(issuer, keys, &oidc.Config{
		ClientID: os.Getenv("AUDIENCE"), SupportedSigningAlgs: []string{oidc.ES256},
	})
	server := &http.Server{
		Addr: "127.0.0.1:" + cmp.Or(os.Getenv("PORT"), "9000"), ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token, err := verify(r.Context(), gateway, r.Header.Get("X-Mcp-Assertion"))
			if err != nil {
				log.Print("refused: ", err)
				http.Error(w, "only the gateway may call", http.StatusUnauthorized)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]string{"user": token.Subject})
		}),
	}
	log.Fatal(server.ListenAndServe())
}
