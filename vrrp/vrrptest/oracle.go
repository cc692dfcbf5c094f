package vrrptest

import (
	"time"

	"lvs-ha/vrrp"
)

// oracle follows what a backup heard and knows, from the RFC and not from the
// machine, when it may take over at the earliest and must at the latest.
type oracle struct {
	earliest vrrp.Time // a take-over before this is wrong
	latest   vrrp.Time // a backup after this is wrong; 0 where nobody can know
	base     vrrp.Time // what both count from
	interval time.Duration
	zero     bool // they are a skew after base

	firstLower    vrrp.Time // of the present lower master, while the preempt delay counts
	lowerEarliest vrrp.Time // that master is lost at the earliest
	lowerAt       vrrp.Time

	from   int // the node heard last, as what counts
	fromAt vrrp.Time

	suppressed    bool
	suppressUntil vrrp.Time
	releasedAt    vrrp.Time // Releasing since
	succeeded     bool      // and the next master was heard
	followed      vrrp.Time // somebody will be master then, or soon after; 0 if that is not known

	offeredSince vrrp.Time // without a break, awake; 0 if it offers nothing

	yieldedAt vrrp.Time // as master to a better one, and has not let go yet
	yieldedTo int       // that node, -1 if it is none of ours
	dropBy    vrrp.Time // the addresses are let go of by then, 0 if it has not yielded
	dropFrom  vrrp.Time // and not before
	letGoBy   vrrp.Time // one that releases lets go by then ...
	letGoMost vrrp.Time // ... which is never after this
	successor int       // whom it takes for the next master, -1 for nobody
}

// margin covers the lateness of timers.
const margin = 2 * lateness

func skew(v vrrp.Version, priority uint8, interval time.Duration) time.Duration {
	if v == vrrp.V2 {
		interval = time.Second
	}
	return interval * time.Duration(256-int(priority)) / 256
}

// from sets both bounds anew: the master with this interval was heard at t.
func (o *oracle) heardMaster(n *Node, t vrrp.Time, interval time.Duration) {
	o.base, o.interval, o.zero = t, interval, false
	d := 3*interval + skew(n.Config.Version, n.m.Priority(), interval)
	o.earliest = t.Add(d)
	o.latest = t.Add(d + margin)
}

// hears sees an advertisement before the machine does.
func (o *oracle) hears(n *Node, a *vrrp.Advertisement, from int) {
	now := n.seg.now
	if n.m.State() != vrrp.Backup {
		if n.m.State() == vrrp.Releasing {
			o.follows(n, a, from)
			// A last word that comes now says nothing of a next master.
			o.succeeded = a.Priority > 0 && n.seg.nodes[from].state() == vrrp.Master
			if a.Priority > 0 {
				o.interval = min(o.interval, a.Interval)
				o.followed = 0 // n takes it for the next master
			}
		}
		return
	}
	me := n.m.Priority()
	switch {
	case a.Priority == 0:
		at := now.Add(skew(n.Config.Version, me, o.interval))
		if at < o.earliest {
			o.earliest = at
		}
		if o.latest != 0 {
			o.latest = min(o.latest, at.Add(margin))
		}
		o.base, o.zero = now, true
	case a.Priority < me && o.preempts(n):
		if n.Config.PreemptDelay == 0 || me == vrrp.OwnerPriority {
			return // both run on
		}
		if o.firstLower == 0 {
			o.firstLower = now
			if o.lowerEarliest != 0 { // one that was interrupted by a command
				o.earliest = min(o.earliest, o.lowerEarliest)
			}
		}
		o.lowerAt = now
		o.lowerEarliest = now.Add(3*a.Interval + skew(n.Config.Version, me, a.Interval))
		o.latest = now.Add(4*a.Interval + margin)
		if n.Config.Version == vrrp.V2 {
			o.latest = o.latest.Add(time.Second)
		}
		o.interval = a.Interval
	default:
		o.firstLower = 0
		o.from, o.fromAt = from, now
		o.heardMaster(n, now, a.Interval)
	}
}

// preempts: is n allowed to replace a lower master?
func (o *oracle) preempts(n *Node) bool {
	return n.ready && !o.isSuppressed(n) && (n.Config.Preempt || n.m.Priority() == vrrp.OwnerPriority)
}

func (o *oracle) suppress(n *Node, d time.Duration) {
	if o.firstLower != 0 {
		o.earliest = min(o.earliest, o.lowerEarliest)
	}
	o.suppressed, o.suppressUntil, o.firstLower = true, 0, 0
	if d > 0 {
		o.suppressUntil = n.seg.now.Add(d)
	}
}

func (o *oracle) isSuppressed(n *Node) bool {
	return o.suppressed && (o.suppressUntil == 0 || n.seg.now < o.suppressUntil)
}

// priority may have changed: the timer of a backup gets shorter or stays.
func (o *oracle) priority(n *Node, before uint8) {
	if n.m == nil || n.m.State() != vrrp.Backup || n.m.Priority() == before {
		return
	}
	if n.Config.Grouped && before == vrrp.OwnerPriority {
		o.latest = 0 // it waits anew
	}
	d := skew(n.Config.Version, n.m.Priority(), o.interval)
	if !o.zero {
		d += 3 * o.interval
	}
	o.earliest = min(o.earliest, o.base.Add(d))
	if o.firstLower != 0 {
		o.lowerEarliest = min(o.lowerEarliest, o.lowerAt.Add(d))
	}
}

