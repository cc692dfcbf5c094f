package vrrp

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What is ours beyond the RFC: commands, tracking, readiness, addresses, stalls.

func TestFailoverSuppressesPreemption(t *testing.T) {
	r := master(t, testConfig())
	r.at(4 * time.Second)
	r.expect("send 0; master -> releasing (failover, planned)", Event{Kind: EventRelease, For: 10 * time.Second})
	r.at(4500 * time.Millisecond)
	r.step(adv(50, time.Second, addrA))
	r.timer(4700*time.Millisecond, "drop; releasing -> backup (released, planned)")
	for d := 5500 * time.Millisecond; d < 14*time.Second; d += time.Second {
		r.at(d)
		r.expect("", adv(50, time.Second, addrA))
	}
	r.at(14500 * time.Millisecond)
	r.expect("", adv(50, time.Second, addrA)) // discarded: the suppression is over
	r.timer(13500*time.Millisecond+3609375*time.Microsecond, "send 100; hold; backup -> master (preempt, planned)")
}

func TestFailoverUntilRestart(t *testing.T) {
	r := newRig(t, testConfig())
	r.up("init -> backup (start)")
	r.expect("", Event{Kind: EventRelease, For: time.Second})
	r.expect("", Event{Kind: EventRelease}) // the last word counts
	for d := time.Second; d < 200*time.Second; d += time.Second {
		r.at(d)
		r.expect("", adv(50, time.Second, addrA))
	}
	// But a dead master is replaced.
	r.timer(199*time.Second+3609375*time.Microsecond, "send 100; hold; backup -> master (master-lost)")
}

func TestTrackingDelta(t *testing.T) {
	r := master(t, testConfig())
	r.expect("send 60", Event{Kind: EventPosture, Ready: true, Delta: -40})
	r.expect("", Event{Kind: EventPosture, Ready: true, Delta: -40})
	r.expect("send 1", Event{Kind: EventPosture, Ready: true, Delta: -240})
	r.expect("send 254", Event{Kind: EventPosture, Ready: true, Delta: 240})
}

func TestDeltaOfABackupShortensOnly(t *testing.T) {
	r := newRig(t, testConfig())
	r.up("init -> backup (start)")
	r.step(Event{Kind: EventPosture, Ready: true, Delta: 100})
	if d, _ := r.m.Deadline(); d != at(3*time.Second+Skew(V3, 200, time.Second)) {
		t.Errorf("deadline %v", d.Sub(start))
	}
	r.step(Event{Kind: EventPosture, Ready: true, Delta: -50})
	if d, _ := r.m.Deadline(); d != at(3*time.Second+Skew(V3, 200, time.Second)) {
		t.Errorf("extended to %v", d.Sub(start))
	}
}

func TestFaultReleases(t *testing.T) {
	r := master(t, testConfig())
	r.at(4 * time.Second)
	r.expect("send 0; master -> releasing (track, planned)", Event{Kind: EventPosture, Ready: true, Fault: true})
	r.at(4500 * time.Millisecond)
	r.step(adv(50, time.Second, addrA))
	r.timer(4700*time.Millisecond, "drop; releasing -> fault (track, planned)")
	r.expect("", adv(50, time.Second, addrA))
	r.expect("fault -> backup (start)", Event{Kind: EventPosture, Ready: true})
	r.expect("backup -> fault (track)", Event{Kind: EventPosture, Ready: true, Fault: true})
}

func TestNotReadyHasPriorityOneAndDoesNotPreempt(t *testing.T) {
	m := NewMachine(testConfig())
	r := &rig{t: t, m: m, now: start}
	r.up("drop; init -> backup (start)")
	if m.Priority() != 1 {
		t.Errorf("priority %d", m.Priority())
	}
	r.at(time.Second)
	r.expect("", adv(1, time.Second, addrA))
	r.timer(time.Second+3996093750, "send 1; hold; backup -> master (master-lost)")
	r.expect("announce round", held)
	r.expect("send 100", Event{Kind: EventPosture, Ready: true})
}

