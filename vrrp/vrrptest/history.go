package vrrptest

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"lvs-ha/vrrp"
)

// Least length of a history, and when its faults happen.
const (
	historyLength = 60 * time.Second
	faultsFrom    = 3 * time.Second
	faultsUntil   = 44 * time.Second
	quietAfter    = 6 * time.Second // nothing may move after everything settled
)

// History makes histories; one after the other with one set of memory.
type History struct {
	seg   *Segment
	rand  Rand
	nodes []NodeConfig
	ops   []Op
	lanes int
	// oneLink: all instances of a host stand on one interface.
	oneLink bool
	// Of all histories so far.
	Steps, Packets, Faults uint64
}

// NewHistory is ready to run.
func NewHistory() *History { return &History{seg: NewSegment()} }

var names = [MaxNodes]string{"a", "b", "c", "d", "e", "f", "g", "h", "i"}

// laneNames: a1 and a2 are the instances of host a.
var laneNames = func() (list [MaxNodes][MaxLanes]string) {
	for i, name := range names {
		for lane := range MaxLanes {
			list[i][lane] = fmt.Sprint(name, lane+1)
		}
	}
	return list
}()

// Run the history of a seed and give the invariant that it broke, or "". With
// log it writes a transcript.
func (h *History) Run(seed uint64, log io.Writer) string {
	h.rand = Rand{seed}
	h.config()
	h.faults()
	s := h.seg
	s.Reset(h.rand.next(), h.nodes)
	if log != nil {
		s.Log(log, false)
		h.describe(log)
	}
	s.Plan(h.ops)
	end := max(historyLength, s.ExpectSettled()+quietAfter)
	s.Run(end)
	for !s.Settled() && s.Violation() == "" && end < 20*historyLength {
		end = s.lastFault.Sub(epoch) + s.Bound() + quietAfter
		s.Run(max(end, s.elapsed()+time.Second))
	}
	if s.Settled() {
		s.judgeClients()
	}
	h.Steps += uint64(s.steps)
	h.Packets += uint64(s.packets)
	h.Faults += uint64(len(h.ops))
	return s.Violation()
}

func (h *History) config() {
	r := &h.rand
	hosts := pick(r, 2, 2, 3, 3, 3, 4, 5)
	h.lanes = pick(r, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3)
	hosts = min(hosts, MaxNodes/h.lanes)
	grouped := 0 // that many lanes, the first ones, are a sync group
	if h.lanes > 1 && r.Chance(85) {
		grouped = 2 + r.N(h.lanes-1)
	}
	h.oneLink = r.Chance(30)
	base := vrrp.Config{
		VRID: uint8(1 + r.N(250)), Version: vrrp.V3, Family: vrrp.IPv4,
		Interval: pick[time.Duration](r, 20, 50, 100, 100, 200, 250, 500, 500, 1000, 1000, 1000, 1000, 2000) * time.Millisecond,
		Preempt:  true,
	}
	if r.Chance(3) {
		base.Interval = 10 * time.Millisecond
	}
	if r.Chance(20) {
		base.Version = vrrp.V2
		base.Interval = pick[time.Duration](r, 1, 1, 1, 2) * time.Second
		if r.Chance(30) {
			base.Auth = vrrp.Auth{Type: vrrp.AuthPass, Data: [8]byte{'s', 'e', 'c', 'r', 'e', 't'}}
		}
	} else if r.Chance(25) {
		base.Family = vrrp.IPv6
	}
	if r.Chance(25) {
		base.Checksum = vrrp.ChecksumMessageOnly
	}
	if r.Chance(25) {
		base.Mode = vrrp.Unicast
	}
	var lanes [MaxLanes]vrrp.Config
	for i := range h.lanes {
		c := base
		c.VRID += uint8(i)
		if i > 0 && c.Version == vrrp.V3 {
			c.Family = pick(r, vrrp.IPv4, vrrp.IPv6)
			if r.Chance(25) {
				c.Interval = pick[time.Duration](r, 50, 100, 500, 1000) * time.Millisecond
			}
		}
		c.Addresses = addresses[c.Family][:1+r.N(2)]
		lanes[i] = c
	}
	mixed := base.Version == vrrp.V3 && r.Chance(20)
	preempt := r.N(4) // 0 nobody, 1 some, else all
	delays := r.Chance(20)
	owner := r.Chance(8)
	crossed := r.Chance(30) // the order of the addresses differs between the lanes
	h.nodes = h.nodes[:0]
	for i := range hosts {
		var first vrrp.Config // the members of a group differ in nothing that decides who is master
		ready := pick[time.Duration](r, 0, 0, 0, 50, 1500) * time.Millisecond
		for lane := range h.lanes {
			c := lanes[lane]
			c.Priority = pick[uint8](r, 50, 90, 100, 100, 100, 110, 120, 150, 200, 253, 254)
			if owner && (i == 0 || r.Chance(10)) {
				c.Priority = vrrp.OwnerPriority
			}
			if mixed {
				c.Interval = min(c.Interval*pick[time.Duration](r, 1, 1, 2, 5), 2*time.Second)
			}
			c.Preempt = preempt > 1 || preempt == 1 && r.Chance(50)
			if delays && c.Priority != vrrp.OwnerPriority {
				c.PreemptDelay = pick[time.Duration](r, 0, 300, 1000, 3000) * time.Millisecond
				c.StartDelay = pick[time.Duration](r, 0, 0, 500, 2000) * time.Millisecond
			}
			switch {
			case lane >= grouped:
			case lane == 0:
				c.Grouped = true
				first = c
			default:
				c.Grouped = true
				c.Priority, c.Preempt, c.PreemptDelay, c.StartDelay = first.Priority, first.Preempt, first.PreemptDelay, first.StartDelay
			}
			k := i
			if crossed && lane == 1 {
				k = hosts - 1 - i
			}
			n := NodeConfig{Name: names[i], Source: sources[c.Family][k], Config: c, Host: i, Lane: lane, ReadyAfter: ready}
			if h.lanes > 1 {
				n.Name = laneNames[i][lane]
			}
			if c.Mode == vrrp.Unicast {
				n.Config.Peers = peers(c.Family, hosts, k)
			}
			h.nodes = append(h.nodes, n)
		}
	}
}

