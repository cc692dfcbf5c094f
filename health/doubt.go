package health

import (
	"net/netip"
	"time"
)

// DoubtReason says why this machine distrusts itself. The set is closed: safe
// as a metric label.
type DoubtReason string

const (
	NoDoubt     DoubtReason = ""
	DoubtLate   DoubtReason = "late"   // probes start too late
	DoubtLocal  DoubtReason = "local"  // too many probes fail by this machine's fault
	DoubtCanary DoubtReason = "canary" // most servers fail, and loopback does too
)

// Doubt is what this machine thinks of its own judgement.
type Doubt struct {
	// Doubting until things have been well for 10 s; Why is the latest reason.
	Doubting bool
	Why      DoubtReason
	Since    time.Time
	// Frozen: down-verdicts other than refused and reset are held back, at most
	// 30 s in 5 minutes.
	Frozen bool
	Held   uint64 // failures that would have made a verdict, held back so far
	Times  uint64 // doubts so far
}

const (
	doubtWindow   = int64(2 * time.Second)
	doubtSlots    = 10
	doubtSlot     = doubtWindow / doubtSlots
	doubtRecovery = int64(10 * time.Second)
	freezeBudget  = int64(30 * time.Second)
	freezeWindow  = int64(5 * time.Minute)
	// leastLateness counts as late, however short timeouts are: below that the
	// machine is as punctual as it promises.
	leastLateness = int64(5 * time.Millisecond)
	// leastServers that can be most of unrelated ones.
	leastServers = 3

	canaryInterval = 500 * time.Millisecond
	canaryTimeout  = 250 * time.Millisecond
)

// doubt watches the probes of the last two seconds. It is pure and has no
// clock: instants are those of the book.
type doubt struct {
	limit int64 // lateness above this is bad
	slots [doubtSlots]struct{ begun, late, ended, local uint32 }
	slot  int64 // the present one, counted since 1970

	// hosts by address: what is known of each server's latest results.
	hosts map[netip.Addr]*host
	// canary: its latest result; trusted once it has passed.
	canaryTrusted, canaryFails bool

	doubting bool
	why      DoubtReason
	since    int64
	lastBad  int64
	frozen   bool
	freezes  []span // of the last five minutes; the last one goes on while frozen
	held     uint64
	times    uint64
	news     bool // doubting or frozen has changed
}

type span struct{ from, to int64 }

type host struct {
	failed, passed int64 // instants
	within         int64 // how long a failure counts: interval and timeout
}

// configure for a set of checks.
func (d *doubt) configure(checks map[Key]*check) {
	d.limit = 0
	hosts := make(map[netip.Addr]*host, len(d.hosts))
	for _, c := range checks {
		if t := c.timing.timeout / 2; d.limit == 0 || t < d.limit {
			d.limit = t
		}
		a := c.spec.Target.Addr()
		h := hosts[a]
		if h == nil {
			if h = d.hosts[a]; h == nil {
				h = &host{}
			}
			h.within, hosts[a] = 0, h
		}
		h.within = max(h.within, c.timing.interval+c.timing.timeout)
		c.host = h
	}
	d.limit = max(d.limit, leastLateness)
	d.hosts = hosts
}

// begun notes how late a probe was started.
func (d *doubt) begun(now, late int64) {
	d.advance(now)
	s := &d.slots[d.slot%doubtSlots]
	if s.begun++; late > d.limit {
		s.late++
	}
}

// ended notes a result. judged tells whether the check has had a verdict: one
// that never had any is set up wrongly, which says nothing about the moment.
func (d *doubt) ended(now int64, h *host, f *Failure, judged bool) {
	s := &d.slots[d.slot%doubtSlots]
	s.ended++
	switch {
	case f == nil:
		if h != nil {
			h.passed = now
		}
	case f.Reason == ReasonInternal:
		if judged {
			s.local++
		}
	case h != nil:
		h.failed = now
	}
	d.advance(now)
}

