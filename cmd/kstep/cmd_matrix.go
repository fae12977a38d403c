package main

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
)

// configureMatrix declares `kstep matrix`: the jobs that one stage can be
// fanned out to, as CI systems take them.
func configureMatrix(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("matrix", "Print the jobs to fan a stage out to, for a CI system's matrix.")
	by := cmd.Flag("by", "One job for each host, each role, or each group of a role's hosts.").Default("host").Enum("host", "role", "group")
	limit := cmd.Flag("limit", "With --by group: hosts in a group, as a number or a percentage of the role's; default: cutover.limit, else all.").String()
	format := cmd.Flag("format", "github: an object for strategy.matrix; gitlab: a list for parallel:matrix.").Default("github").Enum("github", "gitlab")
	actions["matrix"] = func(context.Context) error {
		cfg, err := p.loadConfig()
		if err != nil {
			return err
		}
		targets, err := plan.Filter(plan.Targets(cfg), list(p.global.roles), list(p.global.hosts))
		if err != nil {
			return err
		}
		shards, err := fanOut(targets, *by, cmp.Or(*limit, cfg.Cutover.Limit))
		if err != nil {
			return err
		}
		return p.printMatrix(shards, *format)
	}
}

// shard is one job of a matrix: the values of --roles and --hosts.
type shard struct {
	Name  string `json:"name"`
	Roles string `json:"roles"`
	Hosts string `json:"hosts"`
	// Primary is true if the job has containers that open the barrier.
	Primary bool `json:"primary"`
}

// maxJobs is what GitHub takes in one matrix. GitLab takes 200.
const maxJobs = 256

func (p *program) printMatrix(shards []shard, format string) error {
	if len(shards) > maxJobs {
		return exit.With(exit.Usage, fmt.Errorf("%d jobs are more than a CI system takes in one matrix (%d)", len(shards), maxJobs),
			"group them: kstep matrix --by role, or --by group --limit 10%")
	}
	var matrix any = struct {
		Include []shard `json:"include"`
	}{shards}
	if format == "gitlab" {
		var jobs []map[string]string
		for _, s := range shards {
			// The variables that --roles and --hosts are read from.
			jobs = append(jobs, map[string]string{"KSTEP_ROLES": s.Roles, "KSTEP_HOSTS": s.Hosts})
		}
		matrix = jobs
	}
	return p.encode(matrix)
}

// fanOut splits targets into shards that together are all of them, and of which
// no two share one.
func fanOut(targets []plan.Target, by, limit string) ([]shard, error) {
	role := func(t plan.Target) string { return t.Role.Name }
	host := func(t plan.Target) string { return t.Host }
	switch by {
	case "host":
		return cut(targets, host), nil
	case "role":
		return cut(targets, role), nil
	}
	if !regexp.MustCompile(`^(|all|[1-9][0-9]*|[1-9][0-9]?%|100%)$`).MatchString(limit) {
		return nil, exit.Errorf(exit.Usage, "--limit %q: must be a number from 1, a percentage such as 25%%, or all", limit)
	}
	var shards []shard
	for i, wave := range plan.Groups(targets, limit) {
		for _, s := range cut(wave, role) {
			s.Name = fmt.Sprintf("%s-%d", s.Name, i+1)
			shards = append(shards, s)
		}
	}
	return shards, nil
}

// cut makes one shard of all targets that share a name.
func cut(targets []plan.Target, name func(plan.Target) string) []shard {
	var shards []shard
	for _, t := range targets {
		at := slices.IndexFunc(shards, func(s shard) bool { return s.Name == name(t) })
		if at < 0 {
			at, shards = len(shards), append(shards, shard{Name: name(t)})
		}
		s := &shards[at]
		s.Roles, s.Hosts = with(s.Roles, t.Role.Name), with(s.Hosts, t.Host)
		s.Primary = s.Primary || t.Primary
	}
	return shards
}

// with adds a name to a list of globs, in which some signs mean more than
// themselves.
func with(globs, name string) string {
	name = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
	if globs == "" {
		return name
	}
	if slices.Contains(strings.Split(globs, ","), name) {
		return globs
	}
	return globs + "," + name
}
