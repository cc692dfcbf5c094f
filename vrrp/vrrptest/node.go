package vrrptest

import (
	"net/netip"
	"time"

	"lvs-ha/vrrp"
)

// Limits of the simulated shell around a machine.
const (
	lateness      = 100 * time.Microsecond // the timer fires at most this late
	workerFastest = 200 * time.Microsecond // addresses take this long to move ...
	workerSlowest = 8 * time.Millisecond   // ... at most
	inboxSize     = 512
)

// NodeConfig of one node. Its process starts with OpStart.
type NodeConfig struct {
	Name   string
	Source netip.Addr
	Config vrrp.Config
	// Host is the machine, Lane the network. Nodes of a host stand side by side,
	// their lanes count up from 0.
	Host, Lane int
	// ReadyAfter is how long its director takes to be ready after a start.
	ReadyAfter time.Duration
}

// Node is a machine with the shell that a speaker would be, and its kernel.
type Node struct {
	NodeConfig
	id    int
	seg   *Segment
	host  *host
	peers []*Node // the others on its lane

	m     *vrrp.Machine // nil: the process is dead
	life  uint32        // counts processes
	gen   uint32        // counts processes, and stretches without a stall
	adv   vrrp.Advertisement
	fire  vrrp.Time // when the timer will wake the process; 0 never
	plan  vrrp.Time // the deadline that fire was made for
	turns int       // timers in a row that were due again at once

	stalledUntil vrrp.Time
	stalledSince vrrp.Time
	inbox        []moment

	linkUp       bool
	ready, fault bool
	delta        int // of its own
	worn         int // as the machine knows it: its group's

	leaving    bool // was told to stop
	left       bool // not master any more since the group decided last
	unheard    bool // gave mastership up and nobody was there: owes a last word
	groupFault bool // as decided last

	// Address worker and kernel.
	want      bool
	order     uint32 // of the worker's latest order
	orderedAt vrrp.Time
	held      bool
	told      bool          // the machine was told so, of its latest term as master
	first     time.Duration // interval before any reload
	broken    bool

	lastSent     vrrp.Time
	lastPriority uint8
	announcedAt  vrrp.Time
	masterSince  vrrp.Time
	signs        [MaxNodes]vrrp.Time // last sign of each other node that it had as master

	oracle oracle
}

func (n *Node) alive() bool     { return n.m != nil }
func (n *Node) stalled() bool   { return n.stalledUntil != 0 }
func (n *Node) listening() bool { return n.m != nil && n.linkUp && !n.stalled() }

func (n *Node) state() vrrp.State {
	if n.m == nil {
		return vrrp.Init
	}
	return n.m.State()
}

// master that advertises as one.
func (n *Node) master() bool { return n.m != nil && n.m.State() == vrrp.Master && !n.offering() }

// offering: a master that waits for somebody to take what it offers.
func (n *Node) offering() bool { return n.m != nil && n.m.Offering() }

// begin a process.
func (n *Node) begin() {
	n.gen++
	n.life++
	n.m = vrrp.NewMachine(n.Config)
	n.ready, n.fault, n.delta, n.worn = false, false, 0, 0
	n.leaving, n.left, n.unheard, n.groupFault = false, false, false, false
	n.stalledUntil, n.inbox = 0, n.inbox[:0]
	n.fire, n.plan, n.turns = 0, 0, 0
	n.oracle = oracle{}
	n.broken, n.told = false, false
}

// mayResume is what docs/architecture.md says about a restarted speaker.
func (n *Node) mayResume() bool {
	return n.held && n.lastPriority > 0 && n.lastSent != 0 && n.seg.now.Sub(n.lastSent) < n.Config.Interval
}

// grouped: it takes part in the decisions of its sync group.
func (n *Node) grouped() bool { return n.m != nil && n.Config.Grouped && !n.leaving }

func (n *Node) iface() {
	e := vrrp.Event{Kind: vrrp.EventInterface, Up: n.linkUp}
	if n.linkUp {
		e.Source = n.Source
	} else {
		n.oracle.followed = 0 // the addresses go at once
	}
	n.step(e)
}

