package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// LVSHA is this project's own agent.
type LVSHA struct {
	// Bin is the path of the binary.
	Bin string
}

func (LVSHA) Name() string { return "lvs-ha" }

// Instance is the name of the VRRP instance in the configuration, Cluster of the cluster.
const (
	Instance = "main"
	Cluster  = "lab"
)

// Write writes one file that serves both directors.
func (LVSHA) Write(file string, _ int, s Settings) error {
	return os.WriteFile(file, []byte(s.TOML()), 0o644)
}

// Command runs the agent with its own directories.
func (a LVSHA) Command(file, dir string, i int) []string {
	return []string{a.Bin, "run", "--config", file, "--node", fmt.Sprintf("lvs%d", i),
		"--runtime-dir", filepath.Join(dir, "run"), "--state-dir", filepath.Join(dir, "state")}
}

// TOML is the settings as a configuration file of ours.
func (s Settings) TOML() string {
	s = s.filled()
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	dur := func(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }
	p("version = 1\ncluster = %q\n", Cluster)
	for i, prio := range s.Priorities {
		p("[nodes.lvs%d]\naddress = \"10.0.0.%d\"\n[nodes.lvs%d.vrrp.%s]\npriority = %d\n", i+1, i+1, i+1, Instance, prio)
	}
	p("[http]\nlisten = [\"127.0.0.1:%d\"]\n", MetricsPort)
	p("[vrrp.%s]\ninterface = \"eth0\"\nvrid = %d\nversion = 3\nadvert_interval = %q\npreempt = %v\naddresses = [\"%s/32\"]\n",
		Instance, VRID, dur(s.Advert), !s.NoPreempt, VIP)
	if s.Mode == NAT {
		p("[[vrrp.%s.excluded]]\naddress = \"%s/32\"\ninterface = \"eth1\"\n", Instance, Gateway)
	}
	if !s.NoSync && len(s.Servers) > 0 {
		p("[sync]\ninterface = \"eth0\"\nid = %d\nfollow = %q\n", SyncID, Instance)
	}
	if len(s.Servers) > 0 {
		s.services(p, dur)
	}
	b.WriteString(s.Extra)
	return b.String()
}

func (s Settings) services(p func(string, ...any), dur func(time.Duration) string) {
	p("[ipvs]\nreconcile_interval = %q\n", dur(s.ReconcileInterval))
	p("[defaults]\nscheduler = \"rr\"\nforward = %q\nremove_after = \"never\"\n", s.Mode)
	p("[defaults.check]\ninterval = %q\ntimeout = %q\nfall = %d\nrise = %d\n", dur(s.CheckInterval), dur(s.CheckTimeout), s.Fall, s.Rise)
	for _, svc := range []struct {
		name, proto string
		port        int
		check       string
	}{{"web", "tcp", TCPPort, s.Check}, {"echo", "udp", UDPPort, map[bool]string{true: "udp", false: "none"}[s.UDPCheck]}} {
		p("[[service]]\nname = %q\naddress = %q\nport = %d\nprotocol = %q\nservers = [", svc.name, VIP, svc.port, svc.proto)
		for i, a := range s.Servers {
			p("  { name = \"web%d\", address = %q, port = %d, weight = 1 },", i+1, a, svc.port)
		}
		p("]")
		switch svc.check {
		case "none":
			p("checks = []")
		case "http":
			p("[[service.check]]\ntype = \"http\"\npath = \"/\"\nexpect_status = [\"200\"]")
		case "udp":
			p("[[service.check]]\ntype = \"udp\"\nsend_hex = \"70696e67\"")
		default:
			p("[[service.check]]\ntype = %q", svc.check)
		}
		p("")
	}
}
