package ipvsctl_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"lvs-ha/ipvsctl"
	"lvs-ha/ipvsctl/ipvsctltest"
)

// cmpAddr lets go-cmp look at addresses.
var cmpAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

var cmpAddrPort = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func vip(n int) ipvsctl.ServiceKey {
	return ipvsctl.AddrKey(ipvsctl.TCP, netip.MustParseAddrPort(fmt.Sprintf("192.0.2.%d:80", n)))
}

func rs(n int) ipvsctl.ServerKey {
	return ipvsctl.ServerKey{Addr: addr(fmt.Sprintf("10.0.%d.%d", n/250, n%250+1)), Port: 80}
}

func entry(k ipvsctl.ServiceKey, weights ...int) ipvsctl.Entry {
	e := ipvsctl.Entry{Service: ipvsctl.Service{Key: k, Scheduler: "wlc"}, Servers: map[ipvsctl.ServerKey]ipvsctl.Server{}}
	for i, w := range weights {
		if w >= 0 {
			e.Servers[rs(i)] = ipvsctl.Server{Key: rs(i), Forward: ipvsctl.Direct, Weight: uint32(w)}
		}
	}
	return e
}

func table(es ...ipvsctl.Entry) ipvsctl.Table {
	t := ipvsctl.Table{}
	for _, e := range es {
		t[e.Service.Key] = e
	}
	return t
}

func lines(ops []ipvsctl.Op) []string {
	out := []string{}
	for _, o := range ops {
		out = append(out, o.String())
	}
	return out
}

func TestDiff(t *testing.T) {
	scheduler := entry(vip(1), 1)
	scheduler.Service.Scheduler = "rr"
	persistent := entry(vip(1), 1)
	persistent.Service.Flags, persistent.Service.Timeout = ipvsctl.FlagPersistent, 300*time.Second
	hashed := entry(vip(1), 1)
	hashed.Service.Flags, hashed.Service.Timeout, hashed.Service.PersistPrefix = 0x2, time.Hour, 32
	nat := entry(vip(1), 1)
	nat.Servers[rs(0)] = ipvsctl.Server{Key: rs(0), Forward: ipvsctl.NAT, Weight: 1, TunnelType: ipvsctl.GUE, TunnelPort: 5}
	for _, c := range []struct {
		name       string
		have, goal ipvsctl.Table
		keep       []int
		owned      []int
		want       []string
	}{
		{"nothing", nil, nil, nil, nil, []string{}},
		{"equal", table(entry(vip(1), 1, 2)), table(entry(vip(1), 1, 2)), nil, nil, []string{}},
		{"new service, servers with weight first", nil, table(entry(vip(1), 0, 3)), nil, nil, []string{
			"add service tcp 192.0.2.1:80 wlc",
			"add real server 10.0.0.2:80 weight 3 dr to tcp 192.0.2.1:80",
			"add real server 10.0.0.1:80 weight 0 dr to tcp 192.0.2.1:80",
		}},
		{"gain, then lose, then go", table(entry(vip(1), 1, 0, 5, 0)), table(entry(vip(1), 0, 1, -1, -1)), nil, nil, []string{
			"set real server 10.0.0.2:80 weight 1 dr of tcp 192.0.2.1:80",
			"set real server 10.0.0.1:80 weight 0 dr of tcp 192.0.2.1:80",
			"set real server 10.0.0.3:80 weight 0 dr of tcp 192.0.2.1:80",
			"delete real server 10.0.0.3:80 of tcp 192.0.2.1:80",
			"delete real server 10.0.0.4:80 of tcp 192.0.2.1:80",
		}},
		{"scheduler in place", table(entry(vip(1), 1)), table(scheduler), nil, nil, []string{"set service tcp 192.0.2.1:80 rr"}},
		{"persistence in place", table(entry(vip(1), 1)), table(persistent), nil, nil,
			[]string{"set service tcp 192.0.2.1:80 wlc persistent 300s/32"}},
		{"the kernel's hashed flag and netmask are no difference", table(hashed), table(entry(vip(1), 1)), nil, nil, []string{}},
		{"forwarding method in place, tunnel options only for tunnels", table(entry(vip(1), 1)), table(nat), nil, nil,
			[]string{"set real server 10.0.0.1:80 weight 1 nat of tcp 192.0.2.1:80"}},
		{"kept weight stands", table(entry(vip(1), 0, 7)), table(entry(vip(1), 5, 5)), []int{0, 1}, nil, []string{}},
		{"kept but missing is added", table(entry(vip(1), 4)), table(entry(vip(1), 4, 5)), []int{1}, nil,
			[]string{"add real server 10.0.0.2:80 weight 5 dr to tcp 192.0.2.1:80"}},
		{"unknown services stay, owned ones go last", table(entry(vip(1), 1), entry(vip(2), 1), entry(vip(3), 1)), table(entry(vip(4))), nil, []int{2, 4, 9}, []string{
			"add service tcp 192.0.2.4:80 wlc",
			"delete service tcp 192.0.2.2:80",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := ipvsctl.Goal{Table: c.goal, Owned: map[ipvsctl.ServiceKey]bool{}, Keep: map[ipvsctl.ServiceKey]map[ipvsctl.ServerKey]bool{}}
			for _, n := range c.owned {
				g.Owned[vip(n)] = true
			}
			g.Keep[vip(1)] = map[ipvsctl.ServerKey]bool{}
			for _, n := range c.keep {
				g.Keep[vip(1)][rs(n)] = true
			}
			if d := cmp.Diff(c.want, lines(ipvsctl.Diff(c.have, g))); d != "" {
				t.Error(d)
			}
		})
	}
}

