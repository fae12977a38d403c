package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

const certificate = "-----BEGIN CERTIFICATE-----\nMIIB 'quoted' \"twice\" $HOME\\n\n-----END CERTIFICATE-----\n"

// withAccessory gives the world a database on vm3 and vm1, healthy at once.
func (w *world) withAccessory(more string) {
	w.t.Helper()
	for _, fake := range w.hosts {
		for _, tag := range []string{"db:1", "db:2"} {
			fake.Engine.AddImage(w.registry.Host()+"/"+tag, hosttest.Image{Health: []string{"CMD-SHELL", "true"}})
		}
	}
	w.write("my.cnf", "[mysqld]\nport=1\n")
	w.env["ROOT"] = certificate
	w.configure(fmt.Sprintf(`accessories:
  db:
    image: %s/db:1
    hosts: [vm3, vm1]
    env: {clear: {N: 1.10}, secret: [PASSWORD:ROOT]}
    files: [{local: my.cnf, remote: /etc/my.cnf, mode: 0640, owner: '%d:%d', options: ro}]
    directories: [data:/var/lib/db]
%s`, w.registry.Host(), os.Getuid(), os.Getgid(), more))
}

// accessory is the container of an accessory on a host, which has to be alone.
func (w *world) accessory(hostName, name string) engine.Container {
	w.t.Helper()
	var found []engine.Container
	for _, c := range w.containers(hostName) {
		if c.Labels[engine.LabelAccessory] == name {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		w.t.Fatalf("%s has %d containers of %s, want one", hostName, len(found), name)
	}
	c, err := w.hosts[hostName].Connect(w.t).Engine().Inspect(w.t.Context(), found[0].ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// says expects a command to succeed and to say something.
func (w *world) says(want string, args ...string) {
	w.t.Helper()
	if stdout, stderr := w.exits(exit.OK, args...); !strings.Contains(stdout+stderr, want) {
		w.t.Errorf("kstep %s does not say %q:\n%s%s", strings.Join(args, " "), want, stdout, stderr)
	}
}

// refuses expects a command to fail and to say why.
func (w *world) refuses(code exit.Code, want string, args ...string) {
	w.t.Helper()
	if stdout, stderr := w.exits(code, args...); !strings.Contains(stdout+stderr, want) {
		w.t.Errorf("kstep %s does not say %q:\n%s%s", strings.Join(args, " "), want, stdout, stderr)
	}
}

func mountOf(t *testing.T, c engine.Container, target string) string {
	t.Helper()
	at := slices.IndexFunc(c.Mounts, func(m engine.Mount) bool { return m.Target == target })
	if at < 0 {
		t.Fatalf("nothing is mounted at %s: %v", target, c.Mounts)
	}
	return c.Mounts[at].Source
}

func TestAccessory_IsBootedOnceAndReplacedOnlyWhenAskedTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withAccessory("")
	w.says("created shop-db", "accessory", "boot", "db")
	for _, name := range []string{"vm1", "vm3"} {
		c := w.accessory(name, "db")
		if !c.Running() || c.Name != "shop-db" || !slices.Contains(c.Env, "PASSWORD="+certificate) || !slices.Contains(c.Env, "N=1.10") {
			t.Errorf("%s has %+v", name, c)
		}
		file := mountOf(t, c, "/etc/my.cnf")
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 || w.read(file) != "[mysqld]\nport=1\n" {
			t.Errorf("%s: the file is %v, %v", name, info, err)
		}
		if info, err := os.Stat(w.envFile(name, "shop", "@accessory-db")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: the env file is %v, %v", name, info, err)
		}
	}
	old := w.accessory("vm3", "db")
	data := mountOf(t, old, "/var/lib/db")
	if err := os.WriteFile(filepath.Join(data, "rows"), []byte("all of them"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.says("unchanged", "accessory", "boot", "all")

	w.write("my.cnf", "[mysqld]\nport=2\n")
	w.replace("/db:1", "/db:2")
	w.env["ROOT"] = "another"
	w.refuses(exit.Failed, "shop-db was made with other settings than today's: env, files, image ("+w.registry.Host()+"/db:1, not ", "accessory", "boot", "db")
	w.refuses(exit.Failed, "hint: kstep accessory reboot db", "accessory", "boot", "db")
	w.says("differ: env, files, image", "accessory", "details")
	if now := w.accessory("vm3", "db"); now.ID != old.ID || !now.Started.Equal(old.Started) {
		t.Error("boot did more than to tell")
	}

	delete(w.env, "ROOT") // Pushed once, it is on the hosts.
	w.says("removed the old shop-db", "accessory", "reboot", "db")
	now := w.accessory("vm3", "db")
	if now.ID == old.ID || !strings.HasSuffix(now.Image, "/db:2") || !slices.Contains(now.Env, "PASSWORD=another") {
		t.Errorf("after the reboot it is %+v", now)
	}
	if mountOf(t, now, "/var/lib/db") != data || w.read(filepath.Join(data, "rows")) != "all of them" {
		t.Error("the data did not stay")
	}
	if w.read(mountOf(t, now, "/etc/my.cnf")) != "[mysqld]\nport=2\n" {
		t.Error("the file is not the new one")
	}
	if _, err := os.Stat(mountOf(t, old, "/etc/my.cnf")); !os.IsNotExist(err) {
		t.Errorf("the old file is still there: %v", err)
	}
	w.says("as configured", "accessory", "details", "db")
	if err := os.Remove(filepath.Join(w.dir, "my.cnf")); err != nil {
		t.Fatal(err)
	}
	w.says("not known: its files are not here", "accessory", "details", "db")
}

func TestAccessory_ThatChangedItsUploadedFileGetsTheConfiguredOneBack(t *testing.T) {
	t.Parallel()
	for name, changed := range map[string]string{"of the same length": "[mysqld]\nport=9\n", "of another length": "[mysqld]\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.withAccessory("")
			text, err := os.ReadFile(filepath.Join(w.dir, "kstep.yml"))
			if err != nil {
				t.Fatal(err)
			}
			file := regexp.MustCompile(`files: .*`).ReplaceAllString(string(text), "files: ['my.cnf:/etc/my.cnf']")
			w.write("kstep.yml", file)
			w.exits(exit.OK, "accessory", "boot", "db")
			uploaded := w.mounted("vm3", w.accessory("vm3", "db").Name, "/etc/my.cnf")
			if err := os.WriteFile(uploaded, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			w.exits(exit.OK, "accessory", "reboot", "db")
			got := readText(t, w.mounted("vm3", w.accessory("vm3", "db").Name, "/etc/my.cnf"))
			if want := "[mysqld]\nport=1\n"; got != want {
				t.Errorf("the file has %q, want %q", got, want)
			}
		})
	}
}

func TestAccessory_NoDeployPruneOrAbortTouchesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withAccessory("")
	stdout, stderr := w.exits(exit.OK, "setup", "--image", w.image("v1"), "--version", "v1")
	if strings.Contains(stdout+stderr, "MIIB") {
		t.Errorf("the secret is in the output:\n%s%s", stdout, stderr)
	}
	before := map[string]engine.Container{"vm1": w.accessory("vm1", "db"), "vm3": w.accessory("vm3", "db")}
	delete(w.env, "ROOT") // A deploy has no need of it.
	w.operations()
	for _, version := range []string{"v2", "v3"} {
		w.deploy(version)
	}
	w.exits(exit.OK, "rollback")
	w.exits(exit.OK, "abort")
	for _, op := range w.operations() {
		if strings.Contains(op.Path, "@accessor") && op.Name != "list" {
			t.Errorf("a deploy did %s %s %s", op.Kind, op.Name, op.Path)
		}
	}
	for name, was := range before {
		if now := w.accessory(name, "db"); now.ID != was.ID || !now.Started.Equal(was.Started) {
			t.Errorf("%s: it was %s since %s, and is %s since %s", name, was.ID, was.Started, now.ID, now.Started)
		}
	}
	if w.envOf("vm3", "shop", "@accessory-db")["PASSWORD"] != certificate {
		t.Error("its env file is gone")
	}
	w.says("vm3   db         shop-db", "status")
	w.replace("/db:1", "/db:2")
	w.env["ROOT"] = certificate
	w.says("shop-db was made with other settings than today's: image", "setup", "--image", w.image("v3"), "--version", "v3")
	if w.accessory("vm1", "db").ID != before["vm1"].ID {
		t.Error("setup replaced it")
	}
}

func TestAccessory_StopsStartsAndIsRemovedWithoutItsData(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withAccessory("")
	w.refuses(exit.Failed, "shop-db is not there", "accessory", "start", "db")
	w.exits(exit.OK, "accessory", "boot", "db")
	first := w.accessory("vm3", "db")
	w.says("stopped shop-db", "accessory", "stop", "all")
	w.says("unchanged", "accessory", "stop", "db")
	w.refuses(exit.Failed, "shop-db does not run: it is exited", "accessory", "exec", "db", "--", "true")
	w.says("started shop-db", "accessory", "start", "db", "--hosts", "vm3")
	if w.accessory("vm1", "db").Running() || w.accessory("vm3", "db").ID != first.ID {
		t.Error("it was not started on vm3 alone, as it was")
	}
	w.says("started shop-db", "accessory", "restart", "db")

	folder := filepath.Join(w.hosts["vm3"].Home, ".kstep", "@accessories", "shop", "db", "directories", "data")
	w.refuses(exit.Usage, "nothing was removed: this would remove db@vm3, db@vm1", "accessory", "remove", "db")
	w.accessory("vm3", "db")
	w.says(folder+" stays", "accessory", "remove", "db", "--yes")
	for _, name := range []string{"vm1", "vm3"} {
		if got := w.names(name); len(got) != 0 {
			t.Errorf("%s still has %v", name, got)
		}
	}
	if w.envOf("vm3", "shop", "@accessory-db") != nil {
		t.Error("its env file is still there")
	}
	if _, err := os.Stat(folder); err != nil {
		t.Errorf("its data went with it: %v", err)
	}
	w.says("unchanged", "accessory", "remove", "all", "-y")
	w.exits(exit.OK, "accessory", "remove", "all", "-y", "--data")
	if _, err := os.Stat(filepath.Dir(folder)); !os.IsNotExist(err) {
		t.Errorf("--data left it: %v", err)
	}
}

// TestAccessory_ThatLeftAHostIsToldUntilItIsRemoved: plan and status name it, and
// the command that they name removes it there alone.
func TestAccessory_ThatLeftAHostIsToldUntilItIsRemoved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ old, text string }{
		"taken off one host": {"hosts: [vm3, vm1]", "hosts: [vm1]"},
		"another name":       {"\n  db:\n", "\n  store:\n"},
		"removed":            {"accessories:\n  db:\n", "accessories: {}\nx-db:\n  db:\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.withAccessory("")
			w.exits(exit.OK, "accessory", "boot", "all")
			w.deploy("v1")
			w.replace(c.old, c.text)
			told := "accessory db is no longer configured on vm3, but still has a container; remove it with: "
			w.says(told, "plan", "--image", w.image("v2"), "--version", "v2")
			stdout, _ := w.exits(exit.OK, "status")
			_, command, ok := strings.Cut(stdout, told+"kstep ")
			if !ok {
				t.Fatalf("status does not tell it:\n%s", stdout)
			}
			command, _, _ = strings.Cut(command, "\n")
			w.exits(exit.OK, strings.Fields(command)...)
			if stdout, _ := w.exits(exit.OK, "status"); strings.Contains(stdout, "db is no longer configured on vm3") {
				t.Errorf("after kstep %s:\n%s", command, stdout)
			}
			w.accessory("vm1", "db")
			w.deploy("v2")
		})
	}
}

