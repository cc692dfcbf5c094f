package ipvsctl_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"lvs-ha/ipvsctl"
	"lvs-ha/ipvsctl/ipvsctltest"
)

// bench is a reconciler on a fake kernel, and its log.
type bench struct {
	t   *testing.T
	k   *ipvsctltest.Fake
	r   *ipvsctl.Reconciler
	log bytes.Buffer
}

func newBench(t *testing.T, have ...ipvsctl.Entry) *bench {
	b := &bench{t: t, k: ipvsctltest.NewFake()}
	fill(t, b.k, table(have...))
	b.r = ipvsctl.NewReconciler(b.k, slog.New(slog.NewTextHandler(&b.log, nil)))
	return b
}

func (b *bench) full(g ipvsctl.Goal) ipvsctl.Report {
	b.t.Helper()
	rep, err := b.r.Full(b.t.Context(), g)
	return b.check(rep, err)
}

func (b *bench) quick(g ipvsctl.Goal) ipvsctl.Report {
	b.t.Helper()
	rep, err := b.r.Quick(b.t.Context(), g)
	return b.check(rep, err)
}

// check compares what the report says with what is in the kernel.
func (b *bench) check(rep ipvsctl.Report, err error) ipvsctl.Report {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	b.believed(rep.Table)
	return rep
}

func (b *bench) believed(tab ipvsctl.Table) {
	b.t.Helper()
	now, _ := b.k.Dump(context.Background())
	if d := cmp.Diff(now, tab, cmpAddr); d != "" {
		b.t.Errorf("the report's table is not the kernel's: %s", d)
	}
}

func (b *bench) tamper(ops ...ipvsctl.Op) {
	b.t.Helper()
	if err := b.k.Tamper(ops...); err != nil {
		b.t.Fatal(err)
	}
}

func goal(es ...ipvsctl.Entry) ipvsctl.Goal {
	g := ipvsctl.Goal{Table: table(es...), Owned: map[ipvsctl.ServiceKey]bool{}}
	for _, e := range es {
		g.Owned[e.Service.Key] = true
	}
	return g
}

func on(kind ipvsctl.OpKind, service, server, weight int) ipvsctl.Op {
	return ipvsctl.Op{
		Kind: kind, Service: entry(vip(service)).Service,
		Server: ipvsctl.Server{Key: rs(server), Forward: ipvsctl.Direct, Weight: uint32(weight)},
	}
}

func TestAdoption(t *testing.T) {
	b := newBench(t, entry(vip(1), 1, 2, 3), entry(vip(9), 1))
	rep := b.full(goal(entry(vip(1), 1, 2), entry(vip(2), 1)))
	if len(rep.Drift) != 0 || len(rep.Failed) != 0 || rep.Unmanaged != 1 {
		t.Errorf("first pass: %+v", rep)
	}
	want := []string{
		"set real server 10.0.0.3:80 weight 0 dr of tcp 192.0.2.1:80",
		"delete real server 10.0.0.3:80 of tcp 192.0.2.1:80",
		"add service tcp 192.0.2.2:80 wlc",
		"add real server 10.0.0.1:80 weight 1 dr to tcp 192.0.2.2:80",
	}
	if d := cmp.Diff(want, lines(rep.Done)); d != "" {
		t.Error(d)
	}
	writes := b.k.Writes()
	for _, rep := range []ipvsctl.Report{b.full(goal(entry(vip(1), 1, 2), entry(vip(2), 1))), b.quick(goal(entry(vip(1), 1, 2), entry(vip(2), 1)))} {
		if len(rep.Done) != 0 || rep.Unmanaged != 1 {
			t.Errorf("second pass: %+v", rep)
		}
	}
	if n := b.k.Writes() - writes; n != 0 {
		t.Errorf("second pass wrote %d times", n)
	}
	if len(b.log.String()) != 0 {
		t.Errorf("logged without a repair: %s", b.log.String())
	}
}

