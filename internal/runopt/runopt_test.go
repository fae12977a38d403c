package runopt

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestOptions_AnswerForEveryOptionOfDockerRun walks the options that `docker
// run --help` of Docker 28.2 lists, made by
//
//	DOCKER_API_VERSION=1.50 docker run --help | grep -oE '^ +(-., )?--[a-z0-9-]+' | sed 's/.*--//' | sort
//
// which belong to a role, or are refused with a reason.
func TestOptions_AnswerForEveryOptionOfDockerRun(t *testing.T) {
	list, err := os.ReadFile("testdata/docker-run.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for field := range reflect.TypeFor[Options]().Fields() {
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		known[key] = true
	}
	refused := Elsewhere()
	listed := map[string]bool{}
	for flag := range strings.FieldsSeq(string(list)) {
		listed[flag] = true
		if known[flag] == (refused[flag] != "") {
			t.Errorf("--%s: option of a role: %t, reason why not: %q; want one of them", flag, known[flag], refused[flag])
		}
	}
	if len(listed) < 100 {
		t.Errorf("got %d options in the list, want all of docker run", len(listed))
	}
	for key := range known {
		if !listed[key] {
			t.Errorf("%s is no option of docker run", key)
		}
	}
}