func TestOwnerThatIsNotReady(t *testing.T) {
	c := testConfig()
	c.Priority = OwnerPriority
	r := &rig{t: t, m: NewMachine(c), now: start}
	r.up("drop; init -> backup (start)")
	r.expect("send 255; hold; backup -> master (owner, planned)", Event{Kind: EventPosture, Ready: true})
}

func TestOfferOfMastership(t *testing.T) {
	r := master(t, testConfig())
	r.at(4 * time.Second)
	r.expect("send 0", Event{Kind: EventPosture})
	if !r.m.Offering() || r.m.State() != Master {
		t.Error("not offering")
	}
	// Nobody takes it: on as master at priority 1, and again with back-off.
	r.timer(5100*time.Millisecond, "send 1")
	for _, again := range []time.Duration{15100, 36200, 77300} {
		for {
			d, _ := r.m.Deadline()
			if d >= at(again*time.Millisecond) {
				if d != at(again*time.Millisecond) {
					t.Errorf("offers again at %v, not after %v ms", d.Sub(start), int(again))
				}
				break
			}
			r.now = d
			r.step(Event{Kind: EventTimer})
		}
		r.at(again * time.Millisecond)
		if got := r.step(Event{Kind: EventTimer}); !strings.Contains(got, "send 0") {
			t.Fatalf("at %v: %q", again, got)
		}
		d, _ := r.m.Deadline()
		if d != r.now.Add(1100*time.Millisecond) {
			t.Fatalf("offer until %v", d.Sub(start))
		}
	}
	// The director comes back during an offer.
	r.expect("send 100", Event{Kind: EventPosture, Ready: true})
	// Somebody takes it.
	r.expect("send 0", Event{Kind: EventPosture})
	r.expect("", Event{Kind: EventClaim}) // a stranger does not
	// A last word, sent before priority 0 was heard there: its sender is backup
	// by now and waits for its skew. The addresses stay until then.
	r.expect("", adv(50, time.Second, addrA))
	r.now = r.now.Add(Skew(V3, 50, time.Second) - time.Millisecond)
	r.expect("", adv(50, time.Second, addrA))
	r.now = r.now.Add(time.Millisecond)
	r.expect("master -> releasing (offer, planned)", adv(50, time.Second, addrA))
	r.now = r.now.Add(200 * time.Millisecond)
	r.expect("drop; releasing -> backup (released, planned)", Event{Kind: EventTimer})
}

func TestAddressesFail(t *testing.T) {
	c := testConfig()
	r := newRig(t, c)
	r.up("init -> backup (start)")
	r.timer(3609375*time.Microsecond, "send 100; hold; backup -> master (master-lost)")
	failed := Event{Kind: EventAddresses, Addresses: AddressesFailed}
	r.expect("send 0; drop; master -> fault (addresses)", failed)
	r.timer(13609375*time.Microsecond, "fault -> backup (start)")
	r.timer(13609375*time.Microsecond+3609375*time.Microsecond, "send 100; hold; backup -> master (master-lost)")
	r.expect("send 0; drop; master -> fault (addresses)", failed)
	// The pause doubles, but a new link is a new chance.
	if d, _ := r.m.Deadline(); d.Sub(r.now) != 20*time.Second {
		t.Errorf("pause %v", d.Sub(r.now))
	}
	r.expect("", failed)
	r.expect("", Event{Kind: EventInterface})
	r.up("fault -> backup (start)")
}

func TestPauseAfterAddressesFailed(t *testing.T) {
	failed := func() *rig {
		r := newRig(t, testConfig())
		r.up("init -> backup (start)")
		r.timer(3609375*time.Microsecond, "send 100; hold; backup -> master (master-lost)")
		r.expect("send 0; drop; master -> fault (addresses)", Event{Kind: EventAddresses, Addresses: AddressesFailed})
		return r
	}
	// Other news do not end it.
	r := failed()
	r.expect("", Event{Kind: EventPosture, Ready: true, Delta: 1})
	r.timer(13609375*time.Microsecond, "fault -> backup (start)")
	// After it the instance waits for what is missing, and not for a timer.
	r = failed()
	r.expect("", Event{Kind: EventInterface})
	r.timer(13609375*time.Microsecond, "fault -> init (interface-down)")
	if d, ok := r.m.Deadline(); ok {
		t.Errorf("deadline %v without an interface", d.Sub(start))
	}
}

