// Package envify turns a template with the names of secrets into a dotenv file
// with their values: from a password manager, say, to the machine that pushes
// them. What is filled in can never change the file's lines: values are put in
// after it was read, and quoted for it.
package envify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/secret"
)

// Options are what a template can use.
type Options struct {
	// Env looks a variable up in the process environment (os.LookupEnv).
	Env func(name string) (string, bool)
	// Commands runs programs for `exec`. Files of `file` are below its Dir.
	Commands secret.Commands
}

// Render reads the template at path and returns the variables it makes. Its
// errors name the line, and never a value.
func Render(ctx context.Context, path string, o Options) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, exit.With(exit.Config, err, "write it, with lines such as DATABASE_URL={{ exec \"op\" \"read\" \"op://shop/db/url\" }}")
	}
	if err != nil {
		return nil, exit.With(exit.Config, err)
	}
	r := &render{Options: o, ctx: ctx, mark: "kstep" + rand.Text(), values: map[string]string{}}
	t, err := template.New(path).Funcs(r.functions()).Parse(string(text))
	if err != nil {
		return nil, located(path, err)
	}
	for _, each := range t.Templates() {
		withhold(each.Tree.Root, each.Tree)
	}
	var out strings.Builder
	if err := t.Execute(&out, struct{}{}); err != nil {
		return nil, located(path, err)
	}
	return r.variables(path, out.String())
}

// render is one run of a template.
type render struct {
	Options

	ctx    context.Context   //nolint:containedctx // A template's functions have no other way to it.
	mark   string            // Begins every mark; cannot be guessed.
	values map[string]string // By the mark that stands for it.
}

// insert is the function that withhold puts behind every value.
const insert = "kstep_insert"

func (r *render) functions() template.FuncMap {
	return template.FuncMap{
		"env": func(name string, otherwise ...string) (string, error) {
			value, ok := r.Env(name)
			switch {
			case ok:
				return value, nil
			case len(otherwise) == 1:
				return otherwise[0], nil
			}
			return "", exit.With(exit.Config, fmt.Errorf("variable %s is not set", name),
				fmt.Sprintf("set it, or give another value: {{ env %q \"…\" }}", name))
		},
		"file": func(name string) (string, error) {
			if !filepath.IsAbs(name) {
				name = filepath.Join(r.Commands.Dir, name)
			}
			data, err := os.ReadFile(name)
			if err != nil {
				return "", exit.With(exit.Config, err)
			}
			return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
		},
		"exec": func(argv ...string) (string, error) {
			if len(argv) == 0 {
				return "", exit.Errorf(exit.Config, "exec needs a program")
			}
			return r.Commands.Output(r.ctx, argv)
		},
		insert: func(value any) string {
			mark := fmt.Sprintf("%s-%d-", r.mark, len(r.values))
			r.values[mark] = fmt.Sprint(value)
			return mark
		},
	}
}

// withhold makes every action of the template leave a mark instead of its value.
func withhold(n parse.Node, tree *parse.Tree) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, each := range n.Nodes {
			withhold(each, tree)
		}
	case *parse.IfNode:
		withhold(n.List, tree)
		withhold(n.ElseList, tree)
	case *parse.RangeNode:
		withhold(n.List, tree)
		withhold(n.ElseList, tree)
	case *parse.WithNode:
		withhold(n.List, tree)
		withhold(n.ElseList, tree)
	case *parse.ActionNode:
		if len(n.Pipe.Decl) == 0 {
			n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{
				NodeType: parse.NodeCommand, Pos: n.Pos,
				Args: []parse.Node{parse.NewIdentifier(insert).SetTree(tree).SetPos(n.Pos)},
			})
		}
	}
}

// variables reads the rendered text, and puts the values in.
func (r *render) variables(path, text string) (map[string]string, error) {
	marked, err := secret.ParseDotenv([]byte(text), "what "+path+" renders to")
	if err != nil {
		return nil, err
	}
	mark := regexp.MustCompile(r.mark + `-[0-9]+-`)
	variables := map[string]string{}
	for name, value := range marked {
		variables[name] = mark.ReplaceAllStringFunc(value, func(m string) string { return r.values[m] })
	}
	return variables, nil
}

var place = regexp.MustCompile(`^:(\d+)(?::(\d+))?: `)

// located rewords the template package's errors: file:line:column, and what is
// wrong.
func located(path string, err error) error {
	text := strings.TrimPrefix(err.Error(), "template: "+path)
	if found := place.FindStringSubmatch(text); found != nil {
		text = strings.TrimPrefix(text, found[0])
		path += ":" + found[1]
		if column, err := strconv.Atoi(found[2]); err == nil {
			path += ":" + strconv.Itoa(column+1) // They count from 0.
		}
	}
	if cause, ok := errors.AsType[*exit.Error](err); ok { // Of one of the functions.
		return exit.With(cause.Code, fmt.Errorf("%s: %w", path, cause))
	}
	return exit.Errorf(exit.Config, "%s: %s", path, text)
}
