package atomicfile

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestWrite_ReplacesALinkAndNotWhatItLeadsTo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	for name, file := range map[string]string{"a link": "report.xml", "a link beside it": "other.xml"} {
		if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "new", file)
		link := path
		if name != "a link" {
			link += ".tmp" // The name that an earlier kstep wrote first.
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(victim, link); err != nil {
			t.Fatal(err)
		}
		if err := Write(path, []byte("report")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != "report" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		if got, err := os.ReadFile(victim); err != nil || string(got) != "precious" {
			t.Errorf("%s: the file that it leads to has %q, %v", name, got, err)
		}
	}
}

func TestWrite_WritesToWhatIsNoFile(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		f, err := os.Open(pipe)
		if err != nil {
			t.Error(err)
		}
		defer f.Close()
		data, err := io.ReadAll(f)
		if err != nil {
			t.Error(err)
		}
		got <- string(data)
	}()
	if err := Write(pipe, []byte("report")); err != nil {
		t.Fatal(err)
	}
	if text := <-got; text != "report" {
		t.Errorf("got %q through the pipe", text)
	}
	if err := Write("/dev/null", []byte("report")); err != nil {
		t.Error(err)
	}
	if info, err := os.Lstat("/dev/null"); err != nil || info.Mode().IsRegular() {
		t.Errorf("/dev/null is %v, %v", info.Mode(), err)
	}
}
