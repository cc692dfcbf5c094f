package health

import (
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// daemon is a server that can crash: its listener and all connections end at once.
type daemon struct {
	l     *net.TCPListener
	mu    sync.Mutex
	conns map[*net.TCPConn]bool
	wg    sync.WaitGroup
}

func newDaemon(t *testing.T, at netip.AddrPort) *daemon {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{l: l, conns: map[*net.TCPConn]bool{}}
	d.wg.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			d.mu.Lock()
			d.conns[c] = true
			d.mu.Unlock()
			d.wg.Go(func() {
				io.Copy(io.Discard, c)
				d.mu.Lock()
				delete(d.conns, c)
				d.mu.Unlock()
				c.Close()
			})
		}
	})
	t.Cleanup(func() { d.crash(true) })
	return d
}

func (d *daemon) addr() netip.AddrPort { return d.l.Addr().(*net.TCPAddr).AddrPort() }

func (d *daemon) open() int { d.mu.Lock(); defer d.mu.Unlock(); return len(d.conns) }

// hangUp ends the connections alone.
func (d *daemon) hangUp(reset bool) {
	d.mu.Lock()
	for c := range d.conns {
		if reset {
			c.SetLinger(0)
		}
		c.Close()
	}
	d.mu.Unlock()
}

func (d *daemon) crash(reset bool) { d.l.Close(); d.hangUp(reset); d.wg.Wait() }

func held(s *Scheduler, k Key) bool { st, _ := s.Status(k); return st.Hold.Held }

// A crash is a verdict long before the next probe, and without hold it is not.
func TestHoldTellsOfACrash(t *testing.T) {
	for name, reset := range map[string]bool{"reset": true, "fin": false} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t, netip.MustParseAddrPort("127.0.0.1:0"))
			downs := make(chan Change, 8)
			s := NewScheduler(Options{OnChange: func(c Change) {
				if c.To == Down {
					downs <- c
				}
			}})
			spec := Spec{Target: d.addr(), Method: &Method{Type: TCP, Interval: time.Hour, Timeout: 10 * time.Second, Fall: 3, Hold: true}}
			run(t, s, spec)
			until(t, "held", func() bool { return held(s, spec.Key()) && d.open() == 1 })
			began := time.Now()
			d.crash(reset)
			select {
			case c := <-downs:
				took := time.Since(began)
				t.Log("verdict after", took)
				if c.Failure.Reason != ReasonRefused { // the next one in its turn is due in an hour
					t.Errorf("%v after %v", c.Failure, took)
				}
			case <-time.After(patience):
				t.Fatal("no verdict")
			}
			st, _ := s.Status(spec.Key())
			if st.Hold.Held || st.Hold.Closes != 1 || st.Streak != -3 {
				t.Errorf("%+v streak %d", st.Hold, st.Streak)
			}
		})
	}
}

// Pauses grow for a server that closes in vain. One that crashes often is held
// again as soon as it is up, or its next crash would wait for the next probe.
func TestHoldAgainAfterACrash(t *testing.T) {
	d := newDaemon(t, netip.MustParseAddrPort("127.0.0.1:0"))
	s := NewScheduler(Options{})
	spec := Spec{Target: d.addr(), Method: &Method{Type: TCP, Interval: 20 * time.Millisecond, Timeout: 2 * time.Second, Fall: 1, Hold: true}}
	run(t, s, spec)
	until(t, "held", func() bool { return held(s, spec.Key()) && d.open() == 1 })
	s.mu.Lock()
	h := s.book.checks[spec.Key()].hold
	h.pause, h.notBefore = maxHoldPause, h.notBefore+maxHoldPause // as after some crashes
	s.mu.Unlock()
	d.crash(true)
	until(t, "down", func() bool { st, _ := s.Status(spec.Key()); return st.State == Down })
	d = newDaemon(t, spec.Target)
	until(t, "held again", func() bool { return held(s, spec.Key()) && d.open() == 1 })
}

