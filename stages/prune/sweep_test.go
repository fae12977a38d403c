package prune

import (
	"errors"
	"slices"
	"strings"
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

func TestTemporary_TakesOnlyPathsThatKstepCanHaveMade(t *testing.T) {
	t.Parallel()
	dirs := []string{"/root/.kstep/shop", "/root/.kstep/proxy"}
	name := ".ledger.json.kstep-abcdefghij.tmp"
	good := []string{dirs[0] + "/" + name, dirs[0] + "/env/" + name, dirs[1] + "/routes/" + name}
	for _, bad := range []string{
		"", "/", name, "/" + name, "/etc/" + name, "/root/.kstep/" + name, "/root/.kstep/shop-other/" + name,
		dirs[0], dirs[0] + "/ledger.json", dirs[0] + "/" + name + "/x", dirs[0] + "/../" + name, dirs[0] + "/env/../../../" + name,
		dirs[0] + "//" + name, dirs[0] + "/./" + name, dirs[0] + "/a\n/etc/" + name, dirs[0] + "/\x1b[2K" + name, dirs[0] + "/\xff/" + name,
		"\n" + dirs[0] + "/" + name,
	} {
		found := temporary(strings.Join([]string{good[0], bad, good[1], good[2], ""}, "\x00"), dirs)
		var got []string
		for _, f := range found {
			got = append(got, f.String())
		}
		if !slices.Equal(got, good) {
			t.Errorf("with %q: got %q", bad, got)
		}
	}
}
