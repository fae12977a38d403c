package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

func TestDeploy_MovesFromOneVersionToTheNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.serves("v1")
	w.deploy("v2")
	w.serves("v2")
	w.exits(exit.OK, "rollback", "v1")
	w.serves("v1")
}

func TestDeploy_MovesFromOneVersionToTheNextByCord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("proxy: {switch: cord}\n")
	w.deploy("v1")
	w.serves("v1")
	w.deploy("v2")
	w.serves("v2")
}

// roundTrips is the limit of requests to one host when nothing changes, beside
// copies of the files read. The cord costs one more: whether it is tied.
const roundTrips = 12

func TestStages_RunAgainSayUnchangedInFewRoundTrips(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string]string{"routes": "", "cord": "proxy: {switch: cord}\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.deploy("v1")
			for _, stage := range pipeline()[1:] {
				args := []string{stage.Info().Name}
				if args[0] == "push" {
					args = append(args, "--image", w.registry.Host()+"/acme/shop:v1", "--version", "v1")
				}
				w.operations()
				w.exits(exit.OK, args...)
				if got := w.state(stage.Info().Name)["status"]; got != "unchanged" {
					t.Errorf("%s run again says %v, want unchanged", stage.Info().Name, got)
				}
				perHost := map[string][]string{}
				for _, op := range w.operations() {
					if op.Kind != host.KindConnect {
						perHost[op.Host] = append(perHost[op.Host], string(op.Kind)+" "+op.Name)
					}
				}
				most := roundTrips + len(stage.Info().Reads)
				if name == "cord" && stage.Info().Name == "cutover" {
					most++
				}
				if stage.Info().Name == "cutover" { // The verdict, beside other answers.
					most += 2
				}
				if stage.Info().Name == "boot" { // Networks, requested while other answers are on their way.
					most += 2
				}
				for name, ops := range perHost {
					if len(ops) > most {
						t.Errorf("%s asks %s %d times, want at most %d:\n%s", stage.Info().Name, name, len(ops), most, strings.Join(ops, "\n"))
					}
				}
			}
		})
	}
}

func sick(hosttest.Process) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
}

func TestBarrier_ClosesAndTheOldVersionServesOn(t *testing.T) {
	t.Parallel()
	three := 3
	for name, c := range map[string]struct {
		behaviour hosttest.Behaviour
		shown     string
	}{
		"an image that exits":         {hosttest.Behaviour{Exit: &three, Log: []string{"no database"}}, "no database"},
		"an image that stays sick":    {hosttest.Behaviour{Handler: sick}, "503"},
		"an image that never listens": {hosttest.Behaviour{Silent: true}, "not ready within"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			w.behave("v2", c.behaviour)
			if c.behaviour.Silent {
				w.replace("timeout: 20s", "timeout: 2s")
			}
			_, stderr := w.exits(exit.BarrierClosed, "deploy", "--image", w.image("v2"), "--version", "v2")
			if !strings.Contains(stderr, c.shown) {
				t.Errorf("the output does not tell %q:\n%s", c.shown, stderr)
			}
			w.serves("v1")
			if got := w.state("barrier-wait")["exitCode"]; got != 13.0 {
				t.Errorf("barrier-wait.json says exit code %v, want 13", got)
			}
			w.behave("v3", hosttest.Behaviour{})
			w.deploy("v3") // The lease is free, and nothing is in the way.
			w.serves("v3")
		})
	}
}

func TestDeploy_ARoleWithoutAnyCheckIsReadyWhenItStaysUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.replace("    healthcheck: {cmd: \"true\"}\n", "")
	_, stderr := w.exits(exit.OK, w.deployArgs("v1")...)
	if !strings.Contains(stderr, "ready by running") {
		t.Errorf("the job is not said to be ready because it stays up:\n%s", stderr)
	}
}
