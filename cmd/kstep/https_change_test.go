package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

func TestHTTPS_AnotherAuthorityTakesNoCertificateFromWhatServes(t *testing.T) {
	t.Parallel()
	for name, tls := range map[string]string{
		"another address for notices": "{acme: {email: ops@example.com}}", "another directory": "{acme: {directory: 'https://ca.example.com/dir'}}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).onOneHost("proxy: {hosts: [shop.example.com], tls: true}\n")
			w.deploy("v1")
			w.replace("tls: true", "tls: "+tls)
			_, stderr := w.exits(exit.Failed, w.deployArgs("v2")...)
			if !strings.Contains(stderr, "kstep proxy reboot") {
				t.Errorf("got\n%s", stderr)
			}
			w.exits(exit.OK, "proxy", "reboot")
			w.opens("vm1", "https://shop.example.com/", "v1")
			w.deploy("v2")
			w.opens("vm1", "https://shop.example.com/", "v2")
			w.redirects("vm1", "http://shop.example.com/", "https://shop.example.com/")
		})
	}
}

func TestHTTPS_ABeforeTheDeployThatTakesItOutTheRebootKeepsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t).onOneHost("proxy: {hosts: [shop.example.com], tls: true}\n")
	w.deploy("v1")
	w.replace(", tls: true", "")
	w.exits(exit.OK, "proxy", "reboot")
	w.opens("vm1", "https://shop.example.com/", "v1")
}

func TestHTTPS_AnotherPortNeedsAnotherProxyFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t).onOneHost("proxy: {hosts: [shop.example.com], tls: true}\n")
	w.deploy("v1")
	w.replace("tls: true", "tls: true, publish: {https: 8443}")
	_, stderr := w.exits(exit.Failed, w.deployArgs("v2")...)
	if !strings.Contains(stderr, "8443") || !strings.Contains(stderr, "kstep proxy reboot") {
		t.Errorf("got\n%s", stderr)
	}
	w.redirects("vm1", "http://shop.example.com/", "https://shop.example.com/")
}

func TestHTTPS_AbortGivesTheVersionBeforeItsRouteBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ before, after, address string }{
		"a name that became a redirect": {
			"{hosts: [a.example.com]}", "{hosts: [www.example.com], redirects: {a.example.com: www.example.com}}", "http://a.example.com/",
		},
		"a redirect that went":      {"{hosts: [a.example.com], redirects: {www.example.com: a.example.com}}", "{hosts: [a.example.com]}", "http://a.example.com/"},
		"a prefix that is stripped": {"{hosts: [a.example.com], path_prefix: /shop}", "{hosts: [a.example.com], path_prefix: /shop, strip_path_prefix: true}", "http://a.example.com/shop"},
		"senders that are let in":   {"{hosts: [a.example.com]}", "{hosts: [a.example.com], allow: [198.51.100.7]}", "http://a.example.com/"},
		"HTTPS with one's own":      {"{hosts: [a.example.com], tls: {certificate: shop.crt, private_key: shop.key}}", "{hosts: [a.example.com]}", "https://a.example.com/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			certificate, key := w.hosts["vm1"].Authority().Pair(time.Now().Add(-time.Hour), time.Now().Add(100*24*time.Hour), "*.example.com")
			w.write("shop.crt", certificate)
			w.write("shop.key", key)
			w.append("proxy: " + c.before + "\n")
			w.paths("v1")
			w.deploy("v1")
			before, err := w.open("vm1", c.address)
			if err != nil || before.status != 200 {
				t.Fatal(before, err)
			}
			w.replace("proxy: "+c.before, "proxy: "+c.after)
			w.exits(exit.OK, append([]string{"push"}, w.deployArgs("v2")[1:]...)...)
			for _, stage := range []string{"assets", "env-push", "boot", "barrier-wait"} {
				w.exits(exit.OK, stage)
			}
			w.exits(exit.OK, "cutover", "--hosts", "vm1")
			w.exits(exit.OK, "abort")
			after, err := w.open("vm1", c.address)
			if err != nil || after.status != 200 || after.body != before.body {
				t.Errorf("%s answered %q, and after the abort %d %q (%v)", c.address, before.body, after.status, after.body, err)
			}
			if strings.Contains(c.before, "redirects") {
				w.redirects("vm1", "http://www.example.com/", "http://a.example.com/")
			}
		})
	}
}

