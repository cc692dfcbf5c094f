package e2e

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

// Ports of the services of TestServices.
const (
	portRR = 8001 + iota
	portWRR
	portLC
	portWLC
	portSED
	portNQ
	portFO
	portOVF
	portTWOS
	portSH
	portMH
	portDH
	portLBLC
	portLBLCR
	portPersistent
	portNetwork
	portAny1
	portAny2
	portThreshold
	portUDP
	portOnePacket
	portSIP
	portRange1
	portRange2
	portLast
)

// marked are services that a mark selects, for addresses of 10.9.0.0/24.
var marked = map[int]string{portDH: "dh", portLBLC: "lblc", portLBLCR: "lblcr"}

func vipPort(port int) netip.AddrPort { return netip.AddrPortFrom(lab.VIP, uint16(port)) }

// everyService is a file with one service of each sort, all of one pool: three
// servers of the weights 1, 2 and 3.
func everyService(s *scene) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("[pool.three]\nchecks = []\nservers = [")
	for i, a := range s.set.Servers {
		p("  { name = \"web%d\", address = %q, weight = %d },", i+1, a, i+1)
	}
	p("]")
	service := func(name string, port int, more string) {
		p("[[service]]\nname = %q\naddress = %q\nport = %d\npool = \"three\"\n%s", name, lab.VIP, port, more)
	}
	for port, scheduler := range map[int]string{portRR: "rr", portWRR: "wrr", portLC: "lc", portWLC: "wlc", portSED: "sed", portNQ: "nq",
		portFO: "fo", portOVF: "ovf", portTWOS: "twos", portSH: "sh", portMH: "mh"} {
		service(scheduler, port, fmt.Sprintf("scheduler = %q", scheduler))
	}
	for port, scheduler := range marked {
		p("[[service]]\nname = %q\nfwmark = %d\npool = \"three\"\nscheduler = %q", scheduler, port, scheduler)
	}
	service("persistent", portPersistent, `persistence = { timeout = "5s" }`)
	service("network", portNetwork, `persistence = { timeout = "60s", prefix = 24 }`)
	p("[[service]]\nname = \"any\"\naddress = \"10.9.1.1\"\nport = 0\nvrrp = \"none\"\npool = \"three\"\npersistence = { timeout = \"60s\" }")
	service("udp", portUDP, `protocol = "udp"`)
	service("one-packet", portOnePacket, "protocol = \"udp\"\none_packet = true")
	service("sip", portSIP, "protocol = \"udp\"\npe = \"sip\"\npersistence = { timeout = \"60s\" }")
	p("[[service]]\nname = \"range\"\naddress = %q\nports = \"%d-%d\"\npool = \"three\"", lab.VIP, portRange1, portRange2)
	p("[[service]]\nname = \"threshold\"\naddress = %q\nport = %d\nchecks = []\nservers = [", lab.VIP, portThreshold)
	p("  { name = \"web1\", address = %q, max_connections = 2, min_connections = 1 }, { name = \"web2\", address = %q },\n]", s.set.Servers[0], s.set.Servers[1])
	return b.String()
}

// TestServices: each scheduler is seen distributing real connections, and each
// sort of service doing what it is for.
func TestServices(t *testing.T) {
	binary(t)
	needIPVS(t)
	needProgram(t, "nft")
	s := open(t, lab.Options{Mode: lab.DR, Servers: 3})
	var tcp, udp []string
	for port := portRR; port < portLast; port++ {
		tcp = append(tcp, fmt.Sprintf("0.0.0.0:%d", port))
	}
	for _, port := range []int{portUDP, portOnePacket, portSIP} {
		udp = append(udp, vipPort(port).String())
	}
	for _, srv := range s.Servers {
		s.sh(srv.Host, "ip route add local 10.9.0.0/16 dev lo")
		s.serveAlso(srv, tcp, udp)
	}
	s.sh(s.Directors[0], "ip route add local 10.9.0.0/16 dev lo; nft add table ip test; nft 'add chain ip test pre { type filter hook prerouting priority mangle; }'")
	for port := range marked {
		s.sh(s.Directors[0], fmt.Sprintf("nft add rule ip test pre ip daddr 10.9.0.0/24 tcp dport %d meta mark set %d", port, port))
	}
	s.sh(s.Client, "ip route add 10.9.0.0/16 via 10.0.0.1")
	s.set.Extra = everyService(s)
	s.pair()
	s.rewrite(func(text string) string {
		return strings.Replace(text, "[ipvs]\n", "[ipvs]\ntimeouts = { tcp_fin = \"2s\" }\n", 1)
	})
	s.must(s.lvs1.Start())
	s.vip(s.lvs1, true, 15*time.Second)
	s.slowly(10*time.Second, "the table is complete", func() error {
		if table, err := s.lvs1.Host().Table(); err != nil || len(table) != 22+2 {
			return errorf("%d services: %v", len(table), err)
		}
		return nil
	})
	s.slowly(10*time.Second, "servers listen", func() error {
		for range 6 {
			if _, err := s.asks(source(0), vipPort(portRR)); err != nil {
				return err
			}
		}
		return nil
	})
	t.Run("schedulers", func(*testing.T) { s.schedulers() })
	t.Run("persistence", func(*testing.T) { s.persistence() })
	t.Run("threshold", func(*testing.T) { s.threshold() })
	t.Run("udp", func(*testing.T) { s.udpServices() })
	t.Run("range", func(*testing.T) {
		for _, port := range []int{portRange1, portRange2} {
			if got := s.times(6, source, func(int) netip.AddrPort { return vipPort(port) }); len(got.counts()) != 3 {
				t.Errorf("port %d of a range: %s", port, got)
			}
		}
	})
	if out := s.text(s.lvs1.Host(), "ipvsadm", "-L", "--timeout"); !strings.Contains(out, "900 2 300") {
		t.Error(out)
	}
}

