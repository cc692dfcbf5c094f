package health

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"lvs-ha/internal/histogram"
)

// check is one distinct check in the book. Its place in the heap is the
// instant of what happens to it next: the start of a probe, or the deadline of
// the one under way.
type check struct {
	key    Key
	spec   Spec
	timing timing

	at    int64 // place in the heap
	index int   // in the heap; -1 if nothing is to happen
	plan  int64 // of the latest or coming start, before jitter and rounding
	tick  int64

	started int64
	// run is what the driver keeps about the probe under way, prep what the
	// engine made ready for all of them.
	run  any
	prep *prepared
	host *host    // of self-doubt; nil for the canary
	hold *holding // nil if the check holds no connection
	// rush counts the probes that follow a hint back to back, again tells that
	// one came while a probe was under way.
	rush, looks int32
	again       bool
	stage       stage
	// report is what the probe that has just ended told beside its result; nil
	// as long as none of this check told anything.
	report *Report

	verdict  Verdict
	advice   Advice
	notAfter int64 // wall time in seconds; 0: no certificate seen
	since    int64 // wall time in nanoseconds, as lastAt
	ok       uint64
	failed   *[numReasons]uint64 // nil until one fails
	lastAt   int64
	took     int64
	last     *Failure
	seconds  durations
}

// durations of probes: a histogram that is a part of its check, for there are
// thousands of them.
type durations struct {
	counts [numDurations]uint64
	sum    float64
}

func (d *durations) observe(v float64) {
	i, _ := slices.BinarySearch(durationBounds, v)
	d.counts[i]++
	d.sum += v
}

func (d *durations) snapshot() histogram.Snapshot {
	return histogram.Snapshot{Bounds: durationBounds, Counts: slices.Clone(d.counts[:]), Sum: d.sum}
}

// tell is where a driver puts what a probe told.
func (c *check) tell() *Report {
	if c.report == nil {
		c.report = new(Report)
	}
	return c.report
}

type stage uint8

const (
	idle    stage = iota
	running       // a probe is under way
	overdue       // its deadline has passed and counted, the driver has not let go yet
	gone          // no longer in the book
)

// book holds the checks, when they run and what came of them. It is pure: it
// takes instants and results, and what it returns is the caller's to do. It is
// not safe for concurrent use.
type book struct {
	seed    string
	checks  map[Key]*check
	heap    []*check // by at
	running int
	// drift is what to add to an instant for wall time: it changes when somebody
	// sets the clock. What is shown keeps the wall time of when it happened.
	drift int64
	lag   *histogram.Histogram
	rand  *rand.Rand
	doubt doubt
	// canary is a check of loopback that belongs to nobody's set; nil for none.
	canary *check
}

// durationBounds of probes, in seconds; all checks share them.
var durationBounds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

const numDurations = 14 + 1 // and what is above all bounds

func newBook(seed string) *book {
	return &book{seed: seed, checks: map[Key]*check{},
		lag:  histogram.New(.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1),
		rand: rand.New(rand.NewPCG(hash(seed), 1))}
}

// apply makes specs the set of checks and returns those that left while a
// probe of theirs was under way; what becomes of those probes counts nowhere.
// keys[i] is the key of specs[i].
func (b *book) apply(specs []Spec, keys []Key, now int64) (dropped []*check) {
	keep := make(map[Key]*check, len(specs))
	for i, s := range specs {
		k := keys[i]
		if keep[k] != nil {
			continue
		}
		if c := b.checks[k]; c != nil {
			keep[k] = c
			continue
		}
		c := b.newCheck(s, k, now)
		keep[k] = c
		b.planned(c, c.timing.first(now))
	}
	for k, c := range b.checks {
		if keep[k] != nil {
			continue
		}
		b.drop(c)
		if c.stage == running || c.stage == overdue || c.hold != nil && c.hold.cn != nil {
			dropped = append(dropped, c)
		}
		if c.stage == running {
			b.running--
		}
		c.stage = gone
	}
	b.checks = keep
	b.doubt.configure(keep)
	return dropped
}

// watch adds the canary.
func (b *book) watch(s Spec, now int64) {
	b.canary = b.newCheck(s, s.Key(), now)
	b.planned(b.canary, b.canary.timing.first(now))
}

func (b *book) newCheck(s Spec, k Key, now int64) *check {
	c := &check{key: k, spec: s, timing: newTiming(s, k, b.seed), index: -1, since: now + b.drift}
	if s.Hold {
		c.hold = new(holding)
	}
	return c
}

// unwatch takes it out and returns it, for a probe of it may be under way.
func (b *book) unwatch() *check {
	c := b.canary
	if c != nil {
		b.drop(c)
		b.canary = nil
	}
	return c
}

// planned puts the next start of c into the heap.
func (b *book) planned(c *check, plan int64) {
	c.plan = plan
	c.tick = tick(c.timing.step(c.verdict))
	r := 0.0
	if c.timing.jitter > 0 {
		r = b.rand.Float64()
	}
	b.place(c, roundUp(c.timing.move(plan, c.verdict, r), c.tick))
}

// wake is the instant of the earliest entry; zero if there is none.
func (b *book) wake() int64 {
	if len(b.heap) == 0 {
		return 0
	}
	return b.heap[0].at
}

// due returns the earliest check whose instant has come: an idle one is to be
// started (see begin), a running one has missed its deadline (see expire).
func (b *book) due(now int64) *check {
	if len(b.heap) == 0 || b.heap[0].at > now {
		return nil
	}
	return b.heap[0]
}

