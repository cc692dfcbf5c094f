package vrrptest

import (
	"fmt"

	"lvs-ha/vrrp"
)

// judge: one right master in each connected part, and nobody else holds anything.
func (s *Segment) judge() {
	again := s.lastFault
	for _, n := range s.nodes {
		// A node whose addresses failed tries again after a pause of its own.
		if n.m != nil && n.state() == vrrp.Fault && !n.fault {
			if d, ok := n.m.Deadline(); ok {
				again = max(again, d)
			}
		}
	}
	if again = again.Add(s.Bound()); again > s.now {
		s.promise(promise{kind: promiseSettled}, again)
		return
	}
	s.settled = true
	var seen [MaxNodes]bool
	for i := range s.nodes {
		if seen[i] {
			continue
		}
		var master *Node
		var able []*Node
		for j, n := range s.nodes {
			if j != i && !s.mutual(i, j) {
				continue
			}
			seen[j] = true
			if n.m == nil || !n.linkUp {
				continue
			}
			if n.state() == vrrp.Master {
				if master != nil {
					s.violate(n, "is a second master beside %s", master.Name)
				}
				master = n
			} else if n.held {
				s.violate(n, "holds the addresses as %v", n.state())
			}
			if !n.fault && !n.Config.Grouped {
				able = append(able, n)
			}
		}
		if master == nil {
			if len(able) > 0 {
				s.violate(able[0], "there is no master (%s)", s.states())
			}
			continue
		}
		if !master.held {
			s.violate(master, "is master without the addresses")
		}
		for _, n := range able {
			if n.m.Priority() > master.m.Priority() && n.oracle.preempts(n) {
				s.violate(master, "is master with priority %d, but %s has %d", master.m.Priority(), n.Name, n.m.Priority())
			}
		}
	}
	for i := range s.hosts {
		s.judgeGroup(&s.hosts[i])
	}
}

// judgeGroup: its host is master with all of it, or has a reason on one lane at
// least: a master that it has no right to replace.
func (s *Segment) judgeGroup(h *host) {
	if len(h.group) == 0 {
		return
	}
	for _, n := range h.group {
		if n.m == nil || !n.linkUp || n.fault {
			for _, o := range h.group {
				if o.master() {
					s.violate(o, "is master, though %s of its group cannot be", n.Name)
				}
			}
			return
		}
	}
	for _, n := range h.group {
		if n.state() == vrrp.Master {
			return // all are; see whole
		}
		for _, p := range n.peers {
			if p.state() == vrrp.Master && s.mutual(n.id, p.id) && !(n.m.Priority() > p.m.Priority() && n.oracle.preempts(n)) {
				return
			}
		}
	}
	s.violate(h.group[0], "should be master with its group (%s)", s.states())
}

func (s *Segment) states() string {
	out := ""
	for _, n := range s.nodes {
		out += fmt.Sprintf(" %s=%v", n.Name, n.state())
	}
	return out[1:]
}
