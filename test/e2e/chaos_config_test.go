package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"lvs-ha/internal/lab"
)

// chaosServers is the number of real servers in the lab.
const chaosServers = 4

// chaosConfig is a configuration as the model sees it: what differs between
// two of them. Election and sync daemon are the same in all.
type chaosConfig struct {
	id       int
	services []chaosService
	// pool is what the services that share it have as servers.
	pool []chaosServer
}

// chaosService is one virtual service.
type chaosService struct {
	name      string // "web", "echo", "alt", "six" or "mark"
	scheduler string
	forward   string // "dr", "nat" (full NAT) or "tun"
	check     string // "none", "tcp", "http" or "udp"
	persist   bool
	remove    bool // remove_after is 1 s; else never
	quorum    int
	sorry     int // index of a real server; -1 for none
	servers   []chaosServer
	// pooled: the servers are those of the pool.
	pooled bool
	// slow: a server that recovered gets its weight little by little.
	slow bool
	// withdraw: a lost quorum lowers the priority of the director.
	withdraw bool
	// floor is min_healthy in percent. Such a service has no sorry server and
	// none of the two before: the model need not know how they go together.
	floor int
}

// chaosServer is a real server in a service.
type chaosServer struct {
	index    int
	weight   int
	disabled bool
}

var (
	// chaosKeys are the services as ipvsadm names them.
	chaosKeys = map[string]string{"web": "-t 10.0.0.100:80", "echo": "-u 10.0.0.100:81", "alt": "-t 10.0.0.100:8080", "six": "-t [2001:db8::100]:80", "mark": "-f 7"}
	// chaosPorts of their servers, the same as the service's: only web, echo and
	// six have real servers that answer.
	chaosPorts = map[string]int{"web": lab.TCPPort, "echo": lab.UDPPort, "alt": 8080, "six": lab.TCPPort, "mark": 0}
	chaosNames = []string{"web", "echo", "alt", "six", "mark"}
	// chaosChecks that they begin with.
	chaosChecks = map[string]string{"web": "http", "echo": "udp", "alt": "tcp", "six": "http", "mark": "http"}
	// chaosFlags of ipvsadm for the ways of forwarding.
	chaosFlags = map[string]string{"dr": "-g", "nat": "-m", "tun": "-i"}
	// chaosVIP6 goes with the VIP.
	chaosVIP6 = netip.MustParseAddr("2001:db8::100")
)

const (
	// What a lost quorum takes from the priority, and what self-doubt does.
	chaosWithdraw, chaosDoubt = 60, 60
)

// priorities of the directors: where a service may withdraw, one that does
// turns them round.
func (c *chaosConfig) priorities() [2]int {
	if slices.ContainsFunc(c.services, func(s chaosService) bool { return s.withdraw }) {
		return [2]int{150, 100}
	}
	return [2]int{200, 100}
}

// steady schedulers send to every server that has weight, whoever the client
// is; the others may leave some out or send to those without weight.
var (
	steady = []string{"rr", "wrr", "lc", "wlc", "sed", "nq"}
	others = []string{"sh", "dh", "mh", "lblc", "lblcr", "fo", "ovf", "twos"}
)

func (s *chaosService) key() string { return chaosKeys[s.name] }

// asked: clients ask it, so it must be served as long as anybody can.
func (s *chaosService) asked() bool { return s.name == "web" || s.name == "six" }

// host is the address of a real server in the service.
func (s *chaosService) host(index int) netip.Addr {
	if s.name == "six" {
		return netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", 21+index))
	}
	return netip.AddrFrom4([4]byte{10, 0, 0, byte(21 + index)})
}

// address of a real server in the service, as ipvsadm writes it.
func (s *chaosService) address(index int) string {
	return netip.AddrPortFrom(s.host(index), uint16(chaosPorts[s.name])).String()
}

// fluid: weight 0 does not keep traffic away.
func (s *chaosService) fluid() bool { return s.name == "echo" || s.persist }

