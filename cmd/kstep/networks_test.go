package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/probe"
)

// networksOf are those of a host's containers, by container.
func (w *world) networksOf(hostName string) map[string][]string {
	w.t.Helper()
	found := map[string][]string{}
	for _, c := range w.containers(hostName) {
		found[c.Name] = c.Networks
	}
	return found
}

// isIn expects a container of a host to be in these networks and no others.
func (w *world) isIn(hostName, container string, want ...string) {
	w.t.Helper()
	got := w.networksOf(hostName)[container]
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.t.Errorf("%s on %s is in %q, want %q", container, hostName, got, want)
	}
}

// reaches expects a container of a host to reach another one by a name, or not to.
func (w *world) reaches(hostName, from, name string, want bool) {
	w.t.Helper()
	conn, err := w.hosts[hostName].Engine.Connect(from, name, 3000)
	if err == nil {
		conn.Close()
	}
	if (err == nil) != want {
		w.t.Errorf("%s on %s reaches %s: got %v, want %t", from, hostName, name, err, want)
	}
}

// oneNetwork makes all hosts stand as a kstep with one network for all left them.
func (w *world) oneNetwork() {
	for _, fake := range w.hosts {
		if _, err := fake.Look().Inspect(w.t.Context(), plan.ProxyContainer); err == nil {
			fake.Engine.Earlier(plan.Network)
			continue
		}
		if _, err := fake.Look().EnsureNetwork(w.t.Context(), plan.Network, nil); err != nil {
			w.t.Fatal(err)
		}
		fake.Engine.Earlier(plan.Network)
	}
}

// lossless ends the requests, and expects that none has failed.
func lossless(t *testing.T, stop func() (sent int, failed []string)) {
	t.Helper()
	if sent, failed := stop(); len(failed) > 0 || sent == 0 {
		t.Errorf("%d of %d requests failed, such as: %s", len(failed), sent, strings.Join(failed[:min(1, len(failed))], ""))
	}
}

// blog is another service on vm1, with a claim of its own.
func (w *world) blog(extra string) *world {
	w.t.Helper()
	return w.service("blog", "proxy: {hosts: [blog.example.com]}\n"+extra)
}

const shopAlone = "proxy: {hosts: [shop.example.com]}\n"

func TestNetworks_ServicesAndDestinationsOfAHostDoNotReachEachOther(t *testing.T) {
	t.Parallel()
	for kind, more := range map[string]string{"routes": "", "cord": "switch: cord, "} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.withAccessory("    options: {network-alias: [db]}\n" + strings.Replace(shopAlone, "{", "{"+more, 1))
			w.write("kstep.staging.yml", "proxy: {hosts: [staging.example.com]}\n")
			w.exits(exit.OK, "accessory", "boot", "db", "--hosts", "vm1")
			w.deploy("v1")
			w.job().must(exit.OK, w.deployArgs("s1", "-d", "staging")...)
			blog := w.service("blog", strings.Replace("proxy: {hosts: [blog.example.com]}\n", "{", "{"+more, 1))
			blog.deploy("b1")

			w.isIn("vm1", "shop-db", "kstep-shop")
			w.isIn("vm1", "shop-web-v1", "kstep-shop")
			w.isIn("vm1", "shop-web-staging-s1", "kstep-shop.staging")
			w.isIn("vm1", "blog-web-b1", "kstep-blog")
			w.isIn("vm1", "kstep-proxy", "kstep", "kstep-blog", "kstep-shop", "kstep-shop.staging")
			w.isIn("vm3", "shop-job-v1", "kstep-shop")
			for _, name := range []string{"shop-db", "db", "shop-web-v1"} {
				w.reaches("vm1", "blog-web-b1", name, false)
				w.reaches("vm1", "shop-web-staging-s1", name, false)
			}
			w.reaches("vm1", "shop-web-v1", "shop-db", true)
			w.reaches("vm1", "shop-web-v1", "db", true)
			for address, want := range map[string]string{"shop.example.com": "v1", "staging.example.com": "s1", "blog.example.com": "b1"} {
				w.answersAlways("vm1", address, want)
			}
			w.deploy("v2")
			w.answersAlways("vm1", "shop.example.com", "v2")
			w.exits(exit.OK, "rollback")
			w.answersAlways("vm1", "shop.example.com", "v1")
		})
	}
}

