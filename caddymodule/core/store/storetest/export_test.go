package storetest

import "time"

// SetPatience makes the suite wait less, for stores that never do what is
// waited for.
func SetPatience(d time.Duration) { patience = d }
