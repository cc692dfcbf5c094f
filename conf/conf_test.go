package conf

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lvs-ha/health"
	"lvs-ha/ipvsctl"
	"lvs-ha/vrrp"
)

// compareAll tells addresses apart by value.
var compareAll = cmp.Options{cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })}

func mustParse(t *testing.T, node, text string) *Config {
	t.Helper()
	c, ps := Parse("x.toml", []byte(text), node)
	if c == nil {
		t.Fatal(ps.Err())
	}
	return c
}

func TestMinimalDefaults(t *testing.T) {
	c, ps := Load("testdata/good/minimal.toml", "anything")
	if len(ps) != 0 {
		t.Fatal(ps)
	}
	after := 30 * time.Second
	want := &Config{
		Path: "testdata/good/minimal.toml", Node: "anything",
		IPVS: IPVS{Adopt: true, Unmanaged: UnmanagedIgnore, OnStop: StopKeep, ReconcileInterval: 10 * time.Second, Stragglers: true,
			Sysctls: Sysctls{Manage: true, ExpireNodestConn: true, ExpireQuiescentTemplate: true}},
		HTTP: HTTP{Listen: []string{"127.0.0.1:10112"}},
		Log:  Log{Level: "info", Format: "auto"},
		Services: []Service{{
			Name: "web",
			Service: ipvsctl.Service{Key: ipvsctl.ServiceKey{Protocol: ipvsctl.TCP, Addr: netip.MustParseAddr("192.0.2.10"), Port: 80, Family: 4},
				Scheduler: "wlc"},
			OnFailure: FailQuiesce, RemoveAfter: &after, Quorum: 1, OnQuorumLoss: QuorumSorry,
			Servers: []Server{{Name: "web1", Enabled: true, Kernel: ipvsctl.Server{
				Key: ipvsctl.ServerKey{Addr: netip.MustParseAddr("10.0.0.21"), Port: 80}, Forward: ipvsctl.Direct, Weight: 1}}},
		}},
	}
	if d := cmp.Diff(want, c, compareAll, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Config{}, "Hash")); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if !c.UsesIPVS() {
		t.Error("services need IPVS")
	}
}