func TestFailuresOfLongAgoDoNotCount(t *testing.T) {
	r := newRig(t, testConfig())
	r.up("init -> backup (start)")
	r.timer(3609375*time.Microsecond, "send 100; hold; backup -> master (master-lost)")
	failed := Event{Kind: EventAddresses, Addresses: AddressesFailed}
	r.expect("send 0; drop; master -> fault (addresses)", failed)
	r.timer(13609375*time.Microsecond, "fault -> backup (start)")
	r.timer(13609375*time.Microsecond+3609375*time.Microsecond, "send 100; hold; backup -> master (master-lost)")
	r.step(held)
	r.now = r.now.Add(61 * time.Second)
	again := r.now.Add(10 * time.Second)
	r.expect("send 0; master -> releasing (addresses)", failed)
	r.now, _ = r.m.Deadline()
	r.expect("send 0; drop; releasing -> fault (addresses, planned)", Event{Kind: EventTimer})
	if d, _ := r.m.Deadline(); d != again {
		t.Errorf("pause %v", d.Sub(again)+10*time.Second)
	}
}

func TestSecondMasterGivesUpDuringAnOffer(t *testing.T) {
	r := master(t, testConfig())
	r.at(4 * time.Second)
	r.expect("send 0", Event{Kind: EventPosture})
	r.expect("count priority-zero-received", adv(0, time.Second, addrA))
	r.timer(5100*time.Millisecond, "send 1; announce round") // neighbours may believe it
}

func TestStopOfOneThatWouldHaveGoneOn(t *testing.T) {
	r := &rig{t: t, m: NewMachine(testConfig()), now: start}
	r.expect("", Event{Kind: EventResume})
	r.expect("drop", stopIt)
	if d, ok := r.m.Deadline(); ok || !r.m.Stopped() {
		t.Errorf("deadline %v, stopped %t", d, r.m.Stopped())
	}
}

// A last word is not taken for an answer; but neighbours may believe who said it.
func TestLastWordDuringAnOffer(t *testing.T) {
	r := master(t, testConfig())
	r.at(4 * time.Second)
	r.expect("send 0", Event{Kind: EventPosture})
	r.at(4100 * time.Millisecond)
	r.expect("", adv(50, time.Second, addrA))
	r.timer(5100*time.Millisecond, "send 1; announce round")
}

// What a second master is owed an answer for waits until nobody took the offer.
func TestClaimBeforeAnOffer(t *testing.T) {
	r := master(t, testConfig())
	r.at(4 * time.Second)
	r.expect("count foreign-claim", Event{Kind: EventClaim})
	r.at(4500 * time.Millisecond)
	r.expect("send 0", Event{Kind: EventPosture, Ready: false})
	r.timer(5600*time.Millisecond, "send 1; announce round")
}

func TestReconfigureToAndFromOwner(t *testing.T) {
	plain, owner := testConfig(), testConfig()
	owner.Priority = OwnerPriority
	toOwner, toPlain := Event{Kind: EventReconfigure, Config: &owner}, Event{Kind: EventReconfigure, Config: &plain}
	r := newRig(t, plain)
	r.up("init -> backup (start)")
	r.expect("send 255; hold; backup -> master (owner, planned)", toOwner)
	// It has handed over: only its down timer gets shorter.
	r = newRig(t, plain)
	r.up("init -> backup (start)")
	r.expect("", Event{Kind: EventRelease})
	r.expect("", toOwner)
	r.expect("", toPlain) // and not longer
	r.timer(3*time.Second+time.Second/256, "send 100; hold; backup -> master (master-lost)")
	// Nor does one take over that has been not ready.
	r = &rig{t: t, m: NewMachine(owner), now: start}
	r.up("drop; init -> backup (start)")
	r.expect("", Event{Kind: EventRelease})
	r.expect("", Event{Kind: EventPosture, Ready: true})
}

