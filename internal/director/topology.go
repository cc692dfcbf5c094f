package director

import (
	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/ipvsctl"
)

// Topology is a configuration prepared for deciding: every check's key is
// worked out once, not at each decision, and what an event concerns is found
// without a search. It is immutable.
type Topology struct {
	Config   *conf.Config
	Services []TopologyService // in the order of the configuration
	// Specs holds each distinct check once, Keys are theirs.
	Specs []health.Spec
	Keys  []health.Key
	// Tracks are the keys of the tracked checks, parallel to Config.Duties.
	Tracks [][]health.Key

	named    map[string]int             // services by name
	keyed    map[ipvsctl.ServiceKey]int // services by what they are in the kernel
	withdraw []int                      // services that may lower a priority
	probed   map[health.Key]int         // position in Keys
	first    []int32                    // parallel to Keys: the first use of each, -1 for none
	uses     []use
}

// use of a check by a server.
type use struct {
	serverAt
	next int32 // use of the same check; -1 for none
}

// serverAt is a server by its position.
type serverAt struct {
	service int32 // in Topology.Services
	server  int32 // in TopologyService.Servers
}

// TopologyService is one service; Conf points into the configuration.
type TopologyService struct {
	Conf    *conf.Service
	Servers []TopologyServer
}

// TopologyServer is one server; Keys[i] belongs to Conf.Checks[i].
type TopologyServer struct {
	Conf *conf.Server
	Keys []health.Key
}

// NewTopology prepares a configuration.
func NewTopology(c *conf.Config) *Topology {
	servers := 0
	for i := range c.Services {
		servers += len(c.Services[i].Servers)
	}
	t := &Topology{
		Config: c, Services: make([]TopologyService, len(c.Services)),
		Specs: make([]health.Spec, 0, servers), Keys: make([]health.Key, 0, servers),
		first: make([]int32, 0, servers), uses: make([]use, 0, servers), probed: make(map[health.Key]int, servers),
		named: make(map[string]int, len(c.Services)), keyed: make(map[ipvsctl.ServiceKey]int, len(c.Services)),
	}
	for i := range c.Services {
		s := &c.Services[i]
		ts := TopologyService{Conf: s, Servers: make([]TopologyServer, len(s.Servers))}
		for j := range s.Servers {
			srv := &s.Servers[j]
			keys := make([]health.Key, len(srv.Checks))
			for k := range srv.Checks {
				keys[k] = srv.Checks[k].Spec.Key()
				// A server out of service is not probed: nobody would use the answer.
				if srv.Enabled {
					t.use(t.probe(keys[k], &srv.Checks[k].Spec), serverAt{int32(i), int32(j)})
				}
			}
			ts.Servers[j] = TopologyServer{Conf: srv, Keys: keys}
		}
		t.Services[i] = ts
		t.named[s.Name], t.keyed[s.Service.Key] = i, i
		if withdraws(s) {
			t.withdraw = append(t.withdraw, i)
		}
	}
	t.tracks(c)
	return t
}

// server finds a server by name, nil if there is none. It looks from a place
// outwards: most stand where they stood in another configuration, or nearby.
func (t *Topology) server(service, name string, at int) *TopologyServer {
	i, ok := t.named[service]
	if !ok {
		return nil
	}
	servers := t.Services[i].Servers
	at = min(at, len(servers))
	for off := range len(servers) + 1 {
		if j := at - off; j >= 0 && j < len(servers) && servers[j].Conf.Name == name {
			return &servers[j]
		}
		if j := at + off; j < len(servers) && servers[j].Conf.Name == name {
			return &servers[j]
		}
	}
	return nil
}

// probe has a check run and tells its position.
func (t *Topology) probe(k health.Key, s *health.Spec) int {
	n, there := t.probed[k]
	if !there {
		n = len(t.Keys)
		t.probed[k] = n
		t.Keys, t.Specs, t.first = append(t.Keys, k), append(t.Specs, *s), append(t.first, -1)
	}
	return n
}

// use notes that the check at a position feeds a server.
func (t *Topology) use(check int, x serverAt) {
	if at := t.first[check]; at >= 0 && t.uses[at].serverAt == x {
		return
	}
	t.uses = append(t.uses, use{x, t.first[check]})
	t.first[check] = int32(len(t.uses) - 1)
}

// Probes tells whether the check runs.
func (t *Topology) Probes(k health.Key) bool {
	_, there := t.probed[k]
	return there
}

// fed calls f with each server that the check feeds.
func (t *Topology) fed(k health.Key, f func(serverAt)) {
	n, there := t.probed[k]
	if !there {
		return
	}
	for at := t.first[n]; at >= 0; at = t.uses[at].next {
		f(t.uses[at].serverAt)
	}
}

// ServiceKeys is the set of services that the configuration names.
func (t *Topology) ServiceKeys() map[ipvsctl.ServiceKey]bool {
	m := make(map[ipvsctl.ServiceKey]bool, len(t.Services))
	for i := range t.Services {
		m[t.Services[i].Conf.Service.Key] = true
	}
	return m
}