// near tells whether counts are those wanted, give or take.
func near(got map[string]int, give int, want ...int) bool {
	for i, w := range want {
		if g := got[fmt.Sprintf("web%d", i+1)]; g < w-give || g > w+give {
			return false
		}
	}
	return true
}

func (s *scene) schedulers() {
	at := func(port int) func(int) netip.AddrPort {
		return func(int) netip.AddrPort { return vipPort(port) }
	}
	// Short connections.
	for _, c := range []struct {
		name string
		port int
		want []int
	}{
		{"rr", portRR, []int{10, 10, 10}}, {"wrr", portWRR, []int{5, 10, 15}}, {"fo", portFO, []int{0, 0, 30}},
	} {
		got := s.times(30, source, at(c.port))
		s.Logf("%s: %s", c.name, got)
		if !near(got.counts(), 1, c.want...) {
			s.Errorf("%s: 30 connections went to %s, want %v", c.name, got, c.want)
		}
	}
	// Connections that stay.
	for _, c := range []struct {
		name       string
		port, n    int
		want       []int
		give       int
		firstOther bool // each of the first three has a server for itself
	}{
		{"lc", portLC, 12, []int{4, 4, 4}, 0, true}, {"wlc", portWLC, 12, []int{2, 4, 6}, 1, false}, {"sed", portSED, 12, []int{2, 4, 6}, 1, false},
		{"nq", portNQ, 12, []int{2, 4, 6}, 1, true}, {"ovf", portOVF, 9, []int{2, 3, 4}, 0, false}, {"twos", portTWOS, 30, []int{7, 10, 13}, 12, false},
	} {
		got, done := s.held(c.n, vipPort(c.port))
		s.Logf("%s: %s", c.name, got)
		if !near(got.counts(), c.give, c.want...) {
			s.Errorf("%s: %d connections are with %s, want %v", c.name, c.n, got, c.want)
		}
		if c.firstOther && len(got[:3].counts()) != 3 {
			s.Errorf("%s: the first connections went to %v", c.name, got[:3])
		}
		if len(got.counts()) != 3 { // twos throws dice
			s.Errorf("%s: not every server has one: %s", c.name, got)
		}
		if c.name == "sed" && (got[0] != "web3" || got[1] != "web2") {
			s.Errorf("sed: the shortest expected delay is not first: %v", got)
		}
		if c.name == "ovf" && !slices.IsSortedFunc(got, func(a, b string) int { return strings.Compare(b, a) }) {
			s.Errorf("ovf: the heaviest is not filled first: %v", got)
		}
		done()
	}
	// The client's address, or the one it asks, decides.
	for _, c := range []struct {
		name string
		n    int
		from func(int) netip.Addr
		to   func(int) netip.AddrPort
	}{
		{"sh", 9, source, at(portSH)}, {"mh", 9, source, at(portMH)},
		{"dh", 20, sourceOne, manyVIPs(portDH)}, {"lblc", 20, sourceOne, manyVIPs(portLBLC)}, {"lblcr", 20, sourceOne, manyVIPs(portLBLCR)},
	} {
		first, second := s.times(c.n, c.from, c.to), s.times(c.n, c.from, c.to)
		s.Logf("%s: %s", c.name, first)
		if !slices.Equal(first, second) || len(first.counts()) < 2 {
			s.Errorf("%s: the same connections went to %v, then %v", c.name, first, second)
		}
	}
}

func sourceOne(int) netip.Addr { return source(0) }

func manyVIPs(port int) func(int) netip.AddrPort {
	return func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(1 + i)}), uint16(port))
	}
}