func TestReconfigureOfThePreemptDelay(t *testing.T) {
	c, shorter := testConfig(), testConfig()
	c.PreemptDelay, shorter.PreemptDelay = time.Minute, 4*time.Second
	r := newRig(t, c)
	r.up("init -> backup (start)")
	r.at(time.Second)
	r.expect("", adv(50, time.Second, addrA))
	r.expect("", Event{Kind: EventReconfigure, Config: &shorter})
	for d := 2; d <= 5; d++ {
		r.at(time.Duration(d) * time.Second)
		r.expect("", adv(50, time.Second, addrA))
	}
	r.timer(6*time.Second, "send 100; hold; backup -> master (preempt, planned)")
}

// Somebody who took the offer announced the addresses, and was gone before an
// advertisement of its was heard.
func TestClaimDuringAnOffer(t *testing.T) {
	r := master(t, testConfig())
	r.at(4 * time.Second)
	r.expect("send 0", Event{Kind: EventPosture, Ready: false})
	r.at(4500 * time.Millisecond)
	r.expect("", Event{Kind: EventClaim})
	r.timer(5100*time.Millisecond, "send 1; announce round")
}

func TestReconfigureDuringAnOffer(t *testing.T) {
	r := master(t, testConfig())
	r.expect("send 0", Event{Kind: EventPosture})
	c := testConfig()
	r.expect("hold", Event{Kind: EventReconfigure, Config: &c}) // silent until somebody takes it
}

func TestOwnerThatHandedOverWaits(t *testing.T) {
	c := testConfig()
	c.Priority = OwnerPriority
	r := newRig(t, c)
	r.up("send 255; hold; init -> master (owner, planned)")
	r.expect("send 0; master -> releasing (failover, planned)", Event{Kind: EventRelease})
	r.expect("drop; releasing -> init (interface-down)", Event{Kind: EventInterface})
	r.up("init -> backup (start)")
	r.expect("", adv(100, time.Second, addrA))
	r.timer(3*time.Second+time.Second/256, "send 255; hold; backup -> master (master-lost)")

	// When that is over it does not wait for a preempt delay.
	c.PreemptDelay = time.Minute
	r = newRig(t, c)
	r.expect("", Event{Kind: EventRelease, For: time.Second})
	r.up("init -> backup (start)")
	r.at(2 * time.Second)
	r.expect("", adv(100, time.Second, addrA))
	r.timer(3*time.Second+time.Second/256, "send 255; hold; backup -> master (preempt, planned)")
}

func TestAddressesCannotBeRenewed(t *testing.T) {
	r := master(t, testConfig())
	r.at(4 * time.Second)
	r.expect("send 0; master -> releasing (addresses)", Event{Kind: EventAddresses, Addresses: AddressesFailed})
	r.at(4700 * time.Millisecond)
	r.step(adv(50, time.Second, addrA))
	r.timer(4900*time.Millisecond, "drop; releasing -> fault (addresses, planned)")
}

func TestAddressesGoneAreHeldAgain(t *testing.T) {
	r := master(t, testConfig())
	r.expect("hold", Event{Kind: EventAddresses, Addresses: AddressesGone})
	r.expect("count lower-priority; send 100", adv(50, time.Second, addrA)) // no announcement without them
	r.expect("announce round", held)
	r.expect("", held)
}

func TestClaimsAreAnsweredAsMasterOnly(t *testing.T) {
	claim := Event{Kind: EventClaim}
	r := newRig(t, testConfig())
	r.up("init -> backup (start)")
	r.expect("", claim)
	r = master(t, testConfig())
	const first = 3609375 * time.Microsecond
	r.at(first + 100*time.Millisecond)
	r.expect("count foreign-claim", claim)
	r.timer(first+time.Second, "send 100")
	r.timer(first+1100*time.Millisecond, "announce once")
	r.at(first + 1150*time.Millisecond)
	r.expect("count foreign-claim", claim)
	r.timer(first+2*time.Second, "send 100")
	r.timer(first+2200*time.Millisecond, "announce once") // 1.1 s after the last
	// A better advertisement within an interval: the claim was right.
	r.expect("count foreign-claim", claim)
	r.expect("send 100; master -> backup (higher-priority, planned)", adv(200, time.Second, addrC))
	r.timer(r.now.Sub(start)+200*time.Millisecond, "drop")
	r.now = r.now.Add(-200 * time.Millisecond)
	if d, _ := r.m.Deadline(); d.Sub(r.now) != 3609375*time.Microsecond {
		t.Errorf("deadline %v", d.Sub(r.now))
	}
}

