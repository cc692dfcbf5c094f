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
		"first success is enough":    {3, 3, []*Failure{nil}, []Verdict{{Up, 1}}},
		"first failure is enough":    {3, 3, []*Failure{bad}, []Verdict{{Down, -1}}},
		"own trouble says nothing":   {1, 1, []*Failure{own, own}, []Verdict{{}, {}}},
		"own trouble breaks nothing": {1, 2, []*Failure{nil, bad, own, bad}, []Verdict{{Up, 1}, {Up, -1}, {Up, -1}, {Down, -2}}},
		"fall":                       {1, 3, []*Failure{nil, bad, bad, nil, bad, bad, bad}, []Verdict{{Up, 1}, {Up, -1}, {Up, -2}, {Up, 1}, {Up, -1}, {Up, -2}, {Down, -3}}},
		"rise":                       {2, 1, []*Failure{bad, nil, bad, nil, nil}, []Verdict{{Down, -1}, {Down, 1}, {Down, -1}, {Down, 1}, {Up, 2}}},
		"one each":                   {1, 1, []*Failure{nil, bad, nil}, []Verdict{{Up, 1}, {Down, -1}, {Up, 1}}},
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
