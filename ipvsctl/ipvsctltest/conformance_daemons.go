package ipvsctltest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lvs-ha/ipvsctl"
)

func testMixed(t *testing.T, r *rig) {
	six, four := tcp("[2001:db8::1]:80"), tcp("192.0.2.1:80")
	in6 := withServer(server("10.0.0.1:80", ipvsctl.Tunnel, 1), func(s *ipvsctl.Server) { s.TunnelType, s.TunnelPort = ipvsctl.GUE, 6080 })
	in4 := server("[2001:db8::10]:80", ipvsctl.Tunnel, 1)
	daemon := ipvsctl.Daemon{Role: ipvsctl.RoleMaster, Interface: Interface}
	for _, s := range []ipvsctl.Service{six, four} {
		r.do(svc(ipvsctl.AddService, s), nil)
	}
	r.do(rs(ipvsctl.AddServer, six, withServer(in6, func(s *ipvsctl.Server) { s.Forward = ipvsctl.NAT })), unix.EINVAL)
	r.do(rs(ipvsctl.AddServer, six, withServer(in6, func(s *ipvsctl.Server) { s.Forward = ipvsctl.Direct })), unix.EINVAL)
	r.do(rs(ipvsctl.AddServer, six, in6), nil)
	r.do(rs(ipvsctl.AddServer, four, in4), nil)
	r.want(table(entry(six, in6), entry(four, in4)))
	// The two exclude each other.
	r.do(ipvsctl.Op{Kind: ipvsctl.StartDaemon, Daemon: daemon}, unix.EINVAL)
	r.do(rs(ipvsctl.DeleteServer, six, in6), nil)
	r.do(rs(ipvsctl.DeleteServer, four, in4), nil)
	r.do(ipvsctl.Op{Kind: ipvsctl.StartDaemon, Daemon: daemon}, nil)
	r.do(rs(ipvsctl.AddServer, six, in6), unix.EINVAL)
	r.do(ipvsctl.Op{Kind: ipvsctl.StopDaemon, Daemon: daemon}, nil)
	r.do(rs(ipvsctl.AddServer, six, in6), nil)
}

// testBatch makes more changes at once than fit into one message, with
// refusals between, and wants each answer at its place.
func testBatch(t *testing.T, r *rig) {
	s, none := tcp("192.0.2.1:80"), tcp("192.0.2.2:80")
	ops := []ipvsctl.Op{svc(ipvsctl.AddService, s)}
	wants := []error{nil}
	want := entry(s)
	for i := range 700 {
		srv := server(fmt.Sprintf("10.1.%d.%d:80", i/200, i%200+1), ipvsctl.NAT, uint32(i))
		o, err := rs(ipvsctl.AddServer, s, srv), error(nil)
		switch {
		case i%50 == 7:
			o, err = rs(ipvsctl.AddServer, none, srv), unix.ESRCH
		case i%50 == 8:
			o, err = rs(ipvsctl.DeleteServer, s, srv), unix.ENOENT
		case i%50 == 9:
			o, err = rs(ipvsctl.AddServer, s, ipvsctl.Server{}), unix.EINVAL
		case i == 333:
			o, err = svc(ipvsctl.AddService, s), unix.EEXIST
		case i == 444:
			o, err = svc(ipvsctl.AddService, with(none, func(s *ipvsctl.Service) { s.Scheduler = "nosuch" })), unix.ENOENT
		default:
			want.Servers[srv.Key] = srv
		}
		ops, wants = append(ops, o), append(wants, err)
	}
	errs := r.k.Apply(t.Context(), ops)
	if len(errs) != len(ops) {
		t.Fatalf("%d answers to %d changes", len(errs), len(ops))
	}
	for i, err := range errs {
		if !errors.Is(err, wants[i]) {
			t.Errorf("change %d, %v: %v, want %v", i, ops[i], err, wants[i])
		}
	}
	r.want(table(want))
	// All of them refused: the answers must fit, too.
	for i := range ops {
		ops[i] = rs(ipvsctl.AddServer, none, server("10.0.0.1:80", ipvsctl.NAT, 1))
	}
	for i, err := range r.k.Apply(t.Context(), ops) {
		if !errors.Is(err, unix.ESRCH) {
			t.Fatalf("change %d: %v, want ESRCH", i, err)
		}
	}
	r.want(table(want))
}

