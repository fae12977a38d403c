package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/kstep/kstep/internal/hook/hooktest"
)

// releases is a server with releases of kstep, and a folder to install them into.
type releases struct {
	t      *testing.T
	server *httptest.Server
	folder string // KSTEP_INSTALL_DIR
	tmp    string // TMPDIR

	mu        sync.Mutex
	files     map[string][]byte // By path.
	requested []string
}

// programText is a kstep that prints its version.
func programText(version string) []byte { return []byte("#!/bin/sh\necho kstep " + version + "\n") }

func newReleases(t *testing.T) *releases {
	t.Helper()
	r := &releases{t: t, folder: filepath.Join(t.TempDir(), "a folder", "bin"), tmp: t.TempDir(), files: map[string][]byte{}}
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	r.publish("v1.2.3", programText("v1.2.3"))
	return r
}

func (r *releases) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	r.requested = append(r.requested, request.Method+" "+request.URL.Path)
	data, ok := r.files[request.URL.Path]
	r.mu.Unlock()
	switch {
	case request.URL.Path == "/releases/latest":
		http.Redirect(w, request, r.server.URL+"/releases/tag/v1.2.3", http.StatusFound)
	case request.URL.Path == "/hang/v1.2.3/"+archiveName("v1.2.3"):
		<-request.Context().Done()
	case strings.HasPrefix(request.URL.Path, "/short/"):
		w.Header().Set("Content-Length", "100000")
		w.Write([]byte("short"))
	case !ok:
		http.NotFound(w, request)
	default:
		w.Write(data)
	}
}

func archiveName(version string) string {
	return fmt.Sprintf("kstep_%s_%s_%s.tar.gz", version, runtime.GOOS, runtime.GOARCH)
}

func hexDigest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (r *releases) set(version, name string, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files["/releases/download/"+version+"/"+name] = data
}

func (r *releases) get(version, name string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.files["/releases/download/"+version+"/"+name]
}

// publish adds a release as make dist makes it.
func (r *releases) publish(version string, program []byte) {
	r.t.Helper()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	out := tar.NewWriter(zip)
	for name, data := range map[string][]byte{"LICENSE": []byte("x\n"), "README.md": []byte("x\n"), "kstep": program} {
		if err := out.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o755}); err != nil {
			r.t.Fatal(err)
		}
		if _, err := out.Write(data); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := errors.Join(out.Close(), zip.Close()); err != nil {
		r.t.Fatal(err)
	}
	r.archive(version, packed.Bytes())
}

// archive adds an archive with its line in checksums.txt.
func (r *releases) archive(version string, data []byte) {
	r.set(version, archiveName(version), data)
	r.set(version, "checksums.txt", []byte(strings.Repeat("0", 64)+"  kstep_other\n"+hexDigest(data)+"  "+archiveName(version)+"\n"))
}

func (r *releases) requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.requested
	r.requested = nil
	return got
}

func (r *releases) command(path string, args []string, env ...string) *exec.Cmd {
	cmd := exec.CommandContext(r.t.Context(), args[0], args[1:]...)
	cmd.Env = append([]string{
		"PATH=" + path, "HOME=" + r.t.TempDir(), "TMPDIR=" + r.tmp, "KSTEP_INSTALL_DIR=" + r.folder,
		"KSTEP_DOWNLOAD_URL=" + r.server.URL + "/releases/download",
	}, env...)
	return cmd
}

const systemPath = "/usr/local/bin:/usr/bin:/bin"

// install runs install.sh, and checks that it leaves no temporary files.
func (r *releases) install(version string, env ...string) (log string, code int) {
	r.t.Helper()
	args := []string{"/bin/sh", "../../install.sh"}
	if version != "" {
		args = append(args, version)
	}
	cmd := r.command(systemPath, args, env...)
	out, _ := cmd.CombinedOutput() // The status is looked at.
	r.clean()
	return string(out), cmd.ProcessState.ExitCode()
}

