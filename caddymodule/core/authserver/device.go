package authserver

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// A device is a browser in which somebody has signed in before. Who guesses a
// person's password elsewhere can't have its cookie, so their failures need not
// count against the person (OWASP: device cookies). It signs nobody in.

// deviceLifetime is how long a device is remembered after its last sign-in.
const deviceLifetime = 365 * 24 * time.Hour

// device is the text inside the cookie.
type device struct {
	ID      string `json:"i"`
	Login   string `json:"l"`
	Subject string `json:"u"` // as the method knows it
}

// knownDevice adds to a request what the browser's cookie says.
func (s *Server) knownDevice(r *http.Request, m method, lr *login.Request) {
	var d device
	text, err := s.sealer().Open(keys.PurposeDevice, s.cookie(r, cookieDevice), s.now())
	if err == nil && json.Unmarshal(text, &d) == nil && d.Login == m.info.ID {
		lr.Device, lr.DeviceSubject = d.ID, d.Subject
	}
}

// rememberDevice notes that somebody has signed in with the browser, for
// methods with a form: at a provider, guessing is the provider's business.
func (s *Server) rememberDevice(w http.ResponseWriter, m method, subject string) error {
	if len(m.info.Fields) == 0 {
		return nil
	}
	text, err := json.Marshal(device{rand.Text(), m.info.ID, subject})
	if err != nil {
		return fmt.Errorf("encoding a device: %w", err)
	}
	sealed, err := s.sealer().Seal(keys.PurposeDevice, text, s.now().Add(deviceLifetime))
	if err != nil {
		return fmt.Errorf("sealing a device: %w", err)
	}
	return s.setCookie(w, cookieDevice, sealed, deviceLifetime)
}
