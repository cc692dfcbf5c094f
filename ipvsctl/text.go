package ipvsctl

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AddrKey is the key of a service with an address. An IPv4 address in IPv6
// form counts as IPv4.
func AddrKey(p Protocol, ap netip.AddrPort) ServiceKey {
	a := ap.Addr().Unmap()
	k := ServiceKey{Protocol: p, Addr: a, Port: ap.Port(), Family: 4}
	if a.Is6() {
		k.Family = 6
	}
	return k
}

// FWMarkKey is the key of a service that takes packets with a firewall mark,
// 1..2^32-1. family is 4 or 6.
func FWMarkKey(mark uint32, family uint8) ServiceKey {
	return ServiceKey{FWMark: mark, Family: family}
}

func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return "proto " + strconv.Itoa(int(p))
}

func (f Forward) String() string {
	switch f {
	case NAT:
		return "nat"
	case Local:
		return "local"
	case Tunnel:
		return "tun"
	case Direct:
		return "dr"
	case Bypass:
		return "bypass"
	}
	return "forward " + strconv.Itoa(int(f))
}

func (t TunnelType) String() string {
	switch t {
	case IPIP:
		return "ipip"
	case GUE:
		return "gue"
	case GRE:
		return "gre"
	}
	return "tunnel " + strconv.Itoa(int(t))
}

// String is "tcp 192.0.2.1:80", "fwmark 7" or "fwmark 7 ipv6".
func (k ServiceKey) String() string {
	if k.FWMark != 0 {
		s := "fwmark " + strconv.FormatUint(uint64(k.FWMark), 10)
		if k.Family == 6 {
			s += " ipv6"
		}
		return s
	}
	return k.Protocol.String() + " " + netip.AddrPortFrom(k.Addr, k.Port).String()
}

// String is "192.0.2.7:80", with brackets round an IPv6 address.
func (k ServerKey) String() string { return netip.AddrPortFrom(k.Addr, k.Port).String() }

// Compare orders keys as ipvsadm does: services with an address before marks,
// IPv4 before IPv6, then by protocol, address, port.
func (k ServiceKey) Compare(o ServiceKey) int {
	return cmp.Or(
		cmp.Compare(k.FWMark, o.FWMark), cmp.Compare(k.Family, o.Family),
		cmp.Compare(k.Protocol, o.Protocol), k.Addr.Compare(o.Addr), cmp.Compare(k.Port, o.Port),
	)
}

// Compare orders keys by address, then port.
func (k ServerKey) Compare(o ServerKey) int {
	return cmp.Or(k.Addr.Compare(o.Addr), cmp.Compare(k.Port, o.Port))
}

// badPrefix marks a persistence netmask that is no prefix. It equals no goal.
const badPrefix = 255

// Canonical is the service as the kernel gives it back: persistence options
// only with FlagPersistent, the prefix of a single client where none is given,
// whole seconds, no flags that the configuration may not set.
func (s Service) Canonical() Service {
	s.Flags &= FlagPersistent | FlagOnePacket | FlagSched1 | FlagSched2 | FlagSched3
	if s.Flags&FlagPersistent == 0 {
		s.Timeout, s.PersistPrefix = 0, 0
		return s
	}
	s.Timeout = s.Timeout.Truncate(time.Second)
	if s.PersistPrefix == 0 {
		s.PersistPrefix = fullPrefix(s.Key.Family)
	}
	return s
}

func fullPrefix(family uint8) uint8 {
	if family == 6 {
		return 128
	}
	return 32
}

// String is for people: "tcp 192.0.2.1:80 wlc persistent 300s/24".
func (s Service) String() string {
	var b strings.Builder
	b.WriteString(s.Key.String())
	b.WriteByte(' ')
	b.WriteString(s.options())
	return b.String()
}

func (s Service) options() string {
	s = s.Canonical()
	o := []string{s.Scheduler}
	if s.Flags&FlagPersistent != 0 {
		o = append(o, fmt.Sprintf("persistent %ds/%d", int(s.Timeout/time.Second), s.PersistPrefix))
	}
	if s.PEName != "" {
		o = append(o, "pe "+s.PEName)
	}
	if s.Flags&FlagOnePacket != 0 {
		o = append(o, "ops")
	}
	if f := schedFlags(s); f != "" {
		o = append(o, f)
	}
	return strings.Join(o, " ")
}

// SchedulerFlags names them as ipvsadm does (sh-port, flag-3, …).
func (s Service) SchedulerFlags() []string {
	if f := schedFlags(s); f != "" {
		return strings.Split(f, ",")
	}
	return nil
}

// String is for people: "192.0.2.7:80 weight 5 dr".
func (s Server) String() string { return s.Key.String() + " " + s.options() }

func (s Server) options() string {
	o := fmt.Sprintf("weight %d %s", s.Weight, s.Forward)
	if s.Forward == Tunnel && s.TunnelType != IPIP {
		o += " " + s.TunnelType.String()
		if s.TunnelPort != 0 {
			o += ":" + strconv.Itoa(int(s.TunnelPort))
		}
	}
	if s.TunnelFlags != 0 {
		o += fmt.Sprintf(" tunnel flags %#x", s.TunnelFlags)
	}
	if s.Upper != 0 {
		o += fmt.Sprintf(" upper %d", s.Upper)
	}
	if s.Lower != 0 {
		o += fmt.Sprintf(" lower %d", s.Lower)
	}
	return o
}