// faults plans at least ten, each with its end.
func (h *History) faults() {
	r := &h.rand
	h.ops = h.ops[:0]
	for i := 0; i < len(h.nodes); i += h.lanes {
		h.add(Op{Kind: OpStart, At: r.Between(0, time.Second), Node: i})
	}
	for range 10 + r.N(8) {
		h.fault(r.Between(faultsFrom, faultsUntil))
	}
	// The network is whole again; the nodes are, mostly.
	end := faultsUntil + r.Between(time.Second, 4*time.Second)
	h.add(Op{Kind: OpHeal, At: end}, Op{Kind: OpLoss, At: end}, Op{Kind: OpDelay, At: end})
	for i := range h.nodes {
		at := end + r.Between(0, 500*time.Millisecond)
		h.add(Op{Kind: OpLink, At: at, Node: i, Flag: true}, Op{Kind: OpBroken, At: at, Node: i})
		if i%h.lanes == 0 {
			if r.Chance(80) {
				h.add(Op{Kind: OpStart, At: at, Node: i})
			}
			h.add(Op{Kind: OpReady, At: at + 2*time.Second, Node: i, Flag: true})
		}
		if r.Chance(95) {
			h.add(Op{Kind: OpFault, At: at, Node: i})
		}
	}
	if r.Chance(10) {
		h.add(Op{Kind: OpGroups, At: end + time.Second, N: h.split()})
	}
	slices.SortStableFunc(h.ops, func(a, b Op) int { return cmp.Compare(a.At, b.At) })
}

// split is a partition for OpGroups: of the hosts, and so of all lanes, or of
// one lane.
func (h *History) split() int {
	r := &h.rand
	hosts := r.N(1 << (len(h.nodes) / h.lanes))
	one := -1
	if !h.oneLink && r.Chance(60) {
		one = r.N(h.lanes)
	}
	n := 0
	for i := range h.nodes {
		if one < 0 || one == i%h.lanes {
			n |= hosts >> (i / h.lanes) & 1 << i
		}
	}
	return n
}

// each lets a fault and its end happen to a node, or to all of its host where
// they have one link.
func (h *History) each(node int, ops func(node int)) {
	if !h.oneLink {
		ops(node)
		return
	}
	first := node - node%h.lanes
	for i := range h.lanes {
		ops(first + i)
	}
}

func (h *History) add(ops ...Op) { h.ops = append(h.ops, ops...) }

