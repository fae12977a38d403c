package prune

import (
	"errors"
	"testing"

	hosts "github.com/kstep/kstep/internal/host"
)

func TestVanished_IsOnlyAFileThatWentAway(t *testing.T) {
	t.Parallel()
	gone := "find: '/root/.kstep/shop/.ledger.json.kstep-abc.tmp': No such file or directory\n"
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"no error":              {nil, false},
		"another error":         {errors.New("No such file or directory"), false},
		"a file":                {&hosts.CommandError{Program: "find", Status: 1, Stderr: gone}, true},
		"two files":             {&hosts.CommandError{Program: "find", Status: 1, Stderr: gone + gone}, true},
		"a file, and no access": {&hosts.CommandError{Program: "find", Status: 1, Stderr: gone + "find: '/x': Permission denied\n"}, false},
		"no reason":             {&hosts.CommandError{Program: "find", Status: 1}, false},
		"another status":        {&hosts.CommandError{Program: "find", Status: 127, Stderr: "sh: find: No such file or directory\n"}, false},
	} {
		if got := vanished(c.err); got != c.want {
			t.Errorf("%s: got %t, want %t", name, got, c.want)
		}
	}
}
