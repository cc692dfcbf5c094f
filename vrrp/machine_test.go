package vrrp

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// rig drives one machine and writes down what it wants.
type rig struct {
	t   *testing.T
	m   *Machine
	now Time
}

const start = Time(1000 * time.Second)

func at(d time.Duration) Time { return start.Add(d) }

// newRig is a machine that is ready; its interface is still down.
func newRig(t *testing.T, c Config) *rig {
	r := &rig{t: t, m: NewMachine(c), now: start}
	r.step(Event{Kind: EventPosture, Ready: true})
	return r
}

func (r *rig) step(e Event) string {
	var out []string
	for _, a := range r.m.Step(r.now, e) {
		out = append(out, a.String())
	}
	return strings.Join(out, "; ")
}

func (r *rig) expect(want string, e Event) {
	r.t.Helper()
	if got := r.step(e); got != want {
		r.t.Errorf("at %v, %v:\n got %q\nwant %q", r.now.Sub(start), e, got, want)
	}
}

func (r *rig) up(want string) {
	r.t.Helper()
	r.expect(want, Event{Kind: EventInterface, Up: true, Source: addrB})
}

// adv from a peer: A is below our address B, C above.
func adv(p uint8, interval time.Duration, from netip.Addr) Event {
	return Event{Kind: EventAdvertisement, Source: from, Advertisement: &Advertisement{Version: V3, VRID: 7, Priority: p, Interval: interval}}
}

// timer steps at the deadline, which must be d after the start.
func (r *rig) timer(d time.Duration, want string) {
	r.t.Helper()
	got, ok := r.m.Deadline()
	if !ok || got != at(d) {
		r.t.Errorf("deadline %v (%t), want %v", got.Sub(start), ok, d)
		if !ok {
			return
		}
	}
	r.now = got
	r.expect(want, Event{Kind: EventTimer})
}

func (r *rig) at(d time.Duration) { r.now = at(d) }

var (
	held   = Event{Kind: EventAddresses, Addresses: AddressesHeld}
	stopIt = Event{Kind: EventStop}
)

// master is a rig that took over from nobody; it was up since the start.
func master(t *testing.T, c Config) *rig {
	t.Helper()
	r := newRig(t, c)
	r.up("init -> backup (start)")
	r.now, _ = r.m.Deadline()
	r.step(Event{Kind: EventTimer})
	r.expect("announce round", held)
	if r.m.State() != Master {
		t.Fatal("not master")
	}
	return r
}

func TestRFC9568_6_1_SkewAndActiveDownInterval(t *testing.T) {
	tests := []struct {
		v        Version
		priority uint8
		master   time.Duration
		skew     time.Duration
		down     time.Duration
	}{
		{V3, 100, time.Second, 609375 * time.Microsecond, 3609375 * time.Microsecond},
		{V3, 150, time.Second, 414062500, 3414062500},
		{V3, 254, time.Second, 7812500, 3007812500},
		{V3, 1, time.Second, 996093750, 3996093750},
		{V3, 254, 10 * time.Millisecond, 78125, 30078125},
		{V3, 253, 10 * time.Millisecond, 117187, 30117187},
		{V3, 1, 40950 * time.Millisecond, 40790039062, 163640039062},
		{V2, 100, time.Second, 609375 * time.Microsecond, 3609375 * time.Microsecond},
		{V2, 100, 10 * time.Second, 609375 * time.Microsecond, 30609375 * time.Microsecond},
		{V2, 255, 255 * time.Second, 3906250, 765003906250},
	}
	for _, tt := range tests {
		c := Config{Version: tt.v, Priority: tt.priority}
		if got := c.Skew(tt.master); got != tt.skew {
			t.Errorf("v%d %d %v: skew %v, want %v", tt.v, tt.priority, tt.master, got, tt.skew)
		}
		if got := c.MasterDown(tt.master); got != tt.down {
			t.Errorf("v%d %d %v: down %v, want %v", tt.v, tt.priority, tt.master, got, tt.down)
		}
	}
}

func TestSkewKeepsTheOrderOfBackups(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SampledFrom([]Version{V2, V3}).Draw(t, "version")
		interval := time.Duration(rapid.IntRange(1, 4095).Draw(t, "cs")) * centisecond
		p := rapid.Uint8Range(1, 253).Draw(t, "priority")
		if Skew(v, p, interval) <= Skew(v, p+1, interval) {
			t.Fatalf("%d does not wait longer than %d", p, p+1)
		}
		if s := Skew(v, p, interval); s <= 0 || s >= max(interval, time.Second) {
			t.Fatalf("skew %v", s)
		}
	})
}

