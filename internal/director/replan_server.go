package director

import (
	"cmp"
	"slices"

	"lvs-ha/conf"
)

// A verdict concerns one server, and in a service at rest nothing else in it:
// its floor stands by itself, its quorum is met, no server waits for its first
// verdict, and no sorry server is left over. There the others, thousands, are
// not looked at. What is not so, or would not be so afterwards, and a server
// that time changes too (slow start, removal, an order with an end), has the
// whole service decided on.

// onlyKernel in place of a server's position: what the kernel holds of the
// service has changed, and nothing else.
const onlyKernel = -1

// serverRedecision is a server that was decided on again by itself.
type serverRedecision struct {
	server int
	was    ServerDecision
}

// atRest tells whether the decision is what its servers by themselves make of
// it: each depends on no other one, and none on what the kernel holds.
func (x *ServiceDecision) atRest(s *State, svc *conf.Service) bool {
	if !x.settled || len(x.extra) > 0 || x.Quorum.State != QuorumMet || s.Quorum[svc.Name] != x.Quorum || uint64(x.HealthyWeight) < needs(svc, QuorumMet) {
		return false
	}
	// With more servers the weights together may be too large to be compared.
	if svc.MinHealthy > 0 && (x.Floor.Held > 0 || x.ServingWeight < x.Floor.Weight || len(x.Servers) > 1<<16) {
		return false
	}
	if svc.Sorry == nil {
		return true
	}
	_, lingers := s.Kernel[svc.Service.Key].Servers[svc.Sorry.Key]
	return !lingers
}

// again decides on single servers again, in place, and tells what was before.
// Where that may be more than they alone it does nothing and tells so. at
// names servers of this service, each once.
func (x *ServiceDecision) again(s *State, ts *TopologyService, at []serverAt) (done []serverRedecision, ok bool) {
	if !x.atRest(s, ts.Conf) {
		return nil, false
	}
	before := *x
	p := pool{ts: ts, dec: &ServiceDecision{}}
	p.kernel, p.present = s.Kernel[ts.Conf.Service.Key]
	done = make([]serverRedecision, 0, len(at))
	ok = true
	for _, a := range at {
		if a.server == onlyKernel {
			continue
		}
		*p.dec = ServiceDecision{judged: true, settled: true}
		dec := &x.Servers[a.server]
		is, c := p.alone(s, &ts.Servers[a.server])
		is.claim = c.weight
		if ok = !dec.timed && p.dec.settled; !ok {
			break
		}
		done = append(done, serverRedecision{int(a.server), *dec})
		x.subtract(dec)
		*dec = is
		x.add(dec)
		x.next = earlier(x.next, p.dec.next)
	}
	if ok && x.atRest(s, ts.Conf) {
		return done, true
	}
	for _, r := range done {
		x.Servers[r.server] = r.was
	}
	*x = before
	return nil, false
}

// ofOneService takes the servers of the first one's service off the list.
func ofOneService(list []serverAt) (these, rest []serverAt) {
	n := 1
	for n < len(list) && list[n].service == list[0].service {
		n++
	}
	return list[:n], list[n:]
}

// once is the list sorted, with each server in it once.
func once(list []serverAt) []serverAt {
	if len(list) < 2 {
		return list
	}
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b serverAt) int {
		return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.server, b.server))
	})
	return slices.Compact(list)
}
