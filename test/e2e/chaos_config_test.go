package e2e

import (
	"fmt"
	"math/rand/v2"
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
}

// chaosService is one virtual service.
type chaosService struct {
	name      string // "web", "echo", "alt" or "mark"
	scheduler string
	check     string // "none", "tcp", "http" or "udp"
	persist   bool
	remove    bool // remove_after is 1 s; else never
	quorum    int
	sorry     int // index of a real server; -1 for none
	servers   []chaosServer
}

// chaosServer is a real server in a service.
type chaosServer struct {
	index    int
	weight   int
	disabled bool
}

var (
	// chaosKeys are the services as ipvsadm names them.
	chaosKeys = map[string]string{"web": "-t 10.0.0.100:80", "echo": "-u 10.0.0.100:81", "alt": "-t 10.0.0.100:8080", "mark": "-f 7"}
	// chaosPorts of their servers; direct routing keeps the port, so that only
	// web and echo have real servers that answer.
	chaosPorts = map[string]int{"web": lab.TCPPort, "echo": lab.UDPPort, "alt": 8080, "mark": 0}
	chaosNames = []string{"web", "echo", "alt", "mark"}
)

// steady schedulers send to every server that has weight, whoever the client
// is; the others may leave some out or send to those without weight.
var (
	steady = []string{"rr", "wrr", "lc", "wlc", "sed", "nq"}
	others = []string{"sh", "dh", "mh", "lblc", "lblcr", "fo", "ovf", "twos"}
)

func (s *chaosService) key() string { return chaosKeys[s.name] }

// address of a real server in the service, as ipvsadm writes it.
func (s *chaosService) address(index int) string {
	return fmt.Sprintf("10.0.0.%d:%d", 21+index, chaosPorts[s.name])
}

// fluid: weight 0 does not keep traffic away.
func (s *chaosService) fluid() bool { return s.name == "echo" || s.persist }

// removes: a failed server leaves the table.
func (s *chaosService) removes() bool { return s.remove || s.fluid() }

func (s *chaosService) find(index int) int {
	return slices.IndexFunc(s.servers, func(c chaosServer) bool { return c.index == index })
}

func (c *chaosConfig) clone() *chaosConfig {
	out := &chaosConfig{id: c.id + 1, services: slices.Clone(c.services)}
	for i := range out.services {
		out.services[i].servers = slices.Clone(out.services[i].servers)
	}
	return out
}

// firstConfig is what every run begins and ends with.
func firstConfig() *chaosConfig {
	c := &chaosConfig{}
	for _, name := range chaosNames[:3] {
		s := chaosService{name: name, scheduler: "rr", check: map[string]string{"web": "http", "echo": "udp", "alt": "tcp"}[name], quorum: 1, sorry: -1}
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

// edit changes one thing.
func (c *chaosConfig) edit(rng *rand.Rand) string {
	if rng.IntN(6) == 0 {
		return c.editServices(rng)
	}
	if len(c.services) == 0 {
		return ""
	}
	s := &c.services[rng.IntN(len(c.services))]
	switch rng.IntN(10) {
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
		// Clients ask web: they must be served as long as anybody can.
		if s.name != "web" && rng.IntN(2) == 0 {
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
	s := chaosService{name: name, scheduler: steady[rng.IntN(len(steady))], quorum: 1, sorry: -1, persist: name == "mark",
		check: map[string]string{"web": "http", "echo": "udp", "alt": "tcp", "mark": "http"}[name]}
	for i := range chaosServers {
		if len(s.servers) == 0 || rng.IntN(3) > 0 {
			s.servers = append(s.servers, chaosServer{index: i, weight: 1 + rng.IntN(3)})
		}
	}
	c.services = append(c.services, s)
	return "with " + name
}

// mend makes the service one that the program accepts: a quorum that cannot be
// met is refused.
func (s *chaosService) mend() {
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
	for i, prio := range []int{200, 100} {
		p("[nodes.lvs%d]\naddress = \"10.0.0.%d\"\n[nodes.lvs%d.vrrp.%s]\npriority = %d", i+1, i+1, i+1, lab.Instance, prio)
	}
	p("[http]\nlisten = [\"127.0.0.1:%d\"]", lab.MetricsPort)
	p("[vrrp.%s]\ninterface = \"eth0\"\nvrid = %d\nversion = 3\nadvert_interval = \"%dms\"\naddresses = [\"%s/32\"]",
		lab.Instance, lab.VRID, advert.Milliseconds(), lab.VIP)
	p("[sync]\ninterface = \"eth1\"\nid = %d\nfollow = %q", lab.SyncID, lab.Instance)
	p("[ipvs]\nreconcile_interval = \"%dms\"", chaosReconcile.Milliseconds())
	p("[defaults]\nforward = \"dr\"\n[defaults.check]\ninterval = \"%dms\"\ntimeout = \"%dms\"\nfall = %d\nrise = %d",
		chaosInterval.Milliseconds(), chaosTimeout.Milliseconds(), chaosFall, chaosRise)
	for i := range c.services {
		c.services[i].toml(p)
	}
	return b.String()
}

func (s *chaosService) toml(p func(string, ...any)) {
	p("[[service]]\nname = %q\nscheduler = %q\nquorum = %d", s.name, s.scheduler, s.quorum)
	port := ""
	if n := chaosPorts[s.name]; n != 0 {
		port = fmt.Sprintf(", port = %d", n)
		p("address = %q\nport = %d\nprotocol = %q", lab.VIP, n, map[bool]string{true: "udp", false: "tcp"}[s.name == "echo"])
	} else {
		p("fwmark = 7\nvrrp = %q", lab.Instance)
	}
	if s.persist {
		p("persistence = { timeout = \"60s\" }")
	}
	p("remove_after = %q", map[bool]string{true: fmt.Sprintf("%dms", chaosRemove.Milliseconds()), false: "never"}[s.remove])
	if s.sorry >= 0 {
		p("sorry = { address = \"10.0.0.%d\"%s }", 21+s.sorry, port)
	}
	p("servers = [")
	for _, v := range s.servers {
		p("  { name = \"web%d\", address = \"10.0.0.%d\"%s, weight = %d, enabled = %v },", v.index+1, 21+v.index, port, v.weight, !v.disabled)
	}
	p("]")
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
