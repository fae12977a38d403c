package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

// allStages are the stages in order; those from firstHost on touch hosts.
func allStages() []string {
	return []string{"build", "push", "assets", "env-push", "boot", "barrier-wait", "cutover", "prune"}
}

// backStages are those of a rollback.
func backStages() []string { return allStages()[1:] }

// deploy is one measured deploy of a new version to both hosts.
type deploy struct {
	// whole is the life of the process, or of all eight one after another.
	whole time.Duration
	// host is from the beginning of assets to the end of prune, by their state
	// files.
	host   time.Duration
	stages map[string]time.Duration
	// back is the life of the `kstep rollback` after it, and its stages.
	back       time.Duration
	backStages map[string]time.Duration

	// What became of the traffic during this deploy and the floor beside it.
	requests, failed int
	slowest          time.Duration
}

// list shows what each stage took, in one line.
func (d deploy) list() string {
	var parts []string
	for _, stage := range allStages() {
		parts = append(parts, stage+" "+number(d.stages[stage]))
	}
	return strings.Join(parts, ", ")
}

// bench is the rig, set up for one shape.
type bench struct {
	shape shape
	app   *rig.App
	twin  *rig.App // Makes the floor's images: the same app by another name.
	rig   *rig.Rig
	hosts []*floorHost
	// binary is the app's. Each version gets its own bytes behind the end, so
	// that the layer that is big is a new one, as with any compiled app.
	binary string
	count  int
}

const (
	service = "shop"
	twin    = "floor"
)

func newBench(ctx context.Context, r *rig.Rig, s shape) (*bench, error) {
	if err := r.Reset(ctx); err != nil {
		return nil, err
	}
	b := &bench{shape: s, rig: r}
	var err error
	if b.app, err = r.NewApp("bench", b.version(service)); err != nil {
		return nil, err
	}
	if b.twin, err = r.NewApp("bench-floor", b.version(twin)); err != nil {
		return nil, err
	}
	binary, err := os.ReadFile(b.app.Dir + "/app")
	if err != nil {
		return nil, err
	}
	b.binary = string(binary)
	// The first version makes what later ones find: network, proxy, folders.
	if _, err := b.kstep(ctx, b.app, "deploy"); err != nil {
		return nil, err
	}
	for _, h := range []string{"vm1", "vm2"} {
		one, err := newFloorHost(ctx, r.Host(h))
		if err != nil {
			return nil, err
		}
		b.hosts = append(b.hosts, one)
	}
	return b, nil
}

// version is the next one.
func (b *bench) version(service string) rig.AppVersion {
	b.count++
	name := fmt.Sprintf("b%d", b.count)
	files := map[string]string{
		".gitignore": "kstep-state/\n",
		"kstep.yml": fmt.Sprintf(`service: %s
image: acme/%s
registry: {server: %q, insecure: true}
servers: [vm1, vm2]
retain: 2
%s`, service, service, rig.Registry, b.shape.yaml),
	}
	if b.binary != "" {
		files["app"] = b.binary + name + time.Now().String()
	}
	return rig.AppVersion{Version: name, Shell: b.shape.shell, Files: files}
}

// prepare commits the next version of the app, and puts an image of the same
// size in the registry for the floor.
func (b *bench) prepare(ctx context.Context) (version, image string, err error) {
	if version, err = b.app.Commit(b.version(service)); err != nil {
		return "", "", err
	}
	tag, err := b.twin.Commit(b.version(twin))
	if err != nil {
		return "", "", err
	}
	for _, stage := range []string{"build", "push"} {
		if _, err := b.kstep(ctx, b.twin, stage); err != nil {
			return "", "", err
		}
	}
	return version, rig.Registry + "/acme/" + twin + ":" + tag, nil
}

// deploy measures the deploy of the commit that is checked out.
func (b *bench) deploy(ctx context.Context, version string) (deploy, error) {
	commands := []string{"deploy"}
	if b.shape.separate {
		commands = allStages()
	}
	d := deploy{stages: map[string]time.Duration{}}
	for _, command := range commands {
		took, err := b.kstep(ctx, b.app, command)
		if err != nil {
			return d, err
		}
		d.whole += took
	}
	var begun, ended time.Time
	for _, stage := range allStages() {
		file, err := readState(b.app, stage)
		if err != nil {
			return d, err
		}
		if file.Version != version || file.Status != "ok" && file.Status != "unchanged" {
			return d, fmt.Errorf("%s says %s of version %s, want version %s", stage, file.Status, file.Version, version)
		}
		d.stages[stage] = file.Finished.Sub(file.Started)
		if stage == "assets" {
			begun = file.Started
		}
		ended = file.Finished
	}
	d.host = ended.Sub(begun)
	return d, nil
}

// rollback measures the way back to the version before.
func (b *bench) rollback(ctx context.Context, d *deploy) error {
	took, err := b.kstep(ctx, b.app, "rollback")
	if err != nil {
		return err
	}
	d.back, d.backStages = took, map[string]time.Duration{}
	for _, stage := range backStages() {
		file, err := readState(b.app, stage)
		if err != nil {
			return err
		}
		d.backStages[stage] = file.Finished.Sub(file.Started)
	}
	return nil
}

// state is the part of a state file that is looked at.
type state struct {
	Version, Status   string
	Started, Finished time.Time
}

func readState(app *rig.App, stage string) (state, error) {
	var s state
	data, err := os.ReadFile(app.Dir + "/kstep-state/" + stage + ".json")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}

// timed runs a command and prints its own life span, without that of `docker exec`.
const timed = `from=$EPOCHREALTIME; "$@" >&2; status=$?; to=$EPOCHREALTIME
echo $(((${to/./} - ${from/./}))); exit $status`

// kstep runs one process in the deployer and returns how long it lived.
func (b *bench) kstep(ctx context.Context, app *rig.App, args ...string) (time.Duration, error) {
	return spanOf(ctx, b.rig, app.Work, append([]string{"kstep"}, args...)...)
}

func spanOf(ctx context.Context, r *rig.Rig, dir string, argv ...string) (time.Duration, error) {
	result, err := r.Deployer.Run(ctx, nil, dir, append([]string{"bash", "-c", timed, "timed"}, argv...)...)
	if err != nil {
		return 0, err
	}
	if result.Exit != 0 {
		return 0, fmt.Errorf("%s: exit status %d\n%s", strings.Join(argv, " "), result.Exit, result.Stderr)
	}
	micros, err := strconv.Atoi(strings.TrimSpace(result.Stdout))
	return time.Duration(micros) * time.Microsecond, err
}

// starts is how often the start of the program is measured.
const starts = 21

// startTime is what it takes to start kstep and have it say something.
func startTime(ctx context.Context, r *rig.Rig) (time.Duration, error) {
	var all []time.Duration
	for range starts {
		took, err := spanOf(ctx, r, "", "kstep", "version")
		if err != nil {
			return 0, err
		}
		all = append(all, took)
	}
	if len(all) == 0 {
		return 0, errors.New("not measured")
	}
	return median(all), nil
}