func TestExampleOnBothNodes(t *testing.T) {
	a, ps := Load("testdata/good/example.toml", "lb1")
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	b, _ := Load("testdata/good/example.toml", "lb2")
	if a.Hash == 0 || a.Hash != b.Hash {
		t.Errorf("hashes %d and %d", a.Hash, b.Hash)
	}
	if !reflect.DeepEqual(a.Services, b.Services) {
		t.Error("services differ between nodes")
	}
	if p, q := a.VRRP[0].Config.Priority, b.VRRP[0].Config.Priority; p != 150 || q != 100 {
		t.Errorf("priorities %d and %d", p, q)
	}
	if got := b.HTTP.Listen[1]; got != "10.0.0.12:10112" {
		t.Error("an array of the node does not replace the shared one:", got)
	}
	wantNodes := []Node{{"lb1", netip.MustParseAddr("10.0.0.11")}, {"lb2", netip.MustParseAddr("10.0.0.12")}}
	if d := cmp.Diff(wantNodes, a.Nodes, compareAll); d != "" {
		t.Error(d)
	}
	if a.Sync == nil || a.Sync.Follow != "edge" || a.Sync.ID != 51 {
		t.Errorf("sync %+v", a.Sync)
	}
	if a.IPVS.Timeouts != (ipvsctl.Timeouts{TCP: 15 * time.Minute, TCPFin: 2 * time.Minute, UDP: 5 * time.Minute}) {
		t.Errorf("timeouts %+v", a.IPVS.Timeouts)
	}
	edge := a.VRRP[0]
	if edge.Announce != (vrrp.Announce{Count: 5, Interval: 200 * time.Millisecond, RepeatAfter: 5 * time.Second, Refresh: time.Minute, Opcode: vrrp.ARPBoth}) {
		t.Errorf("announce %+v", edge.Announce)
	}
	if edge.Config.PreemptDelay != time.Minute || !edge.Config.Preempt || edge.Config.Family != vrrp.IPv4 || len(edge.Config.Addresses) != 3 {
		t.Errorf("instance %+v", edge.Config)
	}
	if d := cmp.Diff([]vrrp.Track{{Name: "eth1"}}, edge.TrackInterfaces); d != "" {
		t.Error(d)
	}
	web, api, dns, ftp := a.Services[0], a.Services[1], a.Services[2], a.Services[3]
	if web.VRRP != "edge" || web.Service.Flags != ipvsctl.FlagPersistent || web.Service.Timeout != 5*time.Minute || web.Service.PersistPrefix != 24 {
		t.Errorf("web %+v", web.Service)
	}
	if web.Servers[2].Enabled || web.Servers[2].Kernel.Weight != 5 {
		t.Errorf("web3 %+v", web.Servers[2])
	}
	spec := web.Servers[0].Checks[0].Spec
	wantSpec := health.Spec{Target: netip.MustParseAddrPort("10.0.0.21:80"), Method: &health.Method{Type: health.HTTP, Interval: 2 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3, Jitter: 0.1, HTTP: health.HTTPOptions{Path: "/healthz", Host: "www.example.com", ExpectStatus: []health.StatusRange{{From: 200, To: 299}}}}}
	if d := cmp.Diff(wantSpec, spec, compareAll); d != "" {
		t.Errorf("spec -want +got:\n%s", d)
	}
	if k := api.Servers[1].Kernel; k.Key.Port != 8080 || k.Forward != ipvsctl.NAT || k.Upper != 5000 {
		t.Errorf("api2 %+v", k)
	}
	if c := api.Servers[0].Checks[0]; c.Name != "tcp" || c.Spec.Target.Port() != 9090 {
		t.Errorf("inline check %+v", c)
	}
	if k := dns.Servers[1].Kernel; k.TunnelType != ipvsctl.GUE || k.TunnelPort != 6080 || k.Forward != ipvsctl.Tunnel {
		t.Errorf("ns2 %+v", k)
	}
	if f := dns.Service.Flags; f != ipvsctl.FlagOnePacket|ipvsctl.FlagSched1 {
		t.Errorf("dns flags %#x", f)
	}
	if k := ftp.Service.Key; k != (ipvsctl.ServiceKey{FWMark: 21, Family: 4}) || ftp.VRRP != "edge" {
		t.Errorf("ftp %+v %s", k, ftp.VRRP)
	}
	if k := ftp.Servers[0].Kernel.Key; k.Port != 0 {
		t.Errorf("a server of a fwmark service has port %d", k.Port)
	}
	if u := ftp.Servers[0].Checks[1].Spec.UDP; string(u.Send) != "\x00\x01" || string(u.Expect) != "\x00\x00" || string(u.Mask) != "\xff\x00" {
		t.Errorf("udp check %+v", u)
	}
}

// TestLab: the configurations that the lab writes mean what the lab expects.
func TestLab(t *testing.T) {
	c, ps := Load("testdata/good/lab-http-sync.toml", "lvs1")
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	s := c.Services[0]
	if !s.StartUp || s.OnFailure != FailQuiesce || s.RemoveAfter != nil {
		t.Errorf("service %+v", s)
	}
	spec := s.Servers[0].Checks[0].Spec
	if spec.Interval != 10*time.Millisecond || spec.FastInterval != 500*time.Millisecond || spec.Fall != 3 || spec.Rise != 1 || spec.Jitter != 0 {
		t.Errorf("check %+v", spec)
	}
	if len(c.HTTP.Listen) != 0 || c.IPVS.OnStop != StopRemove || c.Process.Realtime != -1 {
		t.Errorf("%+v %+v %+v", c.HTTP, c.IPVS, c.Process)
	}
	c, _ = Load("testdata/good/lab-nat.toml", "lvs1")
	gw := c.VRRP[0].Excluded
	if len(gw) != 1 || gw[0].Interface != "eth1" || gw[0].Prefix != netip.MustParsePrefix("10.0.1.100/32") {
		t.Errorf("excluded %+v", gw)
	}
	if got := c.Services[0].Servers[0].Checks[0].Spec.TCP.Handshake; got != "full" {
		t.Error("handshake", got)
	}
	if c, _ = Load("testdata/good/lab-scale.toml", "lvs1"); c.VRRP != nil || c.Services[0].VRRP != "" {
		t.Error("a single director has instances")
	}
}

