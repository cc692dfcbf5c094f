package metrics

import (
	"testing"

	"lvs-ha/health"
	"lvs-ha/internal/director"
	"lvs-ha/internal/histogram"
)

// sums reads the refused probes and finished probes of web's check.
func sums(t *totals) (refused, finished uint64) {
	t.each(func(k serviceCheck, sum *checkSum) {
		if k.service != "web" {
			return
		}
		for i, r := range health.Reasons {
			if r == health.ReasonRefused {
				refused = sum.failed[i]
			}
		}
		finished = sum.duration.Count()
	})
	return refused, finished
}

func TestTotalsNeverFall(t *testing.T) {
	server := func(name string, refused uint64, obs ...float64) director.ServerStatus {
		return director.ServerStatus{Name: name, Checks: []director.CheckStatus{{Name: "c", Status: health.Status{
			Failed: map[health.Reason]uint64{health.ReasonRefused: refused}, Duration: durations(obs...)}}}}
	}
	var tot totals
	for i, step := range []struct {
		servers           []director.ServerStatus
		refused, finished uint64
	}{
		{[]director.ServerStatus{server("a", 10, .1, .1), server("b", 5, .1)}, 15, 3},
		{[]director.ServerStatus{server("a", 12, .1, .1, .1), server("b", 5, .1)}, 17, 4},
		{[]director.ServerStatus{server("b", 6, .1, .1)}, 18, 5},                                   // a left
		{[]director.ServerStatus{server("a", 1, .1), server("b", 6, .1, .1)}, 19, 6},               // and began again
		{[]director.ServerStatus{server("a", 0), server("b", 2, .1)}, 21, 7},                       // both began again
		{[]director.ServerStatus{server("a", 0), server("a", 100), server("b", 2, .1)}, 21, 7},     // a double is not counted
		{[]director.ServerStatus{{Name: "a", Checks: []director.CheckStatus{{Name: "c"}}}}, 21, 7}, // nothing known
	} {
		tot.take(&director.Snapshot{Services: []director.ServiceStatus{{Name: "web", Servers: step.servers}}})
		if refused, finished := sums(&tot); refused != step.refused || finished != step.finished {
			t.Errorf("step %d: refused %d, finished %d; want %d, %d", i, refused, finished, step.refused, step.finished)
		}
	}
	tot.take(&director.Snapshot{})
	if len(tot.sums) != 0 || len(tot.last) != 0 {
		t.Error("what left the configuration is still remembered")
	}
}

func TestTotalsChangedBuckets(t *testing.T) {
	var tot totals
	take := func(h histogram.Snapshot) {
		tot.take(&director.Snapshot{Services: []director.ServiceStatus{{Name: "web", Servers: []director.ServerStatus{
			{Name: "a", Checks: []director.CheckStatus{{Name: "c", Status: health.Status{Duration: h}}}}}}}})
	}
	take(durations(.1, .1, .1))
	other := histogram.New(1, 2)
	other.Observe(1.5)
	take(other.Snapshot())
	if _, finished := sums(&tot); finished != 1 {
		t.Errorf("finished %d, want the new histogram alone", finished)
	}
}
