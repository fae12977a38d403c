package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
)

var t0 = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

// A release, an older and a newer one.
var (
	relOld = NewRelease(t0.Add(-time.Hour))
	relNow = NewRelease(t0)
	relNew = NewRelease(t0.Add(time.Hour))
)

func open(t *testing.T, opt Options) *Dir {
	t.Helper()
	dir, err := Open(filepath.Join(t.TempDir(), "kstep-state"), opt)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// file is a good file of a stage; edit changes it before it is written.
func file(stage string, edit ...func(*File)) *File {
	f := &File{
		Release: relNow, Service: "shop", Version: "abc1234", Stage: stage, Status: OK,
		Tool: Tool{Name: "kstep", Version: "0.1.0"}, Config: digest([]byte("config")),
		Started: t0, Finished: t0.Add(time.Second), Outputs: json.RawMessage(`{}`),
	}
	for _, e := range edit {
		e(f)
	}
	return f
}

func write(t *testing.T, d *Dir, f *File) string {
	t.Helper()
	sum, err := d.Write(f)
	if err != nil {
		t.Fatalf("write %s: %v", f.Stage, err)
	}
	return sum
}

// chain writes build, push, assets, env-push and boot, each made from those
// before it.
func chain(t *testing.T, d *Dir) {
	t.Helper()
	var inputs []Input
	for i, stage := range []string{"build", "push", "assets", "env-push", "boot"} {
		sum := write(t, d, file(stage, func(f *File) {
			f.Inputs = slices.Clone(inputs)
			f.Started, f.Finished = t0.Add(time.Duration(i)*time.Minute), t0.Add(time.Duration(i)*time.Minute+time.Second)
		}))
		inputs = append(inputs, Input{Stage: stage, Digest: sum})
	}
}

func wantError(t *testing.T, err error, code exit.Code, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("got no error")
	}
	if got := exit.CodeOf(err); got != code {
		t.Errorf("exit code: got %d, want %d (%v)", got, code, err)
	}
	text := err.Error() + "\n" + strings.Join(exit.Hints(err), "\n")
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("error: got %q, want it to contain %q", text, part)
		}
	}
	if len(exit.Hints(err)) == 0 {
		t.Errorf("error without a hint: %v", err)
	}
}

var shop = Expect{Service: "shop", Release: relNow}

func TestWrite_MakesAFileThatReadReturns(t *testing.T) {
	d := open(t, Options{})
	sum := write(t, d, file("push", func(f *File) { f.Outputs = json.RawMessage(`{"repository":"r/shop","digest":"sha256:1"}`) }))
	f, got, err := d.Read("push", shop)
	if err != nil {
		t.Fatal(err)
	}
	if got != sum || f.Version != "abc1234" || f.Kind != Kind {
		t.Errorf("got %+v with digest %s, want version abc1234 and digest %s", f, got, sum)
	}
	info, err := os.Stat(d.File("push", ""))
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode: got %v (%v), want 0644", info.Mode(), err)
	}
	set, err := d.ReadSet([]string{"push"}, shop)
	if err != nil {
		t.Fatal(err)
	}
	out, err := Outputs[PushOutputs](set, "push")
	if err != nil || out.Reference() != "r/shop@sha256:1" {
		t.Errorf("outputs: got %+v (%v)", out, err)
	}
	if names, _ := os.ReadDir(d.Path()); len(names) != 1 {
		t.Errorf("folder: got %v, want only the file", names)
	}
}

