package plan

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/engine"
)

// Risks are what of a container's settings reaches beyond the container, a line
// each, such as `privileged` or `mounts /srv of the host, and can write there`:
// who approves a plan has to see it. volumes are those of the configuration: what
// kstep itself mounts is left out.
func Risks(spec engine.Spec, volumes []string) []string {
	var found []string
	add := func(when bool, text string) {
		if when {
			found = append(found, text)
		}
	}
	o := spec.Options
	add(o.Privileged, "privileged: it has all rights on the host")
	for _, namespace := range []struct{ what, value string }{
		{"processes (pid)", o.PID}, {"shared memory (ipc)", o.IPC}, {"host name (uts)", o.UTS},
		{"users (userns)", o.Userns}, {"cgroups (cgroupns)", o.Cgroupns},
	} {
		add(namespace.value == "host", "shares the host's "+namespace.what)
		add(strings.HasPrefix(namespace.value, "container:"), "shares "+namespace.what+" with "+namespace.value)
	}
	for _, capability := range o.CapAdd {
		found = append(found, "gets the capability "+capability)
	}
	for _, option := range o.SecurityOpt {
		found = append(found, "security option "+option)
	}
	for _, device := range o.Device {
		found = append(found, "gets the device "+device)
	}
	for _, rule := range o.DeviceCgroupRule {
		found = append(found, "gets the devices "+rule)
	}
	for _, from := range o.VolumesFrom {
		found = append(found, "mounts all that "+from+" mounts")
	}
	for _, network := range spec.Networks {
		found = append(found, "joins the network "+network)
	}
	add(o.CgroupParent != "", "is in the cgroup "+o.CgroupParent)
	for _, port := range o.Publish {
		found = append(found, "publishes the port "+port)
	}
	add(o.PublishAll, "publishes all its ports")
	add(o.Runtime != "", "runs with the runtime "+o.Runtime)
	add(o.GPUs != "", "gets the graphics processors "+o.GPUs)
	for _, group := range o.GroupAdd {
		found = append(found, "is in the group "+group)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Sysctl)) {
		found = append(found, "sets the kernel parameter "+name+" to "+o.Sysctl[name])
	}
	for _, m := range mounts(volumes) {
		does := "reads and writes "
		if m.ReadOnly {
			does = "reads "
		}
		switch {
		case path.IsAbs(m.Source):
			found = append(found, does+m.Source+" of the host")
		case m.Source != "":
			found = append(found, does+"the volume "+m.Source)
		}
	}
	return found
}
