package speaker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

func TestTakesStaleAddressesOffFirst(t *testing.T) {
	r := newRig(t, testSpec(100))
	if got := r.h.take(); got != "drop" {
		t.Errorf("first orders: %s", got)
	}
}

func TestHoldThenAnnounce(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.h.take()
	r.connect()
	r.ready()
	r.state(vrrp.Backup)
	r.lapse()
	r.state(vrrp.Master)
	if got := r.h.take(); got != "hold" {
		t.Errorf("orders: %s", got)
	}
	r.in.reported(Report{Phase: Held, Order: r.h.n - 1}) // of an older order
	if got := r.h.take(); got != "" {
		t.Errorf("after an old report: %s", got)
	}
	r.in.reported(Report{Phase: Held, Order: r.h.n})
	if got := r.h.take(); got != "announce" {
		t.Errorf("after the report: %s", got)
	}
	r.in.reported(Report{Phase: Held, Order: r.h.n}) // a renewal
	if got := r.h.take(); got != "" {
		t.Errorf("after a renewal: %s", got)
	}
}

func TestAddressesThatCannotBeHeldAreAFault(t *testing.T) {
	for name, report := range map[string]*Report{
		"refused":    {Phase: Waiting, Err: errors.New("not permitted")},
		"no renewal": nil,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, testSpec(100))
			r.master()
			r.h.take()
			limit := 4 * time.Second // two thirds of the lifetime
			if report != nil {
				r.in.held = false // as if it had never worked
				report.Order = r.h.n
				r.in.reported(*report)
				limit = firstPatience
			}
			if d := r.in.failAt - now(); d > limit || d < limit-time.Second {
				t.Errorf("patience %s, want %s", d, limit)
			}
			r.in.tick(r.in.failAt)
			if s := r.in.machine.State(); s == vrrp.Master {
				t.Fatal("still master")
			} else if s == vrrp.Releasing { // the peer is given time
				r.lapse()
			}
			r.state(vrrp.Fault)
			if got := r.h.take(); got != "quiet, drop" {
				t.Errorf("orders: %s", got)
			}
			if r.in.failAt != 0 {
				t.Error("still impatient")
			}
		})
	}
}

func TestRenewalsKeepPatience(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.master()
	before := r.in.failAt
	r.in.failAt -= 3 * time.Second
	r.in.reported(Report{Phase: Held, Order: r.h.n})
	if r.in.failAt < before {
		t.Error("a renewal did not renew the patience")
	}
}

func TestRejectedPacketsTouchNothing(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.connect()
	r.ready()
	d0, _ := r.in.deadline()
	for name, f := range map[string]func(*packet){
		"checksum": func(p *packet) { p.payload[6]++ },
		"ttl":      func(p *packet) { p.ttl = 254 },
		"source":   func(p *packet) { *p = *advert(200, self) },
		"version":  func(p *packet) { p.payload[0] = 0x21 },
		"length":   func(p *packet) { p.payload = p.payload[:11] },
	} {
		p := advert(200, peer)
		f(p)
		r.l.deliver(r.in.port, p)
		if d, _ := r.in.deadline(); d != d0 {
			t.Errorf("%s moved the timer", name)
		}
	}
	r.l.deliver(r.in.port, &packet{payload: nil})
	other := advert(200, peer)
	other.payload[1] = 8
	r.l.deliver(r.in.port, other)
	if r.in.received != 0 || r.in.port.unknown != 2 {
		t.Errorf("received %d, unknown %d", r.in.received, r.in.port.unknown)
	}
	st := r.status()
	for _, label := range []string{"checksum", "ttl", "source", "version", "malformed"} {
		if st.Dropped[label] != 1 {
			t.Errorf("dropped: %v", st.Dropped)
			break
		}
	}
	if n := strings.Count(r.log.String(), "advertisement_rejected"); n != 1 {
		t.Errorf("%d log records for 5 rejected packets", n)
	}
	r.l.deliver(r.in.port, advert(200, peer))
	if d, _ := r.in.deadline(); d <= d0 || r.in.received != 1 {
		t.Error("a good packet did not count")
	}
}

