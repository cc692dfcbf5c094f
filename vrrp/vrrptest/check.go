package vrrptest

import (
	"bytes"
	"slices"
	"time"

	"lvs-ha/vrrp"
)

// check looks at one step.
type check struct {
	n        *Node
	before   vrrp.State
	priority uint8 // before the step
	offering bool  // before the step
	event    vrrp.Event
}

// holdWithin is how soon the addresses of an advertising master are on its link.
const holdWithin = workerSlowest + time.Millisecond

func (c check) actions(actions []vrrp.Action) {
	n, s := c.n, c.n.seg
	after := n.m.State()
	at := c.before
	sent := 0
	for i := range actions {
		a := &actions[i]
		switch a.Kind {
		case vrrp.ActionTransition:
			if a.From != at {
				s.violate(n, "transition from %v while in %v", a.From, at)
			}
			if a.To == a.From {
				s.violate(n, "transition from %v to itself", a.From)
			}
			if s.settled {
				s.violate(n, "%v after everything had settled", a)
			}
			at = a.To
			if a.To == vrrp.Master || a.Reason == vrrp.CauseReleaseTimeout {
				n.unheard = a.To == vrrp.Backup
			}
		case vrrp.ActionSend:
			sent++
			c.send(a, after, sent)
		case vrrp.ActionAnnounce:
			if after != vrrp.Master || !n.held {
				s.violate(n, "announces as %v, held %t", after, n.held)
			}
		case vrrp.ActionHold:
			if after != vrrp.Master {
				s.violate(n, "holds as %v", after)
			}
		case vrrp.ActionDrop:
			if after == vrrp.Master || after == vrrp.Releasing {
				s.violate(n, "drops as %v", after)
			}
		case vrrp.ActionCount:
		}
	}
	if at != after {
		s.violate(n, "is %v, but told of %v", after, at)
	}
	if c.before == vrrp.Master && !c.offering && c.event.Kind == vrrp.EventAdvertisement && c.event.Advertisement.Priority > 0 {
		if yields := c.better(); yields != (after == vrrp.Backup) && !c.waits() {
			s.violate(n, "heard %v as master with %d, yields %t", c.event, c.priority, !yields)
		}
	}
	if c.before == vrrp.Master && after == vrrp.Master && !c.offering && c.event.Kind == vrrp.EventAdvertisement && c.event.Advertisement.Priority == 0 {
		// Whoever heard it too takes over within its skew, unless it hears us.
		if d, ok := n.m.Deadline(); sent == 0 && (!ok || d > s.now.Add(skew(n.Config.Version, vrrp.OwnerPriority, n.Config.Interval))) {
			s.violate(n, "heard priority 0 as master and does not say that it is there")
		}
	}
	if c.before == vrrp.Backup && after == vrrp.Backup && n.unheard && sent == 0 && c.hearsMaster() {
		s.violate(n, "was master where nobody heard it, and does not tell %v", c.event.Source)
	}
	if n.m.Priority() != n.wantPriority() {
		s.violate(n, "has priority %d, not %d", n.m.Priority(), n.wantPriority())
	}
}

// better tells whether the advertisement beats this master: by priority, then
// by the source address as a number in network order.
func (c check) better() bool {
	p := c.event.Advertisement.Priority
	a, b := c.event.Source.As16(), c.n.Source.As16()
	return p > c.priority || p == c.priority && bytes.Compare(a[:], b[:]) > 0
}

// hearsMaster tells that this backup takes the advertisement for that of its
// master, and can tell it something that loses.
func (c check) hearsMaster() bool {
	if c.event.Kind != vrrp.EventAdvertisement || c.event.Advertisement.Priority < 2 {
		return false
	}
	return c.event.Advertisement.Priority >= c.priority || !c.n.oracle.preempts(c.n)
}

// waits tells that the tie is for another member of the group to decide first;
// see watchMasters for how long.
func (c check) waits() bool {
	return c.n.Config.GroupTie && c.event.Advertisement.Priority == c.priority
}

// wantPriority is the effective priority by its definition.
func (n *Node) wantPriority() uint8 {
	switch {
	case !n.ready:
		return 1
	case n.Config.Priority == vrrp.OwnerPriority:
		return vrrp.OwnerPriority
	}
	return uint8(min(max(int(n.Config.Priority)+n.worn, 1), 254))
}

