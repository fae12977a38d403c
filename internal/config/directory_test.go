package config

import (
	"strings"
	"testing"
)

func TestRunDirectory_OfTheSystemIsRefused(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{
		"/etc", "/etc/kstep", "../../etc", "a/../../b", "/opt/../etc", "/tmp", "/usr/local/bin", "/proc/self", "//etc", "/home", "/var/lib", "/./root", ".ssh",
	} {
		if got := complaints(t, map[string]string{"kstep.yml": base + "run_directory: " + folder + "\n"}, LoadOptions{}); len(got) != 1 || !strings.Contains(got[0], "run_directory") {
			t.Errorf("%s: got %q, want it refused", folder, got)
		}
	}
	for _, folder := range []string{".kstep", "kstep", "a..b/c", "/opt/kstep", "/srv/kstep", "/home/deploy/.kstep", "/root/.kstep", "/var/lib/kstep", "/etcetera"} {
		mustLoad(t, base+"run_directory: "+folder+"\n")
	}
}

func TestAccessories_NamesOfKstepsContainersAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"kstep-proxy", "kstep", "kstep-anything"} {
		text := base + "accessories: {db: {image: mysql, host: a, service: " + name + "}}\n"
		if got := complaints(t, map[string]string{"kstep.yml": text}, LoadOptions{}); len(got) != 1 || !strings.Contains(got[0], "service") {
			t.Errorf("%s: got %q, want it refused", name, got)
		}
	}
	mustLoad(t, base+"accessories: {db: {image: mysql, host: a, service: kstepdb}}\n")
}