const layers = `
version = 1
[nodes.a]
[nodes.a.vrrp.x]
garp = { count = 1 }
[nodes.a.ipvs]
timeouts = { udp = "1m" }
[nodes.b]
[nodes.b.vrrp.x]
priority = 7
[vrrp.x]
interface = "eth0"
vrid = 1
addresses = ["192.0.2.1"]
garp = { count = 3, opcode = "reply" }
[ipvs]
timeouts = { tcp = "5m" }
[defaults]
weight = 5
scheduler = "mh"
scheduler_flags = ["mh-port"]
persistence = { timeout = "1m", prefix = 24 }
max_connections = 10
checks = ["c"]
[defaults.check]
interval = "3s"
rise = 9
[check.c]
type = "tcp"
rise = 1
[pool.p]
weight = 6
persistence = { prefix = 16 }
servers = [{ name = "a", address = "10.0.0.1" }, { name = "b", address = "10.0.0.2", weight = 0, checks = [] }]
[[service]]
name = "one"
address = "192.0.2.1"
port = 1
pool = "p"
[[service]]
name = "two"
address = "192.0.2.1"
port = 2
pool = "p"
weight = 7
scheduler = "rr"
persistence = false
[[service.check]]
type = "tcp"
[[service.check]]
type = "tcp"
port = 99
`

func TestLayers(t *testing.T) {
	c := mustParse(t, "a", layers)
	one, two := c.Services[0], c.Services[1]
	if a, b := one.Servers[0].Kernel, one.Servers[1].Kernel; a.Weight != 6 || b.Weight != 0 || a.Upper != 10 {
		t.Errorf("one: %+v %+v", a, b)
	}
	if k := one.Service; k.Timeout != time.Minute || k.PersistPrefix != 16 || k.Flags != ipvsctl.FlagPersistent|ipvsctl.FlagSched2 {
		t.Errorf("one: %+v", k)
	}
	if k := two.Service; k.Timeout != 0 || k.PersistPrefix != 0 || k.Flags != 0 || k.Scheduler != "rr" {
		t.Errorf("two: %+v (flags of another scheduler are not inherited)", k)
	}
	if w := two.Servers[0].Kernel.Weight; w != 7 {
		t.Errorf("two: weight %d", w)
	}
	var names []string
	for _, k := range two.Servers[0].Checks {
		names = append(names, fmt.Sprint(k.Name, " ", k.Spec.Target.Port(), " ", k.Spec.Rise, " ", k.Spec.Interval))
	}
	if d := cmp.Diff([]string{"c 2 1 3s", "tcp 2 9 3s", "tcp-2 99 9 3s"}, names); d != "" {
		t.Error(d)
	}
	if n := len(one.Servers[1].Checks); n != 0 {
		t.Errorf("checks = [] left %d checks", n)
	}
	if g := c.VRRP[0].Announce; g.Count != 1 || g.Opcode != vrrp.ARPReply {
		t.Errorf("garp %+v", g)
	}
	if to := c.IPVS.Timeouts; to.TCP != 5*time.Minute || to.UDP != time.Minute {
		t.Errorf("timeouts %+v", to)
	}
	b := mustParse(t, "b", layers)
	if b.VRRP[0].Config.Priority != 7 || b.VRRP[0].Announce.Count != 3 || b.Hash != c.Hash {
		t.Errorf("b: %+v", b.VRRP[0])
	}
}

