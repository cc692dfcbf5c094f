package vrrp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// twins are two nodes with two segments, a and b, and one group on each node.
type twins struct {
	t     *testing.T
	now   Time
	nodes [2][2]*Machine // by node and segment
	left  [2][2]bool
	cut   [2]bool // segments
	// crossed: node 1 has the higher address on segment b.
	crossed bool
	adv     []sentAdv
	log     []string
}

type sentAdv struct {
	node, seg int
	priority  uint8
	interval  time.Duration
}

func newTwins(t *testing.T) *twins {
	w := &twins{t: t, now: start}
	for n := range 2 {
		for s := range 2 {
			c := testConfig()
			c.Priority = []uint8{150, 100}[n]
			c.VRID = uint8(s + 1)
			c.Grouped = true
			w.nodes[n][s] = NewMachine(c)
		}
	}
	for n := range 2 {
		for s := range 2 {
			w.step(n, s, Event{Kind: EventPosture, Ready: true})
			w.step(n, s, Event{Kind: EventInterface, Up: true, Source: w.source(n, s)})
		}
	}
	return w
}

func (w *twins) source(n, s int) netip.Addr {
	if w.crossed && s == 1 {
		n = 1 - n
	}
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(11 + n)})
}

// step feeds one machine; addresses are held at once, and the groups decide.
func (w *twins) step(n, s int, e Event) {
	m := w.nodes[n][s]
	hold := false
	for _, a := range m.Step(w.now, e) {
		switch a.Kind {
		case ActionSend:
			w.adv = append(w.adv, sentAdv{n, s, a.Priority, a.Interval})
		case ActionHold:
			hold = true
		case ActionTransition:
			w.left[n][s] = w.left[n][s] || a.From == Master && a.To != Master
			w.log = append(w.log, fmt.Sprintf("%v %d%c %v", w.now.Sub(start), n+1, 'a'+s, a))
		case ActionDrop, ActionAnnounce, ActionCount:
		}
	}
	if hold {
		w.step(n, s, Event{Kind: EventAddresses, Addresses: AddressesHeld})
	}
}

// settle has the groups decide and delivers what was sent, until nothing moves.
func (w *twins) settle() {
	for range 20 {
		for n := range 2 {
			members := make([]Member, 2)
			for s, m := range w.nodes[n] {
				members[s] = Member{State: m.State(), Wants: m.Wants(), Unfit: m.Unfit(), Left: w.left[n][s]}
				w.left[n][s] = false
			}
			DecideGroup(members)
			for s := range members {
				w.step(n, s, Event{Kind: EventGroup, Fault: members[s].Fault, Group: members[s].Order})
			}
		}
		adv := w.adv
		w.adv = nil
		for _, a := range adv {
			if w.cut[a.seg] || !w.nodes[a.node][a.seg].up || !w.nodes[1-a.node][a.seg].up {
				continue
			}
			w.step(1-a.node, a.seg, Event{Kind: EventAdvertisement, Source: w.source(a.node, a.seg),
				Advertisement: &Advertisement{Version: V3, VRID: uint8(a.seg + 1), Priority: a.priority, Interval: a.interval}})
		}
	}
}

func (w *twins) run(d time.Duration) {
	w.settle()
	for end := w.now.Add(d); ; {
		next := end
		for n := range 2 {
			for s := range 2 {
				if at, ok := w.nodes[n][s].Deadline(); ok && at < next {
					next = at
				}
			}
		}
		if next < w.now {
			next = w.now
		}
		if next >= end {
			w.now = end
			return
		}
		before := w.now
		w.now = next
		for n := range 2 {
			for s := range 2 {
				if at, ok := w.nodes[n][s].Deadline(); ok && at <= w.now {
					w.step(n, s, Event{Kind: EventTimer})
				}
			}
		}
		w.settle()
		if w.now == before {
			w.now++ // no machine may ask for the same moment for ever
		}
		if len(w.log) > 1000 {
			w.t.Fatalf("no end of it: %q", w.log[990:])
		}
	}
}

func (w *twins) expect(what string, want ...State) {
	w.t.Helper()
	got := []State{w.nodes[0][0].State(), w.nodes[0][1].State(), w.nodes[1][0].State(), w.nodes[1][1].State()}
	for i := range want {
		if got[i] != want[i] {
			w.t.Fatalf("%s: 1a 1b 2a 2b are %v, want %v\n%q", what, got, want, w.log)
		}
	}
}

