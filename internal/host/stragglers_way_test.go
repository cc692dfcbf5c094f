package host

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// station of a network: a namespace with an interface on one bridge.
type station struct {
	ns  netns.NsHandle
	mac net.HardwareAddr
}

// do runs f in the station's namespace, on this thread.
func (s *station) do(t *testing.T, f func()) {
	t.Helper()
	before, err := netns.Get()
	if err == nil {
		err = netns.Set(s.ns)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(before); err != nil {
			t.Fatal(err)
		}
		before.Close()
	}()
	f()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func up(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err)
	must(t, netlink.LinkSetUp(l))
	return l
}

func put(t *testing.T, l netlink.Link, text string) {
	t.Helper()
	a, err := netlink.ParseAddr(text)
	must(t, err)
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	must(t, netlink.AddrAdd(l, a))
}

// plugged makes a station on the bridge of this thread's namespace.
func plugged(t *testing.T, i int, addrs ...string) *station {
	t.Helper()
	here, err := netns.Get()
	must(t, err)
	defer here.Close()
	s := &station{}
	s.ns, err = netns.New()
	must(t, err)
	t.Cleanup(func() { s.ns.Close() })
	must(t, netns.Set(here))
	name := fmt.Sprintf("port%d", i)
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "eth0", PeerNamespace: netlink.NsFd(s.ns)}))
	br, err := netlink.LinkByName("br0")
	must(t, err)
	must(t, netlink.LinkSetMaster(up(t, name), br))
	s.do(t, func() {
		up(t, "lo")
		l := up(t, "eth0")
		s.mac = l.Attrs().HardwareAddr
		for _, a := range addrs {
			put(t, l, a)
		}
	})
	return s
}

// TestStragglersReachTheOtherDirector: the middle of a connection that this
// machine does not know goes to the one that does, and comes back from it to
// nobody; what begins here stays here.
func TestStragglersReachTheOtherDirector(t *testing.T) {
	needNFT(t)
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}))
	up(t, "br0")
	client := plugged(t, 0, "192.0.2.50/24", "2001:db8::50/64")
	old := plugged(t, 1, "192.0.2.1/24", "2001:db8::1/64", "192.0.2.10/32", "2001:db8::10/128")
	fresh := plugged(t, 2, "192.0.2.2/24", "2001:db8::2/64", "192.0.2.10/32", "2001:db8::10/128")
	for _, tt := range []struct{ vip, former string }{{"192.0.2.10", "192.0.2.1"}, {"2001:db8::10", "2001:db8::1"}} {
		vip, former := netip.MustParseAddr(tt.vip), netip.MustParseAddr(tt.former)
		at := netip.AddrPortFrom(vip, 80)
		to := func(s *station) {
			t.Helper()
			client.do(t, func() {
				l, err := netlink.LinkByName("eth0")
				must(t, err)
				must(t, netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, Family: familyOf(vip), State: netlink.NUD_PERMANENT, IP: vip.AsSlice(), HardwareAddr: s.mac}))
			})
		}
		listen := func(s *station) (ln net.Listener) {
			t.Helper()
			s.do(t, func() {
				var err error
				ln, err = net.Listen("tcp", at.String())
				must(t, err)
			})
			t.Cleanup(func() { ln.Close() })
			return ln
		}
		knows, other := listen(old), listen(fresh)
		open := func() (c net.Conn) {
			t.Helper()
			client.do(t, func() {
				var err error
				c, err = (&net.Dialer{Timeout: 5 * time.Second, FallbackDelay: -1}).Dial("tcp", at.String())
				must(t, err)
			})
			t.Cleanup(func() { c.Close() })
			return c
		}
		to(old)
		c := open()
		server, err := knows.Accept()
		must(t, err)
		t.Cleanup(func() { server.Close() })

		// As a backup does: the neighbour is asked for, the tables are there.
		k := strayKernel{}
		want := []Stragglers{{Instance: "edge", Interface: "eth0", Back: former, Services: []Ports{{vip, 80, 80}}}}
		p := strayPath{Stragglers: &want[0]}
		fresh.do(t, func() {
			for end := time.Now().Add(10 * time.Second); !p.back; {
				p.to, p.back, err = k.neighbour("eth0", former)
				must(t, err)
				if time.Now().After(end) {
					t.Fatal("no neighbour ", former)
				}
			}
			if p.to.mac != [6]byte(old.mac) {
				t.Errorf("%s has %x", former, p.to.mac)
			}
			_, err = k.write(compileStrays([]strayPath{p}))
			must(t, err)
		})

		to(fresh)
		must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
		must(t, server.SetDeadline(time.Now().Add(10*time.Second)))
		for i := range 3 {
			_, err := fmt.Fprintf(c, "%d", i)
			must(t, err)
			var b [1]byte
			if _, err := server.Read(b[:]); err != nil || b[0] != byte('0'+i) {
				t.Fatal(at, "octet", i, b, err)
			}
		}
		// A new connection's SYN stays; its next packets would be IPVS's.
		count := strayCount{}
		fresh.do(t, func() {
			count, err = k.write(strayTables{})
			must(t, err)
		})
		if count.back < 3 || count.taken != 0 {
			t.Errorf("%s: %+v", at, count)
		}
		if _, err := c.Write([]byte("x")); err == nil {
			// Without the rule the new director ends it.
			var b [1]byte
			if _, err := c.Read(b[:]); err == nil {
				t.Error(at, "goes on without the rule")
			}
		}
		here := open()
		if conn, err := other.Accept(); err != nil {
			t.Error(err)
		} else {
			conn.Close()
		}
		here.Close()
	}
}
