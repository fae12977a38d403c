package plan

import (
	"math"
	"strconv"
	"strings"
)

// Groups splits each role's targets into waves: limit is a number of hosts or
// a percentage of the role's own hosts, rounded down but never below one; an
// empty limit is one wave. The roles' first waves run side by side, then the
// second ones, so wave i holds the i-th group of every role.
func Groups(targets []Target, limit string) [][]Target {
	var waves [][]Target
	for _, role := range distinct(targets, func(t Target) string { return t.Role.Name }) {
		var own []Target
		for _, t := range targets {
			if t.Role.Name == role {
				own = append(own, t)
			}
		}
		size := Count(limit, len(own))
		for wave := 0; len(own) > 0; wave++ {
			n := min(size, len(own))
			if wave == len(waves) {
				waves = append(waves, nil)
			}
			waves[wave] = append(waves[wave], own[:n]...)
			own = own[n:]
		}
	}
	return waves
}

// Count reads `3`, `50%`, `all` or nothing (all) as a number of total things,
// at least one and at most total. The config has checked the syntax.
func Count(text string, total int) int {
	if text == "" || text == "all" {
		return total
	}
	n := 0
	if percent, ok := strings.CutSuffix(text, "%"); ok {
		p, _ := strconv.ParseFloat(percent, 64)
		n = int(math.Floor(float64(total) * p / 100))
	} else {
		n, _ = strconv.Atoi(text)
	}
	return max(1, min(n, total))
}
