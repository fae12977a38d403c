package stages

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/audit"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
)

// Audit writes what a command did into the log of each host it did it on. What
// changed nothing and went well leaves no line. It is a record only: if it
// cannot be written, Audit warns, and the command has done what it did.
func (s *Session) Audit(ctx context.Context, command string, records []state.Target) {
	ctx, cancel := afterwards(ctx, false)
	defer cancel()
	var wg sync.WaitGroup
	for name, e := range s.entries(command, records) {
		wg.Go(func() {
			if err := s.enterInto(ctx, name, e); err != nil {
				s.Report.Emit(report.Event{
					Time: time.Now().UTC(), Kind: report.Warning, Stage: command, Host: name,
					Message: fmt.Sprintf("not in the host's audit log: %s", err),
				})
			}
		})
	}
	wg.Wait()
}

// entries are the log's lines by host. A host that could not be reached is not
// tried again, and one where the configuration was refused is left alone: its
// folder may be another service's.
func (s *Session) entries(command string, records []state.Target) map[string]audit.Entry {
	leftAlone := []string{exit.Unreachable.Class(), exit.Config.Class()}
	all := map[string]audit.Entry{}
	for _, t := range records {
		if t.Status == state.Unchanged || t.Error != nil && slices.Contains(leftAlone, t.Error.Class) {
			continue
		}
		e, more := all[t.Host]
		if !more {
			e = audit.Entry{
				At: time.Now().UTC(), Command: command, Release: s.Release, Version: s.Version,
				By: s.By, Run: s.Actor.RunURL, Status: string(t.Status),
			}
		}
		if t.Role != "" && !slices.Contains(e.Roles, t.Role) {
			e.Roles = append(e.Roles, t.Role)
		}
		for _, what := range t.Changed { // What was done on the host as a whole stands under each of its roles.
			if what = report.Plain(what); !slices.Contains(e.Changed, what) {
				e.Changed = append(e.Changed, what)
			}
		}
		if t.Error != nil && e.Error == "" {
			e.Status, e.Error = string(t.Status), report.Plain(t.Error.Message)
		}
		all[t.Host] = e
	}
	return all
}

func (s *Session) enterInto(ctx context.Context, name string, e audit.Entry) error {
	host, names, err := s.on(ctx, name)
	if err != nil {
		return err
	}
	return audit.Log{Files: host.Files(), Path: names.Audit()}.Append(ctx, e, s.Secrets.Redact)
}
