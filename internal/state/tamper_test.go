package state

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

func TestReadSet_AcceptsNoFlippedByteAnywhereInAChain(t *testing.T) {
	d := open(t, Options{})
	chain(t, d)
	stages := []string{"build", "push", "assets", "env-push", "boot"}
	if _, err := d.ReadSet(stages, shop); err != nil {
		t.Fatal(err)
	}
	for _, stage := range stages {
		path := d.File(stage, "")
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range good {
			mask := []byte{0x01, 0x20, 0xff}[i%3]
			evil := bytes.Clone(good)
			evil[i] ^= mask
			if err := os.WriteFile(path, evil, 0o644); err != nil {
				t.Fatal(err)
			}
			// As its reader sees it, and as the end of the chain does.
			for _, asked := range []string{stage, "boot"} {
				if _, err := d.ReadSet([]string{asked}, shop); exit.CodeOf(err) != exit.BadState {
					t.Fatalf("%s: byte %d ^ %#x (%q): %s: got %v, want exit %d", stage, i, mask, good[i], asked, err, exit.BadState)
				}
			}
		}
		if err := os.WriteFile(path, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadSet_AcceptsNoShorterFile(t *testing.T) {
	d := open(t, Options{})
	write(t, d, file("push"))
	good, _ := os.ReadFile(d.File("push", ""))
	for n := 0; n < len(good); n += 7 {
		if err := os.WriteFile(d.File("push", ""), good[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := d.ReadSet([]string{"push"}, shop); exit.CodeOf(err) != exit.BadState {
			t.Fatalf("first %d bytes: got %v, want exit %d", n, err, exit.BadState)
		}
	}
}

func FuzzReadSet(f *testing.F) {
	dir := f.TempDir()
	d, err := Open(dir, Options{})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := d.Write(file("push")); err != nil {
		f.Fatal(err)
	}
	good, _ := os.ReadFile(d.File("push", ""))
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte(`{"apiVersion":"kstep/v2","kind":"StageState"}`))
	f.Add([]byte(`{"apiVersion":"kstep/v1","targets":[{}],"inputs":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(d.File("push", ""), data, 0o644); err != nil {
			t.Fatal(err)
		}
		set, err := d.ReadSet([]string{"push"}, Expect{})
		switch {
		case err == nil && (set.File("push") == nil || !intact(data)):
			t.Errorf("accepted %q", data)
		case err != nil && exit.CodeOf(err) != exit.BadState:
			t.Errorf("got exit %d (%v), want %d", exit.CodeOf(err), err, exit.BadState)
		}
		d.Inspect()
	})
}

func TestVerify_WalksTheWholeChain(t *testing.T) {
	d := open(t, Options{})
	var out strings.Builder
	if err := d.Verify(&out, shop); exit.CodeOf(err) != exit.MissingState {
		t.Errorf("empty folder: got %v, want exit %d", err, exit.MissingState)
	}
	chain(t, d)
	if err := d.Verify(&out, shop); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), " ok\n"); got != 5 {
		t.Errorf("got %d ok lines, want 5:\n%s", got, out.String())
	}
	data, _ := os.ReadFile(d.File("build", ""))
	if err := os.WriteFile(d.File("build", ""), append(data, ' '), 0o644); err != nil {
		t.Fatal(err)
	}
	err := d.Verify(&out, shop)
	wantError(t, err, exit.BadState, "build.json was changed", "push.json was made from another")
}

func TestShow_PrintsALineForEachStageAndFailure(t *testing.T) {
	d := open(t, Options{})
	chain(t, d)
	write(t, d, file("boot", func(f *File) {
		f.Status = Partial
		f.Targets = []Target{target("vm2", Failed), target("vm1", OK)}
		f.Targets[0].Error = &Error{Class: "failed", Message: "container exited with status 1"}
	}))
	var text, machine strings.Builder
	if err := Show(&text, d.Inspect()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"STAGE", "env-push", "partial", "1 of 2", "boot: web@vm2: failed: container exited with status 1"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("got\n%s\nwant it to contain %q", text.String(), want)
		}
	}
	if err := ShowJSON(&machine, d.Inspect()); err != nil || !strings.Contains(machine.String(), `"name":"boot.json"`) {
		t.Errorf("json: %v\n%s", err, machine.String())
	}
}
