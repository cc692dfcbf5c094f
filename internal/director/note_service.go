package director

import (
	"fmt"
	"strings"
)

// serviceRecord is what was said of a service last.
type serviceRecord struct {
	quorum QuorumState
	sorry  bool
	held   int
	short  bool
}

// noteService remembers the quorum of a service for its next decision and logs
// what changed: quorum, sorry server, floor.
func (d *Director) noteService(i int) {
	svc, dec := d.top.Services[i].Conf, d.desired.Services[i]
	if d.quorum[svc.Name] != dec.Quorum {
		d.quorum[svc.Name] = dec.Quorum
	}
	r := d.services[svc.Name]
	if r == nil {
		r = &serviceRecord{}
		d.services[svc.Name] = r
	}
	now := serviceRecord{dec.Quorum.State, dec.SorryActive, dec.Floor.Held, dec.Floor.Short}
	if now == *r {
		return
	}
	was := *r
	*r = now
	d.noteQuorum(svc.Name, max(1, svc.Quorum), dec, was)
	d.noteFloor(i, dec, was)
}

func (d *Director) noteQuorum(name string, need uint32, dec *ServiceDecision, was serviceRecord) {
	if dec.Quorum.State == was.quorum && dec.SorryActive == was.sorry {
		return
	}
	weights := fmt.Sprintf("healthy weight %d of %d, quorum %d", dec.HealthyWeight, dec.ConfiguredWeight, need)
	attrs := []any{"event", "service_quorum", "service", name, "healthy_weight", dec.HealthyWeight, "quorum", need, "sorry", dec.SorryActive}
	switch {
	case dec.Quorum.State == QuorumLost && dec.SorryActive:
		d.o.Log.Warn(fmt.Sprintf("service %s: quorum lost, the sorry server stands in: %s", name, weights), attrs...)
	case dec.Quorum.State == QuorumLost:
		d.o.Log.Warn(fmt.Sprintf("service %s: quorum lost: %s", name, weights), attrs...)
	case was.quorum == QuorumLost:
		d.o.Log.Info(fmt.Sprintf("service %s: quorum met again: %s", name, weights), attrs...)
	}
}

func (d *Director) noteFloor(i int, dec *ServiceDecision, was serviceRecord) {
	f := dec.Floor
	if f.Held == was.held && f.Short == was.short {
		return
	}
	name := d.top.Services[i].Conf.Name
	attrs := []any{"event", "service_floor", "service", name, "held", f.Held, "floor_weight", f.Weight, "serving_weight", dec.ServingWeight}
	switch {
	case f.Short:
		d.o.Log.Warn(fmt.Sprintf("service %s: min_healthy cannot be kept: weight %d is left, it asks for %d", name, dec.ServingWeight, f.Weight), attrs...)
	case f.Held > 0:
		d.o.Log.Warn(fmt.Sprintf("service %s: min_healthy keeps servers in service that would be out: %s; are the checks right?", name, strings.Join(d.held(i), ", ")), attrs...)
	default:
		d.o.Log.Info(fmt.Sprintf("service %s: min_healthy is met without help again", name), attrs...)
	}
}

// held names the servers that the floor keeps.
func (d *Director) held(i int) []string {
	var names []string
	for j := range d.desired.Services[i].Servers {
		if d.desired.Services[i].Servers[j].Held {
			names = append(names, d.top.Services[i].Servers[j].Conf.Name)
		}
	}
	return names
}

// serviceWarnings are for people, present now.
func (d *Director) serviceWarnings() []string {
	var out []string
	for i := range d.desired.Services {
		dec, name := d.desired.Services[i], d.top.Services[i].Conf.Name
		if dec.SorryActive {
			out = append(out, fmt.Sprintf("service %s: the sorry server stands in", name))
		}
		switch f := dec.Floor; {
		case f.Held > 0:
			out = append(out, fmt.Sprintf("service %s: min_healthy keeps %s in service that would be out", name, strings.Join(d.held(i), ", ")))
		case f.Short:
			out = append(out, fmt.Sprintf("service %s: min_healthy cannot be kept: weight %d is left, it asks for %d", name, dec.ServingWeight, f.Weight))
		}
	}
	if d.pause.On {
		out = append(out, d.pause.By.why("paused")+"; nothing is changed in the kernel (lvs-ha resume)")
	}
	return out
}
