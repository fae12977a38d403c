package rig

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// App is a git checkout of the sample app in the deployer's work folder.
type App struct {
	// Dir is the checkout on the machine outside.
	Dir string
	// Work is the same relative to the deployer's /work, as Deployer.Run takes it.
	Work string

	bin string // built binaries
	src string // the sample app's source
}

// AppVersion is what distinguishes one commit of the sample app from another.
type AppVersion struct {
	// Version is on the app's page and in the name of its style sheet.
	Version string
	// Flags are the app's misbehaviours, baked into the image (see ../app).
	Flags string
	// Shell puts busybox into the image, for health checks that need sh.
	Shell bool
	// Files are more files of the checkout (kstep.yml, hooks) by path; those that
	// start with #! are executable. An empty one is removed.
	Files map[string]string
}

// NewApp makes a checkout of that name with one commit, in place of an older one.
func (r *Rig) NewApp(name string, v AppVersion) (*App, error) {
	a := &App{
		Dir:  r.Deployer.Path(name),
		Work: name,
		bin:  filepath.Join(r.dir, ".bin"),
		src:  filepath.Join(r.dir, "..", "app"),
	}
	if err := os.RemoveAll(a.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(a.Dir, 0o755); err != nil {
		return nil, err
	}
	if _, err := a.Git("init", "--quiet", "--initial-branch", "main"); err != nil {
		return nil, err
	}
	_, err := a.Commit(v)
	return a, err
}

// Commit replaces the app by another version of itself, commits, and returns the
// commit's full hash.
func (a *App) Commit(v AppVersion) (string, error) {
	if err := a.Write(v); err != nil {
		return "", err
	}
	if _, err := a.Git("add", "--all"); err != nil {
		return "", err
	}
	if _, err := a.Git("commit", "--quiet", "--allow-empty", "--message", "Version "+v.Version); err != nil {
		return "", err
	}
	return a.Git("rev-parse", "HEAD")
}

// Write changes the work tree as Commit does, and leaves it uncommitted.
func (a *App) Write(v AppVersion) error {
	if err := os.RemoveAll(filepath.Join(a.Dir, "root")); err != nil {
		return err
	}
	files, err := a.files(v)
	if err != nil {
		return err
	}
	for path, content := range files {
		if err := a.write(path, content); err != nil {
			return err
		}
	}
	if v.Shell {
		return a.writeShell()
	}
	return nil
}

func (a *App) files(v AppVersion) (map[string]string, error) {
	binary, err := os.ReadFile(filepath.Join(a.bin, "app"))
	if err != nil {
		return nil, err
	}
	dockerfile, err := os.ReadFile(filepath.Join(a.src, "Dockerfile"))
	if err != nil {
		return nil, err
	}
	style := "app-" + v.Version + ".css"
	files := map[string]string{
		"app":              string(binary),
		"root/app/version": v.Version + "\n",
		"Dockerfile": strings.Replace(string(dockerfile),
			`ARG APP_FLAGS=""`, fmt.Sprintf("ARG APP_FLAGS=%q", v.Flags), 1),
		"root/app/public/assets/" + style:      "/* " + v.Version + " */\n",
		"root/app/public/assets/manifest.json": fmt.Sprintf("{\"app.css\": %q}\n", style),
	}
	maps.Copy(files, v.Files)
	return files, nil
}

func (a *App) write(path, content string) error {
	full := filepath.Join(a.Dir, path)
	if content == "" {
		return os.RemoveAll(full)
	}
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if path == "app" || strings.HasPrefix(content, "#!") {
		mode = 0o755
	}
	if err := os.WriteFile(full, []byte(content), mode); err != nil {
		return err
	}
	return os.Chmod(full, mode)
}

// writeShell puts busybox in, under the names that health checks use.
func (a *App) writeShell() error {
	busybox, err := os.ReadFile(filepath.Join(a.bin, "busybox"))
	if err != nil {
		return err
	}
	dir := filepath.Join(a.Dir, "root", "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "busybox"), busybox, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"[", "cat", "echo", "false", "ls", "sh", "sleep", "stat", "test", "touch", "true", "wget"} {
		if err := os.Symlink("busybox", filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// Git runs git in the checkout and returns its output without the last newline.
func (a *App) Git(args ...string) (string, error) {
	var stderr bytes.Buffer
	identity := []string{"-c", "user.name=rig", "-c", "user.email=rig@example.com"}
	cmd := exec.Command("git", append(identity, args...)...)
	cmd.Dir = a.Dir
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}
