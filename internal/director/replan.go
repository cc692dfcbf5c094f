package director

import (
	"slices"
	"time"

	"lvs-ha/conf"
	"lvs-ha/ipvsctl"
)

// A verdict concerns few services, mostly one server in each, and what is
// decided about one service does not depend on another. Replan decides on those
// again; the rest of the decision, thousands of servers, stays as it is.

// redecision is a service that was decided on again: as a whole, or, where was
// is nil, the servers alone.
type redecision struct {
	service int
	was     *ServiceDecision
	servers []serverRedecision
}

// Replan brings d, decided from an earlier state of the same topology, up to
// s: then it equals Plan(s). dirty names the services that what has changed
// since concerns; those whose time has come are found without. servers are such
// as alone are concerned in their services, by a verdict or by what the kernel
// holds; their decisions may be changed in place. What concerns no single
// service (roles, doubt, tracked checks) may have changed too.
func (d *Desired) Replan(s State, dirty []int, servers []serverAt) []redecision {
	dirty, named := d.due(&s, dirty)
	done := make([]redecision, 0, len(dirty)+1)
	for servers = once(servers); len(servers) > 0; {
		var these []serverAt
		these, servers = ofOneService(servers)
		i := int(these[0].service)
		if named != nil && named[i] {
			continue
		}
		x := d.Services[i]
		list, ok := x.again(&s, &s.Topology.Services[i], these)
		if !ok {
			dirty = append(dirty, i)
			continue
		}
		d.soonest = earlier(d.soonest, x.next)
		done = append(done, redecision{service: i, servers: list})
	}
	search := false
	for _, i := range dirty {
		was := d.Services[i]
		is := decideService(&s, &s.Topology.Services[i])
		search = search || !was.next.IsZero() && !d.soonest.Before(was.next)
		d.Services[i] = is
		d.uncount(was)
		d.count(is)
		done = append(done, redecision{service: i, was: was})
	}
	if search {
		d.soonest = time.Time{}
		for _, x := range d.Services {
			d.soonest = earlier(d.soonest, x.next)
		}
	}
	d.whole(&s)
	return done
}

// due adds the services whose time has come to those that are dirty. named
// tells which they are together; nil if there are none.
func (d *Desired) due(s *State, dirty []int) (list []int, named []bool) {
	over := !d.soonest.IsZero() && !s.Now.Before(d.soonest)
	if !over && len(dirty) == 0 {
		return nil, nil
	}
	list, named = slices.Clone(dirty), make([]bool, len(d.Services))
	for _, i := range dirty {
		named[i] = true
	}
	if !over {
		return list, named
	}
	for i, x := range d.Services {
		if !named[i] && !x.next.IsZero() && !s.Now.Before(x.next) {
			named[i] = true
			list = append(list, i)
		}
	}
	return list, named
}

// count adds a service's part to what is true of all.
func (d *Desired) count(x *ServiceDecision) {
	if !x.judged {
		d.unjudged++
	}
	if !x.settled {
		d.unsettled++
	}
	d.soonest = earlier(d.soonest, x.next)
}

// uncount takes it away again, but for soonest.
func (d *Desired) uncount(x *ServiceDecision) {
	if !x.judged {
		d.unjudged--
	}
	if !x.settled {
		d.unsettled--
	}
}

// whole decides what follows from all services together, and what concerns none.
func (d *Desired) whole(s *State) {
	d.Judged, d.Settled, d.Next = d.unjudged == 0, d.unsettled == 0, d.soonest
	d.Instances, d.Tracks = nil, nil
	d.ManageDaemons, d.Daemons, d.Stragglers = false, nil, nil
	d.withdraw(s)
	d.track(s)
	d.doubt(s)
	d.returned(s)
	d.sync(s)
	d.stragglers(s)
}

// Goal is the whole of what the kernel should hold. The maps of the table are
// the caller's.
func (d *Desired) Goal(s *State) ipvsctl.Goal {
	g := ipvsctl.Goal{
		Table: make(ipvsctl.Table, len(d.Services)), Owned: s.Owned,
		Exclusive: s.Topology.Config.IPVS.Unmanaged == conf.UnmanagedRemove, Timeouts: s.Topology.Config.IPVS.Timeouts,
		ManageDaemons: d.ManageDaemons, Daemons: d.Daemons,
		Keep: map[ipvsctl.ServiceKey]map[ipvsctl.ServerKey]bool{},
	}
	for i, x := range d.Services {
		ts := &s.Topology.Services[i]
		key := ts.Conf.Service.Key
		e := ipvsctl.Entry{Service: ts.Conf.Service, Servers: make(map[ipvsctl.ServerKey]ipvsctl.Server, len(x.Servers)+len(x.extra))}
		var kept map[ipvsctl.ServerKey]bool
		for j := range x.Servers {
			c := change(ts, x, j)
			if !c.there {
				continue
			}
			e.Servers[c.server.Key] = c.server
			if c.keep {
				if kept == nil {
					kept = make(map[ipvsctl.ServerKey]bool, len(x.Servers))
				}
				kept[c.server.Key] = true
			}
		}
		if kept != nil {
			g.Keep[key] = kept
		}
		for _, k := range x.extra {
			e.Servers[k.Key] = k
		}
		g.Table[key] = e
	}
	return g
}

// keep notes in a goal whether a server's weight in the kernel stands.
func keep(g *ipvsctl.Goal, svc ipvsctl.ServiceKey, srv ipvsctl.ServerKey, yes bool) {
	if !yes {
		delete(g.Keep[svc], srv)
		return
	}
	if g.Keep[svc] == nil {
		g.Keep[svc] = map[ipvsctl.ServerKey]bool{}
	}
	g.Keep[svc][srv] = true
}

// serverChange is what a goal is to hold of one server from now on.
type serverChange struct {
	service     ipvsctl.ServiceKey
	server      ipvsctl.Server
	there, keep bool
}

// change is what the goal holds of a configured server.
func change(ts *TopologyService, x *ServiceDecision, j int) serverChange {
	dec := &x.Servers[j]
	c := serverChange{ts.Conf.Service.Key, ts.Servers[j].Conf.Kernel, dec.InTable, dec.InTable && dec.Keep}
	c.server.Weight = dec.Weight
	return c
}

// changes lists what a service decided on again changes in the goal.
func (d *Desired) changes(t *Topology, done []redecision) []serverChange {
	var out []serverChange
	for _, r := range done {
		ts, was, is := &t.Services[r.service], r.was, d.Services[r.service]
		compare := func(j int, a *ServerDecision) {
			if b := &is.Servers[j]; a.InTable != b.InTable || b.InTable && (a.Weight != b.Weight || a.Keep != b.Keep) {
				out = append(out, change(ts, is, j))
			}
		}
		if was == nil {
			for n := range r.servers {
				compare(r.servers[n].server, &r.servers[n].was)
			}
			continue
		}
		for j := range is.Servers {
			compare(j, &was.Servers[j])
		}
		if len(was.extra)+len(is.extra) == 0 {
			continue
		}
		left := map[ipvsctl.ServerKey]ipvsctl.Server{}
		for _, k := range was.extra {
			left[k.Key] = k
		}
		for _, k := range is.extra {
			if left[k.Key] != k {
				out = append(out, serverChange{ts.Conf.Service.Key, k, true, false})
			}
			delete(left, k.Key)
		}
		for _, k := range left {
			out = append(out, serverChange{service: ts.Conf.Service.Key, server: k})
		}
	}
	return out
}
