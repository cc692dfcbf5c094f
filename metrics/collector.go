package metrics

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"lvs-ha/internal/director"
	"lvs-ha/internal/fresh"
	"lvs-ha/internal/histogram"
)

// collector computes all families from one snapshot, taken when it is asked.
type collector struct {
	reader   *fresh.Reader
	families []family
	descs    []*prometheus.Desc // parallel to families

	mu     sync.Mutex // guards totals
	totals totals
}

func newCollector(r *fresh.Reader, b Build) *collector {
	c := &collector{reader: r, families: families(b)}
	for i := range c.families {
		c.descs = append(c.descs, c.families[i].desc())
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector. It takes as long as the reader's
// limit and a pass over the snapshot at most.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.reader.Read(context.Background())
	if s == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.totals.take(s)
	for i := range c.families {
		c.collect(i, s, ch)
	}
}

func (c *collector) collect(i int, s *director.Snapshot, ch chan<- prometheus.Metric) {
	f, desc := &c.families[i], c.descs[i]
	var values []string
	fill := func(labels []string) []string {
		values = append(append(values[:0], labels...), s.Cluster)
		return values
	}
	if f.histograms != nil {
		f.histograms(s, &c.totals, func(h histogram.Snapshot, labels ...string) {
			if len(h.Counts) == 0 {
				return // its owner has none yet
			}
			count, buckets := cumulate(h)
			send(ch, desc)(prometheus.NewConstHistogram(desc, count, h.Sum, buckets, fill(labels)...))
		})
		return
	}
	kind := prometheus.GaugeValue
	if f.kind == counter {
		kind = prometheus.CounterValue
	}
	f.samples(s, &c.totals, func(v float64, labels ...string) {
		send(ch, desc)(prometheus.NewConstMetric(desc, kind, v, fill(labels)...))
	})
}

// send passes a metric on, or the error in its place (a label that is not
// UTF-8): the others are shown all the same.
func send(ch chan<- prometheus.Metric, desc *prometheus.Desc) func(prometheus.Metric, error) {
	return func(m prometheus.Metric, err error) {
		if err != nil {
			m = prometheus.NewInvalidMetric(desc, err)
		}
		ch <- m
	}
}

// cumulate turns counts per bucket into counts up to each bound.
func cumulate(h histogram.Snapshot) (uint64, map[float64]uint64) {
	buckets := make(map[float64]uint64, len(h.Bounds))
	var sum uint64
	for i, n := range h.Counts {
		sum += n
		if i < len(h.Bounds) {
			buckets[h.Bounds[i]] = sum
		}
	}
	return sum, buckets
}
