package vrrptest

import (
	"fmt"
	"io"
	"math/bits"
	"strings"
	"time"

	"lvs-ha/vrrp"
)

// MaxNodes on a segment, all lanes together.
const MaxNodes = 9

// A clean segment delays packets this much.
const (
	delayLeast = 50 * time.Microsecond
	delayMost  = 300 * time.Microsecond
)

// epoch is the time at the beginning: clocks start above zero.
const epoch = vrrp.Time(time.Second)

// Segment is a network with its nodes; one with several lanes is as many
// networks, whose nodes share hosts. It is made for many histories, one after
// the other.
type Segment struct {
	now   vrrp.Time
	rand  Rand
	queue queue
	nodes []*Node
	hosts []host
	ops   []Op
	pool  []*Node

	undecided uint // hosts whose group has to decide, a bit for each

	blocked [MaxNodes][MaxNodes]bool      // from, to
	arrival [MaxNodes][MaxNodes]vrrp.Time // of the last packet
	loss    int                           // percent
	dup     int
	delay   time.Duration // 0: as on a clean segment

	// What the invariants need.
	disturbed vrrp.Time // last fault, or end of one
	lastFault vrrp.Time
	reloaded  bool // an interval was changed
	settled   bool // no more transitions are allowed
	dualSince [MaxNodes][MaxNodes]vrrp.Time
	dual      bool
	// Of two that hold the addresses of one lane.
	sharedSince [MaxNodes][MaxNodes]vrrp.Time
	shared      bool
	clients     clients
	promises    []promise
	violation   string
	steps       int
	packets     int

	out   vrrp.Advertisement
	cur   moment
	log   io.Writer
	sends bool // log regular advertisements too
}

// NewSegment without nodes.
func NewSegment() *Segment { return &Segment{} }

// Reset makes the segment as new, with other nodes.
func (s *Segment) Reset(seed uint64, nodes []NodeConfig) {
	for len(s.pool) < len(nodes) {
		s.pool = append(s.pool, &Node{})
	}
	s.now, s.rand = epoch, Rand{seed}
	s.queue.reset()
	s.nodes = s.nodes[:0]
	for i, c := range nodes {
		n := s.pool[i]
		*n = Node{NodeConfig: c, id: i, seg: s, first: c.Config.Interval, linkUp: true, inbox: n.inbox[:0], adv: n.adv, peers: n.peers[:0]}
		s.nodes = append(s.nodes, n)
	}
	s.assemble()
	s.blocked = [MaxNodes][MaxNodes]bool{}
	s.dualSince, s.sharedSince, s.shared = [MaxNodes][MaxNodes]vrrp.Time{}, [MaxNodes][MaxNodes]vrrp.Time{}, false
	s.arrival = [MaxNodes][MaxNodes]vrrp.Time{}
	s.loss, s.dup, s.delay = 0, 0, 0
	s.disturbed, s.lastFault, s.reloaded, s.settled, s.dual = 0, 0, false, false, false
	s.resetClients()
	s.promises = s.promises[:0]
	s.violation, s.steps, s.packets = "", 0, 0
	s.log, s.sends = nil, false
}

// assemble hosts and lanes from the nodes.
func (s *Segment) assemble() {
	s.undecided = 0
	s.hosts = s.hosts[:0]
	for _, n := range s.nodes {
		for len(s.hosts) <= n.Host {
			if len(s.hosts) < cap(s.hosts) {
				s.hosts = s.hosts[:len(s.hosts)+1]
			} else {
				s.hosts = append(s.hosts, host{})
			}
			h := &s.hosts[len(s.hosts)-1]
			h.id, h.nodes, h.group = len(s.hosts)-1, h.nodes[:0], h.group[:0]
		}
	}
	for _, n := range s.nodes {
		h := &s.hosts[n.Host]
		n.host = h
		h.nodes = append(h.nodes, n)
		if n.Config.Grouped {
			h.group = append(h.group, n)
		}
		for _, o := range s.nodes {
			if o != n && o.Lane == n.Lane {
				n.peers = append(n.peers, o)
			}
		}
	}
	for i := range s.hosts {
		s.hosts[i].join()
	}
}

