package health

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeServer is a Prober whose result and duration the test sets.
type fakeServer struct {
	mu     sync.Mutex
	err    error
	takes  time.Duration
	deaf   bool // does not end with its context
	starts []time.Time
	inside atomic.Int32
}

func (f *fakeServer) set(err error, takes time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.takes = err, takes
}

func (f *fakeServer) Probe(ctx context.Context) error {
	if f.inside.Add(1) > 1 {
		panic("two probes of one check at a time")
	}
	defer f.inside.Add(-1)
	f.mu.Lock()
	f.starts = append(f.starts, time.Now())
	err, takes, done := f.err, f.takes, ctx.Done()
	if f.deaf {
		done = nil
	}
	f.mu.Unlock()
	t := time.NewTimer(takes)
	defer t.Stop()
	select {
	case <-t.C:
		return err
	case <-done:
		return ctx.Err()
	}
}

func (f *fakeServer) started() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]time.Time(nil), f.starts...)
}

var refused = &Failure{ReasonRefused, "connection refused"}

// bench is a scheduler in a synctest bubble with fake servers by target.
type bench struct {
	*Scheduler
	mu      sync.Mutex
	servers map[netip.AddrPort]*fakeServer
	changes []Change
	stop    func()
}

func newBench(t *testing.T, seed string) *bench {
	b := &bench{servers: map[netip.AddrPort]*fakeServer{}}
	b.Scheduler = NewScheduler(Options{Seed: seed, OnChange: func(c Change) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.changes = append(b.changes, c)
	}})
	b.open = func(ctx context.Context, clk clock) (driver, error) {
		return newPlain(ctx, clk, func(s Spec) Prober { return b.server(s.Target) }), nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	return b
}

func (b *bench) server(a netip.AddrPort) *fakeServer {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.servers[a] == nil {
		b.servers[a] = &fakeServer{}
	}
	return b.servers[a]
}

func (b *bench) seen() []Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Change(nil), b.changes...)
}

func many(n int, f func(*Spec)) []Spec {
	var out []Spec
	for i := range n {
		s := spec(time.Second, 500*time.Millisecond)
		s.Target = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 8, byte(i / 250), byte(i%250 + 1)}), 80)
		if f != nil {
			f(&s)
		}
		out = append(out, s)
	}
	return out
}

func TestFirstSweepIsQuickAndSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "lvs1")
		defer b.stop()
		b.Apply(many(1000, func(s *Spec) { s.Interval = 30 * time.Second }))
		time.Sleep(500 * time.Millisecond)
		if n := len(b.seen()); n < 350 || n > 650 {
			t.Errorf("%d of 1000 judged after half a second", n)
		}
		time.Sleep(510 * time.Millisecond)
		synctest.Wait()
		if n := len(b.seen()); n != 1000 {
			t.Errorf("%d of 1000 judged after a second", n)
		}
		for _, c := range b.seen() {
			if c.From != Unknown || c.To != Up || c.Failure != nil {
				t.Fatalf("first change %+v", c)
			}
		}
	})
}

func TestIntervalsAndVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "lvs1")
		defer b.stop()
		s := with(spec(time.Second, 500*time.Millisecond), func(s *Spec) {
			s.Rise, s.Fall, s.FastInterval, s.DownInterval = 2, 3, 100*time.Millisecond, 2*time.Second
		})
		srv := b.server(target)
		b.Apply([]Spec{s})
		time.Sleep(10 * time.Second)
		srv.set(refused, 0)
		time.Sleep(10 * time.Second)
		srv.set(nil, 0)
		time.Sleep(10 * time.Second)
		synctest.Wait()

		ch := b.seen()
		if len(ch) != 3 || ch[1].To != Down || ch[1].Failure != refused || ch[2].From != Down || ch[2].To != Up || ch[2].Failure != nil {
			t.Fatalf("changes %+v", ch)
		}
		// The phase, then fast while in doubt, then slow while down, fast again, back to the phase.
		st := srv.started()
		var down, up int
		for i, at := range st {
			if at.Equal(ch[1].At) {
				down = i
			}
			if at.Equal(ch[2].At) {
				up = i
			}
		}
		gap := func(i int) time.Duration { return st[i+1].Sub(st[i]).Round(10 * time.Millisecond) } // the phase is finer than the tick
		if gap(0) != time.Second || gap(down-3) != time.Second || gap(down-2) != 100*time.Millisecond || gap(down-1) != 100*time.Millisecond ||
			gap(down) != 2*time.Second || gap(up-2) != 2*time.Second || gap(up-1) != 100*time.Millisecond {
			t.Errorf("starts %v, down at %d, up at %d", st, down, up)
		}
		if d := st[len(st)-1].Sub(st[0]) % time.Second; d != 0 {
			t.Errorf("off the phase by %v in the end", d)
		}
		got, ok := b.Status(s.Key())
		if !ok || got.State != Up || got.Streak < 2 || got.Failed[ReasonRefused] != uint64(up-1-(down-2)) || got.OK != uint64(len(st))-got.Failed[ReasonRefused] ||
			got.Duration.Count() != uint64(len(st)) || !got.Since.Equal(ch[2].At) || got.LastFailure != nil {
			t.Errorf("status %+v", got)
		}
	})
}

func TestOwnTroubleNeverCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		defer b.stop()
		srv, s := b.server(target), spec(time.Second, time.Second)
		srv.set(&Failure{ReasonInternal, "no descriptor"}, 0)
		b.Apply([]Spec{s})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if st, _ := b.Status(s.Key()); st.State != Unknown || st.Failed[ReasonInternal] < 4 || len(b.seen()) > 0 {
			t.Errorf("after own trouble: %+v, changes %v", st, b.seen())
		}
		srv.set(nil, 0)
		time.Sleep(2 * time.Second)
		srv.set(&Failure{ReasonInternal, "no descriptor"}, 0)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if st, _ := b.Status(s.Key()); st.State != Up || len(b.seen()) != 1 {
			t.Errorf("own trouble after success: %+v, changes %v", st, b.seen())
		}
	})
}

// A hung server is down at its deadline, to the tick; probes never overlap
// (the fake panics), and follow at once where the timeout exceeds the interval.
func TestHardDeadline(t *testing.T) {
	for name, tc := range map[string]struct {
		interval, timeout time.Duration
		deaf              bool
		takes             time.Duration
		want              time.Duration // between starts
	}{
		"hangs":                    {time.Second, 300 * time.Millisecond, false, time.Hour, time.Second},
		"hangs beyond interval":    {time.Second, 1500 * time.Millisecond, false, time.Hour, 1500 * time.Millisecond},
		"ignores its context":      {time.Second, 300 * time.Millisecond, true, 5 * time.Second, 5 * time.Second},
		"1 ms each":                {time.Millisecond, time.Millisecond, false, time.Hour, time.Millisecond},
		"1 ms, answers just after": {time.Millisecond, time.Millisecond, false, 1100 * time.Microsecond, time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, "x")
				srv, s := b.server(target), spec(tc.interval, tc.timeout)
				srv.deaf = tc.deaf
				srv.set(nil, tc.takes)
				b.Apply([]Spec{s})
				time.Sleep(10*tc.interval + tc.want)
				synctest.Wait()
				st, starts := b.seen(), srv.started()
				b.stop()
				if len(st) != 1 || st[0].To != Down || st[0].Failure.Reason != ReasonTimeout {
					t.Fatalf("changes %+v", st)
				}
				if late := st[0].At.Sub(starts[0]) - tc.timeout; late < 0 || late > time.Duration(tick(int64(tc.timeout))) {
					t.Errorf("judged %v after the deadline", late)
				}
				for i := 1; i < len(starts)-1; i++ {
					d := starts[i+1].Sub(starts[i])
					if slack := time.Duration(tick(int64(tc.interval)) + tick(int64(tc.timeout))); d < tc.want-slack || d > tc.want+slack {
						t.Errorf("%v between starts, want %v", d, tc.want)
					}
				}
			})
		})
	}
}

func TestApplyKeepsWhatIsUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "lvs1")
		defer b.stop()
		all := many(100, nil)
		kept, goes := all[0], all[50]
		b.server(goes.Target).set(nil, time.Hour)
		b.Apply(all)
		time.Sleep(3200 * time.Millisecond)
		before, _ := b.Status(kept.Key())
		changed := with(all[1], func(s *Spec) { s.Fall = 7 })
		b.Apply(append([]Spec{kept, kept, changed}, all[60:]...))
		if st := b.Statuses(); len(st) != 42 {
			t.Errorf("%d checks after the second Apply", len(st))
		}
		if after, _ := b.Status(kept.Key()); after.OK != before.OK || after.State != Up || !after.Since.Equal(before.Since) || after.Streak != before.Streak {
			t.Errorf("before %+v, after %+v", before, after)
		}
		if st, ok := b.Status(changed.Key()); !ok || st.State != Unknown || st.OK != 0 {
			t.Errorf("changed check: %+v", st)
		}
		if _, ok := b.Status(goes.Key()); ok {
			t.Error("a removed check has a status")
		}
		n := len(b.server(goes.Target).started())
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if k := len(b.server(goes.Target).started()); k != n {
			t.Error("a removed check goes on")
		}
		if b.server(goes.Target).inside.Load() != 0 {
			t.Error("the probe of a removed check was not ended")
		}
		st := b.server(kept.Target).started()
		for i := 1; i < len(st); i++ {
			if st[i].Sub(st[i-1]) != time.Second {
				t.Fatalf("phase lost: %v", st)
			}
		}
		if b.Running() != 0 || b.Lag().Count() == 0 {
			t.Errorf("running %d, starts %d", b.Running(), b.Lag().Count())
		}
		b.Apply(nil)
		if len(b.Statuses()) != 0 {
			t.Error("checks left")
		}
	})
}

func TestApplyBeforeRunAndRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := spec(time.Second, time.Second)
		srv := &fakeServer{}
		sch := NewScheduler(Options{})
		sch.open = func(ctx context.Context, clk clock) (driver, error) {
			return newPlain(ctx, clk, func(Spec) Prober { return srv }), nil
		}
		sch.Apply([]Spec{s})
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
			if err := sch.Run(ctx); err != nil {
				t.Fatal(err)
			}
			cancel()
			srv.set(nil, time.Hour) // the second time it ends with a probe under way
		}
		if st, _ := sch.Status(s.Key()); st.OK < 2 || st.State != Down || sch.Running() != 0 {
			t.Errorf("%+v, running %d", st, sch.Running())
		}
		sch.open = func(context.Context, clock) (driver, error) { return nil, errors.New("no descriptor") }
		if err := sch.Run(t.Context()); err == nil {
			t.Error("no error")
		}
	})
}

func TestRestartKeepsThePhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := spec(10*time.Second, time.Second)
		var at [2]time.Time
		for i := range at {
			b := newBench(t, "lvs1")
			b.Apply([]Spec{s})
			time.Sleep(25 * time.Second)
			starts := b.server(target).started()
			at[i] = starts[len(starts)-1]
			b.stop()
			time.Sleep(1234 * time.Millisecond)
		}
		if d := at[1].Sub(at[0]) % (10 * time.Second); d != 0 {
			t.Errorf("after a restart the phase is off by %v", d)
		}
	})
}

// An hour with 50 flapping servers: nothing grows, nothing leaks (the bubble
// fails if a goroutine is left), and counters agree with what the servers saw.
func TestAnHourOfFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "lvs1")
		specs := many(50, func(s *Spec) { s.Interval, s.Jitter, s.Rise, s.Fall = 5*time.Second, 0.2, 2, 2 })
		b.Apply(specs)
		r := rand.New(rand.NewPCG(1, 2))
		results := []error{nil, nil, refused, &Failure{ReasonInternal, "x"}}
		for range 360 {
			for _, s := range specs {
				b.server(s.Target).set(results[r.IntN(len(results))], time.Duration(r.IntN(700))*time.Millisecond)
			}
			time.Sleep(10 * time.Second)
		}
		b.stop()
		state, hard, turns := map[Key]State{}, map[Key]bool{}, 0
		for _, c := range b.seen() {
			if state[c.Key] != c.From || c.From == c.To && (c.To != Down || hard[c.Key] == c.Failure.Reason.Hard()) {
				t.Fatalf("change from %v to %v (%v), was %v", c.From, c.To, c.Failure, state[c.Key])
			}
			if state[c.Key] = c.To; c.To == Down {
				turns += map[bool]int{true: 1}[c.From == Down]
				hard[c.Key] = c.Failure.Reason.Hard()
			}
		}
		if turns == 0 {
			t.Error("no server that was down has ever failed in another way")
		}
		for _, s := range specs {
			st, _ := b.Status(s.Key())
			var n uint64
			for _, k := range st.Failed {
				n += k
			}
			if d := len(b.server(s.Target).started()) - int(st.OK+n); d != 0 && d != 1 {
				t.Errorf("%d probes unaccounted for", d)
			}
			if st.State != state[s.Key()] {
				t.Errorf("state %v, changes say %v", st.State, state[s.Key()])
			}
		}
	})
}
