package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// ask sends a request to a host's proxy, from behind a load balancer if sender is an address.
func (w *world) ask(hostName, address, sender string) (page, error) {
	fake := w.hosts[hostName]
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return fake.Dial(80) },
	}}
	req, err := http.NewRequest(http.MethodGet, "http://"+address, nil)
	if err != nil {
		return page{}, err
	}
	if sender != "" {
		req.Header.Set("X-Forwarded-For", sender)
	}
	resp, err := client.Do(req)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return page{resp.StatusCode, string(body), resp.Header}, err
}

// closed expects 503 with this Retry-After on hosts.
func (w *world) closed(retryAfter string, hosts ...string) {
	w.t.Helper()
	for _, name := range hosts {
		got, err := w.ask(name, name+"/", "")
		if err != nil || got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") != retryAfter {
			w.t.Errorf("%s answers %d %q, Retry-After %q (%v), want 503 and %s", name, got.status, got.body, got.header.Get("Retry-After"), err, retryAfter)
		}
		if got, err := w.ask(name, name+"/up", ""); err != nil || got.status != http.StatusOK {
			w.t.Errorf("%s answers the health check of a load balancer with %d %q (%v), want 200", name, got.status, got.body, err)
		}
	}
}

// crowd sends requests to both web hosts until it is stopped, and counts the answers.
func (w *world) crowd(sender string) (stop func() map[string]int) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var mu sync.Mutex
	var all sync.WaitGroup
	answers := map[string]int{}
	for _, name := range []string{"vm1", "vm2"} {
		all.Go(func() {
			for ctx.Err() == nil {
				got, err := w.ask(name, name+"/", sender)
				answer := fmt.Sprintf("%d %s", got.status, strings.TrimSpace(got.body))
				if err != nil {
					answer = err.Error()
				}
				mu.Lock()
				answers[answer]++
				mu.Unlock()
				time.Sleep(2 * time.Millisecond) // The machine is also the hosts'.
			}
		})
	}
	return func() map[string]int {
		cancel()
		all.Wait()
		return answers
	}
}

// only expects answers to begin with one of the texts, and each of the texts at least once.
func (w *world) only(who string, answers map[string]int, want ...string) {
	w.t.Helper()
	seen := map[string]int{}
	for answer, n := range answers {
		known := false
		for _, text := range want {
			if strings.Contains(answer, text) {
				seen[text] += n
				known = true
			}
		}
		if !known {
			w.t.Errorf("%s got %q, %d times", who, answer, n)
		}
	}
	for _, text := range want {
		if seen[text] == 0 {
			w.t.Errorf("%s never got %q: %v", who, text, answers)
		}
	}
}

// maintained reports what `kstep status` says of the maintenance of each target.
func (w *world) maintained() map[string]string {
	w.t.Helper()
	stdout, _ := w.exits(exit.OK, "status", "--output", "json")
	var sum statusReport
	if err := json.Unmarshal([]byte(stdout), &sum); err != nil {
		w.t.Fatal(err)
	}
	found := map[string]string{}
	for _, one := range sum.Targets {
		if one.Maintenance != nil {
			found[one.Host] = fmt.Sprintf("%d%v", one.Maintenance.RetryAfter, one.Maintenance.Allow)
		}
		if one.Routed != nil && !*one.Routed {
			w.t.Errorf("%s gets no traffic: %s", one.Host, one.NoTraffic)
		}
	}
	return found
}

