package schema

import "strings"

// Closest is the candidate that word is most likely a typing error of, for
// "did you mean". It reports false if none is near.
func Closest(word string, candidates []string) (string, bool) {
	best, bestDistance := "", max(1, min(3, len(word)/3))+1
	for _, c := range candidates {
		d := distance(strings.ToLower(word), strings.ToLower(c))
		// Half a word is no typing error of another one.
		if d < bestDistance && d*2 <= max(len(word), len(c)) {
			best, bestDistance = c, d
		}
	}
	return best, best != ""
}

// distance counts insertions, deletions, replacements and swaps of neighbours
// that turn a into b (optimal string alignment).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last := make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := range x {
		row := make([]int, len(y)+1)
		row[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(y)]
}
