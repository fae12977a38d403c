package scaffold

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/kstep/kstep/internal/exit"
)

// Prompt prints the questions whose answers o does not have: hosts, service and domain, and
// whether to write a Dockerfile where one is missing. It returns when ctx ends, although
// the read from in goes on.
func Prompt(ctx context.Context, o *Options, in io.Reader, out io.Writer) error {
	dir := filepath.Dir(o.Path)
	if _, err := os.Lstat(o.Path); err == nil {
		return exists(o.Path)
	}
	app, err := Detect(dir, o.Framework)
	if err != nil {
		return err
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(in); scan.Scan(); {
			select {
			case lines <- strings.TrimSpace(scan.Text()):
			case <-ctx.Done():
				return
			}
		}
	}()
	question := func(text string) (string, error) {
		fmt.Fprint(out, text)
		select {
		case line, ok := <-lines:
			if !ok {
				return "", exit.With(exit.Usage, errors.New("the input ended before the last question"), "answer with flags: kstep init --help")
			}
			return line, nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	fmt.Fprintf(out, "%s\n", app.Sentence())
	if len(o.Hosts) == 0 {
		answer, err := question("Servers, as [user@]address, separated by spaces: ")
		if err != nil {
			return err
		}
		o.Hosts = strings.FieldsFunc(answer, func(r rune) bool { return r == ' ' || r == ',' })
	}
	if o.Service == "" {
		if o.Service, err = question("Name of the service [" + ServiceName(dir) + "]: "); err != nil {
			return err
		}
	}
	if o.Domain == "" {
		if o.Domain, err = question("Domain, such as shop.example.com [none]: "); err != nil {
			return err
		}
	}
	if !o.Dockerfile && !app.HasDockerfile && hasTemplate(app.Framework) {
		answer, err := question("There is no Dockerfile. Write one for " + app.Name + "? [y/N]: ")
		if err != nil {
			return err
		}
		o.Dockerfile = strings.HasPrefix(strings.ToLower(answer), "y")
	}
	return nil
}