func TestAccessory_ThatLeftTheConfigurationCanStillBeRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withAccessory("")
	w.exits(exit.OK, "accessory", "boot", "db")
	w.configure("")
	w.refuses(exit.Usage, "this would remove db@vm1, db@vm3", "accessory", "remove", "db")
	w.refuses(exit.Usage, "the configuration has no accessories", "accessory", "remove", "cache", "-y")
	w.refuses(exit.Usage, "the configuration has no accessories", "accessory", "stop", "db")
	w.says("removed shop-db", "accessory", "remove", "db", "-y", "--hosts", "vm3")
	w.says("removed the env file", "accessory", "remove", "db", "-y", "--data")
	for _, name := range []string{"vm1", "vm3"} {
		if got := w.names(name); len(got) != 0 || w.envOf(name, "shop", "@accessory-db") != nil {
			t.Errorf("%s still has %v, or its env file", name, got)
		}
	}
}

func TestAccessory_ShowsItsLogsAndRunsPrograms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withAccessory("")
	for _, fake := range w.hosts {
		fake.Engine.Behave("db:1", hosttest.Behaviour{Log: []string{"ready", "root is another-secret", "listening"}})
	}
	w.env["ROOT"] = "another-secret"
	w.exits(exit.OK, "accessory", "boot", "db")
	stdout, _ := w.exits(exit.OK, "accessory", "logs", "db", "--hosts", "vm3")
	if stdout != "ready\nroot is [REDACTED]\nlistening\n" {
		t.Errorf("the log is %q", stdout)
	}
	stdout, _ = w.exits(exit.OK, "accessory", "logs", "db", "-n", "1", "--grep", "^list", "--output", "json")
	for _, name := range []string{"vm1", "vm3"} {
		if !strings.Contains(stdout, `{"host":"`+name+`","role":"db","container":"shop-db","time":"20`) || strings.Contains(stdout, "ready") {
			t.Errorf("the lines are %s", stdout)
		}
	}
	w.refuses(exit.Usage, "--grep: error parsing regexp", "accessory", "logs", "db", "--grep", "(")
	stdout, _ = w.exits(exit.OK, "accessory", "logs", "db", "--hosts", "vm3", "--since", "1h")
	if strings.Count(stdout, "\n") != 3 {
		t.Errorf("of the last hour there is %q", stdout)
	}

	stdout, _ = w.exits(exit.OK, "accessory", "exec", "db", "--hosts", "vm3", "--", "sh", "-c", `printf '%s' "$N"; printf ' %s\n' "$1"`, "sh", "it's; $HOME")
	if stdout != "1.10 it's; $HOME\n" {
		t.Errorf("it printed %q", stdout)
	}
	stdout, stderr := w.exits(exit.OK, "accessory", "exec", "db", "--hosts", "vm3", "--", "sh", "-c", "printf rows; echo 'another-secret, they say' >&2")
	if stdout != "rows" || !strings.Contains(stderr, "[REDACTED], they say\n") {
		t.Errorf("the streams are %q and %q, want each by itself", stdout, stderr)
	}
	stdout, stderr = w.exits(exit.Failed, "accessory", "exec", "db", "--", "sh", "-c", "echo looked; exit 3")
	if strings.Count(stdout, "looked") != 2 || !strings.Contains(stdout, "[vm1] looked") || !strings.Contains(stderr, "run sh in shop-db on vm3: exit status 3") {
		t.Errorf("got\n%sand\n%s", stdout, stderr)
	}
	w.refuses(exit.Usage, "--interactive is for one container, and there are 2", "accessory", "exec", "-i", "db", "--", "sh")
	w.stdin = strings.NewReader("rows")
	if stdout, _ := w.exits(exit.OK, "accessory", "exec", "-i", "db", "--hosts", "vm3", "--", "sh", "-c", "cat"); stdout != "rows" {
		t.Errorf("it printed %q, want its input", stdout)
	}
	stdout, _ = w.exits(exit.Failed, "accessory", "exec", "db", "--hosts", "vm1", "--output", "json", "--", "sh", "-c", "exit 3")
	if !strings.Contains(stdout, `{"host":"vm1","role":"db","status":3,"output":""}`) {
		t.Errorf("got %s", stdout)
	}
}

