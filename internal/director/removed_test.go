package director

import (
	"net/netip"
	"testing"

	"lvs-ha/ipvsctl"
)

func TestTellRemoved(t *testing.T) {
	svc := func(port uint16) ipvsctl.Service {
		return ipvsctl.Service{Key: ipvsctl.ServiceKey{Protocol: ipvsctl.TCP, Addr: netip.MustParseAddr("192.0.2.1"), Port: port, Family: 4}}
	}
	key := func(n byte) ipvsctl.ServerKey {
		return ipvsctl.ServerKey{Addr: netip.AddrFrom4([4]byte{10, 0, 0, n}), Port: 80}
	}
	entry := func(port uint16, servers ...byte) ipvsctl.Entry {
		e := ipvsctl.Entry{Service: svc(port), Servers: map[ipvsctl.ServerKey]ipvsctl.Server{}}
		for _, n := range servers {
			e.Servers[key(n)] = ipvsctl.Server{Key: key(n), Forward: ipvsctl.Direct, Weight: uint32(n)}
		}
		return e
	}
	var got []ipvsctl.Op
	d := New(Options{Removed: func(ops []ipvsctl.Op) { got = append(got, ops...) }})
	d.top = NewTopology(config())
	d.kernel.table.take(ipvsctl.Table{svc(1).Key: entry(1, 1, 2), svc(2).Key: entry(2, 3)})
	d.kernelReport(kernelResult{err: ipvsctlErr{}, report: ipvsctl.Report{Done: []ipvsctl.Op{
		{Kind: ipvsctl.AddServer, Service: svc(1), Server: ipvsctl.Server{Key: key(9)}},
		{Kind: ipvsctl.DeleteServer, Service: svc(1), Server: ipvsctl.Server{Key: key(2)}},
		{Kind: ipvsctl.DeleteService, Service: svc(2)},
	}}})
	if len(got) != 2 {
		t.Fatal(got)
	}
	for i, want := range []struct {
		port uint16
		n    byte
	}{{1, 2}, {2, 3}} {
		op := got[i]
		if op.Kind != ipvsctl.DeleteServer || op.Service.Key.Port != want.port || op.Server.Key != key(want.n) || op.Server.Forward != ipvsctl.Direct {
			t.Errorf("%+v", op)
		}
	}
	got = nil
	d.kernelReport(kernelResult{err: ipvsctlErr{}, report: ipvsctl.Report{Done: []ipvsctl.Op{{Kind: ipvsctl.SetServer, Service: svc(1)}}}})
	if got != nil {
		t.Error("told of nothing", got)
	}
}

// ipvsctlErr ends a pass in the middle: what was done before counts.
type ipvsctlErr struct{}

func (ipvsctlErr) Error() string { return "the kernel went away" }
