package host

import (
	"cmp"
	"net/netip"
	"slices"
)

// Rules are what our nftables table does. The zero value needs no table.
type Rules struct {
	Marks       []Mark
	Masquerades []Masquerade
}

func (r *Rules) empty() bool { return len(r.Marks) == 0 && len(r.Masquerades) == 0 }

// Mark gives packets to an address and a range of ports a firewall mark,
// by which IPVS knows the service.
type Mark struct {
	Service     string // for people
	Protocol    uint8  // TCP 6, UDP 17, SCTP 132
	Addr        netip.Addr
	First, Last uint16
	Mark        uint32
}

// Masquerade gives connections to real servers an address of this machine as
// source, so that the answers come back here whatever route the servers have.
// nftables cannot ask whether a packet is IPVS's: connections that this machine
// routes or makes to these addresses and ports itself are masqueraded, too.
type Masquerade struct {
	Service  string // for people
	Protocol uint8  // 0 for any
	Mark     uint32 // of a service that is a mark; 0 for none
	// Servers; port 0 is every port.
	Servers []netip.AddrPort
}

// group of servers that one rule can match: of one family, all with a port or all without.
type group struct {
	v6, ports bool
	servers   []netip.AddrPort
}

func (m *Masquerade) groups() []group {
	var out []group
	for _, g := range []group{{false, true, nil}, {false, false, nil}, {true, true, nil}, {true, false, nil}} {
		for _, s := range m.Servers {
			if s.Addr().Is6() == g.v6 && (s.Port() != 0) == g.ports {
				g.servers = append(g.servers, s)
			}
		}
		slices.SortFunc(g.servers, func(a, b netip.AddrPort) int {
			return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Port(), b.Port()))
		})
		if g.servers = slices.Compact(g.servers); len(g.servers) > 0 {
			out = append(out, g)
		}
	}
	return out
}