func TestGroupMovesAsOne(t *testing.T) {
	w := newTwins(t)
	w.run(5 * time.Second)
	w.expect("at the start", Master, Master, Backup, Backup)

	w.step(0, 0, Event{Kind: EventInterface})
	w.run(5 * time.Second)
	w.expect("1a lost its link", Init, Fault, Master, Master)

	w.step(0, 0, Event{Kind: EventInterface, Up: true, Source: w.source(0, 0)})
	w.run(10 * time.Second)
	w.expect("1a is back", Master, Master, Backup, Backup)

	w.step(0, 1, Event{Kind: EventPosture, Ready: true, Fault: true})
	w.run(5 * time.Second)
	w.expect("1b is at fault", Fault, Fault, Master, Master)
	w.step(0, 1, Event{Kind: EventPosture, Ready: true})
	w.run(10 * time.Second)
	w.expect("1b is well", Master, Master, Backup, Backup)

	w.step(0, 0, Event{Kind: EventRelease})
	w.run(5 * time.Second)
	w.expect("failover of 1a", Backup, Backup, Master, Master)
}

// A segment that carries nothing is no reason to tear the group apart.
func TestGroupStaysWholeWhenOneSegmentIsSilent(t *testing.T) {
	w := newTwins(t)
	w.run(5 * time.Second)
	w.cut[0] = true
	w.run(20 * time.Second)
	w.expect("segment a is cut", Master, Master, Backup, Backup)
	if !w.nodes[1][0].Wants() {
		t.Error("2a does not want to be master")
	}
	w.cut[1] = true
	w.run(10 * time.Second)
	w.expect("both are cut", Master, Master, Master, Master)
	w.cut[1] = false
	w.run(10 * time.Second)
	// 2b yields to 1b, and with it 2a, which heard nobody.
	w.expect("b is healed", Master, Master, Backup, Backup)
}

func TestOwnerInAGroupWaitsForTheOthers(t *testing.T) {
	w := newTwins(t)
	w.run(5 * time.Second)
	c := testConfig()
	c.Priority, c.Grouped = 255, true
	w.step(1, 0, Event{Kind: EventReconfigure, Config: &c})
	w.run(5 * time.Second)
	w.expect("2a is owner", Master, Master, Backup, Backup)
	c.VRID = 2
	w.step(1, 1, Event{Kind: EventReconfigure, Config: &c})
	w.run(10 * time.Second)
	w.expect("2 owns both", Backup, Backup, Master, Master)
}

// An owner whose group waits for the others does not take over at once when it
// is owner no more.
func TestOwnerOfAGroupThatIsNoneAnyMore(t *testing.T) {
	w := newTwins(t)
	w.run(5 * time.Second)
	for s := range 2 {
		c := testConfig()
		c.Priority, c.Grouped, c.VRID = 255, true, uint8(s+1)
		w.step(1, s, Event{Kind: EventPosture})
		w.step(1, s, Event{Kind: EventReconfigure, Config: &c})
	}
	for s := range 2 {
		w.step(1, s, Event{Kind: EventPosture, Ready: true})
		w.step(1, s, Event{Kind: EventPosture})
	}
	w.run(10 * time.Second)
	w.expect("2 owned both for a moment", Master, Master, Backup, Backup)
	if len(w.log) != 6 { // four to Backup, two to Master
		t.Errorf("something moved: %q", w.log)
	}
}

// Each node has the higher address on one segment: as IPv4 and IPv6 addresses
// often are. The first member decides; both yielding would leave nobody.
func TestTieInAGroup(t *testing.T) {
	w := newTwins(t)
	w.crossed = true
	for n := range 2 {
		members := []*Config{{}, {}}
		for s := range 2 {
			*members[s] = testConfig()
			members[s].VRID = uint8(s + 1)
		}
		JoinGroup(members)
		for s, c := range members {
			w.step(n, s, Event{Kind: EventReconfigure, Config: c})
			w.step(n, s, Event{Kind: EventInterface, Up: true, Source: w.source(n, s)})
		}
	}
	w.cut = [2]bool{true, true}
	w.run(10 * time.Second)
	w.expect("split", Master, Master, Master, Master)
	w.cut = [2]bool{}
	w.run(2 * time.Second)
	w.expect("healed: 2a has the higher address", Backup, Backup, Master, Master)

	w.cut = [2]bool{true, true}
	w.run(10 * time.Second)
	w.expect("split again", Master, Master, Master, Master)
	w.cut = [2]bool{true, false}
	w.run(time.Second)
	w.expect("b is healed, but a decides", Master, Master, Master, Master)
	w.run(2 * time.Second)
	w.expect("a says nothing: 1b has the higher address", Master, Master, Backup, Backup)
}

