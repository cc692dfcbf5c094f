package health

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	"lvs-ha/internal/histogram"
)

// Prober runs one probe of a check type that works on a goroutine of its own.
// The error is a *Failure or nil; ctx ends at the deadline. A Prober never
// logs, counts or tries again.
type Prober interface {
	Probe(ctx context.Context) error
}

// Options of a scheduler.
type Options struct {
	// OnChange is called from the scheduler's goroutine and must not block. The
	// first verdict is a change from Unknown. A change of a check that Apply has
	// just removed may still arrive. nil: nobody listens.
	OnChange func(Change)
	Log      *slog.Logger // nil: silent
	// OnDoubt is called as OnChange is, when self-doubt or the freeze begins or ends. nil: nobody listens.
	OnDoubt func(Doubt)
	// Seed moves the phases of all checks: the node's name, so that two directors
	// do not probe at the same instant.
	Seed string
}

// Scheduler runs checks. Its methods may be called from any goroutine.
type Scheduler struct {
	opts  Options
	clock clock
	// open makes the driver; tests under virtual time set another.
	open func(context.Context, clock) (driver, error)

	mu     sync.Mutex // held in short stretches, so that probes stay on time
	book   *book
	driver driver // nil while not running
}

// NewScheduler makes a scheduler without checks. It starts nothing. It runs best
// with a GOMAXPROCS of two at least: with one the runtime wakes it late.
func NewScheduler(o Options) *Scheduler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Scheduler{opts: o, clock: newClock(), open: openDriver, book: newBook(o.Seed)}
}

// Apply replaces the set of checks. Checks with a known key go on as they are:
// phase, streak, verdict, counters. It may be called before Run and at any time.
func (s *Scheduler) Apply(specs []Spec) {
	keys := make([]Key, len(specs)) // outside the lock, for probes go on
	for i := range specs {
		keys[i] = specs[i].Key()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.book.drift = s.clock.drift()
	dropped := s.book.apply(specs, keys, s.clock.now())
	if s.driver != nil {
		for _, c := range dropped {
			s.driver.cancel(c)
		}
		s.driver.wake()
	}
}

// Run probes until ctx ends, and returns nil then. It must not be called twice
// at the same time. An error means that the machine refused what the loop
// stands on (descriptors).
func (s *Scheduler) Run(ctx context.Context) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	d, err := s.open(inner, s.clock)
	if err != nil {
		return fmt.Errorf("cannot start probing: %w", err)
	}
	s.mu.Lock()
	s.driver = d
	if c, ok := d.canary(); ok {
		s.book.watch(c, s.clock.now())
	}
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, d.wake)
	defer func() {
		stop()
		s.mu.Lock()
		for _, c := range s.book.checks { // a later Run begins anew
			if c.stage == running || c.stage == overdue {
				d.cancel(c)
				s.book.abandon(c, s.clock.now())
			}
			c.run, c.prep = nil, nil
			if c.hold != nil {
				*c.hold = holding{closes: c.hold.closes}
			}
		}
		if c := s.book.unwatch(); c != nil && c.stage != idle {
			d.cancel(c)
			if c.stage == running {
				s.book.running--
			}
		}
		s.driver = nil
		s.mu.Unlock()
		cancel()
		d.close()
	}()

	var changes []Change
	finish := func(c *check, f *Failure) {
		now := s.clock.now()
		if c.stage == overdue {
			s.book.released(c, now)
		} else if ch, changed := s.book.finish(c, f, now); changed {
			changes = append(changes, ch)
		}
		if c.hold != nil {
			d.hold(c, now)
		}
	}
	for ctx.Err() == nil {
		s.mu.Lock()
		started := false
		now := s.clock.now()
		s.book.drift = s.clock.drift()
		// What has arrived counts before deadlines do: if this loop is late, a
		// reply that waits was still on time.
		d.collect(now, finish)
		for _, c := range d.hints() {
			s.book.hint(c, now, looksEnded)
			if c.hold != nil && c.hold.off {
				s.opts.Log.Info("held connection given up: the server closes it, but passes its probes", "check", string(c.key), "closes", c.hold.closes)
			}
		}
		for n := 0; n < atOnce; n++ {
			c := s.book.due(now)
			if c == nil {
				break
			}
			if c.stage == idle {
				begun := s.clock.now()
				s.book.begin(c, begun)
				d.start(c, begun)
				started = true
				continue
			}
			// Deadlines are held against the instant of the last collect.
			f, over := d.expire(c, now)
			if over {
				finish(c, f)
			} else if ch, changed := s.book.expire(c, f, now); changed {
				changes = append(changes, ch)
			}
		}
		if started {
			// What could not start, and servers so near that they have answered: this saves a wake-up.
			d.collect(now, finish)
		}
		at := d.until(s.book.wake())
		var doubt *Doubt
		if s.book.doubt.news {
			s.book.doubt.news = false
			doubt = new(Doubt)
			*doubt = s.book.doubt.status(s.book.wall)
		}
		s.mu.Unlock()
		if doubt != nil {
			s.doubted(*doubt)
		}
		for i := range changes {
			s.changed(changes[i])
		}
		if len(changes) > 0 {
			clear(changes)
			changes = changes[:0]
			// Who listens runs now: the next turn may have much to do.
			runtime.Gosched()
		}
		d.wait(at)
	}
	return nil
}

