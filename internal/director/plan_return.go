package director

import (
	"time"

	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// A director that was cut off has judged every server down meanwhile. When its
// link is back it must not take over again with a table of zeros.

// ReturnLimit bounds how long a director that is back from being cut off waits
// for servers that it lost meanwhile: some may really be down.
const ReturnLimit = 10 * time.Second

// returnDelta leaves priority 1: enough if nobody else is there.
const returnDelta = -253

// next is the role after a transition.
func (r Role) next(t link.Transition) Role {
	n := Role{State: t.To, Since: t.At, Was: t.From, Planned: t.Planned}
	switch {
	case t.To == vrrp.Init && t.From != vrrp.Init && !t.Planned:
		n.Lost = t.At
	case t.From == vrrp.Init && t.To == vrrp.Backup:
		n.Lost = r.Lost
	}
	return n
}

// returned holds an instance back from preempting while servers that went down
// when it was cut off have not come back.
func (d *Desired) returned(s *State) {
	for i := range s.Topology.Config.VRRP {
		name := s.Topology.Config.VRRP[i].Name
		r := s.Roles[name]
		limit := r.Since.Add(ReturnLimit)
		if r.State != vrrp.Backup || r.Lost.IsZero() || !s.Now.Before(limit) || !d.lostServers(r.Lost, r.Since) {
			continue
		}
		d.delta(name, returnDelta)
		d.at(limit)
	}
}

// lostServers tells whether a server is down that went down in this time.
func (d *Desired) lostServers(from, to time.Time) bool {
	for i := range d.Services {
		for j := range d.Services[i].Servers {
			x := &d.Services[i].Servers[j]
			if x.State == ServerDown && !x.Since.Before(from) && !x.Since.After(to) {
				return true
			}
		}
	}
	return false
}
