package vip

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvs-ha/internal/netnstest"
)

// pair makes a veth pair, both ends up, in the tests' namespace.
func pair(t *testing.T, a, b string) {
	t.Helper()
	netnstest.Need(t)
	la := netlink.NewLinkAttrs()
	la.Name = a
	v := &netlink.Veth{LinkAttrs: la, PeerName: b}
	if err := netlink.LinkAdd(v); err != nil {
		t.Fatal(err)
	}
	index := theLink(t, a).Attrs().Index
	t.Cleanup(func() {
		if l, err := netlink.LinkByIndex(index); err == nil { // it may have got another name
			_ = netlink.LinkDel(l)
		}
	})
	up(t, a)
	up(t, b)
	// The kernel tells of a carrier later (net/core/link_watch.c); who announces
	// would do it again then.
	for _, name := range []string{a, b} {
		eventually(t, 2*time.Second, name+" is up", func() bool { return theLink(t, name).Attrs().OperState == netlink.OperUp })
	}
}

func up(t *testing.T, name string) {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		t.Fatal(err)
	}
}

func linkIndex(t *testing.T, name string) int {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return l.Attrs().Index
}

// patience is what a busy machine gets at least.
const patience = 30 * time.Second

// eventually waits for a condition. The limit is that of a quiet machine.
func eventually(t *testing.T, limit time.Duration, what string, f func() bool) {
	t.Helper()
	limit = max(limit, patience)
	end := time.Now().Add(limit)
	for !f() {
		if time.Now().After(end) {
			t.Fatalf("after %s still not: %s", limit, what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// capture collects the frames that arrive on an interface.
type capture struct {
	mu     sync.Mutex
	frames [][]byte
}

func capturing(t *testing.T, name string, etherType uint16) *capture {
	t.Helper()
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := packet.Listen(ifi, packet.Raw, int(etherType), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetPromiscuous(true); err != nil {
		t.Fatal(err)
	}
	cp := &capture{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			cp.mu.Lock()
			cp.frames = append(cp.frames, append([]byte(nil), buf[:n]...))
			cp.mu.Unlock()
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return cp
}

func (c *capture) count(match func([]byte) bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, f := range c.frames {
		if match(f) {
			n++
		}
	}
	return n
}

func logTo(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// running starts a monitor for the time of the test.
func running(t *testing.T) *Monitor {
	t.Helper()
	m, err := NewMonitor(logTo(t))
	if err != nil {
		t.Fatal(err)
	}
	run(t, m)
	return m
}

func run(t *testing.T, m *Monitor) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = m.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done; m.Close() })
}

// start runs a holder for the time of the test.
func start(t *testing.T, h *Holder) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = h.Run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// reports collects what a holder tells.
type reports struct {
	mu   sync.Mutex
	list []Report
}

func (r *reports) add(x Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, x)
}

func (r *reports) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.list)
}

func (r *reports) last() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) == 0 {
		return Report{}
	}
	return r.list[len(r.list)-1]
}

func (r *reports) any(f func(Report) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.list {
		if f(x) {
			return true
		}
	}
	return false
}

func listed(t *testing.T, name, prefix string) (InterfaceAddress, bool) {
	t.Helper()
	k, err := openNetlink()
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	in, err := k.Lookup(name)
	if err != nil {
		return InterfaceAddress{}, false
	}
	list, err := k.List(in.Index)
	if err != nil {
		t.Fatal(err)
	}
	return find(list, netip.MustParsePrefix(prefix))
}

func present(t *testing.T, name, prefix string) bool {
	_, ok := listed(t, name, prefix)
	return ok
}

func addr(p string) Address { return Address{Prefix: netip.MustParsePrefix(p)} }

// gratuitous matches the frame of a gratuitous ARP for the address.
func gratuitous(op byte, ip string) func([]byte) bool {
	a := netip.MustParseAddr(ip).As4()
	return func(f []byte) bool {
		return len(f) >= 42 && f[12] == 8 && f[13] == 6 && f[21] == op &&
			string(f[28:32]) == string(a[:]) && string(f[38:42]) == string(a[:]) &&
			string(f[0:6]) == "\xff\xff\xff\xff\xff\xff" && string(f[6:12]) == string(f[22:28])
	}
}

