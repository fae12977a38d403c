//go:build integration

package integration

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/kstep/kstep/integration/rig"
)

// accessoryYAML is an accessory made of the application's own image, which has
// a shell and is on the host once it was deployed.
const accessoryYAML = `accessories:
  db:
    image: ` + rig.Registry + `/acme/shop:latest
    host: vm3
    cmd: /app/bin work
    env: {secret: [CERT:TOKEN]}
    files: [{local: db.conf, remote: /etc/db.conf, mode: 0640, owner: 65534, options: ro}]
    directories: [data:/data]
    healthcheck: {cmd: "test -e /etc/db.conf", interval: 200ms}
`

// bootAccessory boots it with an environment, and expects it to have what it was
// given.
func (w *world) bootAccessory(env, value string) rig.Container {
	w.t.Helper()
	if r := w.kstepWith([]string{env}, "accessory", "boot", "db"); r.Exit != 0 {
		w.t.Fatalf("accessory boot: exit status %d\n%s", r.Exit, r.Stderr)
	}
	w.hasAccessory(value, "first\n")
	w.must("accessory", "exec", "db", "--", "sh", "-c", "echo rows >/data/table")
	return w.onlyAccessory()
}

// hasAccessory checks from inside the accessory. It compares the digest of the
// secret: kstep shows no secret.
func (w *world) hasAccessory(value, config string) {
	w.t.Helper()
	r := w.must("accessory", "exec", "db", "--", "sh", "-c", `printf %s "$CERT" | sha256sum | cut -c 1-64; cat /etc/db.conf; stat -c '%a %u' /etc/db.conf`)
	if want := fmt.Sprintf("%x\n%s640 65534\n", sha256.Sum256([]byte(value)), config); r.Stdout != want {
		w.t.Errorf("the accessory sees %q, want %q", r.Stdout, want)
	}
}

func (w *world) onlyAccessory() rig.Container {
	w.t.Helper()
	c, err := w.rig.Host("vm3").Container(w.t.Context(), "shop-db")
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// rebootAccessory expects the one that deploys have left alone to take its new
// settings, and to keep its data.
func (w *world) rebootAccessory(was rig.Container, env, value string) {
	w.t.Helper()
	if now := w.onlyAccessory(); now.ID != was.ID || !now.State.StartedAt.Equal(was.State.StartedAt) {
		w.t.Errorf("a deploy touched the accessory: it was %s since %s, and is %s since %s", was.ID, was.State.StartedAt, now.ID, now.State.StartedAt)
	}
	w.write("db.conf", "second\n")
	if r := w.kstepWith([]string{env}, "accessory", "boot", "db"); r.Exit != 10 || !strings.Contains(r.Stderr, "shop-db was made with other settings than today's: env, files") {
		w.t.Errorf("exit status %d; what differs is not told:\n%s", r.Exit, r.Stderr)
	}
	if r := w.kstepWith([]string{env}, "accessory", "reboot", "db"); r.Exit != 0 {
		w.t.Fatalf("accessory reboot: exit status %d\n%s", r.Exit, r.Stderr)
	}
	w.hasAccessory(value, "second\n")
	if r := w.must("accessory", "exec", "db", "--", "cat", "/data/table"); r.Stdout != "rows\n" {
		w.t.Errorf("after the reboot there is %q in its directory", r.Stdout)
	}
}

// removeAccessory expects all of it to go but its data.
func (w *world) removeAccessory() {
	w.t.Helper()
	w.must("accessory", "remove", "db", "--yes")
	if got := strings.Join(w.running("vm3"), " "); strings.Contains(got, "shop-db") {
		w.t.Errorf("vm3 still runs %s", got)
	}
	files, err := w.rig.Host("vm3").Files(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if all := strings.Join(files, "\n"); !strings.Contains(all, "@accessories/shop/db/directories/data/table") || strings.Contains(all, "db.conf") {
		w.t.Errorf("vm3 has\n%s", all)
	}
}
