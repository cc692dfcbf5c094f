package main

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/internal/director"
	"lvs-ha/internal/host"
	"lvs-ha/ipvsctl"
)

// wantOf a configuration text.
func wantOf(t *testing.T, text string) host.Want {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lvs-ha.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, ps := conf.Load(path, "")
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	return hostWant(c)
}

const oneNAT = `
[[service]]
name = "web"
address = "192.0.2.10"
port = 80
forward = "nat"
servers = [{ name = "a", address = "10.0.0.1" }]
`

func TestHostSysctls(t *testing.T) {
	const expire = "net.ipv4.vs.expire_"
	for _, tt := range []struct {
		name, text string
		manage     bool
		want       []string
	}{
		{name: "nothing to do", text: "version = 1\n"},
		{name: "nothing to do though named", text: "version = 1\nipvs = { sloppy_tcp = true }\n"},
		{name: "a service", manage: true, want: []string{expire + "nodest_conn=1", expire + "quiescent_template=1"},
			text: "version = 1\n[[service]]\nname = \"a\"\naddress = \"192.0.2.1\"\nport = 1\nservers = [{ name = \"a\", address = \"10.0.0.1\" }]\n"},
		{name: "NAT, everything named", text: "version = 1\n[ipvs]\nsysctls = \"check\"\nexpire_nodest_conn = false\nconn_reuse_mode = 2\nsloppy_tcp = true\nbackup_only = false\nsync_threshold = [2, 50]\nsync_refresh_period = \"10s\"\nsync_retries = 1\n" + oneNAT,
			want: []string{expire + "nodest_conn=0", expire + "quiescent_template=1", "net.ipv4.vs.conn_reuse_mode=2", "net.ipv4.vs.sloppy_tcp=1",
				"net.ipv4.vs.backup_only=0", "net.ipv4.vs.sync_threshold=2 50", "net.ipv4.vs.sync_refresh_period=10", "net.ipv4.vs.sync_retries=1", "net.ipv4.ip_forward=1 (foreign)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := wantOf(t, tt.text)
			var got []string
			for _, s := range w.Sysctls {
				x := s.Key + "=" + s.Value
				if s.Foreign {
					x += " (foreign)"
				}
				if s.Why == "" {
					t.Error(s.Key, "without a reason")
				}
				got = append(got, x)
			}
			if d := cmp.Diff(tt.want, got); d != "" || w.Manage != tt.manage {
				t.Error(w.Manage, d)
			}
		})
	}
}

