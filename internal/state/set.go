package state

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/exit"
)

// Set is the state files that a stage reads, the shards of each stage united.
// The zero Set holds none.
type Set struct {
	files  map[string]*File
	inputs []Input
}

// NewSet makes a Set of files that are already one per stage. It has no
// inputs; it is for callers that hold files from elsewhere than a folder.
func NewSet(files ...*File) Set {
	set := Set{files: map[string]*File{}}
	for _, f := range files {
		set.files[f.Stage] = f
	}
	return set
}

// File is the united file of a stage, or nil.
func (s Set) File(stage string) *File { return s.files[stage] }

// Inputs name every file that was read, for the chain.
func (s Set) Inputs() []Input { return slices.Clone(s.inputs) }

// Release is the newest release in the set, or empty.
func (s Set) Release() string {
	release := ""
	for f := range maps.Values(s.files) {
		release = max(release, f.Release)
	}
	return release
}

// Version is the version of the set's newest release, or empty.
func (s Set) Version() string {
	release, version := s.Release(), ""
	for f := range maps.Values(s.files) {
		if f.Release == release {
			version = cmp.Or(version, f.Version)
		}
	}
	return version
}

// OwnOutputs decodes what an earlier run of a stage left in its own file. No
// file, or one without outputs, gives the zero value.
func OwnOutputs[T any](own *File) (T, error) {
	var none T
	if own == nil || len(own.Outputs) == 0 {
		return none, nil
	}
	return Outputs[T](NewSet(own), own.Stage)
}

// Outputs decodes a stage's outputs.
func Outputs[T any](s Set, stage string) (T, error) {
	var out T
	f := s.File(stage)
	if f == nil {
		return out, exit.Errorf(exit.MissingState, "state of %s was not read", stage)
	}
	if len(f.Outputs) == 0 {
		return out, exit.Errorf(exit.BadState, "state of %s has no outputs", stage)
	}
	if err := json.Unmarshal(f.Outputs, &out); err != nil {
		return out, exit.With(exit.BadState, fmt.Errorf("decode outputs of %s: %w", stage, err))
	}
	return out, nil
}

