package fetch

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pquerna/cachecontrol/cacheobject"
)

// lifetime says how long an answer is fresh by its own word (RFC 9111 §4.2,
// without heuristics): ok is false where it says nothing, and the time is zero
// where it must not be kept.
func lifetime(h http.Header, now time.Time) (fresh time.Duration, ok bool) {
	control, err := cacheobject.ParseResponseCacheControl(strings.Join(h.Values("Cache-Control"), ","))
	if err != nil {
		return 0, true // §4.2.1: what can't be read is stale
	}
	switch {
	case control.NoStore, control.NoCachePresent:
		return 0, true
	case control.SMaxAge >= 0: // one cache for all users is a shared one
		fresh, ok = time.Duration(control.SMaxAge)*time.Second, true
	case control.MaxAge >= 0:
		fresh, ok = time.Duration(control.MaxAge)*time.Second, true
	case h.Get("Expires") != "":
		// §5.3: a date that can't be read is one in the past.
		expires, _ := http.ParseTime(h.Get("Expires"))
		date, err := http.ParseTime(h.Get("Date"))
		if err != nil {
			date = now
		}
		fresh, ok = max(expires.Sub(date), 0), true
	}
	if age, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil && ok {
		fresh = max(fresh-time.Duration(age)*time.Second, 0)
	}
	return fresh, ok
}
