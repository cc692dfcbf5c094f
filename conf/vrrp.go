package conf

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"lvs-ha/vrrp"
)

const (
	maxV3Interval = 40950 * time.Millisecond // 12 bits of centiseconds, RFC 9568 5.2.7

	// What an advertisement can carry: the count is one octet (RFC 9568 5.2.5),
	// and with IPv6 addresses a packet of 1500 octets is full before that.
	maxIPv4 = 255
	maxIPv6 = (1500 - 40 - 8) / 16
)

// group is what two instances of one director cannot share.
type group struct {
	iface  string
	vrid   uint8
	family vrrp.Family
}

func (b *builder) buildVRRP() {
	b.instances = make(map[string]bool, len(b.vrrp))
	b.holders = map[netip.Addr]holder{}
	groups := map[group]view{}
	for _, l := range b.vrrp {
		b.instances[l.name()] = true
		v := b.instanceView(l, b.node)
		i := b.instance(l.name(), v)
		g := group{i.Interface, i.Config.VRID, i.Config.Family}
		if old, dup := groups[g]; dup && g.vrid != 0 && g.iface != "" && g.family != 0 {
			b.add(finding{at: v.place("vrid"), what: fmt.Sprintf("is the group of vrrp %s on %s too (%%PLACE%%)", quote(old.table0().key), g.iface),
				other: old.place("vrid"), cure: "give each instance of an interface its own vrid"})
		}
		groups[g] = v
		b.out.VRRP = append(b.out.VRRP, i)
		b.priorities(l)
	}
}

// table0 is the lowest layer: the instance's own table, not the node's.
func (v view) table0() *path { return v.layers[0].at }

// instanceView lays what a node overrides over an instance.
func (b *builder) instanceView(l, node layer) view {
	v := b.view(l)
	if over, ok := node.m["vrrp"].(map[string]any); ok {
		if m, ok := over[l.name()].(map[string]any); ok {
			v.layers = append(v.layers, layer{m, node.at.child("vrrp").child(l.name())})
		}
	}
	return v
}

func (b *builder) instance(name string, v view) vrrp.Instance {
	i := vrrp.Instance{Name: name, Interface: b.interfaceName(v, "interface", true), Group: v.str("group", "")}
	if isText(v, "group") && !validName(i.Group) {
		v.bad("group", badName, nameCure)
	}
	c := &i.Config
	if !v.has("vrid") {
		v.missing("vrid", "choose a number of 1..255 that no other group on this network has")
	}
	c.VRID = uint8(v.integer("vrid", 0, 1, 255))
	c.Version = vrrp.Version(v.integer("version", 3, 2, 3))
	c.Priority = uint8(v.integer("priority", 100, 1, 255))
	if c.Priority == 255 {
		v.warn("priority", "is for the owner of the addresses, who takes over at once and whom nobody can replace while it runs", "use 254 or less unless the addresses are configured on the interface for good")
	}
	c.Interval = b.interval(v, c.Version)
	c.Preempt = v.boolean("preempt", true)
	c.PreemptDelay = v.duration("preempt_delay", 0, 0, day)
	c.StartDelay = v.duration("start_delay", 0, 0, day)
	b.addresses(&i, v)
	b.auth(c, v)
	switch v.choice("checksum", "pseudo-header", "pseudo-header", "rfc9568") {
	case "rfc9568":
		c.Checksum = vrrp.ChecksumMessageOnly
		if c.Version == 2 || c.Family == vrrp.IPv6 {
			v.warn("checksum", "has no effect with version 2 and with IPv6, which know one form only", "remove it")
		}
	default:
		c.Checksum = vrrp.ChecksumPseudoHeader
	}
	b.peers(name, c, v)
	b.source(&i, v)
	i.Announce = b.announce(v.sub("garp"))
	i.TrackInterfaces = b.tracks(v, "track_interfaces", b.trackedInterface)
	i.Lifetime = lifetime(c)
	return i
}

