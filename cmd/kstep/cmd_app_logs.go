package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/stages"
)

// configureAppLogs declares `kstep app logs`.
func configureAppLogs(p *program, cmd *kingpin.CmdClause, actions map[string]action) {
	logs := cmd.Command("logs", "Show what the containers in service have written. With --follow also what others of these roles write once they start.")
	flags := &logFlags{}
	flags.declare(logs)
	all := logs.Flag("all", "Also of containers that are not in service: those of a release under way, those that failed, those that are kept for a rollback.").Bool()
	version := logs.Flag("version", "Only of containers of this version, in service or not; its beginning is enough.").String()
	actions["app logs"] = p.look("app logs", func(ctx context.Context, s *stages.Session) error {
		in, err := looking(s)
		if err != nil {
			return err
		}
		ofRole := func(w *stages.Work) engine.Filter {
			return engine.Filter{Labels: stages.RoleLabels(in.Config, w.Target.Role.Name)}
		}
		return p.showLogs(ctx, s, in, flags, logSource{
			find: func(ctx context.Context, w *stages.Work) ([]engine.Container, error) {
				if !*all && *version == "" {
					return serving(ctx, in, w)
				}
				return anyOfRole(ctx, w, ofRole(w), *version)
			},
			later: ofRole,
		})
	})
}

// ofVersion are the containers that a filter selects, running or not, of the
// versions that begin so.
func ofVersion(ctx context.Context, w *stages.Work, f engine.Filter, version string) ([]engine.Container, error) {
	f.All = true
	found, err := w.Host.Engine().Containers(ctx, f)
	return slices.DeleteFunc(found, func(c engine.Container) bool {
		return !strings.HasPrefix(c.Labels[engine.LabelVersion], version)
	}), err
}

// anyOfRole are a target's containers of a version, in service or not; at least
// one.
func anyOfRole(ctx context.Context, w *stages.Work, f engine.Filter, version string) ([]engine.Container, error) {
	found, err := ofVersion(ctx, w, f, version)
	if err != nil || len(found) > 0 {
		return found, err
	}
	what := "container"
	if version != "" {
		what = fmt.Sprintf("container of version %s", version)
	}
	return nil, exit.Hint(fmt.Errorf("there is no %s in role %s on %s", what, w.Target.Role.Name, w.Target.Host), "kstep app containers shows what is there")
}

// configureTask declares `kstep task …`.
func configureTask(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("task", "Look at the tasks of releases.")
	logs := cmd.Command("logs", "Show what tasks have written, also those that failed, until prune removes their containers.")
	flags := &logFlags{}
	flags.declare(logs)
	name := logs.Arg("name", "The task. Default: all of them.").String()
	version := logs.Flag("version", "Only of this version; its beginning is enough.").String()
	actions["task logs"] = p.look("task logs", func(ctx context.Context, s *stages.Session) error {
		targets, err := taskPlaces(s, *name)
		if err != nil {
			return err
		}
		s.Hosts.Warm(ctx, plan.HostNames(targets))
		return p.showLogs(ctx, s, s.Input(targets, targets), flags, logSource{
			find: func(ctx context.Context, w *stages.Work) ([]engine.Container, error) {
				return tasksOf(ctx, s, w, *name, *version)
			},
			later: func(*stages.Work) engine.Filter { return taskFilter(s, *name) },
		})
	})
}

// taskPlaces are the hosts on which the tasks of a name run, or all tasks.
func taskPlaces(s *stages.Session, name string) ([]plan.Target, error) {
	var names, hosts []string
	for _, t := range s.Config.Tasks.All {
		names = append(names, t.Name)
		if _, host := s.Config.TaskPlace(t); name == "" || name == t.Name {
			hosts = append(hosts, host)
		}
	}
	switch {
	case len(names) == 0:
		return nil, exit.Errorf(exit.Config, "%s has no tasks", s.Config.Path)
	case len(hosts) == 0:
		return nil, exit.With(exit.Usage, fmt.Errorf("there is no task %q", name), "the tasks are "+strings.Join(names, ", "))
	}
	slices.Sort(hosts)
	var targets []plan.Target
	for _, host := range slices.Compact(hosts) {
		targets = append(targets, plan.Target{Host: host})
	}
	return plan.Filter(targets, nil, s.HostGlobs)
}

// taskFilter selects the running containers of tasks.
func taskFilter(s *stages.Session, name string) engine.Filter {
	f := engine.Filter{Labels: stages.RoleLabels(s.Config, ""), Labeled: []string{engine.LabelTask}}
	if name != "" {
		f.Labels[engine.LabelTask] = name
	}
	return f
}

func tasksOf(ctx context.Context, s *stages.Session, w *stages.Work, name, version string) ([]engine.Container, error) {
	found, err := ofVersion(ctx, w, taskFilter(s, name), version)
	if err == nil && len(found) == 0 {
		err = exit.Hint(errors.New("no container of a task is on "+w.Target.Host), "prune removes those of releases that are complete")
	}
	return found, err
}
