package ipvsctltest

import (
	"net/netip"
	"time"

	"lvs-ha/ipvsctl"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func tcp(s string) ipvsctl.Service {
	return ipvsctl.Service{Key: ipvsctl.AddrKey(ipvsctl.TCP, ap(s)), Scheduler: "wlc"}
}

func server(s string, f ipvsctl.Forward, weight uint32) ipvsctl.Server {
	return ipvsctl.Server{Key: ipvsctl.ServerKey{Addr: ap(s).Addr(), Port: ap(s).Port()}, Forward: f, Weight: weight}
}

func svc(kind ipvsctl.OpKind, s ipvsctl.Service) ipvsctl.Op {
	return ipvsctl.Op{Kind: kind, Service: s}
}

func rs(kind ipvsctl.OpKind, s ipvsctl.Service, srv ipvsctl.Server) ipvsctl.Op {
	return ipvsctl.Op{Kind: kind, Service: s, Server: srv}
}

func with(s ipvsctl.Service, change func(*ipvsctl.Service)) ipvsctl.Service {
	change(&s)
	return s
}

func withServer(s ipvsctl.Server, change func(*ipvsctl.Server)) ipvsctl.Server {
	change(&s)
	return s
}

func entry(s ipvsctl.Service, servers ...ipvsctl.Server) ipvsctl.Entry {
	e := ipvsctl.Entry{Service: s.Canonical(), Servers: map[ipvsctl.ServerKey]ipvsctl.Server{}}
	for _, srv := range servers {
		e.Servers[srv.Key] = srv
	}
	return e
}

func table(es ...ipvsctl.Entry) ipvsctl.Table {
	tab := ipvsctl.Table{}
	for _, e := range es {
		tab[e.Service.Key] = e
	}
	return tab
}

// Services is one of every sort that the kernel knows.
func Services() []ipvsctl.Service {
	mark := func(n uint32, family uint8) ipvsctl.Service {
		return ipvsctl.Service{Key: ipvsctl.FWMarkKey(n, family), Scheduler: "rr"}
	}
	proto := func(p ipvsctl.Protocol, s, sched string) ipvsctl.Service {
		return ipvsctl.Service{Key: ipvsctl.AddrKey(p, ap(s)), Scheduler: sched}
	}
	persist := func(s ipvsctl.Service, d time.Duration, prefix uint8) ipvsctl.Service {
		s.Flags, s.Timeout, s.PersistPrefix = s.Flags|ipvsctl.FlagPersistent, d, prefix
		return s
	}
	flags := func(s ipvsctl.Service, f ipvsctl.Flags) ipvsctl.Service {
		s.Flags |= f
		return s
	}
	return []ipvsctl.Service{
		tcp("192.0.2.1:80"),
		proto(ipvsctl.UDP, "192.0.2.1:80", "rr"),
		proto(ipvsctl.SCTP, "192.0.2.1:80", "lc"),
		tcp("[2001:db8::1]:80"),
		proto(ipvsctl.UDP, "[2001:db8::1]:53", "wrr"),
		mark(1, 4), mark(1, 6), mark(1<<32-1, 4),
		persist(tcp("192.0.2.2:0"), 360*time.Second, 0),
		persist(tcp("192.0.2.3:443"), time.Second, 24),
		persist(tcp("192.0.2.4:443"), 86400*time.Second, 1),
		persist(tcp("[2001:db8::2]:443"), 300*time.Second, 64),
		persist(mark(7, 6), 300*time.Second, 0),
		persist(flags(with(proto(ipvsctl.UDP, "192.0.2.5:5060", "rr"), func(s *ipvsctl.Service) { s.PEName = "sip" }), ipvsctl.FlagOnePacket), 60*time.Second, 32),
		flags(proto(ipvsctl.UDP, "192.0.2.6:53", "rr"), ipvsctl.FlagOnePacket),
		flags(proto(ipvsctl.TCP, "192.0.2.7:80", "sh"), ipvsctl.FlagSched1|ipvsctl.FlagSched2),
		flags(proto(ipvsctl.TCP, "192.0.2.8:80", "mh"), ipvsctl.FlagSched2),
		flags(proto(ipvsctl.TCP, "192.0.2.9:80", "wrr"), ipvsctl.FlagSched3),
	}
}

// Servers is one of every sort for an IPv4 service.
func Servers() []ipvsctl.Server {
	tun := func(s string, typ ipvsctl.TunnelType, port, flags uint16) ipvsctl.Server {
		return withServer(server(s, ipvsctl.Tunnel, 1), func(s *ipvsctl.Server) {
			s.TunnelType, s.TunnelPort, s.TunnelFlags = typ, port, flags
		})
	}
	return []ipvsctl.Server{
		server("10.0.0.1:80", ipvsctl.NAT, 1),
		server("10.0.0.1:8080", ipvsctl.NAT, 0),
		server("10.0.0.2:80", ipvsctl.Direct, 65535),
		server("10.0.0.3:80", ipvsctl.Direct, 70000),
		server("10.0.0.4:80", ipvsctl.Direct, 1<<31-1),
		server("127.0.0.1:80", ipvsctl.Local, 3),
		tun("10.0.1.1:80", ipvsctl.IPIP, 0, 0),
		tun("10.0.1.2:80", ipvsctl.GUE, 6080, 0),
		tun("10.0.1.3:80", ipvsctl.GUE, 65535, 1),
		tun("10.0.1.4:80", ipvsctl.GRE, 0, 1),
		withServer(server("10.0.2.1:80", ipvsctl.NAT, 5), func(s *ipvsctl.Server) { s.Upper, s.Lower = 1000, 900 }),
		withServer(server("10.0.2.2:80", ipvsctl.NAT, 5), func(s *ipvsctl.Server) { s.Upper = 1<<31 - 1 }),
	}
}
