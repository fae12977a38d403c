package plan

import (
	"path"
	"strings"

	"github.com/kstep/kstep/internal/engine"
)

// Risks are what of a container's settings reaches beyond the container, a line
// each, such as `privileged` or `mounts /srv of the host, and can write there`:
// who approves a plan has to see it. What kstep itself mounts from below its run
// directory is left out.
func Risks(spec engine.Spec, run string) []string {
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
	for _, m := range spec.Mounts {
		if !path.IsAbs(m.Source) || strings.HasPrefix(path.Clean(m.Source), run+"/") {
			continue
		}
		if m.ReadOnly {
			found = append(found, "reads "+m.Source+" of the host")
		} else {
			found = append(found, "reads and writes "+m.Source+" of the host")
		}
	}
	return found
}