// TestExclusive: what the goal does not name goes, but not in the first pass,
// and only what a full pass has read.
func TestExclusive(t *testing.T) {
	b := newBench(t, entry(vip(1), 1), entry(vip(8), 1, 2), entry(vip(9), 1))
	g := goal(entry(vip(1), 1), entry(vip(2), 1))
	g.Exclusive = true
	if rep := b.full(g); rep.Unmanaged != 2 || len(rep.Done) != 2 || len(rep.Drift) != 0 {
		t.Errorf("first pass: %+v", rep)
	}
	if rep := b.quick(g); rep.Unmanaged != 2 || len(rep.Done) != 0 {
		t.Errorf("quick pass: %+v", rep)
	}
	rep := b.full(g)
	if d := cmp.Diff([]string{"delete service tcp 192.0.2.8:80", "delete service tcp 192.0.2.9:80"}, lines(rep.Done)); d != "" || rep.Unmanaged != 0 || len(rep.Drift) != 0 {
		t.Errorf("second pass: %+v\n%s", rep, d)
	}
	if log := b.log.String(); strings.Count(log, "event=ipvs_unmanaged_removed") != 2 {
		t.Errorf("the log: %s", log)
	}
	writes := b.k.Writes()
	b.full(g)
	if n := b.k.Writes() - writes; n != 0 {
		t.Errorf("third pass wrote %d times", n)
	}
	b.tamper(on(ipvsctl.AddService, 7, 0, 0)) // while we look on
	rep = b.full(g)
	if len(rep.Drift) != 1 || rep.Drift[0].Kind != ipvsctl.DriftExtraService || rep.Unmanaged != 0 {
		t.Errorf("a service that was added: %+v", rep)
	}
	b.tamper(on(ipvsctl.AddService, 5, 0, 0))
	g.Owned[vip(5)] = true // goes once
	if plan := append(ipvsctl.Diff(rep.Table, g), ipvsctl.DiffUnmanaged(rep.Table, g)...); len(plan) != 0 {
		t.Errorf("nothing to do, but %v", plan)
	}
	now, _ := b.k.Dump(t.Context())
	if plan := append(ipvsctl.Diff(now, g), ipvsctl.DiffUnmanaged(now, g)...); len(plan) != 1 {
		t.Errorf("an owned service: %v", plan)
	}
	b.full(g)
	g.Exclusive = false
	b.tamper(on(ipvsctl.AddService, 7, 0, 0))
	if rep = b.full(g); len(rep.Done) != 0 || rep.Unmanaged != 1 {
		t.Errorf("no longer exclusive: %+v", rep)
	}
}

