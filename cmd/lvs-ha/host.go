package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"

	"lvs-ha/conf"
	"lvs-ha/internal/director"
	"lvs-ha/internal/host"
	"lvs-ha/ipvsctl"
)

// hostWant is what a configuration needs of the machine beside IPVS.
func hostWant(c *conf.Config) host.Want {
	if !c.UsesIPVS() {
		return host.Want{Interval: c.IPVS.ReconcileInterval}
	}
	return host.Want{
		Interval: c.IPVS.ReconcileInterval,
		Manage:   c.IPVS.Sysctls.Manage,
		Sysctls:  hostSysctls(c),
		Rules:    hostRules(c),
		Leave:    c.IPVS.OnStop == conf.StopRemove,
	}
}

func hostRules(c *conf.Config) host.Rules {
	var r host.Rules
	for i := range c.Services {
		s := &c.Services[i]
		if p := s.Ports; p != nil {
			for _, x := range p.Ranges {
				r.Marks = append(r.Marks, host.Mark{Service: s.Name, Protocol: uint8(p.Protocol), Addr: p.Addr, First: x.First, Last: x.Last, Mark: s.Service.Key.FWMark})
			}
		}
		if !s.SNAT {
			continue
		}
		m := host.Masquerade{Service: s.Name, Protocol: uint8(s.Virtual().Protocol), Mark: s.Service.Key.FWMark}
		add := func(srv *ipvsctl.Server) {
			if srv != nil && srv.Forward == ipvsctl.NAT {
				m.Servers = append(m.Servers, netip.AddrPortFrom(srv.Key.Addr, srv.Key.Port))
			}
		}
		add(s.Sorry)
		for j := range s.Servers {
			add(&s.Servers[j].Kernel)
		}
		if len(m.Servers) > 0 {
			r.Masquerades = append(r.Masquerades, m)
		}
	}
	return r
}

// realServers names the servers by their addresses.
func realServers(c *conf.Config) map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for i := range c.Services {
		for j := range c.Services[i].Servers {
			s := &c.Services[i].Servers[j]
			if _, ok := out[s.Kernel.Key.Addr]; !ok {
				out[s.Kernel.Key.Addr] = s.Name
			}
		}
	}
	return out
}

// hostStragglers adds the services to what the director says. Those with NAT are
// left out: their answers come through the new director, which knows nothing of them.
func hostStragglers(c *conf.Config, list []director.Stragglers) []host.Stragglers {
	out := make([]host.Stragglers, len(list))
	for i, x := range list {
		out[i] = host.Stragglers{Instance: x.Instance, Interface: x.Interface, Back: x.Back, Take: x.Take}
		for j := range c.Services {
			if s := &c.Services[j]; s.VRRP == x.Instance && straggles(s) {
				out[i].Services = append(out[i].Services, strayPorts(s)...)
			}
		}
	}
	return out
}

// straggles tells of TCP services with servers that answer clients themselves.
func straggles(s *conf.Service) bool {
	v := s.Virtual()
	if v.Protocol != ipvsctl.TCP || !v.Addr.IsValid() {
		return false
	}
	direct := func(srv *ipvsctl.Server) bool {
		return srv != nil && (srv.Forward == ipvsctl.Direct || srv.Forward == ipvsctl.Tunnel)
	}
	return direct(s.Sorry) || slices.ContainsFunc(s.Servers, func(x conf.Server) bool { return direct(&x.Kernel) })
}

func strayPorts(s *conf.Service) []host.Ports {
	v := s.Virtual()
	switch {
	case s.Ports != nil:
		var out []host.Ports
		for _, r := range s.Ports.Ranges {
			out = append(out, host.Ports{Addr: v.Addr, First: r.First, Last: r.Last})
		}
		return out
	case v.Port == 0:
		return []host.Ports{{Addr: v.Addr, First: 0, Last: 65535}}
	}
	return []host.Ports{{Addr: v.Addr, First: v.Port, Last: v.Port}}
}

// holdNew has new connections held while a service has no scheduler.
func holdNew(holder func() *host.Holder) ipvsctl.Option {
	return ipvsctl.HoldNew(func(k ipvsctl.ServiceKey) func() {
		w := host.Held{Protocol: uint8(k.Protocol), Mark: k.FWMark, V6: k.Family == 6}
		if k.Addr.IsValid() {
			w.Virtual = netip.AddrPortFrom(k.Addr, k.Port)
		}
		return holder().Hold(w)
	})
}

