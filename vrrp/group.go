package vrrp

import "time"

// A sync group is a set of instances that are master together or not at all,
// because one without the others is of no use: the inner and the outer address
// of a director that routes, or IPv4 and IPv6 of one service.
//
//   - One that cannot take part (Unfit) keeps all others out.
//   - A group takes over when all of its members want to, as their own timers
//     tell them. While one of them still hears a master that is in order, the
//     group there is whole, and taking a part of it would split it.
//   - Members whose group is master already join it when they want to.
//   - When one stops being master, the others hand over: priority 0, and the
//     addresses stay until the next master is there. How long they wait for one
//     follows from the slowest of the group: its skew, and where one has lost
//     its link its master-down interval, for so long nobody takes over there.
//   - Of two masters of equal priority the higher address wins, and it may be
//     the one node's here and the other's there (IPv4 and IPv6 of two nodes are
//     often so): both would yield, and nobody be left. So the first member
//     decides, by VRID and family, which all nodes have in common; the others
//     wait for its decision before they yield, and not longer than it can take.

// GroupOrder is what a member has to do now.
type GroupOrder uint8

const (
	GroupNone GroupOrder = iota
	// GroupLead: take over, as the member wants to.
	GroupLead
	// GroupYield: hand over in order.
	GroupYield
)

// Member is what the decision on a group has to know of one instance.
type Member struct {
	State State
	Wants bool // to take over; Machine.Wants
	Unfit bool // Machine.Unfit
	Left  bool // it has stopped being master since the last decision

	// The decision.
	Fault bool // another one is unfit
	Order GroupOrder
}

// DecideGroup fills in Fault and Order of the members of one group.
// The first decision comes before anybody knows of an interface: a member that
// would resume as master then waits for the others.
func DecideGroup(members []Member) {
	unfit, masters, wanting, left := 0, 0, 0, false
	for i := range members {
		m := &members[i]
		if m.Unfit {
			unfit++
		}
		switch {
		case m.State == Master:
			masters++
		case m.State == Backup && m.Wants:
			wanting++
		}
		left = left || m.Left
	}
	for i := range members {
		m := &members[i]
		m.Fault, m.Order = unfit > 1 || unfit == 1 && !m.Unfit, GroupNone
		switch {
		case unfit > 0:
		case left && m.State == Master:
			m.Order = GroupYield
		case left:
		case m.State == Backup && m.Wants && (masters > 0 || wanting == len(members)):
			m.Order = GroupLead
		}
	}
}

// JoinGroup prepares the configurations of the members of one group; of one
// that is alone it makes an ordinary instance.
func JoinGroup(members []*Config) {
	var first *Config
	var interval, skew time.Duration
	for _, c := range members {
		if first == nil || c.VRID < first.VRID || c.VRID == first.VRID && c.Family < first.Family {
			first = c
		}
		interval = max(interval, c.Interval)
		if c.Version == V2 {
			skew = max(skew, time.Second)
		} else {
			skew = max(skew, c.Interval)
		}
	}
	for _, c := range members {
		c.Grouped, c.GroupTie, c.GroupInterval, c.GroupSkew = false, false, 0, 0
		if len(members) > 1 {
			c.Grouped, c.GroupTie, c.GroupInterval, c.GroupSkew = true, c != first, interval, skew
		}
	}
}

// tieWaits tells whether a master that has lost a tie on its own segment leaves
// it to the first member of its group. The masters there hear each other within
// an interval, if at all.
func (m *Machine) tieWaits(now Time, interval time.Duration) bool {
	if !m.cfg.GroupTie {
		return false
	}
	// The winner may be slower than all of us.
	if m.tieAt == 0 || now.Sub(m.tieHeard) > 3*max(m.cfg.GroupInterval, interval) {
		m.tieAt = now
	}
	m.tieHeard = now
	m.claimAt = 0 // it may have the right to claim our addresses
	return now.Sub(m.tieAt) <= m.cfg.GroupInterval+tieSlack
}

// groupReleaseBound is that of a master whose sibling left without a word, as
// one that lost its link does: the next group waits for the sibling as for any
// lost master before it takes over as one. After a reload that may be by the
// interval of before: who would preempt does not take the new one from us.
func (m *Machine) groupReleaseBound(now Time) Time {
	slowest := m.cfg.GroupInterval
	if now < m.formerUntil {
		slowest = max(slowest, m.former)
	}
	return now.Add(min(3*slowest+m.longestSkew(now)+releaseSlack, releaseMost))
}

// Wants tells that a member of a sync group would be master now if it were alone.
func (m *Machine) Wants() bool { return m.state == Backup && m.wants }

// Unfit tells that something of its own keeps the instance out of the election.
func (m *Machine) Unfit() bool {
	if m.state != Init && m.state != Fault {
		return false
	}
	switch m.last {
	case CauseInterfaceDown, CauseNoSource, CauseStartDelay, CauseTrack, CauseAddresses:
		return true
	default:
		return false
	}
}

// group takes the decision on the group.
func (m *Machine) group(now Time, fault bool, o GroupOrder) {
	if !m.cfg.Grouped {
		return
	}
	if fault != m.groupFault {
		m.groupFault = fault
		switch m.state {
		case Init, Fault:
			m.settle(now)
		case Backup:
			m.transition(Fault, CauseGroup, false)
		case Master:
			m.release(now, CauseGroup, true)
			m.releaseUntil = m.groupReleaseBound(now)
			m.releaseAt = m.releaseUntil
		case Releasing:
		}
	}
	switch {
	case o == GroupLead && m.Wants():
		m.takeOver(now, m.wantDelay)
	case o == GroupYield && m.state == Master:
		m.release(now, CauseGroup, true)
	}
}