// removes: a failed server leaves the table.
func (s *chaosService) removes() bool { return s.remove || s.fluid() }

func (s *chaosService) find(index int) int {
	return slices.IndexFunc(s.servers, func(c chaosServer) bool { return c.index == index })
}

func (c *chaosConfig) clone() *chaosConfig {
	out := &chaosConfig{id: c.id + 1, services: slices.Clone(c.services), pool: slices.Clone(c.pool)}
	for i := range out.services {
		out.services[i].servers = slices.Clone(out.services[i].servers)
	}
	return out
}

// firstConfig is what every run begins and ends with.
func firstConfig() *chaosConfig {
	c := &chaosConfig{}
	for _, name := range chaosNames[:4] {
		s := chaosService{name: name, scheduler: "rr", forward: "dr", check: chaosChecks[name], quorum: 1, sorry: -1}
		for i := range chaosServers - 1 {
			s.servers = append(s.servers, chaosServer{index: i, weight: 1})
		}
		c.services = append(c.services, s)
	}
	return c
}

// change is another configuration, a few edits away, and what was edited.
func (c *chaosConfig) change(rng *rand.Rand) (*chaosConfig, string) {
	out := c.clone()
	var did []string
	for range 1 + rng.IntN(3) {
		if what := out.edit(rng); what != "" {
			did = append(did, what)
		}
	}
	for i := range out.services {
		out.services[i].mend()
	}
	return out, strings.Join(did, ", ")
}

// share gives all services of the pool what one of them has.
func (c *chaosConfig) share(s *chaosService) {
	if !s.pooled {
		return
	}
	c.pool = slices.Clone(s.servers)
	for i := range c.services {
		if o := &c.services[i]; o.pooled {
			o.servers = slices.Clone(c.pool)
		}
	}
}

// edit changes one thing.
func (c *chaosConfig) edit(rng *rand.Rand) string {
	if rng.IntN(6) == 0 {
		return c.editServices(rng)
	}
	if len(c.services) == 0 {
		return ""
	}
	s := &c.services[rng.IntN(len(c.services))]
	defer c.share(s)
	switch rng.IntN(15) {
	case 0, 1:
		if i := rng.IntN(chaosServers); s.find(i) < 0 && i != s.sorry {
			s.servers = append(s.servers, chaosServer{index: i, weight: 1 + rng.IntN(5)})
			return fmt.Sprintf("%s gets web%d", s.name, i+1)
		}
	case 2:
		if len(s.servers) > 1 {
			i := rng.IntN(len(s.servers))
			gone := s.servers[i].index
			s.servers = slices.Delete(s.servers, i, i+1)
			return fmt.Sprintf("%s loses web%d", s.name, gone+1)
		}
	case 3, 4:
		v := &s.servers[rng.IntN(len(s.servers))]
		v.weight = 1 + rng.IntN(5)
		return fmt.Sprintf("%s weighs web%d %d", s.name, v.index+1, v.weight)
	case 5:
		s.scheduler = steady[rng.IntN(len(steady))]
		if !s.asked() && rng.IntN(2) == 0 {
			s.scheduler = others[rng.IntN(len(others))]
		}
		return s.name + " " + s.scheduler
	case 6:
		v := &s.servers[rng.IntN(len(s.servers))]
		v.disabled = !v.disabled
		return fmt.Sprintf("%s web%d disabled=%v", s.name, v.index+1, v.disabled)
	case 7:
		if s.name != "echo" {
			s.persist = !s.persist
			return fmt.Sprintf("%s persist=%v", s.name, s.persist)
		}
		s.check = map[string]string{"udp": "none", "none": "udp"}[s.check]
		return "echo check " + s.check
	case 8:
		s.remove = !s.remove
		return fmt.Sprintf("%s remove=%v", s.name, s.remove)
	case 9:
		ways := []string{"dr", "nat", "tun"}
		if s.name == "six" {
			ways = ways[:2] // servers have no tunnel for it
		}
		s.forward = ways[rng.IntN(len(ways))]
		return s.name + " " + s.forward
	case 10:
		if s.pooled = !s.pooled && s.name != "six"; s.pooled {
			// The first one lays down what the pool is.
			if slices.ContainsFunc(c.services, func(o chaosService) bool { return o.pooled && o.name != s.name }) {
				s.servers = slices.Clone(c.pool)
			}
		}
		return fmt.Sprintf("%s pooled=%v", s.name, s.pooled)
	case 11:
		s.slow = !s.slow
		return fmt.Sprintf("%s slow=%v", s.name, s.slow)
	case 12:
		s.withdraw, s.quorum = !s.withdraw, 1+rng.IntN(3)
		return fmt.Sprintf("%s withdraw=%v quorum %d", s.name, s.withdraw, s.quorum)
	case 13:
		s.floor = []int{0, 50, 100}[rng.IntN(3)]
		return fmt.Sprintf("%s floor %d%%", s.name, s.floor)
	default:
		return s.editSorry(rng)
	}
	return ""
}