// hostEnd has the connections to removed servers ended in conntrack, where
// IPVS uses it: with NAT.
func hostEnd(removed []ipvsctl.Op) []host.Flow {
	var out []host.Flow
	for _, op := range removed {
		if op.Server.Forward != ipvsctl.NAT {
			continue
		}
		k := op.Service.Key
		f := host.Flow{Protocol: uint8(k.Protocol), Server: netip.AddrPortFrom(op.Server.Key.Addr, op.Server.Key.Port)}
		if k.Addr.IsValid() {
			f.Virtual = netip.AddrPortFrom(k.Addr, k.Port)
		}
		out = append(out, f)
	}
	return out
}

func hostSysctls(c *conf.Config) []host.Sysctl {
	var out []host.Sysctl
	vs := func(key, value, why string) {
		out = append(out, host.Sysctl{Key: "net.ipv4.vs." + key, Value: value, Why: why})
	}
	flag := map[bool]string{false: "0", true: "1"}
	s := &c.IPVS.Sysctls
	const named = "the configuration wants it otherwise"
	if len(c.Services) > 0 {
		why := named
		if s.ExpireNodestConn {
			why = "clients of a removed server hang instead of being reset"
		}
		vs("expire_nodest_conn", flag[s.ExpireNodestConn], why)
		if why = named; s.ExpireQuiescentTemplate {
			why = "persistent clients stay with a server of weight 0"
		}
		vs("expire_quiescent_template", flag[s.ExpireQuiescentTemplate], why)
	}
	if s.ConnReuseMode != nil {
		vs("conn_reuse_mode", fmt.Sprint(*s.ConnReuseMode), named)
	}
	if s.SloppyTCP != nil {
		vs("sloppy_tcp", flag[*s.SloppyTCP], named)
	}
	if s.BackupOnly != nil {
		vs("backup_only", flag[*s.BackupOnly], named)
	}
	if s.SyncThreshold != nil {
		vs("sync_threshold", fmt.Sprintf("%d %d", s.SyncThreshold[0], s.SyncThreshold[1]), named)
	}
	if s.SyncRefreshPeriod != nil {
		vs("sync_refresh_period", fmt.Sprint(int(s.SyncRefreshPeriod.Seconds())), named)
	}
	if s.SyncRetries != nil {
		vs("sync_retries", fmt.Sprint(*s.SyncRetries), named)
	}
	for i := range c.Services {
		if c.Services[i].SNAT {
			vs("conntrack", "1", "servers with snat = true answer clients that know nothing of them")
			break
		}
	}
	for _, key := range forwarding(c) {
		out = append(out, host.Sysctl{Key: key, Value: "1", Foreign: true, Why: "servers with forward = \"nat\" get nothing, because this machine forwards no packets"})
	}
	return out
}

// forwarding settings without which NAT forwards nothing. They make a router
// of the machine, which is for its owner to decide.
func forwarding(c *conf.Config) []string {
	var v4, v6 bool
	look := func(s *ipvsctl.Server) {
		if s != nil && s.Forward == ipvsctl.NAT {
			v4, v6 = v4 || s.Key.Addr.Is4(), v6 || s.Key.Addr.Is6()
		}
	}
	for i := range c.Services {
		look(c.Services[i].Sorry)
		for j := range c.Services[i].Servers {
			look(&c.Services[i].Servers[j].Kernel)
		}
	}
	var out []string
	if v4 {
		out = append(out, "net.ipv4.ip_forward")
	}
	if v6 {
		out = append(out, "net.ipv6.conf.all.forwarding")
	}
	return out
}

// pathHints hands news of links, neighbours and routes on to the checks that
// hold connections. Without any the news is dropped early.
type pathHints struct {
	hint  func(match func(netip.Addr) bool)
	log   *slog.Logger
	holds atomic.Bool
}

func (p *pathHints) accept(c *conf.Config) {
	holds := false
	for i := range c.Services {
		for j := range c.Services[i].Servers {
			for _, check := range c.Services[i].Servers[j].Checks {
				holds = holds || check.Spec.Hold
			}
		}
	}
	p.holds.Store(holds)
}

func (p *pathHints) run(ctx context.Context) error {
	host.Watch(ctx, p.log, p.take)
	return nil
}

func (p *pathHints) take(e host.Event) {
	if !p.holds.Load() {
		return
	}
	p.log.Debug(e.Text, "event", "path_event", "kind", e.Kind)
	p.hint(e.Concerns)
}
