package short

import (
	"strings"
	"testing"
)

func TestOf_ShortensOnlyCommitsIDsAndDigests(t *testing.T) {
	t.Parallel()
	commit, digest := strings.Repeat("0123456789", 4), strings.Repeat("abcdef01", 8)
	for text, want := range map[string]string{
		"":                             "",
		"v1":                           "v1",
		"v1.10.12":                     "v1.10.12",
		"hostdown":                     "hostdown",
		"2026-08-23-release-candidate": "2026-08-23-release-candidate",
		"0123456789abcdef":             "0123456789abcdef", // Some version, as long as it is.
		commit:                         "0123456",
		strings.ToUpper("a" + commit):  strings.ToUpper("a" + commit),
		commit + "_uncommitted_0123":   commit + "_uncommitted_0123",
		digest:                         "abcdef01abcd",
		"sha256:" + digest:             "sha256:abcdef01abcd",
		"my-database-volume":           "my-database-volume",
	} {
		if got := Of(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestIn_LeavesSuffixesAlone(t *testing.T) {
	t.Parallel()
	commit, digest := strings.Repeat("0123456789", 4), strings.Repeat("abcdef01", 8)
	for text, want := range map[string]string{
		"create shop-web-" + commit + " from shop@sha256:" + digest: "create shop-web-0123456 from shop@sha256:abcdef01abcd",
		"create shop-web-v1.10.12":                                  "create shop-web-v1.10.12",
		"stop shop-web-" + commit + "_uncommitted_0123":             "stop shop-web-" + commit + "_uncommitted_0123",
		"rename shop-web-" + commit + "_replaced_abcdef01abcd":      "rename shop-web-0123456_replaced_abcdef01abcd",
	} {
		if got := In(text); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