func (n *Node) posture() {
	n.step(vrrp.Event{Kind: vrrp.EventPosture, Ready: n.ready, Delta: n.worn, Fault: n.fault})
}

// change priority and interval of the configuration, as far as o has them.
func (n *Node) change(o *Op) {
	if o.N != 0 {
		n.Config.Priority = uint8(o.N)
	}
	if o.For != 0 {
		n.Config.Interval, n.seg.reloaded = o.For, true
	}
}

// reload the configuration.
func (n *Node) reload() {
	if n.m != nil {
		c := n.Config
		n.oracle.reload(n)
		n.step(vrrp.Event{Kind: vrrp.EventReconfigure, Config: &c})
	}
}

// crash: the process is gone. What it held stays for what is left of its lifetime.
func (n *Node) crash() {
	if n.m == nil {
		return
	}
	n.expireLater()
	n.m = nil
	n.gen++
	n.order++
	n.want = false
	n.fire = 0
	n.inbox = n.inbox[:0]
	n.stalledUntil = 0
}

// expireLater: nobody renews from now on; the last renewal was up to a third
// of the lifetime ago.
func (n *Node) expireLater() {
	if !n.held {
		return
	}
	s := n.seg
	l := n.Config.Lifetime()
	s.queue.add(s.now.Add(l-s.rand.Between(0, l/3)), atExpiry, n.id).gen = n.gen
}

// stall freezes the process.
func (n *Node) stall(d time.Duration) {
	if n.m == nil || n.stalled() {
		return
	}
	n.stalledSince = n.seg.now
	n.stalledUntil = n.seg.now.Add(d)
	n.seg.lastFault = max(n.seg.lastFault, n.stalledUntil)
	n.expireLater()
	n.fire = n.stalledUntil
}

// wake after a stall.
func (n *Node) wake() {
	if !n.stalled() {
		return
	}
	s := n.seg
	late := s.now.Sub(n.stalledSince)
	n.stalledUntil, n.fire = 0, 0
	s.disturbed = max(s.disturbed, s.now)
	n.gen++ // the kernel's removal is off: the worker renews again
	n.oracle.wake(n)
	if late > n.m.MasterDown() {
		n.step(vrrp.Event{Kind: vrrp.EventStalled})
	}
	if n.want && !n.held && n.m != nil {
		n.step(vrrp.Event{Kind: vrrp.EventAddresses, Addresses: vrrp.AddressesGone})
	}
}

// drain takes what waited in the sockets meanwhile.
func (n *Node) drain() {
	waiting := n.inbox
	n.inbox = n.inbox[:0]
	for i := range waiting {
		if n.m != nil {
			n.receive(&waiting[i])
		}
	}
	n.inbox = n.inbox[:0]
}

// tick is the timer.
func (n *Node) tick() {
	n.fire = 0
	d, ok := n.m.Deadline()
	if !ok || d > n.seg.now {
		n.arm()
		return
	}
	n.step(vrrp.Event{Kind: vrrp.EventTimer})
	if n.m == nil {
		return
	}
	// One more turn at once is all right: a timer may have led to a state that
	// has one due.
	if d, ok := n.m.Deadline(); !ok || d > n.seg.now {
		n.turns = 0
	} else if n.turns++; n.turns > 1 {
		n.seg.violate(n, "spins: the deadline %v is not after the timer", d)
	}
}

func (n *Node) arm() {
	d, ok := n.m.Deadline()
	if !ok {
		n.fire, n.plan = 0, 0
		return
	}
	if d != n.plan || n.fire == 0 {
		n.plan = d
		n.fire = max(d, n.seg.now).Add(n.seg.rand.Between(0, lateness))
	}
}

// arrive takes a packet from the wire.
func (n *Node) arrive(p *moment) {
	if p.size == 0 {
		n.seg.heardBeside(n, int(p.from))
	}
	switch {
	case n.m == nil || !n.linkUp:
	case n.stalled():
		if len(n.inbox) < inboxSize {
			n.inbox = append(n.inbox, *p)
		}
	default:
		n.receive(p)
	}
}