// templates counts the templates of persistence of a service, by its port as
// the kernel's list has it.
func (s *scene) templates(port int) (n int) {
	for line := range strings.Lines(s.text(s.lvs1.Host(), "cat", "/proc/net/ip_vs_conn")) {
		if w := strings.Fields(line); len(w) > 7 && w[2] == "0000" && w[4] == fmt.Sprintf("%04X", port) {
			n++
		}
	}
	return n
}

func (s *scene) persistence() {
	fixed := func(port int) func(int) netip.AddrPort {
		return func(int) netip.AddrPort { return vipPort(port) }
	}
	first := s.times(9, source, fixed(portPersistent))
	for range 2 {
		if again := s.times(9, source, fixed(portPersistent)); !slices.Equal(first, again) || len(first.counts()) < 2 {
			s.Errorf("persistence: %v, then %v", first, again)
		}
	}
	if n := s.templates(portPersistent); n != 9 {
		s.Errorf("%d templates for 9 clients", n)
	}
	s.slowly(20*time.Second, "persistence ends", func() error {
		if n := s.templates(portPersistent); n > 0 {
			return errorf("%d templates", n)
		}
		return nil
	})
	if got := s.times(9, source, fixed(portNetwork)); len(got.counts()) != 1 {
		s.Errorf("one network is spread: %s", got)
	}
	// Every port of an address.
	anyPort := func(port int) answers {
		return s.times(9, source, func(int) netip.AddrPort {
			return netip.AddrPortFrom(netip.MustParseAddr("10.9.1.1"), uint16(port))
		})
	}
	if one, two := anyPort(portAny1), anyPort(portAny2); !slices.Equal(one, two) || len(one.counts()) < 2 {
		s.Errorf("port 0: on one port %v, on another %v", one, two)
	}
}

func (s *scene) threshold() {
	got, done := s.held(8, vipPort(portThreshold))
	if !near(got.counts(), 0, 2, 6) {
		s.Errorf("at most 2 connections: %s", got)
	}
	done()
	s.slowly(10*time.Second, "the server is below its lower threshold", func() error {
		for _, svc := range s.tables() {
			if svc.Addr == vipPort(portThreshold) {
				for _, r := range svc.Servers {
					if r.Active+r.Inactive > 0 {
						return errorf("%+v", r)
					}
				}
			}
		}
		return nil
	})
	got, done = s.held(4, vipPort(portThreshold))
	if got.counts()["web1"] != 2 {
		s.Errorf("below the lower threshold: %s", got)
	}
	done()
}

func (s *scene) tables() []lab.VirtualService {
	s.Helper()
	t, err := s.lvs1.Host().Table()
	s.must(err)
	return t
}

// connections that the kernel counted to each server of a UDP service, when
// there are so many in all. (It sums up every two seconds.)
func (s *scene) connections(port, all int) (out map[string]int) {
	s.Helper()
	s.slowly(20*time.Second, fmt.Sprintf("%d connections of service %d are counted", all, port), func() error {
		out = map[string]int{}
		sum := 0
		text := s.text(s.lvs1.Host(), "ipvsadm", "-Ln", "-u", vipPort(port).String(), "--stats", "--exact")
		for line := range strings.Lines(text) {
			if w := strings.Fields(line); len(w) >= 3 && w[0] == "->" {
				var n int
				if _, err := fmt.Sscan(w[2], &n); err == nil && n > 0 {
					out[w[1]] = n
					sum += n
				}
			}
		}
		if sum < all {
			return errorf("%s", text)
		}
		return nil
	})
	return out
}

func (s *scene) udpServices() {
	s.must(s.datagrams(12, source(0), vipPort(portUDP), "ping"))
	if got := s.connections(portUDP, 1); len(got) != 1 {
		s.Errorf("one socket, one connection: %v", got)
	}
	s.must(s.datagrams(12, source(0), vipPort(portOnePacket), "ping"))
	if got := s.connections(portOnePacket, 12); len(got) != 3 {
		s.Errorf("one-packet: each datagram by itself: %v", got)
	}
	// The call decides, where persistence alone would keep the caller in one place.
	call := func(id string) string {
		return "INVITE sip:bob@example.com SIP/2.0\r\nFrom: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: " + id + "@example.com\r\nCSeq: 1 INVITE\r\n\r\n"
	}
	for range 6 {
		s.must(s.datagrams(1, source(0), vipPort(portSIP), call("one")))
	}
	one := s.connections(portSIP, 6)
	if len(one) != 1 {
		s.Errorf("one call, six sockets: %v", one)
	}
	for i := range 6 {
		s.must(s.datagrams(1, source(0), vipPort(portSIP), call(fmt.Sprint(i))))
	}
	if all := s.connections(portSIP, 12); len(all) < 2 || maps.Equal(one, all) {
		s.Errorf("six calls from one address: %v", all)
	}
}
