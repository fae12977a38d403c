// Command gen writes what is generated from the Go types: the JSON Schemas of
// kstep.yml, of the state files and of plans, and docs/config.md. `make generate` runs
// it; the tests beside it fail when a checked-in file is not what it makes. It
// is no part of kstep itself.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/invopop/jsonschema"
)

//go:generate go run .

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1) //nolint:forbidigo // This is main.
	}
}

func run() error {
	files, err := generate()
	if err != nil {
		return err
	}
	for path, data := range files {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate makes all files, by path, and moves to the module's root: comments
// are looked up by the paths of the source files.
func generate() (map[string][]byte, error) {
	if err := chdirRoot(); err != nil {
		return nil, err
	}
	cfg, err := configSchema()
	if err != nil {
		return nil, fmt.Errorf("reflect config: %w", err)
	}
	st, err := stateSchema()
	if err != nil {
		return nil, fmt.Errorf("reflect state: %w", err)
	}
	pl, err := planSchema()
	if err != nil {
		return nil, fmt.Errorf("reflect plan: %w", err)
	}
	files := map[string][]byte{}
	for path, s := range map[string]*jsonschema.Schema{
		"schema/config.schema.json": cfg,
		"schema/state.schema.json":  st,
		"schema/plan.schema.json":   pl,
	} {
		if files[path], err = indented(s); err != nil {
			return nil, fmt.Errorf("write %s: %w", path, err)
		}
	}
	files["docs/config.md"] = configDocs(cfg)
	return files, nil
}

func chdirRoot() error {
	for {
		if _, err := os.Stat("go.mod"); err == nil {
			return nil
		}
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		if dir == filepath.Dir(dir) {
			return fmt.Errorf("no go.mod in this folder or above it")
		}
		if err := os.Chdir(".."); err != nil {
			return err
		}
	}
}

func indented(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b.Bytes(), "", "  "); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
