package engine

import "testing"

func TestInfo_KnowsWhichImagesTheMachineRuns(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		machine, image string
		want           bool
	}{
		{"x86_64", "linux/amd64", true}, {"x86_64", "linux/amd64/v3", true}, {"x86_64", "linux/386", true},
		{"x86_64", "linux/arm64", false}, {"x86_64", "linux/arm/v7", false}, {"x86_64", "windows/amd64", false}, {"x86_64", "linux/s390x", false},
		{"aarch64", "linux/arm64", true}, {"aarch64", "linux/arm64/v8", true}, {"aarch64", "linux/arm/v7", true}, {"aarch64", "linux/amd64", false},
		{"armv7l", "linux/arm/v6", true}, {"armv7l", "linux/arm/v7", true}, {"armv6l", "linux/arm/v7", false}, {"armv7l", "linux/arm64", false},
		{"i686", "linux/386", true}, {"i686", "linux/amd64", false},
		{"x86_64", "", true}, {"x86_64", "/", true}, {"a machine of tomorrow", "linux/arm64", true}, {"", "linux/arm64", true},
	} {
		if got := (Info{OS: "linux", Architecture: test.machine}).RunsImage(test.image); got != test.want {
			t.Errorf("%s on %s: got %v, want %v", test.image, test.machine, got, test.want)
		}
	}
}