func (r *rig) status() link.InstanceStatus {
	buf := r.l.copyTo(make([]record, 0, 1))
	return buf[0].status(now(), time.Now())
}

func TestStatusOfABackup(t *testing.T) {
	spec := testSpec(100)
	spec.TrackInterfaces = []vrrp.Track{{Name: "eth9", Delta: -30}}
	r := newRig(t, spec)
	r.in.tracks = []track{{Track: spec.TrackInterfaces[0]}}
	r.connect()
	r.ready()
	p := advert(150, peer)
	p.payload = (&vrrp.Advertisement{Version: vrrp.V3, VRID: 7, Priority: 150, Interval: 200 * time.Millisecond,
		Addresses: []netip.Addr{peer}}).Append(nil, vrrp.ChecksumMessageOnly, peer, group4)
	r.l.deliver(r.in.port, p)
	r.l.deliver(r.in.port, advert(0, peer))
	st := r.status()
	if st.State != vrrp.Backup || st.Reason != "start" || st.Priority != 70 || st.ConfiguredPriority != 100 || st.Source != self ||
		st.MasterSource != peer || st.Received != 2 || st.ZeroReceived != 1 || st.AddressMismatch != 1 || st.MessageOnly != 1 ||
		st.MasterDownIn <= 0 || time.Since(st.LastHeard) > time.Minute || st.LastHeard.IsZero() || st.SendErrors != 3 ||
		st.AnnouncedARP != 1 || st.AnnouncedNA != 2 || st.Transitions["backup"] != 1 || st.TrackUp["eth9"] {
		t.Errorf("%+v", st)
	}
	r.in.tracked("eth9", true)
	if st := r.status(); st.Priority != 100 || !st.TrackUp["eth9"] {
		t.Errorf("after the tracked interface came: %+v", st)
	}
}

func TestTrackedInterfaceWithoutDelta(t *testing.T) {
	spec := testSpec(100)
	r := newRig(t, spec)
	r.in.tracks = []track{{Track: vrrp.Track{Name: "eth9"}}}
	r.connect()
	r.ready()
	r.state(vrrp.Fault)
	r.in.tracked("eth9", true)
	r.state(vrrp.Backup)
	r.l.takePosture(link.Posture{Ready: true, Instances: map[string]link.InstancePosture{"edge": {Fault: "disk"}}})
	r.state(vrrp.Fault)
	r.l.takePosture(link.Posture{Ready: true, Instances: map[string]link.InstancePosture{"edge": {Deltas: []int{-20, 5}}}})
	if r.state(vrrp.Backup); r.in.machine.Priority() != 85 {
		t.Errorf("priority %d", r.in.machine.Priority())
	}
}

// A director that was started anew must not move the election.
func TestDirectorAway(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.l.takePosture(link.Posture{Away: true}) // before there was one
	r.master()
	tracked := link.Posture{Ready: true, Instances: map[string]link.InstancePosture{"edge": {Deltas: []int{-10}}}}
	r.l.takePosture(tracked)
	if r.in.machine.Priority() != 90 {
		t.Fatal("posture not taken")
	}
	r.l.takePosture(link.Posture{Away: true})
	r.l.takePosture(link.Posture{}) // the next one, not ready yet
	if r.in.machine.Priority() != 90 || r.in.machine.Offering() {
		t.Errorf("a restart of the director made the priority %d", r.in.machine.Priority())
	}
	r.l.graceOver(now() + defaultGrace/2)
	r.l.takePosture(tracked)
	r.l.graceOver(now() + 2*defaultGrace)
	if r.in.machine.Offering() {
		t.Error("offers although the director is back")
	}
	r.l.takePosture(link.Posture{Away: true})
	r.l.graceOver(now() + defaultGrace + time.Second)
	if r.in.machine.Priority() != 1 || !r.in.machine.Offering() {
		t.Errorf("away for too long: priority %d, offering %t", r.in.machine.Priority(), r.in.machine.Offering())
	}
	r.l.takePosture(tracked)
	if r.in.machine.Priority() != 90 || r.in.machine.Offering() {
		t.Error("it is back, but still offers")
	}
}

