package host

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	mnl "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestWatchOnKernel changes links, neighbours and routes of a namespace.
func TestWatchOnKernel(t *testing.T) {
	inNamespace(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	must(err)
	defer h.Close()
	device := func(name, prefix string) netlink.Link {
		t.Helper()
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		must(h.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name + "-far"}))
		far, err := h.LinkByName(name + "-far")
		must(err)
		must(h.LinkSetUp(far))
		l, err := h.LinkByName(name)
		must(err)
		a, err := netlink.ParseAddr(prefix)
		must(err)
		must(h.AddrAdd(l, a))
		must(h.LinkSetUp(l))
		return l
	}
	one, two := device("one", "10.9.1.1/24"), device("two", "10.9.2.1/24")
	_, far, _ := net.ParseCIDR("10.7.0.0/16")
	must(h.RouteAdd(&netlink.Route{Dst: far, Gw: net.IPv4(10, 9, 1, 254)}))
	mac := func(n byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, n} }
	neigh := func(l netlink.Link, ip net.IP, state int, n byte) {
		t.Helper()
		must(h.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: ip, State: state, HardwareAddr: mac(n)}))
	}
	neigh(one, net.IPv4(10, 9, 1, 2), netlink.NUD_REACHABLE, 1)

	ctx, cancel := context.WithCancel(t.Context())
	events := make(chan Event, 100)
	done := make(chan struct{})
	ns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(err)
	defer unix.Close(ns)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread goes
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		Watch(ctx, slog.New(slog.DiscardHandler), func(e Event) { events <- e })
	}()
	defer func() { cancel(); <-done }()
	// It is ready when a change is seen.
	ready := time.After(10 * time.Second)
	for n := byte(2); ; n++ {
		neigh(one, net.IPv4(10, 9, 1, 200), netlink.NUD_REACHABLE, n)
		select {
		case <-events:
		case <-time.After(20 * time.Millisecond):
			continue
		case <-ready:
			t.Fatal("no event at all")
		}
		break
	}
	for len(events) > 0 {
		<-events
	}
	expect := func(kind, text string, concerned, not []string) {
		t.Helper()
		limit := time.After(10 * time.Second)
		for {
			select {
			case e := <-events:
				if e.Kind != kind || !strings.Contains(e.Text, text) {
					continue // IPv6 has its own
				}
				for _, a := range concerned {
					if !e.Concerns(netip.MustParseAddr(a)) {
						t.Errorf("%s does not concern %s", e.Text, a)
					}
				}
				for _, a := range not {
					if e.Concerns(netip.MustParseAddr(a)) {
						t.Errorf("%s concerns %s", e.Text, a)
					}
				}
				return
			case <-limit:
				t.Fatalf("no event of a %s: %s", kind, text)
			}
		}
	}
	// The routine of a healthy neighbour is no news, another address is.
	neigh(one, net.IPv4(10, 9, 1, 2), netlink.NUD_STALE, 1)
	neigh(one, net.IPv4(10, 9, 1, 2), netlink.NUD_REACHABLE, 9)
	expect(EventNeighbour, "neighbour 10.9.1.2 has another", []string{"10.9.1.2"}, []string{"10.9.1.3", "10.7.0.1", "10.9.2.2"})
	neigh(one, net.IPv4(10, 9, 1, 254), netlink.NUD_REACHABLE, 7) // only one that was there can fail
	neigh(one, net.IPv4(10, 9, 1, 254), netlink.NUD_FAILED, 7)
	expect(EventNeighbour, "neighbour 10.9.1.254 does not answer", []string{"10.9.1.254", "10.7.3.3"}, []string{"10.9.1.2", "10.9.2.2"})
	_, more, _ := net.ParseCIDR("10.7.8.0/24")
	must(h.RouteAdd(&netlink.Route{Dst: more, LinkIndex: two.Attrs().Index}))
	expect(EventRoute, "route to 10.7.8.0/24 changed", []string{"10.7.8.1"}, []string{"10.7.9.1", "10.9.2.2"})
	must(h.RouteDel(&netlink.Route{Dst: more, LinkIndex: two.Attrs().Index}))
	expect(EventRoute, "route to 10.7.8.0/24 is gone", []string{"10.7.8.1"}, []string{"10.7.9.1"})
	must(h.LinkSetDown(one))
	expect(EventLink, "link one is down", []string{"10.9.1.2", "10.7.3.3"}, []string{"10.9.2.2", "192.0.2.1"})
	must(h.LinkDel(two))
	expect(EventLink, "link two is down", []string{"10.9.2.2"}, []string{"192.0.2.1"})
}

func TestRoutesMostPrecise(t *testing.T) {
	p := netip.MustParsePrefix
	rs := routes{{p("0.0.0.0/0"), 1, netip.Addr{}}, {p("10.0.0.0/8"), 2, netip.Addr{}}, {p("10.1.0.0/16"), 3, netip.Addr{}}, {p("::/0"), 4, netip.Addr{}}}
	for a, want := range map[string]int32{"10.1.2.3": 3, "10.2.0.1": 2, "192.0.2.1": 1, "2001:db8::1": 4} {
		if got := rs.to(netip.MustParseAddr(a)).link; got != want {
			t.Error(a, got)
		}
	}
	if rs[1:2].to(netip.MustParseAddr("192.0.2.1")).prefix.IsValid() {
		t.Error("a route where there is none")
	}
}

// FuzzEvent: whatever a message holds, it is read without panic.
func FuzzEvent(f *testing.F) {
	attr := func(typ uint16, data ...byte) []byte {
		b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(data)))
		b = append(binary.NativeEndian.AppendUint16(b, typ), data...)
		return append(b, make([]byte, (4-len(b)%4)%4)...)
	}
	head := func(n int, family byte) []byte { return append([]byte{family}, make([]byte, n-1)...) }
	f.Add(uint16(unix.RTM_NEWLINK), append(head(16, 0), attr(unix.IFLA_IFNAME, 'e', 0)...))
	f.Add(uint16(unix.RTM_NEWLINK), append(head(16, 0), attr(unix.IFLA_IFNAME)...))
	f.Add(uint16(unix.RTM_NEWNEIGH), append(append(head(12, unix.AF_INET), attr(unix.NDA_DST, 10, 0, 0, 1)...), attr(unix.NDA_LLADDR, 2, 0, 0, 0, 0, 1)...))
	f.Add(uint16(unix.RTM_NEWROUTE), append([]byte{unix.AF_INET, 24, 0, 0, 254, 2, 0, unix.RTN_UNICAST, 0, 0, 0, 0}, attr(unix.RTA_DST, 10, 0, 0, 0)...))
	f.Add(uint16(unix.RTM_DELROUTE), []byte{unix.AF_INET6, 200, 0, 0, 254, 2, 0, unix.RTN_UNICAST, 0, 0, 0, 0})
	f.Add(uint16(unix.RTM_NEWNEIGH), []byte{})
	f.Fuzz(func(t *testing.T, typ uint16, data []byte) {
		p := newPaths()
		for range 2 {
			if e := p.take(mnl.Message{Header: mnl.Header{Type: mnl.HeaderType(typ)}, Data: data}); e != nil {
				e.Concerns(netip.MustParseAddr("10.0.0.1"))
				e.Concerns(netip.Addr{})
			}
		}
	})
}