func (r *releases) clean() {
	r.t.Helper()
	for _, pattern := range []string{filepath.Join(r.tmp, "*"), filepath.Join(r.folder, ".*")} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			r.t.Errorf("left behind: %v", left)
		}
	}
}

// installed is what the installed program prints, or empty if there is none.
func (r *releases) installed() string {
	r.t.Helper()
	out, err := exec.CommandContext(r.t.Context(), filepath.Join(r.folder, "kstep"), "version").Output()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Error(err)
	}
	return strings.TrimSpace(string(out))
}

func TestInstall_TheLatestOrTheGivenRelease(t *testing.T) {
	t.Parallel()
	hooktest.Installed(t, "curl")
	r := newReleases(t)
	log, code := r.install("")
	if code != 0 || r.installed() != "kstep v1.2.3" || !strings.Contains(log, "not on your PATH") {
		t.Fatalf("exit status %d, installed %q\n%s", code, r.installed(), log)
	}
	want := []string{"HEAD /releases/latest", "GET /releases/download/v1.2.3/" + archiveName("v1.2.3"), "GET /releases/download/v1.2.3/checksums.txt"}
	if got := r.requests(); !slices.Equal(got, want) {
		t.Errorf("got requests %v, want %v", got, want)
	}

	// A second run replaces the program by a rename: who has the old file open keeps it.
	old, err := os.Open(filepath.Join(r.folder, "kstep"))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	r.publish("v1.3.0", programText("v1.3.0"))
	log, code = r.install("1.3.0", "PATH="+systemPath+":"+r.folder)
	if code != 0 || r.installed() != "kstep v1.3.0" || strings.Contains(log, "not on your PATH") {
		t.Errorf("exit status %d, installed %q\n%s", code, r.installed(), log)
	}
	before, _ := old.Stat()
	after, err := os.Stat(old.Name())
	if err != nil || os.SameFile(before, after) || after.Mode().Perm() != 0o755 {
		t.Errorf("the program was not replaced by a rename, or has mode %v: %v", after.Mode(), err)
	}
}

func TestInstall_RefusesWhatItCannotVerify(t *testing.T) {
	t.Parallel()
	hooktest.Installed(t, "curl")
	full := func(r *releases) []byte { return r.get("v1.2.3", archiveName("v1.2.3")) }
	cases := map[string]struct {
		change  func(r *releases)
		version string
		env     []string
		want    string
	}{
		"wrong checksum": {change: func(r *releases) {
			r.set("v1.2.3", "checksums.txt", []byte(strings.Repeat("a", 64)+"  "+archiveName("v1.2.3")+"\n"))
		}, want: "The SHA-256 digest"},
		"no line": {change: func(r *releases) {
			r.set("v1.2.3", "checksums.txt", []byte(hexDigest(full(r))+"  x"+archiveName("v1.2.3")+"\n"))
		}, want: "has no line for"},
		"no digest": {change: func(r *releases) {
			r.set("v1.2.3", "checksums.txt", []byte("?  "+archiveName("v1.2.3")+"\n"))
		}, want: "does not hold a SHA-256 digest"},
		"no checksums":       {change: func(r *releases) { delete(r.files, "/releases/download/v1.2.3/checksums.txt") }, want: "v1.2.3 has no checksums.txt"},
		"another digest":     {env: []string{"KSTEP_CHECKSUM=" + strings.Repeat("b", 64)}, want: "and KSTEP_CHECKSUM has bbbb"},
		"bad digest":         {env: []string{"KSTEP_CHECKSUM=abc"}, want: "KSTEP_CHECKSUM does not hold"},
		"no such version":    {version: "v9.9.9", want: "v9.9.9 has no archive for"},
		"no version":         {version: "../x", want: "is not a version"},
		"truncated archive":  {change: func(r *releases) { r.archive("v1.2.3", full(r)[:60]) }, want: "could not unpack kstep"},
		"truncated download": {env: []string{"KSTEP_DOWNLOAD_URL=/short"}, want: "could not download"},
		"no network":         {env: []string{"KSTEP_DOWNLOAD_URL=http://127.0.0.1:9"}, want: "could not download"},
		"no latest":          {version: "-", env: []string{"KSTEP_DOWNLOAD_URL=http://127.0.0.1:9/x"}, want: "does not name a latest release"},
		"no folder":          {env: []string{"KSTEP_INSTALL_DIR=/dev/null/bin"}, want: "could not create the folder"},
		"read-only folder":   {env: []string{"KSTEP_INSTALL_DIR=/proc"}, want: "the folder /proc is not writable"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReleases(t)
			if c.change != nil {
				c.change(r)
			}
			for i, one := range c.env {
				c.env[i] = strings.Replace(one, "=/short", "="+r.server.URL+"/short", 1)
			}
			version := c.version
			switch version {
			case "":
				version = "v1.2.3"
			case "-":
				version = ""
			}
			log, code := r.install(version, c.env...)
			if code != 1 || !strings.Contains(strings.ToLower(log), strings.ToLower(c.want)) || !strings.HasPrefix(log, "install kstep: ") {
				t.Errorf("exit status %d, want 1 and %q\n%s", code, c.want, log)
			}
			if got := r.installed(); got != "" {
				t.Errorf("installed %q", got)
			}
		})
	}
}

