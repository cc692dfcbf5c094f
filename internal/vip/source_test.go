package vip

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestVirtualAddressesAreNoSource: connections that the machine makes itself
// leave from its own address, though the virtual one would match the neighbour
// better (RFC 6724, rule 8, where the prefix has all bits): a real server that
// has the virtual address too would answer itself.
func TestVirtualAddressesAreNoSource(t *testing.T) {
	pair(t, "vs0", "vs1")
	k, err := openNetlink()
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	link, err := netlink.LinkByName("vs0")
	if err != nil {
		t.Fatal(err)
	}
	own, err := netlink.ParseAddr("2001:db8:9::1/64")
	if err != nil {
		t.Fatal(err)
	}
	own.Flags = unix.IFA_F_NODAD
	source := func() string {
		t.Helper()
		c, err := net.Dial("udp6", "[2001:db8:9::2]:9")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return netip.MustParseAddrPort(c.LocalAddr().String()).Addr().String()
	}
	for _, p := range []string{"2001:db8:9::3/128", "2001:db8:9::4/64"} {
		virtual := addr(p)
		set := []func(int, Address, time.Duration) error{k.Add, k.Renew}
		for _, f := range set {
			if err := f(link.Attrs().Index, virtual, time.Minute); err != nil {
				t.Fatal(err)
			}
			if err := netlink.AddrReplace(link, own); err != nil {
				t.Fatal(err)
			}
			if got := source(); got != "2001:db8:9::1" {
				t.Errorf("with %s the machine speaks as %s", p, got)
			}
			if err := netlink.AddrDel(link, own); err != nil {
				t.Fatal(err)
			}
		}
		if p == "2001:db8:9::4/64" {
			// It is better than none.
			if got := source(); got != virtual.Prefix.Addr().String() {
				t.Errorf("with %s alone the machine speaks as %s", p, got)
			}
		}
		if err := k.Delete(link.Attrs().Index, virtual.Prefix); err != nil {
			t.Fatal(err)
		}
	}
}
