package speaker

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// fakeHolder notes orders; the test reports for it.
type fakeHolder struct {
	orders    []string
	n         uint64
	claim     func(netip.Addr, string, net.HardwareAddr)
	configure int
}

func (h *fakeHolder) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (h *fakeHolder) Hold() uint64                  { h.n++; h.note("hold"); return h.n }
func (h *fakeHolder) Drop() uint64                  { h.n++; h.note("drop"); return h.n }

func (h *fakeHolder) Announce(full bool) {
	if full {
		h.note("announce")
	} else {
		h.note("announce once")
	}
}

func (h *fakeHolder) Quiet()                                               { h.note("quiet") }
func (h *fakeHolder) Reconfigure(vrrp.Instance)                            { h.configure++ }
func (h *fakeHolder) OnClaim(f func(netip.Addr, string, net.HardwareAddr)) { h.claim = f }
func (h *fakeHolder) Present() []link.AddressStatus                        { return nil }
func (h *fakeHolder) Announced() (arp, na, errors uint64)                  { return 1, 2, 3 }
func (h *fakeHolder) note(s string)                                        { h.orders = append(h.orders, s) }

func (h *fakeHolder) take() string {
	s := strings.Join(h.orders, ", ")
	h.orders = nil
	return s
}

// rig is a loop without descriptors, one instance, and a socket pair's end
// where it sends to.
type rig struct {
	t   *testing.T
	l   *loop
	in  *instance
	h   *fakeHolder
	log *bytes.Buffer
	end bool
}

var (
	self = netip.MustParseAddr("10.0.0.1")
	peer = netip.MustParseAddr("10.0.0.2")
	vip4 = netip.MustParseAddr("10.0.0.100")
)

func testSpec(priority uint8) vrrp.Instance {
	return vrrp.Instance{
		Name: "edge", Interface: "lo",
		Config: vrrp.Config{VRID: 7, Version: vrrp.V3, Family: vrrp.IPv4, Priority: priority, Interval: 100 * time.Millisecond,
			Preempt: true, Addresses: []netip.Addr{vip4}},
		Addresses: []vrrp.Address{{Prefix: netip.MustParsePrefix("10.0.0.100/32")}},
		Lifetime:  6 * time.Second,
	}
}

// newRig has its instance wait for an interface. Sends go nowhere and fail,
// unless the port gets a descriptor.
func newRig(t *testing.T, spec vrrp.Instance) *rig {
	r := &rig{t: t, h: &fakeHolder{}, log: &bytes.Buffer{}}
	box, err := newMailbox()
	if err != nil {
		t.Fatal(err)
	}
	r.l = newLoop(box, newOutbox(), slog.New(slog.NewTextHandler(r.log, nil)))
	p := &port{key: keyOf(&spec), fd: -1, stop: func() {}}
	r.in = newInstance(spec, p, r.l)
	r.in.holder = r.h
	r.in.end = func() { r.end = true }
	r.l.apply(&change{ports: []*port{p}, add: []*instance{r.in}})
	return r
}

// connect gives the instance its interface, and a descriptor to send through.
func (r *rig) connect() {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	unix.Close(fds[1])
	r.t.Cleanup(func() { closePort(r.in.port) })
	r.in.port.fd = fds[0]
	r.in.port.iface = Interface{Name: "lo", Index: 1, Up: true, Addresses: []InterfaceAddress{{Prefix: netip.PrefixFrom(self, 24)}}}
	r.in.interfaceChanged()
}

// lapse moves the instance to its next deadline.
func (r *rig) lapse() {
	d, ok := r.in.deadline()
	if !ok {
		r.t.Fatal("no deadline")
	}
	r.in.tick(d)
}

func (r *rig) state(want vrrp.State) {
	r.t.Helper()
	if s := r.in.machine.State(); s != want {
		r.t.Fatalf("%s, want %s; log:\n%s", s, want, r.log)
	}
}

func (r *rig) ready() { r.l.takePosture(link.Posture{Ready: true}) }

// master brings the instance to hold its addresses.
func (r *rig) master() {
	r.t.Helper()
	r.connect()
	r.ready()
	r.lapse()
	r.state(vrrp.Master)
	r.in.reported(Report{Phase: Held, Order: r.h.n})
}

func advert(priority uint8, from netip.Addr) *packet {
	a := vrrp.Advertisement{Version: vrrp.V3, VRID: 7, Priority: priority, Interval: 100 * time.Millisecond, Addresses: []netip.Addr{vip4}}
	return &packet{src: from, dst: group4, ttl: 255, at: now(),
		payload: a.Append(nil, vrrp.ChecksumPseudoHeader, from, group4)}
}

func (r *rig) status() link.InstanceStatus {
	buf := r.l.copyTo(make([]record, 0, 1))
	return buf[0].status(now(), time.Now())
}
