package scaffold

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/hook/hooktest"
	"github.com/kstep/kstep/schema"
)

// project makes a folder named shop with files.
func project(t *testing.T, texts map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range texts {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestInit_FirstLineNamesTheSchemaForEditors(t *testing.T) {
	var s struct {
		ID string `json:"$id"`
	}
	if err := json.Unmarshal(schema.Config, &s); err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(render(settings{}, App{}), "\n")
	if want := "# yaml-language-server: $schema=" + s.ID; first != want {
		t.Errorf("got first line %q, want %q", first, want)
	}
}

func TestInit_OverwritesNothingAndWritesNothingThen(t *testing.T) {
	for _, name := range []string{"kstep.yml", "Dockerfile", ".kstep/hooks/pre-build.sample"} {
		dir := project(t, map[string]string{"go.mod": "module a\n", name: "mine"})
		_, err := Init(Options{Path: filepath.Join(dir, "kstep.yml"), Hooks: true, Dockerfile: true})
		if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, name)) || exit.CodeOf(err) != exit.Config {
			t.Errorf("got error %v with %s there, want its name and code 78", err, name)
		}
		if got := read(t, dir, name); got != "mine" {
			t.Errorf("got %s %q, want it kept", name, got)
		}
		left := 0
		for _, other := range []string{"kstep.yml", "Dockerfile", ".kstep/hooks/pre-build.sample", ".kstep/hooks/post-deploy.sample", ".gitignore", ".dockerignore"} {
			if (tree{os.DirFS(dir)}).has(other) {
				left++
			}
		}
		if left != 1 {
			t.Errorf("got %d files with %s there, want that one alone", left, name)
		}
	}
}

func TestInit_AddsToGitignoreWhatItLacks(t *testing.T) {
	dir := project(t, map[string]string{".gitignore": "/node_modules\n/kstep-state/"})
	summary, err := Init(Options{Path: filepath.Join(dir, "kstep.yml"), Hooks: true})
	if err != nil {
		t.Fatal(err)
	}
	want := []Result{
		{"kstep.yml", Created},
		{".kstep/hooks/docker-setup.sample", Created},
		{".kstep/hooks/post-deploy.sample", Created},
		{".kstep/hooks/post-traefik-reboot.sample", Created},
		{".kstep/hooks/pre-build.sample", Created},
		{".kstep/hooks/pre-deploy.sample", Created},
		{".kstep/hooks/pre-traefik-reboot.sample", Created},
		{".gitignore", Updated},
	}
	if !reflect.DeepEqual(summary.Results, want) {
		t.Errorf("got %v, want %v", summary.Results, want)
	}
	if got := read(t, dir, ".gitignore"); got != "/node_modules\n/kstep-state/\n.env*\n!.env*.tmpl\n" {
		t.Errorf("got .gitignore %q", got)
	}
}

