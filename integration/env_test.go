//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/integration/rig"
)

// environment is what a test gives to containers: by the config file, by
// secrets, and by the tags of single hosts.
type environment struct {
	clear, secret map[string]string
	tags          map[string]map[string]string
}

// odd are values that quoting, files or shells have spoilt before.
func odd() map[string]string {
	return map[string]string{
		"EMPTY": "", "SPACES": "  both ends  ", "TAB": "\tx\t", "NEWLINE": "a\nb\n\nc\n", "CRLF": "a\r\nb\r\n",
		"QUOTES": `it's "quoted"`, "BACKSLASH": `\n \\ \`, "DOLLAR": "$HOME ${PATH} $$ $(id) `id`", "HASH": "a #b", "HASH_FIRST": "#b",
		"EQUALS": "=a=b=", "UNICODE": "grüße 漢字 🎉 \u2028", "YAML": "- a: [b, {c: d}]", "JSON": `{"a": "b\u0000"}`, "BOOL": "no", "NUMBER": "0o17",
		"CONTROL": "\x01\x02\x1b[31m\x7f", "LONG": strings.Repeat("0123456789", 10_000), "PERCENT": "%s %d %", "GLOB": "* ? [a-z]",
	}
}

// random is n values drawn from characters that have a meaning in some syntax.
func random(r *rand.Rand, prefix string, n int) map[string]string {
	alphabet := []rune("ab \t\n\r\"'`\\$#=:{}[]()%*&|;<>!~-_.,/ü漢🎉")
	values := map[string]string{}
	for i := range n {
		value := make([]rune, r.IntN(60))
		for j := range value {
			value[j] = alphabet[r.IntN(len(alphabet))]
		}
		values[fmt.Sprintf("%s_%d", prefix, i)] = string(value)
	}
	return values
}

// yaml is a kstep.yml with the environment; vm1 and vm2 differ by their tags.
func (e environment) yaml(s settings) string {
	text := strings.Replace(s.yaml(), "[vm1, vm2]", "[vm1: red, vm2: [red, blue]]", 1) + "env:\n  clear: " + flow(e.clear)
	text += "  secret: [" + strings.Join(slices.Sorted(maps.Keys(e.secret)), ", ") + "]\n  tags:\n"
	for _, tag := range slices.Sorted(maps.Keys(e.tags)) {
		text += "    " + tag + ": {clear: " + strings.TrimSpace(flow(e.tags[tag])) + "}\n"
	}
	return text
}

// flow writes a map as JSON, which is YAML, with kstep's own escape for $.
func flow(values map[string]string) string {
	data, err := json.Marshal(values)
	if err != nil {
		panic(err) // Strings only.
	}
	return strings.ReplaceAll(string(data), "$", "$$") + "\n"
}

// of is what a host's containers have to see.
func (e environment) of(tags ...string) map[string]string {
	want := maps.Clone(e.clear)
	maps.Copy(want, e.secret)
	for _, tag := range tags {
		maps.Copy(want, e.tags[tag])
	}
	return want
}

func TestEnv_ReachesTheContainersByteForByteAndNothingElse(t *testing.T) {
	t.Parallel()
	const seed = 20261123
	r := rand.New(rand.NewPCG(seed, seed))
	e := environment{clear: odd(), secret: random(r, "SECRET", 20), tags: map[string]map[string]string{
		"red":  {"TAG": "red\n", "BOTH": "red"},
		"blue": {"BOTH": "$blue"},
	}}
	maps.Copy(e.clear, random(r, "CLEAR", 20))
	e.secret["KEY"] = "-----BEGIN KEY-----\nc3VwZXIgc2VjcmV0IHZhbHVl\n-----END KEY-----\n"
	e.secret["TOKEN"] = `t0k"en' with $igns \ and ü`
	e.secret["HUGE_SECRET"] = strings.Repeat("s3cr3t/", 10_000)

	s := settings{}
	v1 := s.version("v1", "")
	v1.Files["kstep.yml"] = e.yaml(s)
	w := beginWith(t, v1)
	watched := w.watchProcesses()
	said := w.deployWithSecrets(e)

	w.sees("vm1", e.of("red"))
	w.sees("vm2", e.of("red", "blue"))
	w.inspectsTo("vm3", e.of())
	processes := watched()
	for _, name := range []string{"KEY", "TOKEN", "HUGE_SECRET"} {
		w.hidden(name, e.secret[name], said, processes)
	}
	w.private()

	delete(e.clear, "HASH")
	delete(e.secret, "TOKEN")
	delete(e.tags["red"], "TAG")
	v2 := s.version("v2", "")
	v2.Files["kstep.yml"] = e.yaml(s)
	w.commit(v2)
	w.deployWithSecrets(e)
	for _, name := range []string{"HASH", "TOKEN", "TAG"} {
		if status, _ := w.get(w.rig.Host("vm1").URL() + "/env/" + name); status != 404 {
			t.Errorf("%s is gone from the config, but the new version has it: %d", name, status)
		}
	}
}

// deployWithSecrets gives the secrets to env-push and to no other stage, and
// returns all that kstep printed.
func (w *world) deployWithSecrets(e environment) (said string) {
	w.t.Helper()
	var secrets []string
	for name, value := range e.secret {
		secrets = append(secrets, name+"="+value)
	}
	for _, stage := range allStages() {
		env := secrets
		if stage != "env-push" {
			env = nil
		}
		r := w.kstepWith(env, stage)
		said += r.Stdout + r.Stderr
		if r.Exit != 0 {
			w.t.Fatalf("kstep %s: exit status %d\n%s", stage, r.Exit, r.Stderr)
		}
	}
	return said
}

// sees compares the variables of the application on a host.
func (w *world) sees(host string, want map[string]string) {
	w.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		status, got := w.get(w.rig.Host(host).URL() + "/env/" + name)
		if status != 200 || got != want[name] {
			w.t.Errorf("%s: %s is %d %s, want %s", host, name, status, short(got), short(want[name]))
		}
	}
}