func TestFailoverRefusals(t *testing.T) {
	r := newRig(t, testSpec(100))
	for _, tc := range []struct{ name, want string }{{"other", "no vrrp instance"}, {"edge", "not master"}} {
		if err := r.l.failover(link.Failover{Instance: tc.name}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	r.master()
	if err := r.l.failover(link.Failover{Instance: "edge"}); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("nobody there: %v", err)
	}
	r.l.deliver(r.in.port, advert(50, peer))
	if err := r.l.failover(link.Failover{Instance: "edge", For: time.Minute}); err != nil {
		t.Error(err)
	}
	r.state(vrrp.Releasing)
	if got := r.h.take(); strings.HasSuffix(got, "drop") {
		t.Errorf("dropped before the next master is there: %s", got)
	}
}

func TestStopReleasesAndEnds(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.master()
	r.l.stopAll()
	r.state(vrrp.Releasing)
	r.l.fire()
	if r.end || r.l.ended {
		t.Fatal("ended while it releases")
	}
	r.lapse()
	r.state(vrrp.Init)
	r.l.fire()
	if r.end {
		t.Fatal("ended before the addresses were off")
	}
	r.in.reported(Report{Phase: Dropped, Order: r.h.n})
	r.l.fire()
	if !r.end || !r.l.ended || len(r.l.instances) != 0 || r.in.port.instances[7] != nil {
		t.Error("did not end")
	}
}

// Whoever yields or releases keeps the addresses for a while, but says nothing
// any more: a round that went on would speak after the next master's.
func TestNoRoundGoesOnAfterMastership(t *testing.T) {
	for what, end := range map[string]func(r *rig){
		"yields":   func(r *rig) { r.in.receive(advert(200, peer)) },
		"releases": func(r *rig) { _ = r.in.failover(link.Failover{Force: true}) },
	} {
		r := newRig(t, testSpec(100))
		r.master()
		if got := r.h.take(); !strings.HasSuffix(got, "announce") {
			t.Fatalf("%s: %s", what, got)
		}
		end(r)
		if got := r.h.take(); got != "quiet" {
			t.Errorf("%s: %q, want quiet, and the addresses stay", what, got)
		}
	}
}

func TestForeignClaimIsAnswered(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.master()
	r.h.take()
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	r.in.claimed(vip4, "lo", mac)
	r.in.claimed(vip4, "lo", mac)
	at := now()
	for range 20 {
		d, _ := r.in.machine.Deadline()
		if time.Duration(d) > at+500*time.Millisecond {
			break
		}
		r.in.tick(time.Duration(d))
	}
	if got := r.h.take(); got != "announce once" {
		t.Errorf("orders: %q", got)
	}
	if st := r.status(); st.ForeignClaims != 2 {
		t.Errorf("counted %d", st.ForeignClaims)
	}
	if n := strings.Count(r.log.String(), "foreign_claim"); n != 1 {
		t.Errorf("%d log records", n)
	}
}

func TestStalledSaysSoBeforePacketsAreHeard(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.connect()
	r.ready()
	r.state(vrrp.Backup)
	d, _ := r.in.deadline()
	r.l.planned = d
	late := d + time.Second
	r.l.stalled(late)
	if d2, _ := r.in.deadline(); d2 < late {
		t.Errorf("a stalled backup would take over at once")
	}
	if !strings.Contains(r.log.String(), "stalled") {
		t.Error("not logged")
	}
}

// In steady state neither receiving nor sending allocates.
func TestNoAllocationPerAdvertisement(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.connect()
	r.ready()
	p := advert(200, peer)
	if n := testing.AllocsPerRun(1000, func() { p.at = now(); r.l.deliver(r.in.port, p) }); n != 0 {
		t.Errorf("receiving allocates %v times", n)
	}
	r.lapse()
	r.state(vrrp.Master)
	r.in.reported(Report{Phase: Held, Order: r.h.n})
	r.in.failAt = 0         // the time of the steps below is not that of the clock
	r.in.warned.send = true // the rig's descriptor takes nothing
	if n := testing.AllocsPerRun(1000, func() { r.lapse() }); n != 0 {
		t.Errorf("sending allocates %v times", n)
	}
	if r.in.sendErrors < 1000 {
		t.Errorf("sent %d times", r.in.sendErrors)
	}
}

func TestWireAllocatesNothing(t *testing.T) {
	// Datagrams over loopback UDP look the same to sendmsg and recvmsg.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		t.Fatal(err)
	}
	var w wire
	var p packet
	m := make([]byte, 12)
	dst := netip.MustParseAddr("127.0.0.1")
	if n := testing.AllocsPerRun(100, func() { _ = w.send(fd, 0, dst, dst, m) }); n != 0 {
		t.Errorf("send allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { _ = w.receive(fd, vrrp.IPv4, &p) }); n != 0 {
		t.Errorf("receive of nothing allocates %v times", n)
	}
}

func TestSource(t *testing.T) {
	v4 := func(list ...string) *Interface {
		in := &Interface{}
		for _, s := range list {
			a := InterfaceAddress{}
			a.Secondary = strings.HasSuffix(s, " secondary")
			a.Tentative = strings.HasSuffix(s, " tentative")
			a.Prefix = netip.MustParsePrefix(strings.Fields(s)[0])
			in.Addresses = append(in.Addresses, a)
		}
		return in
	}
	virtual := func(a netip.Addr) bool { return a.String() == "10.0.0.100" || a.String() == "fe80::100" }
	uni := func(p string) vrrp.Config {
		c := vrrp.Config{Family: vrrp.IPv4, Mode: vrrp.Unicast, Peers: []netip.Addr{netip.MustParseAddr(p)}}
		if c.Peers[0].Is6() {
			c.Family = vrrp.IPv6
		}
		return c
	}
	m4, m6 := vrrp.Config{Family: vrrp.IPv4}, vrrp.Config{Family: vrrp.IPv6}
	for _, tc := range []struct {
		in   *Interface
		c    vrrp.Config
		want string
	}{
		{v4(), m4, "invalid IP"},
		{v4("10.0.0.100/32", "10.0.0.5/24", "10.0.1.5/24"), m4, "10.0.0.5"},
		{v4("10.0.0.6/24 secondary", "10.0.0.5/24"), m4, "10.0.0.5"},
		{v4("10.0.0.6/24 secondary"), m4, "10.0.0.6"},
		{v4("10.0.0.100/24"), m4, "invalid IP"},
		{v4("10.0.0.5/24", "fe80::100/64", "fe80::5/64", "2001:db8::5/64"), m6, "fe80::5"},
		{v4("fe80::5/64 tentative"), m6, "invalid IP"},
		{v4("2001:db8::5/64"), m6, "invalid IP"},
		{v4("10.0.0.5/24", "10.9.0.5/24"), uni("10.9.0.7"), "10.9.0.5"},
		{v4("10.0.0.5/24"), uni("192.0.2.7"), "10.0.0.5"},
		{v4("fe80::5/64", "2001:db8::5/64"), uni("2001:db8::7"), "2001:db8::5"},
		{v4("fe80::5/64", "2001:db8::5/64"), uni("fe80::7"), "fe80::5"},
	} {
		if got := source(tc.in, &vrrp.Instance{Config: tc.c}, virtual).String(); got != tc.want {
			t.Errorf("%v: %s, want %s", tc.in.Addresses, got, tc.want)
		}
	}
	ip := netip.MustParseAddr
	for _, tc := range []struct {
		in   *Interface
		spec vrrp.Instance
		want string
	}{
		{v4("10.0.0.5/24", "10.0.0.6/24 secondary"), vrrp.Instance{Config: uni("10.0.0.7"), Source: ip("10.0.0.6")}, "10.0.0.6"},
		{v4("10.0.0.5/24"), vrrp.Instance{Config: uni("10.0.0.7"), Source: ip("10.0.0.6")}, "invalid IP"},
		{v4("10.0.0.5/24", "10.0.0.100/24"), vrrp.Instance{Config: m4, Source: ip("10.0.0.100")}, "10.0.0.100"}, // of an owner
		{v4("fe80::5/64", "fe80::6/64 tentative"), vrrp.Instance{Config: m6, Source: ip("fe80::6")}, "invalid IP"},
		{v4("10.0.0.5/24", "10.0.0.6/24 secondary"), vrrp.Instance{Config: uni("10.0.0.7"), Prefer: ip("10.0.0.6")}, "10.0.0.6"},
		{v4("10.0.0.6/24 secondary", "10.0.0.5/24"), vrrp.Instance{Config: uni("10.0.0.7"), Prefer: ip("10.0.0.6")}, "10.0.0.6"},
		{v4("10.0.0.5/24"), vrrp.Instance{Config: uni("10.0.0.7"), Prefer: ip("10.0.0.6")}, "10.0.0.5"},
	} {
		if got := source(tc.in, &tc.spec, virtual).String(); got != tc.want {
			t.Errorf("%v, source %v, preferred %v: %s, want %s", tc.in.Addresses, tc.spec.Source, tc.spec.Prefer, got, tc.want)
		}
	}
}

func FuzzSplitIPv4(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 20, 0, 0, 0, 0, 255, 112, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{0x4f, 0, 0, 60})
	f.Fuzz(func(t *testing.T, b []byte) {
		p := packet{payload: b}
		if splitIPv4(&p) == nil && (len(p.payload) > len(b)-20 || !p.src.Is4()) {
			t.Errorf("%d octets of %d", len(p.payload), len(b))
		}
	})
}