// A server that only closes what idles is probed, found well, and left alone after the third time.
func TestHoldIsAHintOnly(t *testing.T) {
	d := newDaemon(t, netip.MustParseAddrPort("127.0.0.1:0"))
	var log strings.Builder
	var mu sync.Mutex
	s := NewScheduler(Options{Log: slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil)), OnChange: func(c Change) {
		if c.To == Down {
			t.Errorf("down: %v", c.Failure)
		}
	}})
	spec := Spec{Target: d.addr(), Method: &Method{Type: TCP, Interval: 20 * time.Millisecond, Timeout: 2 * time.Second, Fall: 2, Hold: true}}
	run(t, s, spec)
	for range 3 {
		// The pause between attempts is of seconds: make it short.
		until(t, "held", func() bool {
			s.mu.Lock()
			s.book.checks[spec.Key()].hold.notBefore = 0
			s.mu.Unlock()
			return held(s, spec.Key()) && d.open() == 1
		})
		d.hangUp(false)
		until(t, "let go", func() bool { return !held(s, spec.Key()) })
	}
	st, _ := s.Status(spec.Key())
	if !st.Hold.Off || st.Hold.Closes != 3 || st.State != Up {
		t.Errorf("%+v %v", st.Hold, st.State)
	}
	until(t, "a log line", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(log.String(), "held connection given up")
	})
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// Attempts to hold are rare when they fail, and nothing is left of a check that is removed.
func TestHoldPausesAndLetsGo(t *testing.T) {
	var seen atomic.Int32
	to := server(t, func(c *net.TCPConn) { seen.Add(1); c.SetLinger(0); c.Close() })
	s := NewScheduler(Options{})
	spec := Spec{Target: to, Method: &Method{Type: TCP, Interval: 5 * time.Millisecond, Timeout: time.Second, Hold: true}}
	run(t, s, spec)
	began := time.Now()
	until(t, "probes", func() bool { return probes(s, spec.Key()) > 50 })
	if n := seen.Load(); n > 2+int32(time.Since(began)/time.Second) {
		t.Errorf("%d connections within %s", n, time.Since(began))
	}
	d := newDaemon(t, netip.MustParseAddrPort("127.0.0.1:0"))
	other := spec
	other.Target = d.addr()
	s.Apply([]Spec{other})
	until(t, "held", func() bool { return held(s, other.Key()) && d.open() == 1 })
	s.Apply(nil)
	until(t, "gone", func() bool { return d.open() == 0 })
}

// An event of the network makes checks that hold probe at once.
func TestHintFromOutside(t *testing.T) {
	d := newDaemon(t, netip.MustParseAddrPort("127.0.0.1:0"))
	s := NewScheduler(Options{})
	spec := Spec{Target: d.addr(), Method: &Method{Type: TCP, Interval: time.Hour, Timeout: time.Second, Hold: true}}
	run(t, s, spec)
	until(t, "up", func() bool { return probes(s, spec.Key()) == 1 })
	s.Hint(func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.1") })
	s.Hint(func(a netip.Addr) bool { return a == d.addr().Addr() })
	until(t, "probed again, and some times more", func() bool { return probes(s, spec.Key()) == 2+looksWay })
}

// Hints that follow one another closely are one more hint, some time later: the
// last event of a path that breaks is not lost.
func TestHintsTooSoonArePutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		defer b.stop()
		specs := many(1, func(s *Spec) { s.Interval, s.Fall, s.Hold = time.Hour, 3, true })
		b.Apply(specs)
		server := b.server(specs[0].Target)
		hint := func() { b.Hint(func(netip.Addr) bool { return true }) }
		expect := func(after time.Duration, want int) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if n := len(server.started()); n != want {
				t.Errorf("%d probes, want %d", n, want)
			}
		}
		expect(2*time.Second, 1)
		hint()
		expect(10*time.Millisecond, 2+looksWay)
		hint()
		server.set(refused, 0)
		hint()
		expect(80*time.Millisecond, 2+looksWay)
		expect(10*time.Millisecond, 2+looksWay+3)
		if seen := b.seen(); len(seen) != 2 || seen[1].To != Down {
			t.Errorf("%v", seen)
		}
		expect(time.Minute, 2+looksWay+3)
	})
}

// A process that dies may close its listening socket last: the probes that
// follow the end of its connection go on for 5 ms.
func TestEndOfHeldIsLookedInto(t *testing.T) {
	d := newDaemon(t, netip.MustParseAddrPort("127.0.0.1:0"))
	s := NewScheduler(Options{})
	spec := Spec{Target: d.addr(), Method: &Method{Type: TCP, Interval: time.Hour, Timeout: time.Second, Hold: true}}
	run(t, s, spec)
	until(t, "held", func() bool { return held(s, spec.Key()) && d.open() == 1 })
	before := probes(s, spec.Key())
	d.hangUp(true)
	until(t, "looked into", func() bool { return probes(s, spec.Key()) >= before+1+looksEnded })
	if looksEnded*furtherLook < 4_500_000 {
		t.Error("the looks end before the process does")
	}
}

// Probes beside held connections allocate no more than probes alone: nothing,
// but for what the runtime does meanwhile.
func TestHeldProbesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	d := newDaemon(t, netip.MustParseAddrPort("127.0.0.1:0"))
	s := NewScheduler(Options{})
	spec := Spec{Target: d.addr(), Method: &Method{Type: TCP, Interval: time.Millisecond, Timeout: time.Second, Hold: true}}
	run(t, s, spec)
	until(t, "held", func() bool { return held(s, spec.Key()) && probes(s, spec.Key()) > 100 })
	var before, after runtime.MemStats
	from := probes(s, spec.Key())
	runtime.ReadMemStats(&before)
	for probes(s, spec.Key()) < from+300 {
		<-time.After(100 * time.Millisecond) // looking is allocating
	}
	runtime.ReadMemStats(&after)
	n := probes(s, spec.Key()) - from
	if got := after.Mallocs - before.Mallocs; got > n/2 {
		t.Errorf("%d allocations in %d probes", got, n)
	}
}
