package state

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/kstep/kstep/internal/atomicfile"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/short"
)

// planStage is what a plan in the state folder is called: a file that no stage
// wrote.
const planStage = "plan"

// planAgain is what to do about a plan that is of no use.
const planAgain = "make one with kstep plan --out FILE, of the kstep that carries it out"

// WritePlan writes a plan, complete or not at all, and returns its sum.
func WritePlan(path string, p Plan, opt Options) (sum string, err error) {
	p.Seal, p.Sum = "", ""
	if opt.Redact != nil {
		p.Source.Subject = opt.Redact(p.Source.Subject)
	}
	key, err := opt.key()
	if err != nil {
		return "", err
	}
	data, err := render(&p, key)
	if err != nil {
		return "", exit.With(exit.Internal, err)
	}
	if opt.Scan != nil {
		if err := opt.Scan(data); err != nil {
			return "", fmt.Errorf("write plan: %w", err)
		}
	}
	if opt.Validate != nil {
		if err := opt.Validate(data); err != nil {
			return "", exit.With(exit.Internal, fmt.Errorf("write plan: %w", err))
		}
	}
	if err = atomicfile.Write(path, data); err != nil {
		err = fmt.Errorf("write plan: %w", err)
	}
	var written Plan
	if jsonErr := json.Unmarshal(data, &written); jsonErr != nil {
		return "", exit.With(exit.Internal, jsonErr)
	}
	return written.Sum, exit.With(exit.BadState, err, "make "+filepath.Dir(path)+" writable for this user")
}

// ReadPlan reads a plan file, after the checks that a state file gets. Whether
// it is for this service is for the one who knows to say: Plan.Belongs.
func ReadPlan(path string, validate Validator) (*Plan, error) {
	data, err := plain(path, planAgain)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, exit.With(exit.MissingState, fmt.Errorf("plan file %s is missing", path), planAgain)
	}
	if err != nil {
		return nil, exit.With(exit.BadState, fmt.Errorf("plan file: %w", err), planAgain)
	}
	e := &entry{name: planStage + ".json", path: path, data: data}
	found, err := e.ours()
	if err != nil {
		text := strings.Replace(err.Error(), "state file", "plan file", 1)
		return nil, exit.With(exit.BadState, errors.New(text), planAgain)
	}
	switch {
	case found.Kind == Kind:
		return nil, bad(path, "is a state file, not a plan", planAgain)
	case found.Kind != PlanKind:
		return nil, bad(path, fmt.Sprintf("is a %q, not a plan", found.Kind), planAgain)
	}
	if err := e.readable(found); err != nil {
		return nil, err
	}
	if validate != nil {
		if err := validate(data); err != nil {
			return nil, bad(path, "breaks the schema of "+APIVersion+": "+err.Error(), planAgain)
		}
	}
	var p Plan
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, bad(path, "breaks the schema of "+APIVersion+": "+err.Error(), planAgain)
	}
	if !intact(data) {
		return nil, bad(path, "was changed after kstep wrote it: its sum does not match", planAgain)
	}
	if !validRelease(p.Release) || p.Version == "" {
		return nil, bad(path, "names no release and version", planAgain)
	}
	p.read = data
	return &p, nil
}

// VouchFor refuses a plan, which was read from path, without the seal that files of
// this folder have.
func (d *Dir) VouchFor(path string, p *Plan) error { return d.opt.vouch(path, p.read, planAgain) }

// Belongs refuses a plan of another service, destination, configuration,
// version or image. What is empty in the expectation is not compared.
func (p *Plan) Belongs(want Plan) error {
	if p.Service != want.Service || p.Destination != want.Destination {
		return exit.With(exit.BadState, fmt.Errorf("the plan is for %s, not for %s",
			who(p.Service, p.Destination), who(want.Service, want.Destination)), planAgain)
	}
	for _, f := range []struct{ what, planned, now string }{
		{"version", p.Version, want.Version}, {"image", p.Image, want.Image},
	} {
		if f.now != "" && f.planned != f.now {
			return exit.With(exit.BadState, fmt.Errorf("the plan is for %s %s, not for %s", f.what, cmp.Or(f.planned, "that is built here"), f.now),
				"leave the flag (or variable) out, or plan again")
		}
	}
	if p.Config != want.Config {
		return exit.With(exit.BadState, errors.New("the configuration has changed since the plan was made"), "plan again")
	}
	return nil
}

// IsOf refuses an image of another digest than the planned one, if the plan knows
// its digest: the tag may name another image since, or the build made another one.
func (p *Plan) IsOf(digest string) error {
	if p.Digest == "" || p.Digest == digest {
		return nil
	}
	return exit.With(exit.BadState, fmt.Errorf("the plan is for the image %s, and this one is %s", short.Of(p.Digest), short.Of(digest)),
		"the tag names another image now, or the build made another one; plan again")
}

// Approved refuses a plan of another sum than the one that was approved.
func (p *Plan) Approved(sum string) error {
	if sum == "" || sum == p.Sum {
		return nil
	}
	return exit.With(exit.BadState, fmt.Errorf("the plan has the digest %s, and %s was approved", p.Sum, sum),
		"take the plan file that was approved, or plan again and approve that")
}

// Facts are what the plan saw of a target; covered is false if it
// did not look at the target.
func (p *Plan) Facts(host, role string) (facts map[string]Fact, covered bool) {
	for _, o := range p.Observed {
		if o.Host == host && o.Role == role {
			return o.Facts, true
		}
	}
	return nil, false
}
