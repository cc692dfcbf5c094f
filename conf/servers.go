package conf

import (
	"net/netip"
	"strings"

	"lvs-ha/ipvsctl"
)

// plainServers reads the servers of a service from rows. False, and nothing
// done, if anything is to be said about any of them, but that all name another
// port than the service's: then they are read one by one as tables, which
// finds the words for it.
func (b *builder) plainServers(s *Service, l *serverRows, checks []*checkTemplate, d serverSettings, anyCheck bool, own view) bool {
	key := &s.Service.Key
	if key.Family == 0 {
		return false
	}
	shared := uint16(0)
	if key.FWMark == 0 {
		shared = l.sharedPort()
	}
	names, ok := l.names()
	if !ok {
		return false
	}
	out := make([]Server, len(l.rows))
	for i := range out {
		r, srv := &l.rows[i], &out[i]
		srv.Name, names = names[:r.nameLen], names[r.nameLen:]
		if !validName(srv.Name) {
			return false
		}
		a, err := netip.ParseAddr(l.address(r))
		if err != nil || uint8(familyOf(a)) != key.Family {
			return false
		}
		if what, _ := unusable(a); what != "" {
			return false
		}
		k := &srv.Kernel
		k.Key = ipvsctl.ServerKey{Addr: a, Port: key.Port}
		if r.keys&rowPort != 0 {
			if k.Key.Port = r.port; unreached(s, r.port, d.forward) && (r.port == 0 || r.port != shared) {
				return false
			}
		}
		k.Weight, k.Forward, k.Upper, k.Lower = d.weight, d.forward, d.upper, d.lower
		if r.keys&rowWeight != 0 {
			k.Weight = uint32(r.weight)
		}
		if r.keys&rowUpper != 0 {
			k.Upper = r.upper
		}
		if r.keys&rowLower != 0 {
			k.Lower = r.lower
		}
		if k.Lower > k.Upper {
			return false
		}
		if d.forward == ipvsctl.Tunnel {
			k.TunnelType, k.TunnelPort = d.tunnel, d.tunPort
		}
		srv.Enabled, srv.AnyCheck = d.enabled, anyCheck
		if r.keys&rowEnabled != 0 {
			srv.Enabled = r.keys&rowOn != 0
		}
	}
	if !distinct(out) {
		return false
	}
	backing := make([]Check, 0, len(out)*len(checks))
	for i := range out {
		from := len(backing)
		for _, t := range checks {
			backing = append(backing, b.target(t, s, &out[i], own))
		}
		out[i].Checks = backing[from:len(backing):len(backing)]
	}
	s.Servers = out
	return true
}

// names of all rows, one after the other: cut from the text they would hold
// all of it in memory. Not ok unless each row has a name and an address.
func (l *serverRows) names() (names string, ok bool) {
	n := 0
	for i := range l.rows {
		r := &l.rows[i]
		if r.keys&(rowName|rowAddress) != rowName|rowAddress {
			return "", false
		}
		n += int(r.nameLen)
	}
	var s strings.Builder
	s.Grow(n)
	for i := range l.rows {
		s.WriteString(l.nameOf(&l.rows[i]))
	}
	return s.String(), true
}

// sharedPort is that of layers: what all of several rows name, else 0.
func (l *serverRows) sharedPort() uint16 {
	for i := range l.rows {
		if r := &l.rows[i]; r.keys&rowPort == 0 || r.port != l.rows[0].port {
			return 0
		}
	}
	if len(l.rows) < 2 {
		return 0
	}
	return l.rows[0].port
}

// distinct tells whether no two servers have the same name or address and
// port. Most lists are in order, which shows it without a map.
func distinct(servers []Server) bool {
	named, keyed := true, true
	for i := 1; i < len(servers); i++ {
		a, z := &servers[i-1], &servers[i]
		named = named && (len(a.Name) < len(z.Name) || len(a.Name) == len(z.Name) && a.Name < z.Name)
		if c := a.Kernel.Key.Addr.Compare(z.Kernel.Key.Addr); c > 0 || c == 0 && a.Kernel.Key.Port >= z.Kernel.Key.Port {
			keyed = false
		}
	}
	if !named {
		names := make(map[string]struct{}, len(servers))
		for i := range servers {
			names[servers[i].Name] = struct{}{}
		}
		named = len(names) == len(servers)
	}
	if !keyed {
		keys := make(map[ipvsctl.ServerKey]struct{}, len(servers))
		for i := range servers {
			keys[servers[i].Kernel.Key] = struct{}{}
		}
		keyed = len(keys) == len(servers)
	}
	return named && keyed
}
