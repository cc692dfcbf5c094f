package conf

import (
	"fmt"
	"strings"
	"time"

	"lvs-ha/ipvsctl"
)

var schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf", "twos"}

// schedulerFlags by scheduler; the kernel's names for its three flags work with any.
var schedulerFlags = map[string]map[string]ipvsctl.Flags{
	"sh": {"sh-fallback": ipvsctl.FlagSched1, "sh-port": ipvsctl.FlagSched2},
	"mh": {"mh-fallback": ipvsctl.FlagSched1, "mh-port": ipvsctl.FlagSched2},
	"":   {"flag-1": ipvsctl.FlagSched1, "flag-2": ipvsctl.FlagSched2, "flag-3": ipvsctl.FlagSched3},
}

var protocols = map[string]ipvsctl.Protocol{"tcp": ipvsctl.TCP, "udp": ipvsctl.UDP, "sctp": ipvsctl.SCTP}

// place of something that was defined, with its name.
type defined struct {
	name string
	at   *path
}

func (b *builder) buildServices() {
	b.base = b.view(b.main).sub("defaults").sub("check")
	b.templates = make(map[string]*checkTemplate, len(b.checks))
	for n, l := range b.checks {
		b.templates[n] = b.template(n, l)
	}
	names := make(map[string]*path, len(b.services))
	keys := make(map[ipvsctl.ServiceKey]defined, len(b.services))
	b.out.Services = make([]Service, 0, len(b.services))
	for i, l := range b.services {
		s, complete := b.service(l)
		if s.Name == "" {
			s.Name = fmt.Sprint(i + 1)
		} else if old := names[s.Name]; old != nil {
			b.duplicate("service", s.Name, l.at.child("name"), old)
		} else {
			names[s.Name] = l.at.child("name")
		}
		if old, dup := keys[s.Service.Key]; complete && dup {
			b.add(finding{at: l.at, part: atTable, what: fmt.Sprintf("is the same to the kernel as service %s (%%PLACE%%)", quote(old.name)),
				other: old.at, cure: "give it another address, port, protocol or fwmark, or make one service of both"})
		} else if complete {
			keys[s.Service.Key] = defined{s.Name, l.at}
		}
		b.out.Services = append(b.out.Services, s)
	}
	b.portsMeet()
}

// service reads one; complete tells whether its kernel key is good.
func (b *builder) service(l layer) (s Service, complete bool) {
	own := b.view(l)
	v := b.view(b.main).sub("defaults")
	pool, hasPool := b.pool(own)
	if hasPool {
		v = v.over(pool)
	}
	v = v.over(l)

	if s.Name = own.str("name", ""); s.Name == "" && !own.has("name") {
		own.missing("name", "name it: logs, metrics and commands call it so")
	} else if !validName(s.Name) && isText(own, "name") {
		own.bad("name", badName, nameCure)
	}
	complete = b.serviceKey(&s, own, v)
	b.scheduling(&s, v)
	s.VRRP = b.instanceOf(own, s.Virtual())

	s.OnFailure = OnFailure(v.choice("on_failure", string(FailQuiesce), string(FailQuiesce), string(FailRemove)))
	s.RemoveAfter = b.removeAfter(v)
	if s.OnFailure == FailRemove {
		s.RemoveAfter = new(time.Duration)
	}
	s.StartUp = v.choice("start", "down", "down", "up") == "up"
	b.servers(&s, own, v, pool, hasPool)
	b.quorum(&s, own, v)
	b.snat(&s, own, v)
	return s, complete
}

func isText(v view, key string) bool {
	x, _, _ := v.get(key)
	_, ok := x.(string)
	return ok
}

func (b *builder) pool(own view) (layer, bool) {
	if !own.has("pool") {
		return layer{}, false
	}
	name := own.str("pool", "")
	p, ok := b.pools[name]
	if !ok && isText(own, "pool") {
		known := make([]string, 0, len(b.pools))
		for n := range b.pools {
			known = append(known, n)
		}
		own.bad("pool", "does not exist", didYouMean(name, known))
	}
	return p, ok
}

