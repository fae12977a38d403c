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

// All that a state file holds whatever is done: a file with a secret is not written.
func TestSecretNames_OfAllThatStateFilesHoldAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure(`env: {secret: [DB_NAME], clear: {CACHE_URL: x}}
asset_path: /app/public/assets
networks: [backend]
run_directory: .deployments
tasks: {migrate: {cmd: "true", run: before-boot}}
accessories: {redis: {image: redis, host: vm1, service: redis-main}}
`)
	w.replace("  web: [vm1, vm2]", "  web: {hosts: [vm1, vm2], replicas: 2}")
	image := w.image("v1")
	for value, kind := range map[string]string{
		"unchanged":   "a field or fixed value of state files",
		"routes":      "a field or fixed value of state files",
		"supersedes":  "a field or fixed value of state files",
		"restarts":    "a field or fixed value of state files",
		"cutover":     "a stage",
		"env-push":    "a stage",
		"backend":     "a network",
		"kstep-shop":  "a network",
		"public":      "an asset folder",
		"deployments": "the run directory",
		"web.2-v1":    "a container",
		"migrate":     "a task",
		"redis-main":  "an accessory",
		"CACHE_URL":   "a variable",
		"shop:v1":     "the image of --image",
	} {
		w.env["DB_NAME"] = value
		_, stderr := w.exits(exit.Config, "push", "--image", image, "--version", "v1")
		if !strings.Contains(stderr, "secret DB_NAME is the name of "+kind) {
			t.Errorf("%s is refused with\n%s", value, stderr)
		}
	}
	for _, value := range []string{"another", "stage", "shop:v2", "s3cr3t-value", "changes-of-it"} {
		w.env["DB_NAME"] = value
		w.exits(exit.OK, "push", "--image", image, "--version", "v1")
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