func TestRead_RefusesWhatIsNotAStateFileWithItsReason(t *testing.T) {
	for name, tc := range map[string]struct {
		content string
		want    string
	}{
		"an empty file":             {"", "is empty"},
		"zero bytes":                {strings.Repeat("\x00", 4096), "only zero bytes"},
		"a half downloaded file":    {`{"apiVersion": "kstep/v1", "kind": "Stage`, "cut off"},
		"text":                      {"hello\nworld", "is not JSON: line 1"},
		"a login page":              {"<!doctype html><html>", "web page"},
		"a zip":                     {"PK\x03\x04xxxx", "is an archive"},
		"a list":                    {`[1,2]`, "is not a JSON object"},
		"a Terraform state":         {`{"version":4,"terraform_version":"1.9","lineage":"x"}`, "looks like a Terraform state"},
		"Skaffold's output":         {`{"builds":[]}`, "looks like Skaffold"},
		"a Kubernetes object":       {`{"apiVersion":"v1","kind":"Pod","metadata":{}}`, "looks like a Kubernetes object"},
		"another object":            {`{"a":1}`, "is not a kstep state file"},
		"a strange format":          {`{"apiVersion":"kstep/banana"}`, "unknown format"},
		"a newer major":             {`{"apiVersion":"kstep/v2","tool":{"version":"3.1.0"}}`, "written by kstep 3.1.0 in the newer format kstep/v2"},
		"a newer major, no version": {`{"apiVersion":"kstep/v12"}`, "written by kstep a newer version"},
		"a wrong type":              {`{"apiVersion":"kstep/v1","kind":"StageState","targets":[{"host":3}]}`, "/targets/host"},
		"a missing field":           {`{"apiVersion":"kstep/v1","kind":"StageState"}`, "/service: is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, Options{})
			if err := d.Writable(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(d.File("push", ""), []byte(tc.content), 0o644); err != nil {
				t.Fatal(err)
			}
			_, _, err := d.Read("push", shop)
			wantError(t, err, exit.BadState, d.File("push", ""), tc.want)
			if _, err := d.Write(file("push")); exit.CodeOf(err) != exit.BadState {
				t.Errorf("write over it: got %v, want a refusal", err)
			}
		})
	}
}

func TestRead_RefusesWhatIsNotAPlainFile(t *testing.T) {
	for name, tc := range map[string]struct {
		make func(path string) error
		want string
	}{
		"a symbolic link": {func(p string) error { return os.Symlink("/etc/passwd", p) }, "symbolic link"},
		"a folder":        {func(p string) error { return os.Mkdir(p, 0o755) }, "is a folder"},
		"500 MB of zeros": {func(p string) error {
			f, err := os.Create(p)
			if err != nil {
				return err
			}
			return errors.Join(f.Truncate(500<<20), f.Close())
		}, "never has more"},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, Options{})
			if err := d.Writable(); err != nil {
				t.Fatal(err)
			}
			if err := tc.make(d.File("push", "")); err != nil {
				t.Fatal(err)
			}
			_, err := d.ReadSet([]string{"push"}, shop)
			wantError(t, err, exit.BadState, tc.want)
		})
	}
}

func hintsOf(err error) string { return strings.Join(exit.Hints(err), "\n") }

func TestReadSet_ChecksWhoAFileBelongsTo(t *testing.T) {
	for name, tc := range map[string]struct {
		edit func(*File)
		want string
	}{
		"another service":     {func(f *File) { f.Service = "blog" }, "belongs to blog, not to shop"},
		"another destination": {func(f *File) { f.Destination = "staging" }, "belongs to shop at staging, not to shop"},
		"an older release":    {func(f *File) { f.Release = relOld }, "older release " + relOld},
		"a newer release":     {func(f *File) { f.Release = relNew }, "newer release " + relNew},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, Options{})
			write(t, d, file("push", tc.edit))
			_, err := d.ReadSet([]string{"push"}, shop)
			wantError(t, err, exit.BadState, tc.want)
			// What belongs to production is never taken for staging's.
			if offered := strings.Contains(hintsOf(err), "--adopt"); offered != (name != "another destination") {
				t.Errorf("--adopt is offered: %t\n%s", offered, hintsOf(err))
			}
			adopting, _ := Open(d.Path(), Options{Adopt: true})
			if _, err := adopting.ReadSet([]string{"push"}, shop); err != nil {
				t.Errorf("with Adopt: %v", err)
			}
		})
	}
}

func TestReadSet_WithoutAReleaseWantsOneForAll(t *testing.T) {
	d := open(t, Options{})
	write(t, d, file("push"))
	write(t, d, file("env-push", func(f *File) { f.Release = relOld }))
	_, err := d.ReadSet([]string{"push", "env-push"}, Expect{Service: "shop"})
	wantError(t, err, exit.BadState, "env-push.json belongs to the older release", "run `kstep env-push`")
	write(t, d, file("env-push"))
	set, err := d.ReadSet([]string{"push", "env-push"}, Expect{Service: "shop"})
	if err != nil || set.Release() != relNow || set.Version() != "abc1234" {
		t.Errorf("got release %q, version %q (%v)", set.Release(), set.Version(), err)
	}
}

func TestReadSet_NamesBothFilesOfABrokenChain(t *testing.T) {
	d := open(t, Options{})
	chain(t, d)
	write(t, d, file("push", func(f *File) { f.Outputs = json.RawMessage(`{"digest":"another"}`) }))
	_, err := d.ReadSet([]string{"boot"}, shop)
	wantError(t, err, exit.BadState, "boot.json was made from another", d.File("push", ""), "run `kstep boot` again")
}