func TestNetworks_FurtherOnesAreSharedOnPurpose(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withAccessory("    options: {network-alias: [orders-db]}\n    networks: [backend]\n" + shopAlone)
	w.refuses(exit.Failed, "networks: backend is not on vm1", "accessory", "boot", "db", "--hosts", "vm1")
	for _, name := range []string{"vm1", "vm2", "vm3"} {
		if _, err := w.hosts[name].Look().EnsureNetwork(t.Context(), "backend", nil); err != nil {
			t.Fatal(err)
		}
	}
	w.exits(exit.OK, "accessory", "boot", "db", "--hosts", "vm1")
	w.deploy("v1")
	blog := w.blog("networks: [nowhere]\n")
	for _, command := range []string{"plan", "deploy"} {
		_, stderr := blog.exits(exit.Failed, append([]string{command}, blog.deployArgs("b1")[1:]...)...)
		if !strings.Contains(stderr, "nowhere is not on vm1") || !strings.Contains(stderr, "hint: make it there: docker network create nowhere") {
			t.Errorf("%s: got\n%s", command, stderr)
		}
	}
	blog.replace("networks: [nowhere]", "networks: [backend]")
	blog.deploy("b1")
	w.isIn("vm1", "shop-db", "backend", "kstep-shop")
	w.isIn("vm1", "blog-web-b1", "backend", "kstep-blog")
	for _, name := range []string{"shop-db", "orders-db"} {
		w.reaches("vm1", "blog-web-b1", name, true)
	}
	w.reaches("vm1", "blog-web-b1", "shop-web-v1", false)
	w.answersAlways("vm1", "blog.example.com", "b1")

	// A change of it makes new containers, and a plan shows it.
	blog.replace("networks: [backend]", "networks: [backend, kstep]")
	p := blog.planned("--image", blog.image("b1"), "--version", "b1")
	text := fmt.Sprint(p.Stages)
	for _, want := range []string{"~ networks", "! joins the network kstep"} {
		if !strings.Contains(text, want) {
			t.Errorf("the plan does not say %q:\n%s", want, text)
		}
	}
	blog.deploy("b1")
	w.isIn("vm1", "blog-web-b1", "backend", "kstep", "kstep-blog")
	w.answersAlways("vm1", "blog.example.com", "b1")
}

func TestNetworks_AContainerThatWasNotConnectedToAllIsConnectedByTheNextRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("networks: [kstep]\n")
	w.deploy("v0")
	k := 0
	for ; ; k++ {
		version := fmt.Sprint("v", k+1)
		var connects atomic.Int64
		if !w.killedAt(func(op host.Op) bool {
			return strings.HasSuffix(op.Name, "/connect") && connects.Add(1) > int64(k)
		}, w.deployArgs(version)...) {
			break
		}
		w.deploy(version)
		w.isIn("vm1", "shop-web-"+version, "kstep", "kstep-shop")
		w.isIn("vm3", "shop-job-"+version, "kstep", "kstep-shop")
		w.serves(version)
	}
	if k != 3 {
		t.Errorf("a deploy connects %d containers, want one for each target", k)
	}
}

func TestNetworks_MigrationFromTheOldOneLosesNoRequest(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.withAccessory("    options: {network-alias: [db]}\n" + extra)
			w.exits(exit.OK, "accessory", "boot", "db")
			w.deploy("v0")
			w.deploy("v1")
			w.oneNetwork()
			w.serves("v1")
			w.isIn("vm1", "kstep-proxy", "kstep")
			w.reaches("vm1", "shop-web-v1", "db", true)
			stop := w.hammer(w.pool())

			// Nothing is replaced where nothing changed.
			before := w.containersOf("vm1")
			w.deploy("v1")
			for name, c := range w.containersOf("vm1") {
				if c.ID != before[name].ID {
					t.Errorf("%s was replaced by a deploy of the same version", name)
				}
			}
			w.isIn("vm1", "shop-web-v1", "kstep")
			w.isIn("vm1", "shop-db", "kstep", "kstep-shop")
			w.isIn("vm1", "kstep-proxy", "kstep", "kstep-shop")
			lossless(t, stop)
			w.oneNetwork()
			stop = w.hammer(w.pool())

			p := w.planned(w.deployArgs("v2")[1:]...)
			text := fmt.Sprint(p.Stages)
			for _, want := range []string{"network kstep-shop", "kstep-proxy to network kstep-shop", "shop-db to network kstep-shop"} {
				if !strings.Contains(text, want) {
					t.Errorf("the plan does not say %q:\n%s", want, text)
				}
			}
			w.deploy("v2")
			w.agrees(p, "boot")
			w.isIn("vm1", "shop-web-v2", "kstep-shop")
			w.isIn("vm1", "shop-web-v1", "kstep")
			w.isIn("vm1", "shop-db", "kstep", "kstep-shop")
			for _, name := range []string{"db", "shop-db"} {
				w.reaches("vm1", "shop-web-v2", name, true)
			}
			w.serves("v2")

			// An accessory that is replaced is found by what a rollback may start.
			w.exits(exit.OK, "accessory", "reboot", "db")
			w.isIn("vm1", "shop-db", "kstep", "kstep-shop")
			w.exits(exit.OK, "rollback")
			w.isIn("vm1", "shop-web-v1", "kstep")
			w.serves("v1")
			w.reaches("vm1", "shop-web-v1", "db", true)
			w.exits(exit.OK, "rollback", "v2")
			w.serves("v2")
			w.deploy("v3")
			w.serves("v3")
			lossless(t, stop)
		})
	}
}