// A tie that comes to nothing, as with a last word, was a second master all the same.
func TestAnnouncesAgainAfterATieInAGroup(t *testing.T) {
	first, c := testConfig(), testConfig()
	c.VRID++
	JoinGroup([]*Config{&first, &c})
	r := leader(t, c)
	r.expect("", adv(100, time.Second, addrC))
	r.now = r.now.Add(time.Second)
	r.step(Event{Kind: EventTimer})
	r.now = r.now.Add(100 * time.Millisecond)
	r.expect("announce round", Event{Kind: EventTimer})
}

func TestJoinGroup(t *testing.T) {
	v6 := Config{VRID: 5, Version: V3, Family: IPv6, Interval: time.Second}
	v4 := Config{VRID: 5, Version: V3, Family: IPv4, Interval: 100 * time.Millisecond}
	v2 := Config{VRID: 6, Version: V2, Family: IPv4, Interval: 2 * time.Second}
	JoinGroup([]*Config{&v6, &v4})
	if !v6.Grouped || !v4.Grouped || !v6.GroupTie || v4.GroupTie {
		t.Errorf("%+v %+v", v6, v4)
	}
	if v4.GroupInterval != time.Second || v4.GroupSkew != time.Second {
		t.Errorf("%+v", v4)
	}
	JoinGroup([]*Config{&v2, &v4})
	if v4.GroupInterval != 2*time.Second || v4.GroupSkew != time.Second || !v2.GroupTie {
		t.Errorf("%+v %+v", v2, v4)
	}
	JoinGroup([]*Config{&v4})
	if v4.Grouped || v4.GroupTie || v4.GroupInterval != 0 || v4.GroupSkew != 0 {
		t.Errorf("alone: %+v", v4)
	}
	JoinGroup(nil)
}

// What is handed over waits for the slowest of the group, with which the next
// master takes over.
func TestGroupHandsOverWithTheSlowest(t *testing.T) {
	c, slow := testConfig(), testConfig()
	c.Interval, slow.VRID = 10*time.Millisecond, c.VRID+1
	JoinGroup([]*Config{&c, &slow})
	r := newRig(t, c)
	r.up("init -> backup (start)")
	r.now, _ = r.m.Deadline()
	r.step(Event{Kind: EventTimer})
	r.expect("send 100; hold; backup -> master (master-lost)", Event{Kind: EventGroup, Group: GroupLead})
	r.step(held)
	r.expect("send 0; master -> releasing (group, planned)", Event{Kind: EventGroup, Group: GroupYield})
	if d, _ := r.m.Deadline(); d.Sub(r.now) != 1300*time.Millisecond {
		t.Errorf("holds the addresses for %v", d.Sub(r.now))
	}
}

// leader is the master of a group that holds its addresses.
func leader(t *testing.T, c Config) *rig {
	t.Helper()
	r := newRig(t, c)
	r.up("init -> backup (start)")
	r.now, _ = r.m.Deadline()
	r.step(Event{Kind: EventTimer})
	r.step(Event{Kind: EventGroup, Group: GroupLead})
	r.step(held)
	return r
}

// A reload that makes the slowest of a group faster: the next master may not
// know it yet, also where the own interval did not get shorter.
func TestGroupHandsOverWithTheFormerSlowest(t *testing.T) {
	c, slow := testConfig(), testConfig()
	c.Interval, slow.VRID = 50*time.Millisecond, c.VRID+1
	JoinGroup([]*Config{&c, &slow})
	releases := func(after, want time.Duration, reloads ...time.Duration) {
		t.Helper()
		r := leader(t, c)
		for _, interval := range reloads {
			c, slow := c, slow
			c.Interval, slow.Interval = 100*time.Millisecond, interval
			JoinGroup([]*Config{&c, &slow})
			r.step(Event{Kind: EventReconfigure, Config: &c})
			r.now = r.now.Add(after)
		}
		r.step(Event{Kind: EventGroup, Group: GroupYield})
		if d, _ := r.m.Deadline(); d.Sub(r.now) != want {
			t.Errorf("%v: %v after the last one it holds the addresses for %v, want %v", reloads, after, d.Sub(r.now), want)
		}
	}
	releases(100*time.Millisecond, 1300*time.Millisecond, 100*time.Millisecond)
	releases(5*time.Second, 400*time.Millisecond, 100*time.Millisecond)
	// The one before is not forgotten, and the last one not with it.
	releases(2500*time.Millisecond, 1300*time.Millisecond, 900*time.Millisecond, 100*time.Millisecond)
}