// genTable draws a table over few services and servers, so that have and goal
// meet in most of them.
func genTable(names int) *rapid.Generator[ipvsctl.Table] {
	return rapid.Custom(func(t *rapid.T) ipvsctl.Table {
		out := ipvsctl.Table{}
		for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(1, names), 0, names, rapid.ID).Draw(t, "services") {
			k := vip(n)
			switch n % 3 {
			case 0:
				k = ipvsctl.FWMarkKey(uint32(n), 6)
			case 1:
				k = ipvsctl.AddrKey(ipvsctl.UDP, netip.AddrPortFrom(addr(fmt.Sprintf("2001:db8::%d", n)), 53))
			}
			s := ipvsctl.Service{Key: k, Scheduler: rapid.SampledFrom([]string{"wlc", "rr", "sh"}).Draw(t, "scheduler")}
			if rapid.Bool().Draw(t, "persistent") {
				s.Flags |= ipvsctl.FlagPersistent
				s.Timeout = time.Duration(rapid.IntRange(1, 9).Draw(t, "timeout")) * time.Second
				s.PersistPrefix = rapid.SampledFrom([]uint8{0, 24, 32}).Draw(t, "prefix")
			}
			e := ipvsctl.Entry{Service: s, Servers: map[ipvsctl.ServerKey]ipvsctl.Server{}}
			for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, 5), 0, 5, rapid.ID).Draw(t, "servers") {
				srv := ipvsctl.Server{
					Key: rs(i), Forward: ipvsctl.Tunnel,
					Weight: rapid.SampledFrom([]uint32{0, 0, 1, 7, 65535}).Draw(t, "weight"),
					Upper:  rapid.Uint32Range(0, 1).Draw(t, "upper"),
				}
				if k.Family == 4 {
					srv.Forward = rapid.SampledFrom([]ipvsctl.Forward{ipvsctl.NAT, ipvsctl.Tunnel, ipvsctl.Direct}).Draw(t, "forward")
				}
				if srv.Forward == ipvsctl.Tunnel && rapid.Bool().Draw(t, "gue") {
					srv.TunnelType, srv.TunnelPort = ipvsctl.GUE, 5555
				}
				e.Servers[srv.Key] = srv
			}
			out[k] = e
		}
		return out
	})
}

