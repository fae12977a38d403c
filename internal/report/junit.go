package report

import (
	"encoding/xml"
	"fmt"
	"strings"
)

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr,omitempty"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Skipped *junitSkipped `xml:"skipped,omitempty"`
	Failure *junitFailure `xml:"failure,omitempty"`
}

type junitSkipped struct {
	Message string `xml:"message,attr"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// junitFile writes a JUnit report: one suite for each stage, one case for each
// target, so that GitLab lists failing hosts in the merge request.
func junitFile(path string) func(*tally) error {
	return func(t *tally) error {
		data, err := junit(t)
		if err != nil {
			return err
		}
		return writeFile(path, data)
	}
}

func junit(t *tally) ([]byte, error) {
	var doc struct {
		XMLName xml.Name     `xml:"testsuites"`
		Name    string       `xml:"name,attr"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	doc.Name = "kstep"
	for _, s := range t.stages {
		doc.Suites = append(doc.Suites, suite(s, t.ending))
	}
	if len(doc.Suites) == 0 && t.ending != nil {
		// It failed before any stage began: the configuration, for instance.
		doc.Suites = append(doc.Suites, suite(stageTally{name: "kstep"}, t.ending))
	}
	data, err := xml.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode JUnit report: %w", err)
	}
	return append([]byte(xml.Header), append(data, '\n')...), nil
}

func suite(s stageTally, ending *Event) junitSuite {
	seconds := fmt.Sprintf("%.3f", s.finished.Duration.Seconds())
	out := junitSuite{Name: s.name, Time: seconds}
	for _, e := range s.targets {
		name := e.Host
		if e.Role != "" {
			name = e.Role + " on " + e.Host
		}
		c := junitCase{Class: "kstep." + s.name, Name: name, Time: fmt.Sprintf("%.3f", e.Duration.Seconds())}
		switch e.Kind {
		case TargetFailed:
			out.Failures++
			c.Failure = &junitFailure{Message: oneLine(e.Message), Text: strings.Join(clean(strings.Join(e.Detail, "\n")), "\n")}
		case TargetHalted:
			out.Skipped++
			c.Skipped = &junitSkipped{Message: oneLine(e.Message)}
		}
		out.Cases = append(out.Cases, c)
	}
	good := s.finished.Status == "ok" || s.finished.Status == "unchanged"
	if len(s.targets) == 0 || (!good && out.Failures == 0) {
		// The stage itself is a case, if no target can stand for it.
		c := junitCase{Class: "kstep." + s.name, Name: s.name, Time: seconds}
		if !good {
			out.Failures++
			c.Failure = &junitFailure{Message: "not finished"}
			if ending != nil {
				c.Failure = &junitFailure{Message: oneLine(ending.Message), Text: strings.Join(clean(strings.Join(ending.Detail, "\n")), "\n")}
			}
		}
		out.Cases = append(out.Cases, c)
	}
	out.Tests = len(out.Cases)
	return out
}
