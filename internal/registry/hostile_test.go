package registry

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
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

// A registry, or what is in front of it, that stops in the middle of an answer.
func TestGet_AnAnswerThatStopsIsAnError(t *testing.T) {
	t.Parallel()
	for title, begun := range map[string]string{"after its status": "", "in its middle": "{"} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			s := registrytest.New(t)
			req := dockerArchive(t, noise(1, 1000))
			push(t, open(t, configFor(s), nil, report.Discard{}), req)
			s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/manifests/") && !strings.Contains(r.URL.Path, "/blobs/") {
					return false
				}
				w.Header().Set("Content-Length", "500")
				w.WriteHeader(http.StatusOK)
				_, _ = w.Write([]byte(begun))
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				return true
			})
			c := open(t, configFor(s), nil, report.Discard{})
			c.within = 200 * time.Millisecond
			_, err := c.get(t.Context(), "v1")
			if err = c.explain("look", err); exit.CodeOf(err) != exit.Registry || !errors.Is(err, errSilent) {
				t.Errorf("got %v, want exit code 31 for the silence", err)
			}
		})
	}
}
