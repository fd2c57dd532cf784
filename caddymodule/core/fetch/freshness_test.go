package fetch

import (
	"net/http"
	"testing"
	"time"
)

// FuzzLifetime: whatever a host says of freshness, it is no time before now,
// and nothing breaks.
func FuzzLifetime(f *testing.F) {
	f.Add("max-age=60, no-cache=\"x\"", "Thu, 01 Jan 2026 00:10:00 GMT", "Thu, 01 Jan 2026 00:00:00 GMT", "5")
	f.Add("s-maxage=99999999999", "0", "", "-1")
	f.Add("=,;\"", "", "x", "99999999999999999999")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, control, expires, date, age string) {
		h := http.Header{}
		for name, value := range map[string]string{"Cache-Control": control, "Expires": expires, "Date": date, "Age": age} {
			if value != "" {
				h.Set(name, value)
			}
		}
		if fresh, ok := lifetime(h, now); fresh < 0 || fresh > 0 && !ok {
			t.Errorf("%v: %s, %t", h, fresh, ok)
		}
	})
}
