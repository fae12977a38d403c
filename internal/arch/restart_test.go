package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestContainers_AreStoppedAndStartedInOnePlace keeps the restart policy of the
// application's containers right: only stages/restart.go stops and starts them.
func TestContainers_AreStoppedAndStartedInOnePlace(t *testing.T) {
	direct := regexp.MustCompile(`Engine\(\)\.(Stop|Start|SetRestart)\(`)
	root, found := filepath.Join("..", ".."), 0
	for _, dir := range []string{"stages", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return err
			}
			data, err := os.ReadFile(file)
			calls := direct.FindAllString(string(data), -1)
			found += len(calls)
			if short := strings.TrimPrefix(filepath.ToSlash(file), "../../"); len(calls) > 0 && short != "stages/restart.go" {
				t.Errorf("%s calls %s): use StopAndKeep, StopToRemove or StartAgain of package stages", short, strings.Join(calls, "), "))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 3 {
		t.Errorf("found %d calls: does stages/restart.go still make them?", found)
	}
}
