package speaker

import "lvs-ha/vrrp"

// groupRounds bounds how often the groups decide in one turn: a decision may
// cause the next one, but never more than fault, hand-over and take-over.
const groupRounds = 4

// decideGroups has the members of each sync group do what vrrp.DecideGroup says.
func (l *loop) decideGroups() {
	for range groupRounds {
		again := false
		for i, in := range l.instances {
			if in.grouped() && l.firstOfGroup(i) {
				again = l.decideGroup(in.spec.Group) || again
			}
		}
		if !again {
			return
		}
	}
}

func (in *instance) grouped() bool { return in.spec.Config.Grouped && !in.leaving }

// firstOfGroup tells whether no earlier instance belongs to the group of instance i.
func (l *loop) firstOfGroup(i int) bool {
	for _, in := range l.instances[:i] {
		if in.grouped() && in.spec.Group == l.instances[i].spec.Group {
			return false
		}
	}
	return true
}

// decideGroup reports whether anything moved.
func (l *loop) decideGroup(name string) bool {
	l.members = l.members[:0]
	for _, in := range l.instances {
		if in.grouped() && in.spec.Group == name {
			m := in.machine
			l.members = append(l.members, vrrp.Member{State: m.State(), Wants: m.Wants(), Unfit: m.Unfit(), Left: in.left})
			in.left = false
		}
	}
	vrrp.DecideGroup(l.members)
	moved := false
	n := 0
	for _, in := range l.instances {
		if !in.grouped() || in.spec.Group != name {
			continue
		}
		m := l.members[n]
		n++
		if m.Order == vrrp.GroupNone && m.Fault == in.groupFault {
			continue
		}
		in.groupFault = m.Fault
		before := in.machine.State()
		in.step(in.now(), vrrp.Event{Kind: vrrp.EventGroup, Fault: m.Fault, Group: m.Order})
		moved = moved || in.machine.State() != before
	}
	return moved
}

// groupDelta is what tracking takes from the whole group: what its worst
// member has to bear, for unequal priorities would tear it apart.
func (l *loop) groupDelta(name string) int {
	worst, first := 0, true
	for _, in := range l.instances {
		if in.grouped() && in.spec.Group == name && (first || in.delta < worst) {
			worst, first = in.delta, false
		}
	}
	return worst
}