// runHook runs a sample hook with fake programs first on PATH; each fake is a
// shell script.
func runHook(t *testing.T, hook string, fakes map[string]string, env ...string) (string, error) {
	t.Helper()
	dir := project(t, nil)
	if _, err := Init(Options{Path: filepath.Join(dir, "kstep.yml"), Hooks: true}); err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for name, script := range fakes {
		hooktest.Program(t, filepath.Join(bin, name), "#!/bin/sh\n"+script)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, ".kstep/hooks", hook+".sample"))
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "KSTEP_VERSION=abc123",
		"KSTEP_PERFORMER=Ann \"A\" B", "KSTEP_SERVICE_VERSION=shop@abc123", "KSTEP_DESTINATION=staging", "KSTEP_HOSTS=h1,h2", "KSTEP_RUNTIME=12"}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestPreDeployHook_FollowsTheChecks(t *testing.T) {
	for name, tt := range map[string]struct {
		fakes map[string]string
		env   []string
		want  string
		fails bool
	}{
		"GitHub passed":       {map[string]string{"gh": "echo passed lint; echo passed test"}, nil, "all checks passed for abc123", false},
		"GitHub failed":       {map[string]string{"gh": "echo passed lint; echo failed unit tests"}, nil, "unit tests", true},
		"GitHub out of reach": {map[string]string{"gh": "echo no network >&2; exit 4"}, nil, "no network", true},
		"pending, then done": {map[string]string{
			"gh":    `if [ -e "$HOME/asked" ]; then echo passed test; else : > "$HOME/asked"; echo pending test; fi`,
			"sleep": "exit 0",
		}, nil, "all checks passed", false},
		"pending for ever":   {map[string]string{"gh": "echo pending test", "sleep": "exit 0"}, nil, "not done after 600s", true},
		"no check at all":    {map[string]string{"gh": "exit 0", "sleep": "exit 0"}, nil, "none has begun", true},
		"uncommitted":        {nil, []string{"KSTEP_VERSION=abc_uncommitted_def"}, "never committed", true},
		"GitLab passed":      {map[string]string{"curl": `cat >/dev/null; echo '[{"id":1,"status":"success","x":{"status":"no"}}]'`}, []string{"GITLAB_TOKEN=t", "GITLAB_PROJECT=a/b"}, "all checks passed", false},
		"GitLab failed":      {map[string]string{"curl": `cat >/dev/null; echo '[{"id":1,"status":"failed"}]'`}, []string{"GITLAB_TOKEN=t", "GITLAB_PROJECT=a/b"}, "checks failed", true},
		"GitLab refuses":     {map[string]string{"curl": `cat >/dev/null; echo 401 >&2; exit 22`}, []string{"GITLAB_TOKEN=t", "GITLAB_PROJECT=a/b"}, "401", true},
		"GitLab from within": {nil, []string{"GITLAB_TOKEN=t", "GITLAB_PROJECT=a/b", "CI_PIPELINE_ID=7"}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := runHook(t, "pre-deploy", tt.fakes, tt.env...)
			if (err != nil) != tt.fails || !strings.Contains(out, tt.want) {
				t.Errorf("got %v and\n%s\nwant failure %v and %q", err, out, tt.fails, tt.want)
			}
		})
	}
}

func TestPostDeployHook_SendsTheLineAndKeepsTheAddressOutOfArguments(t *testing.T) {
	out, err := runHook(t, "post-deploy", map[string]string{"curl": `echo "args: $*"; cat`}, "CHAT_WEBHOOK=https://chat.example.com/s3cret")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	args, stdin, _ := strings.Cut(out, "\n")
	if strings.Contains(args, "s3cret") {
		t.Errorf("got the address in the arguments: %s", args)
	}
	want := "url = \"https://chat.example.com/s3cret\"\n" +
		`data = "{\"text\": \"Ann \\\"A\\\" B deployed shop@abc123 to staging on h1,h2 in 12s\"}"` + "\n"
	if stdin != want {
		t.Errorf("got\n%s\nwant\n%s", stdin, want)
	}
	if out, err := runHook(t, "post-deploy", nil); err != nil || !strings.Contains(out, "nothing is sent") {
		t.Errorf("got %v and %q without an address", err, out)
	}
}

func TestPreBuildHook_RefusesWhatWasNotPushed(t *testing.T) {
	git := func(status, pushed string) map[string]string {
		return map[string]string{"git": `case "$1" in
status) printf '` + status + `' ;;
remote) echo origin ;;
branch) echo main ;;
rev-parse) echo aaa ;;
ls-remote) printf '` + pushed + `\trefs/heads/main\n' ;;
esac`}
	}
	for name, tt := range map[string]struct {
		fakes map[string]string
		want  string
		fails bool
	}{
		"all pushed":  {git("", "aaa"), "", false},
		"behind":      {git("", "bbb"), "main is at aaa here, but at bbb on origin", true},
		"uncommitted": {git(" M a.go", "aaa"), "uncommitted changes", true},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := runHook(t, "pre-build", tt.fakes)
			if (err != nil) != tt.fails || !strings.Contains(out, tt.want) {
				t.Errorf("got %v and\n%s\nwant failure %v and %q", err, out, tt.fails, tt.want)
			}
		})
	}
}