// serviceKey is what the kernel knows the service by.
func (b *builder) serviceKey(s *Service, own, v view) bool {
	k := &s.Service.Key
	if own.has("fwmark") {
		for _, w := range []string{"address", "port", "ports", "protocol"} {
			if own.has(w) {
				own.bad(w, "cannot stand beside fwmark, which selects packets in place of it", "remove one of them")
			}
		}
		k.FWMark = uint32(own.integer("fwmark", 0, 1, 1<<32-1))
		b.reservedMark(own, k.FWMark)
		k.Family = 4
		if own.choice("family", "ipv4", "ipv4", "ipv6") == "ipv6" {
			k.Family = 6
		}
		return k.FWMark != 0
	}
	if own.has("family") {
		own.bad("family", "belongs to a service with fwmark; with an address it is the address's", "remove it")
	}
	if own.has("ports") {
		return b.portsKey(s, own, v)
	}
	k.Protocol = protocols[v.choice("protocol", "tcp", "tcp", "udp", "sctp")]
	ok := true
	if !own.has("address") {
		own.missing("address", "write the virtual address, or fwmark in place of address and port")
		ok = false
	} else if k.Addr, ok = b.plainAddr(own, "address"); ok {
		k.Family = uint8(familyOf(k.Addr))
	}
	if !own.has("port") {
		own.missing("port", "0 means every port, and needs persistence")
		return false
	}
	port := own.integer("port", -1, 0, 65535)
	if port < 0 {
		return false
	}
	k.Port = uint16(port)
	if port == 0 && !v.subTable("persistence", true).exists() {
		own.bad("port", "means every port, which works with persistence only", "add persistence = { timeout = \"5m\" }, or name the port")
	}
	return ok
}

// scheduling is the rest of what the kernel knows of a service.
func (b *builder) scheduling(s *Service, v view) {
	k := &s.Service
	k.Scheduler = v.str("scheduler", "wlc")
	if !contains(schedulers, k.Scheduler) {
		if isText(v, "scheduler") {
			v.bad("scheduler", "is no scheduler of IPVS", didYouMean(k.Scheduler, schedulers))
		}
	} else if v.height("scheduler_flags") >= v.height("scheduler") { // else they were meant for another scheduler
		b.schedulerFlags(k, v)
	}

	bits := 32
	if k.Key.Family == 6 {
		bits = 128
	}
	p := v.subTable("persistence", true)
	if p.exists() {
		k.Flags |= ipvsctl.FlagPersistent
		k.Timeout = p.seconds("timeout", 5*time.Minute, 31*day)
		if n := p.integer("prefix", int64(bits), 1, 128); n > int64(bits) {
			p.bad("prefix", fmt.Sprintf("is outside 1..%d", bits), "")
		} else {
			k.PersistPrefix = uint8(n) // stays 0 without persistence, as ipvsctl has it
		}
	}
	udp := k.Key.Protocol == ipvsctl.UDP
	if v.boolean("one_packet", false) {
		switch {
		case !udp && k.Key.FWMark == 0:
			v.bad("one_packet", "is for UDP", "remove it")
		case p.exists():
			v.warn("one_packet", "has no effect with persistence", "remove one of them, or write persistence = false")
		}
		k.Flags |= ipvsctl.FlagOnePacket
	}
	if k.PEName = v.choice("pe", "", "sip"); k.PEName != "" {
		switch {
		case !p.exists():
			v.bad("pe", "needs persistence", "add persistence = { timeout = \"5m\" }")
		case !udp && k.Key.FWMark == 0:
			v.bad("pe", "reads SIP over UDP only", "remove it")
		}
	}
}

