package conf

import (
	"sort"
	"strings"
)

// Nearest of the known words to one that is not known, "" if none is near: for
// "did you mean".
func Nearest(word string, known []string) string { return nearest(word, known) }

// nearest of the known words to one that is not known, "" if none is near.
func nearest(word string, known []string) string {
	word = strings.ToLower(word)
	limit := 1 + max(1, len(word)/3)
	best, dist := "", limit
	for _, k := range known {
		d := distance(word, k, limit)
		if min(len(word), len(k)) >= 3 && (strings.HasPrefix(word, k) || strings.HasPrefix(k, word)) {
			d = min(d, limit-1) // "warning" for "warn"
		}
		if d < dist || d == dist && d < limit && k < best {
			best, dist = k, d
		}
	}
	return best
}

// distance of two words: insertions, deletions, replacements and exchanges of
// neighbours; anything from limit on counts as limit.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	var before, last, now []int
	last = make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		now = make([]int, len(b)+1)
		now[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			now[j] = min(last[j]+1, now[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], before[j-2]+1)
			}
		}
		before, last = last, now
	}
	return min(last[len(b)], limit)
}

// didYouMean is the cure for a name that does not exist.
func didYouMean(word string, known []string) string {
	if near := nearest(word, known); near != "" {
		return `did you mean "` + near + `"?`
	}
	if len(known) == 0 {
		return ""
	}
	k := append([]string(nil), known...)
	sort.Strings(k)
	const most = 20
	if len(k) > most {
		return ""
	}
	return "known here: " + strings.Join(k, ", ")
}
