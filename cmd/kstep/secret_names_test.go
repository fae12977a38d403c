package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

func TestSecretNames_AreRefusedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("env: {secret: [DB_NAME]}\n")
	image := w.image("v1.2.3-rc4")
	w.operations()
	for kind, value := range map[string]string{
		"the service": "shop", "the image": "acme/shop", "the version": "v1.2.3-rc4", "a container": "shop-web", "a container (2)": "shop-web-v1.2.3-rc4",
	} {
		kind, _, _ = strings.Cut(kind, " (")
		w.env["DB_NAME"] = value
		for _, args := range [][]string{{"deploy"}, {"push"}} {
			_, stderr := w.exits(exit.Config, append(args, "--image", image, "--version", "v1.2.3-rc4")...)
			if !strings.Contains(stderr, "secret DB_NAME is the name of "+kind) || !strings.Contains(stderr, "hint: give DB_NAME another value") {
				t.Errorf("%s is refused with\n%s", value, stderr)
			}
			if message, _, _ := strings.Cut(stderr[strings.Index(stderr, "error:"):], "hint:"); strings.Contains(message, value) {
				t.Errorf("the message tells the value:\n%s", stderr)
			}
		}
		for _, op := range w.operations() { // It may look.
			if text := string(op.Kind) + " " + op.Name; !strings.Contains(text, "GET ") && !strings.Contains(text, "HEAD ") && !slices.Contains([]string{"connect ssh", "sftp home", "sftp read", "sftp list", "sftp owners"}, text) {
				t.Errorf("with %s hosts are touched: %v", value, op)
			}
		}
	}
	for _, value := range []string{"web", "v1", "another-value", "shopping"} {
		w.env["DB_NAME"] = value
		w.exits(exit.OK, "push", "--image", image, "--version", "v1.2.3-rc4")
	}
}

func TestMask_IsPrintedOnlyForSecretsThatTheRunnerDoesNotKnow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("env: {secret: [FROM_ENV, FROM_FILE]}\n")
	w.env["GITHUB_ACTIONS"], w.env["FROM_ENV"] = "true", "of-the-environment"
	w.write(".env", "FROM_FILE=of-the-file\n")
	_, stderr := w.exits(exit.OK, "push", "--image", w.image("v1"), "--version", "v1")
	if !strings.Contains(stderr, "::add-mask::of-the-file\n") || strings.Contains(stderr, "of-the-environment") {
		t.Errorf("it prints\n%s", stderr)
	}
}
