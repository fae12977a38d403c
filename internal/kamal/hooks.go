package kamal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/config"
)

// hookFile is a hook of Kamal's.
type hookFile struct {
	name string
	path string
	data string
}

func (s *source) readHooks() error {
	dir := ".kamal/hooks"
	if path := text(s.base.get("hooks_path")); path != "" && filepath.IsLocal(path) {
		dir = path
	}
	dir = filepath.Join(s.dir, dir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return refused("read hooks: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() || strings.Contains(e.Name(), ".") {
			continue // Samples, and what is no hook.
		}
		path := filepath.Join(dir, e.Name())
		data, err := readFile(path)
		if err != nil {
			return err
		}
		s.hooks = append(s.hooks, hookFile{e.Name(), path, data})
	}
	return nil
}

// hookName is kstep's name of a hook.
func hookName(name string) (string, bool) {
	switch name {
	case "pre-connect", "pre-build", "pre-deploy", "post-deploy", "docker-setup", "pre-traefik-reboot", "post-traefik-reboot":
		return name, true
	case "pre-app-boot":
		return "pre-boot", true
	case "post-app-boot":
		return "post-boot", true
	case "pre-proxy-reboot":
		return "pre-traefik-reboot", true
	case "post-proxy-reboot":
		return "post-traefik-reboot", true
	}
	return name, false
}

var (
	kamalVariable = regexp.MustCompile(`\bKAMAL_[A-Z_]+\b`)
	kamalCall     = regexp.MustCompile(`(^|[\s;&|("'` + "`" + `/])kamal\s+[a-z]`)
)

// kstepVariable is kstep's variable for one that Kamal gives to hooks.
func kstepVariable(name string) (string, bool) {
	rest := strings.TrimPrefix(name, "KAMAL_")
	if rest == "ROLE" {
		rest = "ROLES"
	}
	known := strings.Fields("RECORDED_AT PERFORMER VERSION SERVICE_VERSION SERVICE HOSTS ROLES COMMAND SUBCOMMAND DESTINATION RUNTIME")
	return "KSTEP_" + rest, slices.Contains(known, rest)
}

// tasksFromHooks makes tasks of the hooks that only run a command in the new
// version before it boots, and copies the others.
func (im *importer) tasksFromHooks() {
	for _, h := range im.src.hooks {
		if h.name == "pre-deploy" || h.name == "pre-app-boot" {
			if runs, rollback, ok := readMigration(h.data); ok {
				im.tasks(h, runs, rollback)
				continue
			}
		}
		im.copyHook(h)
	}
}

// taskRun is a command that a hook runs in the new version.
type taskRun struct {
	command string
	role    string
	line    int
}

func (im *importer) tasks(h hookFile, runs []taskRun, rollback bool) {
	for i, run := range runs {
		name := "migrate"
		if !strings.Contains(run.command, "migrat") {
			name = "task"
		}
		if im.out.get("tasks", name) != nil {
			name = fmt.Sprintf("%s-%d", name, i+1)
		}
		at := &node{file: h.path, line: run.line}
		im.put(commandLine(run.command, at), "tasks", name, "cmd")
		if run.role != "" {
			im.put(words(run.role, at, false), "tasks", name, "role")
		}
		said := "is the task %s, which runs once in a release before boot: %s"
		if rollback {
			said += "; the hook skipped a rollback, and a rollback runs no task"
		} else {
			said += "; the hook ran in a rollback, too, and a rollback runs no task"
		}
		im.changed(Other, "hooks."+h.name, at, said, name, run.command)
	}
}

var (
	skipsRollback = regexp.MustCompile(`^(if\s+)?\[{1,2}\s*"?\$\{?KAMAL_COMMAND\}?"?\s*==?\s*["']?rollback["']?\s*\]{1,2}$`)
	onlyDeploy    = regexp.MustCompile(`^(if\s+)?\[{1,2}\s*"?\$\{?KAMAL_COMMAND\}?"?\s*(!=\s*["']?rollback["']?|==?\s*["']?(deploy|setup|redeploy)["']?)\s*\]{1,2}$`)
	plainShell    = regexp.MustCompile(`^(#.*|set\s+[-+].*|echo(\s.*)?|then|fi|)$`)
	exits         = regexp.MustCompile(`^(then\s+)?exit(\s+[01])?$`)
)

// readMigration reads a hook that does nothing but run commands in the new
// version, and may skip a rollback.
func readMigration(script string) (runs []taskRun, rollback, ok bool) {
	if first, _, _ := strings.Cut(script, "\n"); strings.HasPrefix(first, "#!") && !strings.HasSuffix(strings.TrimSpace(first), "sh") {
		return nil, false, false
	}
	skipping, chosen := false, false
	joined := strings.ReplaceAll(script, "\\\n", " \x00") // A line that goes on keeps its number.
	line := 0
	for text := range strings.SplitSeq(joined, "\n") {
		line++
		number := line
		line += strings.Count(text, "\x00")
		text = strings.ReplaceAll(text, "\x00", "")
		for _, statement := range statementsOf(text) {
			statement, isElse := strings.CutPrefix(statement, "||")
			statement = strings.TrimSpace(strings.TrimPrefix(statement, "then "))
			switch {
			case skipsRollback.MatchString(statement):
				rollback, skipping = true, true
			case onlyDeploy.MatchString(statement):
				rollback, chosen = true, true
			case isElse && exits.MatchString(statement):
				if !chosen && len(runs) == 0 {
					return nil, false, false
				}
			case exits.MatchString(statement):
				if !skipping && len(runs) == 0 {
					return nil, false, false
				}
				skipping = false
			case plainShell.MatchString(statement) && !strings.ContainsAny(unquoted(statement), "|<>&`") && !strings.Contains(statement, "$("):
			default:
				run, is := readExec(statement)
				if !is {
					return nil, false, false
				}
				run.line = number
				runs = append(runs, run)
			}
		}
	}
	return runs, rollback, len(runs) > 0
}

