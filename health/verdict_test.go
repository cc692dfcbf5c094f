package health

import (
	"testing"

	"pgregory.net/rapid"
)

func TestVerdictTable(t *testing.T) {
	bad, own := failTimeout, failLate
	for name, tc := range map[string]struct {
		rise, fall int
		results    []*Failure
		want       []Verdict
	}{
		"first success is enough":    {3, 3, []*Failure{nil}, []Verdict{{State: Up, Streak: 1}}},
		"first failure is enough":    {3, 3, []*Failure{bad}, []Verdict{{State: Down, Streak: -1}}},
		"own trouble says nothing":   {1, 1, []*Failure{own, own}, []Verdict{{}, {}}},
		"own trouble breaks nothing": {1, 2, []*Failure{nil, bad, own, bad}, []Verdict{{State: Up, Streak: 1}, {State: Up, Streak: -1}, {State: Up, Streak: -1}, {State: Down, Streak: -2}}},
		"fall":                       {1, 3, []*Failure{nil, bad, bad, nil, bad, bad, bad}, []Verdict{{State: Up, Streak: 1}, {State: Up, Streak: -1}, {State: Up, Streak: -2}, {State: Up, Streak: 1}, {State: Up, Streak: -1}, {State: Up, Streak: -2}, {State: Down, Streak: -3}}},
		"rise":                       {2, 1, []*Failure{bad, nil, bad, nil, nil}, []Verdict{{State: Down, Streak: -1}, {State: Down, Streak: 1}, {State: Down, Streak: -1}, {State: Down, Streak: 1}, {State: Up, Streak: 2}}},
		"one each":                   {1, 1, []*Failure{nil, bad, nil}, []Verdict{{State: Up, Streak: 1}, {State: Down, Streak: -1}, {State: Up, Streak: 1}}},
	} {
		var v Verdict
		for i, f := range tc.results {
			v = v.Next(f, tc.rise, tc.fall)
			if v != tc.want[i] {
				t.Errorf("%s: after result %d: %v, want %v", name, i, v, tc.want[i])
			}
		}
	}
}

// A server that is down is told to fail otherwise once fall failures in a row do.
func TestVerdictTurns(t *testing.T) {
	soft, hard := failTimeout, &Failure{ReasonRefused, ""}
	for name, tc := range map[string]struct {
		fall    int
		results []*Failure
		want    string // after each: up, soft or hard
	}{
		"the first verdict":             {3, []*Failure{hard, nil}, "hh"},
		"hangs, then refuses":           {2, []*Failure{nil, soft, soft, hard, soft, hard, hard}, "UUssssh"},
		"refuses, then hangs":           {2, []*Failure{hard, soft, soft, soft}, "hhss"},
		"own trouble breaks no row":     {2, []*Failure{soft, hard, failLate, hard}, "sssh"},
		"a success between breaks it":   {2, []*Failure{soft, hard, nil, hard, hard}, "ssssh"},
		"what decides is the last word": {2, []*Failure{nil, soft, hard}, "UUh"},
	} {
		var v Verdict
		for i, f := range tc.results {
			v = v.Next(f, 2, tc.fall)
			got := byte('U')
			if v.State == Down {
				got = 's'
				if v.Hard {
					got = 'h'
				}
			}
			if got != tc.want[i] {
				t.Errorf("%s: after result %d: %+v, want %c", name, i, v, tc.want[i])
			}
		}
	}
}

// The state after any history is the one a reader would find by counting.
func TestVerdictProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rise, fall := rapid.IntRange(1, 5).Draw(t, "rise"), rapid.IntRange(1, 5).Draw(t, "fall")
		results := rapid.SliceOf(rapid.SampledFrom([]byte{'+', '-', 'i'})).Draw(t, "results")
		var v Verdict
		state, good, bad := Unknown, 0, 0
		for _, r := range results {
			before := v
			switch r {
			case 'i':
				v = v.Next(failLate, rise, fall)
				if v != before {
					t.Fatalf("own trouble changed %v to %v", before, v)
				}
				continue
			case '+':
				v = v.Next(nil, rise, fall)
				good, bad = good+1, 0
			case '-':
				v = v.Next(failTimeout, rise, fall)
				good, bad = 0, bad+1
			}
			switch {
			case state == Unknown && good > 0, state == Down && good >= rise:
				state = Up
			case state == Unknown && bad > 0, state == Up && bad >= fall:
				state = Down
			}
			if v.State != state || v.Streak != good-bad {
				t.Fatalf("after %s: %v, want %v and a streak of %d", results, v, state, good-bad)
			}
			if v.InDoubt() != (state == Up && bad > 0 || state == Down && good > 0) {
				t.Fatalf("doubt of %v is %v", v, v.InDoubt())
			}
		}
	})
}
