package health

import (
	"context"
	"sync"
	"time"
)

// driver runs probes for the loop. All methods but wait, wake and close are
// called with the scheduler's lock held; only the loop calls wait.
type driver interface {
	// start begins the probe of c. Its result comes out of a later collect, also
	// if it fails at once: the loop calls collect before it waits.
	start(c *check, now int64)
	// collect hands over the results that are there. It never waits.
	collect(now int64, done func(c *check, f *Failure))
	// expire ends a probe whose deadline has passed. It returns the failure to
	// count and whether the probe is over; if not, collect hands it over later.
	expire(c *check, now int64) (f *Failure, over bool)
	// hold sees to the held connection of c, whose probe has just ended.
	hold(c *check, now int64)
	// hints are the checks whose held connection has ended since the last call;
	// the slice is good until the next collect.
	hints() []*check
	// canary is a check of loopback that passes as long as this machine is well;
	// false if there is none.
	canary() (Spec, bool)
	// cancel ends a probe whose result nobody wants, and what is held for c.
	cancel(c *check)
	// until tells how long to wait when the book asks for at (zero: for ever).
	until(at int64) int64
	// wait sleeps until the instant at (zero: for ever), or until there is
	// something to collect, or wake is called. It may return early.
	wait(at int64)
	// wake ends the present or the next wait. Any goroutine may call it.
	wake()
	// close ends all probes.
	close()
}

// runner runs probes that have a Prober, each on a goroutine of its own.
type runner struct {
	clock clock
	ctx   context.Context
	wg    sync.WaitGroup
	wake  func()

	mu   sync.Mutex
	done []*task
}

// task is one probe on a goroutine.
type task struct {
	c      *check
	cancel context.CancelFunc
	f      *Failure
	report Report
	queue  queueing
}

func (r *runner) start(c *check, p Prober, now int64) {
	ctx, cancel := context.WithDeadline(r.ctx, time.Now().Add(time.Duration(now+c.timing.timeout-r.clock.now())))
	t := &task{c: c, cancel: cancel}
	c.run = t
	ctx = context.WithValue(ctx, queueKey{}, &t.queue)
	r.wg.Go(func() {
		var err error
		if rp, ok := p.(proberFunc); ok {
			t.report, err = rp(ctx)
		} else {
			err = p.Probe(ctx)
		}
		t.f = failureOf(ctx, err)
		if t.f != nil && t.f.Reason == ReasonTimeout && t.late() {
			t.f = failLate
		}
		r.mu.Lock()
		r.done = append(r.done, t)
		r.mu.Unlock()
		r.wake()
	})
}

// collect hands over finished probes. One that was cancelled in between
// belongs to nobody.
func (r *runner) collect(done func(c *check, f *Failure)) {
	r.mu.Lock()
	finished := r.done
	r.done = nil
	r.mu.Unlock()
	for _, t := range finished {
		t.cancel()
		if t.c.run == t {
			t.c.run = nil
			if t.report != (Report{}) {
				*t.c.tell() = t.report
			}
			done(t.c, t.f)
		}
	}
}

func (r *runner) expire(t *task) *Failure {
	t.cancel()
	if t.late() {
		return failLate
	}
	return failTimeout
}

// late tells whether the probe spent most of its time waiting for this machine.
func (t *task) late() bool {
	return int64(t.queue.waited()) > t.c.timing.timeout/2
}

func (r *runner) close() {
	r.wg.Wait()
}

// plain is the driver without sockets of its own.
type plain struct {
	runner
	probers func(Spec) Prober
	woken   chan struct{}
}

func newPlain(ctx context.Context, clk clock, probers func(Spec) Prober) *plain {
	d := &plain{probers: probers, woken: make(chan struct{}, 1)}
	d.runner.ctx, d.runner.clock, d.runner.wake = ctx, clk, d.wake
	return d
}

func (d *plain) start(c *check, now int64) { d.runner.start(c, d.probers(c.spec), now) }

func (d *plain) collect(_ int64, done func(*check, *Failure)) { d.runner.collect(done) }

func (d *plain) expire(c *check, _ int64) (*Failure, bool) {
	return d.runner.expire(c.run.(*task)), false
}

func (d *plain) canary() (Spec, bool) { return Spec{}, false }

func (d *plain) hold(*check, int64) {}

func (d *plain) hints() []*check { return nil }

func (d *plain) cancel(c *check) {
	if t, ok := c.run.(*task); ok {
		t.cancel()
	}
}

func (d *plain) until(at int64) int64 { return at }

func (d *plain) wait(at int64) {
	if at == 0 {
		<-d.woken
		return
	}
	timer := time.NewTimer(time.Duration(at - d.clock.now()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.woken:
	}
}

func (d *plain) wake() {
	select {
	case d.woken <- struct{}{}:
	default: // one is enough
	}
}

// clock reads nanoseconds since 1970 that never step: wall time at its making
// and monotonic time since.
type clock struct {
	base time.Time
	wall int64
}

func newClock() clock {
	now := time.Now()
	return clock{base: now, wall: now.UnixNano()}
}

// drift is what to add to now for wall time.
func (c clock) drift() int64 {
	now := time.Now()
	return now.UnixNano() - c.wall - int64(now.Sub(c.base))
}

func (c clock) now() int64 { return c.wall + int64(time.Since(c.base)) }