func TestUnicastPeers(t *testing.T) {
	const text = `
version = 1
[nodes.c]
address = "10.0.0.3"
[nodes.a]
address = "10.0.0.1"
[nodes.b]
address = "10.0.0.2"
[vrrp.derived]
interface = "eth0"
vrid = 1
mode = "unicast"
addresses = ["192.0.2.1"]
[vrrp.listed]
interface = "eth0"
vrid = 2
mode = "unicast"
peers = ["10.0.0.1", "10.0.0.2"]
addresses = ["192.0.2.2"]
`
	c := mustParse(t, "a", text)
	got := fmt.Sprint(c.VRRP[0].Config.Peers, c.VRRP[1].Config.Peers, c.Nodes[0].Name, c.Nodes[1].Name, c.Nodes[2].Name)
	if want := "[10.0.0.3 10.0.0.2] [10.0.0.2]cab"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestVersion2WithPassword(t *testing.T) {
	c := mustParse(t, "x", `
version = 1
[vrrp.old]
interface = "eth0"
vrid = 1
version = 2
advert_interval = "2s"
auth = { type = "pass", password = "secret" }
addresses = [{ address = "192.0.2.1/24", interface = "eth1", label = "eth1:1", scope = "link" }, "192.0.2.2"]
track_interfaces = { eth2 = -10, eth1 = 0 }
`)
	i := c.VRRP[0]
	if i.Config.Auth != (vrrp.Auth{Type: vrrp.AuthPass, Data: [8]byte{'s', 'e', 'c', 'r', 'e', 't'}}) || i.Config.Version != 2 {
		t.Errorf("%+v", i.Config)
	}
	want := []vrrp.Address{{Prefix: netip.MustParsePrefix("192.0.2.1/24"), Interface: "eth1", Label: "eth1:1", Scope: 253}, {Prefix: netip.MustParsePrefix("192.0.2.2/32")}}
	if d := cmp.Diff(want, i.Addresses, compareAll); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]vrrp.Track{{Name: "eth1"}, {Name: "eth2", Delta: -10}}, i.TrackInterfaces); d != "" {
		t.Error(d)
	}
}

func TestLifetime(t *testing.T) {
	for _, x := range []struct {
		version  vrrp.Version
		interval time.Duration
		priority uint8
		want     time.Duration
	}{
		{3, 10 * time.Millisecond, 100, 5 * time.Second},
		{3, time.Second, 100, 8 * time.Second}, // 2 × 3.61 s = 7.22 s
		{3, time.Second, 255, 7 * time.Second}, // 2 × 3.004 s
		{3, 40950 * time.Millisecond, 1, 328 * time.Second},
		{2, time.Second, 1, 8 * time.Second},
		{2, 10 * time.Second, 100, 62 * time.Second}, // 2 × 30.61 s: the skew does not grow with the interval
	} {
		got := lifetime(&vrrp.Config{Version: x.version, Interval: x.interval, Priority: x.priority})
		if got != x.want {
			t.Errorf("%+v: got %v", x, got)
		}
	}
}

// TestUnmanaged: who looks after services of others needs the kernel without
// services of its own, too.
func TestUnmanaged(t *testing.T) {
	for text, want := range map[string]Unmanaged{"": UnmanagedIgnore, "[ipvs]\nunmanaged = \"warn\"": UnmanagedWarn, "[ipvs]\nunmanaged = \"remove\"": UnmanagedRemove} {
		c := mustParse(t, "a", "version = 1\n[nodes.a]\n"+text)
		if got := c.IPVS.Unmanaged; got != want {
			t.Errorf("%q gives %q", text, got)
		}
		if got := c.UsesIPVS(); got != (want != UnmanagedIgnore) {
			t.Errorf("%q: uses IPVS %v", text, got)
		}
	}
}

