package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lvs-ha/internal/director"
	"lvs-ha/internal/histogram"
)

// kind of a family.
type kind uint8

const (
	gauge kind = iota
	counter
	histo
)

func (k kind) String() string {
	switch k {
	case counter:
		return "counter"
	case histo:
		return "histogram"
	case gauge:
		return "gauge"
	}
	return "unknown"
}

// family is one metric with all its series. Exactly one of samples and
// histograms is set. Both are called with a snapshot that is not nil, and give
// label values in the order of labels.
type family struct {
	name   string
	help   string
	kind   kind
	labels []string

	samples    func(s *director.Snapshot, t *totals, put putSample)
	histograms func(s *director.Snapshot, t *totals, put putHistogram)
}

type (
	putSample    func(value float64, labels ...string)
	putHistogram func(h histogram.Snapshot, labels ...string)
)

// labelCluster stands on every series, so that rules about a pair of directors
// need no join and two pairs with the same names do not mix.
const labelCluster = "cluster"

// families lists all, in the order of the documentation.
func families(b Build) []family {
	all := []family{{
		name: "lvs_ha_build_info", kind: gauge, labels: []string{"version", "revision", "goversion"},
		help: "Constant 1; identifies the running binary.",
		samples: func(_ *director.Snapshot, _ *totals, put putSample) {
			put(1, b.Version, b.Revision, b.GoVersion)
		},
	}}
	for _, part := range [][]family{processFamilies, vrrpFamilies, serviceFamilies, serverFamilies, checkFamilies, kernelFamilies} {
		all = append(all, part...)
	}
	return all
}

// desc of a family; the cluster's label comes last.
func (f *family) desc() *prometheus.Desc {
	return prometheus.NewDesc(f.name, f.help, append(f.labels[:len(f.labels):len(f.labels)], labelCluster), nil)
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// unix is the time in seconds since 1970, 0 for the zero time ("never").
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}

// known maps a value that is not in its closed set to "other", so that no text
// from outside ever becomes a label.
func known(value string, set []string) string {
	for _, s := range set {
		if s == value {
			return s
		}
	}
	return "other"
}

// counts puts a counter for each value of a closed set, 0 where there is none,
// and the rest, if any, as "other".
func counts(m map[string]uint64, set []string, put func(value string, n uint64)) {
	var other uint64
	for value, n := range m {
		if known(value, set) == "other" {
			other += n
		}
	}
	for _, value := range set {
		put(value, m[value])
	}
	if other > 0 {
		put("other", other)
	}
}
