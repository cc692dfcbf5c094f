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

	offerSlack = 100 * time.Millisecond // above the longest skew

	tieSlack = 100 * time.Millisecond // above the slowest interval of a group
)

// holding looks at what a node wants of its addresses after a step.
func (c check) holding() {
	n, s := c.n, c.n.seg
	if o := &n.oracle; c.event.Kind == vrrp.EventClaim {
		switch {
		case c.before == vrrp.Backup && o.dropBy != 0:
			o.dropFrom = min(o.dropFrom, s.now.Add(yieldClaim))
			o.dropBy = min(o.dropBy, s.now.Add(yieldClaim+margin))
		case c.before == vrrp.Releasing && o.successor >= 0:
			o.letGoBy = min(o.letGoBy, s.now.Add(yieldClaim+margin))
		}
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
	o.dropFrom, o.dropBy = n.seg.now.Add(yieldMost), n.seg.now.Add(yieldMost+margin)
	if n.held && n.told {
		o.yieldedAt = n.seg.now
	}
	o.yieldedTo = n.sender(e)
}

// sender of an advertisement, -1 if it is none of ours.
func (n *Node) sender(e vrrp.Event) int {
	for _, w := range n.peers {
		if w.Source == e.Source {
			return w.id
		}
	}
	return -1
}

// letsGo: an order to take the addresses off. One that yielded has waited as
// long as it says, unless it leaves the election.
func (c check) letsGo() {
	n, o := c.n, &c.n.oracle
	if c.before == vrrp.Backup && n.m.State() == vrrp.Backup && n.want && n.seg.now < o.dropFrom {
		n.seg.violate(n, "has yielded and lets go of the addresses %v too early", o.dropFrom.Sub(n.seg.now))
	}
	n.want, o.dropBy, o.dropFrom = false, 0, 0
}

// releaseBound: what is handed over stays for the slowest skew that anybody
// can have, and a little; because of a sibling that left without a word, for
// three intervals more.
func releaseBound(n *Node, e vrrp.Event) vrrp.Time {
	slowest := time.Second // v2, and all intervals that a reload brings
	for _, x := range n.seg.nodes {
		slowest = max(slowest, x.Config.Interval, x.first)
	}
	if e.Kind == vrrp.EventGroup && e.Fault {
		slowest *= 4
	}
	return n.seg.now.Add(min(slowest+releaseSlack, releaseMost) + margin)
}

// groupFollows is when the first group can be master in place of that of n, of
// which one has left without a word; 0 if that is not known.
func (s *Segment) groupFollows(n *Node) vrrp.Time {
	soonest := vrrp.Time(0)
	for i := range s.hosts {
		h := &s.hosts[i]
		if h == n.host || len(h.group) != len(n.host.group) {
			continue
		}
		at := s.now
		for lane, x := range h.group {
			if !x.listening() || x.m.State() != vrrp.Backup || x.m.Wants() || x.broken || x.oracle.from != n.host.group[lane].id {
				return 0
			}
			if n.host.group[lane].linkUp {
				if !s.mutual(x.id, n.host.group[lane].id) {
					return 0
				}
				continue // it hears priority 0
			}
			at = max(at, x.oracle.earliest)
		}
		if soonest == 0 || at < soonest {
			soonest = at
		}
	}
	if soonest.Sub(s.now) > releaseMost {
		return 0
	}
	return soonest
}

// follows: n releases and hears the next master; one that gives up is none.
func (o *oracle) follows(n *Node, a *vrrp.Advertisement, from int) {
	switch {
	case a.Priority == 0:
		o.successor, o.letGoBy = -1, o.letGoMost
	case from != o.successor:
		o.successor, o.letGoBy = from, min(o.letGoMost, n.seg.now.Add(yieldMost+margin))
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

// watchHolders: beside a master nobody who hears it holds the addresses for
// longer than both may be master, and yieldMost more. One that releases or
// offers has a bound of its own; see watch.
func (s *Segment) watchHolders() {
	s.shared = true
	for i, a := range s.nodes {
		for j, b := range s.nodes[:i] {
			if a.Lane != b.Lane {
				continue
			}
			if !a.holder() || !b.holder() || !a.master() && !b.master() || a.offering() || b.offering() || !s.mutual(i, j) || s.loss > 0 || s.delay > 0 || s.unheard(a, b) {
				s.sharedSince[i][j] = 0
				continue
			}
			since := &s.sharedSince[i][j]
			if *since == 0 || *since < s.disturbed {
				*since = s.now
			}
			if bound := a.dualBound(b) + yieldMost + holdWithin; s.now > since.Add(bound) {
				s.violate(a, "holds the addresses for %v beside %s", bound, b.Name)
			}
		}
	}
}

// holder runs and has the addresses on its link, and is not handing over.
func (n *Node) holder() bool {
	return n.m != nil && n.held && !n.stalled() && n.m.State() != vrrp.Releasing
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