func TestHash(t *testing.T) {
	base := mustParse(t, "a", layers).Hash
	same := strings.NewReplacer(`weight = 5`, `"weight"=5   # five`, "[ipvs]\n", "[ipvs] # kernel\n\n", `opcode = "reply", `, ``,
		`{ count = 3, opcode = "reply" }`, `{ opcode = 'reply', count = 0x3 }`).Replace(layers)
	if same == layers {
		t.Fatal("nothing was replaced")
	}
	if h := mustParse(t, "a", same).Hash; h != base {
		t.Error("formatting changes the hash")
	}
	if base >= 1<<53 {
		t.Error("a metric cannot hold the hash")
	}
	for _, r := range [][2]string{{"weight = 5", "weight = 4"}, {`name = "two"`, `name = "to"`}, {"port = 99", "port = 98"},
		{"priority = 7", "priority = 8"}, {`address = "10.0.0.1"`, `address = "10.0.0.3"`}, {"rise = 1", "rise = 2"}} {
		if h := mustParse(t, "a", strings.Replace(layers, r[0], r[1], 1)).Hash; h == base {
			t.Errorf("%s does not change the hash", r[1])
		}
	}
}

// TestIncludes: a configuration in pieces is the same as in one file.
func TestIncludes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	const head, rest = "version = 1\n", "[check.c]\ntype = \"tcp\"\n[[service]]\nname = \"s\"\naddress = \"192.0.2.1\"\nport = 80\nchecks = [\"c\"]\n" +
		"servers = [{ name = \"a\", address = \"10.0.0.1\" }]\n"
	whole := write("whole.toml", head+rest)
	write("part-b.conf", rest)
	main := write("main.conf", head+"include = [\"*.conf\", \"part-b.conf\"]\n")
	a, ps := Load(whole, "")
	b, ps2 := Load(main, "")
	if len(ps)+len(ps2) > 0 {
		t.Fatal(ps, ps2)
	}
	if a.Hash != b.Hash || !reflect.DeepEqual(a.Services, b.Services) {
		t.Error("the pieces mean something else")
	}
}

func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{
		filepath.Join(dir, "absent"): "absent: cannot read the configuration: there is no such file\n    check its name, or name another one: lvs-ha validate FILE, lvs-ha run --config FILE\n1 error.",
		dir:                          dir + ": cannot read the configuration: it is a directory\n    check its name, or name another one: lvs-ha validate FILE, lvs-ha run --config FILE\n1 error.",
	} {
		c, ps := Load(name, "x")
		if err := ps.Err(); c != nil || err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		if Validate(name).Err() == nil {
			t.Error("Validate found nothing")
		}
	}
}

// What is no TOML is mostly something else that people have at hand.
func TestSyntaxCures(t *testing.T) {
	for text, want := range map[string]string{
		"! Configuration File for keepalived\n\nglobal_defs {\n  router_id LB\n}\n":      "keepalived.conf",
		"virtual_server 192.0.2.10 80 {\n":                                               "keepalived.conf",
		"vrrp_instance VI_1\n{\n":                                                        "keepalived.conf",
		"checktimeout=3\nvirtual=192.0.2.10:80\n  real=10.0.0.21:80 gate\n":              "ldirectord.cf",
		"version: 1\ncluster: edge\n":                                                    "YAML",
		`{"version": 1}`:                                                                 "JSON",
		"version = 1\ncluster = \xe9\n":                                                  "UTF-8",
		"\xff\xfev\x00e\x00":                                                             "UTF-8",
		"version = 1\ncluster = \u201cedge\u201d\n":                                      "straight quotes",
		"version = 1\ncluster = edge\n":                                                  `cluster = "edge"`,
		"version = 1\n[[service]]\naddress = 192.0.2.10\n":                               `address = "192.0.2.10"`,
		"version = 1\n[[service]]\naddress = 2001:db8::1\n":                              `address = "2001:db8::1"`,
		"version = 1\n[defaults.check]\ninterval = 2s\n":                                 `interval = "2s"`,
		"version = 1\n[check.a]\npath = \"\\d+\"\n":                                      "single quotes",
		"version = 1\n[vrrp.a]\nvrid = 1\n[vrrp.a]\n":                                    "further up",
		"version = 1\ncluster = \"edge\n":                                                "closing quote",
		"version = 1\n# virtual_server: none here\n[vrrp.edge]\npriority = = 100\n":      "", // none of these
		"version = 1\n[check.a]\nexpect_body = \"a\" \"b\" # vrrp_instance {\npath = \n": "",
	} {
		_, ps := Parse("x.toml", []byte(text), "")
		if len(ps) != 1 || want != "" && !strings.Contains(ps[0].Cure, want) || want == "" && ps[0].Cure != "" && !strings.HasPrefix(ps[0].Cure, "the last key") {
			t.Errorf("%q: %v, want %q", text, ps, want)
		}
	}
}