// MissingTargets are those of want (by Key) that the stage's files do not
// have, sorted. A target without a role stands for all roles of its host.
func (s Set) MissingTargets(stage string, want []string) []string {
	have := map[string]bool{}
	if f := s.File(stage); f != nil {
		for _, t := range f.Targets {
			have[Key(t.Role, t.Host)] = true
		}
	}
	var missing []string
	for _, key := range want {
		_, host, _ := strings.Cut(key, "@")
		if !have[key] && !have[Key("", host)] {
			missing = append(missing, key)
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// RequireTargets is MissingTargets as an error that names the targets and the
// command that makes them.
func (s Set) RequireTargets(stage string, want []string) error {
	missing := s.MissingTargets(stage, want)
	if len(missing) == 0 {
		return nil
	}
	var roles, hosts []string
	for _, key := range missing {
		role, host, _ := strings.Cut(key, "@")
		roles, hosts = append(roles, role), append(hosts, host)
	}
	slices.Sort(roles)
	slices.Sort(hosts)
	command := "kstep " + stage + " --hosts " + strings.Join(slices.Compact(hosts), ",")
	if roles = slices.Compact(roles); len(roles) > 0 && roles[0] != "" {
		command += " --roles " + strings.Join(roles, ",")
	}
	return exit.With(exit.MissingState,
		fmt.Errorf("state of %s misses %s", stage, strings.Join(missing, ", ")),
		"run `"+command+"`, or fetch the state files of the jobs that did")
}

// United is the one file of each stage that its shards make together: of each
// target the run that finished later counts. A stage of which a shard failed, and
// no later run made that good, has failed. It checks nothing.
func United(files []*File) Set {
	byStage := map[string][]*entry{}
	for _, f := range files {
		byStage[f.Stage] = append(byStage[f.Stage], &entry{name: FileName(f.Stage, f.Shard), file: f})
	}
	set := Set{files: map[string]*File{}}
	for stage, shards := range byStage {
		sortShards(shards)
		merged, winner, err := merge(shards)
		if err != nil { // Outputs that are no object: the last file counts.
			merged = shards[len(shards)-1].file
		}
		for i, e := range shards {
			if merged.Status.Done() && !e.file.Status.Done() && !healed(e, shards[i+1:], winner) {
				failed := *merged
				failed.Status, failed.Reason, failed.ExitCode = e.file.Status, e.file.Reason, e.file.ExitCode
				merged = &failed
			}
		}
		set.files[stage] = merged
	}
	return set
}

func sortShards(shards []*entry) {
	slices.SortStableFunc(shards, func(a, b *entry) int {
		return cmp.Or(a.file.Finished.Compare(b.file.Finished), cmp.Compare(a.name, b.name))
	})
}

// unite makes one file of each stage's shards and does the status check.
func unite(entries []*entry, resume bool) (Set, error) {
	set := Set{files: map[string]*File{}}
	byStage := map[string][]*entry{}
	for _, e := range entries {
		byStage[e.file.Stage] = append(byStage[e.file.Stage], e)
		set.inputs = append(set.inputs, Input{Stage: e.file.Stage, Shard: e.file.Shard, Digest: e.digest})
	}
	var errs []error
	for _, stage := range slices.Sorted(maps.Keys(byStage)) {
		shards := byStage[stage]
		sortShards(shards)
		merged, winner, err := merge(shards)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !resume {
			errs = append(errs, unfinished(shards, winner))
		}
		set.files[stage] = merged
	}
	return set, errors.Join(errs...)
}

// merge unites shards, sorted by the time they finished: of each target the
// later one wins. The map contains the shard from which a target was taken.
func merge(shards []*entry) (*File, map[string]*entry, error) {
	winner := map[string]*entry{}
	targets := map[string]Target{}
	for _, e := range shards {
		for _, t := range e.file.Targets {
			key := Key(t.Role, t.Host)
			winner[key], targets[key] = e, t
		}
	}
	last := shards[len(shards)-1].file
	if len(shards) == 1 {
		return last, winner, nil
	}
	merged := *last
	merged.Shard, merged.Sum, merged.Supersedes = "", "", nil
	merged.Inputs = nil
	for _, e := range shards {
		if e.file.Started.Before(merged.Started) {
			merged.Started = e.file.Started
		}
		for _, in := range e.file.Inputs {
			if !slices.Contains(merged.Inputs, in) {
				merged.Inputs = append(merged.Inputs, in)
			}
		}
	}
	merged.Targets = slices.Collect(maps.Values(targets))
	sortTargets(merged.Targets)
	merged.Status, merged.Reason = unitedStatus(merged.Targets, last)
	outputs, err := mergeOutputs(shards, winner)
	merged.Outputs = outputs
	return &merged, winner, err
}

func unitedStatus(targets []Target, last *File) (Status, string) {
	if len(targets) == 0 || !last.Status.Done() {
		return last.Status, last.Reason
	}
	unchanged, undone := 0, 0
	for _, t := range targets {
		switch {
		case t.Status == Unchanged:
			unchanged++
		case !t.Status.Done():
			undone++
		}
	}
	switch {
	case undone == len(targets):
		return Failed, "all targets failed"
	case undone > 0:
		return Partial, fmt.Sprintf("%d of %d targets failed", undone, len(targets))
	case unchanged == len(targets):
		return Unchanged, ""
	}
	return OK, ""
}

// mergeOutputs unites the objects that are keyed by target or host; of
// everything else the later file's value holds. A target's outputs come from
// the file that its status comes from, so an older shard's never survive it.
func mergeOutputs(shards []*entry, winner map[string]*entry) (json.RawMessage, error) {
	united := map[string]json.RawMessage{}
	keyed := map[string]map[string]json.RawMessage{}
	for _, e := range shards {
		if len(e.file.Outputs) == 0 {
			continue
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(e.file.Outputs, &fields); err != nil {
			return nil, bad(e.path, "breaks the schema of "+APIVersion+": /outputs: is no object")
		}
		for name, value := range fields {
			united[name] = value
			if name != "targets" && name != "hosts" {
				continue
			}
			var items map[string]json.RawMessage
			if err := json.Unmarshal(value, &items); err != nil {
				return nil, bad(e.path, "breaks the schema of "+APIVersion+": /outputs/"+name+": is no object")
			}
			if keyed[name] == nil {
				keyed[name] = map[string]json.RawMessage{}
			}
			for key, item := range items {
				if w := winner[key]; w == nil || w == e {
					keyed[name][key] = item
				}
			}
		}
	}
	for name, items := range keyed {
		value, err := json.Marshal(items)
		if err != nil {
			return nil, err
		}
		united[name] = value
	}
	if len(united) == 0 {
		return nil, nil
	}
	return json.Marshal(united)
}

// unfinished is the status check: a stage that failed may not be built upon,
// unless later runs of it made good everything that failed.
func unfinished(shards []*entry, winner map[string]*entry) error {
	var errs []error
	for i, e := range shards {
		if e.file.Status.Done() || healed(e, shards[i+1:], winner) {
			continue
		}
		what := "shows that " + e.file.Stage + " ended " + string(e.file.Status)
		if e.file.Reason != "" {
			what += ": " + e.file.Reason
		}
		errs = append(errs, bad(e.path, what, "run `kstep "+e.file.Stage+"` again; it goes on with what is left"))
	}
	return errors.Join(errs...)
}

func healed(e *entry, after []*entry, winner map[string]*entry) bool {
	for _, other := range after {
		if other.file.Status.Done() && (other.file.Shard == "" || other.file.Shard == e.file.Shard) {
			return true
		}
	}
	failed := 0
	for _, t := range e.file.Targets {
		if t.Status.Done() {
			continue
		}
		failed++
		key := Key(t.Role, t.Host)
		if w := winner[key]; w == e || !targetDone(w.file, key) {
			return false
		}
	}
	// A stage that failed although each of its targets is fine failed outside
	// of them, in a hook for instance; no other shard makes that good.
	return failed > 0
}

func targetDone(f *File, key string) bool {
	return slices.ContainsFunc(f.Targets, func(t Target) bool {
		return Key(t.Role, t.Host) == key && t.Status.Done()
	})
}
