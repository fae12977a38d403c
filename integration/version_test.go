//go:build integration

package integration

import (
	"regexp"
	"strings"
	"testing"
)

func TestVersion_OfUncommittedChangesIsThatOfTheirContentInEveryJob(t *testing.T) {
	t.Parallel()
	s := settings{extra: "builder: {context: .}\n"}
	w := beginWith(t, s.hooked("v1", "post-deploy"))
	if err := w.app.Write(s.hooked("changed", "post-deploy")); err != nil {
		t.Fatal(err)
	}
	w.stagewise() // Each job finds out by itself, or reads what the first one found.
	w.serves("changed")
	name := w.live("vm1").Name
	if !regexp.MustCompile("shop-web-" + w.head() + "_uncommitted_[0-9a-f]{16}$").MatchString(name) {
		t.Errorf("the container is called %s", name)
	}
	_, version, _ := strings.Cut(name, "shop-web-")
	w.noteds(".*: shop@" + version + " on .*")
	w.must("build")
	if got := w.state("build"); got["version"] != version || got["status"] != "unchanged" {
		t.Errorf("another job finds version %v (%v), want %s, unchanged", got["version"], got["status"], version)
	}
	// One blank more is another version.
	w.write("root/app/public/assets/blank.txt", " ")
	w.must("build")
	if got := w.state("build")["version"]; got == version || !strings.Contains(got.(string), "_uncommitted_") {
		t.Errorf("after a change the version is %v", got)
	}
}