// Log writes a transcript to w from now on; with sends also each regular advertisement.
func (s *Segment) Log(w io.Writer, sends bool) { s.log, s.sends = w, sends }

// Plan lays down what will be done; once, before Run.
func (s *Segment) Plan(ops []Op) {
	s.ops = ops
	for i := range ops {
		s.queue.add(epoch.Add(ops[i].At), atOp, 0).gen = uint32(i)
		s.lastFault = max(s.lastFault, epoch.Add(ops[i].At+ops[i].lasts()))
	}
}

// lasts is how long an op goes on by itself.
func (o Op) lasts() time.Duration {
	switch o.Kind {
	case OpStall, OpFlood:
		return o.For
	case OpRelease:
		return o.For
	default:
		return 0
	}
}

// Settled tells that the segment was judged, and may not move any more.
func (s *Segment) Settled() bool { return s.settled }

// Violation of an invariant, "" for none.
func (s *Segment) Violation() string { return s.violation }

func (s *Segment) violate(n *Node, format string, args ...any) {
	if s.violation != "" {
		return
	}
	s.violation = fmt.Sprintf("at %v %s: ", s.elapsed(), n.Name) + fmt.Sprintf(format, args...)
	if s.log != nil {
		fmt.Fprintf(s.log, "%12v      VIOLATION %s\n", s.elapsed(), s.violation)
	}
}

func (s *Segment) elapsed() time.Duration { return s.now.Sub(epoch) }

// Run until that long after the beginning, or until an invariant is broken.
func (s *Segment) Run(until time.Duration) {
	end := epoch.Add(until)
	for s.violation == "" {
		at, ok := s.queue.first()
		if !ok {
			at = end + 1
		}
		var next *Node
		for _, n := range s.nodes {
			if n.fire != 0 && n.fire < at {
				at, next = n.fire, n
			}
		}
		if at > end {
			s.now = end
			return
		}
		s.now = at
		s.watch()
		switch {
		case next == nil:
			s.queue.pop(&s.cur)
			s.happen(&s.cur)
		case next.stalledUntil != 0:
			next.host.wake()
		default:
			next.tick()
		}
		for s.undecided != 0 {
			i := bits.TrailingZeros(s.undecided)
			s.hosts[i].decide()
			s.undecided &^= 1 << i
		}
	}
}

func (s *Segment) happen(m *moment) {
	n := s.nodes[m.node]
	switch m.kind {
	case atPacket:
		n.arrive(m)
	case atWorker:
		n.worked(m.gen)
	case atExpiry:
		if m.gen == n.gen && (n.m == nil || n.stalled()) {
			n.held = false
		} else if n.m == nil && m.gen+1 == n.gen { // crash counts up after expireLater
			n.held = false
		}
	case atRenewals:
		if n.m != nil && n.broken && n.held && !n.stalled() {
			n.step(vrrp.Event{Kind: vrrp.EventAddresses, Addresses: vrrp.AddressesFailed})
		}
	case atReady:
		if n.m == nil || m.gen != n.life {
			return
		}
		if n.stalled() {
			s.queue.add(n.stalledUntil.Add(time.Millisecond), atReady, n.id).gen = m.gen
			return
		}
		s.disturbed = max(s.disturbed, s.now)
		n.ready = true
		n.host.posture(n)
	case atIface:
		if n.m == nil || m.gen != n.life {
			return
		}
		if n.stalled() {
			s.queue.add(n.stalledUntil.Add(time.Millisecond), atIface, n.id).gen = m.gen
			return
		}
		n.iface()
	case atRecheck:
		s.recheck(&s.promises[m.gen])
	case atOp:
		o := &s.ops[m.gen]
		if n := s.nodes[o.Node]; n.stalled() && o.needsProcess() {
			// It will notice then; each at a moment of its own, for what comes
			// after a promise has to be told from what came before.
			later := time.Millisecond + time.Duration(m.gen+1)
			s.queue.add(n.stalledUntil.Add(later), atOp, 0).gen = m.gen
			return
		}
		s.do(o)
	}
}

