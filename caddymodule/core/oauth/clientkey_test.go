package oauth

import (
	"strings"
	"testing"
)

// TestClientKey: the key is in every store, so it never changes, and fits.
func TestClientKey(t *testing.T) {
	for id, want := range map[string]string{
		"":  "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
		"a": "ypeBEsobvcr6wjGzmiPcTaeG7_gUfE5yuYB3ha_uSLs",
	} {
		if got := ClientKey(id); got != want {
			t.Errorf("%q: %s", id, got)
		}
	}
	long := strings.Repeat("x", 16<<10)
	if len(ClientKey(long)) != 43 || ClientKey(long) == ClientKey(long+"x") || ClientKey("a") == ClientKey("A") {
		t.Error("keys are not apart")
	}
}