func (s *chaosService) editSorry(rng *rand.Rand) string {
	if s.sorry >= 0 {
		s.sorry, s.quorum = -1, 1
		return s.name + " without sorry"
	}
	if i := chaosServers - 1; s.find(i) < 0 {
		s.sorry, s.quorum = i, 1+rng.IntN(3)
		return fmt.Sprintf("%s sorry quorum %d", s.name, s.quorum)
	}
	return ""
}

func (c *chaosConfig) editServices(rng *rand.Rand) string {
	name := chaosNames[rng.IntN(len(chaosNames))]
	if i := slices.IndexFunc(c.services, func(s chaosService) bool { return s.name == name }); i >= 0 {
		if len(c.services) == 1 {
			return ""
		}
		c.services = slices.Delete(c.services, i, i+1)
		return "without " + name
	}
	s := chaosService{name: name, scheduler: steady[rng.IntN(len(steady))], forward: "dr", quorum: 1, sorry: -1, persist: name == "mark", check: chaosChecks[name]}
	for i := range chaosServers {
		if len(s.servers) == 0 || rng.IntN(3) > 0 {
			s.servers = append(s.servers, chaosServer{index: i, weight: 1 + rng.IntN(3)})
		}
	}
	c.services = append(c.services, s)
	return "with " + name
}

// mend makes the service one that the program accepts, a quorum that cannot be
// met is refused, and the model knows.
func (s *chaosService) mend() {
	if s.floor > 0 {
		s.slow, s.withdraw, s.sorry = false, false, -1
	}
	if s.withdraw || s.sorry >= 0 && s.find(s.sorry) >= 0 {
		s.sorry = -1
	}
	all := 0
	for _, v := range s.servers {
		all += v.weight
	}
	s.quorum = min(s.quorum, all)
}

// toml is the file for both directors.
func (c *chaosConfig) toml() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("version = 1\ncluster = %q", lab.Cluster)
	for i, prio := range c.priorities() {
		p("[nodes.lvs%d]\naddress = \"10.0.0.%d\"\n[nodes.lvs%d.vrrp.%s]\npriority = %d", i+1, i+1, i+1, lab.Instance, prio)
	}
	p("[http]\nlisten = [\"127.0.0.1:%d\"]", lab.MetricsPort)
	p("[vrrp.%s]\ninterface = \"eth0\"\nvrid = %d\nversion = 3\nadvert_interval = \"%dms\"\naddresses = [\"%s/32\"]\nexcluded = [\"%s/128\"]",
		lab.Instance, lab.VRID, advert.Milliseconds(), lab.VIP, chaosVIP6)
	p("[sync]\ninterface = \"eth1\"\nid = %d\nfollow = %q", lab.SyncID, lab.Instance)
	p("[ipvs]\nreconcile_interval = \"%dms\"", chaosReconcile.Milliseconds())
	p("[defaults]\nforward = \"dr\"\n[defaults.check]\ninterval = \"%dms\"\ntimeout = \"%dms\"\nfall = %d\nrise = %d",
		chaosInterval.Milliseconds(), chaosTimeout.Milliseconds(), chaosFall, chaosRise)
	if slices.ContainsFunc(c.services, func(s chaosService) bool { return s.pooled }) {
		p("[pool.shared]\nservers = [")
		for _, v := range c.pool {
			p("  { name = \"web%d\", address = \"10.0.0.%d\", weight = %d, enabled = %v },", v.index+1, 21+v.index, v.weight, !v.disabled)
		}
		p("]")
	}
	for i := range c.services {
		c.services[i].toml(p)
	}
	return b.String()
}

