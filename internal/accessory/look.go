package accessory

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
)

// Seen is what a host has of an accessory.
type Seen struct {
	// Container is its container, if There is one.
	Container engine.Container
	There     bool
	// Replaced are those that made room for it and are still there, newest first.
	Replaced []engine.Container
	// Stranger is another container that has its name, if there is one.
	Stranger engine.Container
}

// Look observes the accessory. A replaced container counts as its own where a
// reboot did not get as far as to make another one.
func (p Place) Look(ctx context.Context) (Seen, error) {
	all, err := p.Host.Engine().Containers(ctx, engine.Filter{Labeled: []string{engine.LabelAccessory}, All: true})
	if err != nil {
		return Seen{}, err
	}
	var seen Seen
	for _, c := range engine.With(all, plan.AccessoryLabels(p.Names, p.Accessory.Name)) {
		switch {
		case isReplaced(c):
			seen.Replaced = append(seen.Replaced, c)
		case !seen.There:
			seen.Container, seen.There = c, true
		}
	}
	if !seen.There && len(seen.Replaced) > 0 {
		seen.Container, seen.There, seen.Replaced = seen.Replaced[0], true, seen.Replaced[1:]
	}
	if seen.There {
		return seen, nil
	}
	stranger, err := p.Host.Engine().Inspect(ctx, p.name())
	if errors.Is(err, engine.ErrNotFound) {
		return seen, nil
	}
	seen.Stranger = stranger
	return seen, err
}

func isReplaced(c engine.Container) bool { return c.Name == plan.Replaced(plainName(c), c.ID) }

// plainName is the name that a container had before it made room.
func plainName(c engine.Container) string {
	return strings.TrimSuffix(c.Name, plan.Replaced("", c.ID))
}

func (p Place) name() string { return p.Names.Accessory(p.Accessory) }

// Running is the accessory's container, which has to run.
func (p Place) Running(ctx context.Context) (engine.Container, error) {
	c, err := p.There(ctx)
	if err == nil && !c.Running() {
		err = exit.Hint(fmt.Errorf("%s does not run: it is %s", c.Name, c.State), "kstep accessory start "+p.Accessory.Name)
	}
	return c, err
}

// There is the accessory's container, which has to be there.
func (p Place) There(ctx context.Context) (engine.Container, error) {
	seen, err := p.Look(ctx)
	if err == nil && !seen.There {
		err = exit.Hint(fmt.Errorf("%s is not there", p.name()), "kstep accessory boot "+p.Accessory.Name)
	}
	return seen.Container, err
}

// whose describes the owner of a container.
func whose(c engine.Container) string {
	of, at := c.Labels[engine.LabelAccessoryService], c.Labels[engine.LabelAccessoryDestination]
	what := "the accessory " + c.Labels[engine.LabelAccessory] + " of "
	if of == "" {
		of, at = c.Labels[engine.LabelService], c.Labels[engine.LabelDestination]
		what = "a container of "
	}
	switch {
	case of == "":
		return "one that kstep did not make"
	case at == "":
		return what + of
	}
	return what + of + " at " + at
}
