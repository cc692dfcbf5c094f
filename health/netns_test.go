package health

import (
	"context"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inNetns runs f on a thread in a network namespace of its own, where nothing
// is configured. The thread ends with f, and the namespace with it.
func inNetns(t *testing.T, f func()) {
	t.Helper()
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		if strings.Contains(os.Getenv("LVSHA_REQUIRE"), "netns") {
			t.Fatal("cannot make a network namespace: ", err)
		}
		t.Skip("cannot make a network namespace: ", err)
	}
}

// What is this machine's own fault is told from what is the server's.
func TestNoWayThere(t *testing.T) {
	inNetns(t, func() {
		must := func(err error) {
			if err != nil {
				t.Error(err)
			}
		}
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		must(err)
		defer h.Close()
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "v0"}, PeerName: "v1"}
		must(h.LinkAdd(v))
		for _, name := range []string{"lo", "v0", "v1"} {
			l, err := h.LinkByName(name)
			must(err)
			must(h.LinkSetUp(l))
		}
		l, err := h.LinkByName("v0")
		must(err)
		// Neighbours are given up after 50 ms instead of 3 s.
		for name, v := range map[string]string{"mcast_solicit": "1", "retrans_time_ms": "50"} {
			must(os.WriteFile("/proc/sys/net/ipv4/neigh/v0/"+name, []byte(v), 0o644))
		}
		must(h.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(192, 0, 2, 1), Mask: net.CIDRMask(24, 32)}}))
		for dst, typ := range map[string]int{"198.51.100.1": unix.RTN_UNREACHABLE, "198.51.100.2": unix.RTN_PROHIBIT, "198.51.100.3": unix.RTN_BLACKHOLE} {
			must(h.RouteAdd(&netlink.Route{Dst: &net.IPNet{IP: net.ParseIP(dst).To4(), Mask: net.CIDRMask(32, 32)}, Type: typ}))
		}
		for _, tc := range []struct {
			name, to string
			want     Reason
		}{
			{"no route", "203.0.113.1:80", ReasonInternal},
			{"unreachable route", "198.51.100.1:80", ReasonInternal},
			{"prohibit route", "198.51.100.2:80", ReasonInternal},
			{"blackhole route", "198.51.100.3:80", ReasonInternal},
			{"no neighbour", "192.0.2.9:80", ReasonUnreachable},
		} {
			for _, typ := range []Type{TCP, HTTP, UDP} {
				if typ == UDP && tc.want == ReasonUnreachable {
					continue // the kernel tells a datagram's sender nothing of a missing neighbour
				}
				s := NewScheduler(Options{})
				spec := Spec{Target: netip.MustParseAddrPort(tc.to), Method: &Method{Type: typ, Interval: 20 * time.Millisecond, Timeout: 3 * time.Second}}
				s.Apply([]Spec{spec})
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
				s.opts.OnChange = func(Change) { cancel() }
				if tc.want == ReasonInternal { // gives no verdict
					go func() {
						for ctx.Err() == nil && probes(s, spec.Key()) == 0 {
							<-time.After(time.Millisecond)
						}
						cancel()
					}()
				}
				must(s.Run(ctx)) // on this thread: sockets belong to its namespace
				cancel()
				st, _ := s.Status(spec.Key())
				if st.Failed[tc.want] == 0 || st.OK > 0 {
					t.Errorf("%s, %s: %v %v", tc.name, typ, st.Failed, st.LastFailure)
				}
			}
		}
	})
}

// cable makes links v0 and v1 of this namespace, with a network on v0 in which
// neighbours that are not there are given up soon.
func cable(t *testing.T) (*netlink.Handle, netlink.Link) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	must(err)
	must(h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "v0"}, PeerName: "v1"}))
	for _, name := range []string{"lo", "v0", "v1"} {
		l, err := h.LinkByName(name)
		must(err)
		must(h.LinkSetUp(l))
	}
	v0, err := h.LinkByName("v0")
	must(err)
	for name, v := range map[string]string{"mcast_solicit": "1", "retrans_time_ms": "50"} {
		must(os.WriteFile("/proc/sys/net/ipv4/neigh/v0/"+name, []byte(v), 0o644))
	}
	must(h.AddrAdd(v0, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(192, 0, 2, 1), Mask: net.CIDRMask(24, 32)}}))
	return h, v0
}

// A server that could not be reached for a while is up when it can: the ICMP
// error of a probe must not stick to the socket that the next one uses.
func TestNeighbourComesBack(t *testing.T) {
	inNetns(t, func() {
		must := func(err error) {
			if err != nil {
				t.Error(err)
			}
		}
		h, l := cable(t)
		defer h.Close()
		for i, timeout := range []time.Duration{3 * time.Second, 20 * time.Millisecond} {
			there := net.IPv4(192, 0, 2, byte(9+i))
			spec := Spec{Target: netip.MustParseAddrPort(there.String() + ":80"), Method: &Method{Type: TCP, Interval: 20 * time.Millisecond, Timeout: timeout, Rise: 1, Fall: 3}}
			s := NewScheduler(Options{})
			s.Apply([]Spec{spec})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			// Called on this thread, so all is made in its namespace.
			s.opts.OnChange = func(c Change) {
				if c.To == Up {
					cancel()
					return
				}
				must(h.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: there, Mask: net.CIDRMask(32, 32)}}))
				ln, err := net.Listen("tcp4", spec.Target.String())
				must(err)
				context.AfterFunc(t.Context(), func() { ln.Close() })
			}
			must(s.Run(ctx))
			cancel()
			if st, _ := s.Status(spec.Key()); st.OK == 0 {
				t.Errorf("timeout %s: never up: %v %v", timeout, st.Failed, st.LastFailure)
			}
		}
	})
}