func TestMaintenance_BeginsAndEnds(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			_, stderr := w.exits(exit.Failed, "app", "maintenance")
			if !strings.Contains(stderr, "no route on any host") {
				t.Errorf("before the first deploy: got\n%s", stderr)
			}
			w.deploy("v1")
			id := w.works("vm1", "shop-web-v1")[0].ID
			w.exits(exit.OK, "app", "maintenance")
			w.closed("300", "vm1", "vm2")
			if got := w.maintained(); len(got) != 2 || got["vm1"] != "300[]" {
				t.Errorf("status shows %v", got)
			}
			stdout, _ := w.exits(exit.OK, "status")
			if !strings.Contains(stdout, "vm2 web is in maintenance: visitors get 503 with Retry-After: 300") {
				t.Errorf("status shows\n%s", stdout)
			}
			if now := w.works("vm1", "shop-web-v1")[0]; now.ID != id || !now.Running() {
				t.Error("the containers do not run on")
			}

			w.operations()
			w.exits(exit.OK, "app", "maintenance")
			for _, op := range w.operations() {
				if strings.Contains(op.Path, "proxy/routes") && strings.HasPrefix(op.Name, "write") {
					t.Errorf("a second call writes the route: %v", op)
				}
			}
			w.exits(exit.OK, "app", "maintenance", "--retry-after", "60", "--allow", "198.51.100.0/24", "--hosts", "vm2")
			w.closed("300", "vm1")
			w.closed("60", "vm2")
			if got := w.maintained(); got["vm1"] != "300[]" || got["vm2"] != "60[198.51.100.0/24]" {
				t.Errorf("status shows %v", got)
			}

			users := w.crowd("")
			w.exits(exit.OK, "app", "live")
			w.serves("v1")
			for answer, n := range users() {
				if !strings.HasPrefix(answer, "503 ") && !strings.HasPrefix(answer, "200 ") {
					t.Errorf("a visitor got %q, %d times", answer, n)
				}
			}
			if got := w.maintained(); len(got) != 0 {
				t.Errorf("status shows %v", got)
			}
			if _, stderr := w.exits(exit.OK, "app", "live"); !strings.Contains(stderr, "no maintenance was on for web") {
				t.Errorf("a second app live says\n%s", stderr)
			}
			stdout, _ = w.exits(exit.OK, "audit", "--hosts", "vm2", "--output", "json")
			for _, want := range []string{"app maintenance", "Retry-After: 60; allowed: 198.51.100.0/24", "app live", "ended the maintenance of web"} {
				if !strings.Contains(stdout, want) {
					t.Errorf("the audit log lacks %q:\n%s", want, stdout)
				}
			}
		})
	}
}

func TestMaintenance_DeploysAndRollbacksKeepItForVisitorsAndNotForAllowedSenders(t *testing.T) {
	t.Parallel()
	for kind, extra := range map[string]string{"routes": "", "cord": ", switch: cord"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure("proxy: {trusted_proxies: private" + extra + "}\n")
			w.deploy("v1")
			w.exits(exit.OK, "app", "maintenance", "--allow", "203.0.113.0/24", "--allow", "10.9.8.7")
			visitors, team, office := w.crowd("198.51.100.1"), w.crowd("198.51.100.1, 203.0.113.7"), w.crowd("10.9.8.7")
			w.deploy("v2")
			w.only("a visitor", visitors(), "503 ")
			w.only("an allowed sender", team(), "200 version v1", "200 version v2")
			w.only("an allowed address", office(), "200 version v1", "200 version v2")
			visitors = w.crowd("")
			w.exits(exit.OK, "rollback")
			w.exits(exit.OK, w.deployArgs("v2", "--new-release")...)
			w.only("a visitor", visitors(), "503 ")
			w.exits(exit.OK, "proxy", "reboot")
			w.closed("300", "vm1", "vm2")
			w.exits(exit.OK, "app", "live")
			w.serves("v2")
		})
	}
}

func TestMaintenance_AnAllowedAddressPassesWithoutALoadBalancer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.exits(exit.OK, "app", "maintenance", "--allow", "172.16.0.0/12") // The gateway, through which the tests come.
	w.serves("v1")
	if got, err := w.ask("vm1", "vm1/", "203.0.113.7"); err != nil || got.status != http.StatusOK {
		t.Errorf("got %d %q (%v)", got.status, got.body, err)
	}
	w.exits(exit.OK, "app", "maintenance", "--allow", "203.0.113.7")
	if got, err := w.ask("vm1", "vm1/", "203.0.113.7"); err != nil || got.status != http.StatusServiceUnavailable {
		t.Errorf("a header that no trusted proxy has set lets a visitor in: %d %q (%v)", got.status, got.body, err)
	}
}

