package ipvsctltest

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lvs-ha/ipvsctl"
)

// Interface is one that exists where Conformance runs: up, with an IPv4
// address. No interface is called NoInterface.
const (
	Interface   = "ipvstest0"
	NoInterface = "ipvstest9"
)

// Conformance holds a kernel to what the reconciler takes for granted. Each
// call of open gives a handle on an empty table of its own.
func Conformance(t *testing.T, open func(t *testing.T) ipvsctl.Kernel) {
	for _, c := range []struct {
		name string
		f    func(*testing.T, *rig)
	}{
		{"Empty", testEmpty},
		{"Services", testServices},
		{"ServiceErrors", testServiceErrors},
		{"ServiceInPlace", testServiceInPlace},
		{"Servers", testServers},
		{"ServerErrors", testServerErrors},
		{"ServerInPlace", testServerInPlace},
		{"MixedFamilies", testMixed},
		{"Batch", testBatch},
		{"Daemons", testDaemons},
		{"DaemonErrors", testDaemonErrors},
		{"Timeouts", testTimeouts},
		{"Stats", testStats},
		{"Reconcile", testReconcile},
		{"Exclusive", testExclusive},
		{"Context", testContext},
		{"Concurrent", testConcurrent},
		{"Closed", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := open(t)
			t.Cleanup(func() { k.Close() })
			c.f(t, &rig{t, k})
		})
	}
}

type rig struct {
	t *testing.T
	k ipvsctl.Kernel
}

// do makes one change and wants an errno, or nil.
func (r *rig) do(o ipvsctl.Op, want error) {
	r.t.Helper()
	errs := r.k.Apply(r.t.Context(), []ipvsctl.Op{o})
	if len(errs) != 1 {
		r.t.Fatalf("%v: %d answers", o, len(errs))
	}
	if want == nil && errs[0] != nil || want != nil && !errors.Is(errs[0], want) {
		r.t.Errorf("%v: %v, want %v", o, errs[0], want)
	}
}

