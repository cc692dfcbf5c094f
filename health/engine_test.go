package health

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// run starts a scheduler with these checks and ends it with the test.
func run(t *testing.T, s *Scheduler, specs ...Spec) {
	t.Helper()
	s.Apply(specs)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// until waits for a condition.
// until waits for a condition, as long as a busy machine may need: one that
// doubts itself holds verdicts back for 30 s.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
		<-time.After(time.Millisecond)
	}
}

func probes(s *Scheduler, k Key) uint64 {
	st, _ := s.Status(k)
	n := st.OK
	for _, f := range st.Failed {
		n += f
	}
	return n
}

func often(typ Type, to netip.AddrPort, o TCPOptions) Spec {
	return Spec{Target: to, Method: &Method{Type: typ, Interval: 2 * time.Millisecond, Timeout: time.Second, TCP: o}}
}

// The application sees nothing of a half-open probe, a clean end with "fin"
// and a reset with "reset".
func TestWhatTheServerSees(t *testing.T) {
	for name, tc := range map[string]struct {
		o    TCPOptions
		want string
	}{"half-open": {half, ""}, "fin": {full, "EOF"}, "reset": {fullReset, "reset"}} {
		t.Run(name, func(t *testing.T) {
			ends := make(chan error, 10000)
			to := server(t, func(c *net.TCPConn) {
				_, err := c.Read(make([]byte, 1))
				ends <- err
				c.Close()
			})
			s := NewScheduler(Options{})
			spec := often(TCP, to, tc.o)
			run(t, s, spec)
			until(t, "50 probes", func() bool { return probes(s, spec.Key()) >= 50 })
			if st, _ := s.Status(spec.Key()); st.State != Up || len(st.Failed) > 0 {
				t.Errorf("%+v", st)
			}
			switch {
			case tc.want == "":
				select {
				case err := <-ends:
					t.Errorf("the application saw a connection: %v", err)
				default:
				}
			default:
				for range 20 {
					if err := <-ends; (tc.want == "EOF") != (err == io.EOF) {
						t.Fatalf("the application read %v, want %s", err, tc.want)
					}
				}
			}
		})
	}
}

func descriptors(t *testing.T) int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// Probing allocates nothing and opens no descriptor that it does not close.
func TestNothingGrows(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	to := server(t, func(c *net.TCPConn) { c.Close() })
	udp := silentUDP(t)
	specs := []Spec{often(TCP, to, half), often(TCP, to, full), often(TCP, to, fullReset), often(TCP, closedPort(t), half),
		{Target: udp, Method: &Method{Type: UDP, Interval: 2 * time.Millisecond, Timeout: time.Millisecond, UDP: UDPOptions{NoReply: true}}}}
	for _, spec := range specs {
		s := NewScheduler(Options{})
		ctx, cancel := context.WithCancel(t.Context())
		s.Apply([]Spec{spec})
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		count := func() (n uint64) { // without allocating
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, c := range s.book.checks {
				n = c.ok
				if c.failed != nil {
					for _, f := range c.failed {
						n += f
					}
				}
			}
			return n
		}
		tick := time.NewTicker(time.Millisecond)
		wait := func(n uint64) {
			for end := time.Now().Add(5 * time.Second); count() < n && time.Now().Before(end); {
				<-tick.C
			}
		}
		wait(20)
		before, fds := mallocs(), descriptors(t)
		n := count()
		wait(n + 200)
		got := float64(mallocs()-before) / float64(count()-n)
		// The server's side runs in this process, too: about ten for each connection that it accepts.
		limit := 0.5
		if spec.TCP.Handshake == "full" {
			limit = 30
		}
		if got > limit {
			t.Errorf("%s: %.2f allocations a probe", spec.Key(), got)
		}
		// The server's side lags behind when the machine is busy; a leak would be 200.
		if k := descriptors(t); k > fds+100 {
			t.Errorf("%s: %d descriptors, were %d", spec.Key(), k, fds)
		}
		tick.Stop()
		cancel()
		<-done
	}
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// silentUDP is a bound socket that nobody reads.
func silentUDP(t *testing.T) netip.AddrPort {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// Without a free descriptor probes fail as this machine's trouble, no verdict
// changes, and they go on when there are descriptors again.
func TestNoDescriptors(t *testing.T) {
	to := server(t, func(*net.TCPConn) {})
	var changes atomic.Int32
	s := NewScheduler(Options{OnChange: func(Change) { changes.Add(1) }})
	run(t, s)
	until(t, "running", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.driver != nil })
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	spec := often(TCP, to, half)
	s.Apply([]Spec{spec})
	until(t, "3 probes", func() bool { return probes(s, spec.Key()) >= 3 })
	st, _ := s.Status(spec.Key())
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if st.State != Unknown || st.Failed[ReasonInternal] != probes(s, spec.Key()) && st.OK != 0 || changes.Load() != 0 {
		t.Errorf("without descriptors: %+v", st)
	}
	until(t, "up again", func() bool { st, _ := s.Status(spec.Key()); return st.State == Up })
}

func TestIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 on loopback: ", err)
	}
	defer l.Close()
	for _, src := range []netip.Addr{{}, netip.IPv6Loopback()} {
		f, _ := probe(t, Spec{Target: l.Addr().(*net.TCPAddr).AddrPort(), Method: &Method{Type: TCP, Source: src}})
		expectReason(t, "from "+src.String(), f, "")
	}
	f, _ := probe(t, Spec{Target: l.Addr().(*net.TCPAddr).AddrPort(), Method: &Method{Type: TCP, Source: netip.MustParseAddr("127.0.0.1")}})
	expectReason(t, "source of another family", f, ReasonInternal)
	f, _ = probe(t, Spec{Target: netip.MustParseAddrPort("[fe80::1%nosuch]:80"), Method: &Method{Type: TCP}})
	expectReason(t, "no such interface", f, ReasonInternal)
	f, _ = probe(t, Spec{Method: &Method{Type: TCP}})
	expectReason(t, "no address", f, ReasonInternal)
	f, _ = probe(t, Spec{Target: target, Method: &Method{Type: "nosuch"}})
	expectReason(t, "no such type", f, ReasonInternal)
}

