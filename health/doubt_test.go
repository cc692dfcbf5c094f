package health

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// doubtBench feeds a doubt with a probe per millisecond of its own time.
type doubtBench struct {
	*doubt
	now int64
}

var soft = &Failure{ReasonTimeout, "no answer"}

func newDoubtBench(servers int, timeout time.Duration) *doubtBench {
	b := &doubtBench{doubt: &doubt{}, now: int64(time.Hour)}
	checks := map[Key]*check{}
	for i := range servers {
		c := &check{spec: Spec{Target: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80), Method: &Method{}}}
		c.timing = timing{interval: int64(time.Second), timeout: int64(timeout)}
		checks[Key(fmt.Sprint(i))] = c
	}
	b.configure(checks)
	b.canary(b.now, nil)
	return b
}

// run for d: each probe starts late by lag and ends in f (on all servers), the canary in canary.
func (b *doubtBench) run(d, lag time.Duration, f *Failure, canary *Failure) {
	for end := b.now + int64(d); b.now < end; b.now += int64(50 * time.Millisecond) {
		b.doubt.canary(b.now, canary)
		for _, h := range b.hosts {
			b.begun(b.now, int64(lag))
			b.ended(b.now, h, f, true)
		}
	}
}

func TestDoubtReasons(t *testing.T) {
	internal := &Failure{ReasonInternal, "no buffer"}
	for name, tc := range map[string]struct {
		servers int
		lag     time.Duration
		f, can  *Failure
		want    DoubtReason
		frozen  bool
	}{
		"well":                     {10, time.Millisecond, nil, nil, NoDoubt, false},
		"late":                     {10, 60 * time.Millisecond, nil, nil, DoubtLate, true},
		"late, but below the half": {10, 40 * time.Millisecond, nil, nil, NoDoubt, false},
		"own failures":             {10, 0, internal, internal, DoubtLocal, true},
		"own failures, canary well freeze nothing": {10, 0, internal, nil, DoubtLocal, false},
		"all servers fail, canary well":            {10, 0, soft, nil, NoDoubt, false},
		"all servers fail, and the canary":         {10, 0, soft, soft, DoubtCanary, true},
		"only the canary fails":                    {10, 0, nil, soft, NoDoubt, false},
		"two servers are not most":                 {2, 0, soft, soft, NoDoubt, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newDoubtBench(tc.servers, 100*time.Millisecond)
			b.run(3*time.Second, tc.lag, tc.f, tc.can)
			if b.why != tc.want || b.doubting != (tc.want != NoDoubt) || b.frozen != tc.frozen {
				t.Errorf("%q doubting %v frozen %v", b.why, b.doubting, b.frozen)
			}
			if got := b.holdsBack(soft); got != tc.frozen {
				t.Errorf("holds a timeout back: %v", got)
			}
			for _, r := range []Reason{ReasonRefused, ReasonReset} {
				if b.holdsBack(&Failure{r, ""}) {
					t.Error("holds back", r)
				}
			}
		})
	}
}

// A director that only elects has no probes to misjudge, and keeps its
// priority however late its canary is.
func TestNothingToDoubt(t *testing.T) {
	b := newDoubtBench(0, time.Second)
	for range 60 {
		b.begun(b.now, int64(time.Second))
		b.canary(b.now, soft)
		b.now += int64(50 * time.Millisecond)
	}
	if b.doubting || b.frozen {
		t.Errorf("doubts itself: %q", b.why)
	}
}

// Half of the servers is not most of them, and old failures are none.
func TestDoubtMostServers(t *testing.T) {
	b := newDoubtBench(4, 100*time.Millisecond)
	n := 0
	for _, h := range b.hosts {
		if n++; n <= 2 {
			h.failed = b.now
		} else {
			h.passed = b.now
		}
	}
	if b.mostFail(b.now) {
		t.Error("two of four are most")
	}
	for _, h := range b.hosts {
		h.failed, h.passed = b.now, 0
	}
	if !b.mostFail(b.now) || b.mostFail(b.now+int64(1200*time.Millisecond)) {
		t.Error("failures count for one interval")
	}
}

