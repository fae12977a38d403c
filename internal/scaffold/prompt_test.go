package scaffold

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

func TestPrompt_TakesAnswersAndSkipsWhatAFlagAnswers(t *testing.T) {
	dir := project(t, applications()["static"])
	o := Options{Path: filepath.Join(dir, "kstep.yml"), Service: "site"}
	var out bytes.Buffer
	if err := Prompt(t.Context(), &o, strings.NewReader("a, deploy@b\n\ny\n"), &out); err != nil {
		t.Fatal(err)
	}
	want := Options{Path: o.Path, Service: "site", Hosts: []string{"a", "deploy@b"}, Dockerfile: true}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("got %+v, want %+v", o, want)
	}
	if text := out.String(); strings.Contains(text, "Name of") || !strings.Contains(text, "static site, recognised by index.html") {
		t.Errorf("got %s", text)
	}
}

func TestPrompt_EndsWithTheInputTheContextOrAFileThatExists(t *testing.T) {
	dir := project(t, nil)
	o := Options{Path: filepath.Join(dir, "kstep.yml")}
	if err := Prompt(t.Context(), &o, strings.NewReader("a\n"), io.Discard); exit.CodeOf(err) != exit.Usage {
		t.Errorf("got %v, want code 64", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in, _ := io.Pipe()
	if err := Prompt(t.Context(), &Options{Path: filepath.Join(project(t, map[string]string{"kstep.yml": ""}), "kstep.yml")}, in, io.Discard); exit.CodeOf(err) != exit.Config {
		t.Errorf("got %v, want a refusal before the first question", err)
	}
	o.Hosts = nil
	if err := Prompt(ctx, &o, in, io.Discard); err == nil {
		t.Error("got no error from a context that ended")
	}
}