// canary notes the result of a probe of loopback.
func (d *doubt) canary(now int64, f *Failure) {
	d.canaryFails = f != nil
	d.canaryTrusted = d.canaryTrusted || f == nil
	d.advance(now)
}

// advance judges when a slot is over.
func (d *doubt) advance(now int64) {
	n := now / doubtSlot
	if n == d.slot {
		return
	}
	d.evaluate(now)
	for i := max(d.slot+1, n-doubtSlots+1); i <= n; i++ {
		d.slots[i%doubtSlots] = struct{ begun, late, ended, local uint32 }{}
	}
	d.slot = n
}

func (d *doubt) evaluate(now int64) {
	why, freeze := d.look(now)
	before, wasFrozen := d.doubting, d.frozen
	if why != NoDoubt {
		if !d.doubting {
			d.doubting, d.since = true, now
			d.times++
		}
		d.why, d.lastBad = why, now
	} else if d.doubting && now-d.lastBad >= doubtRecovery {
		d.doubting, d.why, d.since = false, NoDoubt, now
	}
	// What is frozen now has its end moved on; what is older than the window is forgotten.
	if n := len(d.freezes); d.frozen && n > 0 {
		d.freezes[n-1].to = now
	}
	var spent int64
	keep := d.freezes[:0]
	for _, s := range d.freezes {
		if s.from = max(s.from, now-freezeWindow); s.to > s.from {
			spent += s.to - s.from
			keep = append(keep, s)
		}
	}
	d.freezes = keep
	d.frozen = freeze && spent < freezeBudget
	if d.frozen && (!wasFrozen || len(d.freezes) == 0) {
		d.freezes = append(d.freezes, span{now, now + 1})
	}
	d.news = d.news || before != d.doubting || wasFrozen != d.frozen
}

// look at the last two seconds: is there a reason to doubt, and is it one to freeze?
func (d *doubt) look(now int64) (why DoubtReason, freeze bool) {
	var begun, late, ended, local uint32
	for _, s := range d.slots {
		begun, late, ended, local = begun+s.begun, late+s.late, ended+s.ended, local+s.local
	}
	canaryWell := d.canaryTrusted && !d.canaryFails
	switch {
	case len(d.hosts) == 0: // no probe but the canary, so nothing that could be misjudged
		return NoDoubt, false
	case late*100 > begun: // the 99th percentile is above the limit
		return DoubtLate, true
	case local*10 >= ended && local > 0:
		return DoubtLocal, !canaryWell
	case d.canaryTrusted && d.canaryFails && d.mostFail(now):
		return DoubtCanary, true
	}
	return NoDoubt, false
}

// mostFail tells whether more than half of the servers failed last, each
// within an interval of its own.
func (d *doubt) mostFail(now int64) bool {
	n := 0
	for _, h := range d.hosts {
		if h.failed > h.passed && now-h.failed <= h.within {
			n++
		}
	}
	return len(d.hosts) >= leastServers && 2*n > len(d.hosts)
}

// holdsBack tells whether a failure may not make a verdict now. That a server
// refuses or resets is its own word, whatever state this machine is in.
func (d *doubt) holdsBack(f *Failure) bool {
	if !d.frozen || f == nil || f.Reason == ReasonRefused || f.Reason == ReasonReset {
		return false
	}
	d.held++
	return true
}

func (d *doubt) status(wall func(int64) time.Time) Doubt {
	out := Doubt{Doubting: d.doubting, Why: d.why, Frozen: d.frozen, Held: d.held, Times: d.times}
	if d.since != 0 {
		out.Since = wall(d.since)
	}
	return out
}

// Doubt tells what this machine thinks of its own judgement.
func (s *Scheduler) Doubt() Doubt {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Without probes nothing looks: a doubt ends by the clock too.
	s.book.doubt.advance(s.clock.now())
	return s.book.doubt.status(s.book.wall)
}
