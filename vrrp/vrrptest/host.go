package vrrptest

import "lvs-ha/vrrp"

// MaxLanes is how many instances a host runs at most, each on a lane, which is
// a network of its own.
const MaxLanes = 3

// host is one process with its instances, and the machine it runs on.
type host struct {
	id    int
	nodes []*Node // by lane
	group []*Node // those of its sync group
}

// groupRounds bounds how often a group decides in one turn of a speaker.
const groupRounds = 4

func (h *host) alive() bool {
	for _, n := range h.nodes {
		if n.m != nil {
			return true
		}
	}
	return false
}

// start the process; with resume it goes on where it may.
func (h *host) start(resume bool) {
	if h.alive() {
		return
	}
	whole := true // a group goes on as one, or not at all
	for _, n := range h.group {
		whole = whole && n.mayResume()
	}
	var goesOn [MaxLanes]bool
	for i, n := range h.nodes {
		goesOn[i] = resume && n.mayResume() && (whole || !n.Config.Grouped)
		n.begin()
		n.ready = goesOn[i] // it counts as ready until its director says otherwise
	}
	for i, n := range h.nodes {
		if goesOn[i] {
			n.step(vrrp.Event{Kind: vrrp.EventResume})
		} else {
			n.seg.queue.add(n.seg.now.Add(n.ReadyAfter), atReady, n.id).gen = n.life
		}
	}
	if len(h.nodes) == 1 {
		h.nodes[0].iface()
		return
	}
	// Each interface is looked at by a goroutine of its own; groups decide first.
	h.decide()
	for _, n := range h.nodes {
		n.seg.queue.add(n.seg.now.Add(n.seg.rand.Between(0, workerFastest)), atIface, n.id).gen = n.life
	}
}

// join prepares the configurations of the group.
func (h *host) join() {
	var list [MaxLanes]*vrrp.Config
	for i, n := range h.group {
		list[i] = &n.Config
	}
	vrrp.JoinGroup(list[:len(h.group)])
}

func (h *host) stop() {
	for _, n := range h.nodes {
		if n.m != nil {
			n.leaving = true
			n.step(vrrp.Event{Kind: vrrp.EventStop})
		}
	}
}

// wake after a stall: what waited in the sockets comes before the timers, and
// the group decides when all of it was seen.
func (h *host) wake() {
	for _, n := range h.nodes {
		n.wake()
	}
	for _, n := range h.nodes {
		n.drain()
	}
	for _, n := range h.nodes {
		if n.m != nil {
			n.tick()
		}
	}
}

// delta is what tracking takes from the whole group: what its worst member has
// to bear.
func (h *host) delta() int {
	worst, first := 0, true
	for _, n := range h.group {
		if n.alive() && !n.leaving && (first || n.delta < worst) {
			worst, first = n.delta, false
		}
	}
	return worst
}

// posture tells a node, and those of its group, what everything tracked means.
func (h *host) posture(n *Node) {
	if !n.grouped() {
		n.worn = n.delta
		n.posture()
		return
	}
	d := h.delta()
	n.worn = d
	n.posture()
	for _, o := range h.group {
		if o != n && o.grouped() && o.worn != d {
			o.worn = d
			o.posture()
		}
	}
}

// decide has the members of the group do what vrrp.DecideGroup says, as a
// speaker does at the end of each turn.
func (h *host) decide() {
	s := h.nodes[0].seg
	var list [MaxLanes]vrrp.Member
	for range groupRounds {
		members := list[:0]
		for _, n := range h.group {
			if n.grouped() {
				members = append(members, vrrp.Member{State: n.m.State(), Wants: n.m.Wants(), Unfit: n.m.Unfit(), Left: n.left})
				n.left = false
			}
		}
		if len(members) == 0 {
			return
		}
		vrrp.DecideGroup(members)
		moved := false
		i := 0
		for _, n := range h.group {
			if !n.grouped() {
				continue
			}
			m := members[i]
			i++
			if m.Order == vrrp.GroupNone && m.Fault == n.groupFault {
				continue
			}
			n.groupFault = m.Fault
			before := n.m.State()
			n.step(vrrp.Event{Kind: vrrp.EventGroup, Fault: m.Fault, Group: m.Order})
			moved = moved || n.state() != before
		}
		if !moved {
			h.whole()
			return
		}
	}
	s.violate(h.group[0], "the group decides without end")
}