func unsolicited(ip string) func([]byte) bool {
	a := netip.MustParseAddr(ip).As16()
	return func(f []byte) bool {
		return len(f) == 86 && f[12] == 0x86 && f[54] == 136 && f[58]&0x20 != 0 && f[58]&0x40 == 0 &&
			string(f[62:78]) == string(a[:]) && f[21] == 255 && string(f[80:86]) == string(f[6:12])
	}
}

func TestHolderOnTheRealKernel(t *testing.T) {
	pair(t, "va0", "va1")
	seen4, seen6 := capturing(t, "va1", unix.ETH_P_ARP), capturing(t, "va1", unix.ETH_P_IPV6)
	m := running(t)
	r := &reports{}
	h := m.NewHolder(Config{
		Interface: "va0", Lifetime: 6 * time.Second,
		Addresses: []Address{
			{Prefix: netip.MustParsePrefix("192.0.2.10/32"), Label: "va0:v"},
			addr("192.0.2.11/24"), addr("2001:db8::10/128"),
		},
		Announce: Plan{Count: 2, Interval: 20 * time.Millisecond, Opcode: Both},
	}, logTo(t), r.add)
	start(t, h)
	eventually(t, 2*time.Second, "the first report", func() bool { return r.any(func(x Report) bool { return x.Phase == Dropped }) })

	order := h.Hold()
	h.Announce(true)
	eventually(t, 2*time.Second, "held", func() bool { return r.last().Phase == Held && r.last().Order == order })
	// At once where nothing else runs, else after the next renewal.
	eventually(t, 2*time.Second, "the IPv4 address has its lifetime", func() bool {
		a, ok := listed(t, "va0", "192.0.2.10/32")
		return ok && !a.Permanent && a.Label == "va0:v" && a.Lifetime >= 5*time.Second && a.Lifetime <= 6*time.Second
	})
	eventually(t, 2*time.Second, "the IPv6 address has its lifetime", func() bool {
		a, ok := listed(t, "va0", "2001:db8::10/128")
		return ok && !a.Permanent && !a.Tentative && a.Lifetime >= 5*time.Second
	})
	eventually(t, 2*time.Second, "2 requests, 2 replies for each IPv4 address, 2 NA", func() bool {
		return seen4.count(gratuitous(1, "192.0.2.10")) == 2 && seen4.count(gratuitous(2, "192.0.2.10")) == 2 &&
			seen4.count(gratuitous(1, "192.0.2.11")) == 2 && seen6.count(unsolicited("2001:db8::10")) == 2
	})
	if c := h.Counters(); c.ARP != 8 || c.NA != 2 || c.Errors != 0 {
		t.Errorf("counted %+v", c)
	}
	for _, s := range h.Status() {
		if !s.Present {
			t.Errorf("%+v", s)
		}
	}

	// The kernel prolongs the lifetime: three thirds pass quickly in the kernel's
	// eyes if we set it short by hand.
	told := r.len()
	short := &netlink.Addr{IPNet: ipNetOf(netip.MustParsePrefix("192.0.2.10/32")), LinkIndex: linkIndex(t, "va0"), ValidLft: 3, PreferedLft: 3}
	if err := netlink.AddrReplace(nil, short); err != nil {
		t.Fatal(err)
	}
	eventually(t, 4*time.Second, "renewed", func() bool {
		a, ok := listed(t, "va0", "192.0.2.10/32")
		return ok && a.Lifetime > 4*time.Second && r.len() > told // all of them
	})

	// Something removes one.
	if err := netlink.AddrDel(nil, &netlink.Addr{IPNet: ipNetOf(netip.MustParsePrefix("192.0.2.11/24")), LinkIndex: linkIndex(t, "va0")}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "restored", func() bool {
		return present(t, "va0", "192.0.2.11/24") && r.any(func(x Report) bool {
			return len(x.Restored) == 1 && x.Restored[0].String() == "192.0.2.11/24"
		})
	})
	eventually(t, 2*time.Second, "announced again", func() bool { return seen4.count(gratuitous(1, "192.0.2.11")) == 4 })

	order = h.Drop()
	eventually(t, 2*time.Second, "dropped", func() bool { return r.last().Phase == Dropped && r.last().Order == order })
	for _, p := range []string{"192.0.2.10/32", "192.0.2.11/24", "2001:db8::10/128"} {
		if present(t, "va0", p) {
			t.Errorf("%s is still there", p)
		}
	}
}