// A master that yields keeps the addresses until the winner has them.
func TestYieldingMasterMakesBeforeItBreaks(t *testing.T) {
	yield := func() *rig {
		r := master(t, testConfig())
		r.at(4 * time.Second)
		r.expect("send 100; master -> backup (higher-priority, planned)", adv(101, time.Second, addrA))
		return r
	}
	r := yield()
	r.at(4003 * time.Millisecond)
	r.expect("", Event{Kind: EventClaim})
	r.at(4010 * time.Millisecond)
	r.expect("", Event{Kind: EventClaim}) // the first one counts
	r.timer(4023*time.Millisecond, "drop")
	r.timer(4*time.Second+3609375*time.Microsecond, "send 100; hold; backup -> master (master-lost)")

	r = yield()
	r.expect("drop; backup -> init (interface-down)", Event{Kind: EventInterface})
	r = yield()
	r.expect("drop; backup -> init (stop, planned)", Event{Kind: EventStop})
	r = yield()
	r.expect("drop; backup -> fault (track)", Event{Kind: EventPosture, Ready: true, Fault: true})
}

func TestClaimsAtShortIntervalsAreSpaced(t *testing.T) {
	c := testConfig()
	c.Interval = 10 * time.Millisecond
	r := master(t, c)
	answers := 0
	for end := r.now.Add(11 * time.Second); r.now < end; r.now = r.now.Add(5 * time.Millisecond) {
		r.step(Event{Kind: EventClaim})
		if strings.Contains(r.step(Event{Kind: EventTimer}), "announce once") {
			answers++
		}
	}
	if answers != 10 {
		t.Errorf("%d answers in 11 s", answers)
	}
}

func TestAnnouncesAgainWhenTheOtherHasExpired(t *testing.T) {
	r := newRig(t, testConfig())
	r.up("init -> backup (start)")
	r.at(time.Second)
	r.step(adv(200, time.Second, addrC))
	r.now, _ = r.m.Deadline()
	r.step(Event{Kind: EventTimer})
	r.step(held)
	for {
		r.now, _ = r.m.Deadline()
		if got := r.step(Event{Kind: EventTimer}); got == "announce round" {
			break
		} else if got != "send 100" {
			t.Fatal(got)
		}
	}
	if got := r.now.Sub(start); got != 10*time.Second { // 1 s + 8 s of lifetime + 1 s
		t.Errorf("announces again at %v", got)
	}
}

func TestReconfigure(t *testing.T) {
	r := master(t, testConfig())
	c := testConfig()
	c.Priority, c.Interval, c.Addresses = 120, 500*time.Millisecond, []netip.Addr{vip1, vip2}
	r.expect("send 120; hold", Event{Kind: EventReconfigure, Config: &c})
	r.expect("announce round", held)
	if d, _ := r.m.Deadline(); d.Sub(r.now) != 500*time.Millisecond {
		t.Errorf("next in %v", d.Sub(r.now))
	}
	r = newRig(t, testConfig())
	r.up("init -> backup (start)")
	r.at(time.Second)
	r.step(adv(200, time.Second, addrC))
	before, _ := r.m.Deadline()
	same := testConfig()
	r.expect("", Event{Kind: EventReconfigure, Config: &same})
	if d, _ := r.m.Deadline(); d != before {
		t.Errorf("a reload moved the timer from %v to %v", before, d)
	}
}

