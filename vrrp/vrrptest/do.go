package vrrptest

import (
	"fmt"
	"time"

	"lvs-ha/vrrp"
)

// Flaws of packets that must be rejected.
const (
	flawNone uint8 = iota
	flawTTL
	flawChecksum
	flawVersion
	flawShort
	flawCount
	flawVRID
	flawKinds
)

// do carries out an op that is due.
func (s *Segment) do(o *Op) {
	if s.log != nil {
		fmt.Fprintf(s.log, "%12v   # %s\n", s.elapsed(), o.describe(s))
	}
	if o.disturbs() {
		s.disturbed = max(s.disturbed, s.now)
		s.lastFault = max(s.lastFault, s.now.Add(o.lasts())) // it may have had to wait
	}
	defer s.reopen()
	n := s.nodes[o.Node]
	switch o.Kind {
	case OpStart:
		n.host.start(o.Flag)
	case OpCrash:
		for _, n := range n.host.nodes {
			n.crash()
		}
	case OpStop:
		n.host.stop()
	case OpStall:
		for _, n := range n.host.nodes {
			n.stall(o.For)
		}
	case OpLink:
		n.linkUp = o.Flag
		if n.m != nil {
			n.iface()
		}
	case OpReady:
		for _, n := range n.host.nodes {
			n.ready = o.Flag
			if n.m != nil {
				n.host.posture(n)
			}
		}
	case OpFault, OpDelta:
		if o.Kind == OpFault {
			n.fault = o.Flag
		} else {
			n.delta = o.N
		}
		if n.m != nil {
			n.host.posture(n)
		}
	case OpRelease:
		if n.m != nil {
			n.oracle.suppress(n, o.For)
			n.step(vrrp.Event{Kind: vrrp.EventRelease, For: o.For})
		}
	case OpClaim:
		if n.listening() {
			n.step(vrrp.Event{Kind: vrrp.EventClaim})
		}
	case OpGone:
		if n.held && n.m != nil && !n.stalled() && n.want {
			n.held = false
			n.step(vrrp.Event{Kind: vrrp.EventAddresses, Addresses: vrrp.AddressesGone})
		}
	case OpBroken:
		n.broken = o.Flag
		if o.Flag {
			s.queue.add(s.now.Add(2*n.Config.Lifetime()/3), atRenewals, n.id)
		}
	case OpCut:
		s.blocked[o.Node][o.Peer] = o.Flag
	case OpGroups:
		for i := range s.nodes {
			for j := range s.nodes {
				s.blocked[i][j] = o.N>>i&1 != o.N>>j&1
			}
		}
	case OpHeal:
		s.blocked = [MaxNodes][MaxNodes]bool{}
	case OpLoss:
		s.loss = o.N
	case OpDup:
		s.dup = o.N
	case OpDelay:
		s.disturbed = max(s.disturbed, s.now.Add(s.delay)) // what is under way may still be late
		s.delay = o.For
	case OpFlood:
		s.flood(n, o.For)
	case OpConfig:
		if !n.Config.Grouped {
			n.change(o)
			n.reload()
			break
		}
		// The instances of a group have one priority on each node.
		for _, n := range n.host.group {
			n.change(o)
		}
		n.host.join()
		for _, n := range n.host.group {
			n.reload()
		}
	}
}

// flood lets packets with all kinds of flaws arrive, several in an interval.
func (s *Segment) flood(n *Node, d time.Duration) {
	gap := max(n.Config.Interval/3, d/64)
	c := &n.Config
	var buf [maxPacket]byte
	for at := time.Duration(0); at < d; at += gap {
		from := n.peers[s.rand.N(len(n.peers))].id
		out := vrrp.Advertisement{
			Version: c.Version, VRID: c.VRID, Priority: uint8(s.rand.N(256)), Interval: c.Interval,
			AuthType: c.Auth.Type, AuthData: c.Auth.Data, Addresses: c.Addresses,
		}
		flaw := uint8(1 + s.rand.N(int(flawKinds)-1))
		if flaw == flawTTL && c.Mode == vrrp.Unicast {
			flaw = flawChecksum // nobody looks at the TTL there
		}
		if flaw == flawVRID {
			out.VRID ^= 1 + uint8(s.rand.N(200))
		}
		dst, group := c.Family.Group(), true
		if c.Mode == vrrp.Unicast {
			dst, group = n.Source, false
		}
		b := out.Append(buf[:0], c.Checksum, s.nodes[from].Source, dst)
		switch flaw {
		case flawChecksum:
			b[6] ^= 1 << s.rand.N(8)
		case flawVersion:
			b[0] ^= 0x10
		case flawShort:
			b = b[:1+s.rand.N(len(b)-1)]
		case flawCount:
			b[3]++
		}
		m := s.queue.add(s.now.Add(at), atPacket, n.id)
		m.from, m.group, m.flaw, m.size = uint8(from), group, flaw, uint8(len(b))
		copy(m.data[:], b)
	}
}
