package host

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vishvananda/netlink"
)

// A claim from the hardware address of a real server is told once, with what to
// do there, and is a finding until it has not been heard for a while.
func TestClaimantThatIsARealServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := NewClaimants(slog.New(slog.NewTextHandler(&log, nil)))
		server, other := netip.MustParseAddr("10.0.0.21"), netip.MustParseAddr("10.0.0.99")
		c.neighbours = func(link string, mac net.HardwareAddr) ([]netip.Addr, error) {
			switch {
			case link != "eth0":
				return nil, errors.New("no such link")
			case mac[5] == 1:
				return []netip.Addr{other, server}, nil
			}
			return []netip.Addr{other}, nil
		}
		c.Set(map[netip.Addr]string{server: "web1"})
		claim := func(link, address string, last byte) {
			c.look(Claim{netip.MustParseAddr(address), link, net.HardwareAddr{2, 0, 0, 0, 0, last}})
		}
		claim("eth1", "10.0.0.100", 1)
		claim("eth0", "10.0.0.100", 2)
		if list := c.Findings(); len(list) != 0 {
			t.Errorf("another station: %q", list)
		}
		claim("eth0", "10.0.0.100", 1)
		claim("eth0", "10.0.0.100", 1)
		claim("eth0", "2001:db8::100", 1)
		list := c.Findings()
		if len(list) != 2 || !strings.Contains(list[0], "web1 (10.0.0.21)") || !strings.Contains(list[0], "arp_announce = 2") || !strings.Contains(list[1], "arp off") {
			t.Errorf("%q", list)
		}
		if n := strings.Count(log.String(), "event=arp_fault"); n != 2 {
			t.Errorf("told %d times:\n%s", n, &log)
		}
		time.Sleep(faultLasts)
		if list := c.Findings(); len(list) != 0 {
			t.Errorf("not heard any more: %q", list)
		}
		claim("eth0", "10.0.0.100", 1)
		c.Set(nil)
		if list := c.Findings(); len(list) != 0 {
			t.Errorf("it is no real server any more: %q", list)
		}
	})
}

func TestNeighboursBehind(t *testing.T) {
	inNamespace(t)
	la := netlink.NewLinkAttrs()
	la.Name = "d0"
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: la, PeerName: "d1"}); err != nil {
		t.Fatal(err)
	}
	l, err := netlink.LinkByName("d0")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		t.Fatal(err)
	}
	mac, other := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	for ip, m := range map[string]net.HardwareAddr{"10.0.0.21": mac, "2001:db8::21": mac, "10.0.0.22": other} {
		n := &netlink.Neigh{LinkIndex: l.Attrs().Index, IP: net.ParseIP(ip), HardwareAddr: m, State: netlink.NUD_PERMANENT}
		if err := netlink.NeighAdd(n); err != nil {
			t.Fatal(err)
		}
	}
	list, err := neighboursBehind("d0", mac)
	slices.SortFunc(list, netip.Addr.Compare)
	if want := []netip.Addr{netip.MustParseAddr("10.0.0.21"), netip.MustParseAddr("2001:db8::21")}; err != nil || !slices.Equal(list, want) {
		t.Errorf("%v, %v, want %v", list, err, want)
	}
	if _, err := neighboursBehind("d2", mac); err == nil {
		t.Error("a link that is not there has neighbours")
	}
}
