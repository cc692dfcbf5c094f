package lab

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Sample of a metrics page: the whole series as text, and its value.
type Sample struct {
	Name   string
	Labels map[string]string
	Value  float64
	// Line is the series as it stands on the page, without the value.
	Line string
}

// Metrics is a scraped page.
type Metrics []Sample

// ParseMetrics reads the Prometheus text format as far as it is needed here:
// one sample a line, no escapes in label values. Other lines are left out.
func ParseMetrics(page string) (m Metrics) {
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		if i < 0 {
			continue
		}
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			continue
		}
		s := Sample{Line: line[:i], Name: line[:i], Value: v, Labels: map[string]string{}}
		if name, rest, ok := strings.Cut(s.Line, "{"); ok {
			s.Name = name
			for pair := range strings.SplitSeq(strings.TrimSuffix(rest, "}"), `",`) {
				k, val, _ := strings.Cut(pair, `="`)
				s.Labels[k] = strings.TrimSuffix(val, `"`)
			}
		}
		m = append(m, s)
	}
	return m
}

// Get is the sum of the samples of that name that bear the labels, given as
// name, value, name, value; false if there is none.
func (m Metrics) Get(name string, labels ...string) (sum float64, ok bool) {
	for _, s := range m.Find(name, labels...) {
		sum, ok = sum+s.Value, true
	}
	return sum, ok
}

// Find lists the samples of that name that bear the labels.
func (m Metrics) Find(name string, labels ...string) (out []Sample) {
	for _, s := range m {
		if s.Name != name {
			continue
		}
		good := true
		for i := 0; i+1 < len(labels); i += 2 {
			good = good && s.Labels[labels[i]] == labels[i+1]
		}
		if good {
			out = append(out, s)
		}
	}
	return out
}

// Names of all families, sorted.
func (m Metrics) Names() (out []string) {
	for _, s := range m {
		out = append(out, s.Name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (s Sample) String() string { return fmt.Sprintf("%s %v", s.Line, s.Value) }