// fault adds one fault at a time, and its end.
func (h *History) fault(at time.Duration) {
	r := &h.rand
	node := r.N(len(h.nodes))
	interval := h.nodes[node].Config.Interval
	// Short compared with the interval, or long.
	d := r.Between(0, 4*interval)
	if r.Chance(60) {
		d = r.Between(0, 8*time.Second)
	}
	end := min(at+d, faultsUntil+time.Second)
	switch r.N(20) {
	case 0, 1:
		h.add(Op{Kind: OpCrash, At: at, Node: node}, Op{Kind: OpStart, At: end, Node: node})
	case 2:
		h.add(Op{Kind: OpCrash, At: at, Node: node}, Op{Kind: OpStart, At: at + r.Between(0, interval), Node: node, Flag: true})
	case 3, 4:
		h.add(Op{Kind: OpStop, At: at, Node: node}, Op{Kind: OpStart, At: end + 3*time.Second, Node: node})
	case 5, 6:
		h.add(Op{Kind: OpStall, At: at, Node: node, For: end - at})
	case 7:
		h.each(node, func(node int) {
			h.add(Op{Kind: OpLink, At: at, Node: node}, Op{Kind: OpLink, At: end, Node: node, Flag: true})
		})
	case 8:
		h.add(Op{Kind: OpReady, At: at, Node: node}, Op{Kind: OpReady, At: end, Node: node, Flag: true})
	case 9:
		h.add(Op{Kind: OpFault, At: at, Node: node, Flag: true}, Op{Kind: OpFault, At: end, Node: node})
	case 10, 11:
		h.add(Op{Kind: OpDelta, At: at, Node: node, N: r.N(200) - 100})
		if r.Chance(70) {
			h.add(Op{Kind: OpDelta, At: end, Node: node})
		}
	case 12:
		h.add(Op{Kind: OpRelease, At: at, Node: node, For: end - at})
	case 13:
		h.add(Op{Kind: OpGroups, At: at, N: h.split()}, Op{Kind: OpHeal, At: end})
	case 14:
		peer := r.N(len(h.nodes)/h.lanes) * h.lanes
		h.each(node, func(node int) {
			peer := peer + node%h.lanes
			h.add(Op{Kind: OpCut, At: at, Node: node, Peer: peer, Flag: true}, Op{Kind: OpCut, At: end, Node: node, Peer: peer})
		})
	case 15:
		h.add(Op{Kind: OpLoss, At: at, N: pick(r, 5, 20, 50, 90)}, Op{Kind: OpLoss, At: end})
	case 16:
		h.add(Op{Kind: OpDelay, At: at, For: r.Between(0, min(2*interval, 300*time.Millisecond))}, Op{Kind: OpDelay, At: end})
	case 17:
		if r.Chance(50) {
			h.add(Op{Kind: OpDup, At: at, N: pick(r, 10, 50)}, Op{Kind: OpDup, At: end})
		} else {
			h.add(Op{Kind: OpClaim, At: at, Node: node})
		}
	case 18:
		h.add(Op{Kind: OpFlood, At: at, Node: node, For: end - at})
	case 19:
		switch r.N(3) {
		case 0:
			h.add(Op{Kind: OpGone, At: at, Node: node})
		case 1:
			h.add(Op{Kind: OpBroken, At: at, Node: node, Flag: true}, Op{Kind: OpBroken, At: end, Node: node})
		case 2:
			o := Op{Kind: OpConfig, At: at, Node: node, N: pick(r, 0, 60, 100, 170, 254)}
			if h.nodes[node].Config.Version == vrrp.V3 && r.Chance(50) {
				o.For = pick[time.Duration](r, 50, 100, 500, 1000) * time.Millisecond
			}
			h.add(o)
		}
	}
}

var addresses = map[vrrp.Family][]netip.Addr{
	vrrp.IPv4: {netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr("192.0.2.101")},
	vrrp.IPv6: {netip.MustParseAddr("fe80::100"), netip.MustParseAddr("2001:db8::100")},
}

var sources = func() map[vrrp.Family][]netip.Addr {
	m := map[vrrp.Family][]netip.Addr{}
	for i := range MaxNodes {
		m[vrrp.IPv4] = append(m[vrrp.IPv4], netip.AddrFrom4([4]byte{192, 0, 2, byte(11 + i)}))
		m[vrrp.IPv6] = append(m[vrrp.IPv6], netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: byte(0x11 + i)}))
	}
	return m
}()

func peers(f vrrp.Family, n, self int) []netip.Addr {
	var list []netip.Addr
	for i, a := range sources[f][:n] {
		if i != self {
			list = append(list, a)
		}
	}
	return list
}

func (h *History) describe(w io.Writer) {
	for _, n := range h.nodes {
		c := &n.Config
		fmt.Fprintf(w, "node %s %v grouped %t v%d priority %d interval %v preempt %t delay %v start %v mode %d ready after %v\n",
			n.Name, n.Source, c.Grouped, c.Version, c.Priority, c.Interval, c.Preempt, c.PreemptDelay, c.StartDelay, c.Mode, n.ReadyAfter)
	}
}