// offers: an offer that nobody takes ends when the slowest could have.
func (o *oracle) offers(n *Node) {
	switch most := n.seg.longestSkew() + offerSlack + margin; {
	case !n.offering() || n.stalled():
		o.offeredSince = 0
	case o.offeredSince == 0:
		o.offeredSince = n.seg.now
	case n.seg.now > o.offeredSince.Add(most):
		n.seg.violate(n, "offers for more than %v", most)
	}
}

// reload: whose master was heard goes on with its interval; else nothing is
// known until the next advertisement.
func (o *oracle) reload(n *Node) {
	if n.Config.Version == vrrp.V3 && n.m.State() == vrrp.Backup && o.from >= 0 {
		return
	}
	o.earliest, o.latest, o.lowerEarliest, o.from = 0, 0, 0, -1
	o.interval = min(o.interval, n.Config.Interval)
}

// wake: the master gets one more interval.
func (o *oracle) wake(n *Node) {
	if o.latest != 0 {
		o.latest = max(o.latest, n.seg.now.Add(o.interval+margin))
	}
	if o.dropBy != 0 {
		o.dropBy = max(o.dropBy, n.seg.now.Add(margin))
	}
	if o.letGoBy != 0 {
		o.letGoBy = max(o.letGoBy, n.seg.now.Add(margin))
	}
}

// moved sees each transition after its step.
func (o *oracle) moved(n *Node, a *vrrp.Action, e vrrp.Event) {
	s := n.seg
	if a.From == vrrp.Master && a.To == vrrp.Releasing {
		o.releasedAt, o.succeeded, o.followed = s.now, false, 0
		o.letGoMost, o.successor = releaseBound(n, e), -1
		o.letGoBy = o.letGoMost
		o.interval = n.Config.Interval
		if a.Reason == vrrp.CauseOffer {
			o.interval = min(o.interval, e.Advertisement.Interval)
			o.follows(n, e.Advertisement, n.sender(e))
			for _, p := range n.peers {
				o.succeeded = o.succeeded || p.Source == e.Source && p.state() == vrrp.Master
			}
		}
	}
	if a.From == vrrp.Fault && !s.settled {
		s.lastFault = max(s.lastFault, s.now) // the pause after its addresses had failed is over
	}
	switch a.To {
	case vrrp.Backup:
		o.firstLower, o.lowerEarliest, o.zero = 0, 0, false
		o.from = -1
		switch {
		case a.From == vrrp.Master && e.Kind == vrrp.EventAdvertisement:
			o.heardMaster(n, s.now, e.Advertisement.Interval)
			s.demoted(n, e)
			o.yielded(n, e)
		case a.From == vrrp.Releasing:
			o.earliest, o.latest = o.releasedAt.Add(3*min(o.interval, n.Config.Interval)), 0
			o.base, o.interval = o.releasedAt, min(o.interval, n.Config.Interval)
		default:
			o.heardMaster(n, s.now, n.Config.Interval)
		}
	case vrrp.Master:
		o.takesOver(n, a.Reason)
		o.yieldedAt, o.dropBy, o.dropFrom = 0, 0, 0
		o.interval = n.Config.Interval
	case vrrp.Releasing:
		s.promiseSuccessor(n)
		if e.Kind == vrrp.EventGroup && e.Fault {
			o.followed = s.groupFollows(n)
		}
	case vrrp.Init, vrrp.Fault:
	}
}

// takesOver judges the moment of a take-over.
func (o *oracle) takesOver(n *Node, why vrrp.TransitionReason) {
	s := n.seg
	switch {
	case why == vrrp.CauseOwner:
		if n.m.Priority() != vrrp.OwnerPriority {
			s.violate(n, "became master as owner with priority %d", n.m.Priority())
		}
	case why == vrrp.CauseResume:
	case n.Config.Grouped && n.m.Priority() == vrrp.OwnerPriority: // as soon as the others want to
	case o.firstLower != 0 && s.now >= o.firstLower.Add(n.Config.PreemptDelay) && s.now >= o.earliest:
	case o.firstLower != 0 && s.now >= o.lowerEarliest: // it is lost
	case o.firstLower != 0 && !o.zero:
		s.violate(n, "preempted within the preempt delay")
	case s.now < o.earliest:
		s.violate(n, "took over %v too early", o.earliest.Sub(s.now))
	}
}

// dropped: the addresses went off the link after an order of the machine.
func (o *oracle) dropped(n *Node) {
	s := n.seg
	o.gap(n)
	if o.releasedAt != 0 && !o.succeeded && s.now < o.followed && s.clean(o.releasedAt) && !n.broken {
		s.violate(n, "let go of the addresses %v before anybody could take over", o.followed.Sub(s.now))
	}
	if o.releasedAt == 0 || !o.succeeded || !s.clean(o.releasedAt) || s.blocked != [MaxNodes][MaxNodes]bool{} {
		o.releasedAt = 0
		return
	}
	o.releasedAt = 0
	for _, p := range n.peers {
		// Within holdWithin: two took over one after the other, and the second
		// one is at it. One that froze in the act will be when it wakes.
		if p.alive() && (p.held || p.master() && p.stalled() || p.master() && p.orderedAt.Add(holdWithin) >= s.now) {
			return
		}
	}
	s.violate(n, "gave the addresses away before the next master had them")
}