func genGoal(have ipvsctl.Table) *rapid.Generator[ipvsctl.Goal] {
	return rapid.Custom(func(t *rapid.T) ipvsctl.Goal {
		g := ipvsctl.Goal{Table: genTable(6).Draw(t, "goal"), Owned: map[ipvsctl.ServiceKey]bool{}, Keep: map[ipvsctl.ServiceKey]map[ipvsctl.ServerKey]bool{}}
		for _, k := range have.Keys() {
			if rapid.Bool().Draw(t, "owned") {
				g.Owned[k] = true
			}
		}
		for _, k := range g.Table.Keys() {
			for _, sk := range g.Table[k].Keys() {
				if rapid.IntRange(0, 3).Draw(t, "keep") == 0 {
					if g.Keep[k] == nil {
						g.Keep[k] = map[ipvsctl.ServerKey]bool{}
					}
					g.Keep[k][sk] = true
				}
			}
		}
		return g
	})
}

// fill puts a table into a fake.
func fill(t interface{ Fatal(...any) }, f *ipvsctltest.Fake, tab ipvsctl.Table) {
	if err := f.Tamper(ipvsctl.Diff(nil, ipvsctl.Goal{Table: tab})...); err != nil {
		t.Fatal(err)
	}
}

// expected is what the kernel must hold in the end, worked out without Diff.
func expected(have ipvsctl.Table, g ipvsctl.Goal) ipvsctl.Table {
	want := ipvsctl.Table{}
	for k, e := range have {
		if _, ok := g.Table[k]; !ok && !g.Owned[k] {
			want[k] = e.Clone()
		}
	}
	for k, e := range g.Table {
		e = e.Clone()
		e.Service = e.Service.Canonical()
		for sk, s := range e.Servers {
			if h, ok := have[k].Servers[sk]; ok && g.Keep[k][sk] {
				s.Weight = h.Weight
				e.Servers[sk] = s
			}
		}
		want[k] = e
	}
	return want
}

func weight(e ipvsctl.Entry) (sum uint64) {
	for _, s := range e.Servers {
		sum += uint64(s.Weight)
	}
	return sum
}

// TestDiffProperties: applying the changes gives the goal, each of them is one
// that the kernel takes, a second diff is empty, and no pool is empty between
// if it is not so before or after.
func TestDiffProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := ipvsctltest.NewFake()
		fill(t, f, genTable(6).Draw(t, "have"))
		have, _ := f.Dump(t.Context())
		g := genGoal(have).Draw(t, "g")
		ops := ipvsctl.Diff(have, g)
		want := expected(have, g)
		for i, o := range ops {
			if err := f.Tamper(o); err != nil {
				t.Fatalf("change %d of %q: %v", i, lines(ops), err)
			}
			now, _ := f.Dump(t.Context())
			for k, e := range have {
				if _, stays := want[k]; stays && weight(e) > 0 && weight(want[k]) > 0 && weight(now[k]) == 0 {
					t.Fatalf("pool of %v is empty after change %d of %q", k, i, lines(ops))
				}
			}
		}
		now, _ := f.Dump(t.Context())
		if d := cmp.Diff(want, now, cmpAddr); d != "" {
			t.Fatalf("after %q: %s", lines(ops), d)
		}
		if again := ipvsctl.Diff(now, g); len(again) != 0 {
			t.Fatalf("second diff: %q", lines(again))
		}
	})
}