func TestKernelRemovesWhatNobodyRenews(t *testing.T) {
	t.Parallel()
	pair(t, "vb0", "vb1")
	m := running(t)
	r := &reports{}
	h := m.NewHolder(Config{Interface: "vb0", Lifetime: 3 * time.Second,
		Addresses: []Address{addr("192.0.2.20/32"), addr("2001:db8::20/128")}}, logTo(t), r.add)
	stop := start(t, h)
	h.Hold()
	eventually(t, 2*time.Second, "held", func() bool { return r.last().Phase == Held })
	stop() // as if the process died
	died := time.Now()
	eventually(t, 4*time.Second, "gone by itself", func() bool {
		return !present(t, "vb0", "192.0.2.20/32") && !present(t, "vb0", "2001:db8::20/128")
	})
	t.Logf("gone after %s with a lifetime of 3 s", time.Since(died).Round(time.Millisecond))
}

func TestStaleForeignAbsent(t *testing.T) {
	pair(t, "vc0", "vc1")
	k, err := openNetlink()
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	idx := linkIndex(t, "vc0")
	if err := k.Add(idx, addr("192.0.2.30/32"), time.Minute); err != nil { // an earlier run's
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(nil, &netlink.Addr{IPNet: ipNetOf(netip.MustParsePrefix("192.0.2.31/32")), LinkIndex: idx}); err != nil {
		t.Fatal(err) // the administrator's
	}
	m := running(t)
	r := &reports{}
	h := m.NewHolder(Config{Interface: "vc0", Lifetime: time.Minute,
		Addresses: []Address{addr("192.0.2.30/32"), addr("192.0.2.31/32")}}, logTo(t), r.add)
	start(t, h)
	eventually(t, 2*time.Second, "stale address gone", func() bool { return r.last().Phase == Dropped && !present(t, "vc0", "192.0.2.30/32") })
	if !present(t, "vc0", "192.0.2.31/32") {
		t.Error("a permanent address was taken away")
	}
	order := h.Hold()
	eventually(t, 2*time.Second, "held", func() bool { return r.last().Phase == Held && r.last().Order == order })
	if f := r.last().Foreign; len(f) != 1 || f[0].String() != "192.0.2.31/32" {
		t.Errorf("foreign: %v", f)
	}
	if a, _ := listed(t, "vc0", "192.0.2.31/32"); !a.Permanent {
		t.Error("the administrator's address got a lifetime")
	}

	// The interface goes and comes back under another index.
	l, _ := netlink.LinkByName("vc0")
	if err := netlink.LinkDel(l); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "waiting", func() bool { return r.last().Phase == Waiting && errors.Is(r.last().Err, ErrAbsent) })
	pair(t, "vc0", "vc1")
	if linkIndex(t, "vc0") == idx {
		t.Fatal("same index")
	}
	eventually(t, 2*time.Second, "held again", func() bool {
		return r.last().Phase == Held && present(t, "vc0", "192.0.2.30/32") && present(t, "vc0", "192.0.2.31/32")
	})
	if a, _ := listed(t, "vc0", "192.0.2.31/32"); a.Permanent {
		t.Error("the address that we put there has no lifetime")
	}
	order = h.Drop()
	eventually(t, 2*time.Second, "dropped", func() bool { return r.last().Phase == Dropped && r.last().Order == order })
	if present(t, "vc0", "192.0.2.31/32") {
		t.Error("our own address stayed")
	}
}

func TestErrnos(t *testing.T) {
	pair(t, "vd0", "vd1")
	k, err := openNetlink()
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	idx := linkIndex(t, "vd0")
	if err := k.Add(idx, addr("192.0.2.40/32"), time.Minute); err != nil {
		t.Fatal(err)
	}
	for what, tc := range map[string]struct{ got, want error }{
		"add twice":         {k.Add(idx, addr("192.0.2.40/32"), time.Minute), ErrExists},
		"delete nothing v4": {k.Delete(idx, netip.MustParsePrefix("192.0.2.41/32")), ErrNotThere},
		"delete nothing v6": {k.Delete(idx, netip.MustParsePrefix("2001:db8::41/128")), ErrNotThere},
		"no link":           {k.Add(99999, addr("192.0.2.42/32"), time.Minute), ErrAbsent},
	} {
		if !errors.Is(tc.got, tc.want) {
			t.Errorf("%s: %v, want %v", what, tc.got, tc.want)
		}
	}
	if _, err := k.Lookup("nosuch0"); !errors.Is(err, ErrAbsent) {
		t.Errorf("Lookup: %v", err)
	}
}