// More servers hang than a pool keeps sockets: all are down at their timeout,
// the sockets are given back.
func TestManyHang(t *testing.T) {
	hung := fullPort(t)
	var specs []Spec
	for i := range 2 * maxIdle {
		specs = append(specs, Spec{Target: hung, Method: &Method{Type: TCP, Interval: 200 * time.Millisecond, Timeout: 100*time.Millisecond + time.Duration(i)}})
	}
	fds := descriptors(t)
	s := NewScheduler(Options{})
	run(t, s, specs...)
	until(t, "all down", func() bool {
		for _, st := range s.Statuses() {
			if st.State != Down || st.Failed[ReasonTimeout] < 2 {
				return false
			}
		}
		return true
	})
	if n := s.Running(); n > len(specs) {
		t.Errorf("%d probes run for %d checks", n, len(specs))
	}
	s.Apply(nil)
	if n := s.Running(); n != 0 {
		t.Errorf("%d probes run for no check", n)
	}
	if n := descriptors(t) - fds; n > maxIdle+10 {
		t.Errorf("%d descriptors left", n)
	}
}

// The engine runs other types on goroutines, and starts anew after it has ended.
func TestEngineWithProbers(t *testing.T) {
	srv := &fakeServer{}
	s := NewScheduler(Options{})
	s.open = func(ctx context.Context, clk clock) (driver, error) {
		return newEngine(ctx, clk, func(Spec) Prober { return srv })
	}
	other := Spec{Target: target, Method: &Method{Type: "other", Interval: 10 * time.Millisecond, Timeout: 5 * time.Millisecond}}
	tcp := often(TCP, server(t, func(*net.TCPConn) {}), half)
	s.Apply([]Spec{other, tcp})
	for i, want := range []State{Up, Down, Up} {
		srv.set(nil, 0)
		if want == Down {
			srv.set(nil, time.Hour)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		before := probes(s, tcp.Key())
		until(t, want.String(), func() bool {
			st, _ := s.Status(other.Key())
			return st.State == want && st.Streak*st.Streak >= 4 && probes(s, tcp.Key()) > before
		})
		cancel()
		if err := <-done; err != nil {
			t.Fatalf("run %d: %v", i, err)
		}
		if s.Running() != 0 {
			t.Error("probes run while nothing runs")
		}
	}
}

// A result from a goroutine is judged when it comes, though the loop sleeps.
func TestResultWakesTheLoop(t *testing.T) {
	s := NewScheduler(Options{})
	s.open = func(ctx context.Context, clk clock) (driver, error) {
		return newEngine(ctx, clk, func(Spec) Prober { return &fakeServer{} })
	}
	spec := Spec{Target: target, Method: &Method{Type: "other", Interval: 100 * time.Millisecond, Timeout: 6 * time.Second}}
	run(t, s, spec)
	until(t, "judged", func() bool { st, _ := s.Status(spec.Key()); return st.State == Up })
	if st, _ := s.Status(spec.Key()); st.LastTook > 3*time.Second {
		t.Errorf("took %v", st.LastTook)
	}
}

// counting counts how often the loop went to sleep.
type counting struct {
	driver
	waits atomic.Int64
}

func (d *counting) wait(at int64) {
	d.waits.Add(1)
	d.driver.wait(at)
}

// Between probes the loop sleeps: a socket at rest, which the kernel reports
// as unconnected, does not keep it awake.
func TestSleepsBetweenProbes(t *testing.T) {
	for name, interval := range map[string]time.Duration{"urgent": 20 * time.Millisecond, "batch": 200 * time.Millisecond} {
		for _, to := range []netip.AddrPort{server(t, func(*net.TCPConn) {}), closedPort(t), fullPort(t)} {
			var d *counting
			s := NewScheduler(Options{})
			s.open = func(ctx context.Context, clk clock) (driver, error) {
				e, err := newEngine(ctx, clk, proberFor)
				d = &counting{driver: e}
				return d, err
			}
			spec := Spec{Target: to, Method: &Method{Type: TCP, Interval: interval, Timeout: 10 * time.Millisecond}}
			s.Apply([]Spec{spec})
			ctx, cancel := context.WithTimeout(t.Context(), 4*interval)
			if err := s.Run(ctx); err != nil {
				t.Fatal(err)
			}
			cancel()
			// A probe: start, answer or a few looks at the batch until the timeout.
			if n, limit := d.waits.Load(), 10*int64(probes(s, spec.Key())+2); n > limit {
				t.Errorf("%s: %d waits for %d probes", name, n, probes(s, spec.Key()))
			}
		}
	}
}