func TestAccessory_IsBootedWhenItsOwnCheckSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withAccessory("    healthcheck: {cmd: [ping], start_period: 0, retries: 2}\n")
	for _, name := range []string{"/plain:1", "/plain:2"} { // Images that bring no check.
		w.hosts["vm3"].Engine.AddImage(w.registry.Host()+name, hosttest.Image{})
	}
	w.hosts["vm3"].Engine.Behave("/plain:1", hosttest.Behaviour{Sick: true})
	w.replace("/db:1", "/plain:1")
	w.refuses(exit.Failed, "shop-db does not work: health check says unhealthy", "accessory", "boot", "db", "--hosts", "vm3")
	w.replace("/plain:1", "/plain:2")
	w.says("started shop-db", "accessory", "reboot", "db", "--hosts", "vm3")
	w.says("running, healthy", "accessory", "details", "db", "--hosts", "vm3")
}

func TestAccessory_OfTwoDestinationsOnAHostDoNotMeet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withAccessory("")
	w.write("kstep.staging.yml", "{}\n")
	w.exits(exit.OK, "accessory", "boot", "db")
	w.exits(exit.OK, "accessory", "boot", "db", "-d", "staging")
	if got := w.names("vm3"); len(got) != 2 || !slices.Contains(got, "shop-db-staging") {
		t.Errorf("vm3 has %v", got)
	}
	w.exits(exit.OK, "accessory", "remove", "db", "-d", "staging", "-y", "--data")
	if !w.accessory("vm3", "db").Running() {
		t.Error("the other destination's was stopped")
	}
	w.replace("/db:1", "/db:1\n    service: shop-db")
	w.refuses(exit.BadState, "shop-db is another container's name: the accessory db of shop", "accessory", "boot", "db", "-d", "staging")
	w.says("unchanged", "accessory", "boot", "db")
}