func TestHTTPS_WhatServesKeepsItsCertificateUntilTheTrafficMoves(t *testing.T) {
	t.Parallel()
	w := newWorld(t).onOneHost("proxy: {hosts: [old.example.com], tls: {certificate: shop.crt, private_key: shop.key}}\n")
	w.certified(w.hosts["vm1"].Authority(), time.Now().Add(100*24*time.Hour), "old.example.com")
	w.deploy("v1")
	w.opens("vm1", "https://old.example.com/", "v1")
	w.certified(w.hosts["vm1"].Authority(), time.Now().Add(100*24*time.Hour), "new.example.com")
	w.replace("old.example.com", "new.example.com")
	w.behave("v2", hosttest.Behaviour{Handler: sick})
	w.exits(exit.BarrierClosed, w.deployArgs("v2")...)
	w.opens("vm1", "https://old.example.com/", "v1")
	w.exits(exit.OK, "abort")
	w.opens("vm1", "https://old.example.com/", "v1")

	w.replace("tls: {certificate: shop.crt, private_key: shop.key}", "tls: true")
	w.replace("new.example.com", "old.example.com")
	w.exits(exit.OK, "proxy", "reboot")
	w.opens("vm1", "https://old.example.com/", "v1")
	w.deploy("v3")
	w.opens("vm1", "https://old.example.com/", "v3")
	w.redirects("vm1", "http://old.example.com/", "https://old.example.com/")
	left, err := filepath.Glob(filepath.Join(w.hosts["vm1"].Home, ".kstep/proxy/routes/@*"))
	if err != nil || len(left) > 0 {
		t.Errorf("the proxy still has %v (%v)", left, err)
	}
}

func TestHTTPS_FromAMachineWithoutTheSecretsTheHostsKeepTheirCertificates(t *testing.T) {
	t.Parallel()
	w := newWorld(t).onOneHost("proxy: {hosts: [shop.example.com], tls: {certificate: shop.crt, private_key: [SHOP_KEY]}}\n")
	certificate, key := w.hosts["vm1"].Authority().Pair(time.Now().Add(-time.Hour), time.Now().Add(100*24*time.Hour), "shop.example.com")
	w.write("shop.crt", certificate)
	w.env["SHOP_KEY"] = key
	w.deploy("v1")
	delete(w.env, "SHOP_KEY")
	if err := os.Remove(filepath.Join(w.dir, "shop.crt")); err != nil {
		t.Fatal(err)
	}
	w.exits(exit.OK, append(w.deployArgs("v2"), "--secrets-from", "hosts")...)
	w.opens("vm1", "https://shop.example.com/", "v2")
}

func TestHTTPS_AKeyInTheConfigurationIsRefusedAndNotPrinted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, key := hosttest.NewAuthority().Pair(time.Now(), time.Now().Add(time.Hour), "shop.example.com")
	lines := strings.Split(strings.TrimSpace(key), "\n")
	w.append("proxy:\n  hosts: [shop.example.com]\n  tls:\n    certificate: shop.crt\n    private_key: |\n      " + strings.Join(lines, "\n      ") + "\n")
	stdout, stderr := w.exits(exit.Config, "config", "validate")
	if !strings.Contains(stderr, "proxy.tls.private_key: must be a file, or a list") || strings.Contains(stdout+stderr, lines[1]) {
		t.Errorf("got\n%s%s", stdout, stderr)
	}
}

func TestHTTPS_AProxyThatIsMissingIsNotMadeWithoutWhatANeighbourNeeds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shop := w.service("shop", "proxy: {hosts: [shop.example.com], tls: true}\n")
	blog := w.service("blog", "proxy: {hosts: [blog.example.com]}\n")
	shop.deploy("v1")
	blog.deploy("b1")
	shop.exits(exit.OK, "proxy", "remove", "--yes")
	_, stderr := blog.exits(exit.Failed, "proxy", "boot")
	if !strings.Contains(stderr, "HTTPS") {
		t.Errorf("got\n%s", stderr)
	}
	shop.exits(exit.OK, "proxy", "boot")
	shop.opens("vm1", "https://shop.example.com/", "v1")
	blog.opens("vm1", "http://blog.example.com/", "b1")
}