func testDaemons(t *testing.T, r *rig) {
	plain := ipvsctl.Daemon{Role: ipvsctl.RoleMaster, Interface: Interface}
	full := ipvsctl.Daemon{Role: ipvsctl.RoleBackup, Interface: Interface, ID: 255, MaxLen: 1400, Group: netip.MustParseAddr("224.0.0.99"), Port: 9000, TTL: 3}
	defaults := ipvsctl.Daemon{Role: ipvsctl.RoleMaster, Interface: Interface, MaxLen: 1472, Group: netip.MustParseAddr("224.0.0.81"), Port: 8848, TTL: 1}
	expect := func(want ...ipvsctl.Daemon) {
		t.Helper()
		got, err := r.k.Daemons(t.Context())
		if d := cmp.Diff(append([]ipvsctl.Daemon{}, want...), append([]ipvsctl.Daemon{}, got...), sameAddr); d != "" || err != nil {
			t.Errorf("%v, daemons (-want +got): %s", err, d)
		}
	}
	r.do(ipvsctl.Op{Kind: ipvsctl.StartDaemon, Daemon: full}, nil)
	expect(full)
	r.do(ipvsctl.Op{Kind: ipvsctl.StartDaemon, Daemon: plain}, nil)
	expect(defaults, full)
	r.do(ipvsctl.Op{Kind: ipvsctl.StopDaemon, Daemon: ipvsctl.Daemon{Role: ipvsctl.RoleBackup}}, nil)
	expect(defaults)
	r.do(ipvsctl.Op{Kind: ipvsctl.StopDaemon, Daemon: plain}, nil)
	expect()
	// Lengths are put into range.
	for _, c := range []struct {
		role      ipvsctl.Role
		give, get uint16
	}{{ipvsctl.RoleBackup, 100, 1024}, {ipvsctl.RoleBackup, 65535, 65507}, {ipvsctl.RoleMaster, 100, 100}, {ipvsctl.RoleMaster, 65535, 65507}} {
		d := defaults
		d.Role, d.MaxLen = c.role, c.give
		r.do(ipvsctl.Op{Kind: ipvsctl.StartDaemon, Daemon: d}, nil)
		d.MaxLen = c.get
		expect(d)
		r.do(ipvsctl.Op{Kind: ipvsctl.StopDaemon, Daemon: d}, nil)
	}
}

func testDaemonErrors(t *testing.T, r *rig) {
	d := ipvsctl.Daemon{Role: ipvsctl.RoleMaster, Interface: Interface, ID: 1}
	start := func(change func(*ipvsctl.Daemon)) ipvsctl.Op {
		d := d
		change(&d)
		return ipvsctl.Op{Kind: ipvsctl.StartDaemon, Daemon: d}
	}
	r.do(ipvsctl.Op{Kind: ipvsctl.StopDaemon, Daemon: d}, unix.ESRCH)
	r.do(start(func(d *ipvsctl.Daemon) { d.Interface = NoInterface }), unix.ENODEV)
	r.do(start(func(d *ipvsctl.Daemon) { d.Interface = "a-name-that-is-too-long-for-one" }), unix.ENODEV)
	r.do(start(func(d *ipvsctl.Daemon) { d.Role = 0 }), unix.EINVAL)
	r.do(start(func(d *ipvsctl.Daemon) { d.Group = netip.MustParseAddr("192.0.2.1") }), unix.EINVAL)
	r.do(start(func(*ipvsctl.Daemon) {}), nil)
	r.do(start(func(d *ipvsctl.Daemon) { d.ID = 2 }), unix.EEXIST)
	if got, err := r.k.Daemons(t.Context()); err != nil || len(got) != 1 || got[0].ID != 1 {
		t.Errorf("daemons %v, %v", got, err)
	}
}