func TestDriftKinds(t *testing.T) {
	rr := entry(vip(1)).Service
	rr.Scheduler = "rr"
	limited := on(ipvsctl.SetServer, 1, 0, 1)
	limited.Server.Upper = 5
	master := ipvsctl.Daemon{Role: ipvsctl.RoleMaster, Interface: "eth0"}
	for _, c := range []struct {
		name   string
		tamper []ipvsctl.Op
		want   []string
		hint   bool
	}{
		{"a service is gone", []ipvsctl.Op{on(ipvsctl.DeleteService, 1, 0, 0)}, []string{"missing_service tcp 192.0.2.1:80: had 2 servers"}, false},
		{"a deleted service is back", []ipvsctl.Op{on(ipvsctl.AddService, 3, 0, 0)}, []string{"extra_service tcp 192.0.2.3:80"}, false},
		{"a server is gone", []ipvsctl.Op{on(ipvsctl.DeleteServer, 1, 1, 0)}, []string{"missing_server 10.0.0.2:80 of tcp 192.0.2.1:80: was weight 2 dr"}, true},
		{"a server too many", []ipvsctl.Op{on(ipvsctl.AddServer, 1, 7, 4)}, []string{"extra_server 10.0.0.8:80 of tcp 192.0.2.1:80: weight 4 dr"}, false},
		{"a weight", []ipvsctl.Op{on(ipvsctl.SetServer, 1, 0, 0)}, []string{"weight 10.0.0.1:80 of tcp 192.0.2.1:80: weight 0, was 1"}, true},
		{"a threshold", []ipvsctl.Op{limited}, []string{"options 10.0.0.1:80 of tcp 192.0.2.1:80: weight 1 dr upper 5, was weight 1 dr"}, false},
		{"a scheduler", []ipvsctl.Op{{Kind: ipvsctl.SetService, Service: rr}}, []string{"options tcp 192.0.2.1:80: rr, was wlc"}, false},
		{"the daemon is gone", []ipvsctl.Op{{Kind: ipvsctl.StopDaemon, Daemon: master}}, []string{"daemon: stopped sync daemon master on eth0 id 0"}, false},
		{"another daemon", []ipvsctl.Op{{Kind: ipvsctl.StopDaemon, Daemon: master}, {Kind: ipvsctl.StartDaemon, Daemon: ipvsctl.Daemon{Role: ipvsctl.RoleMaster, Interface: "eth1"}}},
			[]string{"daemon: sync daemon master on eth1 id 0 maxlen 1472 group 224.0.0.81 port 8848 ttl 1, was sync daemon master on eth0 id 0"}, false},
		{"a daemon too many", []ipvsctl.Op{{Kind: ipvsctl.StartDaemon, Daemon: ipvsctl.Daemon{Role: ipvsctl.RoleBackup, Interface: "eth1"}}},
			[]string{"daemon: unwanted sync daemon backup on eth1 id 0 maxlen 1472 group 224.0.0.81 port 8848 ttl 1"}, false},
		{"a timeout", []ipvsctl.Op{{Kind: ipvsctl.SetTimeouts, Timeouts: ipvsctl.Timeouts{TCP: time.Minute}}},
			[]string{"options: timeouts tcp 1m0s tcpfin 2m0s udp 5m0s, were tcp 2m0s tcpfin 2m0s udp 5m0s"}, false},
		{"a foreign service is no drift", []ipvsctl.Op{on(ipvsctl.AddService, 8, 0, 0)}, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			g := goal(entry(vip(1), 1, 2), entry(vip(2), 1))
			g.Owned[vip(3)] = true
			g.ManageDaemons, g.Daemons = true, []ipvsctl.Daemon{master}
			g.Timeouts.TCP = 2 * time.Minute
			b.full(g)
			b.tamper(c.tamper...)
			rep := b.full(g)
			var got []string
			for _, d := range rep.Drift {
				got = append(got, d.String())
				if !slices.Contains(ipvsctl.DriftKinds, d.Kind) {
					t.Errorf("unknown kind %q", d.Kind)
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if n := strings.Count(b.log.String(), "ipvs_repair"); n != len(c.want) {
				t.Errorf("%d lines for %d repairs: %s", n, len(c.want), b.log.String())
			}
			if c.hint != strings.Contains(b.log.String(), "lvs-ha drain 10.0.0.") {
				t.Errorf("the drain command is named: %v, want %v: %s", !c.hint, c.hint, b.log.String())
			}
			if rep := b.full(g); len(rep.Done) != 0 || len(rep.Drift) != 0 {
				t.Errorf("again: %+v", rep)
			}
		})
	}
}

// TestOwnChangesAreNoDrift: what the goal changes is not what somebody did,
// even where both happen in one pass.
func TestOwnChangesAreNoDrift(t *testing.T) {
	b := newBench(t)
	b.full(goal(entry(vip(1), 1, 2)))
	if rep := b.full(goal(entry(vip(1), 0, -1, 3), entry(vip(2), 1))); len(rep.Drift) != 0 || len(rep.Done) == 0 {
		t.Errorf("own change: %v, drift %v", rep, rep.Drift)
	}
	b.tamper(on(ipvsctl.SetServer, 1, 2, 9))
	if rep := b.full(goal(entry(vip(1), 0, -1, 9))); len(rep.Drift) != 0 || len(rep.Done) != 0 {
		t.Errorf("somebody did what we want: %v, drift %v", rep, rep.Drift)
	}
}

// TestQuickOnWrongBelief: the kernel's answer shows that the table is another
// one; the same call repairs it.
func TestQuickOnWrongBelief(t *testing.T) {
	for name, c := range map[string]struct {
		tamper ipvsctl.Op
		kind   string
	}{
		"service gone": {on(ipvsctl.DeleteService, 1, 0, 0), "missing_service"},
		"server gone":  {on(ipvsctl.DeleteServer, 1, 0, 0), "missing_server"},
	} {
		for _, byServer := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				b := newBench(t)
				b.full(goal(entry(vip(1), 1, 2)))
				b.tamper(c.tamper)
				g := goal(entry(vip(1), 0, 2))
				var rep ipvsctl.Report
				if byServer {
					var err error
					if rep, err = b.r.QuickServers(t.Context(), g, []ipvsctl.ServerRef{{Service: vip(1), Server: rs(0)}}); err != nil {
						t.Fatal(err)
					}
					b.believed(rep.Table)
				} else {
					rep = b.quick(g)
				}
				if len(rep.Failed) != 0 || len(rep.Drift) != 1 || rep.Drift[0].Kind != c.kind {
					t.Errorf("failed %v, drift %v", rep.Failed, rep.Drift)
				}
				if now, _ := b.k.Dump(t.Context()); ipvsctl.Diff(now, g) != nil {
					t.Error("the goal is not reached")
				}
			})
		}
	}
}