func TestAccessory_GoesBackToTheOldOneThatTheNewOneCannotReplace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withAccessory("")
	w.exits(exit.OK, "accessory", "boot", "db")
	old := w.accessory("vm3", "db")
	w.replace("/db:1", "/db:1\n    port: 4321")
	w.hosts["vm3"].Engine.TakePort(4321)
	w.refuses(exit.Failed, "(the old shop-db runs again)", "accessory", "reboot", "db")
	if now := w.accessory("vm3", "db"); now.ID != old.ID || now.Name != "shop-db" || !now.Running() {
		t.Errorf("vm3 has %+v", now)
	}
	if now := w.accessory("vm1", "db"); !now.Running() {
		t.Errorf("the failure on vm3 kept vm1 from its new one: %+v", now)
	}
}

func TestAccessory_ARebootThatWasKilledIsMendedByTheNextBoot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withAccessory("")
	w.exits(exit.OK, "accessory", "boot", "db", "--hosts", "vm3")
	old := w.accessory("vm3", "db")
	if err := os.MkdirAll(filepath.Join(w.dir, "kstep-state"), 0o700); err != nil {
		t.Fatal(err)
	}
	died := w.killedAt(func(op host.Op) bool {
		return op.Kind == host.KindEngine && strings.HasPrefix(op.Name, "POST /containers/create")
	}, "accessory", "reboot", "db", "--hosts", "vm3")
	if left := w.accessory("vm3", "db"); !died || left.Running() || left.Name == "shop-db" {
		t.Fatalf("it left %+v", left)
	}
	w.exits(exit.OK, "lock", "release", "--force")
	w.exits(exit.OK, "accessory", "boot", "db", "--hosts", "vm3")
	if now := w.accessory("vm3", "db"); now.ID != old.ID || now.Name != "shop-db" || !now.Running() {
		t.Errorf("it is %+v, and was %s", now, old.ID)
	}
}