func (b *builder) interval(v view, version vrrp.Version) time.Duration {
	if version == 2 {
		d := v.duration("advert_interval", time.Second, time.Second, 255*time.Second)
		if d%time.Second != 0 {
			v.bad("advert_interval", "must be whole seconds with version 2", `set version = 3 for shorter intervals, or write "1s"`)
			return time.Second
		}
		return d
	}
	d := v.duration("advert_interval", time.Second, 10*time.Millisecond, maxV3Interval)
	if d%(10*time.Millisecond) != 0 {
		v.bad("advert_interval", "is no multiple of 10ms, in which the protocol counts", fmt.Sprintf("write %q", d.Round(10*time.Millisecond)))
		return time.Second
	}
	return d
}

// addresses fills in both lists and the family.
func (b *builder) addresses(i *vrrp.Instance, v view) {
	own := map[netip.Addr]*path{}
	for _, it := range v.list("addresses") {
		a, ok := b.virtual(it, v, i.Interface)
		if !ok {
			b.unsure = true
			continue
		}
		fam := vrrp.IPv6
		if a.Prefix.Addr().Is4() {
			fam = vrrp.IPv4
		}
		switch {
		case i.Config.Family == 0:
			i.Config.Family = fam
			if fam == vrrp.IPv6 && i.Config.Version == 2 {
				b.add(finding{at: it.at, what: "is an IPv6 address, which version 2 cannot carry", cure: "set version = 3"})
			}
		case fam != i.Config.Family:
			b.add(finding{at: it.at, what: "is of another address family than the first of the instance",
				cure: "make it a second instance, or move it to excluded, which may hold both"})
			b.hold(i.Name, a.Prefix.Addr(), it.at, own)
			continue
		}
		if b.hold(i.Name, a.Prefix.Addr(), it.at, own) {
			i.Addresses = append(i.Addresses, a)
			i.Config.Addresses = append(i.Config.Addresses, a.Prefix.Addr())
		}
	}
	if x, _, ok := v.get("addresses"); !ok {
		b.unsure = true
		v.missing("addresses", `list the virtual addresses, as addresses = ["192.0.2.10/24"]`)
	} else if a, ok := x.([]any); ok && len(a) == 0 {
		v.bad("addresses", "is empty, and an advertisement carries at least one address", "")
	}
	limit := maxIPv4
	if i.Config.Family == vrrp.IPv6 {
		limit = maxIPv6
	}
	if n := len(i.Addresses); n > limit {
		v.bad("addresses", fmt.Sprintf("has %d addresses, but an advertisement carries at most %d", n, limit), "move the others to excluded")
	}
	for _, it := range v.list("excluded") {
		a, ok := b.virtual(it, v, i.Interface)
		if ok && b.hold(i.Name, a.Prefix.Addr(), it.at, own) {
			i.Excluded = append(i.Excluded, a)
		}
		b.unsure = b.unsure || !ok
	}
}

// hold notes that an instance holds an address. False if it is held already.
func (b *builder) hold(instance string, a netip.Addr, at *path, own map[netip.Addr]*path) bool {
	if own[a] != nil {
		b.add(finding{at: at, what: "is in this instance already (%PLACE%)", other: own[a], cure: "remove one of them"})
		return false
	}
	own[a] = at
	if h, dup := b.holders[a]; dup {
		b.add(finding{at: at, what: fmt.Sprintf("is held by vrrp %s already (%%PLACE%%)", quote(h.instance)), other: h.at, cure: "remove it from one of them"})
		return false
	}
	b.holders[a] = holder{instance, at}
	return true
}

// virtual is one virtual address: a text, or a table with more about it.
func (b *builder) virtual(it item, instance view, iface string) (vrrp.Address, bool) {
	var a vrrp.Address
	m, isTable := it.value.(map[string]any)
	if !isTable {
		var ok bool
		a.Prefix, ok = b.prefix(it.value, it.at)
		return a, ok
	}
	v := b.view(layer{m, it.at})
	x, l, ok := v.get("address")
	if !ok {
		v.missing("address", `write { address = "192.0.2.10/24", … }`)
		return a, false
	}
	if a.Prefix, ok = b.prefix(x, l.at.child("address")); !ok {
		return a, false
	}
	a.Interface = b.interfaceName(v, "interface", false)
	if a.Interface != "" {
		iface = a.Interface
	}
	if a.Label = v.str("label", ""); v.has("label") {
		switch {
		case !a.Prefix.Addr().Is4():
			v.bad("label", "belongs to an IPv6 address; only IPv4 addresses have labels", "remove it")
		case len(a.Label) > 15:
			v.bad("label", "is longer than 15 octets", "")
		case iface == "" || a.Label != iface && !strings.HasPrefix(a.Label, iface+":"):
			v.bad("label", "does not begin with the name of its interface", fmt.Sprintf("write %q", iface+":"+a.Label[strings.LastIndexByte(a.Label, ':')+1:]))
		}
	}
	a.Scope = b.scope(v)
	return a, true
}