// One that loses its link says nothing: its segment waits for the master-down
// interval, and with it the group that takes over. The sibling's addresses stay
// until then.
func TestSiblingOfALostLinkHoldsOn(t *testing.T) {
	for _, tt := range []struct {
		interval, want time.Duration
	}{{time.Second, 4300 * time.Millisecond}, {100 * time.Millisecond, 700 * time.Millisecond}, {2 * time.Second, 5 * time.Second}} {
		first, c := testConfig(), testConfig()
		c.VRID++
		first.Interval = tt.interval
		c.Interval = min(tt.interval, time.Second)
		JoinGroup([]*Config{&first, &c})
		r := leader(t, c)
		r.expect("send 0; master -> releasing (group, planned)", Event{Kind: EventGroup, Fault: true})
		if d, _ := r.m.Deadline(); d.Sub(r.now) != tt.want {
			t.Errorf("%v: holds the addresses for %v, want %v", tt.interval, d.Sub(r.now), tt.want)
		}
		r.step(adv(50, c.Interval, addrA))
		r.now = r.now.Add(200 * time.Millisecond)
		r.expect("drop; releasing -> fault (group, planned)", Event{Kind: EventTimer})
	}
}

// Who would preempt does not take a new interval from us (RFC 9568 section
// 6.4.2), and misses the sibling by that of before.
func TestSiblingOfALostLinkHoldsOnAfterAReload(t *testing.T) {
	for _, tt := range []struct{ after, want time.Duration }{{time.Second, 4300 * time.Millisecond}, {5 * time.Second, 700 * time.Millisecond}} {
		c, sibling := testConfig(), testConfig()
		sibling.VRID++
		faster, siblingToo := c, sibling
		JoinGroup([]*Config{&c, &sibling})
		faster.Interval, siblingToo.Interval = 100*time.Millisecond, 100*time.Millisecond
		JoinGroup([]*Config{&faster, &siblingToo})
		r := leader(t, c)
		r.step(Event{Kind: EventReconfigure, Config: &faster})
		r.now = r.now.Add(tt.after)
		r.expect("send 0; master -> releasing (group, planned)", Event{Kind: EventGroup, Fault: true})
		if d, _ := r.m.Deadline(); d.Sub(r.now) != tt.want {
			t.Errorf("%v after the reload: holds the addresses for %v, want %v", tt.after, d.Sub(r.now), tt.want)
		}
	}
}

func TestDecideGroup(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []Member
		want []Member // Fault and Order
	}{
		{"one is unfit", []Member{{State: Init, Unfit: true}, {State: Master}}, []Member{{}, {Fault: true}}},
		{"two are unfit", []Member{{State: Init, Unfit: true}, {State: Fault, Unfit: true}, {State: Backup, Wants: true}}, []Member{{Fault: true}, {Fault: true}, {Fault: true}}},
		{"all want", []Member{{State: Backup, Wants: true}, {State: Backup, Wants: true}}, []Member{{Order: GroupLead}, {Order: GroupLead}}},
		{"one does not", []Member{{State: Backup, Wants: true}, {State: Backup}}, []Member{{}, {}}},
		{"a new one joins", []Member{{State: Master}, {State: Backup, Wants: true}, {State: Backup}}, []Member{{}, {Order: GroupLead}, {}}},
		{"one left", []Member{{State: Backup, Left: true}, {State: Master}, {State: Backup, Wants: true}}, []Member{{}, {Order: GroupYield}, {}}},
		{"nothing to do", []Member{{State: Master}, {State: Master}}, []Member{{}, {}}},
	} {
		DecideGroup(c.in)
		for i := range c.in {
			if c.in[i].Fault != c.want[i].Fault || c.in[i].Order != c.want[i].Order {
				t.Errorf("%s: member %d got %+v, want %+v", c.name, i, c.in[i], c.want[i])
			}
		}
	}
}