// send judges one advertisement.
func (c check) send(a *vrrp.Action, after vrrp.State, sent int) {
	n, s := c.n, c.n.seg
	lastWord := c.before == vrrp.Master && after == vrrp.Backup
	word := c.priority
	if c.before == vrrp.Backup && after == vrrp.Backup && n.unheard && c.event.Kind == vrrp.EventAdvertisement {
		lastWord, n.unheard = true, false
		if !c.better() { // it must not win
			word = c.event.Advertisement.Priority - 1
		}
		s.demoted(n, c.event)
	}
	switch {
	case a.Priority == 0:
		if c.before != vrrp.Master && c.before != vrrp.Releasing {
			s.violate(n, "sends priority 0 as %v", c.before)
		}
	case lastWord:
		if sent > 1 || a.Priority != word {
			s.violate(n, "last word number %d with priority %d", sent, a.Priority)
		}
	case after != vrrp.Master:
		s.violate(n, "sends priority %d as %v", a.Priority, after)
	case a.Priority != n.m.Priority():
		s.violate(n, "sends priority %d, has %d", a.Priority, n.m.Priority())
	case c.before == vrrp.Master && !n.held && n.orderedAt.Add(holdWithin) < s.now:
		s.violate(n, "advertises without its addresses")
	}
	if c.before == vrrp.Master && after == vrrp.Master && a.Priority != 0 && !n.m.Offering() {
		// At least once in an interval.
		if d, ok := n.m.Deadline(); !ok || d > s.now.Add(n.Config.Interval) {
			s.violate(n, "plans its next advertisement later than its interval")
		}
	}
}

// watch looks at the whole segment before each moment.
func (s *Segment) watch() {
	masters, dual := uint(0), false // a bit for each lane
	holders, shared := uint(0), false
	for _, n := range s.nodes {
		if n.m == nil {
			continue
		}
		if n.held {
			bit := uint(1) << n.Lane
			shared = shared || holders&bit != 0
			holders |= bit
		}
		n.oracle.offers(n)
		switch n.m.State() {
		case vrrp.Master:
			bit := uint(1) << n.Lane
			dual = dual || masters&bit != 0
			masters |= bit
		case vrrp.Backup:
			if n.stalledUntil != 0 {
				continue
			}
			// A member of a group waits for the others when it wants to.
			if n.oracle.latest != 0 && n.oracle.latest < s.now && !n.m.Wants() {
				s.violate(n, "has not taken over, %v late", s.now.Sub(n.oracle.latest))
			}
			if n.oracle.dropBy != 0 && n.oracle.dropBy < s.now && n.want {
				s.violate(n, "has yielded and still holds the addresses, %v late", s.now.Sub(n.oracle.dropBy))
			}
		case vrrp.Releasing:
			if n.oracle.letGoBy < s.now && n.stalledUntil == 0 {
				s.violate(n, "releases and still holds the addresses, %v late", s.now.Sub(n.oracle.letGoBy))
			}
		case vrrp.Init, vrrp.Fault:
		}
	}
	if shared {
		s.watchHolders()
	} else if s.shared {
		s.shared = false
		s.sharedSince = [MaxNodes][MaxNodes]vrrp.Time{}
	}
	if dual {
		s.watchMasters()
	} else if s.dual {
		s.dual = false
		s.dualSince = [MaxNodes][MaxNodes]vrrp.Time{}
	}
}

// watchMasters: two masters that hear each other are one within an interval.
func (s *Segment) watchMasters() {
	s.dual = true
	for i, a := range s.nodes {
		for j, b := range s.nodes[:i] {
			if a.Lane != b.Lane {
				continue
			}
			if !a.master() || !b.master() || a.stalled() || b.stalled() || !s.mutual(i, j) || s.loss > 0 || s.delay > 0 || s.unheard(a, b) {
				s.dualSince[i][j] = 0
				continue
			}
			since := &s.dualSince[i][j]
			if *since == 0 || *since < s.disturbed {
				*since = s.now
			}
			if bound := a.dualBound(b); s.now > since.Add(bound) {
				s.violate(a, "two masters for %v, with %s", bound, b.Name)
			}
		}
	}
}

// dualBound is how long two masters that hear each other may be two.
func (n *Node) dualBound(o *Node) time.Duration {
	interval := max(n.Config.Interval, o.Config.Interval)
	bound := interval + 5*time.Millisecond
	if n.Config.GroupTie && n.m.Priority() == o.m.Priority() {
		// It ends with the first advertisement after the wait.
		bound += max(n.Config.GroupInterval, o.Config.GroupInterval) + tieSlack + interval
	}
	return bound
}

// unheard: v2 with different intervals, which reject each other.
func (s *Segment) unheard(a, b *Node) bool {
	return a.Config.Version == vrrp.V2 && a.Config.Interval != b.Config.Interval
}

type promiseKind uint8

const (
	promiseSuccessor promiseKind = iota // priority 0 was sent: somebody else is master
	promiseAnnounce                     // node won: it has announced since
	promiseSettled                      // everything has converged
)

// promise is something that must hold later, if nothing disturbs until then.
type promise struct {
	kind promiseKind
	node int
	made vrrp.Time
}

