package state

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"slices"
	"strings"
)

// maxShard keeps file names far below the 255 bytes that file systems allow.
const maxShard = 100

// FileName is the name of a stage's file in the state folder: `boot.json`, or
// `boot.web-vm1.json` for a shard. A shard name that is no plain file name is
// rewritten, with a short digest so that two different shards never share one.
func FileName(stage, shard string) string {
	if shard == "" {
		return stage + ".json"
	}
	return stage + "." + safeShard(shard) + ".json"
}

func safeShard(shard string) string {
	safe := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '-'
	}, shard)
	if safe == shard && len(safe) <= maxShard {
		return safe
	}
	sum := sha256.Sum256([]byte(shard))
	return safe[:min(len(safe), maxShard)] + "-" + hex.EncodeToString(sum[:4])
}

// stageOf is the stage that a file name belongs to, or empty if it is not the
// name of a state file.
func stageOf(name string) string {
	base, ok := strings.CutSuffix(name, ".json")
	if !ok || strings.HasPrefix(name, ".") {
		return ""
	}
	stage, _, _ := strings.Cut(base, ".")
	return stage
}

// sortTargets gives targets the order of the file: host, then role.
func sortTargets(targets []Target) {
	slices.SortStableFunc(targets, func(a, b Target) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Role, b.Role))
	})
}

func (d *Dir) file(name string) string { return filepath.Join(d.path, name) }