func TestEffectivePriority(t *testing.T) {
	tests := []struct {
		configured uint8
		deltas     []int
		want       uint8
	}{
		{100, nil, 100}, {100, []int{-20}, 80}, {100, []int{-20, +30, -5}, 105}, {100, []int{-253}, 1},
		{100, []int{253}, 254}, {254, []int{1}, 254}, {255, []int{-100}, 255}, {1, []int{-1}, 1}, {200, []int{253, -253}, 200},
	}
	for _, tt := range tests {
		if got := EffectivePriority(tt.configured, tt.deltas); got != tt.want {
			t.Errorf("%d %v: got %d, want %d", tt.configured, tt.deltas, got, tt.want)
		}
	}
}

func TestLifetime(t *testing.T) {
	for interval, want := range map[time.Duration]time.Duration{
		10 * time.Millisecond: 5 * time.Second, time.Second: 8 * time.Second, 5 * time.Second: 37 * time.Second,
	} {
		c := Config{Version: V3, Priority: 100, Interval: interval}
		if got := c.Lifetime(); got != want {
			t.Errorf("%v: got %v, want %v", interval, got, want)
		}
	}
}

func TestRFC9568_6_4_1_StartAsOwner(t *testing.T) {
	c := testConfig()
	c.Priority = OwnerPriority
	r := newRig(t, c)
	r.up("send 255; hold; init -> master (owner, planned)")
	r.expect("announce round", held)
	r.timer(time.Second, "send 255")
}

func TestRFC9568_6_4_1_StartAsBackup(t *testing.T) {
	r := newRig(t, testConfig())
	r.up("init -> backup (start)")
	r.timer(3609375*time.Microsecond, "send 100; hold; backup -> master (master-lost)")
	r.timer(4609375*time.Microsecond, "send 100")
}

func TestFirstStepTakesStaleAddressesOff(t *testing.T) {
	m := NewMachine(testConfig())
	if got := m.Step(start, Event{Kind: EventInterface}); len(got) != 1 || got[0].Kind != ActionDrop {
		t.Errorf("got %v", got)
	}
}

func TestStartWaitsFor(t *testing.T) {
	c := testConfig()
	c.StartDelay = 2 * time.Second
	r := newRig(t, c)
	r.expect("", Event{Kind: EventInterface})
	if r.m.Reason() != CauseInterfaceDown {
		t.Errorf("waits for %v", r.m.Reason())
	}
	r.expect("", Event{Kind: EventInterface, Up: true})
	if r.m.Reason() != CauseNoSource {
		t.Errorf("waits for %v", r.m.Reason())
	}
	if d, ok := r.m.Deadline(); ok {
		t.Errorf("deadline %v without a source", d)
	}
	r.up("")
	if r.m.Reason() != CauseStartDelay {
		t.Errorf("waits for %v", r.m.Reason())
	}
	r.timer(2*time.Second, "init -> backup (start)")
}

func TestRFC9568_6_4_2_PriorityZero(t *testing.T) {
	r := newRig(t, testConfig())
	r.up("init -> backup (start)")
	r.at(time.Second)
	r.expect("", adv(200, time.Second, addrC))
	r.at(1500 * time.Millisecond)
	r.expect("count priority-zero-received", adv(0, time.Second, addrC))
	r.timer(1500*time.Millisecond+609375*time.Microsecond, "send 100; hold; backup -> master (priority-zero, planned)")

	// Another priority meanwhile, another skew.
	r = newRig(t, testConfig())
	r.up("init -> backup (start)")
	r.expect("count priority-zero-received", adv(0, time.Second, addrC))
	r.expect("", Event{Kind: EventPosture, Ready: true, Delta: 100})
	r.timer(218750*time.Microsecond, "send 200; hold; backup -> master (priority-zero, planned)")
}

func TestPriorityZeroNeverExtends(t *testing.T) {
	r := newRig(t, testConfig())
	r.up("init -> backup (start)")
	for d := 3 * time.Second; d < 3600*time.Millisecond; d += 100 * time.Millisecond {
		r.at(d)
		r.expect("count priority-zero-received", adv(0, time.Second, addrC))
	}
	r.timer(3609375*time.Microsecond, "send 100; hold; backup -> master (priority-zero, planned)")
}