// atOnce bounds what is started in one go: when much is due (after a stall of
// this machine), results and verdicts do not wait for all of it.
const atOnce = 16

func (s *Scheduler) changed(ch Change) {
	if s.opts.Log.Enabled(context.Background(), slog.LevelDebug) {
		why := ""
		if ch.Failure != nil {
			why = ch.Failure.Error()
		}
		s.opts.Log.Debug("check verdict", "check", string(ch.Key), "from", ch.From.String(), "to", ch.To.String(), "failure", why, "took", ch.Took)
	}
	if s.opts.OnChange != nil {
		s.opts.OnChange(ch)
	}
}

// doubted says it loudly.
func (s *Scheduler) doubted(d Doubt) {
	switch {
	case d.Frozen:
		s.opts.Log.Warn("this machine doubts itself: verdicts of down are held back, but for refused and reset ones", "event", "doubt", "reason", string(d.Why))
	case d.Doubting:
		s.opts.Log.Warn("this machine doubts itself: verdicts go on", "event", "doubt", "reason", string(d.Why), "held", d.Held)
	default:
		s.opts.Log.Info("this machine trusts itself again", "event", "doubt", "held", d.Held)
	}
	if s.opts.OnDoubt != nil {
		s.opts.OnDoubt(d)
	}
}

// Status of one check; false if there is none with this key.
func (s *Scheduler) Status(k Key) (Status, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.book.checks[k]
	if c == nil {
		return Status{}, false
	}
	return c.status(), true
}

// Statuses of all checks. Each is consistent in itself; they are not of
// exactly the same instant, for probes go on while thousands are copied.
func (s *Scheduler) Statuses() map[Key]Status {
	s.mu.Lock()
	keys := s.book.keys()
	s.mu.Unlock()
	out := make(map[Key]Status, len(keys))
	const at1 = 64 // copied while the loop waits: some 50 µs
	for len(keys) > 0 {
		n := min(at1, len(keys))
		s.mu.Lock()
		for _, k := range keys[:n] {
			if c := s.book.checks[k]; c != nil {
				out[k] = c.status()
			}
		}
		s.mu.Unlock()
		keys = keys[n:]
	}
	return out
}

// Running is the number of probes under way.
func (s *Scheduler) Running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.book.running
}

// Lag tells how late probes started, in seconds.
func (s *Scheduler) Lag() histogram.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.book.lag.Snapshot()
}
