package main

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/state"
)

// Set by the linker: see `make dist`.
var (
	linkedVersion = "" //nolint:gochecknoglobals // Only the linker can write here.
	linkedCommit  = "" //nolint:gochecknoglobals // Only the linker can write here.
)

// buildInfo is this program as state files name it.
func buildInfo() state.Tool {
	tool := state.Tool{Name: "kstep", Version: linkedVersion, Commit: linkedCommit}
	if info, ok := debug.ReadBuildInfo(); ok && tool.Version == "" {
		tool.Version = info.Main.Version
	}
	if tool.Version == "" || tool.Version == "(devel)" {
		tool.Version = "0.0.0-dev"
	}
	return tool
}

// configureVersion declares `kstep version`.
func configureVersion(p *program, app *kingpin.Application, actions map[string]action) {
	app.Command("version", "Print the version.")
	actions["version"] = func(context.Context) error {
		tool := buildInfo()
		if p.global.output != "json" {
			p.result("kstep %s", tool.Version)
			return nil
		}
		return p.encode(struct {
			state.Tool
			Go       string `json:"go"`
			Platform string `json:"platform"`
		}{tool, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
	}
}