func TestAccessory_TellsWhatIsMissingBeforeItTouchesAHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withAccessory("  cache: {image: '" + w.registry.Host() + "/cache:1', role: web}\n")
	w.refuses(exit.Usage, `unknown accessory "bd"`, "accessory", "boot", "bd")
	w.refuses(exit.Usage, "hint: did you mean db?", "accessory", "boot", "bd")
	delete(w.env, "ROOT")
	w.refuses(exit.Config, "secret ROOT is missing", "accessory", "boot", "db")
	w.env["ROOT"] = "x"
	if err := os.Remove(filepath.Join(w.dir, "my.cnf")); err != nil {
		t.Fatal(err)
	}
	w.refuses(exit.Config, "accessories.db.files[0]: open", "accessory", "boot", "all")
	w.refuses(exit.Usage, `--hosts "vm2" matches no host`, "accessory", "boot", "db", "--hosts", "vm2")
	for name := range w.hosts {
		if got := w.names(name); len(got) != 0 {
			t.Errorf("%s has %v", name, got)
		}
	}
	w.refuses(exit.Failed, "pull "+w.registry.Host()+"/cache:1", "accessory", "boot", "cache")
	w.configure("")
	w.refuses(exit.Usage, "the configuration has no accessories", "accessory", "details")
}

func TestEnvPush_GivesAccessoriesTheirOwnEnvironment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withAccessory("env: {clear: {APP: 'yes'}}\n")
	w.exits(exit.OK, "env", "push")
	got := w.envOf("vm1", "shop", "@accessory-db")
	if len(got) != 2 || got["PASSWORD"] != certificate || got["N"] != "1.10" || w.envOf("vm2", "shop", "@accessory-db") != nil {
		t.Errorf("vm1 has %q", got)
	}
	if web := w.envOf("vm1", "shop", "web"); len(web) != 1 || web["APP"] != "yes" {
		t.Errorf("the role has %q", web)
	}
	w.says("unchanged", "env", "push")
	stdout, _ := w.exits(exit.OK, "secrets", "list")
	if !strings.Contains(stdout, "accessories.db.env.secret[0]") || strings.Contains(stdout, "MIIB") {
		t.Errorf("secrets list shows\n%s", stdout)
	}
	w.replace("hosts: [vm3, vm1]", "hosts: [vm3]")
	w.says("removed the env file of the accessory db", "env", "push")
	if w.envOf("vm1", "shop", "@accessory-db") != nil || w.envOf("vm3", "shop", "@accessory-db") == nil {
		t.Error("its file did not go where it left")
	}
	w.says("removed the env file of the accessory db", "env", "delete")
	if w.envOf("vm3", "shop", "@accessory-db") != nil {
		t.Error("env delete left it")
	}
}
