package host_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/hook/hooktest"
)

// TestFileScript_MeansTheSameToEveryShell runs the script by hand, without the
// fake between.
func TestFileScript_MeansTheSameToEveryShell(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("files.sh")
	if err != nil {
		t.Fatal(err)
	}
	requests := []struct{ line, status, data string }{
		{`k_write 137 6 0700 'a\000\047\377%%\012' ./a/b ./a/b/.t ./a/b/x`, "0", ""},
		{`k_read ./a/b/x`, "0", "a\x00'\xff%\n"},
		{`k_write 137 3 0700 '\0001\1771' ./a/b ./a/b/.t ./a/b/y`, "1", ""},
		{`k_write 137 4 0700 '\0001\1771' ./a/b ./a/b/.t ./a/b/y`, "0", ""},
		{`k_read ./a/b/y`, "0", "\x001\x7f1"},
		{`k_read ./a/none`, "44", ""},
		{`k_read ./none/none`, "44", ""},
		{`k_read ./a`, "1", ""},
		{`k_write 137 7 0700 short ./a ./a/.t ./a/x`, "1", ""},
		{`k_write 137 1 0700 x ./a ./a/.t ./a/b`, "1", ""},
		{`k_create 177 3 0700 one ./a ./a/.t ./a/x`, "0", ""},
		{`k_create 177 3 0700 two ./a ./a/.t ./a/x`, "45", ""},
		{`k_create 177 3 0700 two ./a ./a/.t ./a/b`, "45", ""},
		{`k_read ./a/x`, "0", "one"},
		{`k_append 133 '1\012' ./a/log`, "0", "2\n"},
		{`k_append 133 '2\012' ./a/log`, "0", "4\n"},
		{`k_append 133 '2\012' ./none/log`, "44", ""},
		{`k_mkdir 0711 ./m/n`, "0", ""},
		{`k_mkdir 0711 ./a/x`, "1", ""},
		{`k_list ./none`, "44", ""},
		{`k_list ./a/x`, "1", ""},
		{`k_remove ./a ./a/x`, "0", ""},
		{`k_remove ./a ./a/x`, "44", ""},
		{`k_remove ./a ./a/b`, "1", ""},
		{`k_no`, "127", ""},
	}
	for name, argv := range map[string][]string{
		"dash": {"dash"}, "bash": {"bash"}, "bash as sh": {"bash", "--posix"}, "busybox": {"busybox", "sh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shell, path := hooktest.Installed(t, argv[0]), os.Getenv("PATH")
			if argv[0] == "busybox" {
				path = hooktest.BusyBox(t)
			}
			var in bytes.Buffer
			for _, r := range requests {
				in.WriteString("mark " + r.line + "\n")
			}
			cmd := exec.CommandContext(t.Context(), shell, append(argv[1:], "-c", string(script), "kstep-files")...)
			cmd.Dir, cmd.Env, cmd.Stdin = "/", []string{"HOME=" + t.TempDir(), "PATH=" + path}, &in
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			rest := string(out)
			for _, r := range requests {
				data, after, _ := strings.Cut(rest, "\nmark ")
				status, next, _ := strings.Cut(after, "\n")
				rest = next
				if status != r.status || status == "0" && data != r.data {
					t.Errorf("%s: got %q, status %s, want %q, %s", r.line, data, status, r.data, r.status)
				}
			}
		})
	}
}
