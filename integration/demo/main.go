// Command demo shows what kstep is for, on the rig: it deploys one version of
// an app, sends traffic, deploys the next one stage by stage, and shows what
// the users of the app noticed. It leaves everything running.
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// config is the app's kstep.yml: two web hosts behind a load balancer, and a
// worker.
const config = `service: shop
image: acme/shop
registry: {server: "` + rig.Registry + `", insecure: true}
servers:
  web: [vm1, vm2]
  job:
    hosts: [vm3]
    cmd: /app/bin work
    healthcheck: {settle: 1s}
asset_path: /app/public/assets
proxy: {image: "` + rig.TraefikImage + `"}
`

// allStages are the stages in order.
func allStages() []string {
	return []string{"build", "push", "assets", "env-push", "boot", "barrier-wait", "cutover", "prune"}
}

// demo is the stage of the play.
type demo struct {
	rig *rig.Rig
	app *rig.App
}

func run(ctx context.Context) error {
	d, err := begin(ctx)
	if err != nil {
		return err
	}
	took, err := d.kstep(ctx, "deploy")
	if err != nil {
		return err
	}
	fmt.Printf("\nversion 1 is deployed to vm1, vm2 and vm3 (%s); now version 2, one process a stage, under traffic\n\n", seconds(took))

	load, err := d.rig.StartTraffic(ctx, rig.Load{})
	if err != nil {
		return err
	}
	sum, err := d.second(ctx, load)
	if err != nil {
		load.Stop()
		return err
	}
	fmt.Print(verdict(sum))
	if err := d.check(ctx); err != nil {
		return err
	}
	fmt.Print(farewell)
	if sum.Failed > 0 {
		return fmt.Errorf("%d requests failed", sum.Failed)
	}
	return nil
}

func begin(ctx context.Context) (*demo, error) {
	fmt.Println("bringing up the rig: seconds, or some 20 minutes the first time, when it builds what it cannot pull")
	r, err := rig.Up(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.Reset(ctx); err != nil {
		return nil, err
	}
	app, err := r.NewApp("demo", version("1"))
	return &demo{rig: r, app: app}, err
}

func version(name string) rig.AppVersion {
	return rig.AppVersion{Version: name, Files: map[string]string{"kstep.yml": config, ".gitignore": "kstep-state/\n"}}
}

// second deploys version 2, each stage as a process of its own as in a CI
// system, while the traffic goes on, and prints a line for each.
func (d *demo) second(ctx context.Context, load *rig.Traffic) (rig.Summary, error) {
	if err := load.WaitVersion(ctx, "1"); err != nil {
		return rig.Summary{}, err
	}
	if _, err := d.app.Commit(version("2")); err != nil {
		return rig.Summary{}, err
	}
	row("stage", "time", "hosts", "requests", "failed", "slowest", "answered by")
	load.Lap()
	from := time.Now()
	for _, stage := range allStages() {
		took, err := d.kstep(ctx, stage)
		if err != nil {
			return rig.Summary{}, err
		}
		hosts, err := d.hosts(stage)
		if err != nil {
			return rig.Summary{}, err
		}
		lap := load.Lap()
		row(stage, seconds(took), strings.Join(hosts, " "), count(lap.Total), count(lap.Failed), ms(lap.Slowest), answered(lap))
	}
	took := time.Since(from)
	sum := load.Stop()
	row("all", seconds(took), "", count(sum.Total), count(sum.Failed), ms(sum.Slowest), "")
	return sum, nil
}

// kstep runs one process in the deployer, which knows the hosts by SSH only.
func (d *demo) kstep(ctx context.Context, args ...string) (time.Duration, error) {
	from := time.Now()
	result, err := d.rig.Deployer.Run(ctx, nil, d.app.Work, append([]string{"kstep"}, args...)...)
	if err == nil && result.Exit != 0 {
		err = fmt.Errorf("kstep %s: exit status %d\n%s", strings.Join(args, " "), result.Exit, result.Stderr)
	}
	return time.Since(from), err
}

// check expects every web host to answer with version 2.
func (d *demo) check(ctx context.Context) error {
	var errs []error
	for _, url := range []string{d.rig.LoadBalancerURL(), d.rig.Host("vm1").URL(), d.rig.Host("vm2").URL()} {
		status, body, err := rig.Get(ctx, url+"/")
		if err == nil && (status != 200 || !strings.HasPrefix(body, "version 2 ")) {
			err = fmt.Errorf("%s answers %d %q, want version 2", url, status, body)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// answered shows which versions answered.
func answered(sum rig.Summary) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(sum.Versions)) {
		names = append(names, "version "+name)
	}
	return strings.Join(names, ", then ")
}
