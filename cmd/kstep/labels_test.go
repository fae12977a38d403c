package main

import (
	"maps"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

func TestLabels_OfAnImageDoNotMakeItsContainersTheApplications(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	labels := maps.Clone(w.containersOf("vm1")["shop-web-v1"].Labels)
	labels["kstep.task"] = "migrate"
	for _, fake := range w.hosts {
		fake.Engine.AddImage("db:1", hosttest.Image{Labels: labels})
	}
	w.configure("accessories: {db: {image: \"db:1\", host: vm1}, cache: {image: \"db:1\", host: vm1, service: shop-web-v9}}\n")
	w.exits(exit.OK, "accessory", "boot", "all")
	w.exits(exit.OK, w.deployArgs("v2")...)
	w.serves("v2")
	w.exits(exit.OK, "rollback", "v1")
	w.exits(exit.OK, "prune")
	w.serves("v1")
	for _, name := range []string{"shop-db", "shop-web-v9"} {
		if c := w.containersOf("vm1")[name]; !c.Running() {
			t.Errorf("%s is %q, want running", name, c.State)
		}
	}
	w.exits(exit.OK, "remove", "--yes")
}