func TestCheckFindsAll(t *testing.T) {
	bad := func(f func(*vrrp.Instance)) error {
		in := testSpec(100)
		f(&in)
		return check([]vrrp.Instance{in})
	}
	for want, err := range map[string]error{
		"vrid 0":            bad(func(in *vrrp.Instance) { in.Config.VRID = 0 }),
		"priority 0":        bad(func(in *vrrp.Instance) { in.Config.Priority = 0 }),
		"version 4":         bad(func(in *vrrp.Instance) { in.Config.Version = 4 }),
		"family 5":          bad(func(in *vrrp.Instance) { in.Config.Family = 5 }),
		"version 2 with":    bad(func(in *vrrp.Instance) { in.Config.Version, in.Config.Family = 2, 6 }),
		"interval 0s":       bad(func(in *vrrp.Instance) { in.Config.Interval = 0 }),
		"0 addresses":       bad(func(in *vrrp.Instance) { in.Config.Addresses = nil }),
		"no peers":          bad(func(in *vrrp.Instance) { in.Config.Mode = vrrp.Unicast }),
		"not of its family": bad(func(in *vrrp.Instance) { in.Config.Addresses = []netip.Addr{netip.IPv6Loopback()} }),
		"no interface":      bad(func(in *vrrp.Instance) { in.Interface = "" }),
		"appears twice":     check([]vrrp.Instance{testSpec(1), testSpec(2)}),
		"that is none":      bad(func(in *vrrp.Instance) { in.Excluded = []vrrp.Address{{}} }),
	} {
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "edge") && want != "no interface" {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	six := testSpec(100)
	six.Name, six.Config.Family, six.Config.Addresses = "six", vrrp.IPv6, []netip.Addr{netip.MustParseAddr("fe80::1")}
	if err := check([]vrrp.Instance{testSpec(100), six}); err != nil {
		t.Errorf("IPv4 and IPv6 with one VRID: %v", err)
	}
}

func TestWithoutRawSockets(t *testing.T) {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with what it lost
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var d [2]unix.CapUserData
		if err := unix.Capget(&h, &d[0]); err != nil {
			result <- err
			return
		}
		d[0].Effective &^= 1 << unix.CAP_NET_RAW
		if err := unix.Capset(&h, &d[0]); err != nil {
			result <- err
			return
		}
		result <- mayOpen(vrrp.IPv4)
	}()
	if err := <-result; !errors.Is(err, errNoRaw) || !strings.Contains(err.Error(), "CAP_NET_RAW") {
		t.Errorf("%v", err)
	}
}