func TestQuickServers(t *testing.T) {
	b := newBench(t)
	first := b.full(goal(entry(vip(1), 1, 2, 3), entry(vip(2), 1)))
	kept := first.Table.Clone()
	g := goal(entry(vip(1), 0, -1, 3, 5), entry(vip(2), 9))
	rep, err := b.r.QuickServers(t.Context(), g, []ipvsctl.ServerRef{{vip(1), rs(0)}, {vip(1), rs(1)}, {vip(1), rs(3)}, {vip(1), rs(0)}})
	if err != nil || rep.Table != nil {
		t.Fatalf("%v, table %v", err, rep.Table)
	}
	want := []string{
		"add real server 10.0.0.4:80 weight 5 dr to tcp 192.0.2.1:80",
		"set real server 10.0.0.1:80 weight 0 dr of tcp 192.0.2.1:80",
		"set real server 10.0.0.2:80 weight 0 dr of tcp 192.0.2.1:80",
		"delete real server 10.0.0.2:80 of tcp 192.0.2.1:80",
	}
	if d := cmp.Diff(want, lines(rep.Done)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(kept, first.Table, cmpAddr); d != "" {
		t.Errorf("an older report changed: %s", d)
	}
	// What was not named is left to the next pass.
	if rep := b.quick(g); len(rep.Done) != 1 {
		t.Errorf("quick pass after: %v", rep)
	}
}

func TestRefusalIsReported(t *testing.T) {
	b := newBench(t)
	bad := entry(vip(2), 1)
	bad.Service.Scheduler = "best"
	rep := b.full(goal(entry(vip(1), 1), bad))
	var got []string
	for _, f := range rep.Failed {
		got = append(got, f.Error())
	}
	want := []string{
		`cannot add service tcp 192.0.2.2:80 best: the kernel has no scheduler "best" (module ip_vs_best)`,
		"cannot add real server 10.0.0.1:80 weight 1 dr to tcp 192.0.2.2:80: there is no such service",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(rep.Table) != 1 {
		t.Errorf("%d services, want the good one", len(rep.Table))
	}
}

// TestErrnoAtEachOperation: whatever the kernel answers, the pass ends, tells
// the truth about the table, and a later one reaches the goal.
func TestErrnoAtEachOperation(t *testing.T) {
	for _, kind := range ipvsctl.OpKinds {
		for _, errno := range []unix.Errno{unix.EEXIST, unix.ESRCH, unix.ENOENT, unix.EINVAL, unix.ENOBUFS, unix.ENOMEM, unix.EBUSY} {
			t.Run(kind.String()+"/"+errno.Error(), func(t *testing.T) {
				b := newBench(t, entry(vip(1), 1, 2, 3), entry(vip(3), 1))
				b.tamper(ipvsctl.Op{Kind: ipvsctl.StartDaemon, Daemon: ipvsctl.Daemon{Role: ipvsctl.RoleBackup, Interface: "eth0"}})
				g := goal(entry(vip(1), 0, -1, 3, 4), entry(vip(2), 1))
				g.Table[vip(1)] = func() ipvsctl.Entry { e := g.Table[vip(1)]; e.Service.Scheduler = "rr"; return e }()
				g.Owned[vip(3)] = true
				g.ManageDaemons, g.Daemons = true, []ipvsctl.Daemon{{Role: ipvsctl.RoleMaster, Interface: "eth0"}}
				g.Timeouts.UDP = time.Second
				b.k.Fail(kind, errno, 1)
				b.full(g)
				b.k.Fail(kind, errno, 0)
				rep := b.full(g)
				if len(rep.Failed) != 0 {
					t.Errorf("second pass: %v", rep.Failed)
				}
				if now, _ := b.k.Dump(t.Context()); ipvsctl.Diff(now, g) != nil {
					t.Error("the goal is not reached")
				}
			})
		}
	}
}

// TestReadErrors: nothing is written on a table that could not be read.
func TestReadErrors(t *testing.T) {
	for _, m := range []string{"Dump", "Daemons", "Timeouts"} {
		b := newBench(t)
		b.k.FailRead(m, unix.ENOBUFS, 1)
		g := goal(entry(vip(1), 1))
		g.Timeouts.TCP = time.Minute
		if _, err := b.r.Full(t.Context(), g); err == nil || b.k.Writes() != 0 {
			t.Errorf("%s fails: error %v, %d writes", m, err, b.k.Writes())
		}
		if rep := b.quick(g); len(rep.Done) != 3 {
			t.Errorf("after that: %v", rep)
		}
	}
}

func TestTransportErrorIsNoAnswer(t *testing.T) {
	b := newBench(t)
	b.full(goal(entry(vip(1), 1)))
	b.k.Fail(ipvsctl.SetServer, ipvsctl.ErrTransport, 1)
	if _, err := b.r.Quick(t.Context(), goal(entry(vip(1), 2))); err == nil {
		t.Error("a lost answer is no error")
	}
	// Nothing is known now: the quick pass reads first.
	b.tamper(on(ipvsctl.AddServer, 1, 5, 1))
	if rep := b.quick(goal(entry(vip(1), 2))); len(rep.Done) != 3 {
		t.Errorf("after a lost answer: %v", lines(rep.Done))
	}
}

// liar gives a wrong dump once, as the kernel does while somebody writes.
type liar struct {
	*ipvsctltest.Fake
	lie func(ipvsctl.Table)
}

func (l *liar) Dump(ctx context.Context) (ipvsctl.Table, error) {
	t, err := l.Fake.Dump(ctx)
	if l.lie != nil {
		l.lie(t)
		l.lie = nil
	}
	return t, err
}

func TestDumpIsAHint(t *testing.T) {
	for name, lie := range map[string]func(ipvsctl.Table){
		"a server is missing":    func(t ipvsctl.Table) { delete(t[vip(1)].Servers, rs(0)) },
		"a server that was gone": func(t ipvsctl.Table) { t[vip(1)].Servers[rs(8)] = ipvsctl.Server{Key: rs(8), Weight: 1} },
		"a service is missing":   func(t ipvsctl.Table) { delete(t, vip(1)) },
	} {
		t.Run(name, func(t *testing.T) {
			k := &liar{Fake: ipvsctltest.NewFake()}
			r := ipvsctl.NewReconciler(k, nil)
			g := goal(entry(vip(1), 1, 2))
			if _, err := r.Full(t.Context(), g); err != nil {
				t.Fatal(err)
			}
			writes := k.Writes()
			k.lie = lie
			rep, err := r.Full(t.Context(), g)
			if err != nil || len(rep.Drift) != 0 || len(rep.Failed) != 0 || k.Writes() != writes {
				t.Errorf("%v, drift %v, failed %v, %d writes", err, rep.Drift, rep.Failed, k.Writes()-writes)
			}
			// On a first pass the lie costs refused writes, and nothing else.
			k.lie = lie
			r = ipvsctl.NewReconciler(k, nil)
			rep, err = r.Full(t.Context(), g)
			if now, _ := k.Dump(t.Context()); err != nil || len(rep.Failed) != 0 || cmp.Diff(now, rep.Table, cmpAddr) != "" || ipvsctl.Diff(now, g) != nil {
				t.Errorf("first pass: %v, failed %v, table %v", err, rep.Failed, rep.Table)
			}
		})
	}
}

func TestContention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		g := goal(entry(vip(1), 1, 2))
		b.full(g)
		drain := func() { b.tamper(on(ipvsctl.SetServer, 1, 0, 0)) }
		for i := range 3 {
			drain()
			if rep := b.full(g); len(rep.Drift) != 1 || (len(rep.Contended) == 1) != (i == 2) {
				t.Fatalf("repair %d: %v, contended %v", i+1, rep.Drift, rep.Contended)
			}
			time.Sleep(10 * time.Second)
		}
		if !strings.Contains(b.log.String(), "level=WARN") {
			t.Errorf("no warning: %s", b.log.String())
		}
		drain()
		for range 4 {
			if rep := b.full(g); len(rep.Done) != 0 || len(rep.Contended) != 1 {
				t.Errorf("within the pause: %v, contended %v", rep, rep.Contended)
			}
			if rep := b.quick(g); len(rep.Done) != 0 {
				t.Errorf("within the pause, quick: %v", rep)
			}
			time.Sleep(10 * time.Second)
		}
		// Another object is not held back.
		b.tamper(on(ipvsctl.SetServer, 1, 1, 9))
		if rep := b.full(g); len(rep.Done) != 1 {
			t.Errorf("another server: %v", rep)
		}
		time.Sleep(20 * time.Second)
		rep := b.full(g)
		if len(rep.Drift) != 1 || rep.Drift[0].Kind != ipvsctl.DriftWeight || len(rep.Contended) != 0 {
			t.Errorf("after the pause: %v, contended %v", rep.Drift, rep.Contended)
		}
	})
}