func TestReadSet_AcceptsARerunThatMeantTheSame(t *testing.T) {
	d := open(t, Options{})
	first := write(t, d, file("push", func(f *File) { f.Outputs = json.RawMessage(`{"digest":"d","uploaded":99}`) }))
	write(t, d, file("boot", func(f *File) { f.Inputs = []Input{{Stage: "push", Digest: first}} }))
	for range 3 {
		write(t, d, file("push", func(f *File) {
			f.Status, f.Outputs = Unchanged, json.RawMessage(`{"uploaded":0,"digest":"d"}`)
		}))
	}
	if _, err := d.ReadSet([]string{"boot"}, shop); err != nil {
		t.Errorf("after a rerun of push: %v", err)
	}
}

func TestReadSet_RefusesAHandEditedFile(t *testing.T) {
	d := open(t, Options{})
	write(t, d, file("build"))
	data, _ := os.ReadFile(d.File("build", ""))
	edited := bytes.Replace(data, []byte("abc1234"), []byte("abc1235"), 1)
	if err := os.WriteFile(d.File("build", ""), edited, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := d.ReadSet([]string{"build"}, shop)
	wantError(t, err, exit.BadState, "was changed after kstep wrote it", "kstep build")
}

func TestReadSet_RefusesAnUnfinishedStageUnlessResuming(t *testing.T) {
	for _, status := range []Status{Failed, Partial, Interrupted} {
		d := open(t, Options{})
		write(t, d, file("boot", func(f *File) { f.Status, f.Reason = status, "1 of 3 targets failed" }))
		_, err := d.ReadSet([]string{"boot"}, shop)
		wantError(t, err, exit.BadState, "boot ended "+string(status), "1 of 3", "run `kstep boot` again")
		resume := shop
		resume.Resume = true
		if set, err := d.ReadSet([]string{"boot"}, resume); err != nil || set.File("boot") == nil {
			t.Errorf("resume over %s: %v", status, err)
		}
	}
}

func TestReadSet_TellsWhichCommandMakesAMissingFile(t *testing.T) {
	d := open(t, Options{})
	write(t, d, file("build"))
	_, err := d.ReadSet([]string{"build", "push", "assets"}, shop)
	wantError(t, err, exit.MissingState, d.File("push", ""), "run `kstep push` first", "kstep assets")
}

func TestReadSet_SeesAnArtifactUnpackedOneFolderTooDeep(t *testing.T) {
	d := open(t, Options{})
	deep, _ := Open(filepath.Join(d.Path(), "kstep-state-push"), Options{})
	write(t, deep, file("push"))
	_, err := d.ReadSet([]string{"push"}, shop)
	wantError(t, err, exit.MissingState, "kstep-state-push/push.json", "merge-multiple")
}

func TestReadSet_ReportsAllFilesOfTheFirstFailingCheck(t *testing.T) {
	d := open(t, Options{})
	write(t, d, file("assets", func(f *File) { f.Service = "blog" }))
	for _, stage := range []string{"build", "push"} {
		if err := os.WriteFile(d.File(stage, ""), []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err := d.ReadSet([]string{"build", "push", "assets", "boot"}, shop)
	wantError(t, err, exit.BadState, "build.json", "push.json", "cut off")
	if strings.Contains(err.Error(), "blog") || strings.Contains(err.Error(), "missing") {
		t.Errorf("later checks were reported too: %v", err)
	}
}

func TestWrite_RefusesToReplaceWhatIsNotItsOwn(t *testing.T) {
	for name, edit := range map[string]func(*File){
		"another service":     func(f *File) { f.Service = "blog" },
		"another destination": func(f *File) { f.Destination = "staging" },
		"a newer release":     func(f *File) { f.Release = relNew },
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, Options{})
			write(t, d, file("push", edit))
			before, _ := os.ReadFile(d.File("push", ""))
			_, err := d.Write(file("push"))
			wantError(t, err, exit.BadState, d.File("push", ""))
			if offered := strings.Contains(hintsOf(err), "--adopt"); offered != (name != "another destination") {
				t.Errorf("--adopt is offered: %t\n%s", offered, hintsOf(err))
			}
			if after, _ := os.ReadFile(d.File("push", "")); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
			if _, err := d.Own("push", "", shop); exit.CodeOf(err) != exit.BadState {
				t.Errorf("own: got %v, want the same refusal", err)
			}
			adopting, _ := Open(d.Path(), Options{Adopt: true})
			if _, err := adopting.Write(file("push")); err != nil {
				t.Errorf("with Adopt: %v", err)
			}
		})
	}
}