// receive is what a speaker does with a packet: what is rejected touches nothing.
func (n *Node) receive(p *moment) {
	if p.size == 0 { // somebody announced the addresses
		n.sign(int(p.from))
		n.step(vrrp.Event{Kind: vrrp.EventClaim})
		return
	}
	s := n.seg
	h := vrrp.Header{Family: n.Config.Family, Src: s.nodes[p.from].Source, Dst: n.Source, TTL: 255}
	if p.group {
		h.Dst = n.Config.Family.Group()
	}
	if p.flaw == flawTTL {
		h.TTL = 254
	}
	before, deadline := n.m.State(), n.plan
	n.adv.Parse(p.data[:p.size], h)
	reason, _ := n.Config.Validate(&n.adv, h, n.Source)
	if reason == vrrp.ReasonNone {
		if p.flaw != flawNone {
			s.violate(n, "accepted a packet with flaw %d", p.flaw)
		}
		n.oracle.hears(n, &n.adv, int(p.from))
		n.sign(int(p.from))
		n.step(vrrp.Event{Kind: vrrp.EventAdvertisement, Advertisement: &n.adv, Source: h.Src})
		return
	}
	if p.flaw == flawNone && !n.reloaded() {
		s.violate(n, "rejected a good packet: %v", reason)
	}
	if d, _ := n.m.Deadline(); n.m.State() != before || d != deadline {
		s.violate(n, "a rejected packet changed something")
	}
}

// reloaded: with v2 a node whose interval was changed is not heard any more.
func (n *Node) reloaded() bool { return n.Config.Version == vrrp.V2 && n.seg.reloaded }

// step gives one event to the machine and does what it wants.
func (n *Node) step(e vrrp.Event) {
	s := n.seg
	s.steps++
	before := n.m.State()
	priority, offering := n.m.Priority(), n.m.Offering()
	actions := n.m.Step(s.now, e)
	if s.log != nil {
		s.logStep(n, e, actions)
	}
	c := check{n, before, priority, offering, e}
	c.actions(actions)
	for i := range actions {
		a := &actions[i]
		switch a.Kind {
		case vrrp.ActionSend:
			n.lastSent, n.lastPriority = s.now, a.Priority
			s.transmit(n, a)
		case vrrp.ActionHold:
			n.want, n.orderedAt = true, s.now
			n.work()
		case vrrp.ActionDrop:
			c.letsGo()
			n.work()
		case vrrp.ActionAnnounce:
			if a.Full {
				n.announcedAt = s.now
			}
			s.announce(n)
		case vrrp.ActionTransition:
			n.left = n.left || a.From == vrrp.Master
			n.oracle.moved(n, a, e)
			if a.To == vrrp.Master {
				n.told, n.masterSince = false, s.now
			}
		case vrrp.ActionCount:
		}
	}
	n.oracle.priority(n, priority)
	c.holding()
	if n.Config.Grouped {
		s.undecided |= 1 << n.host.id
	}
	if n.m.Stopped() {
		n.leave()
		return
	}
	n.arm()
}

// leave ends a process that was stopped in order; its last act is to take the
// addresses off.
func (n *Node) leave() {
	n.held = false
	n.m = nil
	n.gen++
	n.order++
	n.want = false
	n.fire = 0
}

// work gives the worker its latest order.
func (n *Node) work() {
	s := n.seg
	n.order++
	s.queue.add(s.now.Add(s.rand.Between(workerFastest, workerSlowest)), atWorker, n.id).gen = n.order
}

func (n *Node) worked(order uint32) {
	s := n.seg
	if n.m == nil || order != n.order {
		return
	}
	if n.stalled() {
		s.queue.add(n.stalledUntil.Add(time.Millisecond), atWorker, n.id).gen = order
		return
	}
	if !n.want {
		n.drop()
		return
	}
	if n.broken {
		n.step(vrrp.Event{Kind: vrrp.EventAddresses, Addresses: vrrp.AddressesFailed})
		return
	}
	n.held, n.told = true, true
	n.step(vrrp.Event{Kind: vrrp.EventAddresses, Addresses: vrrp.AddressesHeld})
}

func (n *Node) drop() {
	if n.held {
		n.oracle.dropped(n)
	}
	n.held = false
}
