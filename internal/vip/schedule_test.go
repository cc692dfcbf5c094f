package vip

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// play runs a schedule until limit and writes what it announced when.
func play(s *schedule, from time.Time, limit time.Duration) string {
	var out []string
	now := from
	for {
		for {
			i, ok := s.take(now)
			if !ok {
				break
			}
			out = append(out, fmt.Sprintf("%s:%d", now.Sub(from), i))
		}
		next, ok := s.next()
		if !ok || next.Sub(from) > limit {
			return strings.Join(out, " ")
		}
		if !next.After(now) {
			return strings.Join(out, " ") + " STUCK"
		}
		now = next
	}
}

func TestScheduleRounds(t *testing.T) {
	t0 := time.Unix(1000, 0)
	const ms = time.Millisecond
	for name, tc := range map[string]struct {
		plan Plan
		n    int
		full bool
		want string
	}{
		"one frame":           {Plan{Count: 1}, 2, true, "0s:0 0s:1"},
		"count nought is one": {Plan{}, 1, true, "0s:0"},
		"three, no pause":     {Plan{Count: 3}, 2, true, "0s:0 0s:1 0s:0 0s:1 0s:0 0s:1"},
		"paced repeats":       {Plan{Count: 3, Interval: 100 * ms}, 2, true, "0s:0 0s:1 100ms:0 150ms:1 200ms:0 250ms:1"},
		"second round":        {Plan{Count: 2, Interval: 10 * ms, RepeatAfter: time.Second}, 2, true, "0s:0 0s:1 10ms:0 15ms:1 1s:0 1.005s:1 1.01s:0 1.015s:1"},
		"refresh":             {Plan{Count: 1, Refresh: 2 * time.Second}, 2, true, "0s:0 0s:1 2s:0 2.5s:1 4.5s:0 5s:1"},
		"single sweep":        {Plan{Count: 5, Interval: 10 * ms, RepeatAfter: time.Second}, 2, false, "0s:0 0s:1"},
		"no addresses":        {Plan{Count: 2, Refresh: time.Second}, 0, true, ""},
	} {
		var s schedule
		s.start(t0, tc.plan, tc.n, tc.full)
		if got := play(&s, t0, 5*time.Second); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tc.want)
		}
	}
}

func TestScheduleRestartStopAndQuick(t *testing.T) {
	t0 := time.Unix(1000, 0)
	var s schedule
	if _, ok := s.next(); ok {
		t.Error("something to do before the start")
	}
	plan := Plan{Count: 3, Interval: 100 * time.Millisecond}
	s.start(t0, plan, 1, true)
	s.take(t0)
	s.start(t0.Add(50*time.Millisecond), plan, 1, false) // a single sweep must not cut the rounds short
	if got, want := play(&s, t0.Add(50*time.Millisecond), time.Second), "0s:0 50ms:0 150ms:0"; got != want {
		t.Errorf("single sweep in between: %s, want %s", got, want)
	}
	s.start(t0, plan, 1, true)
	s.start(t0, plan, 1, true) // anew, not twice
	if got, want := play(&s, t0, time.Second), "0s:0 100ms:0 200ms:0"; got != want {
		t.Errorf("started twice: %s, want %s", got, want)
	}
	s.start(t0, plan, 1, true)
	s.stop()
	if got := play(&s, t0, time.Second); got != "" {
		t.Errorf("stopped, but %s", got)
	}
}

// Whatever the plan: every address is announced at once, count times in each
// round, never stuck, and repeats are spread.
func TestScheduleProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plan := Plan{
			Count:       rapid.IntRange(0, 8).Draw(t, "count"),
			Interval:    time.Duration(rapid.IntRange(0, 500).Draw(t, "interval")) * time.Millisecond,
			RepeatAfter: time.Duration(rapid.IntRange(0, 10).Draw(t, "repeat")) * time.Second,
		}
		n := rapid.IntRange(1, 50).Draw(t, "n")
		t0 := time.Unix(0, 0)
		var s schedule
		s.start(t0, plan, n, true)
		seen := make([]int, n)
		now, first := t0, true
		for range 100000 {
			for {
				i, ok := s.take(now)
				if !ok {
					break
				}
				seen[i]++
			}
			if first {
				for i, c := range seen {
					if c == 0 {
						t.Fatalf("address %d was not announced at once", i)
					}
				}
				first = false
			}
			if rapid.IntRange(0, 20).Draw(t, "resize") == 0 {
				s.resize(plan, n) // the same size changes nothing
			}
			next, ok := s.next()
			if !ok {
				break
			}
			if next.Before(now) {
				t.Fatal("time goes back")
			}
			now = next
		}
		rounds := 1
		if plan.RepeatAfter > 0 {
			rounds = 2
		}
		for i, c := range seen {
			if c != rounds*max(plan.Count, 1) {
				t.Fatalf("address %d announced %d times", i, c)
			}
		}
	})
}
