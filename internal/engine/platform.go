package engine

import "strings"

// Platform is the machine's `os/arch[/variant]` in the words of images, or empty
// if it is not known.
func (i Info) Platform() string {
	known := map[string]string{
		"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "arm/v7", "armv6l": "arm/v6", "armv5l": "arm/v5",
		"i386": "386", "i486": "386", "i586": "386", "i686": "386", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64",
		"loongarch64": "loong64", "mips64": "mips64le",
	}
	arch := known[i.Architecture]
	if arch == "" || i.OS == "" {
		return ""
	}
	return i.OS + "/" + arch
}

// RunsImage reports whether the machine can run an image of a platform without
// emulation. What is not known on either side is not refused.
func (i Info) RunsImage(platform string) bool {
	own, wanted := append(strings.Split(i.Platform(), "/"), "", ""), append(strings.Split(platform, "/"), "", "")
	switch {
	case own[0] == "" || wanted[0] == "" || wanted[1] == "":
		return true
	case own[0] != wanted[0]:
		return false
	case own[1] == wanted[1]:
		return own[1] != "arm" || wanted[2] <= own[2] // v5 runs on v6, and both on v7.
	case own[1] == "amd64":
		return wanted[1] == "386"
	case own[1] == "arm64":
		return wanted[1] == "arm"
	}
	return false
}

// EmulatorName is the name under which a kernel's binfmt_misc usually has the
// emulator for a platform, such as `qemu-aarch64`, or empty.
func EmulatorName(platform string) string {
	parts := append(strings.Split(platform, "/"), "", "")
	return map[string]string{
		"amd64": "qemu-x86_64", "arm64": "qemu-aarch64", "arm": "qemu-arm", "386": "qemu-i386", "ppc64le": "qemu-ppc64le",
		"s390x": "qemu-s390x", "riscv64": "qemu-riscv64", "loong64": "qemu-loongarch64", "mips64le": "qemu-mips64el",
	}[parts[1]]
}