// scope as in rtnetlink (include/uapi/linux/rtnetlink.h, rt_scope_t).
func (b *builder) scope(v view) uint8 {
	if x, _, _ := v.get("scope"); x != nil {
		if _, number := x.(int64); number {
			return uint8(v.integer("scope", 0, 0, 255))
		}
	}
	switch v.choice("scope", "global", "global", "site", "link", "host") {
	case "site":
		return 200
	case "link":
		return 253
	case "host":
		return 254
	default:
		return 0
	}
}

// prefix is an address with a prefix length; without one it is the address alone.
func (b *builder) prefix(x any, at *path) (netip.Prefix, bool) {
	s, ok := x.(string)
	if !ok {
		b.add(finding{at: at, what: "must be an address in quotes, or a table with one"})
		return netip.Prefix{}, false
	}
	if !strings.Contains(s, "/") {
		a, ok := b.addr(x, at)
		if !ok {
			return netip.Prefix{}, false
		}
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		what, cure := notAnAddress(s[:strings.IndexByte(s, '/')])
		if _, e := netip.ParseAddr(s[:strings.IndexByte(s, '/')]); e == nil {
			what, cure = "has no valid prefix length", "1..32 after an IPv4 address, 1..128 after IPv6"
		}
		b.add(finding{at: at, what: what, cure: cure})
		return p, false
	}
	if p.Bits() == 0 {
		b.add(finding{at: at, what: "has the prefix length 0, which covers every address", cure: "write the length of the network, or none"})
		return p, false
	}
	if p.Addr().Is4() && p.Bits() < 31 && p.Masked().Addr() == p.Addr() {
		b.add(finding{at: at, warning: true, what: "is the address of the network itself", cure: "write the virtual address, as " + p.Addr().Next().String() + s[strings.IndexByte(s, '/'):]})
	}
	return p, b.usable(p.Addr(), at)
}

func (b *builder) auth(c *vrrp.Config, v view) {
	a := v.sub("auth")
	if !a.exists() {
		return
	}
	if c.Version != 2 {
		v.bad("auth", "is not possible with version 3, which has no authentication", "remove it; unicast peers accept nobody else's advertisements")
		return
	}
	if !a.has("type") {
		a.missing("type", `write type = "pass"`)
	}
	if a.choice("type", "", "pass", "none") != "pass" {
		return
	}
	pass := a.str("password", "")
	switch {
	case !a.has("password"):
		a.missing("password", "at most 8 octets count")
		return
	case pass == "":
		a.bad("password", "must not be empty", "")
		return
	case len(pass) > len(c.Auth.Data):
		a.r.add(finding{at: a.place("password"), part: atKey, warning: true, what: fmt.Sprintf("only the first %d octets count", len(c.Auth.Data)), cure: "shorten it"})
	}
	c.Auth.Type = vrrp.AuthPass
	copy(c.Auth.Data[:], pass)
}

