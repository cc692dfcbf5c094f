package conf

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"lvs-ha/health"
	"lvs-ha/ipvsctl"
)

const (
	day = 24 * time.Hour

	// DefaultListen is where metrics and health endpoints are if the file does not say.
	DefaultListen = "127.0.0.1:10112"
)

// builder makes the configuration of one node.
type builder struct {
	*loader
	node layer // overrides; m is nil without [nodes]
	out  *Config

	instances map[string]bool           // names
	holders   map[netip.Addr]holder     // virtual addresses
	templates map[string]*checkTemplate // named checks
	base      view                      // [defaults.check]

	unsure bool // a virtual address could not be read, so holders lacks one

	sharedPort uint16 // that every server of the present service names, 0 if they differ
	sharedTold bool   // the warning about it was given
}

// holder is the instance that holds a virtual address.
type holder struct {
	instance string
	at       *path
}

// build reads everything as one node sees it. With problems the result is of no use.
func (l *loader) build(node string) *Config {
	b := &builder{loader: l, out: &Config{Path: l.sources[0].name, Node: node, Hash: l.hash()}}
	if !b.selectNode(node) {
		return nil
	}
	top := l.view(l.main)
	b.out.Cluster = top.str("cluster", "")
	if b.out.Cluster != "" && !validName(b.out.Cluster) {
		top.bad("cluster", badName, nameCure)
	}
	b.process(b.section("process"))
	b.http(b.section("http"))
	b.log(b.section("log"))
	b.buildVRRP()
	b.sync(b.section("sync"))
	b.ipvs(b.section("ipvs"))
	b.buildServices()
	b.syncGroups()
	b.duties()
	return b.out
}

func (b *builder) selectNode(node string) bool {
	for _, n := range b.nodes {
		out := Node{Name: n.name()}
		if v := b.view(n); v.has("address") {
			out.Address, _ = b.plainAddr(v, "address")
		}
		if n.name() == node {
			b.node = n
		}
		b.out.Nodes = append(b.out.Nodes, out)
	}
	if len(b.nodes) == 0 || b.node.m != nil {
		return true
	}
	what := "is not in [nodes]"
	if node == "" {
		what = "is no node"
	}
	b.add(finding{at: b.main.at.child("nodes"), part: atTable, where: "node " + quote(node), what: what,
		cure: "known nodes: " + strings.Join(namesOf(b.nodes), ", ") + ". Choose one with --node, or add this one"})
	return false
}

// section is a table at the top with the node's own on it. It may be empty.
func (b *builder) section(name string) view {
	v := b.view(b.main).sub(name)
	if b.node.m != nil {
		v.layers = append(v.layers, b.view(b.node).sub(name).layers...)
	}
	return v
}

func (b *builder) process(v view) {
	x, _, ok := v.get("realtime")
	const want = `must be "auto", "off" or a priority of 1..99`
	switch x := x.(type) {
	case string:
		switch x {
		case "auto":
		case "off":
			b.out.Process.Realtime = -1
		default:
			cure := ""
			if isNumber(x) {
				cure = "write the priority without quotes"
			}
			v.bad("realtime", want, cure)
		}
	case int64:
		if x < 1 || x > 99 {
			v.bad("realtime", want, "")
			return
		}
		b.out.Process.Realtime = int(x)
	default:
		if ok {
			v.bad("realtime", want, "")
		}
	}
}

func (b *builder) http(v view) {
	b.out.HTTP.Listen = []string{DefaultListen}
	if !v.has("listen") {
		return
	}
	b.out.HTTP.Listen = []string{}
	seen := map[string]*path{}
	for _, t := range v.texts("listen") {
		if msg, cure := badListen(t.s); msg != "" {
			b.add(finding{at: t.at, what: msg, cure: cure})
			continue
		}
		if old := seen[t.s]; old != nil {
			b.add(finding{at: t.at, what: "is there already", cure: "remove one of them"})
			continue
		}
		seen[t.s] = t.at
		b.out.HTTP.Listen = append(b.out.HTTP.Listen, t.s)
	}
}

// badListen says what is wrong with a host:port to listen on.
func badListen(s string) (what, cure string) {
	const example = `write an address and a port, as "127.0.0.1:10112" or "[::1]:10112"; ":10112" is every address`
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "has no port", example
	}
	host, port := s[:i], s[i+1:]
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "has no port of 1..65535", example
	}
	if host == "" || host == "localhost" {
		return "", ""
	}
	if strings.HasPrefix(host, "[") != strings.Contains(host, ":") || strings.HasPrefix(host, "[") != strings.HasSuffix(host, "]") {
		return "is no address with a port", example
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil {
		return "is no address with a port", example
	}
	return "", ""
}

func (b *builder) log(v view) {
	b.out.Log = Log{
		Level:  v.choice("level", "info", "debug", "info", "warn", "error"),
		Format: v.choice("format", "auto", "auto", "text", "json"),
	}
}