func (b *builder) schedulerFlags(k *ipvsctl.Service, v view) {
	for _, t := range v.texts("scheduler_flags") {
		flag, ok := schedulerFlags[k.Scheduler][t.s]
		if !ok {
			flag, ok = schedulerFlags[""][t.s]
		}
		if !ok {
			cure := "the schedulers sh and mh have flags: sh-fallback, sh-port, mh-fallback, mh-port"
			if len(schedulerFlags[k.Scheduler]) > 0 {
				cure = fmt.Sprintf("it has %[1]s-fallback and %[1]s-port", k.Scheduler)
			}
			b.add(finding{at: t.at, what: "is no flag of scheduler " + k.Scheduler, cure: cure})
			continue
		}
		k.Flags |= flag
	}
}

// instanceOf is the VRRP instance that holds the service's address.
func (b *builder) instanceOf(own view, k ipvsctl.ServiceKey) string {
	name := own.str("vrrp", "")
	if name == "none" || own.has("vrrp") && !isText(own, "vrrp") {
		return ""
	}
	if own.has("vrrp") {
		h := b.holders[k.Addr]
		switch {
		case !b.instances[name]:
			own.bad("vrrp", "is no VRRP instance", didYouMean(name, append(namesOf(b.vrrp), "none")))
		case k.Addr.IsValid() && h.instance != name:
			own.bad("vrrp", fmt.Sprintf("does not hold %s", k.Addr), fmt.Sprintf("add the address to [vrrp.%s]", keyText(name)))
		}
		return name
	}
	if len(b.vrrp) == 0 || !k.Addr.IsValid() {
		return ""
	}
	h, held := b.holders[k.Addr]
	if !held && !b.unsure {
		names := namesOf(b.vrrp)
		own.bad("address", "is held by no VRRP instance", fmt.Sprintf("add it to the addresses of [vrrp.%s], or write vrrp = \"none\" if something else brings it here", keyText(names[0])))
	}
	return h.instance
}

func (b *builder) removeAfter(v view) *time.Duration {
	if x, _, _ := v.get("remove_after"); x == "never" {
		return nil
	}
	d := v.duration("remove_after", 30*time.Second, 0, day)
	return &d
}

// serverSettings may stand in every layer above a server too.
type serverSettings struct {
	weight  uint32
	forward ipvsctl.Forward
	tunnel  ipvsctl.TunnelType
	tunPort uint16
	upper   uint32
	lower   uint32
	enabled bool
}

var forwards = map[string]ipvsctl.Forward{"dr": ipvsctl.Direct, "nat": ipvsctl.NAT, "tun": ipvsctl.Tunnel}

// settings of the server keys in v, where d is what lies below.
func (b *builder) settings(v view, d serverSettings) serverSettings {
	d.weight = uint32(v.integer("weight", int64(d.weight), 0, 65535))
	if v.has("forward") {
		if f, ok := forwards[v.choice("forward", "", "dr", "nat", "tun")]; ok {
			d.forward = f
		}
	}
	d.upper = uint32(v.integer("max_connections", int64(d.upper), 0, 1<<32-1))
	d.lower = uint32(v.integer("min_connections", int64(d.lower), 0, 1<<32-1))
	d.enabled = v.boolean("enabled", d.enabled)
	if !v.has("tunnel") {
		return d
	}
	t := v.sub("tunnel")
	if !t.exists() {
		return d
	}
	d.tunnel, d.tunPort = ipvsctl.IPIP, uint16(t.integer("port", 0, 1, 65535))
	switch t.choice("type", "ipip", "ipip", "gue", "gre") {
	case "gue":
		d.tunnel = ipvsctl.GUE
		if !t.has("port") {
			t.missing("port", "GUE goes over UDP: name the port that the servers listen on, often 6080")
		}
		return d
	case "gre":
		d.tunnel = ipvsctl.GRE
	}
	if t.has("port") {
		t.bad("port", "belongs to GUE, the other tunnels have no ports", "remove it")
	}
	return d
}

