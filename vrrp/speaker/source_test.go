package speaker_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"lvs-ha/vrrp"
)

// Peers that know a node by its second address hear it from there, whichever
// address the interface had first; without that address it takes no part.
func TestConfiguredSource(t *testing.T) {
	t.Parallel()
	const second = "10.77.0.201"
	s := newSegment(t)
	a, b := s.speaker(), s.speaker()
	ia, ib := group(200), group(100)
	ia.Config.Mode, ib.Config.Mode = vrrp.Unicast, vrrp.Unicast
	ia.Config.Peers, ib.Config.Peers = []netip.Addr{b.addr}, []netip.Addr{netip.MustParseAddr(second)}
	ia.Source = netip.MustParseAddr(second)
	a.configure(ia)
	b.configure(ib)
	eventually(t, 9*time.Second, "b is master, a waits for its source", func() bool {
		return b.state() == vrrp.Master && a.instance().Reason == "no-source" && strings.Contains(a.log.String(), "source_missing")
	})
	if st := a.instance(); st.State != vrrp.Init || st.Source.IsValid() || st.Sent != 0 {
		t.Errorf("without its source a is %+v", st)
	}

	eth, err := a.h.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	own := &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(second + "/24"))}
	if err := a.h.AddrAdd(eth, own); err != nil {
		t.Fatal(err)
	}
	eventually(t, 9*time.Second, "a has preempted, from its second address", func() bool {
		st := b.instance()
		return a.state() == vrrp.Master && st.State == vrrp.Backup && st.MasterSource == ia.Source
	})
	if bad := rejected(b.instance().Dropped); len(bad) > 0 {
		t.Errorf("b has rejected %v", bad)
	}

	// The same without a word about it but the address that peers have: found
	// behind the first one.
	ia.Source, ia.Prefer = netip.Addr{}, ia.Source
	a.configure(ia)
	sent := a.instance().Sent
	eventually(t, 5*time.Second, "five more", func() bool { return a.instance().Sent > sent+5 })
	if st := b.instance(); st.State != vrrp.Backup || st.MasterSource != ia.Prefer || len(rejected(st.Dropped)) > 0 {
		t.Errorf("with the preferred source b is %+v", st)
	}

	ia.Source = ia.Prefer
	a.configure(ia)
	if err := a.h.AddrDel(eth, own); err != nil {
		t.Fatal(err)
	}
	eventually(t, 9*time.Second, "b has taken over", func() bool {
		return b.state() == vrrp.Master && b.has(theVIP) && a.state() == vrrp.Init && !a.has(theVIP)
	})
}