func (s *Segment) promise(p promise, at vrrp.Time) {
	p.made = s.now
	s.promises = append(s.promises, p)
	s.queue.add(at, atRecheck, p.node).gen = uint32(len(s.promises) - 1)
}

// promiseSuccessor: a backup that heard n as its master takes over within its skew.
func (s *Segment) promiseSuccessor(n *Node) {
	// Who has an offer taken had sent its priority 0 before; a group goes with the
	// one of its members whose offer that was.
	offered := func(x *Node) bool { return x.state() == vrrp.Releasing && x.m.Reason() == vrrp.CauseOffer }
	if s.loss > 0 || s.delay > 0 || offered(n) || n.Config.Grouped && slices.ContainsFunc(n.host.group, offered) {
		return
	}
	soonest := time.Duration(-1)
	for _, b := range n.peers {
		if b.state() == vrrp.Master {
			return // there is one already
		}
		if b.broken || slices.ContainsFunc(b.host.group, func(x *Node) bool { return x.broken }) {
			return
		}
		if d := s.willFollow(b, n); d >= 0 && (soonest < 0 || d < soonest) {
			soonest = d
		}
	}
	if soonest >= 0 {
		n.oracle.followed = s.now.Add(soonest)
		s.promise(promise{kind: promiseSuccessor, node: n.id}, s.now.Add(soonest+2*delayMost+margin))
	}
}

// willFollow tells how soon b takes over when n sends priority 0; -1 if it may
// not. In a group the slowest of them counts.
func (s *Segment) willFollow(b, n *Node) time.Duration {
	if !n.Config.Grouped {
		return follows(b, n)
	}
	slowest := time.Duration(0)
	for i, x := range b.host.group {
		if n.host.group[i].state() == vrrp.Backup {
			return -1 // it has yielded to somebody, who leads if he can
		}
		d := follows(x, n.host.group[i])
		if d < 0 {
			return -1
		}
		slowest = max(slowest, d)
	}
	return slowest
}

func follows(b, n *Node) time.Duration {
	if !b.listening() || b.m.State() != vrrp.Backup || !n.seg.mutual(n.id, b.id) || b.oracle.from != n.id {
		return -1
	}
	// What n sent just before may still be under way, with a new interval.
	return skew(b.Config.Version, b.m.Priority(), max(b.oracle.interval, n.Config.Interval))
}

// demoted: n yields to the sender of e, who has to announce again.
func (s *Segment) demoted(n *Node, e vrrp.Event) {
	if s.loss > 0 || s.delay > 0 {
		return
	}
	for _, w := range n.peers {
		if w.Source == e.Source && w.master() && w.listening() && s.mutual(n.id, w.id) && !s.unheard(n, w) {
			d := time.Second + 2*workerSlowest + 2*delayMost + margin
			if w.Config.GroupTie {
				d += w.Config.GroupInterval + tieSlack // after it has waited for the decision
			}
			s.promise(promise{kind: promiseAnnounce, node: w.id}, s.now.Add(d))
		}
	}
}

func (s *Segment) recheck(p *promise) {
	n := s.nodes[p.node]
	switch p.kind {
	case promiseSuccessor:
		if !s.clean(p.made) || n.master() { // somebody did, and n has preempted since
			return
		}
		for _, b := range n.peers {
			// One that yielded just before n left may have its last word heard
			// after n's: RFC 9568, section 6.4.2, knows no last words, and has
			// the backup wait for its sender as for any master. How long, the
			// backup's own oracle watches.
			if b.master() || b.oracle.from != n.id && b.oracle.fromAt > p.made {
				return
			}
		}
		s.violate(n, "sent priority 0 at %v and nobody took over within the skew", p.made.Sub(epoch))
	case promiseAnnounce:
		if s.clean(p.made) && n.master() && n.announcedAt < p.made {
			s.violate(n, "has won against a master at %v and did not announce again", p.made.Sub(epoch))
		}
	case promiseSettled:
		s.judge()
	}
}

// Bound after the last fault: three times the slowest interval, one skew, and
// the configured delays; the last of a group to hand over may do so to nobody,
// and holds its addresses for a while.
func (s *Segment) Bound() time.Duration {
	var slowest, delays, release time.Duration
	for _, n := range s.nodes {
		if n.Config.Grouped {
			release = releaseMost
		}
		slowest = max(slowest, n.Config.Interval)
		delays = max(delays, n.Config.PreemptDelay+n.Config.StartDelay+n.ReadyAfter)
	}
	return 3*slowest + max(slowest, time.Second) + delays + min(release, 4*max(slowest, time.Second)+releaseSlack) + 20*time.Millisecond
}

// ExpectSettled lets the segment be judged when it must have converged, and
// gives that moment.
func (s *Segment) ExpectSettled() time.Duration {
	at := s.lastFault.Add(s.Bound())
	s.promise(promise{kind: promiseSettled}, at)
	return at.Sub(epoch)
}