// statementsOf splits a line of shell at semicolons and && outside of quotes.
func statementsOf(line string) []string {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "#") {
		return []string{line}
	}
	var all []string
	var quote rune
	start, skip := 0, false
	for i, r := range line {
		switch {
		case skip:
			skip = false
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case r == '#' && i > 0 && strings.ContainsAny(line[i-1:i], " \t;"):
			return append(all, strings.TrimSpace(line[start:i]))
		case r == ';':
			all = append(all, strings.TrimSpace(line[start:i]))
			start = i + 1
		case strings.HasPrefix(line[i:], "&&"):
			all = append(all, strings.TrimSpace(line[start:i]))
			start, skip = i+2, true
		case strings.HasPrefix(line[i:], "||"):
			all = append(all, strings.TrimSpace(line[start:i]))
			start, skip = i, true // The next statement begins with it.
		}
	}
	return append(all, strings.TrimSpace(line[start:]))
}

// readExec reads `kamal app exec --version "$KAMAL_VERSION" … CMD`.
func readExec(statement string) (taskRun, bool) {
	all, err := config.Words(statement)
	if err != nil || strings.ContainsAny(unquoted(statement), "|<>&`") {
		return taskRun{}, false
	}
	if len(all) > 2 && all[0] == "bundle" && all[1] == "exec" {
		all = all[2:]
	}
	if len(all) < 4 || filepath.Base(all[0]) != "kamal" || all[1] != "app" || all[2] != "exec" {
		return taskRun{}, false
	}
	var run taskRun
	versioned := false
	all = all[3:]
	for len(all) > 0 && strings.HasPrefix(all[0], "-") {
		name, value, given := strings.Cut(all[0], "=")
		all = all[1:]
		switch name {
		case "--version", "-r", "--roles", "-d", "--destination", "-c", "--config-file":
			if !given && len(all) > 0 {
				value, all = all[0], all[1:]
			}
		case "-p", "--primary", "-q", "--quiet", "-v", "--verbose":
		default:
			return taskRun{}, false // Among them --reuse, which is the old version.
		}
		switch name {
		case "--version":
			versioned = strings.Trim(value, "${}") == "KAMAL_VERSION"
		case "-r", "--roles":
			run.role = value
		}
	}
	if run.command = strings.Join(all, " "); strings.Contains(run.role, ",") || strings.ContainsAny(run.role, "$*") {
		return taskRun{}, false
	}
	return run, versioned && run.command != "" && !strings.Contains(run.command, "KAMAL_")
}

// copyHook copies a hook with the names of kstep. One that calls kamal is not
// executable, so that it runs only once it has been changed.
func (im *importer) copyHook(h hookFile) {
	key := "hooks." + h.name
	at := &node{file: h.path, line: 1}
	name, known := hookName(h.name)
	if !known {
		im.lost(Other, key, at, "kstep has no hook of this name; it is not copied")
		return
	}
	var missing, mapped, calls []string
	for i, line := range strings.Split(h.data, "\n") {
		for _, v := range kamalVariable.FindAllString(line, -1) {
			to, has := kstepVariable(v)
			if !has && !slices.Contains(missing, v) {
				missing = append(missing, v)
				im.changed(Other, key, &node{file: h.path, line: i + 1}, "kstep gives no variable for %s: %s", v, strings.TrimSpace(line))
			}
			if has && !slices.Contains(mapped, v+" is "+to) {
				mapped = append(mapped, v+" is "+to)
			}
		}
		if kamalCall.MatchString(line) && !strings.HasPrefix(strings.TrimSpace(line), "#") {
			calls = append(calls, line)
			im.changed(Other, key, &node{file: h.path, line: i + 1}, "calls kamal: %s", strings.TrimSpace(line))
		}
	}
	if slices.ContainsFunc(im.hooks, func(f File) bool { return f.Path == ".kstep/hooks/"+name }) {
		im.lost(Other, key, at, "another hook has the same name in kstep, %s; it is not copied", name)
		return
	}
	data := kamalVariable.ReplaceAllStringFunc(h.data, func(v string) string {
		if to, has := kstepVariable(v); has {
			return to
		}
		return v
	})
	said := "is copied to .kstep/hooks/" + name
	if len(mapped) > 0 {
		said += "; " + strings.Join(mapped, ", ")
	}
	if len(calls) > 0 {
		said += "; it calls kamal, so it is not executable: change it, then chmod +x"
	}
	im.changed(Other, key, at, "%s", said)
	im.hooks = append(im.hooks, File{Path: ".kstep/hooks/" + name, Data: []byte(data), Executable: len(calls) == 0})
}
