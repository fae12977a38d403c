package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/atomicfile"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/timeline"
)

// configureReport declares `kstep report`. Like `kstep state`, it needs no
// configuration, no host and no secret.
func configureReport(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("report", "Print the timeline of a release from its state files: stages, targets, the switch of traffic, failures, the next command. No host is contacted.")
	page := cmd.Flag("html", "Write the timeline as a self-contained HTML page to this file, and print nothing else.").PlaceHolder("FILE").String()
	format := cmd.Flag("format", "Format on stdout: text, or markdown for a short form.").Default("text").Enum("text", "markdown")
	summary := cmd.Flag("summary", "Also append the short form to the job summary of GitHub Actions.").Bool()
	actions["report"] = func(context.Context) error {
		t, err := p.timeline()
		if err != nil {
			return err
		}
		if *summary {
			if err := p.summarize(t); err != nil {
				return err
			}
		}
		switch {
		case *page != "":
			return p.writePage(*page, t)
		case p.global.output == "json":
			return p.encode(t)
		case *format == "markdown":
			return timeline.Markdown(p.out, t)
		}
		return timeline.Text(p.out, t)
	}
}

// timeline reads the state folder.
func (p *program) timeline() (timeline.Timeline, error) {
	dir, err := p.stateDir(nil, nil)
	if err != nil {
		return timeline.Timeline{}, err
	}
	own := p.expected()
	t, ok := timeline.Of(dir.Inspect(), timeline.Options{
		Stages: pipelineNames(), Service: own.Service, Destination: own.Destination, Release: p.global.release,
	})
	if !ok {
		what := "no state files"
		if p.global.release != "" {
			what = "no state files of release " + p.global.release
		}
		err := fmt.Errorf("%s in %s", what, dir.Path())
		for _, note := range t.Notes {
			err = fmt.Errorf("%w; %s", err, note)
		}
		return t, exit.With(exit.MissingState, err, "choose another folder with --state-dir, or fetch the state files of the jobs into it")
	}
	return t, nil
}

func pipelineNames() []string {
	var names []string
	for _, stage := range pipeline() {
		names = append(names, stage.Info().Name)
	}
	return names
}

func (p *program) summarize(t timeline.Timeline) error {
	var text bytes.Buffer
	if err := timeline.Markdown(&text, t); err != nil {
		return err
	}
	return exit.With(exit.Usage, report.AppendSummary(p.getenv, text.String()),
		"leave --summary out; --format markdown prints the same")
}

// writePage replaces the page as a whole.
func (p *program) writePage(path string, t timeline.Timeline) error {
	var page bytes.Buffer
	if err := timeline.HTML(&page, t); err != nil {
		return exit.With(exit.Internal, err)
	}
	if err := atomicfile.Write(path, page.Bytes()); err != nil {
		return exit.With(exit.Failed, fmt.Errorf("write report: %w", err), "choose another file with --html")
	}
	if p.global.output == "json" {
		return p.encode(map[string]string{"html": path})
	}
	p.result("wrote %s", path)
	return nil
}
