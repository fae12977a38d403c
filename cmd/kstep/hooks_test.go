package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/hook/hooktest"
)

// logged makes hooks that write a line each, with their name before it, and
// returns the lines so far.
func (w *world) logged(line string, names ...string) func() []string {
	w.t.Helper()
	file := filepath.Join(w.dir, "hooks.log")
	for _, name := range names {
		w.hook(name, `echo "`+name+line+`" >>"`+file+`"`)
	}
	return func() []string {
		data, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			w.t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	}
}

func TestHooks_RunInTheOrderOfADeploy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	names := append([]string{"pre-command", "pre-connect", "pre-deploy", "post-deploy", "post-command", "on-failure"}, strings.Fields(
		"pre-push post-push pre-assets post-assets pre-env-push post-env-push pre-boot post-boot pre-barrier-wait post-barrier-wait pre-cutover post-cutover pre-prune post-prune")...)
	log := w.logged("", names...)
	w.deploy("v1")
	want := strings.Fields("pre-command pre-connect pre-push post-push pre-deploy pre-assets post-assets pre-env-push post-env-push " +
		"pre-boot post-boot pre-barrier-wait post-barrier-wait pre-cutover post-cutover pre-prune post-prune post-deploy post-command")
	if got := log(); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestHooks_OfTheReleaseRunOnceThoughStagesAreManyJobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.share()
	log := w.logged(" $KSTEP_SERVICE_VERSION $KSTEP_HOSTS $KSTEP_ROLES ${KSTEP_RUNTIME:-none}", "pre-deploy", "post-deploy")
	w.hook("pre-deploy", `sleep 0.3; echo "pre-deploy $KSTEP_SERVICE_VERSION" >>"`+filepath.Join(w.dir, "hooks.log")+`"`)
	jobs := []*job{w.pushedBy("v1")}
	shards := w.matrix("--by", "host")
	for _, stage := range pipeline()[2:] {
		// A cutover takes so long that whole seconds show.
		if stage.Info().Name == "cutover" {
			w.hook("pre-cutover", "sleep 1")
		}
		jobs = append(jobs, w.fanOut(stage.Info().Name, shards, jobs)...)
	}
	w.serves("v1")
	lines := log()
	if len(lines) != 2 || lines[0] != "pre-deploy shop@v1" {
		t.Fatalf("got %q, want pre-deploy and post-deploy, once each", lines)
	}
	fields := strings.Fields(lines[1])
	runtime, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil || runtime < 1 || runtime > 60 {
		t.Errorf("got %q, want the runtime of the whole release", lines[1])
	}
	if !strings.HasPrefix(lines[1], "post-deploy shop@v1 ") {
		t.Errorf("got %q, want the version", lines[1])
	}
	for _, place := range []string{"vm1", "vm2", "vm3", "web", "job"} {
		if !strings.Contains(lines[1], place) {
			t.Errorf("got %q, want all hosts and roles of the release", lines[1])
		}
	}
	if stdout, _ := w.exits(exit.OK, "lock", "status"); !strings.HasPrefix(stdout, "free") {
		t.Errorf("after the last shard the lease is %q, want free", stdout)
	}
}

func TestHooks_PreDeployThatFailsTouchesNothingAndIsAskedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pushed("v1")
	log := w.logged(" $KSTEP_STAGE $KSTEP_STATUS $KSTEP_EXIT_CODE", "on-failure")
	w.hook("pre-deploy", "echo CI is red; exit 7")
	before := w.picture()
	_, stderr := w.exits(exit.Failed, "assets")
	if !strings.Contains(stderr, "exit status 7") || !strings.Contains(stderr, "CI is red") {
		t.Errorf("it does not show what the hook said:\n%s", stderr)
	}
	for path := range w.picture() {
		if _, was := before[path]; !was && !strings.Contains(path, "/lease/") {
			t.Errorf("%s was touched", path)
		}
	}
	if got := log(); !slices.Equal(got, []string{"on-failure assets failed 10"}) {
		t.Errorf("on-failure was told %q", got)
	}
	w.hook("pre-deploy", "true")
	w.exits(exit.OK, "assets")
}