func TestInstall_KeepsTheOldProgramWhenItFails(t *testing.T) {
	t.Parallel()
	hooktest.Installed(t, "curl")
	r := newReleases(t)
	if log, code := r.install("v1.2.3"); code != 0 {
		t.Fatal(log)
	}
	r.publish("v1.3.0", programText("v1.3.0"))
	r.set("v1.3.0", "checksums.txt", r.get("v1.2.3", "checksums.txt"))
	if log, code := r.install("v1.3.0"); code != 1 || r.installed() != "kstep v1.2.3" {
		t.Errorf("exit status %d, installed %q\n%s", code, r.installed(), log)
	}
}

func TestInstall_UsesWgetWithoutCurl(t *testing.T) {
	t.Parallel()
	gnu := t.TempDir()
	for _, name := range []string{"awk", "chmod", "cp", "gzip", "head", "mkdir", "mktemp", "mv", "rm", "sed", "sha256sum", "tail", "tar", "tr", "uname", "wget"} {
		if err := os.Symlink(hooktest.Installed(t, name), filepath.Join(gnu, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct{ path, shell string }{
		"GNU":     {gnu, "/bin/sh"},
		"BusyBox": {hooktest.BusyBox(t), "sh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReleases(t)
			shell := c.shell
			if shell == "sh" {
				shell = filepath.Join(c.path, "sh")
			}
			run := func(args ...string) (string, int) {
				cmd := r.command(c.path, append([]string{shell, "../../install.sh"}, args...))
				out, _ := cmd.CombinedOutput() // The status is looked at.
				r.clean()
				return string(out), cmd.ProcessState.ExitCode()
			}
			if log, code := run("v9.9.9"); code != 1 || !strings.Contains(log, "v9.9.9 has no archive for") || r.installed() != "" {
				t.Errorf("no such version: exit status %d\n%s", code, log)
			}
			if log, code := run(); code != 0 || r.installed() != "kstep v1.2.3" {
				t.Errorf("exit status %d, installed %q\n%s", code, r.installed(), log)
			}
		})
	}
	r := newReleases(t)
	only := t.TempDir()
	for _, name := range []string{"mktemp", "rm", "uname"} {
		if err := os.Symlink(hooktest.Installed(t, name), filepath.Join(only, name)); err != nil {
			t.Fatal(err)
		}
	}
	out, _ := r.command(only, []string{"/bin/sh", "../../install.sh", "v1.2.3"}).CombinedOutput() // The text is looked at.
	if !strings.Contains(string(out), "neither curl nor wget is installed") {
		t.Errorf("got %q", out)
	}
}

func TestInstall_RefusesUnknownPlatforms(t *testing.T) {
	t.Parallel()
	r := newReleases(t)
	for answers, want := range map[string]string{
		"-s Plan9 -m x86_64": "the operating system Plan9",
		"-s Linux -m mips":   "the processor mips",
	} {
		bin, words := t.TempDir(), strings.Fields(answers)
		hooktest.Program(t, filepath.Join(bin, "uname"), fmt.Sprintf("#!/bin/sh\ncase $1 in -s) echo %s;; *) echo %s;; esac\n", words[1], words[3]))
		log, code := r.install("v1.2.3", "PATH="+bin+":"+systemPath)
		if code != 1 || !strings.Contains(log, want) || len(r.requests()) != 0 {
			t.Errorf("%s: exit status %d\n%s", answers, code, log)
		}
	}
}

func TestInstall_ASignalLeavesNothing(t *testing.T) {
	t.Parallel()
	hooktest.Installed(t, "curl")
	r := newReleases(t)
	cmd := r.command(systemPath, []string{"/bin/sh", "../../install.sh", "v1.2.3"}, "KSTEP_DOWNLOAD_URL="+r.server.URL+"/hang")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for len(r.requests()) == 0 {
		if t.Context().Err() != nil {
			t.Fatal("no request")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // The status is looked at.
	if code := cmd.ProcessState.ExitCode(); code != 143 || r.installed() != "" {
		t.Errorf("exit status %d, installed %q", code, r.installed())
	}
	r.clean()
}

// `curl … | sh` runs what has arrived when the connection breaks.
func TestInstall_ATruncatedScriptDoesNothing(t *testing.T) {
	t.Parallel()
	r := newReleases(t)
	script := readText(t, "../../install.sh")
	last := strings.LastIndex(script, "main")
	for _, length := range []int{100, 2000, last / 2, last - 200, last - 1, last, last + 2} {
		part := filepath.Join(t.TempDir(), "install.sh")
		if err := os.WriteFile(part, []byte(script[:length]), 0o600); err != nil {
			t.Fatal(err)
		}
		out, _ := r.command(systemPath, []string{"/bin/sh", part, "v1.2.3"}).CombinedOutput() // It may be a syntax error.
		if got := r.requests(); len(got) != 0 || r.installed() != "" {
			t.Errorf("%d bytes: requests %v, installed %q\n%s", length, got, r.installed(), out)
		}
		r.clean()
	}
}

// setup runs the script of the action setup-kstep.
type setup struct {
	*releases
	source, cache, output, path string
}

func newSetup(t *testing.T) *setup {
	t.Helper()
	hooktest.Installed(t, "curl")
	s := &setup{releases: newReleases(t), source: t.TempDir(), cache: t.TempDir(), output: filepath.Join(t.TempDir(), "output"), path: filepath.Join(t.TempDir(), "path")}
	for from, to := range map[string]string{"../../install.sh": "install.sh", filepath.Dir(setupAction) + "/setup.sh": ".github/actions/setup-kstep/setup.sh", filepath.Dir(setupAction) + "/../common.sh": ".github/actions/common.sh"} {
		s.write(filepath.Join(s.source, to), readText(t, from))
	}
	return s
}

const setupAction = "../../.github/actions/setup-kstep/action.yml"

func (s *setup) write(file, text string) {
	s.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *setup) run(env ...string) (log string, code int) {
	s.t.Helper()
	s.write(s.output, "")
	s.write(s.path, "")
	action := filepath.Join(s.source, ".github/actions/setup-kstep")
	cmd := s.command(systemPath, []string{"bash", filepath.Join(action, "setup.sh")}, append([]string{
		"GITHUB_ACTION_PATH=" + action, "GITHUB_OUTPUT=" + s.output, "GITHUB_PATH=" + s.path,
		"RUNNER_TOOL_CACHE=" + s.cache, "RUNNER_TEMP=" + s.tmp, "WANTED_VERSION=", "WANTED_CHECKSUM=", "MIRROR_URL=",
	}, env...)...)
	out, _ := cmd.CombinedOutput() // The status is looked at.
	s.clean()
	return string(out), cmd.ProcessState.ExitCode()
}

func TestSetupAction_InstallsOnceIntoTheToolCache(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	folder := filepath.Join(s.cache, "kstep/v1.2.3", runtime.GOARCH)
	archive := hexDigest(s.get("v1.2.3", archiveName("v1.2.3")))
	check := func(name string, downloads int, env ...string) {
		t.Helper()
		log, code := s.run(env...)
		if code != 0 || readText(t, s.path) != folder+"\n" || readText(t, s.output) != "version=v1.2.3\npath="+folder+"/kstep\n" {
			t.Errorf("%s: exit status %d\n%s", name, code, log)
		}
		var got []string
		for _, one := range s.requests() {
			if strings.HasPrefix(one, "GET ") {
				got = append(got, one)
			}
		}
		if len(got) != downloads {
			t.Errorf("%s: %d downloads, want %d: %v", name, len(got), downloads, got)
		}
	}
	check("first", 2, "WANTED_VERSION=1.2.3")
	check("again", 0, "WANTED_VERSION=v1.2.3")
	check("latest", 0)
	check("same checksum", 0, "WANTED_CHECKSUM="+strings.ToUpper(archive))
	if err := os.Remove(filepath.Join(folder, "archive.sha256")); err != nil {
		t.Fatal(err)
	}
	check("digest unknown", 1, "WANTED_CHECKSUM="+archive)
	s.write(filepath.Join(s.source, ".github/actions/setup-kstep/version"), "v1.2.3\n")
	check("pinned", 0, "KSTEP_DOWNLOAD_URL=http://127.0.0.1:9")
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	check("mirror", 2, "KSTEP_DOWNLOAD_URL=http://127.0.0.1:9", "MIRROR_URL="+s.server.URL+"/releases/download/")
	if log, code := s.run("WANTED_CHECKSUM=" + strings.Repeat("c", 64)); code != 1 || !strings.Contains(log, "KSTEP_CHECKSUM has ccc") || readText(t, s.path) != "" {
		t.Errorf("another checksum: exit status %d\n%s", code, log)
	}
	if err := os.Chmod(folder, 0o777); err != nil { //nolint:gosec // It is the mistake.
		t.Fatal(err)
	}
	if log, code := s.run(); code != 1 || !strings.Contains(log, "can be changed by all users") || readText(t, s.path) != "" {
		t.Errorf("open folder: exit status %d\n%s", code, log)
	}
}

func TestSetupAction_RefusesBadInputsAndReportsErrors(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	for env, want := range map[string]int{
		"WANTED_VERSION=v1\n::set-output name=x::y": 64,
		"WANTED_VERSION=../x":                       64,
		"WANTED_VERSION=--resolve":                  64,
		"WANTED_VERSION=$(id)":                      64,
		"WANTED_CHECKSUM=abc":                       64,
		"MIRROR_URL=x\r::error::y":                  64,
		"MIRROR_URL=file:///etc":                    64,
		"MIRROR_URL=http://127.0.0.1:9":             1,
		"WANTED_VERSION=v9.9.9":                     1,
	} {
		log, code := s.run(env)
		if code != want || strings.Count(log, "::") != 2 || !strings.HasPrefix(log, "::error title=setup kstep::") || strings.Count(log, "\n") != 1 {
			t.Errorf("%q: exit status %d, want %d\n%q", env, code, want, log)
		}
		if readText(t, s.output)+readText(t, s.path) != "" {
			t.Errorf("%q: outputs after a failure", env)
		}
	}
	var action struct{ Runs struct{ Steps []githubStep } }
	if err := yaml.Unmarshal([]byte(readText(t, setupAction)), &action); err != nil {
		t.Fatal(err)
	}
	for _, step := range action.Runs.Steps {
		if strings.Contains(step.Run, "${{") || step.Run == "" {
			t.Errorf("the text of a script has an expression, or a step has no script: %q", step.Run)
		}
	}
}