// The master's interval counts, whatever the own one becomes: the master has
// not been told of the new configuration yet.
func TestReconfigureOfABackupKeepsTheMastersInterval(t *testing.T) {
	short := testConfig()
	short.Interval = 100 * time.Millisecond
	r := newRig(t, testConfig())
	r.up("init -> backup (start)")
	r.at(time.Second)
	r.step(adv(200, time.Second, addrC))
	r.at(1100 * time.Millisecond)
	r.expect("", Event{Kind: EventReconfigure, Config: &short})
	if d, _ := r.m.Deadline(); d != at(4609375*time.Microsecond) {
		t.Errorf("deadline %v", d.Sub(start))
	}
	// Nobody was heard: the own one counts.
	r = newRig(t, testConfig())
	r.up("init -> backup (start)")
	r.expect("", Event{Kind: EventReconfigure, Config: &short})
	if d, _ := r.m.Deadline(); d != at(360937500*time.Nanosecond) {
		t.Errorf("deadline %v", d.Sub(start))
	}
	// While it releases it hears the next master.
	r = master(t, short)
	r.step(Event{Kind: EventRelease})
	r.step(adv(50, time.Second, addrC))
	heard := r.now
	r.expect("", Event{Kind: EventReconfigure, Config: &short})
	r.now = r.now.Add(200 * time.Millisecond)
	r.expect("drop; releasing -> backup (released, planned)", Event{Kind: EventTimer})
	if d, _ := r.m.Deadline(); d != heard.Add(3609375*time.Microsecond) {
		t.Errorf("deadline %v after the next master was heard", d.Sub(heard))
	}
	// In version 2 all have one interval.
	v2, other := testConfig(), testConfig()
	v2.Version, other.Version, v2.Interval = V2, V2, 3*time.Second
	r = newRig(t, v2)
	r.up("init -> backup (start)")
	r.step(adv(200, 3*time.Second, addrC))
	r.expect("", Event{Kind: EventReconfigure, Config: &other})
	if d, _ := r.m.Deadline(); d != at(3609375*time.Microsecond) {
		t.Errorf("deadline %v", d.Sub(start))
	}
}

func TestStalled(t *testing.T) {
	// A master sends once what waited was read, and only a better one ends it.
	r := master(t, testConfig())
	r.at(20 * time.Second)
	r.expect("", Event{Kind: EventStalled})
	r.expect("count lower-priority; send 100; announce round", adv(50, time.Second, addrA))
	r = master(t, testConfig())
	r.at(20 * time.Second)
	r.expect("", Event{Kind: EventStalled})
	// What it has missed is counted, and it hurries as after any lateness.
	if got := r.step(Event{Kind: EventTimer}); !strings.HasPrefix(got, "send 100; count missed-tick") || strings.Count(got, "send") != 1 {
		t.Errorf("got %q", got)
	}
	r.timer(20500*time.Millisecond, "send 100")
	// A backup gives the master one more interval.
	r = newRig(t, testConfig())
	r.up("init -> backup (start)")
	r.at(20 * time.Second)
	r.expect("", Event{Kind: EventStalled})
	r.expect("", Event{Kind: EventTimer})
	r.timer(21*time.Second, "send 100; hold; backup -> master (master-lost)")
}

func TestResume(t *testing.T) {
	resume := Event{Kind: EventResume}
	r := &rig{t: t, m: NewMachine(testConfig()), now: start}
	r.expect("", resume)
	r.up("send 100; hold; init -> master (resume, planned)")
	r.expect("announce round", held)

	// Too late: somebody may have missed us.
	r = &rig{t: t, m: NewMachine(testConfig()), now: start}
	r.expect("", resume)
	r.at(1001 * time.Millisecond)
	r.up("drop; init -> backup (start)")

	// A start delay is for those who start.
	c := testConfig()
	c.StartDelay = time.Minute
	r = &rig{t: t, m: NewMachine(c), now: start}
	r.expect("", resume)
	r.up("send 100; hold; init -> master (resume, planned)")

	// It was for once.
	r.expect("drop; master -> init (interface-down)", Event{Kind: EventInterface})
	r.up("init -> backup (start)")

	// The interface does not come: the addresses go in time.
	r = &rig{t: t, m: NewMachine(testConfig()), now: start}
	r.expect("", resume)
	d, _ := r.m.Deadline()
	r.now = d
	r.expect("drop", Event{Kind: EventTimer})
}