func TestNetworks_AccessoryLeavesTheOldOneWithTheLastContainerThatIsInIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withAccessory("retain: 1\n")
	w.exits(exit.OK, "accessory", "boot", "db", "--hosts", "vm1")
	w.deploy("v1")
	w.oneNetwork()
	for _, version := range []string{"v2", "v3", "v4"} {
		w.deploy(version)
	}
	w.isIn("vm1", "shop-db", "kstep", "kstep-shop")
	w.exits(exit.OK, "accessory", "reboot", "db", "--hosts", "vm1")
	w.isIn("vm1", "shop-db", "kstep-shop")
	w.exits(exit.OK, "accessory", "boot", "db", "--hosts", "vm1") // As configured.
	w.reaches("vm1", "shop-web-v4", "shop-db", true)
}

func TestNetworks_MigrationThatIsKilledAnywhereConverges(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.withAccessory(extra)
			w.exits(exit.OK, "accessory", "boot", "db", "--hosts", "vm1")
			w.deploy("v0")
			k := 0
			for ; ; k += 41 { // A prime: another operation of each host in turn.
				w.oneNetwork() // Which changes addresses: without traffic.
				stop := w.hammer(w.pool())
				version := fmt.Sprint("v", k+1)
				if !w.killed(k, w.deployArgs(version)...) {
					lossless(t, stop)
					break
				}
				w.deploy(version)
				w.serves(version)
				w.isIn("vm1", "shop-web-"+version, "kstep-shop")
				w.isIn("vm1", "shop-db", "kstep", "kstep-shop")
				w.reaches("vm1", "shop-web-"+version, "shop-db", true)
				lossless(t, stop)
			}
			if k < 200 {
				t.Errorf("a deploy has %d operations only: is the right thing killed?", k)
			}
		})
	}
}

func TestNetworks_RemoveTakesTheServicesOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withAccessory(shopAlone)
	w.deploy("v1")
	blog := w.blog("networks: [kstep-shop]\n")
	blog.deploy("b1")
	has := func(name string) bool {
		t.Helper()
		have, err := w.hosts["vm1"].Look().Networks(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return len(have) > 0
	}
	w.exits(exit.OK, "remove", "--yes")
	if !has("kstep-shop") {
		t.Error("a network that another service's container is in was removed")
	}
	w.isIn("vm1", "blog-web-b1", "kstep-blog", "kstep-shop")
	blog.replace("networks: [kstep-shop]\n", "retain: 1\n")
	for _, version := range []string{"b2", "b3", "b4"} {
		blog.deploy(version)
	}
	w.exits(exit.OK, "prune")
	if !has("kstep-shop") {
		t.Error("prune removed a network")
	}
	w.says("removed network kstep-shop", "remove", "--yes", "--hosts", "vm1")
	if has("kstep-shop") || !has("kstep-blog") || !has("kstep") {
		t.Error("kstep-shop is there, or another network is not")
	}
	w.isIn("vm1", "kstep-proxy", "kstep", "kstep-blog")
	w.answersAlways("vm1", "blog.example.com", "b4")
	w.says("unchanged", "remove", "--yes", "--hosts", "vm1")

	// An accessory stays with its network, and takes it along when it goes.
	w.exits(exit.OK, "accessory", "boot", "db", "--hosts", "vm1")
	w.deploy("v2")
	w.exits(exit.OK, "remove", "--yes")
	if !has("kstep-shop") {
		t.Error("the network of an accessory was removed")
	}
	w.says("removed network kstep-shop", "accessory", "remove", "db", "--hosts", "vm1", "--yes")
	if has("kstep-shop") {
		t.Error("kstep-shop is there")
	}
	w.deploy("v3")
	w.answersAlways("vm1", "shop.example.com", "v3")
}

