package metrics

import (
	"slices"
	"sort"

	"lvs-ha/health"
	"lvs-ha/internal/director"
	"lvs-ha/internal/histogram"
)

// totals sums counters of checks over the servers of a service. A plain sum
// would fall when a server leaves the configuration, and Prometheus would take
// the fall for a restart and count everything again; so the growth of each
// server's counter is added up instead.
//
// Use is guarded by the collector's lock.
type totals struct {
	sums map[serviceCheck]*checkSum
	last map[serverCheck]checkSum
}

type (
	serviceCheck struct{ service, check string }
	serverCheck  struct{ service, server, check string }
)

// checkSum holds failures in the order of health.Reasons, and durations.
type checkSum struct {
	failed   []uint64
	duration histogram.Snapshot
}

// take adds what has grown since the snapshot before, and forgets what is no
// longer configured.
func (t *totals) take(s *director.Snapshot) {
	next := make(map[serverCheck]checkSum, len(t.last))
	present := make(map[serviceCheck]bool, len(t.sums))
	if t.sums == nil {
		t.sums = map[serviceCheck]*checkSum{}
	}
	eachCheck(s, func(service, server string, c *director.CheckStatus) {
		id := serverCheck{service, server, c.Name}
		if _, twice := next[id]; twice {
			return
		}
		now := checkSum{failed: make([]uint64, len(health.Reasons)), duration: c.Status.Duration}
		for i, reason := range health.Reasons {
			now.failed[i] = c.Status.Failed[reason]
		}
		next[id] = now

		group := serviceCheck{service, c.Name}
		present[group] = true
		sum := t.sums[group]
		if sum == nil {
			sum = &checkSum{failed: make([]uint64, len(health.Reasons))}
			t.sums[group] = sum
		}
		sum.add(now, t.last[id])
	})
	t.last = next
	for group := range t.sums {
		if !present[group] {
			delete(t.sums, group)
		}
	}
}

// add grows the sum by the difference of a server's counters. Counters that
// fell began again at zero.
func (sum *checkSum) add(now, before checkSum) {
	for i := range now.failed {
		sum.failed[i] += growth(now.failed[i], before.failed, i)
	}
	n := now.duration
	if len(n.Counts) == 0 {
		return
	}
	// Changed buckets cannot be added up: the histogram begins again.
	if !slices.Equal(sum.duration.Bounds, n.Bounds) {
		sum.duration = histogram.Snapshot{Bounds: n.Bounds, Counts: make([]uint64, len(n.Counts))}
	}
	counts := slices.Clone(sum.duration.Counts) // snapshots already handed out stay as they are
	old := before.duration
	if !slices.Equal(old.Bounds, n.Bounds) || n.Count() < old.Count() {
		old = histogram.Snapshot{}
	}
	for i := range counts {
		counts[i] += growth(n.Counts[i], old.Counts, i)
	}
	sum.duration.Counts = counts
	sum.duration.Sum += max(0, n.Sum-old.Sum)
}

func growth(now uint64, before []uint64, i int) uint64 {
	if i < len(before) && before[i] <= now {
		return now - before[i]
	}
	return now
}

// each visits the sums in a fixed order.
func (t *totals) each(f func(serviceCheck, *checkSum)) {
	keys := make([]serviceCheck, 0, len(t.sums))
	for k := range t.sums {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		if keys[i].service != keys[j].service {
			return keys[i].service < keys[j].service
		}
		return keys[i].check < keys[j].check
	})
	for _, k := range keys {
		f(k, t.sums[k])
	}
}
