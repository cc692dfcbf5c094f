package ipvsctl_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lvs-ha/ipvsctl"
	"lvs-ha/ipvsctl/ipvsctltest"
)

// needIPVS skips where the kernel has none, or fails if it must be there.
func needIPVS(t testing.TB) {
	t.Helper()
	k, err := ipvsctl.Open()
	if err == nil {
		k.Close()
		return
	}
	for _, what := range strings.Split(os.Getenv("LVSHA_REQUIRE"), ",") {
		if what == "ipvs" {
			t.Fatal(err)
		}
	}
	t.Skip(err)
}

var namespaces atomic.Int32

// netns makes a network namespace with ipvsctltest.Interface in it.
func netns(t testing.TB) string {
	t.Helper()
	needIPVS(t)
	name := fmt.Sprintf("ipvsctl-%d-%d", os.Getpid(), namespaces.Add(1))
	run(t, "ip", "netns", "add", name)
	t.Cleanup(func() { run(t, "ip", "netns", "del", name) })
	run(t, "ip", "-n", name, "link", "set", "lo", "up")
	run(t, "ip", "-n", name, "link", "add", ipvsctltest.Interface, "type", "dummy")
	run(t, "ip", "-n", name, "addr", "add", "203.0.113.1/24", "dev", ipvsctltest.Interface)
	run(t, "ip", "-n", name, "link", "set", ipvsctltest.Interface, "up")
	return name
}