func TestMonitorSeesChanges(t *testing.T) {
	pair(t, "ve0", "ve1")
	m := running(t)
	var mu sync.Mutex
	var now Interface
	calls := 0
	cancel := m.Watch("ve0", func(in Interface) { mu.Lock(); now = in; calls++; mu.Unlock() })
	get := func() Interface { mu.Lock(); defer mu.Unlock(); return now }
	if get().Index == 0 {
		t.Fatal("no call at once")
	}
	eventually(t, 2*time.Second, "up", func() bool { return get().Up })
	l1, _ := netlink.LinkByName("ve1")
	_ = netlink.LinkSetDown(l1) // the carrier goes
	eventually(t, 2*time.Second, "carrier lost", func() bool { return !get().Up })
	_ = netlink.LinkSetUp(l1)
	eventually(t, 2*time.Second, "carrier back", func() bool { return get().Up })
	k, _ := openNetlink()
	defer k.close()
	_ = k.Add(get().Index, addr("192.0.2.50/24"), time.Minute)
	eventually(t, 2*time.Second, "address", func() bool { _, ok := find(get().Addresses, netip.MustParsePrefix("192.0.2.50/24")); return ok })
	l0, _ := netlink.LinkByName("ve0")
	_ = netlink.LinkDel(l0)
	eventually(t, 2*time.Second, "gone", func() bool { return get().Index == 0 })
	cancel()
	mu.Lock()
	n := calls
	mu.Unlock()
	pair(t, "ve0", "ve1")
	eventually(t, 2*time.Second, "listed", func() bool { return m.Interface("ve0").Index != 0 })
	mu.Lock()
	defer mu.Unlock()
	if calls != n {
		t.Error("called after cancel")
	}
}

func TestFrameOctets(t *testing.T) {
	mac, _ := net.ParseMAC("02:00:00:00:00:01")
	f, err := gratuitousARP(mac, netip.MustParseAddr("192.0.2.1"), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := "ffffffffffff0200000000010806" + "0001080006040001" + "020000000001c0000201" + "ffffffffffffc0000201"
	if got := hex.EncodeToString(f); !strings.HasPrefix(got, want) || strings.Trim(got[len(want):], "0") != "" {
		t.Errorf("ARP\n got %s\nwant %s", got, want)
	}
	f, err = unsolicitedNA(mac, netip.MustParseAddr("2001:db8::1"), true)
	if err != nil {
		t.Fatal(err)
	}
	if len(f) != 86 || f[58] != 0xa0 || !unsolicited("2001:db8::1")(f) {
		t.Errorf("NA %x", f)
	}
	if _, err := gratuitousARP(mac, netip.MustParseAddr("2001:db8::1"), 1); err == nil {
		t.Error("ARP for an IPv6 address")
	}
}

func TestHolderHearsClaimsWhileHolding(t *testing.T) {
	t.Parallel()
	pair(t, "vg0", "vg1")
	m := running(t)
	r := &reports{}
	h := m.NewHolder(Config{Interface: "vg0", Lifetime: time.Minute, Addresses: []Address{addr("192.0.2.70/32")}}, logTo(t), r.add)
	var claims atomic.Int32
	h.OnClaim(func(a netip.Addr, iface string, mac net.HardwareAddr) {
		if a.String() == "192.0.2.70" && iface == "vg0" && mac.String() == "02:00:00:00:00:09" {
			claims.Add(1)
		}
	})
	start(t, h)
	peer, _ := net.InterfaceByName("vg1")
	conn, err := packet.Listen(peer, packet.Raw, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	f, _ := gratuitousARP(net.HardwareAddr{2, 0, 0, 0, 0, 9}, netip.MustParseAddr("192.0.2.70"), 1)
	claim := func() { _, _ = conn.WriteTo(f, &packet.Addr{HardwareAddr: f[:6]}) }
	h.Hold()
	eventually(t, 3*time.Second, "a claim while holding", func() bool { claim(); return claims.Load() > 0 })
	order := h.Drop()
	eventually(t, 2*time.Second, "dropped", func() bool { return r.last().Phase == Dropped && r.last().Order == order })
	n := claims.Load()
	claim()
	h.Hold()
	eventually(t, 3*time.Second, "a claim while holding again", func() bool { claim(); return claims.Load() > n })
}
