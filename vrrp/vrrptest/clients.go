package vrrptest

import (
	"time"

	"lvs-ha/vrrp"
)

// clients stand beside each node, at the same switch: they believe the last
// announcement that they heard.
type clients struct {
	believe [MaxNodes]int // the node, -1 for none
	since   [MaxNodes]vrrp.Time
	// open: since when all packets pass from one node to those beside another; 0: they do not.
	open [MaxNodes][MaxNodes]vrrp.Time
}

// corrected is how soon a master has announced again after the last sign of
// another one: it may have to wait for its spacing, or for an interval.
const corrected = 4 * time.Second

func (s *Segment) resetClients() {
	s.clients = clients{}
	for i := range s.clients.believe {
		s.clients.believe[i] = -1
	}
	s.reopen()
}

// reopen after a change of what passes.
func (s *Segment) reopen() {
	for i := range s.nodes {
		for j := range s.nodes {
			switch at := &s.clients.open[i][j]; {
			case !s.conn(i, j) || s.loss > 0 || s.delay > 0:
				*at = 0
			case *at == 0:
				*at = max(s.now, s.disturbed) // what was delayed may come until then
			}
		}
	}
}

// heardBeside n: an announcement.
func (s *Segment) heardBeside(n *Node, from int) {
	if n.linkUp {
		s.clients.believe[n.id], s.clients.since[n.id] = from, s.now
	}
}

// sign of another node that n has as master: it may have announced too.
func (n *Node) sign(from int) {
	if n.m.State() == vrrp.Master {
		n.signs[from] = n.seg.now
	}
}

// judgeClients: in the end all believe the master that reaches them, if it
// could know: it has become master since they heard another one, or had a sign
// of that one since.
func (s *Segment) judgeClients() {
	for _, n := range s.nodes {
		if !n.master() || !n.held || n.stalled() {
			continue
		}
		for i := range s.nodes {
			who, open := s.clients.believe[i], s.clients.open[n.id][i]
			if who < 0 || who == n.id || open == 0 {
				continue
			}
			known := max(n.masterSince, n.signs[who])
			// Those beside i may have heard it a little later than n.
			if known >= open && known.Add(delayMost) >= s.clients.since[i] && known.Add(corrected) < s.now {
				s.violate(n, "is master, but those beside %s heard %s last, at %v", s.nodes[i].Name, s.nodes[who].Name, s.clients.since[i].Sub(epoch))
			}
		}
	}
}