func TestMaintenance_AbortKeepsIt(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.deploy("v1")
			w.exits(exit.OK, "app", "maintenance")
			w.stages("v2", "assets", "env-push", "boot", "barrier-wait")
			users := w.crowd("")
			w.exits(exit.OK, "cutover", "--hosts", "vm1")
			w.exits(exit.OK, "abort")
			w.only("a visitor", users(), "503 ")
			w.closed("300", "vm1", "vm2")
			w.exits(exit.OK, "app", "live")
			w.serves("v1")
		})
	}
}

func TestMaintenance_AFaultyVersionStillFailsItsDeploy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.exits(exit.OK, "app", "maintenance")
	var broken sync.Map
	w.behave("v2", hosttest.Behaviour{Handler: func(hosttest.Process) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			if _, is := broken.Load("now"); is {
				rw.WriteHeader(http.StatusServiceUnavailable)
			}
		})
	}})
	w.stages("v2", "assets", "env-push", "boot", "barrier-wait")
	broken.Store("now", true)
	_, stderr := w.exits(exit.RolledBack, "cutover")
	if !strings.Contains(stderr, "users get 503 (maintenance; v1 behind it) on vm1, vm2") {
		t.Errorf("the failure does not say what users get:\n%s", stderr)
	}
	w.closed("300", "vm1", "vm2")
	w.exits(exit.OK, "app", "live")
	w.serves("v1")
}

func TestMaintenance_AHostThatJoinsAndARoleWithANewNameAreInItToo(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.replace("web: [vm1, vm2]", "web: [vm1]")
			w.deploy("v1")
			w.exits(exit.OK, "app", "maintenance", "--retry-after", "7")
			w.replace("web: [vm1]", "web: [vm1, vm2]")
			w.exits(exit.OK, "app", "maintenance", "--retry-after", "8")
			users := w.crowd("")
			w.deploy("v2")
			w.replace("web: [vm1, vm2]", "front: [vm1, vm2]")
			w.append("primary_role: front\n")
			w.deploy("v3")
			answers := users()
			for answer := range answers { // A host without the service answers 502 or nothing.
				if strings.HasPrefix(answer, "200") {
					t.Errorf("a visitor got %q: %v", answer, answers)
				}
			}
			w.closed("8", "vm1", "vm2")
			w.exits(exit.OK, "app", "live")
			w.serves("v3")
		})
	}
}

func TestMaintenance_ARoleThatLeftTheConfigurationIsInItUntilItsSuccessorComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.replace("web: [vm1, vm2]", "front: [vm1, vm2]")
	w.append("primary_role: front\n")
	w.exits(exit.OK, "app", "maintenance")
	w.closed("300", "vm1", "vm2")
	w.exits(exit.OK, "app", "live")
	w.serves("v1")
}

func TestMaintenance_WithHTTPSAndAPath(t *testing.T) {
	t.Parallel()
	w := newWorld(t).onOneHost("proxy: {hosts: [shop.example.com, '*.shop.example.com'], path_prefix: /shop, strip_path_prefix: true, tls: {certificate: shop.crt, private_key: shop.key, hsts: true}}\n")
	w.certified(w.hosts["vm1"].Authority(), time.Now().Add(100*24*time.Hour), "shop.example.com", "*.shop.example.com")
	w.paths("v1")
	w.deploy("v1")
	_, before := w.routeOn("vm1")
	w.exits(exit.OK, "app", "maintenance")
	w.redirects("vm1", "http://shop.example.com/shop/a", "https://shop.example.com/shop/a")
	for _, name := range []string{"shop.example.com", "a.shop.example.com"} {
		if got, err := w.open("vm1", "https://"+name+"/shop/a"); err != nil || got.status != 503 || got.header.Get("Retry-After") != "300" || got.header.Get("Strict-Transport-Security") == "" {
			t.Errorf("%s answers %d %v (%v)", name, got.status, got.header, err)
		}
		w.opens("vm1", "https://"+name+"/shop/up", "v1 got /up")
	}
	w.operations()
	w.exits(exit.OK, w.deployArgs("v1")...)
	for _, op := range w.operations() {
		if strings.Contains(op.Path, "proxy/routes/shop") && strings.HasPrefix(op.Name, "write") {
			t.Errorf("a deploy that changes nothing writes the route: %v", op)
		}
	}
	w.exits(exit.OK, "app", "live")
	if _, after := w.routeOn("vm1"); string(after) != string(before) {
		t.Errorf("after the maintenance the route is\n%s\nand before it was\n%s", after, before)
	}
}

