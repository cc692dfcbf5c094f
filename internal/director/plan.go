package director

import (
	"fmt"
	"net/netip"
	"time"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/ipvsctl"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// State is everything that a decision depends on.
type State struct {
	Now      time.Time
	Topology *Topology
	// Verdicts of the distinct checks; a missing one is unknown.
	Verdicts map[health.Key]Verdict
	// Adopting is true from the start until every server has a verdict (or a
	// deadline): what the kernel lacks in a service it has waits for a verdict then.
	Adopting bool
	// Kernel is the table as last known.
	Kernel ipvsctl.Table
	// Owned are the services that we may delete.
	Owned map[ipvsctl.ServiceKey]bool
	// Roles of the VRRP instances by name; empty before the speaker told.
	Roles map[string]Role
	// Accepted is when the configuration came into force.
	Accepted time.Time
	// Quorum of the services by name, as decided last; one that is missing is
	// read off the kernel's table.
	Quorum map[string]Quorum
	// Admin is what people want of servers.
	Admin map[ServerID]Admin
	// Gone are servers that an earlier director had removed from the table:
	// a first verdict that they are down does not bring them back.
	Gone map[ServerID]bool
	// Doubting: this machine does not trust its probes at the moment.
	Doubting bool
	// Masters are the addresses of the last masters that were heard as backup, by instance.
	Masters map[string]netip.Addr
	// Paused: nothing is to be changed in the kernel.
	Paused bool
	// Returned tells since when servers are back from maintenance.
	Returned map[ServerID]time.Time
}

// Verdict on one check, with the moment it was reached.
type Verdict struct {
	State   health.State
	Since   time.Time
	Failure *health.Failure // of a Down
	// Recovered is when an Up followed a Down, or came from a check that is new
	// since the start; zero for one that was found up.
	Recovered time.Time
	// Advice of a server that is up.
	Advice health.Advice
}

// Role of one VRRP instance.
type Role struct {
	State vrrp.State
	Since time.Time
	// Was is the state before, and Planned tells whether the change was orderly.
	Was     vrrp.State
	Planned bool
	// Lost is when the instance fell out of the election for want of a link or
	// address, in Init and in the Backup that follows it; else zero.
	Lost time.Time
}

// Desired is what the program is to bring about.
type Desired struct {
	Services []*ServiceDecision // parallel to Topology.Services; each changes only by Replan, in single servers
	// ManageDaemons says that Daemons is what is to run (possibly: none).
	ManageDaemons bool
	Daemons       []ipvsctl.Daemon
	// Instances whose priority a lost quorum or a track changes; nil for none.
	Instances map[string]link.InstancePosture
	// Stragglers of instances that have any, in the order of the configuration.
	Stragglers []Stragglers
	// Tracks of all instances, in the order of the configuration.
	Tracks []TrackStatus
	// Judged: every server has a verdict or starts up without one.
	Judged bool
	// Settled: every server has a verdict.
	Settled bool
	// Next is when the decision changes with nothing but time; zero for never.
	Next time.Time

	// Of the services alone: how many are not judged or not settled, and the
	// earliest of their moments.
	unjudged, unsettled int
	soonest             time.Time
}

// ServiceDecision for one service. It depends on the service and what concerns
// it, on nothing that is decided about another one.
type ServiceDecision struct {
	// Up: the quorum is met.
	Up bool
	// HealthyWeight of the servers that pass their checks and take new
	// connections; slow start does not lower it.
	HealthyWeight    uint32
	ConfiguredWeight uint32
	// ServingWeight is HealthyWeight and what the floor keeps in service.
	ServingWeight uint32
	Quorum        Quorum
	Floor         Floor
	SorryActive   bool
	Servers       []ServerDecision // parallel to TopologyService.Servers

	up int // servers that are up

	// extra servers are to be in the table beside them, by key: the sorry
	// server, and such as linger after a reload.
	extra           []ipvsctl.Server
	judged, settled bool
	withdraws       bool      // lowers the priority of its VRRP instance
	next            time.Time // when this changes with nothing but time
}

// ServerDecision for one server.
type ServerDecision struct {
	State   ServerState
	Healthy bool
	// InTable: the server is to be in the kernel's table, with Weight, or with
	// the weight it has there if Keep is set.
	InTable bool
	Weight  uint32
	Keep    bool
	// Held: the floor keeps it in service though it would be out.
	Held   bool
	timed  bool          // changes with nothing but time
	claim  uint32        // weight that counts for floor and quorum
	Advice health.Advice // of a server that passes its checks
	Since  time.Time     // of the verdict, zero if there is none
	Why    string
}

// Plan decides. It is pure: equal states give equal decisions.
func Plan(s State) Desired {
	d := Desired{Services: make([]*ServiceDecision, len(s.Topology.Services))}
	for i := range s.Topology.Services {
		d.Services[i] = decideService(&s, &s.Topology.Services[i])
		d.count(d.Services[i])
	}
	d.whole(&s)
	return d
}

// decideService decides on one service. The order matters: first each server
// by itself, then the floor, then the quorum, which counts what the floor left.
func decideService(s *State, ts *TopologyService) *ServiceDecision {
	kernel, present := s.Kernel[ts.Conf.Service.Key]
	p := pool{ts: ts, kernel: kernel, present: present, claims: make([]claim, len(ts.Servers))}
	p.dec = &ServiceDecision{judged: true, settled: true, Servers: make([]ServerDecision, len(ts.Servers))}
	for j := range ts.Servers {
		srv := &ts.Servers[j]
		p.dec.Servers[j], p.claims[j] = p.alone(s, srv)
		p.dec.ConfiguredWeight += srv.Conf.Kernel.Weight
	}
	p.floor()
	p.count()
	p.quorum(s)
	p.sorry(s)
	p.linger(s)
	return p.dec
}

// pool is a service while it is decided on.
type pool struct {
	ts      *TopologyService
	kernel  ipvsctl.Entry
	present bool
	claims  []claim // parallel to ts.Servers
	dec     *ServiceDecision
}

// claim is the weight that a server has a right to, before floor, quorum and
// slow start.
type claim struct {
	weight uint32
	// spare is the weight that the floor may give it in place of that; 0 for none.
	spare uint32
	rank  rank
	// unheld is the decision without the floor, of a server that it holds.
	unheld *ServerDecision
}

// count adds up what serves.
func (p *pool) count() {
	for j := range p.dec.Servers {
		dec := &p.dec.Servers[j]
		dec.claim = p.claims[j].weight
		switch {
		case dec.Keep:
			// A weight that is only hoped for does not count.
			held, has := p.kernel.Servers[p.ts.Servers[j].Conf.Kernel.Key]
			if !has {
				continue
			}
			p.dec.HealthyWeight += held.Weight
			p.dec.ServingWeight += held.Weight
		case dec.State == ServerPending:
		default:
			p.dec.add(dec)
		}
	}
}

// add adds up what a judged server brings to its service.
func (x *ServiceDecision) add(dec *ServerDecision) {
	if dec.State == ServerUp {
		x.up++
	}
	if dec.Healthy || dec.State == ServerUp {
		x.HealthyWeight += dec.claim
	}
	x.ServingWeight += dec.claim
}

// subtract takes it away again.
func (x *ServiceDecision) subtract(dec *ServerDecision) {
	if dec.State == ServerUp {
		x.up--
	}
	if dec.Healthy || dec.State == ServerUp {
		x.HealthyWeight -= dec.claim
	}
	x.ServingWeight -= dec.claim
}

// alone decides on one server by itself, and notes whether time changes that.
func (p *pool) alone(s *State, srv *TopologyServer) (ServerDecision, claim) {
	next := p.dec.next
	p.dec.next = time.Time{}
	dec, c := p.server(s, srv)
	dec.timed = !p.dec.next.IsZero()
	p.at(next)
	return dec, c
}

// server decides on one server by itself.
func (p *pool) server(s *State, srv *TopologyServer) (ServerDecision, claim) {
	svc, configured := p.ts.Conf, srv.Conf.Kernel.Weight
	if !srv.Conf.Enabled {
		return ServerDecision{State: ServerMaintenance, InTable: true, Why: "disabled in the configuration"}, claim{}
	}
	id := ServerID{svc.Name, srv.Conf.Name}
	admin := p.admin(s, id)
	v, check := combine(s, srv)
	if admin.aside() != "" {
		dec, c := p.setAside(s, srv, &admin, v)
		if v.State == health.Down {
			dec.InTable = dec.InTable && !s.Gone[id]
			dec.Why += " (" + why(check, v) + ")"
		}
		return dec, c
	}
	weight := configured
	if admin.Weight != nil {
		weight = *admin.Weight
	}
	switch v.State {
	case health.Up:
		dec, c := advised(svc, v, admin.Weight != nil, weight, configured)
		weight = dec.Weight
		switch {
		case dec.Why != "":
		case admin.Weight != nil:
			dec.Why = admin.WeightBy.why(fmt.Sprintf("weight %d set", weight))
			if weight < configured && !admin.WeightBy.Force {
				c.spare, c.rank = configured, rankHealthy
			}
		case weight == 0:
			dec.Why = "configured with weight 0"
		}
		from := v.Recovered
		if back := s.Returned[id]; back.After(from) {
			from = back
		}
		var next time.Time
		if dec.Weight, next = ramp(weight, svc.SlowStart, from, s.Now); !next.IsZero() {
			p.at(next)
			dec.Why = fmt.Sprintf("slow start until %s", from.Add(svc.SlowStart).UTC().Format("15:04:05 MST"))
		}
		return dec, c
	case health.Down:
		dec := ServerDecision{State: ServerDown, Since: v.Since, Why: why(check, v)}
		dec.InTable = !s.Gone[id] && !p.removed(s, v.Since)
		return dec, claim{spare: configured, rank: rankOf(v.Failure)}
	default:
		dec := ServerDecision{State: ServerPending, InTable: true, Why: "waits for the first result of check " + check}
		p.dec.settled = false
		if svc.StartUp {
			dec.Weight = weight
		} else {
			p.dec.judged = false
		}
		if !s.Topology.Config.IPVS.Adopt && s.Adopting {
			return dec, claim{weight: dec.Weight}
		}
		dec.Keep = true
		// In a service that was there before us a missing server may be one that
		// had failed and was removed: it waits for its verdict.
		if s.Adopting && p.present && !p.has(srv) {
			dec.InTable, dec.Keep = false, false
			return dec, claim{}
		}
		return dec, claim{weight: dec.Weight}
	}
}

// setAside decides on a server that a person has taken out.
func (p *pool) setAside(s *State, srv *TopologyServer, admin *Admin, v Verdict) (ServerDecision, claim) {
	svc := p.ts.Conf
	dec := ServerDecision{State: ServerDrain, Healthy: v.State == health.Up, InTable: true, Since: v.Since, Why: admin.ModeBy.why(admin.Mode.done())}
	if admin.Mode == AdminMaintenance {
		dec.State = ServerMaintenance
	}
	switch {
	case v.State == health.Down:
		dec.InTable = !p.removed(s, v.Since)
	case admin.Mode == AdminMaintenance && !quiesces(svc):
		dec.InTable = false
	case v.State == health.Unknown:
		p.dec.settled = false
		dec.InTable = !s.Adopting || !p.present || p.has(srv)
	}
	if dec.Healthy && admin.Mode == AdminDrain && !admin.ModeBy.Force {
		return dec, claim{spare: srv.Conf.Kernel.Weight, rank: rankHealthy}
	}
	return dec, claim{}
}

// has tells whether the kernel holds the server.
func (p *pool) has(srv *TopologyServer) bool {
	_, has := p.kernel.Servers[srv.Conf.Kernel.Key]
	return has
}

// quiesces tells whether weight 0 keeps traffic away; it does not with UDP
// flows and persistent clients.
func quiesces(svc *conf.Service) bool {
	return svc.Virtual().Protocol != ipvsctl.UDP && svc.Service.Flags&ipvsctl.FlagPersistent == 0
}

// removed tells whether a server that is out of service since then has left
// the table already, and otherwise notes when it will.
func (p *pool) removed(s *State, since time.Time) bool {
	svc := p.ts.Conf
	if svc.OnFailure == conf.FailRemove || !quiesces(svc) {
		return true
	}
	if svc.RemoveAfter == nil {
		return false
	}
	at := since.Add(*svc.RemoveAfter)
	if !s.Now.Before(at) {
		return true
	}
	p.at(at)
	return false
}

// combine is the verdict on a server from those on its checks: all must pass,
// unless one is enough. The name is that of the check that decided.
func combine(s *State, srv *TopologyServer) (Verdict, string) {
	if srv.Conf.AnyCheck && len(srv.Keys) > 0 {
		return combineAny(s, srv)
	}
	out := Verdict{State: health.Up}
	name := ""
	for i, k := range srv.Keys {
		v := s.Verdicts[k]
		switch {
		case v.State == health.Down:
			// The first one to fail tells since when.
			if out.State != health.Down || v.Since.Before(out.Since) {
				out, name = v, srv.Conf.Checks[i].Name
			}
		case out.State == health.Down:
		case v.State == health.Unknown:
			out, name = Verdict{State: health.Unknown}, srv.Conf.Checks[i].Name
		case out.State == health.Up:
			if v.Since.After(out.Since) {
				out.Since = v.Since
			}
			if v.Recovered.After(out.Recovered) {
				out.Recovered = v.Recovered
			}
			out.Advice = lesser(out.Advice, v.Advice, srv.Conf.Kernel.Weight)
		}
	}
	return out, name
}

func why(check string, v Verdict) string {
	if v.Failure == nil {
		return fmt.Sprintf("check %s failed", check)
	}
	return fmt.Sprintf("check %s: %s", check, v.Failure.Detail)
}

// at notes a moment at which the decision on the service changes.
func (p *pool) at(t time.Time) { p.dec.next = earlier(p.dec.next, t) }

// at notes a moment at which the decision changes.
func (d *Desired) at(t time.Time) { d.Next = earlier(d.Next, t) }

// earlier of two moments, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
