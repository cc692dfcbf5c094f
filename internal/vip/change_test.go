package vip

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// holding starts a holder of addresses on an interface and waits until they are there.
func holding(t *testing.T, m *Monitor, c Config, prepare func(*Holder)) (*Holder, *reports) {
	t.Helper()
	r := &reports{}
	h := m.NewHolder(c, logTo(t), r.add)
	if prepare != nil {
		prepare(h)
	}
	start(t, h)
	order := h.Hold()
	h.Announce(true)
	eventually(t, 2*time.Second, "held", func() bool { return r.last().Phase == Held && r.last().Order == order })
	return h, r
}

func theLink(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Neighbours that know the old hardware address send nowhere.
func TestNewHardwareAddressIsAnnounced(t *testing.T) {
	pair(t, "vh0", "vh1")
	seen := capturing(t, "vh1", unix.ETH_P_ARP)
	_, _ = holding(t, running(t), Config{Interface: "vh0", Lifetime: time.Minute, Addresses: []Address{addr("192.0.2.80/32")},
		Announce: Plan{Count: 1}}, nil)
	eventually(t, 2*time.Second, "announced", func() bool { return seen.count(gratuitous(1, "192.0.2.80")) == 1 })
	mac := net.HardwareAddr{2, 0, 0, 0, 8, 1}
	from := func(f []byte) bool { return gratuitous(1, "192.0.2.80")(f) && string(f[6:12]) == string(mac) }
	must(t, netlink.LinkSetHardwareAddr(theLink(t, "vh0"), mac))
	eventually(t, 2*time.Second, "announced with the new address", func() bool { return seen.count(from) == 1 })
}

// Who has to be quiet says nothing of a new hardware address either.
func TestNewHardwareAddressWhileQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, two())
		defer b.stop()
		say := func(last byte, up bool) {
			for _, f := range b.watches {
				f(Interface{Name: "eth0", Index: 2, Up: up, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, last}})
			}
			synctest.Wait()
		}
		say(1, true)
		b.h.Hold()
		b.h.Announce(true)
		synctest.Wait()
		b.s.take()
		say(1, true)
		expect(t, "nothing new", b.s.take())
		say(1, false)
		expect(t, "the carrier went", b.s.take())
		say(1, true)
		expect(t, "and came back", b.s.take(), "0s 10.0.0.1@2", "0s 10.0.0.2@2")
		say(2, true)
		expect(t, "another address", b.s.take(), "0s 10.0.0.1@2", "0s 10.0.0.2@2")
		b.h.Quiet()
		say(3, true)
		expect(t, "quiet", b.s.take())
	})
}

// Beyond the link that came back there may be other switches.
func TestLinkThatCameBackIsAnnouncedOn(t *testing.T) {
	pair(t, "vi0", "vi1")
	m := running(t)
	h, _ := holding(t, m, Config{Interface: "vi0", Lifetime: time.Minute, Addresses: []Address{addr("192.0.2.81/32")},
		Announce: Plan{Count: 1}}, nil)
	eventually(t, 2*time.Second, "announced", func() bool { return h.Counters().ARP == 1 })
	must(t, netlink.LinkSetDown(theLink(t, "vi1")))
	eventually(t, 2*time.Second, "no carrier", func() bool { return !m.Interface("vi0").Up })
	must(t, netlink.LinkSetUp(theLink(t, "vi1")))
	eventually(t, 2*time.Second, "announced again", func() bool { return h.Counters().ARP == 2 })
}

// claimer sends claims of an address into a link until they are heard.
func claimer(t *testing.T, name, ip string) (claim func()) {
	t.Helper()
	f, err := gratuitousARP(net.HardwareAddr{2, 0, 0, 0, 0, 9}, netip.MustParseAddr(ip), 1)
	must(t, err)
	return func() {
		in, err := net.InterfaceByName(name)
		if err != nil {
			return
		}
		c, err := packet.Listen(in, packet.Raw, 0, nil)
		must(t, err)
		defer c.Close()
		_, _ = c.WriteTo(f, &packet.Addr{HardwareAddr: f[:6]})
	}
}

// A link that goes and comes back so quickly that nobody sees it gone is
// another one all the same.
func TestClaimsAreHeardOnALinkMadeAnew(t *testing.T) {
	pair(t, "vj0", "vj1")
	var claims atomic.Int32
	h := running(t).NewHolder(Config{Interface: "vj0"}, logTo(t), func(Report) {})
	h.OnClaim(func(netip.Addr, string, net.HardwareAddr) { claims.Add(1) })
	var l listeners
	defer l.stop()
	listen := func() {
		in, err := net.InterfaceByName("vj0")
		must(t, err)
		l.follow(h, []heard{{key{netip.MustParsePrefix("192.0.2.82/32"), "vj0"}, in.Index, string(in.HardwareAddr)}})
	}
	listen()
	claim := claimer(t, "vj1", "192.0.2.82")
	eventually(t, 3*time.Second, "a claim", func() bool { claim(); return claims.Load() > 0 })
	must(t, netlink.LinkDel(theLink(t, "vj0")))
	pair(t, "vj0", "vj1")
	listen()
	n := claims.Load()
	eventually(t, 3*time.Second, "a claim on the new link", func() bool { claim(); return claims.Load() > n })
}