func run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func openIn(t testing.TB, ns string) ipvsctl.Kernel {
	t.Helper()
	k, err := ipvsctl.Open(ipvsctl.InNetNS("/run/netns/" + ns))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func TestKernelConformance(t *testing.T) {
	needIPVS(t)
	ipvsctltest.Conformance(t, func(t *testing.T) ipvsctl.Kernel { return openIn(t, netns(t)) })
}

// TestOpenWithoutIPVS runs where the kernel has none: a clear error, never
// silent success.
func TestOpenWithoutIPVS(t *testing.T) {
	k, err := ipvsctl.Open()
	if err == nil {
		k.Close()
		t.Skip("this kernel has IPVS")
	}
	if !errors.Is(err, ipvsctl.ErrPermission) && (!errors.Is(err, ipvsctl.ErrNoIPVS) || !strings.Contains(err.Error(), "modprobe ip_vs")) || k != nil {
		t.Errorf("kernel %v, error %v", k, err)
	}
}

// adm runs ipvsadm in a namespace: the independent witness.
func adm(t testing.TB, ns string, args ...string) string {
	t.Helper()
	return run(t, append([]string{"ip", "netns", "exec", ns, "ipvsadm"}, args...)...)
}

func needIpvsadm(t testing.TB) {
	t.Helper()
	needIPVS(t)
	if _, err := exec.LookPath("ipvsadm"); err != nil {
		t.Skip("no ipvsadm")
	}
}

func apply(t testing.TB, k ipvsctl.Kernel, ops ...ipvsctl.Op) {
	t.Helper()
	for i, err := range k.Apply(t.Context(), ops) {
		if err != nil {
			t.Fatal(ipvsctl.OpError{Op: ops[i], Err: err})
		}
	}
}

// everything is a table with one of every sort.
func everything() ipvsctl.Table {
	tab := ipvsctl.Table{}
	for i, s := range ipvsctltest.Services() {
		e := ipvsctl.Entry{Service: s.Canonical(), Servers: map[ipvsctl.ServerKey]ipvsctl.Server{}}
		for j, srv := range ipvsctltest.Servers() {
			// ipvsadm knows no local forwarding and does not save thresholds.
			if s.Key.Port != 80 && srv.Forward != ipvsctl.NAT {
				srv.Key.Port = s.Key.Port // ipvsadm has no other
			}
			if srv.Forward == ipvsctl.Local || srv.Upper != 0 || srv.Forward != ipvsctl.Tunnel && s.Key.Family == 6 || (i+j)%3 == 0 {
				continue
			}
			e.Servers[srv.Key] = srv
		}
		tab[s.Key] = e
	}
	return tab
}

// TestIpvsadmReadsOurs: ipvsadm saves what we wrote as we write it ourselves.
func TestIpvsadmReadsOurs(t *testing.T) {
	needIpvsadm(t)
	ns := netns(t)
	k := openIn(t, ns)
	tab := everything()
	// ipvsadm shows this mark as a negative number, and no third flag of mh.
	delete(tab, ipvsctl.FWMarkKey(1<<32-1, 4))
	apply(t, k, ipvsctl.Diff(nil, ipvsctl.Goal{Table: tab})...)
	if d := cmp.Diff(adm(t, ns, "-Sn"), ipvsctl.FormatRules(tab)); d != "" {
		t.Errorf("ipvsadm -Sn (-) and ours (+): %s", d)
	}
	// Thresholds are in another listing.
	limited := on(ipvsctl.AddServer, 1, 0, 1)
	limited.Server.Upper, limited.Server.Lower = 1000, 900
	apply(t, k, ipvsctl.Op{Kind: ipvsctl.DeleteService, Service: limited.Service}, ipvsctl.Op{Kind: ipvsctl.AddService, Service: limited.Service}, limited)
	if out := strings.Join(strings.Fields(adm(t, ns, "-Ln", "--thresholds")), " "); !strings.Contains(out, "-> 10.0.0.1:80 1000 900 0 0") {
		t.Errorf("thresholds: %s", out)
	}
	apply(t, k, ipvsctl.Op{Kind: ipvsctl.SetTimeouts, Timeouts: ipvsctl.Timeouts{TCP: 100 * time.Second, TCPFin: 20 * time.Second, UDP: 30 * time.Second}})
	if out := adm(t, ns, "-Ln", "--timeout"); out != "Timeout (tcp tcpfin udp): 100 20 30\n" {
		t.Errorf("timeouts: %s", out)
	}
}

func TestIpvsadmReadsOurDaemons(t *testing.T) {
	needIpvsadm(t)
	ns := netns(t)
	k := openIn(t, ns)
	apply(t, k,
		ipvsctl.Op{Kind: ipvsctl.StartDaemon, Daemon: ipvsctl.Daemon{Role: ipvsctl.RoleMaster, Interface: ipvsctltest.Interface, ID: 51, MaxLen: 1400, Group: addr("224.0.0.99"), Port: 8850, TTL: 4}},
		ipvsctl.Op{Kind: ipvsctl.StartDaemon, Daemon: ipvsctl.Daemon{Role: ipvsctl.RoleBackup, Interface: ipvsctltest.Interface, ID: 52, Group: addr("ff02::99")}})
	want := "master sync daemon (mcast=ipvstest0, syncid=51, maxlen=1400, group=224.0.0.99, port=8850, ttl=4)\n" +
		"backup sync daemon (mcast=ipvstest0, syncid=52, maxlen=1452, group=ff02::99, port=8848, ttl=1)\n"
	if out := adm(t, ns, "-Ln", "--daemon"); out != want {
		t.Errorf("ipvsadm shows\n%swant\n%s", out, want)
	}
}

// TestWeReadIpvsadms: rules of ipvsadm's own making, restored by ipvsadm, are read as they are.
func TestWeReadIpvsadms(t *testing.T) {
	needIpvsadm(t)
	ns := netns(t)
	k := openIn(t, ns)
	restore := exec.Command("ip", "netns", "exec", ns, "ipvsadm", "-R")
	restore.Stdin = strings.NewReader(saved)
	if out, err := restore.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	tab, err := k.Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(saved, ipvsctl.FormatRules(tab)); d != "" {
		t.Error(d)
	}
	want, err := ipvsctl.ParseRules(strings.NewReader(saved))
	if err != nil {
		t.Fatal(err)
	}
	if ops := ipvsctl.Diff(tab, ipvsctl.Goal{Table: want}); len(ops) != 0 {
		t.Errorf("differs from the parsed rules: %q", lines(ops))
	}
}

// TestIpvsadmRestoresOurs: our file goes through ipvsadm -R without loss, thresholds too.
func TestIpvsadmRestoresOurs(t *testing.T) {
	needIpvsadm(t)
	ns := netns(t)
	k := openIn(t, ns)
	tab := everything()
	delete(tab, ipvsctl.FWMarkKey(1<<32-1, 4))
	e := tab[ipvsctltest.Services()[0].Key]
	e.Servers[rs(9)] = ipvsctl.Server{Key: rs(9), Forward: ipvsctl.NAT, Weight: 1, Upper: 20, Lower: 10}
	restore := exec.Command("ip", "netns", "exec", ns, "ipvsadm", "-R")
	restore.Stdin = strings.NewReader(ipvsctl.FormatRules(tab))
	if out, err := restore.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := k.Dump(t.Context())
	if d := cmp.Diff(tab, got, cmpAddr); d != "" || err != nil {
		t.Error(err, d)
	}
}

// TestRepairOfIpvsadm: what people do with ipvsadm is repaired and told.
func TestRepairOfIpvsadm(t *testing.T) {
	needIpvsadm(t)
	ns := netns(t)
	k := openIn(t, ns)
	r := ipvsctl.NewReconciler(k, nil)
	r.SetContention(0, 0, 0)
	g := goal(entry(vip(1), 1, 2, 3), entry(vip(2), 1))
	g.ManageDaemons, g.Daemons = true, []ipvsctl.Daemon{{Role: ipvsctl.RoleMaster, Interface: ipvsctltest.Interface, ID: 9}}
	if _, err := r.Full(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cmd  string
		want []string
	}{
		{"-C", []string{"missing_service", "missing_service"}},
		{"-e -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 0", []string{"weight"}},
		{"-e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1", []string{"options"}},
		{"-d -t 192.0.2.1:80 -r 10.0.0.2:80", []string{"missing_server"}},
		{"-a -t 192.0.2.1:80 -r 10.0.0.99:80 -m", []string{"extra_server"}},
		{"-E -t 192.0.2.1:80 -s rr", []string{"options"}},
		{"-D -t 192.0.2.2:80", []string{"missing_service"}},
		{"--stop-daemon master", []string{"daemon"}},
		{"-A -t 198.51.100.1:25", nil},
	} {
		adm(t, ns, strings.Fields(c.cmd)...)
		rep, err := r.Full(t.Context(), g)
		if err != nil || len(rep.Failed) != 0 {
			t.Fatalf("ipvsadm %s: %v, %v", c.cmd, err, rep.Failed)
		}
		var got []string
		for _, d := range rep.Drift {
			got = append(got, d.Kind)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("ipvsadm %s: %s", c.cmd, d)
		}
		if rep, err := r.Full(t.Context(), g); err != nil || len(rep.Done) != 0 {
			t.Errorf("ipvsadm %s, second pass: %v, %v", c.cmd, err, rep)
		}
	}
}

// TestSecondWriter: another program adds and deletes servers of ours without a
// pause; the goal is reached when it stops, and no pass takes the table apart.
func TestSecondWriter(t *testing.T) {
	needIPVS(t)
	ns := netns(t)
	k, other := openIn(t, ns), openIn(t, ns)
	r := ipvsctl.NewReconciler(k, nil)
	r.SetContention(0, 0, 0)
	g := ipvsctl.Goal{Table: bigTable(2, 500)}
	if _, err := r.Full(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	svc := g.Table[g.Table.Keys()[0]].Service
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			srv := ipvsctl.Server{Key: rs(i % 50), Forward: ipvsctl.Direct, Weight: 1}
			other.Apply(t.Context(), []ipvsctl.Op{{Kind: ipvsctl.DeleteServer, Service: svc, Server: srv}})
			other.Apply(t.Context(), []ipvsctl.Op{{Kind: ipvsctl.AddServer, Service: svc, Server: srv}})
		}
	}()
	for range 10 {
		rep, err := r.Full(t.Context(), g)
		if err != nil {
			t.Error(err)
		}
		for _, o := range rep.Done {
			if o.Kind == ipvsctl.DeleteServer || o.Kind == ipvsctl.DeleteService {
				t.Errorf("%v", o)
			}
		}
	}
	close(stop)
	<-done
	for range 2 {
		if _, err := r.Full(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	if now, err := k.Dump(t.Context()); err != nil || ipvsctl.Diff(now, g) != nil {
		t.Errorf("%v, left to do: %q", err, lines(ipvsctl.Diff(now, g)))
	}
}

// TestModuleLoadedAnew: the module goes and comes under an open handle.
func TestModuleLoadedAnew(t *testing.T) {
	needIPVS(t)
	if os.Getenv("LVSHA_GUEST") == "" {
		t.Skip("the module is unloaded in a guest only (LVSHA_GUEST)")
	}
	k, err := ipvsctl.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	r := ipvsctl.NewReconciler(k, nil)
	r.SetContention(0, 0, 0)
	g := goal(entry(vip(1), 1, 2))
	g.Timeouts.UDP = 77 * time.Second
	if _, err := r.Full(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		run(t, "ipvsadm", "-C")
		out, err := exec.Command("sh", "-c", "for m in $(grep -o '^ip_vs_[a-z_]*' /proc/modules) xt_ipvs ip_vs; do rmmod $m; done 2>&1; ! grep -q '^ip_vs ' /proc/modules").CombinedOutput()
		if err != nil {
			t.Skipf("the module cannot be unloaded: %s", out)
		}
		// It is loaded again by the question for the family, whichever call comes first.
		switch i {
		case 1:
			if errs := k.Apply(t.Context(), []ipvsctl.Op{on(ipvsctl.SetServer, 1, 0, 5)}); !errors.Is(errs[0], syscall.ESRCH) {
				t.Errorf("a server of a table that is gone: %v, want ESRCH", errs[0])
			}
		case 2:
			apply(t, k, on(ipvsctl.AddService, 1, 0, 0))
		case 3:
			apply(t, k, ipvsctl.Op{Kind: ipvsctl.SetTimeouts, Timeouts: ipvsctl.Timeouts{TCP: time.Minute}})
		case 4:
			if _, err := k.Timeouts(t.Context()); err != nil {
				t.Error(err)
			}
		}
		rep, err := r.Full(t.Context(), g)
		if err != nil || len(rep.Failed) != 0 {
			t.Fatalf("%v, %v", err, rep.Failed)
		}
		if now, err := k.Dump(t.Context()); err != nil || ipvsctl.Diff(now, g) != nil {
			t.Errorf("%v, left to do: %q", err, lines(ipvsctl.Diff(now, g)))
		}
		if to, err := k.Timeouts(t.Context()); err != nil || to.UDP != 77*time.Second {
			t.Errorf("timeouts %v, %v", to, err)
		}
	}
	g.Table, g.Owned = nil, map[ipvsctl.ServiceKey]bool{vip(1): true}
	if _, err := r.Full(t.Context(), g); err != nil {
		t.Error(err)
	}
}

// TestNoPermission: a process without CAP_NET_ADMIN is told so.
func TestNoPermission(t *testing.T) {
	needIPVS(t)
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe, "-test.run=^TestNobody$")
	c.Env = append(os.Environ(), "IPVSCTL_NOBODY=1")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestNobody is the process of TestNoPermission.
func TestNobody(t *testing.T) {
	if os.Getenv("IPVSCTL_NOBODY") == "" {
		t.Skip("a helper of TestNoPermission")
	}
	k, err := ipvsctl.Open()
	if !errors.Is(err, ipvsctl.ErrPermission) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") || k != nil {
		t.Errorf("%v, %v", k, err)
	}
}

// TestConnections reads entries that the kernel makes.
func TestConnections(t *testing.T) {
	needIPVS(t)
	ns := netns(t)
	k := openIn(t, ns)
	svc := ipvsctl.Service{Key: ipvsctl.AddrKey(ipvsctl.TCP, addrPort("203.0.113.1:9000")), Scheduler: "rr"}
	srv := ipvsctl.Server{Key: ipvsctl.ServerKey{Addr: addr("203.0.113.1"), Port: 9001}, Forward: ipvsctl.NAT, Weight: 1}
	apply(t, k, ipvsctl.Op{Kind: ipvsctl.AddService, Service: svc}, ipvsctl.Op{Kind: ipvsctl.AddServer, Service: svc, Server: srv})
	// Nobody listens: the connection is refused, the entry stays for some seconds.
	exec.Command("ip", "netns", "exec", ns, "sh", "-c", "nc -w 1 203.0.113.1 9000 </dev/null").Run()
	list := run(t, "ip", "netns", "exec", ns, "cat", ipvsctl.ConnsPath)
	var got []ipvsctl.Conn
	if err := ipvsctl.ReadConns(strings.NewReader(list), func(c ipvsctl.Conn) error { got = append(got, c); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Virtual != addrPort("203.0.113.1:9000") || got[0].Dest != addrPort("203.0.113.1:9001") {
		t.Errorf("%+v from %s", got, list)
	}
	// The kernel adds its counters up every two seconds, those of a service and of
	// its server each at a moment of its own.
	var s ipvsctl.EntryStats
	for end := time.Now().Add(10 * time.Second); (s.Connections == 0 || s.Servers[srv.Key].Connections == 0) && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		stats, err := k.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s = stats[svc.Key]
	}
	if s.Connections != 1 || s.InPackets == 0 || s.InBytes == 0 || s.Servers[srv.Key].Connections != 1 {
		t.Errorf("stats %+v", s)
	}
	if err := k.(ipvsctl.Inspector).Zero(t.Context(), &svc.Key); err != nil {
		t.Error(err)
	}
	if stats, _ := k.Stats(t.Context()); stats[svc.Key].Connections != 0 || stats[svc.Key].Servers[srv.Key].InPackets != 0 {
		t.Errorf("after zero: %+v", stats[svc.Key])
	}
}
