package vrrptest

import (
	"time"

	"lvs-ha/vrrp"
)

// How long the addresses stay with a master that yielded or releases: see the
// documentation of vrrp.
const (
	yieldMost  = 200 * time.Millisecond
	yieldClaim = 20 * time.Millisecond // after the winner's announcement

	releaseSlack = 300 * time.Millisecond // above the longest skew
	releaseMost  = 5 * time.Second

	tieSlack = 100 * time.Millisecond // above the slowest interval of a group
)

// holding looks at what a node wants of its addresses after a step.
func (c check) holding() {
	n, s := c.n, c.n.seg
	if o := &n.oracle; c.event.Kind == vrrp.EventClaim && c.before == vrrp.Backup && o.dropBy != 0 {
		o.dropBy = min(o.dropBy, s.now.Add(yieldClaim+margin))
	}
	switch state := n.m.State(); state {
	case vrrp.Master, vrrp.Releasing:
		if !n.want {
			s.violate(n, "is %v and does not want its addresses", state)
		}
	case vrrp.Backup:
		if n.want && n.oracle.dropBy == 0 {
			s.violate(n, "wants the addresses as backup")
		}
	case vrrp.Init, vrrp.Fault:
		if n.want {
			s.violate(n, "wants the addresses as %v", state)
		}
	}
}

// yielded: n was master and heard a better one, by e.
func (o *oracle) yielded(n *Node, e vrrp.Event) {
	o.yieldedAt, o.yieldedTo = 0, -1
	o.dropBy = n.seg.now.Add(yieldMost + margin)
	if n.held && n.told {
		o.yieldedAt = n.seg.now
	}
	for _, w := range n.peers {
		if w.Source == e.Source {
			o.yieldedTo = w.id
		}
	}
}

// gap: the addresses of a master that yielded go off the link; the winner, if
// it was one all the time, has them by now.
func (o *oracle) gap(n *Node) {
	s := n.seg
	at := o.yieldedAt
	o.yieldedAt = 0
	if at == 0 || o.yieldedTo < 0 || !s.clean(at) {
		return
	}
	w := s.nodes[o.yieldedTo]
	if w.master() && !w.stalled() && !w.held && !w.broken && w.orderedAt <= at && s.mutual(n.id, w.id) {
		s.violate(n, "has yielded to %s and let go of the addresses before it had them", w.Name)
	}
}

// whole: all of a group on one host are master, or none is.
func (h *host) whole() {
	var master, other *Node
	wanting := 0
	for _, n := range h.group {
		switch {
		case !n.grouped():
			continue
		case n.m.State() == vrrp.Master:
			master = n
		default:
			other = n
		}
		if n.m.Wants() {
			wanting++
		}
	}
	s := h.nodes[0].seg
	if master != nil && other != nil {
		s.violate(other, "is %v while %s of its group is master", other.m.State(), master.Name)
	}
	if wanting == len(h.group) && wanting > 0 {
		s.violate(h.group[0], "all of its group want to take over and nobody leads")
	}
}
