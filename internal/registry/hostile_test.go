package registry

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kstep/kstep/internal/registry/registrytest"
	"github.com/kstep/kstep/internal/report"
)

func TestOpenArchive_TakesRegularFilesOnly(t *testing.T) {
	t.Parallel()
	for title, create := range map[string]func(file string) error{
		"named pipe": func(file string) error { return syscall.Mkfifo(file, 0o600) },
		"folder":     func(file string) error { return os.Mkdir(file, 0o700) },
		"link":       func(file string) error { return os.Symlink("/dev/zero", file) },
		"lost link":  func(file string) error { return os.Symlink("nowhere", file) },
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "image.tar")
			if err := create(file); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenArchive(file); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
				t.Errorf("got %v, want it refused", err)
			}
		})
	}
}

func TestResolve_ConfigThatIsNotOfItsDigestIsRefused(t *testing.T) {
	t.Parallel()
	for title, change := range map[string]string{
		"another image":   `{"os":"linux","architecture":"arm64","rootfs":{"type":"layers","diff_ids":[]}}`,
		"something added": `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}    `,
		"empty":           `{}`,
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			s := registrytest.New(t)
			req := dockerArchive(t, noise(1, 1000))
			push(t, open(t, configFor(s), nil, report.Discard{}), req)
			s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, req.Image.ConfigDigest) {
					return false
				}
				_, _ = w.Write([]byte(change))
				return true
			})
			if out, err := Resolve(t.Context(), configFor(s), s.Host()+"/acme/shop:v1", nil, report.Discard{}); err == nil {
				t.Errorf("got %+v, want an error", out)
			}
		})
	}
}