func TestRFC9568_6_4_2_HigherOrEqualResetsTheTimer(t *testing.T) {
	for _, p := range []uint8{100, 101, 255} {
		r := newRig(t, testConfig())
		r.up("init -> backup (start)")
		r.at(3 * time.Second)
		r.expect("", adv(p, time.Second, addrA)) // also an equal one from a lower address
		if d, _ := r.m.Deadline(); d != at(3*time.Second+3609375*time.Microsecond) {
			t.Errorf("%d: deadline %v", p, d.Sub(start))
		}
	}
}

func TestRFC9568_6_4_2_AdoptsTheInterval(t *testing.T) {
	r := newRig(t, testConfig())
	r.up("init -> backup (start)")
	r.at(time.Second)
	r.expect("", adv(200, 300*time.Millisecond, addrC))
	r.timer(time.Second+900*time.Millisecond+182812500, "send 100; hold; backup -> master (master-lost)")
	// A master uses its own.
	r.timer(time.Second+900*time.Millisecond+182812500+time.Second, "send 100")
}

func TestRFC9568_6_4_2_LowerIsDiscarded(t *testing.T) {
	r := newRig(t, testConfig())
	r.up("init -> backup (start)")
	r.at(3 * time.Second)
	r.expect("", adv(99, 10*time.Millisecond, addrC))
	r.at(3600 * time.Millisecond)
	r.expect("", adv(99, time.Second, addrC))
	r.timer(3609375*time.Microsecond, "send 100; hold; backup -> master (preempt, planned)")
}

func TestRFC9568_6_4_2_PreemptModeFalse(t *testing.T) {
	c := testConfig()
	c.Preempt = false
	r := newRig(t, c)
	r.up("init -> backup (start)")
	r.at(3 * time.Second)
	r.expect("", adv(1, time.Second, addrA))
	r.timer(3*time.Second+3609375*time.Microsecond, "send 100; hold; backup -> master (master-lost)")
}

func TestPreemptDelay(t *testing.T) {
	c := testConfig()
	c.PreemptDelay = 5 * time.Second
	r := newRig(t, c)
	r.up("init -> backup (start)")
	for d := 500 * time.Millisecond; d <= 5*time.Second; d += 500 * time.Millisecond {
		r.at(d)
		r.expect("", adv(50, 500*time.Millisecond, addrA))
	}
	r.timer(5500*time.Millisecond, "send 100; hold; backup -> master (preempt, planned)")
}

func TestPreemptDelayEndsWithABetterMaster(t *testing.T) {
	c := testConfig()
	c.PreemptDelay = 5 * time.Second
	r := newRig(t, c)
	r.up("init -> backup (start)")
	r.at(time.Second)
	r.expect("", adv(50, time.Second, addrA))
	r.at(2 * time.Second)
	r.expect("", adv(150, time.Second, addrC))
	if d, _ := r.m.Deadline(); d != at(2*time.Second+3609375*time.Microsecond) {
		t.Errorf("deadline %v", d.Sub(start))
	}
}

func TestPreemptDelayOfOneThatIsBetterNoMore(t *testing.T) {
	c := testConfig()
	c.PreemptDelay = 3200 * time.Millisecond
	r := newRig(t, c)
	r.up("init -> backup (start)")
	for _, d := range []time.Duration{500, 1500, 2500, 3500} {
		r.at(d * time.Millisecond)
		r.expect("", adv(50, time.Second, addrA))
	}
	r.expect("", Event{Kind: EventPosture, Ready: true, Delta: -60})
	r.timer(3700*time.Millisecond, "")
	r.timer(3500*time.Millisecond+3609375*time.Microsecond, "send 40; hold; backup -> master (master-lost)")
}

func TestPreemptDelayWhenTheMasterDies(t *testing.T) {
	c := testConfig()
	c.PreemptDelay = 60 * time.Second
	r := newRig(t, c)
	r.up("init -> backup (start)")
	r.at(time.Second)
	r.expect("", adv(50, time.Second, addrA))
	r.timer(time.Second+3609375*time.Microsecond, "send 100; hold; backup -> master (master-lost)")
}