func TestMaintenance_KilledAndRunAgainItIsOnAndOff(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.deploy("v1")
			for _, command := range []string{"maintenance", "live"} {
				kills := []func(host.Op) bool{
					func(op host.Op) bool {
						return strings.Contains(op.Path, "proxy/routes/shop") && strings.HasPrefix(op.Name, "write")
					},
					wrote(),
				}
				for _, at := range kills {
					w.killedAt(at, "app", command)
					w.exits(exit.OK, "lock", "release", "--force")
				}
				w.exits(exit.OK, "app", command)
				if command == "maintenance" {
					w.closed("300", "vm1", "vm2")
				}
			}
			w.serves("v1")
			if got := w.maintained(); len(got) != 0 {
				t.Errorf("status shows %v", got)
			}
		})
	}
}

// wrote is true from the operation on that follows the first write of a route.
func wrote() func(host.Op) bool {
	var mu sync.Mutex
	was := false
	return func(op host.Op) bool {
		mu.Lock()
		defer mu.Unlock()
		if was {
			return true
		}
		was = strings.Contains(op.Path, "proxy/routes/shop") && strings.HasPrefix(op.Name, "write")
		return false
	}
}

func TestMaintenance_RemoveLeavesNothingOfIt(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.deploy("v1")
			w.exits(exit.OK, "app", "maintenance")
			w.exits(exit.OK, "remove", "--yes")
			left, err := filepath.Glob(filepath.Join(w.hosts["vm1"].Home, ".kstep/proxy/routes/shop*"))
			if err != nil || len(left) > 0 {
				t.Errorf("the proxy still has %v (%v)", left, err)
			}
			w.deploy("v2")
			w.serves("v2")
		})
	}
}

func TestMaintenance_MistakesAreRefusedBeforeAnyHostIsTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.operations()
	for args, want := range map[string]string{
		"--allow 10.0.0.0/33":     `--allow "10.0.0.0/33" is neither an address nor a range`,
		"--allow office":          "write an address such as 203.0.113.7",
		"--retry-after 0":         "--retry-after must be a number of seconds",
		"--retry-after=-5":        "--retry-after must be a number of seconds",
		"--retry-after soon":      "soon",
		"--retry-after 100000000": "--retry-after must be a number of seconds",
	} {
		_, stderr := w.exits(exit.Usage, append([]string{"app", "maintenance"}, strings.Fields(args)...)...)
		if !strings.Contains(stderr, want) {
			t.Errorf("%s: want %q:\n%s", args, want, stderr)
		}
	}
	if ops := w.operations(); len(ops) > 0 {
		t.Errorf("a refused command did %v", ops)
	}
	_, stderr := w.exits(exit.Usage, "app", "maintenance", "--roles", "job")
	if !strings.Contains(stderr, "none of the roles has traffic") {
		t.Errorf("got\n%s", stderr)
	}
	w.serves("v1")
}

