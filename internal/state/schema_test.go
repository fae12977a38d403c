package state_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/schema"
)

// validate is the validator that the program uses.
func validate(data []byte) error {
	doc, err := schema.Decode(data)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range schema.ValidateState(doc) {
		errs = append(errs, errors.New(p.Pointer()+": "+p.Message))
	}
	return errors.Join(errs...)
}

func TestWrite_AgreesWithTheCheckedInSchema(t *testing.T) {
	d, err := state.Open(t.TempDir(), state.Options{Validate: validate})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	outputs, _ := json.Marshal(state.PushOutputs{Repository: "r/shop", Digest: "sha256:" + strings.Repeat("a", 64), Tags: []string{"abc"},
		Image: state.Image{ConfigDigest: "sha256:" + strings.Repeat("b", 64), DiffIDs: []string{"sha256:" + strings.Repeat("c", 64)}, Platform: "linux/amd64"}})
	f := &state.File{
		Release: state.NewRelease(now), Service: "shop", Version: "abc", Stage: "push", Status: state.OK,
		Tool: state.Tool{Name: "kstep", Version: "0.1.0"}, Config: "sha256:" + strings.Repeat("d", 64),
		Started: now, Finished: now, Outputs: outputs,
		Targets: []state.Target{{Host: "vm1", Role: "web", Status: state.Failed, Started: now, Finished: now, Error: &state.Error{Class: "failed", Message: "x"}}},
	}
	for range 2 { // The second run has supersedes.
		if _, err := d.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := d.Read("push", state.Expect{Service: "shop"}); err != nil {
		t.Error(err)
	}
	data, _ := os.ReadFile(d.File("push", ""))
	broken := strings.Replace(string(data), `"status": "ok"`, `"status": "fine"`, 1)
	if err := os.WriteFile(d.File("push", ""), []byte(broken), 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, err = d.Read("push", state.Expect{Service: "shop"})
	if exit.CodeOf(err) != exit.BadState || !strings.Contains(err.Error(), "/status") {
		t.Errorf("got %v, want the schema's word with its pointer", err)
	}
}