func TestOwnerAlwaysPreempts(t *testing.T) {
	c := testConfig()
	c.Priority, c.Preempt, c.PreemptDelay = OwnerPriority, false, time.Minute
	r := newRig(t, c)
	r.up("send 255; hold; init -> master (owner, planned)")
	r.expect("count two-owners; count lower-priority; send 255", adv(255, time.Second, addrA))
	r.expect("count two-owners; send 255; drop; master -> backup (tie-break, planned)", adv(255, time.Second, addrC))
}

func TestRFC9568_6_4_3_AdvertisesEachInterval(t *testing.T) {
	r := master(t, testConfig())
	const first = 3609375 * time.Microsecond
	for i := 1; i <= 3; i++ {
		r.timer(first+time.Duration(i)*time.Second, "send 100")
	}
	// Late by 200 ms: the next one is planned from the plan.
	r.at(first + 4200*time.Millisecond)
	r.expect("send 100", Event{Kind: EventTimer})
	r.timer(first+5*time.Second, "send 100")
	// Late by two intervals: one is sent, not three.
	r.at(first + 8300*time.Millisecond)
	r.expect("send 100; count missed-tick; announce round", Event{Kind: EventTimer})
	r.timer(first+8800*time.Millisecond, "send 100")
}

// A master that has to wait for its CPU advertises twice as often, until it has
// been on time for a while.
func TestLateAdvertisementsHurry(t *testing.T) {
	r := master(t, testConfig())
	const first = 3609375 * time.Microsecond
	r.at(first + 1300*time.Millisecond)
	r.expect("send 100", Event{Kind: EventTimer})
	for at := first + 1500*time.Millisecond; at <= first+17500*time.Millisecond; at += 500 * time.Millisecond {
		if at == first+5500*time.Millisecond {
			r.timer(9*time.Second, "announce round") // an old master's addresses are gone
		}
		r.timer(at, "send 100")
	}
	r.timer(first+18500*time.Millisecond, "send 100")
	// Late again by more than half an interval: what was planned meanwhile is over.
	r.at(first + 20200*time.Millisecond)
	r.expect("send 100", Event{Kind: EventTimer})
	r.timer(first+20700*time.Millisecond, "send 100")
}

func TestRFC9568_6_4_3_PriorityZeroIsAnswered(t *testing.T) {
	r := master(t, testConfig())
	r.at(4 * time.Second)
	// It was a second master: neighbours may believe it.
	r.expect("count priority-zero-received; send 100; announce round", adv(0, time.Second, addrC))
	if d, _ := r.m.Deadline(); d != at(5*time.Second) {
		t.Errorf("deadline %v", d.Sub(start))
	}
}

// The backups of whoever sends priority 0 count with their skews only, so the
// answer cannot wait, though a losing advertisement was answered a moment ago.
func TestRFC9568_6_4_3_PriorityZeroIsAnsweredBeforeAnySkew(t *testing.T) {
	r := master(t, testConfig())
	r.at(4 * time.Second)
	r.expect("count lower-priority; send 100; announce round", adv(50, time.Second, addrC))
	r.at(4100 * time.Millisecond)
	r.expect("count priority-zero-received; send 100", adv(0, time.Second, addrC))
	// A flood gets one answer in the least skew that there is.
	for d := 4101 * time.Millisecond; d < 4103*time.Millisecond; d += 100 * time.Microsecond {
		r.at(d)
		r.expect("count priority-zero-received", adv(0, time.Second, addrC))
	}
	r.timer(4100*time.Millisecond+time.Second/256, "send 100")
	r.timer(5*time.Second, "announce round") // a second after the last
	r.timer(5100*time.Millisecond+time.Second/256, "send 100")
}

func TestRFC9568_6_4_3_HigherWins(t *testing.T) {
	r := master(t, testConfig())
	r.at(4 * time.Second)
	r.expect("send 100; master -> backup (higher-priority, planned)", adv(101, 2*time.Second, addrA))
	r.timer(4200*time.Millisecond, "drop") // make before break
	// The interval of the one that ended us counts.
	r.timer(4*time.Second+6*time.Second+1218750*time.Microsecond, "send 100; hold; backup -> master (master-lost)")
}