func TestHooks_PostDeployHearsThatTheReleaseMovedThoughPruneHadNothingToDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	log := w.logged(" $KSTEP_STATUS", "post-deploy")
	w.deploy("v1") // Nothing to prune.
	w.deploy("v2")
	w.deploy("v2") // The same release again, which is over.
	w.stages("v3", "assets", "env-push", "boot", "barrier-wait", "cutover", "prune")
	want := []string{"post-deploy ok", "post-deploy ok", "post-deploy ok"}
	if got := log(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestHooks_PreCommandThatFailsRunsTheHookOfFailures(t *testing.T) {
	t.Parallel()
	for _, command := range [][]string{{"push", "--image", "a", "--version", "v1"}, {"app", "details"}} {
		w := newWorld(t)
		log := w.logged(" $KSTEP_COMMAND $KSTEP_STATUS $KSTEP_EXIT_CODE", "on-failure")
		w.hook("pre-command", "exit 7")
		w.exits(exit.Failed, command...)
		if got, want := log(), []string{"on-failure " + command[0] + " failed 10"}; !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", command, got, want)
		}
	}
}

func TestHooks_PostDeployThatFailsIsTriedAgainByTheSameJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stages("v1", "assets", "env-push", "boot", "barrier-wait", "cutover")
	w.hook("post-deploy", "exit 1")
	w.exits(exit.Partial, "prune")
	log := w.logged("", "post-deploy")
	w.exits(exit.OK, "prune")
	w.exits(exit.OK, "prune")
	if got := log(); !slices.Equal(got, []string{"post-deploy"}) {
		t.Errorf("got %v, want it once more, and then no more", got)
	}
}

func TestHooks_OneThatWasKilledIsRunAgainByItsJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	log := w.logged("", "pre-deploy")
	w.pushed("v1")
	release := w.state("push")["release"].(string)
	left := filepath.Join(w.hosts["vm1"].Home, ".kstep/shop/lease/hooks", release, "pre-deploy.running")
	if err := os.MkdirAll(filepath.Dir(left), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.exits(exit.OK, "assets")
	if got := log(); !slices.Equal(got, []string{"pre-deploy"}) {
		t.Errorf("got %v", got)
	}
}

func TestHooks_OneThatHangsEndsWithItsTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("hook_timeout: 200ms\n")
	w.hook("pre-deploy", "sleep 60")
	w.pushed("v1")
	_, stderr := w.exits(exit.Deadline, "assets")
	if !strings.Contains(stderr, "stopped after 200ms") {
		t.Errorf("it does not tell that it took too long:\n%s", stderr)
	}
}

func TestHooks_AreSkippedWhenAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"pre-command", "pre-connect", "pre-deploy", "pre-boot", "post-deploy", "post-command"} {
		w.hook(name, "exit 1")
	}
	w.exits(exit.OK, "deploy", "--image", w.image("v1"), "--version", "v1", "--skip-hooks")
	w.serves("v1")
}

func TestHooks_OfTheUserRunWhereTheProjectHasNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own := filepath.Join(w.env["HOME"], ".kstep", "hooks")
	if err := os.MkdirAll(own, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pre-boot", "pre-cutover"} {
		hooktest.Program(t, filepath.Join(own, name), "#!/bin/sh\necho the user\\'s "+name+"\n")
	}
	w.hook("pre-boot", "echo the project\\'s pre-boot")
	_, stderr := w.exits(exit.OK, "deploy", "--image", w.image("v1"), "--version", "v1")
	if !strings.Contains(stderr, "the project's pre-boot") || strings.Contains(stderr, "the user's pre-boot") || !strings.Contains(stderr, "the user's pre-cutover") {
		t.Errorf("want the project's hook where there is one, and else the user's:\n%s", stderr)
	}
}

func TestHooks_OneThatRefusesAfterBootTellsWhatRunsAndHowItGoes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"post-boot", "pre-barrier-wait", "post-barrier-wait", "pre-cutover"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			w.forget()
			w.hook(name, "echo not today; exit 3")
			code, _, stderr := w.kstep(w.deployArgs("v2")...)
			if code != exit.Failed {
				t.Errorf("got exit code %d, want 10", code)
			}
			for _, want := range []string{
				"hint: still running: shop-job-v2 on vm3; shop-web-v2 on vm1, vm2\n", "kstep abort",
			} {
				if !strings.Contains(stderr, want) {
					t.Errorf("it does not say %q:\n%s", want, stderr)
				}
			}
			w.serves("v1")
			w.exits(exit.OK, "abort")
			for host, want := range map[string][]string{"vm1": {"kstep-proxy", "shop-web-v1"}, "vm3": {"shop-job-v1"}} {
				if got := w.runsOn(host); !slices.Equal(got, want) {
					t.Errorf("after abort %v run on %s, want %v", got, host, want)
				}
			}
		})
	}
	w := newWorld(t)
	w.hook("post-cutover", "exit 3")
	if _, _, stderr := w.kstep(w.deployArgs("v1")...); strings.Contains(stderr, "still running") || strings.Contains(stderr, "kstep abort") {
		t.Errorf("what serves is told to be taken down:\n%s", stderr)
	}
}
