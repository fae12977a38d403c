package sshconfig

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// asVersion is what `Match version` is compared with: the version of OpenSSH
// whose rules this package follows.
const asVersion = "OpenSSH_10.5p1"

// criterion is one condition of a Match line.
type criterion struct {
	name    string // In lower case.
	negated bool
	arg     string
	bare    bool // It has no argument.
}

// match decides a Match line. One that cannot be understood does not match, and
// is warned of once.
func (e *evaluation) match(s source, l line) (bool, error) {
	criteria, err := parseCriteria(l.rest)
	if err != nil {
		e.warn(s, l, "Match: %s: the block does not count", err)
		return false, nil
	}
	e.noteFinal(l)
	matched := true
	for _, c := range criteria {
		if c.name == "exec" && !matched {
			continue // As in OpenSSH, it is only run when it decides.
		}
		fits, err := e.fits(s, l, c)
		if unclear, ok := errors.AsType[*unclearError](err); ok {
			e.warn(s, l, "Match %s: %s: the block does not count", c.name, unclear.text)
			return false, nil
		}
		if err != nil {
			return false, err
		}
		matched = matched && fits != c.negated
	}
	return matched, nil
}

// noteFinal notes whether a Match line requests the second pass, also where the
// line does not match.
func (e *evaluation) noteFinal(l line) {
	criteria, _ := parseCriteria(l.rest) // What is wrong has no effect there.
	for _, c := range criteria {
		e.wantFinal = e.wantFinal || c.name == "final" && !c.negated
	}
}

// unclearError is a condition that cannot be decided.
type unclearError struct{ text string }

func (u *unclearError) Error() string { return u.text }

// parseCriteria splits a Match line. Criteria may be written `name argument`
// and `name=argument`.
func parseCriteria(rest string) ([]criterion, error) {
	args, err := splitArguments(rest)
	if err != nil {
		return nil, err
	}
	var found []criterion
	for len(args) > 0 {
		name, negated := strings.CutPrefix(args[0], "!")
		args = args[1:]
		c := criterion{name: strings.ToLower(name), negated: negated}
		switch before, after, ok := strings.Cut(c.name, "="); {
		case slices.Contains([]string{"all", "canonical", "final"}, c.name):
			c.bare = true
		case ok:
			c.name, c.arg = before, name[len(name)-len(after):]
		case len(args) == 0:
			return nil, fmt.Errorf("%s has no argument", c.name)
		default:
			c.arg, args = args[0], args[1:]
			if c.arg == "=" && len(args) > 0 {
				c.arg, args = args[0], args[1:]
			}
		}
		if !c.bare && c.arg == "" && c.name != "tagged" && c.name != "command" {
			return nil, fmt.Errorf("%s has no argument", c.name)
		}
		found = append(found, c)
	}
	if len(found) == 0 {
		return nil, errors.New("a condition is missing")
	}
	all := slices.IndexFunc(found, func(c criterion) bool { return c.name == "all" })
	if all > 1 || all >= 0 && all < len(found)-1 {
		return nil, errors.New("all cannot stand beside other conditions")
	}
	return found, nil
}

// fits says whether one condition is true, whatever its negation.
func (e *evaluation) fits(s source, l line, c criterion) (bool, error) {
	switch c.name {
	case "all":
		return true, nil
	case "canonical", "final":
		return e.final, nil
	case "host":
		return matchList(strings.ToLower(e.hostName()), strings.ToLower(c.arg)), nil
	case "originalhost":
		return matchList(strings.ToLower(e.to.Host), strings.ToLower(c.arg)), nil
	case "user":
		return matchList(e.user(), c.arg), nil
	case "localuser":
		return matchList(e.c.machine.User, c.arg), nil
	case "localnetwork":
		return e.inNetwork(c.arg)
	case "version":
		return matchList(asVersion, c.arg), nil
	case "tagged":
		return matchOrEmpty(e.text("tag"), c.arg), nil
	case "command":
		return matchOrEmpty("", c.arg), nil // kstep runs many over one connection.
	case "sessiontype":
		return matchList("exec", c.arg), nil
	case "exec":
		return e.exec(s, l, c.arg)
	default:
		return false, &unclearError{"the condition is unknown"}
	}
}

// matchOrEmpty is the rule for values that may be empty.
func matchOrEmpty(s, list string) bool {
	if s == "" {
		return list == ""
	}
	return matchList(s, list)
}

// inNetwork says whether an address of this machine is in one of the networks.
func (e *evaluation) inNetwork(list string) (bool, error) {
	var networks []netip.Prefix
	for one := range strings.SplitSeq(list, ",") {
		network, err := netip.ParsePrefix(one)
		if address, addressErr := netip.ParseAddr(one); addressErr == nil {
			network, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			return false, &unclearError{fmt.Sprintf("%q is not a network", one)}
		}
		networks = append(networks, network)
	}
	addresses, err := e.c.machine.Addresses()
	if err != nil {
		return false, &unclearError{err.Error()}
	}
	return slices.ContainsFunc(addresses, func(a netip.Addr) bool {
		return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a.Unmap().WithZone("")) })
	}), nil
}

// execution is a command of `Match exec` that was run.
type execution struct {
	done    chan struct{}
	matched bool
	err     error
}

// exec decides by the exit status of a command.
func (e *evaluation) exec(s source, l line, written string) (bool, error) {
	line, err := e.tokens().expand(written, false)
	if err != nil {
		return false, s.fail(l, "Match exec: %w", err)
	}
	if err := s.mayRun(l, "Match exec"); err != nil {
		return false, err
	}
	for {
		x, mine := e.c.execution(line)
		if mine {
			x.matched, x.err = e.c.machine.Run(e.ctx, line)
			if e.ctx.Err() != nil {
				e.c.forget(line) // Another evaluation may have the time.
			}
			close(x.done)
		}
		select {
		case <-x.done:
		case <-e.ctx.Done():
		}
		switch {
		case e.ctx.Err() != nil:
			return false, context.Cause(e.ctx)
		case errors.Is(x.err, errStopped):
			continue
		case x.err != nil:
			return false, s.fail(l, "Match exec: %w", x.err)
		default:
			return x.matched, nil
		}
	}
}

// execution returns the one run of a command: a deploy reaches many hosts,
// often at the same time. mine says that the caller has to run it.
func (c *Config) execution(line string) (x *execution, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x, there := c.ran[line]
	if !there {
		x = &execution{done: make(chan struct{})}
		c.ran[line] = x
	}
	return x, !there
}

func (c *Config) forget(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.ran, line)
}