func TestRFC9568_6_4_3_TieBreakByAddress(t *testing.T) {
	r := master(t, testConfig())
	r.at(4 * time.Second)
	r.expect("count lower-priority; send 100; announce round", adv(100, time.Second, addrA))
	r.at(6 * time.Second)
	r.expect("count tie-own-address", adv(100, time.Second, addrB))
	r.expect("send 100; master -> backup (tie-break, planned)", adv(100, time.Second, addrC))
}

func TestTieBreakComparesNumbers(t *testing.T) {
	for _, tt := range []struct {
		low, high string
	}{{"192.0.2.9", "192.0.2.10"}, {"10.0.0.1", "192.0.2.1"}, {"fe80::9", "fe80::10"}, {"fe80::9%a", "fe80::10"}} {
		if compareAddr(netip.MustParseAddr(tt.low), netip.MustParseAddr(tt.high)) >= 0 {
			t.Errorf("%s is not below %s", tt.low, tt.high)
		}
	}
	if compareAddr(netip.MustParseAddr("fe80::9%a"), netip.MustParseAddr("fe80::9")) != 0 {
		t.Error("a zone counts")
	}
}

func TestRFC9568_6_4_3_LosingAdvertisementIsAnsweredAtOnce(t *testing.T) {
	r := master(t, testConfig())
	r.at(4 * time.Second)
	r.expect("count lower-priority; send 100; announce round", adv(50, time.Second, addrC))
	// At most once in an interval, and rounds at least a second apart, but never none.
	r.at(4200 * time.Millisecond)
	r.expect("count lower-priority", adv(50, time.Second, addrC))
	r.at(4400 * time.Millisecond)
	r.expect("count lower-priority", adv(50, time.Second, addrC))
	r.timer(5*time.Second, "send 100; announce round")
	r.timer(6*time.Second, "send 100")
}

func TestLastWordCarriesTheWinnersInterval(t *testing.T) {
	r := master(t, testConfig())
	actions := r.m.Step(r.now, adv(200, 50*time.Millisecond, addrC))
	if a := actions[0]; a.Kind != ActionSend || a.Priority != 100 || a.Interval != 50*time.Millisecond {
		t.Errorf("got %v every %v", a, a.Interval)
	}
}