// servers of a service, its own or its pool's.
func (b *builder) servers(s *Service, own, v view, pool layer, hasPool bool) {
	list := own
	switch {
	case hasPool && own.has("servers"):
		own.bad("servers", "cannot stand beside pool", "remove one of them, or move these servers to the pool")
	case hasPool:
		list = b.view(pool)
		if !list.has("servers") {
			list.missing("servers", `write servers = [{ name = "web1", address = "10.0.0.21" }]`)
		}
	case !own.has("servers") && !own.has("pool"):
		own.missing("servers", `name a pool, or write servers = [{ name = "web1", address = "10.0.0.21" }]`)
	}
	if x, ok := listValue(list, "servers"); ok && len(x) == 0 {
		list.warn("servers", "is empty: the service refuses every connection", "")
	}
	checks := b.serviceChecks(s, own, v, pool, hasPool)
	anyCheck := v.choice("checks_pass", "all", "all", "any") == "any"
	defaults := b.settings(v, serverSettings{weight: 1, forward: ipvsctl.Direct, enabled: true})
	x, from, _ := list.get("servers")
	if rows, short := x.(*serverRows); short && b.plainServers(s, rows, checks, defaults, anyCheck, own) {
		if p := rows.sharedPort(); p != 0 && unreached(s, p, defaults.forward) {
			b.warnSharedPort(s, from.at.child("servers").at(0).child("port"))
		}
		return
	}
	layers := list.tables("servers")
	names := make(map[string]*path, len(layers))
	keys := make(map[ipvsctl.ServerKey]defined, len(layers))
	b.sharedPort, b.sharedTold = sharedPort(layers), false
	s.Servers = make([]Server, 0, len(layers))
	backing := make([]Check, 0, len(layers)*len(checks))
	buf := make([]layer, 1) // of the view of each server in turn
	for _, l := range layers {
		buf[0] = l
		sv := view{b.loader.rep(), buf}
		srv, ok := b.server(s, sv, v, defaults)
		if old := names[srv.Name]; old != nil {
			b.duplicate("server", srv.Name, l.at.child("name"), old)
		} else if srv.Name != "" {
			names[srv.Name] = l.at
		}
		if ok {
			if old, dup := keys[srv.Kernel.Key]; dup {
				b.add(finding{at: l.at, part: atTable, what: fmt.Sprintf("has the address and port of server %s (%%PLACE%%)", quote(old.name)), other: old.at,
					cure: "remove one of them; a larger weight gives a server more connections"})
			}
			keys[srv.Kernel.Key] = defined{srv.Name, l.at}
		}
		list := checks
		if sv.has("checks") {
			list = b.namedChecks(sv)
		}
		from := len(backing)
		if ok {
			for _, t := range list {
				backing = append(backing, b.target(t, s, &srv, own))
			}
		}
		srv.AnyCheck = anyCheck
		srv.Checks = backing[from:len(backing):len(backing)]
		s.Servers = append(s.Servers, srv)
	}
}

// server reads one; ok tells whether its address and port are good.
func (b *builder) server(s *Service, sv, service view, defaults serverSettings) (srv Server, ok bool) {
	if srv.Name = sv.str("name", ""); srv.Name == "" && !sv.has("name") {
		sv.missing("name", "name it: logs, metrics and commands call it so")
	} else if !validName(srv.Name) && isText(sv, "name") {
		sv.bad("name", badName, nameCure)
	}
	set := b.settings(sv, defaults)
	srv.Enabled = set.enabled
	k := &srv.Kernel
	k.Weight, k.Forward, k.Upper, k.Lower = set.weight, set.forward, set.upper, set.lower
	if set.forward == ipvsctl.Tunnel {
		k.TunnelType, k.TunnelPort = set.tunnel, set.tunPort
	} else if sv.has("tunnel") {
		sv.warn("tunnel", "has no effect without forward = \"tun\"", "")
	}
	if k.Lower > k.Upper {
		full := service.over(sv.layers...)
		what := fmt.Sprintf("is above max_connections = %d", k.Upper)
		if k.Upper == 0 {
			what = "needs max_connections"
		}
		full.bad("min_connections", what, "a server that reached max_connections takes new ones again below min_connections")
	}
	return srv, b.endpoint(s, sv, k)
}