func (b *builder) sync(v view) {
	if !v.exists() {
		return
	}
	s := &Sync{
		Interface: b.interfaceName(v, "interface", true),
		ID:        uint8(v.integer("id", 0, 0, 255)),
		Follow:    v.str("follow", ""),
		MaxLen:    uint16(v.integer("maxlen", 0, 256, 65507)),
		Port:      uint16(v.integer("port", 0, 1, 65535)),
		TTL:       uint8(v.integer("ttl", 0, 1, 255)),
	}
	switch {
	case !v.has("follow"):
		v.missing("follow", "name the VRRP instance whose role the daemon takes")
	case !b.instances[s.Follow]:
		v.bad("follow", "is no VRRP instance", orElse(didYouMean(s.Follow, namesOf(b.vrrp)), "define it: [vrrp."+keyText(s.Follow)+"]"))
	}
	if v.has("group") {
		if a, err := netip.ParseAddr(v.str("group", "")); err != nil || !a.IsMulticast() || a.Zone() != "" {
			v.bad("group", "is no multicast address", "the kernel's default is 224.0.0.81")
		} else {
			s.Group = a
		}
	}
	b.out.Sync = s
}

func (b *builder) ipvs(v view) {
	c := &b.out.IPVS
	c.Adopt = v.boolean("adopt", true)
	c.OnStop = OnStop(v.choice("on_stop", string(StopKeep), string(StopKeep), string(StopRemove)))
	c.Unmanaged = Unmanaged(v.choice("unmanaged", string(UnmanagedIgnore), string(UnmanagedIgnore), string(UnmanagedWarn), string(UnmanagedRemove)))
	c.ReconcileInterval = v.duration("reconcile_interval", 10*time.Second, 100*time.Millisecond, time.Hour)
	c.Stragglers = v.boolean("stragglers", true)
	c.Sysctls = b.sysctls(v)
	t := v.sub("timeouts")
	c.Timeouts = ipvsctl.Timeouts{TCP: t.seconds("tcp", 0, 31*day), TCPFin: t.seconds("tcp_fin", 0, 31*day), UDP: t.seconds("udp", 0, 31*day)}
}

// seconds is a duration of whole seconds, at least one, as the kernel's IPVS counts.
func (v view) seconds(key string, def, hi time.Duration) time.Duration {
	d := v.duration(key, def, time.Second, hi)
	if d%time.Second != 0 {
		v.bad(key, "must be whole seconds", "")
		return def
	}
	return d
}

// interfaceName that the kernel could have.
func (b *builder) interfaceName(v view, key string, required bool) string {
	if !v.has(key) {
		if required {
			v.missing(key, "name the network interface, as ip link shows it")
		}
		return ""
	}
	s := v.str(key, "")
	if x, _, _ := v.get(key); x == s && !validInterface(s) {
		v.bad(key, "is no name of an interface", "1 to 15 octets without blanks, '/' and ':'")
	}
	return s
}

// validInterface follows dev_valid_name in net/core/dev.c.
func validInterface(s string) bool {
	return s != "" && len(s) <= 15 && s != "." && s != ".." && !strings.ContainsAny(s, "/: \t\n\v\f\r") && strings.ToValidUTF8(s, "") == s && !strings.ContainsRune(s, 0)
}

// plainAddr is an address without prefix and port.
func (b *builder) plainAddr(v view, key string) (netip.Addr, bool) {
	x, l, ok := v.get(key)
	if !ok {
		return netip.Addr{}, false
	}
	return b.addr(x, l.at.child(key))
}

func (b *builder) addr(x any, at *path) (netip.Addr, bool) {
	s, ok := x.(string)
	if !ok {
		b.add(finding{at: at, what: "must be an address, a text in quotes"})
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		what, cure := notAnAddress(s)
		b.add(finding{at: at, what: what, cure: cure})
		return netip.Addr{}, false
	}
	return a, b.usable(a, at)
}

// usable addresses are those of one host.
func (b *builder) usable(a netip.Addr, at *path) bool {
	what, cure := unusable(a)
	if what != "" {
		b.add(finding{at: at, what: what, cure: cure})
	}
	return what == ""
}

// unusable says what is wrong with an address that is not that of one host.
func unusable(a netip.Addr) (what, cure string) {
	switch {
	case a.Is4In6():
		return "is an IPv4 address written as IPv6", "write " + a.Unmap().String()
	case a.Zone() != "":
		return "has a zone", "leave out what follows '%'; the interface is a key of its own"
	case a.IsMulticast():
		return "is a multicast address, not that of a host", ""
	case a.IsUnspecified():
		return "is not the address of a host", ""
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is the broadcast address, not that of a host", ""
	}
	return "", ""
}

// notAnAddress guesses what somebody wrote in place of an address.
func notAnAddress(s string) (what, cure string) {
	what = "is no IPv4 or IPv6 address"
	if _, err := netip.ParsePrefix(s); err == nil {
		return "has a prefix length, which is of no use here", "write " + s[:strings.IndexByte(s, '/')]
	}
	if n := len(s); n > 2 && s[0] == '[' && s[n-1] == ']' {
		if a, err := netip.ParseAddr(s[1 : n-1]); err == nil {
			return "stands in brackets", "write " + a.String()
		}
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return "has a port, which is a key of its own", fmt.Sprintf("write %s and port = %d", ap.Addr(), ap.Port())
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return r >= 'g' && r <= 'z' || r >= 'G' && r <= 'Z' }) >= 0 {
		return what, "names are not looked up; write the address"
	}
	return what, ""
}

func familyName(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// checkTemplate is a check before it knows its target.
type checkTemplate struct {
	name    string
	method  *health.Method
	address netip.Addr // invalid: the server's
	port    uint16     // 0: the server's
	family  string     // what targets have to be; "" for either
	view    view
	// Services in which something was reported of it already, to report it once.
	noPort, otherFamily *path
}
