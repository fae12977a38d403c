package main

import (
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

func TestConfigValidate_ListsVariablesOutsideOfEnvWithoutTheirValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if stdout, _ := w.exits(exit.OK, "config", "validate"); strings.Contains(stdout, "variables") {
		t.Errorf("without variables: got\n%s", stdout)
	}
	w.env["AWS_SECRET_ACCESS_KEY"], w.env["COLOUR"] = "not-to-be-shown", "green"
	w.configure("labels: {key: \"${AWS_SECRET_ACCESS_KEY}\"}\nenv: {clear: {COLOUR: \"${COLOUR}\"}}\n")
	stdout, stderr := w.exits(exit.OK, "config", "validate")
	if !strings.Contains(stdout, ": labels.key: AWS_SECRET_ACCESS_KEY\n") || strings.Contains(stdout, "COLOUR") || strings.Contains(stdout+stderr, "not-to-be-shown") {
		t.Errorf("got\n%s%s", stdout, stderr)
	}
}