func TestWrite_ReplacesAnOlderRelease(t *testing.T) {
	d := open(t, Options{})
	write(t, d, file("push", func(f *File) { f.Release = relOld }))
	if own, err := d.Own("push", "", shop); own != nil || err != nil {
		t.Errorf("own: got %v (%v), want none", own, err)
	}
	write(t, d, file("push"))
	if own, err := d.Own("push", "", shop); own == nil || err != nil {
		t.Errorf("own: got none (%v)", err)
	}
}

func TestWrite_LeavesNothingWhenTheScannerFindsASecret(t *testing.T) {
	leak := errors.New("secret DB_PASSWORD leaked")
	d := open(t, Options{Scan: func([]byte) error { return leak }})
	if _, err := d.Write(file("push")); !errors.Is(err, leak) {
		t.Fatalf("got %v, want the scanner's error", err)
	}
	if _, err := os.Stat(d.File("push", "")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was left: %v", err)
	}
}

func TestWrite_MasksSecretsInTextsInsteadOfLosingTheFile(t *testing.T) {
	d := open(t, Options{
		Scan: func(data []byte) error {
			if bytes.Contains(data, []byte("hunter2")) {
				return errors.New("leak")
			}
			return nil
		},
		Redact: func(s string) string { // The second secret has two lines.
			return strings.NewReplacer("hunter2", "[REDACTED]", "key\nrest", "[REDACTED]").Replace(s)
		},
	})
	f := file("boot", func(f *File) {
		f.Status, f.Reason = Failed, "app said hunter2"
		f.Source.Subject = "Rotate hunter2"
		f.Targets = []Target{{Host: "vm1", Status: Failed, Changed: []string{"set hunter2"}, Error: &Error{Class: "failed", Message: "hunter2", Detail: []string{"log: key", "rest", "end"}}}}
	})
	write(t, d, f)
	if f.Reason != "app said hunter2" || f.Targets[0].Error.Message != "hunter2" {
		t.Error("the caller's file was changed")
	}
	own, err := d.Own("boot", "", shop)
	if err != nil || own.Reason != "app said [REDACTED]" || own.Targets[0].Error.Message != "[REDACTED]" ||
		own.Source.Subject != "Rotate [REDACTED]" || !slices.Equal(own.Targets[0].Error.Detail, []string{"log: [REDACTED]", "end"}) {
		t.Errorf("got %+v (%v)", own, err)
	}
}

func TestWrite_ValidatesWhatItWrites(t *testing.T) {
	d := open(t, Options{Validate: func([]byte) error { return errors.New("/status: wrong") }})
	if _, err := d.Write(file("push")); exit.CodeOf(err) != exit.Internal || !strings.Contains(err.Error(), "/status") {
		t.Errorf("got %v, want an internal error with the pointer", err)
	}
}

func TestOpen_RefusesAFileAsFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Open(path, Options{})
	wantError(t, err, exit.BadState, "it is a file", "--state-dir")
}

func TestWritable_SaysWhyNot(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(parent, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	d := &Dir{path: filepath.Join(parent, "kstep-state")}
	wantError(t, d.Writable(), exit.BadState, "make state folder", "--state-dir")
}

func TestNewRelease_SortsAfterEarlierOnesWhateverTheClock(t *testing.T) {
	if relOld >= relNow || relNow >= relNew {
		t.Errorf("got %s, %s, %s: not ascending", relOld, relNow, relNew)
	}
	if id := NewRelease(t0, relNew); id <= relNew {
		t.Errorf("got %s, want it after %s", id, relNew)
	}
	if got := ReleaseTime(relNow); !got.Equal(t0) {
		t.Errorf("time: got %s, want %s", got, t0)
	}
}

func TestFileName_KeepsShardsApartAndPlain(t *testing.T) {
	if got := FileName("boot", "web-vm1"); got != "boot.web-vm1.json" {
		t.Errorf("got %s", got)
	}
	seen := map[string]string{}
	for _, shard := range []string{"a/b", "a-b", "a b", "../../etc", strings.Repeat("x", 300), "web@vm1,vm2"} {
		name := FileName("boot", shard)
		if strings.ContainsAny(name, "/ @,") || len(name) > 200 || stageOf(name) != "boot" {
			t.Errorf("%q: got %q", shard, name)
		}
		if other, dup := seen[name]; dup {
			t.Errorf("%q and %q share %s", shard, other, name)
		}
		seen[name] = shard
	}
}