func TestMaintenance_WhatTheProxyDoesNotConfirmLeavesTheRouteAsItWas(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(w *world, route string, before []byte)
		code  exit.Code
	}{
		"the proxy's API does not answer": {func(w *world, _ string, _ []byte) {
			w.refuse = func(op host.Op) error {
				if op.Kind == host.KindDial && op.Host == "vm1" {
					return errors.New("connection refused")
				}
				return nil
			}
		}, exit.Deadline},
		"the proxy does not take the file": {func(w *world, route string, before []byte) {
			w.on = func(op host.Op) {
				if op.Host == "vm1" && op.Path == route && strings.HasPrefix(op.Name, "write") {
					if err := os.WriteFile(route, before, 0o600); err != nil {
						w.t.Error(err)
					}
				}
			}
		}, exit.Deadline},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			w.replace("cutover: {drain: 10ms}", "cutover: {drain: 10ms, timeout: 1s}")
			route, before := w.routeOn("vm1")
			c.spoil(w, route, before)
			_, stderr := w.exits(c.code, "app", "maintenance")
			if !strings.Contains(stderr, "its route is as it was") || !strings.Contains(stderr, "kstep proxy logs") {
				t.Errorf("got\n%s", stderr)
			}
			w.refuse, w.on = nil, nil
			if _, after := w.routeOn("vm1"); string(after) != string(before) {
				t.Errorf("the route is\n%s", after)
			}
			w.opens("vm1", "http://vm1/", "v1")
			w.closed("300", "vm2")
			w.exits(exit.OK, "app", "maintenance")
			w.closed("300", "vm1", "vm2")
		})
	}
}

// routeOn is the file with the service's route on a host.
func (w *world) routeOn(hostName string) (file string, data []byte) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.hosts[hostName].Home, ".kstep/proxy/routes/shop-*.yml"))
	if err != nil || len(files) != 1 {
		w.t.Fatal(files, err)
	}
	if data, err = os.ReadFile(files[0]); err != nil {
		w.t.Fatal(err)
	}
	return files[0], data
}

func TestMaintenance_AHealthCheckOfTheFirstPageOpensNothingAndDeploysPass(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.replace("healthcheck: {interval: 20ms", "healthcheck: {path: /, interval: 20ms")
			w.deploy("v1")
			_, stderr := w.exits(exit.OK, "app", "maintenance")
			if !strings.Contains(stderr, "answers its health check (/) with 503, too") || !strings.Contains(stderr, "/.well-known/kstep/health") {
				t.Errorf("got\n%s", stderr)
			}
			users := w.crowd("")
			w.deploy("v2")
			w.only("a visitor", users(), "503 ")
			if targets := fmt.Sprint(w.state("cutover")["outputs"]); strings.Contains(targets, "firstFail") {
				t.Errorf("the probe counts answers of the maintenance as failures: %s", targets)
			}
			if got := w.maintained(); len(got) != 2 {
				t.Errorf("status shows %v", got)
			}
			w.exits(exit.OK, "app", "live")
			w.serves("v2")
			w.behave("v3", hosttest.Behaviour{Handler: sick})
			w.exits(exit.BarrierClosed, w.deployArgs("v3")...)
			w.serves("v2")
		})
	}
}

func TestMaintenance_OtherServicesOfTheHostAreNotInIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shop := w.service("shop", "proxy: {fallback: true}\n")
	blog := w.service("blog", "proxy: {hosts: [blog.example.com]}\n")
	docs := w.service("docs", "proxy: {hosts: [blog.example.com], path_prefix: /up}\n")
	shop.deploy("v1")
	shop.exits(exit.OK, "app", "maintenance")
	blog.deploy("b1")
	blog.opens("vm1", "http://blog.example.com/", "b1")
	blog.exits(exit.OK, "app", "maintenance")
	docs.deploy("d1")
	docs.opens("vm1", "http://blog.example.com/up", "d1")
	docs.opens("vm1", "http://blog.example.com/up/a", "d1")
	for _, address := range []string{"http://blog.example.com/", "http://other.example.com/"} {
		if got, err := w.open("vm1", address); err != nil || got.status != http.StatusServiceUnavailable {
			t.Errorf("%s answers %d %q (%v), want 503", address, got.status, got.body, err)
		}
	}
	shop.exits(exit.OK, "app", "live")
	blog.exits(exit.OK, "app", "live")
	shop.opens("vm1", "http://other.example.com/", "v1")
	blog.opens("vm1", "http://blog.example.com/", "b1")
}
