package host

import (
	"slices"
	"strings"
	"testing"
)

func TestParseStatus_TakesTheIDsThatCountForFiles(t *testing.T) {
	t.Parallel()
	ids := func(user, groups string) string {
		return "Name:\tsftp-server\nUmask:\t0022\nUid:\t" + user + "\nGid:\t7\t7\t7\t8\nFDSize:\t64\nGroups:\t" + groups + "\nNStgid:\t1\n"
	}
	for name, c := range map[string]struct {
		text   string
		user   uint32
		groups []uint32
		bad    bool
	}{
		"a user of two groups":       {text: ids("1\t2\t3\t1000", "27 999 "), user: 1000, groups: []uint32{8, 27, 999}},
		"root without other groups":  {text: ids("0\t0\t0\t0", ""), groups: []uint32{8}},
		"a name that looks like IDs": {text: "Name:\tUid:\t5\t5\t5\t5\n" + ids("1\t1\t1\t1", "")[len("Name:\tsftp-server\n"):], user: 1, groups: []uint32{8}},
		"the largest ID":             {text: ids("4294967295\t0\t0\t4294967295", ""), user: 4294967295, groups: []uint32{8}},
		"no IDs":                     {text: "Name:\tx\n", bad: true},
		"an ID below zero":           {text: ids("1\t1\t1\t-1", ""), bad: true},
		"a word as a group":          {text: ids("1\t1\t1\t1", "wheel"), bad: true},
		"nothing":                    {bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			user, groups, ok := parseStatus(c.text)
			if ok == c.bad || user != c.user || !slices.Equal(groups, c.groups) {
				t.Errorf("got %d %v %v", user, groups, ok)
			}
		})
	}
	many := strings.TrimSpace(strings.Repeat("70000 ", 500))
	if _, groups, ok := parseStatus(ids("1\t1\t1\t1", many)); !ok || len(groups) != 501 {
		t.Errorf("got %d groups, want 501", len(groups))
	}
}