// conn: packets pass from a to b, as far as partitions go.
func (s *Segment) conn(a, b int) bool {
	return !s.blocked[a][b] && s.nodes[a].linkUp && s.nodes[b].linkUp && s.nodes[a].Lane == s.nodes[b].Lane
}

func (s *Segment) mutual(a, b int) bool { return s.conn(a, b) && s.conn(b, a) }

// longestSkew of any node before and after reloads; a group takes over as its slowest.
func (s *Segment) longestSkew() time.Duration {
	longest := time.Second // of VRRPv2
	for _, n := range s.nodes {
		longest = max(longest, n.Config.Interval, n.first)
	}
	return longest
}

// clean: nothing has disturbed the segment since t.
func (s *Segment) clean(since vrrp.Time) bool {
	return s.loss == 0 && s.delay == 0 && s.disturbed <= since
}

func (s *Segment) transmit(n *Node, a *vrrp.Action) {
	c := &n.Config
	s.out = vrrp.Advertisement{
		Version: c.Version, VRID: c.VRID, Priority: a.Priority, Interval: a.Interval,
		AuthType: c.Auth.Type, AuthData: c.Auth.Data, Addresses: c.Addresses,
	}
	var buf [maxPacket]byte
	b := buf[:0]
	group := c.Mode == vrrp.Multicast
	if group {
		b = s.out.Append(b, c.Checksum, n.Source, c.Family.Group())
	}
	if !n.linkUp {
		return
	}
	for _, to := range n.peers {
		if !group {
			b = s.out.Append(buf[:0], c.Checksum, n.Source, to.Source)
		}
		s.carry(n.id, to.id, b, group, flawNone)
	}
}

func (s *Segment) carry(from, to int, b []byte, group bool, flaw uint8) {
	if s.blocked[from][to] || s.loss > 0 && s.rand.Chance(s.loss) {
		return
	}
	times := 1
	if s.dup > 0 && s.rand.Chance(s.dup) {
		times = 2
	}
	for range times {
		d := s.rand.Between(delayLeast, delayMost)
		at := s.now.Add(d)
		if s.delay > 0 {
			at = at.Add(s.rand.Between(0, s.delay))
		} else { // a clean segment keeps the order
			at = max(at, s.arrival[from][to]+1)
			s.arrival[from][to] = at
		}
		s.packets++
		m := s.queue.add(at, atPacket, to)
		m.from, m.group, m.flaw, m.size = uint8(from), group, flaw, uint8(len(b))
		copy(m.data[:], b)
	}
}

// announce: everybody on the segment hears it.
func (s *Segment) announce(n *Node) {
	if !n.linkUp {
		return
	}
	s.heardBeside(n, n.id)
	for _, to := range n.peers {
		s.carry(n.id, to.id, nil, true, flawNone)
	}
}

// logStep writes what a node did. Regular advertisements and steps without an
// action are left out unless asked for.
func (s *Segment) logStep(n *Node, e vrrp.Event, actions []vrrp.Action) {
	if !s.sends && (len(actions) == 0 ||
		e.Kind == vrrp.EventTimer && len(actions) == 1 && actions[0].Kind == vrrp.ActionSend && actions[0].Priority > 0) {
		return
	}
	var b strings.Builder
	for i, a := range actions {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(a.String())
	}
	fmt.Fprintf(s.log, "%12v %-3s %-46s => %s\n", s.elapsed(), n.Name, e.String(), b.String())
}
