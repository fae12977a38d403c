package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// entry is one file of the folder on its way through the checks.
type entry struct {
	name   string // In the folder.
	path   string
	data   []byte
	digest string
	file   *File
}

// probe is what is looked at before the schema is: who wrote this, and how.
type probe struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Tool       struct {
		Version string `json:"version"`
	} `json:"tool"`
}

var apiVersion = regexp.MustCompile(`^kstep/v([1-9][0-9]{0,5})$`)

// ours is the first check: JSON, and of kstep.
func (e *entry) ours() (probe, error) {
	var p probe
	again := "fetch it again, or run `kstep " + stageOf(e.name) + "` again"
	trimmed := bytes.TrimSpace(e.data)
	switch {
	case len(e.data) == 0:
		return p, bad(e.path, "is empty", again)
	case len(bytes.Trim(e.data, "\x00")) == 0:
		return p, bad(e.path, "holds only zero bytes: the disk or the download failed", again)
	case bytes.HasPrefix(e.data, []byte("PK\x03\x04")), bytes.HasPrefix(e.data, []byte{0x1f, 0x8b}):
		return p, bad(e.path, "is an archive", "unpack the artifact into the state folder")
	case bytes.HasPrefix(trimmed, []byte("<")):
		return p, bad(e.path, "is a web page, not a state file: a download gave an error or login page", again)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(e.data, &fields); err != nil {
		return p, bad(e.path, notJSON(e.data, err), again)
	}
	if err := json.Unmarshal(e.data, &p); err != nil || !strings.HasPrefix(p.APIVersion, "kstep/") {
		what := "is not a kstep state file"
		if tool := foreign(fields); tool != "" {
			what += "; it looks like " + tool
		}
		return p, bad(e.path, what, "move it out of the state folder, or choose another folder with --state-dir")
	}
	return p, nil
}

// notJSON says whether a file was cut off or never was JSON.
func notJSON(data []byte, err error) string {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		if syntax.Offset >= int64(len(data)) && bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
			return fmt.Sprintf("ends in the middle, after %d bytes: it was cut off while it was copied", len(data))
		}
		line := 1 + bytes.Count(data[:min(syntax.Offset, int64(len(data)))], []byte("\n"))
		return fmt.Sprintf("is not JSON: line %d: %v", line, err)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return "ends in the middle: it was cut off while it was copied"
	}
	return "is not a JSON object"
}

// foreign recognises files that other tools leave in CI workspaces.
func foreign(fields map[string]json.RawMessage) string {
	has := func(keys ...string) bool {
		return !slices.ContainsFunc(keys, func(key string) bool { return fields[key] == nil })
	}
	switch {
	case has("terraform_version", "lineage"):
		return "a Terraform state"
	case has("terraform_version", "resource_changes"):
		return "a Terraform plan"
	case has("builds") && len(fields) == 1:
		return "Skaffold's build output"
	case has("containerimage.digest"), has("containerimage.config.digest"):
		return "buildx's metadata file"
	case has("schemaVersion", "layers"), has("schemaVersion", "manifests"):
		return "an image manifest"
	case has("name", "dependencies"), has("name", "scripts"):
		return "a package.json"
	case has("apiVersion", "kind", "metadata"):
		return "a Kubernetes object"
	}
	return ""
}

// readable is the second check: a format this kstep knows.
func (e *entry) readable(p probe) error {
	m := apiVersion.FindStringSubmatch(p.APIVersion)
	if m == nil {
		return bad(e.path, fmt.Sprintf("has the unknown format %q", p.APIVersion),
			"restore it from the job that made it, or run `kstep "+stageOf(e.name)+"` again")
	}
	own, _ := strconv.Atoi(strings.TrimPrefix(APIVersion, "kstep/v"))
	if major, _ := strconv.Atoi(m[1]); major > own {
		writer := p.Tool.Version
		if writer == "" {
			writer = "a newer version"
		}
		return bad(e.path, fmt.Sprintf("was written by kstep %s in the newer format %s; this one reads up to %s",
			writer, p.APIVersion, APIVersion),
			"use kstep "+writer+" or newer in every job of a pipeline")
	}
	return nil
}

// versionForm is that of a tag of an image, which a version becomes.
var versionForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// wellFormed is the third check: the schema, and what a schema cannot say. It
// decodes the file.
func (e *entry) wellFormed(validate Validator) error {
	again := "restore it from the job that made it, or run `kstep " + stageOf(e.name) + "` again"
	if validate != nil {
		if err := validate(e.data); err != nil {
			return bad(e.path, "breaks the schema of "+APIVersion+": "+err.Error(), again)
		}
	}
	if err := e.decode(); err != nil {
		at := "/"
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			at += strings.ReplaceAll(t.Field, ".", "/")
			err = fmt.Errorf("got a %s", t.Value)
		}
		return bad(e.path, fmt.Sprintf("breaks the schema of %s: %s: %v", APIVersion, at, err), again)
	}
	f := e.file
	if at, what := f.fault(); what != "" {
		return bad(e.path, fmt.Sprintf("breaks the schema of %s: %s: %s", APIVersion, at, what), again)
	}
	if want := FileName(f.Stage, f.Shard); want != e.name {
		return bad(e.path, fmt.Sprintf("holds the state that belongs into %s", want), "rename it, or fetch it again")
	}
	return nil
}

func (e *entry) decode() error {
	e.file = new(File)
	return json.Unmarshal(e.data, e.file)
}

// fault is the first thing wrong with a decoded file, with its JSON pointer.
func (f *File) fault() (at, what string) {
	for _, field := range []struct{ at, value string }{
		{"/service", f.Service}, {"/version", f.Version}, {"/stage", f.Stage}, {"/tool/name", f.Tool.Name},
	} {
		if field.value == "" {
			return field.at, "is empty"
		}
	}
	switch {
	case f.Kind != Kind:
		return "/kind", fmt.Sprintf("is %q, not %q", f.Kind, Kind)
	case !versionForm.MatchString(f.Version):
		return "/version", "is not a version: at most 128 letters, digits, _, . and -"
	case !validRelease(f.Release):
		return "/release", "is not a release id"
	case !f.Status.known():
		return "/status", fmt.Sprintf("unknown status %q", f.Status)
	case f.Started.IsZero() || f.Finished.IsZero():
		return "/finished", "is missing, or started is"
	}
	for i, in := range f.Inputs {
		if in.Stage == "" || !digestForm.MatchString(in.Digest) {
			return fmt.Sprintf("/inputs/%d", i), "names no stage and sha256 digest"
		}
	}
	for i, t := range f.Targets {
		if t.Host == "" || !t.Status.known() {
			return fmt.Sprintf("/targets/%d", i), "names no host and known status"
		}
	}
	return "", ""
}

func (s Status) known() bool {
	return slices.Contains([]Status{OK, Unchanged, Partial, Failed, Interrupted}, s)
}