// sharedPort is the port that all of several servers name; 0 if they do not
// agree (serverRows has the same).
func sharedPort(layers []layer) uint16 {
	if len(layers) < 2 {
		return 0
	}
	first, _ := layers[0].m["port"].(int64)
	for _, l := range layers {
		if p, ok := l.m["port"].(int64); !ok || p != first || p < 1 || p > 65535 {
			return 0
		}
	}
	return uint16(first)
}

// endpoint reads the address and port of a server whose forwarding is known;
// ok tells whether they are good.
func (b *builder) endpoint(s *Service, sv view, k *ipvsctl.Server) (ok bool) {
	if !sv.has("address") {
		sv.missing("address", `write address = "10.0.0.21"`)
	} else if k.Key.Addr, ok = b.plainAddr(sv, "address"); ok && s.Service.Key.Family != 0 {
		ok = b.family(s, sv, k)
	}
	k.Key.Port = s.Service.Key.Port
	if sv.has("port") {
		port := sv.integer("port", -1, 0, 65535)
		if port < 0 {
			return false
		}
		k.Key.Port = uint16(port)
		if unreached(s, k.Key.Port, k.Forward) {
			if port != 0 && k.Key.Port == b.sharedPort && s.Service.Key.FWMark == 0 {
				if !b.sharedTold {
					b.warnSharedPort(s, sv.place("port"))
					b.sharedTold = true
				}
			} else {
				what := differs(s)
				if s.Service.Key.FWMark != 0 {
					what = "has no meaning: the service is a fwmark and keeps the port of each packet"
				}
				sv.bad("port", what, `DR and TUN cannot rewrite ports. Remove the port, or set forward = "nat" here.`)
			}
		}
	}
	return ok
}

// unreached tells whether clients' packets do not arrive at the port of a server.
func unreached(s *Service, port uint16, f ipvsctl.Forward) bool {
	k := &s.Service.Key
	return port != k.Port && f != ipvsctl.NAT && (k.Addr.IsValid() || k.FWMark != 0)
}

func differs(s *Service) string {
	return fmt.Sprintf("differs from the service port %d", s.Service.Key.Port)
}

// warnSharedPort at the first server, where all of them name the same port: it
// is where they are checked, not a slip on one line.
func (b *builder) warnSharedPort(s *Service, at *path) {
	b.add(finding{at: at, warning: true, what: differs(s) + " on every server",
		cure: "DR and TUN cannot rewrite ports: clients' packets arrive at the service port, checks go to this one. Better name it in the check."})
}

// family of a server: another one than the service's goes through tunnels only.
func (b *builder) family(s *Service, sv view, k *ipvsctl.Server) bool {
	if uint8(familyOf(k.Key.Addr)) == s.Service.Key.Family {
		return true
	}
	switch {
	case k.Forward != ipvsctl.Tunnel:
		sv.bad("address", fmt.Sprintf("is %s, but the service is IPv%d", familyName(k.Key.Addr), s.Service.Key.Family),
			`only tunnels cross address families: set forward = "tun", or use a server address of the service's family`)
		return false
	case b.out.Sync != nil:
		sv.bad("address", fmt.Sprintf("is %s, but the service is IPv%d, which the kernel refuses together with [sync]", familyName(k.Key.Addr), s.Service.Key.Family),
			"remove [sync], or use a server address of the service's family")
		return false
	}
	return true
}

func (l *loader) rep() *report { return &l.report }

// plainHost tells whether a text may stand in a header line: visible ASCII without blanks.
func plainHost(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}
