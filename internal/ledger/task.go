package ledger

import (
	"maps"
	"slices"
	"time"
)

// TaskStatus is how far a task of a release is.
type TaskStatus string

// The statuses of a task. One that is done or unclear never runs again in its
// release.
const (
	TaskStarted TaskStatus = "started" // Its container may run, or have run.
	TaskDone    TaskStatus = "done"
	TaskFailed  TaskStatus = "failed"
	TaskUnclear TaskStatus = "unclear" // Stopped, and it said that all was well.
	TaskSkipped TaskStatus = "skipped" // The release goes back.
)

// Over reports whether the task has nothing to do any more in its release.
func (s TaskStatus) Over() bool { return s == TaskDone || s == TaskSkipped }

// Task is what became of a task of a release.
type Task struct {
	Status    TaskStatus `json:"status"`
	Container string     `json:"container"`
	ExitCode  int        `json:"exitCode"`
	At        time.Time  `json:"at"`
}

// Task is what became of a release's task here, and nothing if it never ran.
func (l Ledger) Task(release, name string) Task {
	r, _ := l.Find(release)
	return r.Tasks[name]
}

// StartTask is NoteTask for who has seen the task as it was and is about to
// start it: of several, one may.
func (l *Ledger) StartTask(release, name string, seen, t Task) bool {
	if now := l.Task(release, name); now.Status != seen.Status || now.Container != seen.Container || !now.At.Equal(seen.At) {
		return false
	}
	return l.put(release, name, t)
}

// NoteTask writes down how far a task is. It reports whether that changed
// anything; nothing does in a ledger that does not know the release.
func (l *Ledger) NoteTask(release, name string, t Task) bool {
	have := l.Task(release, name)
	if have.Status == t.Status && have.Container == t.Container && have.ExitCode == t.ExitCode {
		return false
	}
	return l.put(release, name, t)
}

func (l *Ledger) put(release, name string, t Task) bool {
	at := slices.IndexFunc(l.Releases, func(r Release) bool { return r.ID == release })
	if at < 0 {
		return false
	}
	tasks := maps.Clone(l.Releases[at].Tasks)
	if tasks == nil {
		tasks = map[string]Task{}
	}
	tasks[name] = t
	l.Releases = slices.Clone(l.Releases)
	l.Releases[at].Tasks = tasks
	return true
}
