package builder

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

func TestWriteArchive_IsWholeOrNotThere(t *testing.T) {
	dir := t.TempDir()
	wrong := errors.New("docker save broke")
	_, err := WriteArchive(dir, "image-v1.tar", func(w io.Writer) error {
		_, err := io.WriteString(w, "half")
		return errors.Join(err, wrong)
	})
	if !errors.Is(err, wrong) {
		t.Errorf("got %v, want %v", err, wrong)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("got %v left, %v, want nothing", left, err)
	}
	file, err := WriteArchive(dir, "image-v1.tar", func(w io.Writer) error {
		_, err := io.WriteString(w, "whole")
		return err
	})
	path := filepath.Join(dir, "image-v1.tar")
	if err != nil || file.Size != 5 || !Intact(path, file) {
		t.Errorf("got %+v, %v, want an intact archive of 5 bytes", file, err)
	}
	if err := os.WriteFile(path, []byte("wHole"), 0o600); err != nil {
		t.Fatal(err)
	}
	if Intact(path, file) {
		t.Error("got intact for a changed file")
	}
}

func TestWriteArchive_UsesUpWhatAKilledOneLeft(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".image-v1.tar.tmp", ".image-v0.tar.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte("x"), 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file, err := WriteArchive(dir, "image-v1.tar", func(w io.Writer) error {
		_, err := io.WriteString(w, "new")
		return err
	})
	if err != nil || file.Size != 3 {
		t.Errorf("got %+v, %v, want 3 bytes", file, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("got %v, %v, want the archive alone", left, err)
	}
}

func TestWriteArchive_LetsOnlyOneWrite(t *testing.T) {
	dir := t.TempDir()
	_, err := WriteArchive(dir, "image-v1.tar", func(io.Writer) error {
		_, err := WriteArchive(dir, "image-v1.tar", func(io.Writer) error { return nil })
		if !errors.Is(err, errBusy) {
			t.Errorf("got %v, want busy", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestWriteArchive_TellsThatTheDiskIsFull(t *testing.T) {
	_, err := WriteArchive(t.TempDir(), "image-v1.tar", func(io.Writer) error {
		return fmt.Errorf("write: %w", syscall.ENOSPC)
	})
	if !strings.Contains(err.Error(), "image-v1.tar") || !strings.Contains(strings.Join(exit.Hints(err), ""), "make room") {
		t.Errorf("got %v with %q, want the file and a hint", err, exit.Hints(err))
	}
}
