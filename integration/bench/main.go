// Command bench measures whole deploys to the rig's two web hosts, stage by
// stage, beside a floor: what the engines themselves need for the same change
// without any safety checks. Runs of both alternate, on the same hosts, in the
// same minutes, because the machine is shared and noisy; medians and their
// ratio are reported, not single times. It deploys with the kstep of the rig's
// deployer and judges nothing else: see docs/benchmarks.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	rounds := flag.Int("rounds", 5, "how often each case is measured")
	only := flag.String("only", "", "measure only this way of deploying, such as `cord`")
	flag.Parse()
	if err := run(ctx, *rounds, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// shape is one way to deploy. All cases of a shape share hosts that were set up
// for it once.
type shape struct {
	name  string
	yaml  string // More of kstep.yml.
	shell bool   // The image has a shell, which the cord's check needs.
	// separate runs each stage as a process of its own, as a CI system does.
	separate bool
	loads    []bool // Without and with traffic.
}

func shapes() []shape {
	return []shape{
		{name: "routes", yaml: proxyWith("routes"), loads: []bool{false, true}},
		{name: "cord", yaml: proxyWith("cord") + "healthcheck: {interval: 1s}\n", shell: true, loads: []bool{false, true}},
		{name: "routes and assets", yaml: proxyWith("routes") + "asset_path: /app/public/assets\n", loads: []bool{false}},
		{name: "routes, eight processes", yaml: proxyWith("routes"), separate: true, loads: []bool{false}},
	}
}

func proxyWith(way string) string {
	return fmt.Sprintf("proxy: {image: %q, switch: %s}\n", rig.TraefikImage, way)
}

func run(ctx context.Context, rounds int, only string) error {
	r, err := rig.Up(ctx)
	if err != nil {
		return err
	}
	start, err := startTime(ctx, r)
	if err != nil {
		return err
	}
	var cases []measured
	for _, s := range shapes() {
		if only != "" && s.name != only {
			continue
		}
		some, err := measure(ctx, r, s, rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		cases = append(cases, some...)
	}
	write(os.Stdout, report{cases: cases, rounds: rounds, start: start, at: time.Now()})
	for _, c := range cases {
		if c.lost() > 0 {
			err = errors.Join(err, fmt.Errorf("%s: %d requests failed", c.name(), c.lost()))
		}
	}
	return err
}

// measured is what came of one case: runs[i] and floors[i] were made one right
// after the other.
type measured struct {
	shape  shape
	loaded bool
	runs   []deploy
	floors []floor
}

func (m measured) name() string {
	if m.loaded {
		return m.shape.name + ", under load"
	}
	return m.shape.name + ", idle"
}

func (m measured) lost() (failed int) {
	for _, d := range m.runs {
		failed += d.failed
	}
	return failed
}

// measure alternates deploys and floors. What comes first changes from round
// to round, and the first round of each is not counted: it fills caches.
func measure(ctx context.Context, r *rig.Rig, s shape, rounds int) ([]measured, error) {
	b, err := newBench(ctx, r, s)
	if err != nil {
		return nil, err
	}
	cases := make([]measured, len(s.loads))
	for i, loaded := range s.loads {
		cases[i] = measured{shape: s, loaded: loaded}
	}
	for round := range rounds + 1 {
		for i := range cases {
			c := &cases[i]
			d, f, err := b.pair(ctx, c.loaded, round%2 == 0)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(os.Stderr, "bench: %s: %d: host part %s (%s), floor %s\n", c.name(), round, ms(d.host), d.list(), ms(f.total))
			if round > 0 {
				c.runs, c.floors = append(c.runs, d), append(c.floors, f)
			}
		}
	}
	return cases, nil
}

// pair measures a deploy and a floor, in either order, under the same load.
func (b *bench) pair(ctx context.Context, loaded, floorFirst bool) (d deploy, f floor, err error) {
	version, image, err := b.prepare(ctx)
	if err != nil {
		return d, f, err
	}
	load, err := startLoad(ctx, b.rig, loaded)
	if err != nil {
		return d, f, err
	}
	defer func() {
		sum := load.stop()
		d.requests, d.failed, d.slowest = sum.Total, sum.Failed, sum.Slowest
	}()
	steps := []func() error{
		func() (err error) { d, err = b.deploy(ctx, version); return err },
		func() (err error) { f, err = b.floor(ctx, image); return err },
	}
	if floorFirst {
		steps[0], steps[1] = steps[1], steps[0]
	}
	steps = append(steps, func() error { return b.rollback(ctx, &d) })
	for _, step := range steps {
		if err := step(); err != nil {
			return d, f, err
		}
	}
	return d, f, nil
}

// traffic is a load, or none.
type traffic struct{ load *rig.Traffic }

func startLoad(ctx context.Context, r *rig.Rig, loaded bool) (traffic, error) {
	if !loaded {
		return traffic{}, nil
	}
	// No slow requests: the old container would wait for them to end, by the
	// app's own wish, and the floor's has none.
	load, err := r.StartTraffic(ctx, rig.Load{Slow: -1})
	if err != nil {
		return traffic{}, err
	}
	return traffic{load}, load.WaitTotal(ctx, 500)
}

func (t traffic) stop() rig.Summary {
	if t.load == nil {
		return rig.Summary{}
	}
	return t.load.Stop()
}
