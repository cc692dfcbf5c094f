package vip

import "time"

// Opcode selects the form of gratuitous ARP.
type Opcode uint8

const (
	Request Opcode = iota
	Reply
	Both
)

// Plan says how addresses are announced.
type Plan struct {
	// Count of frames per address in a round; the first at once, the others Interval apart.
	Count    int
	Interval time.Duration
	// RepeatAfter starts one more round this long after the first; 0 for none.
	RepeatAfter time.Duration
	// Refresh sends one frame per address this often; 0 for never.
	Refresh time.Duration
	Opcode  Opcode
}

// refreshSpread is the time over which one refresh spreads its frames.
const refreshSpread = time.Second

// schedule decides when which address is announced. It is pure: callers bring
// the time. Addresses are numbers 0..n-1.
//
//	t0               t0+Interval         …   t0+RepeatAfter
//	│0 1 2 … n-1     │0   1   2   … n-1      │0   1   2   … n-1
//	 at once          spread over Interval    spread likewise
//
// Only the very first sweep is unpaced: it ends the outage. The others repair
// what was lost, and must not be a burst that loses frames itself.
type schedule struct {
	plan   Plan
	n      int
	sweeps []sweep // pending, by time
	last   time.Time
	active bool
}

type sweep struct {
	at   time.Time
	gap  time.Duration // between addresses
	next int
}

func (s *sweep) due() time.Time { return s.at.Add(time.Duration(s.next) * s.gap) }

// start begins anew: all rounds when full, else a single sweep at once.
func (s *schedule) start(now time.Time, plan Plan, n int, full bool) {
	s.plan, s.n, s.active = plan, n, true
	if !full {
		// One more sweep in front; what is still to come of the rounds stays.
		s.sweeps = append([]sweep{{at: now}}, s.sweeps...)
		s.last = now
		return
	}
	s.sweeps = s.sweeps[:0]
	gap := time.Duration(0)
	if n > 0 {
		gap = plan.Interval / time.Duration(n)
	}
	round := func(t time.Time, first time.Duration) {
		for i := range max(plan.Count, 1) {
			sw := sweep{at: t.Add(time.Duration(i) * plan.Interval), gap: gap}
			if i == 0 {
				sw.gap = first
			}
			s.sweeps = append(s.sweeps, sw)
		}
	}
	round(now, 0)
	if plan.RepeatAfter > 0 {
		round(now.Add(plan.RepeatAfter), gap)
	}
	s.last = now
}

// stop forgets everything.
func (s *schedule) stop() {
	s.active = false
	s.sweeps = s.sweeps[:0]
}

// resize adapts to another number of addresses.
func (s *schedule) resize(plan Plan, n int) {
	s.plan, s.n = plan, n
	for i := range s.sweeps {
		s.sweeps[i].next = min(s.sweeps[i].next, n)
	}
}

// next is when take has something; false for never.
func (s *schedule) next() (time.Time, bool) {
	if !s.active || s.n == 0 {
		return time.Time{}, false
	}
	var t time.Time
	for i := range s.sweeps {
		if d := s.sweeps[i].due(); t.IsZero() || d.Before(t) {
			t = d
		}
	}
	if t.IsZero() && s.plan.Refresh > 0 {
		t = s.last.Add(s.plan.Refresh)
	}
	return t, !t.IsZero()
}

// take returns the next address that is due, or false.
func (s *schedule) take(now time.Time) (int, bool) {
	if !s.active || s.n == 0 {
		return 0, false
	}
	if len(s.sweeps) == 0 && s.plan.Refresh > 0 && !now.Before(s.last.Add(s.plan.Refresh)) {
		s.last = now
		s.sweeps = append(s.sweeps, sweep{at: now, gap: min(s.plan.Refresh, refreshSpread) / time.Duration(s.n)})
	}
	for i := range s.sweeps {
		sw := &s.sweeps[i]
		if sw.next >= s.n || sw.due().After(now) {
			continue
		}
		a := sw.next
		sw.next++
		s.last = now
		s.drop()
		return a, true
	}
	s.drop()
	return 0, false
}

// drop removes sweeps that are done.
func (s *schedule) drop() {
	kept := s.sweeps[:0]
	for _, sw := range s.sweeps {
		if sw.next < s.n {
			kept = append(kept, sw)
		}
	}
	s.sweeps = kept
}
