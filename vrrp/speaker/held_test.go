package speaker_test

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"lvs-ha/vrrp"
)

// What is on the interface for ever needs no renewal, and nobody misses one.
func TestPermanentAddressIsHeldForGood(t *testing.T) {
	t.Parallel()
	s := newSegment(t)
	a := s.speaker()
	l, err := a.h.LinkByName("eth0")
	must(t, err)
	must(t, a.h.AddrAdd(l, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(theVIP + "/32"))}))
	in := group(200)
	in.Lifetime = 3 * time.Second
	a.configure(in)
	eventually(t, 5*time.Second, "master", func() bool { return a.state() == vrrp.Master && a.has(theVIP) })
	since, sent := a.instance().Since, a.instance().Sent
	eventually(t, 5*time.Second, "advertisements for a whole lifetime", func() bool { return a.instance().Sent > sent+30 })
	if st := a.instance(); st.State != vrrp.Master || !st.Since.Equal(since) {
		t.Errorf("did not stay master: %+v", st)
	}
}

// Who was stopped so long that the kernel has removed its addresses, and finds
// nobody else there, goes on with them: it has not failed to hold them.
func TestStalledAloneForLong(t *testing.T) {
	t.Parallel()
	s := newSegment(t)
	a := s.speaker()
	in := group(200)
	in.Lifetime = 3 * time.Second
	a.configure(in)
	eventually(t, 5*time.Second, "master", func() bool { return a.state() == vrrp.Master && a.has(theVIP) })
	since := a.instance().Since
	_ = a.cmd.Process.Signal(syscall.SIGSTOP)
	eventually(t, 5*time.Second, "the kernel has removed the address", func() bool { return !a.has(theVIP) })
	_ = a.cmd.Process.Signal(syscall.SIGCONT)
	eventually(t, 5*time.Second, "held again", func() bool { return a.has(theVIP) })
	sent := a.instance().Sent
	eventually(t, 5*time.Second, "advertises", func() bool { return a.instance().Sent > sent+10 })
	if st := a.instance(); st.State != vrrp.Master || !st.Since.Equal(since) {
		t.Errorf("did not stay master: %+v", st)
	}
}