func (r *rig) table() ipvsctl.Table {
	r.t.Helper()
	tab, err := r.k.Dump(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return tab
}

func (r *rig) want(tab ipvsctl.Table) {
	r.t.Helper()
	if d := cmp.Diff(tab, r.table(), sameAddr); d != "" {
		r.t.Errorf("table (-want +got): %s", d)
	}
}

var sameAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func testEmpty(t *testing.T, r *rig) {
	if tab := r.table(); len(tab) != 0 {
		t.Errorf("table %v", tab)
	}
	if d, err := r.k.Daemons(t.Context()); err != nil || len(d) != 0 {
		t.Errorf("daemons %v, %v", d, err)
	}
	if s, err := r.k.Stats(t.Context()); err != nil || len(s) != 0 {
		t.Errorf("stats %v, %v", s, err)
	}
	if errs := r.k.Apply(t.Context(), nil); len(errs) != 0 {
		t.Errorf("no changes: %v", errs)
	}
	if sr, ok := r.k.(ipvsctl.ServiceReader); !ok {
		t.Error("is no ServiceReader")
	} else if _, err := sr.ReadService(t.Context(), tcp("192.0.2.1:80").Key); !errors.Is(err, unix.ESRCH) {
		t.Errorf("reading an absent service: %v, want ESRCH", err)
	}
	if in, ok := r.k.(ipvsctl.Inspector); !ok {
		t.Error("is no Inspector")
	} else if i, err := in.Info(t.Context()); err != nil || i.Version != "1.2.1" || i.ConnTableSize == 0 {
		t.Errorf("info %+v, %v", i, err)
	}
}

func testServices(t *testing.T, r *rig) {
	var es []ipvsctl.Entry
	for _, s := range Services() {
		r.do(svc(ipvsctl.AddService, s), nil)
		es = append(es, entry(s))
	}
	r.want(table(es...))
	for _, e := range es {
		got, err := r.k.(ipvsctl.ServiceReader).ReadService(t.Context(), e.Service.Key)
		if d := cmp.Diff(e, got, sameAddr); d != "" || err != nil {
			t.Errorf("%v: %v, %s", e.Service, err, d)
		}
	}
	for _, s := range Services() {
		r.do(svc(ipvsctl.DeleteService, ipvsctl.Service{Key: s.Key}), nil)
	}
	r.want(ipvsctl.Table{})
}

func testServiceErrors(t *testing.T, r *rig) {
	for _, s := range Services() {
		r.do(svc(ipvsctl.SetService, s), unix.ESRCH)
		r.do(svc(ipvsctl.DeleteService, s), unix.ESRCH)
		r.do(svc(ipvsctl.AddService, s), nil)
		r.do(svc(ipvsctl.AddService, s), unix.EEXIST)
	}
	s := tcp("192.0.2.99:80")
	for _, kind := range []ipvsctl.OpKind{ipvsctl.AddService, ipvsctl.SetService} {
		r.do(svc(kind, with(s, func(s *ipvsctl.Service) { s.Scheduler = "nosuch" })), unix.ENOENT)
		r.do(svc(kind, with(s, func(s *ipvsctl.Service) { s.PEName = "nosuch" })), unix.ENOENT)
		r.do(svc(kind, with(s, func(s *ipvsctl.Service) { s.Flags, s.PersistPrefix = 1, 33 })), unix.EINVAL)
		if kind == ipvsctl.AddService {
			r.do(svc(kind, s), nil)
		}
	}
	r.do(svc(ipvsctl.AddService, ipvsctl.Service{Scheduler: "rr"}), unix.EAFNOSUPPORT)
	r.do(svc(ipvsctl.AddService, ipvsctl.Service{Key: ipvsctl.ServiceKey{Family: 4}, Scheduler: "rr"}), unix.EINVAL)
	r.do(svc(ipvsctl.AddService, ipvsctl.Service{Key: ipvsctl.ServiceKey{Family: 6, Addr: ap("192.0.2.1:1").Addr()}, Scheduler: "rr"}), unix.EINVAL)
	r.do(ipvsctl.Op{}, unix.EINVAL)
	if got := r.table()[s.Key].Service; got != s.Canonical() {
		t.Errorf("after refused changes: %v, want %v", got, s)
	}
}

func testServiceInPlace(t *testing.T, r *rig) {
	for _, base := range []ipvsctl.Service{tcp("192.0.2.1:80"), tcp("[2001:db8::1]:80"), {Key: ipvsctl.FWMarkKey(3, 4), Scheduler: "rr"}} {
		srv := server("10.0.0.1:80", ipvsctl.Tunnel, 3)
		if base.Key.Family == 6 {
			srv = server("[2001:db8::10]:80", ipvsctl.Tunnel, 3)
		}
		r.do(svc(ipvsctl.AddService, base), nil)
		r.do(rs(ipvsctl.AddServer, base, srv), nil)
		now := base
		for _, change := range []func(*ipvsctl.Service){
			func(s *ipvsctl.Service) { s.Scheduler = "sh" },
			func(s *ipvsctl.Service) { s.Flags |= ipvsctl.FlagSched1 },
			func(s *ipvsctl.Service) { s.Flags |= ipvsctl.FlagPersistent; s.Timeout = 60 * time.Second },
			func(s *ipvsctl.Service) { s.PersistPrefix = 20 },
			func(s *ipvsctl.Service) { s.PEName = "sip" },
			func(s *ipvsctl.Service) { s.PEName = "" },
			func(s *ipvsctl.Service) { s.Flags = 0 },
			func(s *ipvsctl.Service) { s.Scheduler = "rr" },
		} {
			change(&now)
			r.do(svc(ipvsctl.SetService, now), nil)
			r.want(table(entry(now, srv)))
		}
		r.do(svc(ipvsctl.DeleteService, base), nil)
	}
}

func testServers(t *testing.T, r *rig) {
	four, mark := tcp("192.0.2.1:80"), ipvsctl.Service{Key: ipvsctl.FWMarkKey(9, 4), Scheduler: "mh"}
	six := tcp("[2001:db8::1]:80")
	for _, s := range []ipvsctl.Service{four, mark, six} {
		r.do(svc(ipvsctl.AddService, s), nil)
	}
	for _, srv := range Servers() {
		r.do(rs(ipvsctl.AddServer, four, srv), nil)
		r.do(rs(ipvsctl.AddServer, mark, srv), nil)
	}
	sixes := []ipvsctl.Server{
		server("[2001:db8::10]:80", ipvsctl.NAT, 1), server("[2001:db8::11]:8080", ipvsctl.NAT, 70000),
		server("[2001:db8::12]:80", ipvsctl.Direct, 0), server("[::1]:80", ipvsctl.Local, 1),
		withServer(server("[2001:db8::13]:80", ipvsctl.Tunnel, 1), func(s *ipvsctl.Server) { s.TunnelType, s.TunnelPort = ipvsctl.GUE, 6080 }),
	}
	for _, srv := range sixes {
		r.do(rs(ipvsctl.AddServer, six, srv), nil)
	}
	want := table(entry(four, Servers()...), entry(mark, Servers()...), entry(six, sixes...))
	r.want(want)
	for _, srv := range Servers() {
		r.do(rs(ipvsctl.DeleteServer, mark, ipvsctl.Server{Key: srv.Key}), nil)
	}
	want[mark.Key] = entry(mark)
	r.want(want)
	r.do(svc(ipvsctl.DeleteService, four), nil)
	delete(want, four.Key)
	r.want(want)
}

func testServerErrors(t *testing.T, r *rig) {
	s := tcp("192.0.2.1:80")
	a, b := server("10.0.0.1:80", ipvsctl.NAT, 1), server("10.0.0.1:81", ipvsctl.NAT, 1)
	all := []ipvsctl.OpKind{ipvsctl.AddServer, ipvsctl.SetServer, ipvsctl.DeleteServer}
	for _, kind := range all {
		r.do(rs(kind, s, a), unix.ESRCH)
	}
	r.do(svc(ipvsctl.AddService, s), nil)
	r.do(rs(ipvsctl.SetServer, s, a), unix.ENOENT)
	r.do(rs(ipvsctl.DeleteServer, s, a), unix.ENOENT)
	r.do(rs(ipvsctl.AddServer, s, a), nil)
	r.do(rs(ipvsctl.AddServer, s, a), unix.EEXIST)
	for _, kind := range all {
		r.do(rs(kind, s, ipvsctl.Server{}), unix.EINVAL)
		if kind == ipvsctl.DeleteServer {
			continue
		}
		srv := b
		if kind == ipvsctl.SetServer {
			srv = a
		}
		for _, c := range []struct {
			want   error
			change func(*ipvsctl.Server)
		}{
			{unix.ERANGE, func(s *ipvsctl.Server) { s.Weight = 1 << 31 }},
			{unix.ERANGE, func(s *ipvsctl.Server) { s.Lower = 1 }},
			{unix.ERANGE, func(s *ipvsctl.Server) { s.Lower, s.Upper = 6, 5 }},
			{unix.EINVAL, func(s *ipvsctl.Server) { s.Forward, s.TunnelType = ipvsctl.Tunnel, ipvsctl.GUE }},
		} {
			r.do(rs(kind, s, withServer(srv, c.change)), c.want)
		}
	}
	for _, bad := range []string{"224.0.0.1:80", "0.0.0.0:80", "255.255.255.255:80"} {
		r.do(rs(ipvsctl.AddServer, s, server(bad, ipvsctl.NAT, 1)), unix.EINVAL)
	}
	six := tcp("[2001:db8::1]:80")
	r.do(svc(ipvsctl.AddService, six), nil)
	for _, bad := range []string{"[ff02::1]:80", "[::]:80", "[fe80::dead]:80"} {
		r.do(rs(ipvsctl.AddServer, six, server(bad, ipvsctl.NAT, 1)), unix.EINVAL)
	}
	r.want(table(entry(s, a), entry(six)))
}

func testServerInPlace(t *testing.T, r *rig) {
	s := tcp("192.0.2.1:80")
	other := server("10.0.0.9:80", ipvsctl.Direct, 9)
	now := server("10.0.0.1:80", ipvsctl.Direct, 1)
	r.do(svc(ipvsctl.AddService, s), nil)
	r.do(rs(ipvsctl.AddServer, s, other), nil)
	r.do(rs(ipvsctl.AddServer, s, now), nil)
	for _, change := range []func(*ipvsctl.Server){
		func(s *ipvsctl.Server) { s.Weight = 0 },
		func(s *ipvsctl.Server) { s.Weight = 70000 },
		func(s *ipvsctl.Server) { s.Forward = ipvsctl.NAT },
		func(s *ipvsctl.Server) { s.Upper, s.Lower = 10, 5 },
		func(s *ipvsctl.Server) { s.Upper, s.Lower = 0, 0 },
		func(s *ipvsctl.Server) { s.Forward, s.TunnelType, s.TunnelPort = ipvsctl.Tunnel, ipvsctl.GUE, 6080 },
		func(s *ipvsctl.Server) { s.TunnelFlags = 1 },
		func(s *ipvsctl.Server) { s.TunnelType, s.TunnelPort = ipvsctl.GRE, 0 },
		func(s *ipvsctl.Server) { s.TunnelType, s.TunnelFlags = ipvsctl.IPIP, 0 },
	} {
		change(&now)
		r.do(rs(ipvsctl.SetServer, s, now), nil)
		r.want(table(entry(s, now, other)))
	}
}