func TestEnumerationsFit(t *testing.T) {
	if r := slices.Max(vrrp.Reasons); int(r) >= maxReasons {
		t.Errorf("reason %d", r)
	}
	if s := slices.Max(vrrp.States); int(s) >= maxStates {
		t.Errorf("state %d", s)
	}
	if c := slices.Max(vrrp.Counters); int(c) >= maxCounters {
		t.Errorf("counter %d", c)
	}
}

func TestMailboxKeepsOrderAndLosesNothing(t *testing.T) {
	m, err := newMailbox()
	if err != nil {
		t.Fatal(err)
	}
	const senders, each = 8, 2000
	var wg sync.WaitGroup
	got := make([][]int, senders)
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				m.post(func() { got[s] = append(got[s], i) })
			}
		})
	}
	all := make(chan struct{})
	go func() { wg.Wait(); close(all) }()
	poll := []unix.PollFd{{Fd: int32(m.fd), Events: unix.POLLIN}}
	n := 0
	for n < senders*each {
		if k, err := unix.Poll(poll, 5000); k != 1 {
			t.Fatalf("after %d letters nobody rang: %v", n, err)
		}
		m.acknowledge()
		for l := m.take(); l != nil; l = l.next {
			l.f()
			n++
		}
	}
	<-all
	for s := range got {
		if !slices.IsSorted(got[s]) || len(got[s]) != each {
			t.Errorf("sender %d: %d letters", s, len(got[s]))
		}
	}
}

func TestOutboxKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		var got []string
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			o.run(ctx, func(t link.Transition) { got = append(got, t.Reason); time.Sleep(time.Second) })
		}()
		for _, s := range []string{"a", "b", "c"} {
			o.put(link.Transition{Reason: s})
		}
		synctest.Wait()
		o.put(link.Transition{Reason: "d"})
		cancel()
		<-done
		if strings.Join(got, "") != "abcd" {
			t.Errorf("delivered %v", got)
		}
	})
}

// slowHandler blocks until told.
type slowHandler struct {
	gate chan struct{}
	mu   sync.Mutex
	n    int
}

func (h *slowHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h *slowHandler) Handle(context.Context, slog.Record) error {
	<-h.gate
	h.mu.Lock()
	h.n++
	h.mu.Unlock()
	return nil
}
func (h *slowHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *slowHandler) WithGroup(string) slog.Handler      { return h }

func TestLogNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowHandler{gate: make(chan struct{})}
		h, run := newAsyncHandler(slow)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { run(ctx); close(done) }()
		log := slog.New(h).With("a", 1)
		for range 3 * logBuffer {
			log.Info("x")
		}
		c := h.shared.byLevel()
		if c["info"] < logBuffer || c["info"] > logBuffer+1 || c["info"]+c["dropped"] != 3*logBuffer {
			t.Errorf("counted %v", c)
		}
		cancel()
		close(slow.gate)
		<-done
		if uint64(slow.n) != c["info"] {
			t.Errorf("%d written of %d", slow.n, c["info"])
		}
	})
}

func TestKeeperCellHoldsTheLatest(t *testing.T) {
	k := &keeper{latest: make(chan Interface, 1)}
	for i := range 100 {
		k.watched(Interface{Index: i})
	}
	if in := <-k.latest; in.Index != 99 {
		t.Errorf("index %d", in.Index)
	}
}