// peers of a unicast instance, as listed or as [nodes] has them.
func (b *builder) peers(name string, c *vrrp.Config, v view) {
	if v.choice("mode", "multicast", "multicast", "unicast") != "unicast" {
		if v.has("peers") {
			v.warn("peers", "has no effect with multicast", `set mode = "unicast", or remove it`)
		}
		return
	}
	c.Mode = vrrp.Unicast
	var self netip.Addr
	for _, n := range b.out.Nodes {
		if n.Name == b.out.Node {
			self = n.Address
		}
	}
	add := func(a netip.Addr, at *path) {
		if fam := familyOf(a); c.Family != 0 && fam != c.Family {
			b.add(finding{at: at, what: fmt.Sprintf("is %s, but vrrp %s has IPv%d addresses", familyName(a), quote(name), c.Family),
				cure: "list peers of that family in the instance"})
			return
		}
		for _, p := range c.Peers {
			if p == a {
				return
			}
		}
		if a != self {
			c.Peers = append(c.Peers, a)
		}
	}
	if v.has("peers") {
		for _, it := range v.list("peers") {
			if a, ok := b.addr(it.value, it.at); ok {
				add(a, it.at)
			}
		}
		if _, isList := listValue(v, "peers"); isList && len(c.Peers) == 0 {
			v.bad("peers", "names nobody but node "+quote(b.out.Node), "list the addresses of the other directors")
		}
		return
	}
	for i, n := range b.out.Nodes {
		if n.Name == b.out.Node {
			continue
		}
		if node := b.nodes[i]; n.Address.IsValid() {
			add(n.Address, node.at.child("address"))
		} else if _, there := node.m["address"]; !there {
			b.add(finding{at: node.at, part: atTable, what: fmt.Sprintf("address is missing: vrrp %s is unicast and takes its peers from [nodes]", quote(name)),
				cure: "add it, or list peers in the instance"})
		}
	}
	if len(b.out.Nodes) < 2 {
		v.bad("mode", "needs peers", "list peers in the instance, or give each director an address in [nodes]")
	}
}

func listValue(v view, key string) ([]any, bool) {
	x, _, _ := v.get(key)
	a, ok := x.([]any)
	return a, ok
}

func familyOf(a netip.Addr) vrrp.Family {
	if a.Is4() {
		return vrrp.IPv4
	}
	return vrrp.IPv6
}

func (b *builder) announce(v view) vrrp.Announce {
	a := vrrp.Announce{
		Count:       int(v.integer("count", 5, 1, 100)),
		Interval:    v.duration("interval", 200*time.Millisecond, 0, 10*time.Second),
		RepeatAfter: v.duration("repeat_after", 5*time.Second, 0, time.Hour),
		Refresh:     v.duration("refresh", time.Minute, 0, day),
	}
	if a.Refresh > 0 && a.Refresh < time.Second {
		v.bad("refresh", "is less than a second", `write "0s" for never`)
	}
	switch v.choice("opcode", "both", "request", "reply", "both") {
	case "request":
		a.Opcode = vrrp.ARPRequest
	case "reply":
		a.Opcode = vrrp.ARPReply
	default:
		a.Opcode = vrrp.ARPBoth
	}
	return a
}

// priorities warns of two nodes with the same one: the higher address then decides.
func (b *builder) priorities(l layer) {
	seen := map[int64]int{}
	for i, n := range b.nodes {
		v := b.instanceView(l, n)
		p := int64(100)
		if x, _, ok := v.get("priority"); ok {
			if p, ok = x.(int64); !ok {
				continue
			}
		}
		first, dup := seen[p]
		if !dup {
			seen[p] = i
			continue
		}
		f := finding{at: v.place("priority"), warning: true, what: "is also the priority of " + b.nodes[first].name(),
			cure: "give each node its own priority; 50 apart is customary"}
		if v.height("priority") == 0 {
			f.what = "is the same on every node that does not override it, where the higher address decides"
		}
		if !v.has("priority") {
			f.part = atTable
			f.what = "priority is missing: every node has 100, and the higher address decides"
			for _, m := range b.nodes {
				if b.instanceView(l, m).has("priority") {
					f.what = fmt.Sprintf("priority is missing for node %s: it has 100, as node %s has", quote(n.name()), quote(b.nodes[first].name()))
				}
			}
		}
		b.add(f)
	}
}

// lifetime of an address that nobody renews: long enough for a master that is
// only slow, short enough not to outlive a dead one's successor by much.
func lifetime(c *vrrp.Config) time.Duration {
	skew := time.Duration(256-int(c.Priority)) * c.Interval / 256 // RFC 9568 6.1
	if c.Version == 2 {
		skew = time.Duration(256-int(c.Priority)) * time.Second / 256 // RFC 3768 6.1
	}
	d := max(5*time.Second, 2*(3*c.Interval+skew))
	return (d + time.Second - 1) / time.Second * time.Second
}