// One late start in a hundred is no doubt, two are.
func TestDoubtPercentile(t *testing.T) {
	for late, want := range map[int]bool{1: false, 2: true} {
		b := newDoubtBench(1, 100*time.Millisecond)
		for i := range 100 {
			lag := int64(0)
			if i < late {
				lag = int64(time.Second)
			}
			b.begun(b.now, lag)
		}
		b.now += doubtSlot
		b.advance(b.now)
		if b.doubting != want {
			t.Errorf("%d late of 100: doubting %v", late, b.doubting)
		}
	}
}

func TestDoubtEndsAfterTenSecondsOfHealth(t *testing.T) {
	b := newDoubtBench(5, 100*time.Millisecond)
	b.run(3*time.Second, time.Second, nil, nil)
	b.run(11*time.Second, 0, nil, nil) // the bad ones leave the window after two
	if !b.doubting || b.frozen {
		t.Error("doubting", b.doubting, "frozen", b.frozen)
	}
	b.run(1500*time.Millisecond, 0, nil, nil)
	if b.doubting || b.times != 1 {
		t.Error("still doubting")
	}
}

func TestFreezeHasABudget(t *testing.T) {
	b := newDoubtBench(5, 100*time.Millisecond)
	var frozen time.Duration
	step := 200 * time.Millisecond
	for range int(5 * time.Minute / step) {
		b.run(step, time.Second, nil, nil)
		if b.frozen {
			frozen += step
		}
	}
	if frozen < 29*time.Second || frozen > 31*time.Second {
		t.Errorf("frozen for %v of five minutes", frozen)
	}
	if !b.doubting {
		t.Error("the doubt has gone with the freeze")
	}
	b.run(30*time.Second, time.Second, nil, nil)
	if len(b.freezes) == 0 || len(b.freezes) > 200 {
		t.Error(len(b.freezes), "freezes kept")
	}
}

// While frozen a server that hangs stays up, one that refuses goes down, and
// after the thaw the next failure counts.
func TestFrozenVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "a")
		hung, gone := netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("10.0.0.2:80")
		b.servers[hung], b.servers[gone] = &fakeServer{}, &fakeServer{}
		spec := func(a netip.AddrPort) Spec {
			return Spec{Target: a, Method: &Method{Type: TCP, Interval: time.Second, Timeout: 500 * time.Millisecond, Rise: 1, Fall: 2}}
		}
		b.Apply([]Spec{spec(hung), spec(gone)})
		time.Sleep(3 * time.Second)
		freeze := func() { // as long as the machine is late
			b.Scheduler.mu.Lock()
			for i := range b.book.doubt.slots {
				b.book.doubt.slots[i].begun, b.book.doubt.slots[i].late = 100, 100
			}
			b.Scheduler.mu.Unlock()
		}
		b.servers[hung].set(soft, 0)
		b.servers[gone].set(refused, 0)
		for range 50 {
			freeze()
			time.Sleep(100 * time.Millisecond)
		}
		state := func(a netip.AddrPort) State { st, _ := b.Status(spec(a).Key()); return st.State }
		if state(hung) != Up || state(gone) != Down {
			t.Errorf("hung %v, refusing %v", state(hung), state(gone))
		}
		if d := b.Doubt(); !d.Doubting || !d.Frozen || d.Held == 0 || d.Why != DoubtLate {
			t.Errorf("%+v", d)
		}
		time.Sleep(4 * time.Second)
		if state(hung) != Down {
			t.Error("not down after the thaw")
		}
		b.stop()
	})
}

// The canary passes where loopback works, and is nobody's check.
func TestCanary(t *testing.T) {
	s := NewScheduler(Options{})
	spec := Spec{Target: closedPort(t), Method: &Method{Type: TCP, Interval: 100 * time.Millisecond, Timeout: 50 * time.Millisecond}}
	run(t, s, spec)
	until(t, "a canary that passed", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.book.doubt.canaryTrusted })
	if n := len(s.Statuses()); n != 1 {
		t.Errorf("%d statuses", n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.book.doubt.canaryFails {
		t.Error("loopback fails")
	}
}