func TestOrderOfATakeover(t *testing.T) {
	r := newRig(t, testConfig())
	r.up("init -> backup (start)")
	r.now, _ = r.m.Deadline()
	var kinds []ActionKind
	for _, a := range r.m.Step(r.now, Event{Kind: EventTimer}) {
		kinds = append(kinds, a.Kind)
	}
	if !slices.Equal(kinds, []ActionKind{ActionSend, ActionHold, ActionTransition}) {
		t.Errorf("got %v", kinds)
	}
}

func TestStepDoesNotAllocate(t *testing.T) {
	r := master(t, testConfig())
	lower := adv(50, time.Second, addrA)
	higher := adv(200, time.Second, addrC)
	zero := adv(0, time.Second, addrC)
	if n := testing.AllocsPerRun(200, func() {
		r.now = r.now.Add(time.Second)
		r.m.Step(r.now, Event{Kind: EventTimer})
		r.m.Step(r.now, lower)
		r.m.Step(r.now, higher) // backup
		r.m.Step(r.now, higher)
		r.m.Step(r.now, zero)
		r.now, _ = r.m.Deadline()
		r.m.Step(r.now, Event{Kind: EventTimer}) // master
		r.m.Step(r.now, held)
		r.m.Step(r.now, Event{Kind: EventClaim})
		r.m.Deadline()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestAnyEvents: whatever happens in whatever order, nothing panics, deadlines
// move on, and what the actions say fits the state.
func TestAnyEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := testConfig()
		c.Priority = rapid.SampledFrom([]uint8{1, 100, 254, 255}).Draw(t, "priority")
		c.Preempt = rapid.Bool().Draw(t, "preempt")
		c.PreemptDelay = rapid.SampledFrom([]time.Duration{0, time.Second}).Draw(t, "delay")
		m := NewMachine(c)
		now := start
		state := Init
		for range rapid.IntRange(1, 60).Draw(t, "n") {
			now = now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
			e := Event{Kind: EventKind(rapid.IntRange(0, int(EventResume)).Draw(t, "kind"))}
			if rapid.IntRange(0, 2).Draw(t, "timer") == 0 {
				if d, ok := m.Deadline(); ok {
					now, e.Kind = max(now, d), EventTimer
				}
			}
			e.Up = rapid.IntRange(0, 9).Draw(t, "up") > 0
			if e.Up {
				e.Source = addrB
			}
			e.Ready = rapid.IntRange(0, 9).Draw(t, "ready") > 0
			e.Fault = rapid.IntRange(0, 9).Draw(t, "fault") == 0
			e.Delta = rapid.IntRange(-300, 300).Draw(t, "delta")
			e.Addresses = AddressOutcome(rapid.IntRange(0, 2).Draw(t, "outcome"))
			e.For = time.Duration(rapid.IntRange(0, 3).Draw(t, "for")) * time.Second
			e.Config = &c
			if e.Kind == EventAdvertisement {
				e = adv(rapid.SampledFrom([]uint8{0, 1, 99, 100, 101, 255}).Draw(t, "p"), time.Second,
					rapid.SampledFrom([]netip.Addr{addrA, addrB, addrC}).Draw(t, "from"))
			}
			for _, a := range m.Step(now, e) {
				if a.Kind == ActionTransition {
					if a.From != state || a.To == state {
						t.Fatalf("%v in %v", a, state)
					}
					state = a.To
				}
				if strings.Contains(a.String(), "unknown") {
					t.Fatal(a)
				}
			}
			if m.State() != state {
				t.Fatalf("state %v, told %v", m.State(), state)
			}
			if d, ok := m.Deadline(); ok && e.Kind == EventTimer && d <= now {
				t.Fatalf("spins in %v: %v at %v", state, d, now)
			}
			if _, ok := m.Deadline(); !ok && (state == Master || state == Backup || state == Releasing) {
				t.Fatalf("no deadline in %v", state)
			}
		}
	})
}
