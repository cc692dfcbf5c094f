package director

import (
	"net/netip"
	"reflect"
	"time"

	"lvs-ha/conf"
	"lvs-ha/vrrp"
)

// A TCP connection in its handshake, or so young that the sync daemon has not
// copied it yet, is known to the kernel of the former master alone. For a while
// after a hand-over its packets are worth to be sent back there.

// Stragglers says what becomes of packets of such connections to the services
// of one VRRP instance.
type Stragglers struct {
	Instance  string
	Interface string
	// Back is the director that packets unknown to this kernel are sent to;
	// invalid for none. A backup names the present master ahead of time: without
	// the addresses it gets no such packets.
	Back netip.Addr
	// Take what still comes although the addresses have gone, or are about to.
	Take bool
}

// StragglerTime after a hand-over is that of the sync daemons' overlap: what
// is established by then has been copied, and nothing is copied later.
const StragglerTime = SyncOverlap

// stragglers decides about them.
func (d *Desired) stragglers(s *State) {
	c := s.Topology.Config
	if !returns(c) || s.Paused {
		return
	}
	for i := range c.VRRP {
		in := &c.VRRP[i]
		r := s.Roles[in.Name]
		end := r.Since.Add(StragglerTime)
		fresh := s.Now.Before(end)
		x := Stragglers{Instance: in.Name, Interface: in.Interface}
		switch r.State {
		case vrrp.Master:
			if fresh && r.Was == vrrp.Backup {
				x.Back = s.Masters[in.Name]
				d.at(end)
			}
		case vrrp.Releasing:
			x.Take = true
		case vrrp.Backup, vrrp.Init, vrrp.Fault:
			if x.Take = fresh && r.Planned && serves(r.Was); x.Take {
				d.at(end)
			}
			if r.State == vrrp.Backup {
				x.Back = s.Masters[in.Name]
			}
		}
		if x.Take || x.Back.IsValid() {
			d.Stragglers = append(d.Stragglers, x)
		}
	}
}

// strayState is the loop's part of it.
type strayState struct {
	masters map[string]netip.Addr // heard last as backup, by instance; never changed, but replaced
	// As handed on last.
	config *conf.Config
	told   []Stragglers
}

// returns tells whether stragglers are to be looked after: with sloppy_tcp IPVS
// takes them itself.
func returns(c *conf.Config) bool {
	sloppy := c.IPVS.Sysctls.SloppyTCP
	return c.IPVS.Stragglers && len(c.Services) > 0 && len(c.VRRP) > 0 && (sloppy == nil || !*sloppy)
}

// straggle hands the decision on, if it is another one.
func (d *Director) straggle() {
	if d.o.Stragglers == nil || d.strays.config == d.top.Config && reflect.DeepEqual(d.strays.told, d.desired.Stragglers) {
		return
	}
	d.strays.config, d.strays.told = d.top.Config, d.desired.Stragglers
	d.o.Stragglers(d.top.Config, d.strays.told)
}

// heard learns who is master of an instance whose backup we are.
func (d *Director) heard(instance string, master netip.Addr) {
	if d.strays.masters[instance] == master {
		return
	}
	// A decision may hold the present map.
	masters := make(map[string]netip.Addr, len(d.strays.masters)+1)
	for k, v := range d.strays.masters {
		masters[k] = v
	}
	masters[instance] = master
	d.strays.masters, d.dirty, d.rest = masters, true, time.Time{}
}
