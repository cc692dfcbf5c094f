package director

import (
	"time"

	"lvs-ha/health"
	"lvs-ha/ipvsctl"
)

// state is what the loop knows, for Plan.
func (d *Director) state(now time.Time) State {
	return State{
		Now: now, Topology: d.top, Verdicts: d.verdicts, Adopting: d.adopting,
		Kernel: d.kernel.table.Table, Owned: d.owned, Roles: d.roles, Accepted: d.accepted,
		Quorum: d.quorum, Admin: d.admin, Returned: d.returned, Gone: d.gone, Doubting: d.doubting,
		Masters: d.strays.masters, Paused: d.pause.On,
	}
}

// verdict made of a change. A check that a reload changed has inherited one,
// which its first result only confirms; and a server may change what it asks for.
func (d *Director) verdict(c *health.Change) Verdict {
	v := Verdict{State: c.To, Since: c.At, Failure: c.Failure, Advice: c.Advice}
	was := d.verdicts[c.Key]
	if was.State == c.To {
		v.Since = was.Since
	}
	switch {
	case c.To != health.Up:
	case was.State == health.Up:
		v.Recovered = was.Recovered
	case was.State == health.Down, !d.adopting:
		v.Recovered = c.At
	default:
		v.Recovered = d.resumed[c.Key]
	}
	return v
}

// expire ends the orders whose time is over.
func (d *Director) expire(now time.Time) {
	changed := false
	for id, was := range d.admin {
		a := was.now(now)
		if a == was {
			continue
		}
		changed = true
		d.o.Log.Info("order for server "+id.Service+"/"+id.Server+" has ended by itself", "event", "admin_expired",
			"service", id.Service, "server", id.Server)
		d.setAdmin(id, a, was.ModeBy.Expires)
	}
	if p := d.pause.now(now); p != d.pause {
		d.pause, changed = p, true
		d.o.Log.Info("the pause has ended by itself: the kernel's table is changed again", "event", "resumed")
	}
	if changed {
		d.saveAdmin()
	}
}

// setAdmin puts an order into force.
func (d *Director) setAdmin(id ServerID, a Admin, now time.Time) {
	d.touchService(id.Service)
	was := d.admin[id]
	if was.aside() == AdminMaintenance && a.aside() == "" {
		d.returned[id] = now
	} else if a.aside() == AdminMaintenance {
		delete(d.returned, id)
	}
	if a.isZero() {
		delete(d.admin, id)
	} else {
		d.admin[id] = a
	}
}

func (d *Director) saveAdmin() error {
	err := saveAdmin(d.o.StateDir, d.admin, d.pause)
	if err != nil {
		d.o.Log.Warn("orders for servers cannot be saved; they hold until the agent ends", "event", "state_unwritable", "err", err)
	}
	return err
}

// removedBefore are the servers that services in the kernel lack: at the start
// that is what an earlier director decided.
func removedBefore(top *Topology, table ipvsctl.Table) map[ServerID]bool {
	out := map[ServerID]bool{}
	for i := range top.Services {
		ts := &top.Services[i]
		e, present := table[ts.Conf.Service.Key]
		if !present {
			continue
		}
		for j := range ts.Servers {
			if _, has := e.Servers[ts.Servers[j].Conf.Kernel.Key]; !has {
				out[ServerID{ts.Conf.Name, ts.Servers[j].Conf.Name}] = true
			}
		}
	}
	return out
}

// rampsUnderWay reads slow starts off the weights in the kernel: a server that
// has part of its weight there was on its way when the director before ended,
// and its way goes on from there.
func rampsUnderWay(top *Topology, table ipvsctl.Table, admin map[ServerID]Admin, now time.Time) map[health.Key]time.Time {
	out := map[health.Key]time.Time{}
	for i := range top.Services {
		ts := &top.Services[i]
		if ts.Conf.SlowStart <= 0 {
			continue
		}
		for j := range ts.Servers {
			srv := &ts.Servers[j]
			w, full := int64(table[ts.Conf.Service.Key].Servers[srv.Conf.Kernel.Key].Weight), int64(srv.Conf.Kernel.Weight)
			if w <= 0 || w >= full || admin[ServerID{ts.Conf.Name, srv.Conf.Name}].Weight != nil {
				continue
			}
			steps := min(rampSteps, full)
			n := (w*steps + full - 1) / full
			for _, k := range srv.Keys {
				out[k] = now.Add(-time.Duration(n * int64(ts.Conf.SlowStart) / steps))
			}
		}
	}
	return out
}