// begin notes that the probe of c starts at now and sets its deadline.
func (b *book) begin(c *check, now int64) {
	b.lag.Observe(seconds(now - c.at))
	b.doubt.begun(now, now-c.at)
	c.stage, c.started = running, now
	if c.report != nil {
		*c.report = Report{}
	}
	b.running++
	b.place(c, roundUp(now+c.timing.timeout, tick(c.timing.timeout)))
}

// finish counts the result of the probe under way (nil: passed) and plans the
// next one. It reports whether the verdict changed.
func (b *book) finish(c *check, f *Failure, now int64) (Change, bool) {
	if c.stage != running {
		return Change{}, false
	}
	ch, changed := b.judge(c, f, now)
	c.stage = idle
	b.planned(c, c.timing.next(c.verdict, c.plan, now))
	b.hurry(c, f, now)
	return ch, changed
}

// expire counts f for a probe whose deadline passed while the driver cannot
// end it at once; the next one waits until released says that it is over.
func (b *book) expire(c *check, f *Failure, now int64) (Change, bool) {
	if c.stage != running {
		return Change{}, false
	}
	ch, changed := b.judge(c, f, now)
	c.stage = overdue
	b.drop(c)
	return ch, changed
}

// released: the driver has let go of an overdue probe.
func (b *book) released(c *check, now int64) {
	if c.stage != overdue {
		return
	}
	c.stage = idle
	b.planned(c, c.timing.next(c.verdict, c.plan, now))
	b.hurry(c, c.last, now)
}

// abandon forgets the probe under way; the next one comes in its turn.
func (b *book) abandon(c *check, now int64) {
	if c.stage == running {
		b.running--
	}
	if c.stage == running || c.stage == overdue {
		c.stage = idle
		b.planned(c, c.timing.next(c.verdict, c.plan, now))
	}
}

func (b *book) judge(c *check, f *Failure, now int64) (Change, bool) {
	b.running--
	c.lastAt, c.took, c.last = now+b.drift, now-c.started, f
	c.seconds.observe(seconds(c.took))
	if f == nil {
		c.ok++
	} else {
		if c.failed == nil {
			c.failed = new([numReasons]uint64)
		}
		c.failed[f.Reason.index()]++
	}
	if c == b.canary {
		b.doubt.canary(now, f)
		return Change{}, false
	}
	before, hard := c.verdict.State, c.verdict.Hard
	b.doubt.ended(now, c.host, f, before != Unknown)
	c.verdict = c.verdict.Next(f, c.spec.rise(), c.spec.fall())
	if before != Down && c.verdict.State == Down && b.doubt.holdsBack(f) {
		c.verdict.State = before // the next failure tries again
	}
	var told Report
	if c.report != nil {
		told = *c.report
	}
	if !told.NotAfter.IsZero() {
		c.notAfter = told.NotAfter.Unix()
	}
	advice := c.advice
	switch {
	case c.verdict.State != Up:
		advice = Advice{}
	case f == nil:
		advice = told.Advice
	}
	if c.verdict.State == before && advice == c.advice && (before != Down || c.verdict.Hard == hard) {
		return Change{}, false
	}
	if c.verdict.State != before {
		c.since = now + b.drift
	}
	c.advice = advice
	return Change{Key: c.key, From: before, To: c.verdict.State, At: b.wall(now), Failure: f, Took: time.Duration(c.took), Advice: advice}, true
}

func (c *check) status() Status {
	s := Status{Key: c.key, Spec: c.spec, State: c.verdict.State, Since: time.Unix(0, c.since), Streak: c.verdict.Streak,
		OK: c.ok, LastTook: time.Duration(c.took), LastFailure: c.last, Duration: c.seconds.snapshot(),
		Advice: c.advice, Hold: c.hold.status()}
	if c.lastAt != 0 {
		s.LastAt = time.Unix(0, c.lastAt)
	}
	if c.notAfter != 0 {
		s.NotAfter = time.Unix(c.notAfter, 0).UTC()
	}
	if c.failed != nil {
		s.Failed = make(map[Reason]uint64)
		for i, n := range c.failed {
			if n > 0 {
				s.Failed[Reasons[i]] = n
			}
		}
	}
	return s
}

func (b *book) keys() []Key { return slices.Collect(maps.Keys(b.checks)) }

func (b *book) wall(t int64) time.Time { return time.Unix(0, t+b.drift) }

func seconds(d int64) float64 { return float64(d) / 1e9 }

// The heap: each check knows its index, so that it can be moved and removed.

// place moves c to the instant at, or puts it in.
func (b *book) place(c *check, at int64) {
	c.at = at
	if c.index < 0 {
		c.index = len(b.heap)
		b.heap = append(b.heap, c)
	}
	b.fix(c.index)
}

// drop takes c out.
func (b *book) drop(c *check) {
	i, last := c.index, len(b.heap)-1
	if i < 0 {
		return
	}
	b.heap[i] = b.heap[last]
	b.heap[i].index = i
	b.heap[last] = nil
	b.heap = b.heap[:last]
	c.index = -1
	if i < last {
		b.fix(i)
	}
}

func (b *book) fix(i int) {
	h := b.heap
	c := h[i]
	for i > 0 {
		parent := (i - 1) / 4
		if h[parent].at <= c.at {
			break
		}
		h[i] = h[parent]
		h[i].index = i
		i = parent
	}
	for {
		first, least := 4*i+1, -1
		for j := first; j < first+4 && j < len(h); j++ {
			if least < 0 || h[j].at < h[least].at {
				least = j
			}
		}
		if least < 0 || h[least].at >= c.at {
			break
		}
		h[i] = h[least]
		h[i].index = i
		i = least
	}
	h[i] = c
	c.index = i
}
