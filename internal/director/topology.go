package director

import (
	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/ipvsctl"
)

// Topology is a configuration prepared for deciding: every check's key is
// worked out once, not at each decision. It is immutable.
type Topology struct {
	Config   *conf.Config
	Services []TopologyService // in the order of the configuration
	// Specs holds each distinct check once.
	Specs []health.Spec
	// Probed are their keys.
	Probed map[health.Key]bool
	// Tracks are the keys of the tracked checks, parallel to Config.Duties.
	Tracks [][]health.Key
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
	t := &Topology{Config: c, Services: make([]TopologyService, len(c.Services))}
	seen := map[health.Key]bool{}
	t.Probed = seen
	for i := range c.Services {
		s := &c.Services[i]
		ts := TopologyService{Conf: s, Servers: make([]TopologyServer, len(s.Servers))}
		for j := range s.Servers {
			srv := &s.Servers[j]
			keys := make([]health.Key, len(srv.Checks))
			for k := range srv.Checks {
				key := srv.Checks[k].Spec.Key()
				keys[k] = key
				// A server out of service is not probed: nobody would use the answer.
				if srv.Enabled && !seen[key] {
					seen[key] = true
					t.Specs = append(t.Specs, srv.Checks[k].Spec)
				}
			}
			ts.Servers[j] = TopologyServer{Conf: srv, Keys: keys}
		}
		t.Services[i] = ts
	}
	t.tracks(c, seen)
	return t
}

// ServiceKeys is the set of services that the configuration names.
func (t *Topology) ServiceKeys() map[ipvsctl.ServiceKey]bool {
	m := make(map[ipvsctl.ServiceKey]bool, len(t.Services))
	for i := range t.Services {
		m[t.Services[i].Conf.Service.Key] = true
	}
	return m
}