func TestContentionOfAService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.r.SetContention(2, time.Minute, time.Minute)
		g := goal(entry(vip(1), 1, 2))
		b.full(g)
		for range 3 {
			b.tamper(on(ipvsctl.DeleteService, 1, 0, 0))
			b.full(g)
			if now, _ := b.k.Dump(t.Context()); len(now) == 0 {
				if len(b.full(g).Contended) != 1 {
					t.Error("left alone and not said")
				}
				return
			}
		}
		t.Error("repaired for ever")
	})
}

func TestDeadline(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.r.Full(ctx, goal(entry(vip(1), 1))); err == nil || b.k.Writes() != 0 {
		t.Errorf("error %v, %d writes after the end", err, b.k.Writes())
	}
}

// TestReconcileProperties: whatever others do and the kernel refuses, a pass
// without refusals reaches the goal, the next one writes nothing, and every
// report's table is the kernel's and never changes afterwards.
func TestReconcileProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := ipvsctltest.NewFake()
		fill(t, f, genTable(6).Draw(t, "have"))
		r := ipvsctl.NewReconciler(f, nil)
		r.SetContention(0, 0, 0)
		type old struct{ report, copy ipvsctl.Table }
		var olds []old
		for range rapid.IntRange(1, 4).Draw(t, "steps") {
			have, _ := f.Dump(t.Context())
			g := genGoal(have).Draw(t, "g")
			pass := r.Quick
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				pass = r.Full
			case 1:
				pass = r.Full
				f.Fail(0, rapid.SampledFrom([]error{unix.EEXIST, unix.ENOENT, unix.ESRCH, unix.ENOBUFS}).Draw(t, "errno"), 1)
				if _, err := r.Full(t.Context(), g); err != nil {
					t.Fatal(err)
				}
				f.Fail(0, nil, 0)
			case 2:
			}
			rep, err := pass(t.Context(), g)
			if err != nil || len(rep.Failed) != 0 {
				t.Fatalf("%v, failed %v", err, rep.Failed)
			}
			now, _ := f.Dump(t.Context())
			if again := ipvsctl.Diff(now, g); len(again) != 0 {
				t.Fatalf("left to do: %q", lines(again))
			}
			if d := cmp.Diff(now, rep.Table, cmpAddr); d != "" {
				t.Fatal(d)
			}
			olds = append(olds, old{rep.Table, rep.Table.Clone()})
			if rapid.Bool().Draw(t, "tamper") {
				theirs := genGoal(now).Draw(t, "theirs")
				if err := f.Tamper(ipvsctl.Diff(now, theirs)...); err != nil {
					t.Fatal(err)
				}
				if _, err := r.Full(t.Context(), g); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, o := range olds {
			if d := cmp.Diff(o.copy, o.report, cmpAddr); d != "" {
				t.Fatalf("a report changed: %s", d)
			}
		}
	})
}