func (s *chaosService) toml(p func(string, ...any)) {
	p("[[service]]\nname = %q\nscheduler = %q\nquorum = %d\nforward = %q\nsnat = %v", s.name, s.scheduler, s.quorum, s.forward, s.forward == "nat")
	port := ""
	if n := chaosPorts[s.name]; n != 0 {
		port = fmt.Sprintf(", port = %d", n)
		vip := lab.VIP
		if s.name == "six" {
			vip = chaosVIP6
		}
		p("address = %q\nport = %d\nprotocol = %q", vip, n, map[bool]string{true: "udp", false: "tcp"}[s.name == "echo"])
	} else {
		p("fwmark = 7\nvrrp = %q", lab.Instance)
	}
	if s.persist {
		p("persistence = { timeout = \"60s\" }")
	}
	p("remove_after = %q", map[bool]string{true: fmt.Sprintf("%dms", chaosRemove.Milliseconds()), false: "never"}[s.remove])
	if s.sorry >= 0 {
		p("sorry = { address = %q%s }", s.host(s.sorry), port)
	}
	if s.slow {
		p("slow_start = \"%dms\"", chaosRamp.Milliseconds())
	}
	if s.withdraw {
		p("on_quorum_loss = \"withdraw\"")
	}
	if s.floor > 0 {
		p("min_healthy = \"%d%%\"", s.floor)
	}
	if s.pooled {
		p("pool = \"shared\"")
	} else {
		p("servers = [")
		for _, v := range s.servers {
			p("  { name = \"web%d\", address = %q%s, weight = %d, enabled = %v },", v.index+1, s.host(v.index), port, v.weight, !v.disabled)
		}
		p("]")
	}
	switch s.check {
	case "none":
		p("checks = []")
	case "udp":
		p("[[service.check]]\ntype = \"udp\"\nsend_hex = \"70696e67\"")
	case "http":
		p("[[service.check]]\ntype = \"http\"\nport = %d\npath = \"/\"\nexpect_status = [\"200\"]", lab.TCPPort)
	default:
		p("[[service.check]]\ntype = %q\nport = %d", s.check, lab.TCPPort)
	}
}

// broken makes a file of a good one that must be refused.
func brokenFile(good string, rng *rand.Rand) (text, what string) {
	return []func() (string, string){
		func() (string, string) { return good + "\n[vrrp\n", "bad TOML" },
		func() (string, string) { return "", "empty file" },
		func() (string, string) { return good[:len(good)/2], "half a file" },
		func() (string, string) { return strings.ReplaceAll(good, "nodes.lvs", "nodes.other"), "unknown node" },
		func() (string, string) {
			return strings.Replace(good, "vrid = 51", "vrid = 51\nintreface = \"eth0\"", 1), "unknown key"
		},
		func() (string, string) {
			return strings.Replace(good, `"127.0.0.1:10112"`, `"127.0.0.1:10112", "10.0.0.250:10113"`, 1), "address that is not there"
		},
	}[rng.IntN(6)]()
}