// inspectsTo looks at a container that answers no requests.
func (w *world) inspectsTo(host string, want map[string]string) {
	w.t.Helper()
	c, err := w.rig.Host(host).Container(w.t.Context(), w.running(host)[0])
	if err != nil {
		w.t.Fatal(err)
	}
	for name, value := range want {
		if !slices.Contains(c.Config.Env, name+"="+value) {
			w.t.Errorf("%s: %s has not the value %s", host, name, short(value))
		}
	}
}

func short(text string) string { return fmt.Sprintf("%.80q (%d bytes)", text, len(text)) }

// hidden expects a secret nowhere: not in what kstep said, not in its files
// here, not in labels, not in the arguments of any process.
func (w *world) hidden(name, value, said, processes string) {
	w.t.Helper()
	places := map[string]string{"the output": said, "the process list": processes}
	files, err := filepath.Glob(filepath.Join(w.app.Dir, "kstep-state", "*.json"))
	if err != nil || len(files) < len(allStages()) {
		w.t.Fatalf("state files: %v, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			w.t.Fatal(err)
		}
		places[file] = string(data)
	}
	for _, h := range w.rig.Hosts {
		containers, err := h.Containers(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		for _, c := range containers {
			places["the labels of "+c.Name] = fmt.Sprint(c.Config.Labels)
		}
	}
	// A long value is looked for by its beginning: no place holds it in part.
	needle := value[:min(len(value), 40)]
	escaped, _ := json.Marshal(needle)
	for place, text := range places {
		if strings.Contains(text, needle) || strings.Contains(text, strings.Trim(string(escaped), `"`)) {
			w.t.Errorf("%s is in %s", name, place)
		}
	}
}

// private expects the env files to be for the SSH user's eyes only.
func (w *world) private() {
	w.t.Helper()
	for _, h := range w.rig.Hosts {
		files, err := h.Files(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		found := false
		for _, file := range files {
			fields := strings.Fields(file)
			if strings.Contains(fields[0], "/env/") && fields[1] == "f" {
				found = true
				if fields[2] != "600" {
					w.t.Errorf("%s: %s has mode %s, want 600", h.Name, fields[0], fields[2])
				}
			}
		}
		if !found {
			w.t.Errorf("%s: no env file in %v", h.Name, files)
		}
	}
}

// watchProcesses collects the arguments of all processes on a host and in the
// deployer, until the result is requested.
func (w *world) watchProcesses() func() string {
	w.t.Helper()
	// No process is started in the loop: it runs for a minute, on cores that the test needs.
	const script = `exec 3<> <(:)
		while [[ ! -e /tmp/watched ]]; do
			for f in /proc/[0-9]*/cmdline; do mapfile -d '' words <"$f" && echo "${words[*]}"; done
			read -rt 0.03 -u 3
		done 2>/dev/null | sort -u
		rm -f /tmp/watched`
	ctx := context.WithoutCancel(w.t.Context())
	deployer := make(chan rig.Result, 1)
	host := make(chan string, 1)
	go func() {
		r, _ := w.rig.Deployer.Run(ctx, nil, ".", "bash", "-c", script)
		deployer <- r
	}()
	go func() {
		out, _ := w.rig.Host("vm1").Exec(ctx, "bash", "-c", script)
		host <- out
	}()
	return func() string {
		_, _ = w.rig.Deployer.Run(ctx, nil, ".", "touch", "/tmp/watched")
		_, _ = w.rig.Host("vm1").Exec(ctx, "touch", "/tmp/watched")
		all := (<-deployer).Stdout + <-host
		if !strings.Contains(all, "kstep env-push") {
			w.t.Error("the watch on processes has not seen kstep")
		}
		return all
	}
}
