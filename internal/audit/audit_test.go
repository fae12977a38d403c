package audit_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/audit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

func same(text string) string { return text }

func TestLog_IsReadBackInOrderWithoutSecretsAndPastGarbage(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	log := audit.Log{Files: fake.Connect(t).Files(), Path: "shop/audit.jsonl"}
	if entries, err := log.Read(t.Context()); err != nil || len(entries) != 0 {
		t.Fatalf("before the first entry: got %v, %v", entries, err)
	}
	hide := func(text string) string { return strings.ReplaceAll(text, "hunter2", "[masked]") }
	for _, command := range []string{"boot", "cutover"} {
		if err := log.Append(t.Context(), audit.Entry{Command: command, Error: "with hunter2"}, hide); err != nil {
			t.Fatal(err)
		}
		file, err := os.OpenFile(filepath.Join(fake.Home, log.Path), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(file, "{\"command\": \"cut off\n")
		file.Close()
	}
	entries, err := log.Read(t.Context())
	if err != nil || len(entries) != 2 || entries[0].Command != "boot" || entries[1].Command != "cutover" {
		t.Fatalf("got %+v, %v, want boot and cutover", entries, err)
	}
	if entries[0].Error != "with [masked]" {
		t.Errorf("got error %q", entries[0].Error)
	}
}

func TestLog_DropsItsOlderHalfWhenItHasGrownTooLong(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	log := audit.Log{Files: fake.Connect(t).Files(), Path: "shop/audit.jsonl"}
	long := strings.Repeat("x", 20<<10)
	for i := range audit.Limit/len(long) + 1 {
		e := audit.Entry{At: time.Unix(int64(i), 0).UTC(), Command: "boot", Error: long}
		if err := log.Append(t.Context(), e, same); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := log.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	newest := int64(audit.Limit / len(long))
	if n := int64(len(entries)); n < newest/3 || n > newest*2/3 {
		t.Errorf("%d of %d entries are left, want about half", n, newest+1)
	}
	for i, e := range entries {
		if want := newest - int64(len(entries)-1-i); e.At.Unix() != want {
			t.Fatalf("entry %d is number %d, want %d: not the newest in order", i, e.At.Unix(), want)
		}
	}
}