func TestHostRules(t *testing.T) {
	w := wantOf(t, "version = 1\n[defaults]\nforward = \"nat\"\n[ipvs]\non_stop = \"remove\"\n"+`
[[service]]
name = "web"
address = "192.0.2.10"
port = 80
snat = true
sorry = { address = "10.0.0.9", port = 8080 }
servers = [{ name = "a", address = "10.0.0.1", port = 8080 }, { name = "b", address = "10.0.0.2", forward = "dr" }]
[[service]]
name = "rtp"
address = "192.0.2.10"
ports = "5000-5010, 7"
protocol = "udp"
snat = true
servers = [{ name = "a", address = "10.0.0.1" }]
[[service]]
name = "plain"
address = "192.0.2.10"
ports = "9-10"
servers = [{ name = "a", address = "10.0.0.1" }]
`)
	if len(w.Rules.Marks) != 3 || len(w.Rules.Masquerades) != 2 || !w.Leave {
		t.Fatalf("%+v", w.Rules)
	}
	m := w.Rules.Marks
	if m[0].First != 7 || m[1].Last != 5010 || m[0].Mark != m[1].Mark || m[2].Mark == m[0].Mark || m[0].Protocol != 17 || m[2].Protocol != 6 {
		t.Errorf("%+v", m)
	}
	want := []host.Masquerade{
		{Service: "web", Protocol: 6, Servers: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.9:8080"), netip.MustParseAddrPort("10.0.0.1:8080")}},
		{Service: "rtp", Protocol: 17, Mark: m[0].Mark, Servers: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:0")}},
	}
	if !reflect.DeepEqual(want, w.Rules.Masquerades) {
		t.Errorf("%+v", w.Rules.Masquerades)
	}
	found := false
	for _, s := range w.Sysctls {
		found = found || s.Key == "net.ipv4.vs.conntrack" && s.Value == "1" && !s.Foreign
	}
	if !found {
		t.Error("vs.conntrack is not wanted with snat")
	}
}

// TestHostStragglers: TCP services whose servers answer clients themselves, with
// their ports, and none of another instance.
func TestHostStragglers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lvs-ha.toml")
	text := "version = 1\n[vrrp.edge]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"192.0.2.10\"]\n[vrrp.other]\ninterface = \"eth0\"\nvrid = 52\naddresses = [\"192.0.2.20\"]\n"
	for _, s := range []string{
		"name = \"web\"\naddress = \"192.0.2.10\"\nport = 80", "name = \"tun\"\naddress = \"192.0.2.10\"\nports = \"5000-5010, 7\"\nforward = \"tun\"",
		"name = \"all\"\naddress = \"192.0.2.10\"\nport = 0\npersistence = { timeout = \"5m\" }", "name = \"nat\"\naddress = \"192.0.2.10\"\nport = 81\nforward = \"nat\"",
		"name = \"udp\"\naddress = \"192.0.2.10\"\nport = 82\nprotocol = \"udp\"", "name = \"mark\"\nfwmark = 7\nfamily = \"ipv4\"", "name = \"there\"\naddress = \"192.0.2.20\"\nport = 80",
	} {
		text += "[[service]]\n" + s + "\nservers = [{ name = \"a\", address = \"10.0.0.1\" }]\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, ps := conf.Load(path, "")
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	back := netip.MustParseAddr("192.0.2.2")
	vip := netip.MustParseAddr("192.0.2.10")
	got := hostStragglers(c, []director.Stragglers{{Instance: "edge", Interface: "eth0", Back: back, Take: true}})
	want := []host.Stragglers{{Instance: "edge", Interface: "eth0", Back: back, Take: true, Services: []host.Ports{
		{Addr: vip, First: 80, Last: 80}, {Addr: vip, First: 7, Last: 7}, {Addr: vip, First: 5000, Last: 5010}, {Addr: vip, First: 0, Last: 65535},
	}}}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

func TestHostEnd(t *testing.T) {
	srv := ipvsctl.Server{Key: ipvsctl.ServerKey{Addr: netip.MustParseAddr("10.0.0.1"), Port: 8080}}
	vip := netip.MustParseAddr("192.0.2.10")
	op := ipvsctl.Op{Kind: ipvsctl.DeleteServer, Service: ipvsctl.Service{Key: ipvsctl.ServiceKey{Protocol: ipvsctl.TCP, Addr: vip, Port: 80, Family: 4}}, Server: srv}
	direct, marked := op, op
	direct.Server.Forward = ipvsctl.Direct
	marked.Service.Key = ipvsctl.ServiceKey{FWMark: 7, Family: 4}
	to := netip.MustParseAddrPort("10.0.0.1:8080")
	want := []host.Flow{{Protocol: 6, Virtual: netip.AddrPortFrom(vip, 80), Server: to}, {Server: to}}
	if got := hostEnd([]ipvsctl.Op{op, direct, marked}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestPathHints(t *testing.T) {
	hints := 0
	p := &pathHints{log: slog.New(slog.DiscardHandler), hint: func(func(netip.Addr) bool) { hints++ }}
	srv := conf.Server{Checks: []conf.Check{{Spec: health.Spec{Method: &health.Method{}}}}}
	c := &conf.Config{Services: []conf.Service{{Servers: []conf.Server{srv}}}}
	p.accept(c)
	p.take(host.Event{})
	if hints != 0 {
		t.Error("hints that nobody needs")
	}
	c.Services[0].Servers[0].Checks[0].Spec.Hold = true
	p.accept(c)
	p.take(host.Event{})
	if hints != 1 {
		t.Error("no hint for a check that holds a connection")
	}
}