func BenchmarkQuickServers(b *testing.B) {
	f := ipvsctltest.NewFake()
	r := ipvsctl.NewReconciler(f, nil)
	g := ipvsctl.Goal{Table: bigTable(1, 10000)}
	if _, err := r.Full(b.Context(), g); err != nil {
		b.Fatal(err)
	}
	k := g.Table.Keys()[0]
	ref := []ipvsctl.ServerRef{{Service: k, Server: rs(77)}}
	for i := 0; b.Loop(); i++ {
		s := g.Table[k].Servers[rs(77)]
		s.Weight = uint32(i % 2)
		g.Table[k].Servers[rs(77)] = s
		if rep, err := r.QuickServers(b.Context(), g, ref); err != nil || len(rep.Done) > 1 {
			b.Fatal(err, len(rep.Done))
		}
	}
}

func BenchmarkQuick(b *testing.B) {
	f := ipvsctltest.NewFake()
	r := ipvsctl.NewReconciler(f, nil)
	g := ipvsctl.Goal{Table: bigTable(100, 100)}
	if _, err := r.Full(b.Context(), g); err != nil {
		b.Fatal(err)
	}
	k := g.Table.Keys()[50]
	for i := 0; b.Loop(); i++ {
		s := g.Table[k].Servers[rs(77)]
		s.Weight = uint32(i%2) + 2
		g.Table[k].Servers[rs(77)] = s
		if rep, err := r.Quick(b.Context(), g); err != nil || len(rep.Done) != 1 {
			b.Fatal(err, len(rep.Done))
		}
	}
}