// One slip in a generated file is there thousands of times; errors go first.
func TestReportOfVeryMany(t *testing.T) {
	ps := Problems{}
	for i := range 200 {
		ps = append(ps, Problem{File: "f", Line: i + 1, Column: 1, What: "bad", Warning: i%2 == 0})
	}
	got := ps.Report()
	if n := strings.Count(got, "f:"); n != 50 || strings.Contains(got, "warning: f") || !strings.HasSuffix(got, "\n... and 150 more.\n100 errors, 100 warnings.") {
		t.Errorf("%d problems: %s", n, got)
	}
	if got := ps.Warnings().Report(); !strings.HasSuffix(got, "\n... and 50 more.\n100 warnings.") {
		t.Error(got)
	}
	if got := (Problems{}).Report(); got != "" {
		t.Errorf("%q", got)
	}
}

func TestPassphraseIsNotShown(t *testing.T) {
	_, ps := Parse("x", []byte("version = 1\n[vrrp.a]\ninterface = \"e\"\nvrid = 1\nversion = 2\naddresses = [\"192.0.2.1\"]\nauth = { type = \"pass\", password = 1234567 }\n"), "")
	if s := ps.String(); !strings.Contains(s, "password") || strings.Contains(s, "1234567") {
		t.Error(s)
	}
}

func TestProblems(t *testing.T) {
	ps := Problems{{File: "f", Line: 2, Column: 3, Where: "w", What: "bad", Cure: "do"}, {File: "f", What: "hm", Warning: true}}
	if got, want := ps.Err().Error(), "f:2:3: w: bad\n    do\nwarning: f: hm\n1 error, 1 warning."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if ps.Warnings().Err() != nil || len(ps.Errors()) != 1 || len(ps.Warnings()) != 1 {
		t.Error("errors and warnings are mixed up")
	}
	var none Problems
	if none.Err() != nil || none.String() != "" || errors.Is(none.Err(), os.ErrNotExist) {
		t.Error("no problems make an error")
	}
}

func TestChecksPass(t *testing.T) {
	const file = `version = 1
[defaults]
checks_pass = "any"
[check.a]
type = "tcp"
[[service]]
name = "x"
address = "192.0.2.1"
port = 80
servers = [{ name = "s", address = "10.0.0.1" }]
checks = ["a"]
[[service]]
name = "y"
address = "192.0.2.2"
port = 80
servers = [{ name = "s", address = "10.0.0.1" }]
checks = ["a"]
checks_pass = "all"
`
	name := filepath.Join(t.TempDir(), "a.toml")
	if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	c, ps := Load(name, "")
	if c == nil {
		t.Fatal(ps)
	}
	if !c.Services[0].Servers[0].AnyCheck || c.Services[1].Servers[0].AnyCheck {
		t.Error(c.Services[0].Servers[0].AnyCheck, c.Services[1].Servers[0].AnyCheck)
	}
}