// String is for people: "sync daemon master on eth0 id 51".
func (d Daemon) String() string {
	s := "sync daemon " + d.Role.String()
	if d.Interface != "" {
		s += " on " + d.Interface
	}
	s += " id " + strconv.Itoa(int(d.ID))
	if d.MaxLen != 0 {
		s += fmt.Sprintf(" maxlen %d", d.MaxLen)
	}
	if d.Group.IsValid() {
		s += " group " + d.Group.String()
	}
	if d.Port != 0 {
		s += fmt.Sprintf(" port %d", d.Port)
	}
	if d.TTL != 0 {
		s += fmt.Sprintf(" ttl %d", d.TTL)
	}
	return s
}

// String is for people: "tcp 15m0s tcpfin 2m0s udp 5m0s"; a zero one is left out.
func (t Timeouts) String() string {
	var o []string
	for _, x := range []struct {
		name string
		d    time.Duration
	}{{"tcp", t.TCP}, {"tcpfin", t.TCPFin}, {"udp", t.UDP}} {
		if x.d != 0 {
			o = append(o, x.name+" "+x.d.String())
		}
	}
	if len(o) == 0 {
		return "none"
	}
	return strings.Join(o, " ")
}

// String is the kind as a label: add_service, set_server, start_daemon, …
func (k OpKind) String() string {
	switch k {
	case AddService:
		return "add_service"
	case SetService:
		return "set_service"
	case DeleteService:
		return "delete_service"
	case AddServer:
		return "add_server"
	case SetServer:
		return "set_server"
	case DeleteServer:
		return "delete_server"
	case StartDaemon:
		return "start_daemon"
	case StopDaemon:
		return "stop_daemon"
	case SetTimeouts:
		return "set_timeouts"
	}
	return "op_" + strconv.Itoa(int(k))
}

// OpKinds lists all kinds, in the order of their numbers.
var OpKinds = []OpKind{AddService, SetService, DeleteService, AddServer, SetServer, DeleteServer, StartDaemon, StopDaemon, SetTimeouts}

// String is for people, and reads on after "cannot".
func (o Op) String() string {
	switch o.Kind {
	case AddService:
		return "add service " + o.Service.String()
	case SetService:
		return "set service " + o.Service.String()
	case DeleteService:
		return "delete service " + o.Service.Key.String()
	case AddServer:
		return "add real server " + o.Server.String() + " to " + o.Service.Key.String()
	case SetServer:
		return "set real server " + o.Server.String() + " of " + o.Service.Key.String()
	case DeleteServer:
		return "delete real server " + o.Server.Key.String() + " of " + o.Service.Key.String()
	case StartDaemon:
		return "start " + o.Daemon.String()
	case StopDaemon:
		return "stop sync daemon " + o.Daemon.Role.String()
	case SetTimeouts:
		return "set timeouts " + o.Timeouts.String()
	}
	return o.Kind.String()
}

// String is for people: "192.0.2.7:80 of tcp 192.0.2.1:80: weight 0, was 5".
func (d Drift) String() string {
	s := d.Kind
	switch {
	case d.Service == (ServiceKey{}):
	case d.Server == (ServerKey{}):
		s += " " + d.Service.String()
	default:
		s += " " + d.Server.String() + " of " + d.Service.String()
	}
	if d.Detail != "" {
		s += ": " + d.Detail
	}
	return s
}

// String is one line for people.
func (r Report) String() string {
	s := fmt.Sprintf("%d changes", len(r.Done))
	if len(r.Done) == 1 {
		s = r.Done[0].String()
	}
	if n := len(r.Drift); n > 0 {
		s += fmt.Sprintf(", %d of them repairs", n)
	}
	if n := len(r.Failed); n > 0 {
		s += fmt.Sprintf(", %d refused (%v)", n, r.Failed[0])
	}
	if r.Unmanaged > 0 {
		s += fmt.Sprintf(", %d services are not ours", r.Unmanaged)
	}
	return s + fmt.Sprintf(", took %v", r.Took.Round(10*time.Microsecond))
}

// Keys lists the services in order.
func (t Table) Keys() []ServiceKey { return sortedKeys(t, ServiceKey.Compare) }

// Keys lists the servers in order.
func (e Entry) Keys() []ServerKey { return sortedKeys(e.Servers, ServerKey.Compare) }

// Clone is a deep copy.
func (t Table) Clone() Table {
	c := make(Table, len(t))
	for k, e := range t {
		c[k] = e.Clone()
	}
	return c
}

// Clone is a deep copy.
func (e Entry) Clone() Entry {
	s := make(map[ServerKey]Server, len(e.Servers))
	for k, v := range e.Servers {
		s[k] = v
	}
	return Entry{e.Service, s}
}

// Servers counts the servers of all services.
func (t Table) Servers() int {
	n := 0
	for _, e := range t {
		n += len(e.Servers)
	}
	return n
}

func sortedKeys[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compare)
	return keys
}