func testTimeouts(t *testing.T, r *rig) {
	get := func() ipvsctl.Timeouts {
		t.Helper()
		got, err := r.k.Timeouts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	set := func(to ipvsctl.Timeouts, want error) {
		t.Helper()
		r.do(ipvsctl.Op{Kind: ipvsctl.SetTimeouts, Timeouts: to}, want)
	}
	want := get()
	if want.TCP == 0 || want.TCPFin == 0 || want.UDP == 0 {
		t.Errorf("at first %v", want)
	}
	for _, to := range []ipvsctl.Timeouts{{TCP: 100 * time.Second}, {TCPFin: 7 * time.Second}, {UDP: 24 * time.Hour}, {TCP: time.Second, TCPFin: 2 * time.Second, UDP: 3 * time.Second}} {
		set(to, nil)
		for _, x := range []struct{ from, to *time.Duration }{{&to.TCP, &want.TCP}, {&to.TCPFin, &want.TCPFin}, {&to.UDP, &want.UDP}} {
			if *x.from != 0 {
				*x.to = *x.from
			}
		}
		if got := get(); got != want {
			t.Errorf("after %v: %v, want %v", to, got, want)
		}
	}
	set(ipvsctl.Timeouts{}, nil)
	set(ipvsctl.Timeouts{TCP: -time.Second}, unix.EINVAL)
	set(ipvsctl.Timeouts{UDP: 1 << 31 * time.Second}, unix.EINVAL)
	set(ipvsctl.Timeouts{UDP: (1<<31 - 1) * time.Second}, unix.EINVAL)
	if got := get(); got != want {
		t.Errorf("after refusals: %v, want %v", got, want)
	}
}

func testStats(t *testing.T, r *rig) {
	s, empty := tcp("192.0.2.1:80"), ipvsctl.Service{Key: ipvsctl.FWMarkKey(2, 6), Scheduler: "rr"}
	r.do(svc(ipvsctl.AddService, s), nil)
	r.do(svc(ipvsctl.AddService, empty), nil)
	want := map[ipvsctl.ServiceKey]ipvsctl.EntryStats{
		s.Key:     {Servers: map[ipvsctl.ServerKey]ipvsctl.ServerStats{}},
		empty.Key: {Servers: map[ipvsctl.ServerKey]ipvsctl.ServerStats{}},
	}
	for _, srv := range Servers() {
		r.do(rs(ipvsctl.AddServer, s, srv), nil)
		want[s.Key].Servers[srv.Key] = ipvsctl.ServerStats{Weight: srv.Weight}
	}
	got, err := r.k.Stats(t.Context())
	if d := cmp.Diff(want, got, sameAddr); d != "" || err != nil {
		t.Errorf("%v, stats (-want +got): %s", err, d)
	}
	in := r.k.(ipvsctl.Inspector)
	absent := tcp("192.0.2.77:80").Key
	if err := in.Zero(t.Context(), &absent); !errors.Is(err, unix.ESRCH) {
		t.Errorf("zero of an absent service: %v, want ESRCH", err)
	}
	for _, k := range []*ipvsctl.ServiceKey{nil, &s.Key, &empty.Key} {
		if err := in.Zero(t.Context(), k); err != nil {
			t.Errorf("zero of %v: %v", k, err)
		}
	}
}

// testReconcile makes goals true one after the other; each second pass writes nothing.
func testReconcile(t *testing.T, r *rig) {
	k := &counting{Kernel: r.k}
	rec := ipvsctl.NewReconciler(k, nil)
	rec.SetContention(0, 0, 0)
	foreign := tcp("198.51.100.1:25")
	r.do(svc(ipvsctl.AddService, foreign), nil)
	var all []ipvsctl.Entry
	owned := map[ipvsctl.ServiceKey]bool{}
	for _, s := range Services() {
		owned[s.Key] = true
		e := entry(s)
		if s.Key.Family == 4 {
			e = entry(s, Servers()...)
		}
		all = append(all, e)
	}
	changed := make([]ipvsctl.Entry, len(all))
	for i, e := range all {
		e = e.Clone()
		e.Service.Scheduler = "sed"
		for j, sk := range e.Keys() {
			srv := e.Servers[sk]
			srv.Weight = uint32(j % 3)
			srv.Forward = ipvsctl.NAT
			e.Servers[sk] = srv
			if j%4 == 3 {
				delete(e.Servers, sk)
			}
		}
		changed[i] = e
	}
	both := []ipvsctl.Daemon{{Role: ipvsctl.RoleMaster, Interface: Interface, ID: 5}, {Role: ipvsctl.RoleBackup, Interface: Interface, ID: 5, MaxLen: 20}}
	for i, g := range []ipvsctl.Goal{
		{Table: table(all...)},
		{Table: table(all[:5]...), ManageDaemons: true, Daemons: both},
		{Table: table(changed...), ManageDaemons: true, Daemons: both[:1]},
		{Table: table(all...), ManageDaemons: true, Timeouts: ipvsctl.Timeouts{TCP: 77 * time.Second, UDP: 5 * time.Second}},
		{Table: table(changed[3:]...), ManageDaemons: true, Daemons: both[1:]},
		{},
	} {
		g.Owned = owned
		for pass, f := range []func(context.Context, ipvsctl.Goal) (ipvsctl.Report, error){rec.Quick, rec.Full, rec.Quick, rec.Full} {
			k.writes = 0
			rep, err := f(t.Context(), g)
			if err != nil || len(rep.Failed) > 0 || len(rep.Drift) > 0 || rep.Unmanaged != 1 {
				t.Fatalf("goal %d, pass %d: %v, %v, %v", i, pass, err, rep, rep.Failed)
			}
			if pass > 0 && k.writes > 0 {
				t.Errorf("goal %d, pass %d: %d writes: %v", i, pass, k.writes, rep.Done)
			}
		}
	}
	r.want(table(entry(foreign)))
}

// testExclusive: what an exclusive goal does not name goes, whatever its sort
// and with servers in it, but neither in the first complete pass nor in a quick
// one; services of ours and a sync daemon that is not managed stand.
func testExclusive(t *testing.T, r *rig) {
	k := &counting{Kernel: r.k}
	rec := ipvsctl.NewReconciler(k, nil)
	ours, foreign := entry(tcp("192.0.2.200:80"), Servers()...), table()
	for _, s := range Services() {
		r.do(svc(ipvsctl.AddService, s), nil)
		e := entry(s)
		if s.Key.Family == 4 {
			e = entry(s, Servers()...)
		}
		for _, sk := range e.Keys() {
			r.do(rs(ipvsctl.AddServer, s, e.Servers[sk]), nil)
		}
		foreign[s.Key] = e
	}
	daemon := ipvsctl.Daemon{Role: ipvsctl.RoleMaster, Interface: Interface, ID: 5}
	r.do(ipvsctl.Op{Kind: ipvsctl.StartDaemon, Daemon: daemon}, nil)
	goal := ipvsctl.Goal{Table: table(ours), Exclusive: true}
	for i, c := range []struct {
		name           string
		pass           func(context.Context, ipvsctl.Goal) (ipvsctl.Report, error)
		writes, remain int
	}{
		{"first", rec.Full, 1 + len(ours.Servers), len(foreign)},
		{"quick", rec.Quick, 0, len(foreign)},
		{"second", rec.Full, len(foreign), 0},
		{"third", rec.Full, 0, 0},
	} {
		k.writes = 0
		rep, err := c.pass(t.Context(), goal)
		if err != nil || len(rep.Failed) > 0 || len(rep.Drift) > 0 || k.writes != c.writes || rep.Unmanaged != c.remain {
			t.Fatalf("%s pass: %v, %v, %v, %d writes, want %d", c.name, err, rep, rep.Failed, k.writes, c.writes)
		}
		want := table(ours)
		if i < 2 {
			maps.Copy(want, foreign)
		}
		r.want(want)
	}
	// Somebody adds one while we look on: that is drift, and goes at once.
	r.do(svc(ipvsctl.AddService, tcp("198.51.100.1:25")), nil)
	rep, err := rec.Full(t.Context(), goal)
	if err != nil || len(rep.Failed) > 0 || len(rep.Drift) != 1 || rep.Drift[0].Kind != ipvsctl.DriftExtraService {
		t.Errorf("one that was added: %v, %v, %v", err, rep, rep.Failed)
	}
	r.want(table(ours))
	if d, err := r.k.Daemons(t.Context()); err != nil || len(d) != 1 {
		t.Errorf("sync daemons %v, %v", d, err)
	}
	// A goal that names nothing takes all of it.
	goal = ipvsctl.Goal{Exclusive: true, Owned: map[ipvsctl.ServiceKey]bool{ours.Service.Key: true}}
	if rep, err := rec.Full(t.Context(), goal); err != nil || len(rep.Failed) > 0 || rep.Unmanaged != 0 {
		t.Errorf("nothing is named: %v, %v", err, rep)
	}
	r.want(ipvsctl.Table{})
}

type counting struct {
	ipvsctl.Kernel
	writes int
}

func (c *counting) Apply(ctx context.Context, ops []ipvsctl.Op) []error {
	c.writes += len(ops)
	return c.Kernel.Apply(ctx, ops)
}

func testContext(t *testing.T, r *rig) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.k.Dump(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("dump: %v", err)
	}
	s := tcp("192.0.2.1:80")
	for i, err := range r.k.Apply(ctx, []ipvsctl.Op{svc(ipvsctl.AddService, s), rs(ipvsctl.AddServer, s, server("10.0.0.1:80", ipvsctl.NAT, 1))}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("change %d: %v", i, err)
		}
	}
	r.want(ipvsctl.Table{})
}

func testConcurrent(t *testing.T, r *rig) {
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			s := tcp(fmt.Sprintf("192.0.2.%d:80", i+1))
			for n := range 20 {
				ops := []ipvsctl.Op{svc(ipvsctl.AddService, s), rs(ipvsctl.AddServer, s, server("10.0.0.1:80", ipvsctl.NAT, uint32(n))), svc(ipvsctl.DeleteService, s)}
				for _, err := range r.k.Apply(t.Context(), ops) {
					if err != nil {
						t.Error(err)
					}
				}
				if _, err := r.k.Dump(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r.want(ipvsctl.Table{})
}

func testClosed(t *testing.T, r *rig) {
	if err := r.k.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.k.Dump(t.Context()); !errors.Is(err, unix.EBADF) {
		t.Errorf("dump after close: %v, want EBADF", err)
	}
	r.do(svc(ipvsctl.AddService, tcp("192.0.2.1:80")), unix.EBADF)
}