func TestRFC9568_6_4_3_ShutdownMakesBeforeBreak(t *testing.T) {
	t.Run("new master", func(t *testing.T) {
		r := master(t, testConfig())
		r.at(4 * time.Second)
		r.expect("send 0; master -> releasing (stop, planned)", stopIt)
		r.at(4500 * time.Millisecond)
		r.expect("", adv(50, time.Second, addrA))
		r.at(4600 * time.Millisecond)
		r.expect("", adv(50, time.Second, addrA))
		r.timer(4700*time.Millisecond, "drop; releasing -> init (released, planned)")
		if !r.m.Stopped() {
			t.Error("not stopped")
		}
		if d, ok := r.m.Deadline(); ok {
			t.Errorf("deadline %v", d)
		}
	})
	t.Run("new master announces", func(t *testing.T) {
		r := master(t, testConfig())
		r.at(4 * time.Second)
		r.step(stopIt)
		r.expect("", Event{Kind: EventClaim}) // a stranger
		r.at(4500 * time.Millisecond)
		r.expect("", adv(50, time.Second, addrA))
		r.at(4502 * time.Millisecond)
		r.expect("", Event{Kind: EventClaim})
		r.timer(4522*time.Millisecond, "drop; releasing -> init (released, planned)")
	})
	t.Run("nobody", func(t *testing.T) {
		r := master(t, testConfig())
		r.at(4 * time.Second)
		r.step(stopIt)
		r.timer(5300*time.Millisecond, "send 0; drop; releasing -> init (release-timeout, planned)")
	})
	t.Run("nobody, and a better one later", func(t *testing.T) {
		r := master(t, testConfig())
		r.at(4 * time.Second)
		r.step(Event{Kind: EventRelease})
		r.timer(5300*time.Millisecond, "send 0; drop; releasing -> backup (release-timeout, planned)")
		r.at(5450 * time.Millisecond)
		r.expect("send 100", adv(200, time.Second, addrA)) // the last word
		r.expect("", adv(200, time.Second, addrA))
	})
	// It may be one that would yield to us: another member of its group has
	// decided, or we were told to hand over. What it hears must lose.
	for name, tt := range map[string]struct {
		hears Event
		want  string
	}{
		"a tie that we would win":    {adv(100, time.Second, addrA), "send 99"},
		"a tie that we would lose":   {adv(100, time.Second, addrC), "send 100"},
		"a worse one":                {adv(50, time.Second, addrA), "send 49"},
		"a worse one from higher up": {adv(50, time.Second, addrC), "send 49"},
		"the worst":                  {adv(1, time.Second, addrA), ""},
	} {
		t.Run("nobody, and "+name, func(t *testing.T) {
			r := master(t, testConfig())
			r.at(4 * time.Second)
			r.step(Event{Kind: EventRelease})
			r.timer(5300*time.Millisecond, "send 0; drop; releasing -> backup (release-timeout, planned)")
			r.at(5400 * time.Millisecond)
			r.expect(tt.want, tt.hears)
			r.expect("", tt.hears)
			if tt.want == "" { // said to the next one
				r.expect("send 1", adv(2, time.Second, addrA))
			}
		})
	}
	t.Run("a better one follows", func(t *testing.T) {
		r := master(t, testConfig())
		r.at(4 * time.Second)
		r.step(stopIt)
		r.at(4500 * time.Millisecond)
		r.expect("", adv(50, time.Second, addrA))
		r.expect("", Event{Kind: EventClaim})
		r.at(4510 * time.Millisecond)
		r.expect("", adv(60, time.Second, addrC))
		r.timer(4710*time.Millisecond, "drop; releasing -> init (released, planned)")
	})
	t.Run("new master gives up", func(t *testing.T) {
		r := master(t, testConfig())
		r.at(4 * time.Second)
		r.step(stopIt)
		r.at(4500 * time.Millisecond)
		r.expect("", adv(50, time.Second, addrA))
		r.at(4510 * time.Millisecond)
		r.expect("count priority-zero-received", adv(0, time.Second, addrA))
		r.timer(5300*time.Millisecond, "send 0; drop; releasing -> init (release-timeout, planned)")
	})
	for name, tt := range map[string]struct {
		v        Version
		interval time.Duration
		want     time.Duration
	}{
		"10 ms": {V3, 10 * time.Millisecond, 310 * time.Millisecond}, "v2": {V2, 2 * time.Second, 1300 * time.Millisecond},
		"at most 5 s": {V3, 30 * time.Second, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig()
			c.Version, c.Interval = tt.v, tt.interval
			r := master(t, c)
			r.step(stopIt)
			if d, _ := r.m.Deadline(); d.Sub(r.now) != tt.want {
				t.Errorf("bound %v, want %v", d.Sub(r.now), tt.want)
			}
		})
	}
}

func TestStopWithoutBeingMaster(t *testing.T) {
	r := newRig(t, testConfig())
	r.expect("", stopIt)
	if !r.m.Stopped() {
		t.Error("not stopped in init")
	}
	r = newRig(t, testConfig())
	r.up("init -> backup (start)")
	r.expect("backup -> init (stop, planned)", stopIt) // RFC 9568 section 6.4.2: nothing is sent
	r.expect("", Event{Kind: EventTimer})
	r.expect("", adv(0, time.Second, addrC))
	if !r.m.Stopped() {
		t.Error("not stopped as backup")
	}
}

func TestInterfaceDown(t *testing.T) {
	r := master(t, testConfig())
	r.expect("drop; master -> init (interface-down)", Event{Kind: EventInterface})
	r.up("init -> backup (start)")
	r.expect("backup -> init (no-source)", Event{Kind: EventInterface, Up: true})
	r = master(t, testConfig())
	r.step(stopIt)
	r.expect("drop; releasing -> init (stop, planned)", Event{Kind: EventInterface})
	if !r.m.Stopped() {
		t.Error("not stopped")
	}
}

func TestSourceMoves(t *testing.T) {
	r := master(t, testConfig())
	r.expect("send 100", Event{Kind: EventInterface, Up: true, Source: addrC})
	if r.m.Source() != addrC {
		t.Error("source not taken")
	}
	r.expect("", Event{Kind: EventInterface, Up: true, Source: addrC})
	// Who offers or hands over is silent.
	r.expect("send 0", Event{Kind: EventPosture})
	r.expect("", Event{Kind: EventInterface, Up: true, Source: addrB})
	r.expect("send 0; master -> releasing (stop, planned)", stopIt)
	r.expect("", Event{Kind: EventInterface, Up: true, Source: addrC})
}