func TestNetworks_ANewProxyJoinsThoseOfAllServicesBeforeItServes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure(shopAlone)
	w.deploy("v0")
	w.oneNetwork()
	w.deploy("v1") // v0 stays in the old network, for a rollback.
	blog := w.blog("")
	blog.deploy("b1")
	served := func() {
		t.Helper()
		w.isIn("vm1", "kstep-proxy", "kstep", "kstep-blog", "kstep-shop")
		w.answersAlways("vm1", "shop.example.com", "v1")
		w.answersAlways("vm1", "blog.example.com", "b1")
	}
	served()
	w.exits(exit.OK, "proxy", "reboot")
	served()
	w.exits(exit.OK, "proxy", "stop")
	w.exits(exit.OK, "proxy", "start")
	served()
	w.exits(exit.OK, "proxy", "remove", "--yes")
	w.exits(exit.OK, "proxy", "boot")
	served()
	w.exits(exit.OK, "proxy", "remove", "--yes")
	p := w.planned(w.deployArgs("v1")[1:]...)
	w.deploy("v1")
	w.agrees(p, "boot")
	served()
	if err := w.hosts["vm1"].Look().Disconnect(t.Context(), plan.ProxyContainer, "kstep-blog"); err != nil {
		t.Fatal(err)
	}
	w.says("connected kstep-proxy to network kstep-blog", "proxy", "boot")
	served()
	w.exits(exit.OK, "rollback")
	w.answersAlways("vm1", "shop.example.com", "v0")
	for k := 1; w.killed(k, "proxy", "reboot", "--hosts", "vm1"); k += 5 {
		w.exits(exit.OK, "proxy", []string{"boot", "reboot"}[k%2], "--hosts", "vm1")
		w.isIn("vm1", "kstep-proxy", "kstep", "kstep-blog", "kstep-shop")
		w.answersAlways("vm1", "blog.example.com", "b1")
		w.answersAlways("vm1", "shop.example.com", "v0")
	}
}

func TestNetworks_TheProxysAPIIsForKstepAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	api := func(change func(*http.Request)) int {
		t.Helper()
		h := w.hosts["vm1"].Connect(t)
		c, err := h.Engine().Inspect(t.Context(), plan.ProxyContainer)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.Addresses[plan.Network]+":8080/api/http/routers", nil)
		if err != nil {
			t.Fatal(err)
		}
		change(req)
		resp, err := probe.Client(h, 5*time.Second).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	anonymous := func(*http.Request) {}
	if status := api(anonymous); status != http.StatusUnauthorized {
		t.Errorf("without a password: got %d, want 401", status)
	}
	if status := api(func(r *http.Request) { r.SetBasicAuth("kstep", "guess") }); status != http.StatusUnauthorized {
		t.Errorf("with another password: got %d, want 401", status)
	}
	c := w.containersOf("vm1")[plan.ProxyContainer]
	password := c.Labels[engine.LabelProxyAPI]
	if status := api(func(r *http.Request) { r.SetBasicAuth("kstep", password) }); status != http.StatusOK || len(password) != 64 {
		t.Errorf("with the password: got %d, %d letters", status, len(password))
	}
	if status, _ := w.getAs("vm1", "vm1/api/http/routers?"); status != http.StatusOK {
		t.Errorf("a path /api of the application: got %d", status) // The application's, by the port of the web.
	}
	proxyDir := filepath.Join(w.hosts["vm1"].Home, ".kstep", "proxy")
	for _, folder := range []string{proxyDir, filepath.Join(proxyDir, "routes")} {
		if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: got %v, %v, want a folder that other accounts may look into", folder, info.Mode(), err)
		}
	}
	key, err := os.Stat(filepath.Join(proxyDir, "api.key"))
	if err != nil || key.Mode().Perm() != 0o600 {
		t.Errorf("the key: got %v, %v", key, err)
	}
	if text := w.read(filepath.Join(proxyDir, "routes", plan.CatchAllFile)); strings.Contains(text, password) {
		t.Error("the password is in a file that the proxy's container mounts")
	}

	// The proxy of an earlier kstep is read as it is, and closed by a reboot.
	w.oneNetwork()
	if status := api(anonymous); status != http.StatusOK {
		t.Errorf("of an earlier version: got %d", status)
	}
	w.says("the proxy on vm1 runs with other settings than the configuration has", w.deployArgs("v2")...)
	w.exits(exit.OK, "proxy", "reboot")
	if status := api(anonymous); status != http.StatusUnauthorized {
		t.Errorf("after the reboot: got %d, want 401", status)
	}
	w.deploy("v3")
	w.exits(exit.OK, "proxy", "reboot") // With the password that the running one has.
	w.serves("v3")
}