// An interface that gets another name keeps its addresses, and answers for them.
func TestRenamedInterfaceKeepsNothing(t *testing.T) {
	pair(t, "vk0", "vk1")
	h, r := holding(t, running(t), Config{Interface: "vk0", Lifetime: time.Minute,
		Addresses: []Address{addr("192.0.2.83/32"), addr("2001:db8::83/128")}}, nil)
	if err := netlink.LinkSetName(theLink(t, "vk0"), "vk9"); err != nil {
		t.Skipf("an interface that is up cannot be renamed here: %v", err)
	}
	eventually(t, 2*time.Second, "waiting", func() bool { return r.last().Phase == Waiting })
	order := h.Drop()
	eventually(t, 2*time.Second, "dropped", func() bool { return r.last().Phase == Dropped && r.last().Order == order })
	for _, p := range []string{"192.0.2.83/32", "2001:db8::83/128"} {
		if present(t, "vk9", p) {
			t.Errorf("%s is still there under the other name", p)
		}
	}
}

// Who is backup with the address configured for ever answers for it beside the
// master: that has to be said, whatever the prefix length, and when it comes later.
func TestPermanentAddressIsToldWhileNotHeld(t *testing.T) {
	pair(t, "vl0", "vl1")
	put := func(p string) {
		must(t, netlink.AddrAdd(theLink(t, "vl0"), &netlink.Addr{IPNet: ipNetOf(netip.MustParsePrefix(p))}))
	}
	put("192.0.2.84/24")
	r := &reports{}
	h := running(t).NewHolder(Config{Interface: "vl0", Lifetime: time.Minute,
		Addresses: []Address{addr("192.0.2.84/32"), addr("192.0.2.85/32"), addr("192.0.2.86/32")}}, logTo(t), r.add)
	start(t, h)
	told := func(n int, phase Phase) func() bool {
		return func() bool { x := r.last(); return x.Phase == phase && len(x.Foreign) == n }
	}
	eventually(t, 2*time.Second, "told at the start", told(1, Dropped))
	put("192.0.2.85/32")
	eventually(t, 2*time.Second, "told of a later one", told(2, Dropped))
	h.Hold()
	eventually(t, 2*time.Second, "told when held", told(2, Held))
	h.Drop()
	eventually(t, 2*time.Second, "told when dropped", told(2, Dropped))
	if !present(t, "vl0", "192.0.2.84/24") || !present(t, "vl0", "192.0.2.85/32") || present(t, "vl0", "192.0.2.86/32") {
		t.Error("something was taken away that is somebody else's, or left that is ours")
	}
}

// An address that failed duplicate detection is on the link, and the kernel
// takes nothing for it.
func TestAddressThatIsNoneInFact(t *testing.T) {
	pair(t, "vm0", "vm1")
	twice := netip.MustParsePrefix("2001:db8::87/64")
	must(t, netlink.AddrAdd(theLink(t, "vm1"), &netlink.Addr{IPNet: ipNetOf(twice), Flags: unix.IFA_F_NODAD}))
	must(t, netlink.AddrAdd(theLink(t, "vm0"), &netlink.Addr{IPNet: ipNetOf(twice)}))
	eventually(t, 5*time.Second, "found to be there twice", func() bool {
		list, err := netlink.AddrList(theLink(t, "vm0"), netlink.FAMILY_V6)
		must(t, err)
		for _, a := range list {
			if a.IP.Equal(twice.Addr().AsSlice()) {
				return a.Flags&unix.IFA_F_DADFAILED != 0
			}
		}
		return false
	})
	m := running(t)
	r := &reports{}
	h := m.NewHolder(Config{Interface: "vm0", Lifetime: time.Minute, Addresses: []Address{addr("2001:db8::87/64")}}, logTo(t), r.add)
	start(t, h)
	h.Hold()
	eventually(t, 2*time.Second, "told", func() bool { x := r.last(); return x.Phase == Waiting && errors.Is(x.Err, errTentative) })
	must(t, netlink.AddrDel(theLink(t, "vm0"), &netlink.Addr{IPNet: ipNetOf(twice)}))
	eventually(t, 2*time.Second, "held", func() bool { return r.last().Phase == Held })
	// One with a lifetime is made anew.
	h.Drop()
	eventually(t, 2*time.Second, "dropped", func() bool { return r.last().Phase == Dropped })
	must(t, netlink.AddrAdd(theLink(t, "vm0"), &netlink.Addr{IPNet: ipNetOf(twice), ValidLft: 60, PreferedLft: 60}))
	h.Hold()
	eventually(t, 2*time.Second, "held and usable", func() bool {
		a, ok := listed(t, "vm0", twice.String())
		return ok && !a.Tentative && r.last().Phase == Held
	})
}

func TestIPv6TurnedOffIsSaid(t *testing.T) {
	pair(t, "vn0", "vn1")
	must(t, os.WriteFile("/proc/sys/net/ipv6/conf/vn0/disable_ipv6", []byte("1"), 0))
	k, err := openNetlink()
	must(t, err)
	defer k.close()
	if err := k.Add(linkIndex(t, "vn0"), addr("2001:db8::88/128"), time.Minute); !errors.Is(err, errNoIPv6) {
		t.Errorf("%v", err)
	}
}

// A question that got no answer says nothing of the address.
func TestUnansweredLookupChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, two())
		defer b.stop()
		b.h.Hold()
		synctest.Wait()
		b.k.take()
		b.k.answer(false)
		b.event()
		if r := b.r.last(); r.Phase != Held || r.Err == nil || len(r.Missing) > 0 {
			t.Errorf("report %+v", r)
		}
		b.k.answer(true)
		time.Sleep(time.Second)
		synctest.Wait()
		if r := b.r.last(); r.Phase != Held || r.Err != nil || len(r.Restored) > 0 {
			t.Errorf("report %+v", r)
		}
		expect(t, "writes", b.k.take())
	})
}