func TestTraefikRebootHooks_TakeEachHostOutAndPutItBack(t *testing.T) {
	aws := []string{"LB_TARGET_GROUP=arn:tg"}
	haproxy := []string{"LB_HAPROXY=admin@lb", "LB_BACKEND=shop"}
	// The load balancer: it notes the commands it gets, and the second look at its
	// numbers shows no connections, and that the host is up.
	lb := `case "$2" in
*"set server"*) echo "$2" | cut -d "'" -f 2 >>"$HOME/told" ;;
*"show stat"*)
	if [ -e "$HOME/looked" ]; then n=0 s=UP; else n=3 s=DOWN; : >"$HOME/looked"; fi
	for h in h1 h2; do echo "shop,$h,0,0,$n,9,,1,1,1,,0,,0,0,0,0,$s,1"; echo "other,$h,0,0,7,9,,1,1,1,,0,,0,0,0,0,DOWN,1"; done ;;
esac`
	for name, tt := range map[string]struct {
		hook  string
		fakes map[string]string
		env   []string
		want  string
		fails bool
	}{
		"AWS out": {"pre-traefik-reboot", map[string]string{"aws": `echo "$*"`}, aws,
			"deregister-targets --target-group-arn arn:tg --targets Id=h2\nelbv2 wait target-deregistered --target-group-arn arn:tg --targets Id=h2\nh2 is out", false},
		"AWS in": {"post-traefik-reboot", map[string]string{"aws": `echo "$*"`}, aws,
			"register-targets --target-group-arn arn:tg --targets Id=h1\nelbv2 wait target-in-service --target-group-arn arn:tg --targets Id=h1\nh1 is in", false},
		"AWS refuses":       {"pre-traefik-reboot", map[string]string{"aws": "echo denied >&2; exit 254"}, aws, "denied", true},
		"HAProxy out":       {"pre-traefik-reboot", map[string]string{"ssh": lb, "sleep": `cat "$HOME/told"`}, haproxy, "set server shop/h1 state drain\nh1 is out of the load balancer\nh2 is out", false},
		"HAProxy in":        {"post-traefik-reboot", map[string]string{"ssh": lb, "sleep": `cat "$HOME/told"`}, haproxy, "set server shop/h1 state ready\nh1 is in the load balancer again\nh2 is in", false},
		"HAProxy refuses":   {"pre-traefik-reboot", map[string]string{"ssh": "echo No such server."}, haproxy, "does not drain h1: No such server.", true},
		"HAProxy never out": {"pre-traefik-reboot", map[string]string{"ssh": `case "$2" in *show*) echo shop,h1,0,0,2 ;; esac`, "sleep": "exit 0"}, haproxy, "h1 still has 2 sessions after 120s", true},
		"HAProxy never in":  {"post-traefik-reboot", map[string]string{"ssh": `case "$2" in *show*) echo shop,h1,0,0,0,,,,,,,,,,,,,DOWN ;; esac`, "sleep": "exit 0"}, haproxy, "h1 is DOWN after 120s", true},
		"not set up":        {"pre-traefik-reboot", nil, nil, "set LB_TARGET_GROUP", true},
		"not set up, after": {"post-traefik-reboot", nil, nil, "set LB_TARGET_GROUP", true},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := runHook(t, tt.hook, tt.fakes, tt.env...)
			if (err != nil) != tt.fails || !strings.Contains(out, tt.want) {
				t.Errorf("got %v and\n%s\nwant failure %v and %q", err, out, tt.fails, tt.want)
			}
		})
	}
}

func TestDockerSetupHook_WritesTheSettingsOnceAndKeepsThoseOfOthers(t *testing.T) {
	// The host's shell, with its /etc in the test's folder.
	host := `printf '%s' "$2" | sed "s|/etc/docker|$HOME/etc|g" >"$HOME/script"; exec sh "$HOME/script"`
	fakes := map[string]string{"ssh": host, "id": "echo 0", "systemctl": `echo "systemctl $*"`}
	out, err := runHook(t, "docker-setup", fakes)
	if err != nil || strings.Count(out, "systemctl restart docker") != 1 || !strings.Contains(out, "h2 has its settings") {
		t.Errorf("got %v and\n%s\nwant one restart: the second host has the settings already", err, out)
	}
	fakes["id"] = `mkdir -p "$HOME/etc"; echo "{}" >"$HOME/etc/daemon.json"; echo 0`
	if out, err := runHook(t, "docker-setup", fakes); err == nil || !strings.Contains(out, "there is another") {
		t.Errorf("got %v and\n%s\nwant settings of others kept", err, out)
	}
}

func TestHooks_AreCleanForShellcheck(t *testing.T) {
	program := hooktest.Installed(t, "shellcheck")
	dir := project(t, nil)
	if _, err := Init(Options{Path: filepath.Join(dir, "kstep.yml"), Hooks: true}); err != nil {
		t.Fatal(err)
	}
	hooks, err := filepath.Glob(filepath.Join(dir, ".kstep/hooks/*"))
	if err != nil || len(hooks) == 0 {
		t.Fatalf("got hooks %v, %v", hooks, err)
	}
	if out, err := exec.CommandContext(t.Context(), program, hooks...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
