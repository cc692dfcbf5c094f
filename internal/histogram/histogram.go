// Package histogram counts observations in fixed buckets. It knows nothing of
// Prometheus: owners count, metrics translates a Snapshot at scrape time.
package histogram

import "slices"

// Histogram is owned by one goroutine; it is not safe for concurrent use.
type Histogram struct {
	bounds []float64
	counts []uint64 // one more than bounds
	sum    float64
}

// Snapshot is an immutable copy. Counts[i] holds the observations at or below
// Bounds[i] and above Bounds[i-1]; the last one those above all bounds.
type Snapshot struct {
	Bounds []float64
	Counts []uint64
	Sum    float64
}

// New makes a histogram with the given ascending upper bounds.
func New(bounds ...float64) *Histogram {
	return &Histogram{bounds: bounds, counts: make([]uint64, len(bounds)+1)}
}

// Observe counts one value, without allocating.
func (h *Histogram) Observe(v float64) {
	i, _ := slices.BinarySearch(h.bounds, v)
	h.counts[i]++
	h.sum += v
}

// Snapshot copies the present counts.
func (h *Histogram) Snapshot() Snapshot {
	return Snapshot{Bounds: h.bounds, Counts: slices.Clone(h.counts), Sum: h.sum}
}

// Count is the number of observations.
func (s Snapshot) Count() uint64 {
	var n uint64
	for _, c := range s.Counts {
		n += c
	}
	return n
}