func TestDiffDaemons(t *testing.T) {
	master := ipvsctl.Daemon{Role: ipvsctl.RoleMaster, Interface: "eth0", ID: 5}
	backup := ipvsctl.Daemon{Role: ipvsctl.RoleBackup, Interface: "eth0", ID: 5}
	running := func(d ipvsctl.Daemon) ipvsctl.Daemon {
		f := ipvsctltest.NewFake()
		if err := f.Tamper(ipvsctl.Op{Kind: ipvsctl.StartDaemon, Daemon: d}); err != nil {
			t.Fatal(err)
		}
		ds, _ := f.Daemons(t.Context())
		return ds[0]
	}
	other, short := master, backup
	other.Group = addr("224.0.0.90")
	short.MaxLen = 100
	for _, c := range []struct {
		name        string
		have, goal  []ipvsctl.Daemon
		leave       bool
		stop, start []string
	}{
		{"none", nil, nil, false, []string{}, []string{}},
		{"not ours to manage", []ipvsctl.Daemon{master}, nil, true, []string{}, []string{}},
		{"start", nil, []ipvsctl.Daemon{master}, false, []string{}, []string{"start sync daemon master on eth0 id 5"}},
		{"defaults are not compared", []ipvsctl.Daemon{running(master)}, []ipvsctl.Daemon{master}, false, []string{}, []string{}},
		{"stop", []ipvsctl.Daemon{running(backup), running(master)}, []ipvsctl.Daemon{master}, false, []string{"stop sync daemon backup"}, []string{}},
		{"other attributes", []ipvsctl.Daemon{running(master)}, []ipvsctl.Daemon{other}, false, []string{},
			[]string{"stop sync daemon master", "start sync daemon master on eth0 id 5 group 224.0.0.90"}},
		{"a length that the kernel puts into range", []ipvsctl.Daemon{running(short)}, []ipvsctl.Daemon{short}, false, []string{}, []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			stop, start := ipvsctl.DiffDaemons(c.have, ipvsctl.Goal{ManageDaemons: !c.leave, Daemons: c.goal})
			if d := cmp.Diff(c.stop, lines(stop)); d != "" {
				t.Error("stop", d)
			}
			if d := cmp.Diff(c.start, lines(start)); d != "" {
				t.Error("start", d)
			}
		})
	}
}

func TestDiffTimeouts(t *testing.T) {
	have := ipvsctl.Timeouts{TCP: 900 * time.Second, TCPFin: 120 * time.Second, UDP: time.Second}
	for _, c := range []struct {
		goal ipvsctl.Timeouts
		want []string
	}{
		{ipvsctl.Timeouts{}, []string{}},
		{have, []string{}},
		{ipvsctl.Timeouts{TCP: 900*time.Second + time.Millisecond, UDP: time.Millisecond}, []string{}},
		{ipvsctl.Timeouts{TCP: time.Second, TCPFin: 120 * time.Second}, []string{"set timeouts tcp 1s"}},
		{ipvsctl.Timeouts{TCPFin: time.Millisecond, UDP: time.Hour}, []string{"set timeouts tcpfin 1s udp 1h0m0s"}},
	} {
		if d := cmp.Diff(c.want, lines(ipvsctl.DiffTimeouts(have, c.goal))); d != "" {
			t.Errorf("%v: %s", c.goal, d)
		}
	}
}

func BenchmarkDiffNothing(b *testing.B) {
	have := bigTable(100, 100)
	g := ipvsctl.Goal{Table: have.Clone()}
	b.ReportAllocs()
	for b.Loop() {
		if ipvsctl.Diff(have, g) != nil {
			b.Fatal("a difference")
		}
	}
}

func bigTable(services, servers int) ipvsctl.Table {
	t := ipvsctl.Table{}
	for i := range services {
		k := ipvsctl.AddrKey(ipvsctl.TCP, netip.AddrPortFrom(addr(fmt.Sprintf("192.0.%d.%d", i/250, i%250+1)), 80))
		e := ipvsctl.Entry{Service: ipvsctl.Service{Key: k, Scheduler: "wlc"}, Servers: map[ipvsctl.ServerKey]ipvsctl.Server{}}
		for j := range servers {
			e.Servers[rs(j)] = ipvsctl.Server{Key: rs(j), Forward: ipvsctl.Direct, Weight: 1}
		}
		t[k] = e
	}
	return t
}
