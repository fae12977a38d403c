package config

import (
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/schema"
)

// Volume is an entry of `volumes`, taken apart.
type Volume struct {
	Source, Target string
	ReadOnly       bool
	// Relabel is z or Z: SELinux lets several containers, or this one alone, use
	// a folder of the host.
	Relabel string
	// NoCopy leaves a new named volume empty; it is filled from the image else.
	NoCopy bool
	// Propagation is that of mounts below a folder of the host, such as rslave.
	Propagation string
	// Consistency is cached, delegated or consistent, for Docker Desktop.
	Consistency string
}

// IsFolder reports whether the source is a folder of the host, not a volume.
func (v Volume) IsFolder() bool { return path.IsAbs(v.Source) }

// volumeOptions are the words behind a volume's target. Of one group only one
// may be given.
func volumeOptions() map[string]string {
	groups := map[string]string{}
	for group, words := range map[string]string{
		"access": "ro rw", "SELinux label": "z Z", "copy": "nocopy",
		"propagation": "shared slave private rshared rslave rprivate", "consistency": "cached delegated consistent",
	} {
		for word := range strings.SplitSeq(words, " ") {
			groups[word] = group
		}
	}
	return groups
}

// ParseVolume takes an entry of `volumes` apart. It does not check it.
func ParseVolume(text string) Volume {
	parts := append(strings.SplitN(text, ":", 3), "", "")
	v := Volume{Source: parts[0], Target: parts[1]}
	groups := volumeOptions()
	for option := range strings.SplitSeq(parts[2], ",") {
		switch groups[option] {
		case "access":
			v.ReadOnly = option == "ro"
		case "SELinux label":
			v.Relabel = option
		case "copy":
			v.NoCopy = true
		case "propagation":
			v.Propagation = option
		case "consistency":
			v.Consistency = option
		}
	}
	return v
}

// volumes checks the options of volumes, whose form the schema has checked.
func (c *checker) volumes(segs []string, volumes []string) {
	targets := map[string]string{}
	for i, text := range volumes {
		at := append(slices.Clip(segs), itoa(i))
		switch target := volumeTarget(text); {
		case target == "/":
			c.at(at, "nothing can be mounted over the container's whole file system; name a folder in it")
		case targets[target] != "":
			c.at(at, "%s has %s already", target, targets[target])
		default:
			targets[target] = ParseVolume(text).Source
		}
		_, rest, _ := strings.Cut(text, ":")
		_, options, given := strings.Cut(rest, ":")
		if !given {
			continue
		}
		groups, seen := volumeOptions(), map[string]string{}
		folder := ParseVolume(text).IsFolder()
		for option := range strings.SplitSeq(options, ",") {
			group, known := groups[option]
			switch other := seen[group]; {
			case !known:
				c.at(at, "%s", unknownOption(option, groups))
			case other == option:
				c.at(at, "has the option %s twice", option)
			case other != "":
				c.at(at, "has the options %s and %s; keep one of them", other, option)
			case option == "nocopy" && folder:
				c.at(at, "nocopy is for named volumes; a folder of the host is never filled from the image")
			case !folder && (group == "propagation" || group == "consistency"):
				c.at(at, "%s is for folders of the host, not for the volume %s", option, ParseVolume(text).Source)
			}
			seen[group] = option
		}
	}
}

// overAssets refuses volumes of a role at the place of its bridged assets, which
// are a mount too.
func (c *checker) overAssets(role Role) {
	paths := c.cfg.EffectiveAssetPaths(role)
	for _, text := range c.cfg.EffectiveVolumes(role) {
		target := volumeTarget(text)
		if !slices.ContainsFunc(paths, func(p string) bool { return path.Clean(p) == target }) {
			continue
		}
		at := []string{"volumes", itoa(slices.Index(c.cfg.Volumes, text))}
		if i := slices.Index(role.Volumes, text); i >= 0 {
			at = []string{"servers", role.Name, "volumes", itoa(i)}
		}
		c.at(at, "%s is an asset path, whose files kstep keeps on the host itself; leave one of them out", target)
	}
}

func unknownOption(option string, groups map[string]string) string {
	known := make([]string, 0, len(groups))
	for word := range groups {
		known = append(known, word)
	}
	slices.Sort(known)
	message := "unknown option " + option
	if closest, ok := schema.Closest(option, known); ok {
		return message + "; did you mean " + closest + "?"
	}
	return message + "; known are " + strings.Join(known, ", ")
}
